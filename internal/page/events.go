package page

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"codex-proxy/internal/history"
)

const (
	mostStreams = 32
	settle      = 100 * time.Millisecond // between two snapshots
	writeTime   = 10 * time.Second       // for a browser that doesn't read
)

// stream is one open page.
type stream struct{ cancel context.CancelFunc }

// serveEvents tells an open page of all that changes, until it leaves: "snapshot" is the whole state, "requests" says
// that there are newer ones, with the newest ID, 0 when the history was deleted. Nothing is looked at while nothing
// changes and no window of the plan resets, and nothing at all runs while no page is open.
func (p *Page) serveEvents(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	s := &stream{cancel}
	p.mu.Lock()
	full := len(p.streams) >= mostStreams || p.closed
	if !full {
		p.streams[s] = struct{}{}
		p.seen.Do(func() { close(p.visited) })
	}
	p.mu.Unlock()
	if full {
		fail(w, http.StatusServiceUnavailable, "Too many pages are open, or the program is ending.")
		return
	}
	defer func() {
		p.mu.Lock()
		delete(p.streams, s)
		p.mu.Unlock()
	}()

	changes, unsubscribe := p.config.App.Subscribe()
	defer unsubscribe()
	var newest <-chan int64
	if p.config.History != nil {
		watch, unwatch := p.config.History.Watch()
		defer unwatch()
		newest = watch
	}
	keepCookie(w, r, cookie(r))
	w.Header().Set("Content-Type", "text/event-stream")
	control := http.NewResponseController(w)
	send := func(event string, data any) bool {
		raw, err := json.Marshal(data)
		if err != nil {
			return false
		}
		control.SetWriteDeadline(time.Now().Add(writeTime)) //nolint:errcheck // a writer without deadlines is one of a test
		_, err = fmt.Fprintf(w, "event: %s\ndata: %s\n\n", event, raw)
		return err == nil && control.Flush() == nil
	}
	home := ""
	for {
		v := p.snapshot(ctx)
		if v.Running && home == "" && ctx.Value(asideKey{}) != nil {
			home = p.Move(v.Root)
		}
		v.Home = home
		if !send("snapshot", v) {
			return
		}
		pause, reset := time.After(settle), v.reset(p.config.Now())
		for changed := false; !changed || pause != nil; {
			select {
			case <-changes:
				changed = true
			case <-reset:
				changed = true
			case <-pause:
				pause = nil
			case id := <-newest:
				if !send("requests", id) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

// Visited is closed once a page has asked for its events since the program's start.
func (p *Page) Visited() <-chan struct{} { return p.visited }

// Disconnect ends the streams of open pages, so that a listener can be shut down; the pages come back by themselves when
// it listens again.
func (p *Page) Disconnect() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for s := range p.streams {
		s.cancel()
	}
}

// Close ends the streams of open pages and takes no new ones.
func (p *Page) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.Disconnect()
}

// view is the snapshot as it is sent.
type view struct {
	Snapshot
	Bundle  string `json:"bundle"`            // version of what browsers load: a page that has another loads it anew
	Home    string `json:"home,omitempty"`    // where this page is to go on, without a section
	History bool   `json:"history,omitempty"` // one is kept
}

func (p *Page) snapshot(ctx context.Context) view {
	v := view{Snapshot: p.config.App.Snapshot(), Bundle: p.bundle().version}
	if s := p.config.History; s != nil {
		v.History = true
		v.Windows = p.outlook.fill(ctx, s, v.Windows, p.config.Now())
	}
	return v
}

// reset receives when the next of the plan's windows has begun anew: then other words are true, though nothing changed.
func (v *view) reset(now time.Time) <-chan time.Time {
	var next time.Time
	for _, w := range v.Windows {
		if w.ResetsAt.After(now) && (next.IsZero() || w.ResetsAt.Before(next)) {
			next = w.ResetsAt
		}
	}
	if next.IsZero() {
		return nil
	}
	return time.After(next.Sub(now))
}

// outlooks remembers the words about the plan's windows, so that they are worked out when something has changed.
type outlooks struct {
	mu    sync.Mutex
	of    []Window
	words []Window
	at    time.Time
}

// longestWindow is how far back samples can matter.
const longestWindow = 8 * 24 * time.Hour

func (o *outlooks) fill(ctx context.Context, s *history.Store, windows []Window, now time.Time) []Window {
	o.mu.Lock()
	defer o.mu.Unlock()
	hasReset := func(w Window) bool { return w.ResetsAt.After(o.at) && !w.ResetsAt.After(now) }
	if slices.Equal(o.of, windows) && now.Sub(o.at) < time.Minute && !slices.ContainsFunc(windows, hasReset) {
		return o.words
	}
	var earlier []history.Window
	if len(windows) > 0 {
		earlier, _ = s.Windows(ctx, now.Add(-longestWindow)) //nolint:errcheck // without samples the pace is that since the window began
	}
	words := slices.Clone(windows)
	for i, w := range words {
		if w.Outlook != "" {
			continue
		}
		outlook := history.Forecast(history.Window{Name: w.Name, Used: w.Used, ResetsAt: w.ResetsAt}, w.Length, earlier, now)
		words[i].Outlook, words[i].Short = outlook.Text, outlook.Running
	}
	o.of, o.words, o.at = slices.Clone(windows), words, now
	return words
}
