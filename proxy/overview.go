package proxy

import (
	"encoding/json"
	"net/http"
	"runtime"
	"sync/atomic"

	"codex-proxy/creds"
	"codex-proxy/proxy/codex"
)

// overview is the answer of GET /admin/status: what the desktop's page shows of a proxy that runs elsewhere. It holds no
// secrets, and nothing of what was asked or answered.
type overview struct {
	health
	SignIn   signInOverview   `json:"sign_in"`
	Requests requestsOverview `json:"requests"`
	Versions versions         `json:"versions"`
}

type signInOverview struct {
	Email     string      `json:"email,omitempty"`
	AccountID string      `json:"account_id,omitempty"`
	Kind      creds.Kind  `json:"kind,omitempty"`
	Store     string      `json:"store,omitempty"`
	Cause     creds.Cause `json:"cause,omitempty"`
	Advice    string      `json:"advice,omitempty"` // what to do about credentials.problem
	Refreshes int         `json:"refreshes"`
	Failures  int         `json:"refresh_failures"`
}

// requestsOverview counts requests since the start, without those to the proxy's own addresses.
type requestsOverview struct {
	Open      int64 `json:"open"`
	Answered  int64 `json:"answered"`
	Failed    int64 `json:"failed"`
	Left      int64 `json:"left"` // the caller went away before the end
	Input     int64 `json:"input_tokens"`
	Cached    int64 `json:"cached_tokens"`
	Output    int64 `json:"output_tokens"`
	Reasoning int64 `json:"reasoning_tokens"`
}

type versions struct {
	Proxy    string `json:"proxy"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	Protocol string `json:"protocol"` // of the Codex backend
}

// tally counts what requestsOverview tells. Safe for concurrent use.
type tally struct{ answered, failed, left, input, cached, output, reasoning atomic.Int64 }

func (t *tally) add(r Record) {
	if r.Dialect == "" {
		return
	}
	switch {
	case r.Gone:
		t.left.Add(1)
	case r.Error != "" || r.Status >= 400:
		t.failed.Add(1)
	default:
		t.answered.Add(1)
	}
	t.input.Add(r.Input)
	t.cached.Add(r.Cached)
	t.output.Add(r.Output)
	t.reasoning.Add(r.Reasoning)
}

// writeOverview answers GET /admin/status: always with 200, since it tells of trouble instead of being it.
func (s *Server) writeOverview(w http.ResponseWriter, _ *http.Request) *codex.Error {
	state, t := s.cfg.SignIn.State(), &s.tally
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.Encode(overview{ //nolint:errcheck // the caller has gone
		health: s.healthNow(state),
		SignIn: signInOverview{
			Email: state.Email, AccountID: state.AccountID, Kind: state.Kind, Store: state.Store, Cause: state.Cause, Advice: state.Advice,
			Refreshes: state.Refreshes, Failures: state.RefreshFailures,
		},
		Requests: requestsOverview{
			Open: s.metrics.open.Load(), Answered: t.answered.Load(), Failed: t.failed.Load(), Left: t.left.Load(),
			Input: t.input.Load(), Cached: t.cached.Load(), Output: t.output.Load(), Reasoning: t.reasoning.Load(),
		},
		Versions: versions{Proxy: s.cfg.Version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, Protocol: codex.ProtocolVersion},
	})
	return nil
}
