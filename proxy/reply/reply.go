// Package reply writes answers to callers: the part of a streamed answer that is the same in every dialect.
package reply

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/gjson"

	"codex-proxy/proxy/codex"
)

// Outcome is what a translator tells about the request that it served, for the log and the counters.
type Outcome struct {
	Model        string
	Client       string
	Streamed     bool
	InputTokens  int64
	CachedTokens int64
	OutputTokens int64
	FirstToken   time.Duration // until the first bytes of the answer were sent; zero for buffered answers
	Dropped      []string
	Err          *codex.Error // nil when all went well
	Gone         bool         // the caller went away before the end
	Cut          bool         // the answer broke off: the connection must be cut, too
}

// Count takes the usage out of the event that ends an answer.
func (o *Outcome) Count(data []byte) {
	usage := gjson.GetBytes(data, "response.usage")
	o.InputTokens = usage.Get("input_tokens").Int()
	o.CachedTokens = usage.Get("input_tokens_details.cached_tokens").Int()
	o.OutputTokens = usage.Get("output_tokens").Int()
}

// DroppedHeader tells the caller what of its request did not reach the backend.
const DroppedHeader = "X-Codex-Proxy-Dropped"

// Announce sets the headers that an answer has in every dialect: what was dropped, and the backend's own about limits.
func Announce(h http.Header, dropped []string, upstream http.Header) {
	if len(dropped) > 0 {
		h.Set(DroppedHeader, strings.Join(dropped, ", "))
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
// that is a real HTTP error. Safe for use by the translator and a keep-alive timer at once.
type Stream struct {
	w       http.ResponseWriter
	flush   http.Flusher
	start   time.Time
	prepare func(http.Header)

	mu    sync.Mutex
	first time.Duration
	began bool
	err   error
}

// NewStream returns a Stream on w. prepare sets the headers when the answer begins.
func NewStream(w http.ResponseWriter, start time.Time, prepare func(http.Header)) *Stream {
	f, _ := w.(http.Flusher)
	return &Stream{w: w, flush: f, start: start, prepare: prepare}
}

// Began reports whether the status has been sent.
func (s *Stream) Began() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.began
}

// FirstToken is how long it took until the first bytes were sent.
func (s *Stream) FirstToken() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.first
}

// Send writes p, beginning the answer if need be. With more set the bytes may wait for the next ones. The error is the
// connection's: the caller has gone.
func (s *Stream) Send(p []byte, more bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.send(p, more)
}

// send is called with mu held.
func (s *Stream) send(p []byte, more bool) error {
	s.begin()
	if s.err == nil && len(p) > 0 {
		_, s.err = s.w.Write(p)
	}
	if !more {
		s.flush.Flush()
	}
	return s.err
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

// KeepAliveAfter is KeepAlive, with opening before the first bytes of all.
func (s *Stream) KeepAliveAfter(opening, comment []byte) {
	s.SendAfter(opening, comment, false) //nolint:errcheck // the next Send tells
}

// KeepAlive sends a comment that clients pass over.
func (s *Stream) KeepAlive(comment []byte) { s.Send(comment, false) } //nolint:errcheck // the next Send tells

// begin is called with mu held.
func (s *Stream) begin() {
	if s.began {
		return
	}
	s.began = true
	s.first = time.Since(s.start)
	s.prepare(s.w.Header())
	s.w.WriteHeader(http.StatusOK)
}

// SSE sets the headers of an event stream.
func SSE(h http.Header) {
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Accel-Buffering", "no")
}

// CheckStrict returns an *codex.Error that names what was dropped, if strict says so. What every caller of a dialect
// must send does not count.
func CheckStrict(strict bool, dropped []string, but ...string) error {
	if !strict {
		return nil
	}
	counted := slices.DeleteFunc(slices.Clone(dropped), func(name string) bool { return slices.Contains(but, name) })
	if len(counted) == 0 {
		return nil
	}
	return &codex.Error{Status: http.StatusBadRequest, Type: "invalid_request_error", Code: "unsupported_parameter", Param: counted[0],
		Message: "The ChatGPT backend does not take: " + strings.Join(counted, ", ") + ". Leave it out, or run codex-proxy without --strict"}
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

// ErrorHeader sets what the errors of every dialect have.
func ErrorHeader(h http.Header, e *codex.Error) {
	h.Set("Content-Type", "application/json")
	if e.RetryAfter > 0 && (e.Status == http.StatusTooManyRequests || e.Status == http.StatusServiceUnavailable) {
		h.Set("Retry-After", strconv.Itoa(int((e.RetryAfter+time.Second-1)/time.Second)))
	}
}

// Comment is the keep-alive of event streams. Source: WHATWG HTML, server-sent events, 9.2.7.
var Comment = []byte(": still working\n\n")
