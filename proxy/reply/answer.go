package reply

import (
	"net/http"

	"codex-proxy/proxy/codex"
)

// Answer is how a dialect tells the answer to one call, streamed or whole.
type Answer struct {
	Encoder
	Request *codex.Request
	Events  *codex.EventHandler

	Whole func(*codex.End) []byte // the body of one that is not streamed
	Type  string                  // its content type

	Head    func(http.Header)         // of a stream
	Opening []byte                    // before everything else of it
	Quiet   []byte                    // sent when the backend is silent; nil for nothing
	Closing func(*codex.End) []byte   // after everything else
	Broken  func(*codex.Error) []byte // in place of that when it failed

	Error func(http.ResponseWriter, *codex.Error) // in place of the whole answer
}

// Give reads the backend's answer from s and gives it to the caller, and tells how that went. Its reasoning is kept in
// cache.
func (a Answer) Give(w http.ResponseWriter, s *codex.Stream, cache *codex.ReasoningCache, out Outcome) Outcome {
	var to *Stream
	send := Discard
	if out.Streamed {
		to = NewStream(w, func(h http.Header) {
			a.Head(h)
			Announce(h, a.Request.Dropped, s.Header)
		})
		if a.Quiet != nil {
			s.OnQuiet(func() { to.KeepAlive(a.Opening, a.Quiet) })
		}
		send = func(p []byte, more bool) error { return to.SendAfter(a.Opening, p, more) }
	}
	end, err := Copy(s, a, send)
	out.Heard(s)
	if err != nil {
		if e := out.Break(to, a.Request, err, a.Broken); e != nil {
			Announce(w.Header(), out.Dropped, e.Header())
			a.Error(w, e)
		}
		return out
	}
	out.Tokens = end.Tokens
	a.Events.Remember(cache, out.Model)
	if to != nil {
		out.Gone = to.SendAfter(a.Opening, a.Closing(end), true) != nil || to.End(nil) != nil
		return out
	}
	Announce(w.Header(), a.Request.Dropped, s.Header)
	w.Header().Set("Content-Type", a.Type)
	_, err = w.Write(a.Whole(end))
	out.Gone = err != nil
	return out
}
