package proxy

import (
	"net/http"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"codex-proxy/proxy/reply"
)

// Transport is the way on which a request came.
type Transport string

// The transports.
const (
	TransportHTTP      Transport = "POST"      // or GET, HEAD, DELETE: one request, one answer
	TransportWebSocket Transport = "WebSocket" // one turn of a connection that lasts
)

// Start is a request that has begun. It holds nothing of what was asked.
type Start struct {
	ID        uint64 // of the Record that follows; grows from request to request since the program's start
	Time      time.Time
	Client    string // the name of the key that it brought, else the program's by its user agent
	Route     string // such as /chat/completions; bounded: ids in a path are {id}
	Dialect   string // openai, anthropic, ollama, gemini; empty for the proxy's own addresses
	Model     string // as the caller wrote it; empty for the default
	Transport Transport
}

// Record is how a request went. It holds nothing of what was asked or answered.
type Record struct {
	Start             // Model is now the one that answered, as the backend calls it
	Method     string // of HTTP
	Status     int    // of HTTP; of a WebSocket's turn the one that it would have been
	Effort     string // of reasoning that was asked for; empty for the model's default
	Streamed   bool
	FirstToken time.Duration // until something of the answer came, not counting keep-alives; zero when nothing did
	Duration   time.Duration
	Input      int64 // tokens, as are the next three
	Cached     int64 // a part of Input
	Output     int64
	Reasoning  int64    // a part of Output
	Dropped    []string // parameters that the backend did not get, at most 64
	Code       string   // of the error, such as context_length_exceeded; empty when all went well
	Error      string   // a sentence without what was said, empty likewise
	Gone       bool     // the caller went away before the end
	Resent     bool     // the caller's SDK sends the request again in another way
}

// record makes a Record of an outcome.
func record(start Start, method string, status int, out reply.Outcome) Record {
	r := Record{Start: start, Method: method, Status: status, Effort: clip(out.Effort, longestModel), Streamed: out.Streamed, Duration: time.Since(start.Time),
		Input: out.Input, Cached: out.Cached, Output: out.Output, Reasoning: out.Reasoning, Dropped: out.Dropped.Names, Gone: out.Gone}
	if out.Model != "" {
		r.Model = clip(out.Model, longestModel)
	}
	if !out.First.IsZero() {
		r.FirstToken = out.First.Sub(start.Time)
	}
	if out.Err != nil {
		r.Code, r.Error, r.Resent = out.Err.Code, withoutQuotes(out.Err.Message), out.Err.Resent
	}
	return r
}

// begin gives a request its number, and tells the listener.
func (s *Server) begin(start *Start) {
	start.ID = s.requests.Add(1)
	s.metrics.begun(*start)
	if s.cfg.OnStart != nil {
		s.cfg.OnStart(*start)
	}
}

// finish counts and logs a request, and tells the listener.
func (s *Server) finish(r Record, path string, out reply.Outcome) {
	s.dropped.add(r.Client, out.Dropped)
	s.metrics.add(r, out.Err)
	s.tally.add(r)
	s.logRequest(r, path, out)
	if s.cfg.OnRequest != nil {
		s.cfg.OnRequest(r)
	}
}

// logRequest writes the one line of a request: never a body, a header or a query.
func (s *Server) logRequest(r Record, path string, out reply.Outcome) {
	fields := logrus.Fields{"method": r.Method, "route": path, "status": r.Status, "ms": r.Duration.Milliseconds()}
	if len(path) > 80 {
		fields["route"] = path[:80]
	}
	if r.Transport == TransportWebSocket {
		fields["transport"] = r.Transport
	}
	if r.Model != "" {
		fields["model"] = r.Model
	}
	if r.Input+r.Output > 0 {
		fields["in"], fields["out"] = r.Input, r.Output
		if r.Cached > 0 {
			fields["cached"] = r.Cached
		}
	}
	if r.FirstToken > 0 {
		fields["first_ms"] = r.FirstToken.Milliseconds()
	}
	if !out.Dropped.Empty() {
		fields["dropped"] = out.Dropped.String()
	}
	if r.Gone {
		fields["gone"] = true
	}
	entry := s.cfg.Log.WithFields(fields)
	switch {
	case out.Err != nil && out.Err.Stack != nil:
		entry.WithField("code", r.Code).WithField("stack", string(out.Err.Stack)).Error("request crashed")
	case out.Err != nil:
		entry.WithField("code", r.Code).Warn("request failed")
	case r.Route == "/health":
		entry.Debug("request")
	default:
		entry.Info("request")
	}
}

// clientName is the name of the key that a request brought, or the first word of its user agent.
func clientName(key string, h http.Header) string {
	if key != "" {
		return key
	}
	name, _, _ := strings.Cut(h.Get("User-Agent"), " ")
	name, _, _ = strings.Cut(name, "/")
	if name == "" {
		return "unknown"
	}
	return clip(name, 40)
}

// clip is what is kept of a name that a caller chose: at most so many bytes.
func clip(name string, most int) string { return strings.ToValidUTF8(name[:min(len(name), most)], "") }

// longestModel is how many bytes of a model's name are kept.
const longestModel = 80
