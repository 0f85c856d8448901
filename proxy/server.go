// Package proxy is the local server: it guards, routes, and hands each request to the translator of its dialect.
// The way of a request is Server.ServeHTTP, from top to bottom.
package proxy

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"codex-proxy/creds"
	"codex-proxy/proxy/anthropic"
	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/gemini"
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

	WebSocket bool // continue runs of tool calls over WebSocket to the backend; not in a Worker
	// Moves is codex.Sockets'.
	Moves func() int

	Model         string            // for requests that name none; empty for the first of the plan's list
	DefaultEffort string            // for requests that name none; empty for the model's own
	Aliases       map[string]string // see codex.Catalogue
	ModelCache    codex.ModelCache  // may be nil

	// Memory is what all request bodies and WebSocket messages together may take until they are answered, in bytes; 0
	// for 256 MB.
	Memory int64
	// BodyMost is the largest request body, unpacked, in bytes; 0 for 64 MB.
	BodyMost int

	Guard   Guard
	Admin   *Admin // nil without an admin API
	Version string
	Demo    bool // answers come from the built-in demo backend
	Log     *logrus.Logger

	// Advice words what people can do about errors, here and in Guard if that has none; nil for a terminal's words.
	Advice codex.Advice

	// OnStart and OnRequest hear of each request: when it has been read, and when it has been answered. Both are called
	// from the request's own goroutine, so they must be fast and safe for concurrent use. May be nil.
	OnStart   func(Start)
	OnRequest func(Record)
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
	gemini    *gemini.Handler
	started   time.Time
	dropped   dropCounter
	metrics   *serverMetrics
	tally     tally

	mux      *http.ServeMux
	keyless  map[string]bool // patterns that ask for no key of the guard's
	requests atomic.Uint64   // since the start
	bodies   *budget
	sockets  atomic.Int64 // open now
	patience patience
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
		Strict:       cfg.Strict,
		Advice:       cfg.Advice,
		Zstd:         zstdPacker(),
		Sockets:      upstreamSockets(cfg),
	}
	client.Models.Aliases, client.Models.DefaultEffort = cfg.Aliases, cfg.DefaultEffort
	if cfg.Guard.Advice == nil {
		cfg.Guard.Advice = cfg.Advice
	}
	if cfg.BodyMost == 0 {
		cfg.BodyMost = bodyMost
	}
	if cfg.Memory == 0 {
		cfg.Memory = bodiesMost
	}
	reasoning := codex.NewReasoningCache()
	s := &Server{
		Client: client, cfg: cfg, started: time.Now(),
		openai:    &openai.Handler{Client: client, Reasoning: reasoning, Store: openai.NewResponseStore()},
		anthropic: &anthropic.Handler{Client: client, Reasoning: reasoning},
		ollama:    &ollama.Handler{Client: client, Reasoning: reasoning},
		gemini:    &gemini.Handler{Client: client, Reasoning: reasoning},
		metrics:   newServerMetrics(cfg.SignIn.State, client),
		mux:       http.NewServeMux(),
		keyless:   map[string]bool{},
		bodies:    newBudget(cfg.Memory),
		patience:  bodyPatience,
	}
	s.routes()
	return s
}

// ServeHTTP is the way of every request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{ResponseWriter: w, path: normalise(r.URL.Path), claim: claim{from: s.bodies}}
	x.start = Start{Time: time.Now(), Dialect: dialect(x.path), Transport: TransportHTTP, Client: clientName("", r.Header)}
	defer x.claim.release()
	defer func() {
		if cause := recover(); cause != nil && cause != http.ErrAbortHandler { //nolint:errorlint // net/http compares it so
			x.out.Err, x.out.Cut = codex.Crashed(cause), x.status != 0
			if !x.out.Cut {
				s.writeError(x, x.path, x.out.Err)
			}
		}
		if !x.socket {
			if x.start.ID == 0 {
				s.begin(&x.start)
			}
			s.finish(record(x.start, r.Method, x.status, x.out), x.path, x.out)
		}
		if x.out.Cut || x.out.Gone {
			panic(http.ErrAbortHandler) // the connection is cut, so that half an answer does not look whole, nor none like an empty one
		}
	}()

	if s.cfg.Demo {
		w.Header().Set("X-Codex-Proxy-Demo", "true")
	}
	if x.out.Err = s.cfg.Guard.Check(x, r); x.out.Err != nil {
		s.writeError(x, x.path, x.out.Err)
		return
	}
	if s.cfg.Guard.Preflight(x, r) {
		return
	}
	routed := *r // the mux sees the path that normalise made
	where := *r.URL
	where.Path, where.RawPath = x.path, ""
	routed.URL = &where
	mux, pattern := s.mux.Handler(&routed)
	x.start.Route = split(pattern)
	if !s.keyless[pattern] {
		var name string
		if name, x.out.Err = s.cfg.Guard.Authorize(&routed); x.out.Err != nil {
			s.writeError(x, x.path, x.out.Err)
			return
		}
		x.start.Client = clientName(name, r.Header)
		if x.start.Dialect != "" {
			x.usage = s.Client.UsageTracker
		}
	}
	if pattern == "" {
		x.out = s.nowhere(x, &routed, mux)
		return
	}
	s.mux.ServeHTTP(x, &routed)
}

// exchange is one request and its answer, on their way through the server.
type exchange struct {
	http.ResponseWriter
	path   string // as normalise leaves it
	start  Start
	status int // that was sent; 0 for none
	out    reply.Outcome
	claim  claim
	socket bool                // it became a WebSocket, whose turns are recorded one by one
	usage  *codex.UsageTracker // what the answer tells of the plan; nil for a caller who may not use it, and for no answer of an API
}

// WriteHeader sends the status. By then what the backend said of the plan with this very answer is known.
func (x *exchange) WriteHeader(status int) {
	if x.usage != nil {
		announceLimits(x.Header(), x.usage.Current(), time.Now())
	}
	if x.status == 0 && status >= http.StatusOK {
		x.status = status
	}
	x.ResponseWriter.WriteHeader(status)
}

func (x *exchange) Write(b []byte) (int, error) {
	if x.status == 0 {
		x.WriteHeader(http.StatusOK)
	}
	return x.ResponseWriter.Write(b)
}

// Flush and Unwrap keep what lies below usable.
func (x *exchange) Flush() {
	if f, ok := x.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
}

func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }
