package app

import (
	"time"

	"codex-proxy/proxy"
)

// Failure is a request that failed, for the menu.
type Failure struct {
	Time   time.Time `json:"time"`
	Client string    `json:"client"`
	Error  string    `json:"error"` // a sentence
}

// noteRequest keeps the last request that failed. It is on the request's path and must not wait; onRequest tells that
// there is something new.
func (a *App) noteRequest(r proxy.Record) {
	if r.Code == "" || r.Gone || r.Status == 401 && r.Model == "" || r.Resent {
		return
	}
	a.mu.Lock()
	a.failed = Failure{Time: time.Now(), Client: r.Client, Error: r.Error}
	a.mu.Unlock()
}
