// Package proxy is the local server: it guards, routes, and hands each request to the translator of its dialect.
// The way of a request is Server.ServeHTTP, from top to bottom.
package proxy

import (
	"errors"
	"io"
	"net/http"
	"path"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"codex-proxy/creds"
	"codex-proxy/proxy/anthropic"
	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/ollama"
	"codex-proxy/proxy/openai"
	"codex-proxy/proxy/reply"
)

// Config is what a proxy is made of. The desktop program and the Worker differ in these values only.
type Config struct {
	// SignIn is the user's own; creds.Manager is one.
	SignIn SignIn

	// HTTP sends requests to OpenAI's hosts: BackendURL (https://chatgpt.com/backend-api) or APIURL
	// (https://api.openai.com/v1), as the kind of the sign-in needs it.
	HTTP       codex.Doer
	BackendURL string
	APIURL     string
	Identity   codex.Identity

	IdleTimeout time.Duration // of the backend, after which an answer is given up
	KeepAlive   time.Duration // silence after which a caller is told that its answer is still coming
	Strict      bool          // refuse requests with parameters that the backend does not take

	Model      string            // for requests that name none; empty for the first of the plan's list
	Aliases    map[string]string // see codex.Catalogue
	ModelCache codex.ModelCache  // may be nil

	Guard   Guard
	Admin   *Admin // nil without an admin API
	Quiet   bool   // /health says no more than whether requests can be served
	Version string
	Demo    bool // answers come from the built-in demo backend
	Log     *logrus.Logger
}

// SignIn gives out access tokens and says how it is.
type SignIn interface {
	codex.TokenSource
	State() creds.State
}

// Server answers the API. Safe for concurrent use.
type Server struct {
	// Client is the one that the handlers use, for whoever else wants to ask the backend something.
	Client *codex.Client

	cfg       Config
	openai    *openai.Handler
	anthropic *anthropic.Handler
	ollama    *ollama.Handler
	started   time.Time
	tally     tally
	metrics   *meters

	postRoutes map[string]func(http.ResponseWriter, *http.Request, []byte) reply.Outcome
	readRoutes map[string]func(http.ResponseWriter, *http.Request)
}

// NewServer puts a proxy together: the client of the backend, a handler for each dialect, and what they share. Its
// uptime starts now.
func NewServer(cfg Config) *Server {
	client := &codex.Client{
		Upstreams: map[creds.Kind]codex.Upstream{
			creds.KindCodex:   codex.Backend(cfg.BackendURL, cfg.Identity),
			creds.KindChatGPT: codex.Public(cfg.APIURL, cfg.Identity),
		},
		HTTP:         cfg.HTTP,
		Tokens:       cfg.SignIn,
		Models:       codex.NewCatalogue(cfg.Model, cfg.ModelCache),
		UsageTracker: &codex.UsageTracker{},
		Router:       &codex.WorkspaceRouter{URL: cfg.BackendURL + "/wham/accounts/check"},
		IdleTimeout:  cfg.IdleTimeout,
		KeepAlive:    cfg.KeepAlive,
	}
	client.Models.Aliases = cfg.Aliases
	reasoning := codex.NewReasoningCache()
	s := &Server{
		Client: client, cfg: cfg, started: time.Now(),
		openai:    &openai.Handler{Client: client, Strict: cfg.Strict, Reasoning: reasoning, Store: openai.NewResponseStore()},
		anthropic: &anthropic.Handler{Client: client, Strict: cfg.Strict, Reasoning: reasoning},
		ollama:    &ollama.Handler{Client: client, Strict: cfg.Strict, Reasoning: reasoning},
	}
	s.metrics = newMeters(cfg.SignIn.State, client)
	s.postRoutes, s.readRoutes = s.posts(), s.reads()
	return s
}

// ServeHTTP is the way of every request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	rec := &recorder{ResponseWriter: w}
	route := normalise(r.URL.Path)
	out := reply.Outcome{}
	defer func() {
		if crash := recover(); crash != nil {
			s.crashed(rec, route, crash)
			out.Cut = rec.status != 0
		}
		s.logRequest(r, route, rec.status, time.Since(start), out)
		if out.Cut {
			panic(http.ErrAbortHandler) // the connection is cut, so that half an answer does not look whole
		}
	}()

	if s.cfg.Demo {
		w.Header().Set("X-Codex-Proxy-Demo", "true")
	}
	if e := s.cfg.Guard.Check(rec, r); e != nil {
		s.writeError(rec, route, e)
		return
	}
	if s.cfg.Guard.Preflight(rec, r) {
		return
	}
	if route == "/health" {
		if s.cfg.Quiet {
			s.alive(rec, r)
		} else {
			s.health(rec, r)
		}
		return
	}
	if s.cfg.Admin != nil && strings.HasPrefix(route, "/admin/") {
		out = s.admin(rec, r, route)
		return
	}
	if e := s.cfg.Guard.Authorize(r); e != nil {
		s.writeError(rec, route, e)
		return
	}
	out = s.route(rec, r, route)
	out.Client = clientName(r.UserAgent())
	s.tally.add(out)
	s.metrics.add(route, rec.status, out)
}

func isRead(r *http.Request) bool { return r.Method == http.MethodGet || r.Method == http.MethodHead }

// usage passes the upstream's own answer on, for tools that ask a Codex backend how much is left.
func (s *Server) usage(w http.ResponseWriter, r *http.Request) (out reply.Outcome) {
	resp, err := s.Client.Usage(r.Context())
	if err != nil {
		out.Err = asError(err)
		openai.WriteError(w, out.Err)
		return out
	}
	defer resp.Body.Close()
	w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(resp.StatusCode)
	io.Copy(w, io.LimitReader(resp.Body, 1<<20)) //nolint:errcheck // the caller has gone
	return out
}

func asError(err error) *codex.Error {
	var e *codex.Error
	if errors.As(err, &e) {
		return e
	}
	return codex.Unreachable(err)
}

// withBody reads the body and calls a translator.
func (s *Server) withBody(w http.ResponseWriter, r *http.Request, translate func(http.ResponseWriter, *http.Request, []byte) reply.Outcome) reply.Outcome {
	body, err := readBody(w, r)
	if err != nil {
		e := err.(*codex.Error) //nolint:errorlint // readBody returns nothing else
		s.writeError(w, normalise(r.URL.Path), e)
		return reply.Outcome{Err: e}
	}
	return translate(w, r, body)
}

// welcome answers people who open the address in a browser, and programs that look whether somebody is there.
func (s *Server) welcome(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Write([]byte("Codex Proxy " + s.cfg.Version + " is running. Point your tool at this address with /v1 behind it; see /health for its state.\n")) //nolint:errcheck // the caller has gone
}

// normalise brings a path to the one under which it is routed: /v1 any number of times or never, doubled slashes and
// one at the end don't matter.
func normalise(p string) string {
	p = path.Clean("/" + p)
	for {
		rest, ok := strings.CutPrefix(p, "/v1")
		if !ok || (rest != "" && rest[0] != '/') {
			return p
		}
		if p = rest; p == "" {
			return "/"
		}
	}
}

// crashed answers for a handler that panicked.
func (s *Server) crashed(w *recorder, route string, crash any) {
	if crash == http.ErrAbortHandler { //nolint:errorlint // net/http compares it so
		return
	}
	s.cfg.Log.WithField("stack", string(debug.Stack())).Errorf("A request crashed: %T", crash)
	if w.status == 0 {
		s.writeError(w, route, &codex.Error{Status: http.StatusInternalServerError, Type: "server_error", Code: "internal_error",
			Message: "The proxy failed on this request. It is a bug: please report it with the line from the log"})
	}
}

// recorder remembers the status.
type recorder struct {
	http.ResponseWriter
	status int
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Flush and Unwrap keep what lies below usable.
func (w *recorder) Flush() {
	if f, ok := w.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
}

func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// logRequest writes the one line of a request: never a body, a header or a query.
func (s *Server) logRequest(r *http.Request, route string, status int, took time.Duration, out reply.Outcome) {
	fields := logrus.Fields{"method": r.Method, "route": route, "status": status, "ms": took.Milliseconds()}
	if len(route) > 80 {
		fields["route"] = route[:80]
	}
	if out.Model != "" {
		fields["model"] = out.Model
	}
	if out.InputTokens+out.OutputTokens > 0 {
		fields["in"], fields["out"] = out.InputTokens, out.OutputTokens
		if out.CachedTokens > 0 {
			fields["cached"] = out.CachedTokens
		}
	}
	if out.FirstToken > 0 {
		fields["first_ms"] = out.FirstToken.Milliseconds()
	}
	if len(out.Dropped) > 0 {
		fields["dropped"] = strings.Join(out.Dropped, ",")
	}
	if out.Gone {
		fields["gone"] = true
	}
	entry := s.cfg.Log.WithFields(fields)
	switch {
	case out.Err != nil:
		entry.WithField("code", out.Err.Code).Warn("request failed")
	case route == "/health":
		entry.Debug("request")
	default:
		entry.Info("request")
	}
}

// clientName is the first word of a user agent.
func clientName(userAgent string) string {
	name, _, _ := strings.Cut(userAgent, " ")
	name, _, _ = strings.Cut(name, "/")
	if name == "" {
		return "unknown"
	}
	return name[:min(len(name), 40)]
}

// tally counts what was dropped, by client and parameter. It is bounded: clients beyond the first come under "other".
type tally struct {
	mu     sync.Mutex
	counts map[string]map[string]int
}

const (
	tallyClients = 50
	tallyParams  = 100
)

func (t *tally) add(out reply.Outcome) {
	if len(out.Dropped) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts == nil {
		t.counts = map[string]map[string]int{}
	}
	client := out.Client
	if t.counts[client] == nil {
		if len(t.counts) >= tallyClients {
			client = "other"
		}
		if t.counts[client] == nil {
			t.counts[client] = map[string]int{}
		}
	}
	for _, param := range out.Dropped {
		if counts := t.counts[client]; counts[param] > 0 || len(counts) < tallyParams {
			counts[param]++
		}
	}
}

// snapshot returns a copy.
func (t *tally) snapshot() map[string]map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := map[string]map[string]int{}
	for client, counts := range t.counts {
		out[client] = map[string]int{}
		for param, n := range counts {
			out[client][param] = n
		}
	}
	return out
}
