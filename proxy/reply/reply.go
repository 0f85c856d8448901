// Package reply writes answers to callers: the part of a streamed answer that is the same in every dialect.
package reply

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"codex-proxy/proxy/codex"
)

// Outcome is what a translator tells about the request that it served, for the log, the counters and the history.
type Outcome struct {
	Model    string // that answered, or the one that was asked for
	Effort   string // of reasoning that was asked for; empty for the model's default
	Streamed bool
	codex.Tokens
	First   time.Time // when the first event came that says something of the answer; zero when none did
	Dropped codex.Dropped
	Err     *codex.Error // nil when all went well
	Gone    bool         // the caller went away before the end
	Cut     bool         // the answer broke off: the connection must be cut, too
}

// Began takes from the answer that has begun what is known then.
func (o *Outcome) Began(r *codex.Request, s *codex.Stream) {
	o.Dropped, o.Model, o.Effort = r.Dropped, s.Model, s.Effort
}

// Heard takes from the answers, which have been read, when the first of them said something.
func (o *Outcome) Heard(streams ...*codex.Stream) {
	for _, s := range streams {
		if at := s.First(); !at.IsZero() && (o.First.IsZero() || at.Before(o.First)) {
			o.First = at
		}
	}
}

// Fail notes why there is no answer, and returns what to tell the caller; nil when that has gone away.
func (o *Outcome) Fail(r *codex.Request, err error) *codex.Error {
	if r != nil {
		o.Dropped = r.Dropped
	}
	var e *codex.Error
	if !errors.As(err, &e) {
		o.Gone = true
		return nil
	}
	o.Err = e
	return e
}

// Break ends a streamed answer that failed: by an event that says so and a connection that is cut, when some of it was
// sent. Else it returns the error that is to be answered with; nil when there is nobody to answer. to is nil for an
// answer that is not streamed.
func (o *Outcome) Break(to *Stream, r *codex.Request, err error, event func(*codex.Error) []byte) *codex.Error {
	e := o.Fail(r, err)
	if e == nil || to == nil || to.Withdraw() {
		return e
	}
	o.Cut = true
	to.End(event(e)) //nolint:errcheck // it is cut next
	return nil
}

// DroppedHeader tells the caller what of its request did not reach the backend.
const DroppedHeader = "X-Codex-Proxy-Dropped"

// Announce sets the headers that an answer has in every dialect: what was dropped, and the backend's own about limits.
func Announce(h http.Header, dropped codex.Dropped, upstream http.Header) {
	if !dropped.Empty() {
		h.Set(DroppedHeader, dropped.String())
	}
	for name, values := range upstream {
		if strings.HasPrefix(name, "X-Codex-") || name == "X-Models-Etag" || name == "X-Reasoning-Included" || name == "Openai-Model" {
			h[name] = values
		}
	}
	if id := upstream.Get("X-Request-Id"); id != "" {
		h.Set("X-Request-Id", id)
	}
}

// Stream writes a streamed answer. It holds the status back until there is something to say, so that a failure before
// that is a real HTTP error. Safe for use by several goroutines and a keep-alive timer at once.
type Stream struct {
	w       http.ResponseWriter
	flush   http.Flusher
	prepare func(http.Header)

	mu    sync.Mutex
	began bool
	ended bool
	err   error
}

// NewStream returns a Stream on w, which must be an http.Flusher. prepare sets the headers when the answer begins.
func NewStream(w http.ResponseWriter, prepare func(http.Header)) *Stream {
	return &Stream{w: w, flush: w.(http.Flusher), prepare: prepare}
}

// Began reports whether the status has been sent.
func (s *Stream) Began() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.began
}

// Withdraw gives the caller back to whoever wants to answer with an HTTP error instead, and reports whether that is
// still possible: nothing was sent, and from now on nothing will be.
func (s *Stream) Withdraw() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.began {
		return false
	}
	s.ended = true
	return true
}

// End sends the last bytes of all: what comes after them, such as a keep-alive, is not sent. The error is Send's.
func (s *Stream) End(p []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.send(p, false)
	s.ended = true
	return err
}

// Send writes p, beginning the answer if need be. With more set the bytes may wait for the next ones. The error is the
// connection's: the caller has gone.
func (s *Stream) Send(p []byte, more bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.send(p, more)
}

// SendAll is Send for bytes that come in pieces: nothing gets between them, such as a keep-alive.
func (s *Stream) SendAll(pieces [][]byte, more bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, p := range pieces {
		if err := s.send(p, more || i < len(pieces)-1); err != nil {
			return err
		}
	}
	return nil
}

// SendAfter is Send, with opening before the first bytes of all.
func (s *Stream) SendAfter(opening, p []byte, more bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.began {
		p = append(bytes.Clone(opening), p...)
	}
	return s.send(p, more)
}

// KeepAlive sends a comment that clients pass over, with opening before it if the answer begins with it.
func (s *Stream) KeepAlive(opening, comment []byte) {
	s.SendAfter(opening, comment, false) //nolint:errcheck // the next Send tells
}

// send is called with mu held.
func (s *Stream) send(p []byte, more bool) error {
	if s.ended {
		return s.err
	}
	if !s.began {
		s.began = true
		s.prepare(s.w.Header())
		s.w.WriteHeader(http.StatusOK)
	}
	if s.err == nil && len(p) > 0 {
		_, s.err = s.w.Write(p)
	}
	if !more {
		s.flush.Flush()
	}
	return s.err
}

// SSE sets the headers of an event stream.
func SSE(h http.Header) {
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Accel-Buffering", "no")
}

// Encode is json.Marshal without escaping <, > and &, which doubles the size of code. v must be encodable.
func Encode(v any) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err) // the translators' own types
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}

// WriteError answers with an error, whose body is in the shape of some dialect. Nothing must have been written before.
func WriteError(w http.ResponseWriter, e *codex.Error, body []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	if e.RetryAfter > 0 && (e.Status == http.StatusTooManyRequests || e.Status == http.StatusServiceUnavailable) {
		h.Set("Retry-After", strconv.Itoa(int((e.RetryAfter+time.Second-1)/time.Second)))
	}
	w.WriteHeader(e.Status)
	w.Write(append(body, '\n')) //nolint:errcheck // the caller has gone
}

// Parallel calls f for each index below n, each on a goroutine of its own unless there is only one, and waits for all.
// The error joins theirs. A panic in one is its error, and does not end the program.
func Parallel(n int, f func(i int) error) error {
	errs := make([]error, n)
	guarded := func(i int) {
		defer func() {
			if cause := recover(); cause != nil {
				errs[i] = codex.Crashed(cause)
			}
		}()
		errs[i] = f(i)
	}
	if n == 1 {
		guarded(0)
		return errs[0]
	}
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() { guarded(i) })
	}
	wait.Wait()
	return errors.Join(errs...)
}

// Comment is the keep-alive of event streams. Source: WHATWG HTML, server-sent events, 9.2.7.
var Comment = []byte(": still working\n\n")
