package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"path"
	"strings"

	"github.com/tidwall/gjson"

	"codex-proxy/proxy/anthropic"
	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/gemini"
	"codex-proxy/proxy/ollama"
	"codex-proxy/proxy/openai"
	"codex-proxy/proxy/reply"
)

// routes registers every address, as normalise leaves them.
func (s *Server) routes() {
	for pattern, translate := range map[string]func(http.ResponseWriter, *http.Request, []byte) reply.Outcome{
		"POST /chat/completions":        s.openai.Chat,
		"POST /completions":             s.openai.Completions,
		"POST /responses":               s.openai.Responses,
		"POST /responses/input_tokens":  s.openai.InputTokens,
		"POST /responses/compact":       s.openai.Compact,
		"POST /alpha/search":            s.openai.Alpha,
		"POST /memories/{call}":         s.openai.Alpha,
		"POST /alpha/history/v2/{call}": s.openai.Alpha,
		"POST /alpha/notes/v2/{call}":   s.openai.Alpha,
		"POST /images/generations":      s.openai.Images,
		"POST /images/edits":            s.openai.Images,
		"POST /messages":                s.anthropic.Messages,
		"POST /messages/count_tokens":   s.anthropic.CountTokens,
		"POST /api/chat":                s.ollama.Chat,
		"POST /api/generate":            s.ollama.Generate,
		"POST /api/show":                s.ollama.Show,
		"POST /v1beta/models/{model}":   s.gemini.Ask,
		"POST /v1alpha/models/{model}":  s.gemini.Ask,
		"POST /models/{model}":          s.gemini.Ask, // the same API's v1
	} {
		s.handle(pattern, s.withBody(translate))
	}
	for pattern, read := range map[string]http.HandlerFunc{
		"GET /{$}":                    s.welcome,
		"GET /models":                 chosen(s.gemini.Models, s.anthropic.Models, s.openai.Models),
		"GET /models/{id...}":         chosen(s.gemini.Model, s.anthropic.Model, s.openai.Model),
		"GET /api/hello":              s.welcome, // Claude Code warms its connection
		"GET /metrics":                s.metrics.write,
		"GET /api/version":            s.ollama.Version,
		"GET /api/tags":               s.ollama.Tags,
		"GET /api/ps":                 s.ollama.Running,
		"GET /v1beta/models":          s.gemini.Models,
		"GET /v1beta/models/{model}":  s.gemini.Model,
		"GET /v1alpha/models":         s.gemini.Models,
		"GET /v1alpha/models/{model}": s.gemini.Model,
	} {
		s.handle(pattern, func(w http.ResponseWriter, r *http.Request) (out reply.Outcome) {
			s.begin(&w.(*exchange).start)
			read(w, r)
			return out
		})
	}
	s.handle("GET /responses", s.webSocket)
	s.handle("GET /responses/{id}", s.openai.StoredResponse)
	s.handle("DELETE /responses/{id}", s.openai.DeleteResponse)
	s.handle("GET /responses/{id}/input_items", s.openai.InputItems)
	s.handle("POST /responses/{id}/cancel", s.openai.CancelResponse)
	for _, call := range codex.AccountCalls {
		s.handle("GET /api/codex"+call, s.account(call))
		s.handle("GET /backend-api/wham"+call, s.account(call))
	}
	s.open("GET /health", s.health)
	s.adminRoutes()
}

// chosen chooses between three APIs that have the same address: Google's SDKs name themselves, and Anthropic's callers
// the version of their API.
func chosen(google, anthropic, openai http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("X-Goog-Api-Key") != "" || r.Header.Get("X-Goog-Api-Client") != "":
			google(w, r)
		case r.Header.Get("Anthropic-Version") != "":
			anthropic(w, r)
		default:
			openai(w, r)
		}
	}
}

// handler answers a request and tells how that went.
type handler func(http.ResponseWriter, *http.Request) reply.Outcome

// handle registers an address for callers whom the guard lets in.
func (s *Server) handle(pattern string, h handler) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		w.(*exchange).out = h(w, r)
	})
}

// open registers an address that asks for no key, or for one of its own.
func (s *Server) open(pattern string, h handler) {
	s.handle(pattern, h)
	s.keyless[pattern] = true
}

// withBody reads the body before it calls a translator.
func (s *Server) withBody(translate func(http.ResponseWriter, *http.Request, []byte) reply.Outcome) handler {
	return func(w http.ResponseWriter, r *http.Request) (out reply.Outcome) {
		x := w.(*exchange)
		body, err := s.readBody(w, r, &x.claim)
		if err != nil {
			out.Err = s.asError(err)
			s.writeError(w, x.path, out.Err)
			return out
		}
		if s.cfg.OnStart != nil {
			model, _ := gemini.Split(r.PathValue("model")) // in the address, there
			if model == "" {
				model = gjson.GetBytes(body, "model").String()
			}
			x.start.Model = clip(model, longestModel)
		}
		s.begin(&x.start)
		return translate(w, r, body)
	}
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

// split is the path of a pattern of the mux.
func split(pattern string) string {
	if _, path, ok := strings.Cut(pattern, " "); ok {
		pattern = path
	}
	return strings.TrimSuffix(strings.ReplaceAll(pattern, "...}", "}"), "{$}")
}

// dialect is whose words are spoken at an address.
func dialect(path string) string {
	switch {
	case path == "/messages" || strings.HasPrefix(path, "/messages/"):
		return "anthropic"
	case strings.HasPrefix(path, "/api/") && !strings.HasPrefix(path, "/api/codex/"):
		return "ollama"
	case strings.HasPrefix(path, "/v1beta/"), strings.HasPrefix(path, "/upload/v1beta/"), strings.HasPrefix(path, "/v1alpha/"), strings.HasPrefix(path, "/models/") && strings.Contains(path, ":"):
		return "gemini"
	case path == "/", path == "/health", path == "/metrics", path == "/admin", strings.HasPrefix(path, "/admin/"):
		return ""
	}
	return "openai"
}

// unavailable are addresses whose callers deserve a reason.
var unavailable = []struct{ prefix, why string }{
	{"/embeddings", "There are no embeddings with a ChatGPT plan."},
	{"/audio", "There is no audio with a ChatGPT plan."},
	{"/moderations", "There are no moderations with a ChatGPT plan."},
	{"/files", "There are no uploaded files with a ChatGPT plan: send them inside the request."},
	{"/batches", "There are no batches with a ChatGPT plan."},
	{"/messages/batches", "There are no batches with a ChatGPT plan."},
	{"/realtime", "There is no audio with a ChatGPT plan."},
	{"/vector_stores", "There are no stored files with a ChatGPT plan."},
	{"/images/variations", "There are no variations with a ChatGPT plan: ask for one at /v1/images/edits."},
	{"/fine_tuning", "There is no fine-tuning with a ChatGPT plan."},
	{"/assistants", "There are no assistants with a ChatGPT plan."},
	{"/threads", "There are no threads with a ChatGPT plan."},
	{"/conversations", "There are no stored conversations with a ChatGPT plan: send the whole conversation, or previous_response_id."},
	{"/api/codex/", aboutAccount},
	{"/backend-api/", aboutAccount},
	{"/v1beta/files", "There are no uploaded files with a ChatGPT plan: send them in inlineData."},
	{"/upload/v1beta/files", "There are no uploaded files with a ChatGPT plan: send them in inlineData."},
	{"/v1beta/cachedContents", "There are no stored contents with a ChatGPT plan: the backend caches by itself."},
	{"/v1beta/interactions", "There are no interactions with a ChatGPT plan: use generateContent."},
}

const aboutAccount = "Of what the Codex CLI asks about the account there are: GET /api/codex/usage, GET /api/codex/rate-limit-reset-credits, and the same below /backend-api/wham."

const whatIsThere = "Here are: POST /v1/chat/completions, /v1/completions, /v1/responses, /v1/messages, /v1/images/generations, /api/chat, /api/generate, /v1beta/models/MODEL:generateContent; GET /v1/models, /health, /metrics"

// nowhere answers for an address or a method that the mux does not have. What it would say itself, it says in JSON.
func (s *Server) nowhere(w *exchange, r *http.Request, mux http.Handler) (out reply.Outcome) {
	said := discard{http.Header{}}
	mux.ServeHTTP(said, r)
	switch allow := said.header.Get("Allow"); {
	case allow != "":
		w.Header().Set("Allow", allow)
		out.Err = &codex.Error{Status: http.StatusMethodNotAllowed, Type: "invalid_request_error", Code: "method_not_allowed",
			Message: r.Method + " does not work here. Use " + allow}
	case dialect(w.path) == "ollama":
		return s.ollama.Unavailable(w, w.path)
	default:
		why := "There is nothing at this address."
		for _, u := range unavailable {
			if strings.HasPrefix(w.path, u.prefix) {
				why = u.why
			}
		}
		out.Err = unknownURL(why + " " + whatIsThere)
	}
	s.writeError(w, w.path, out.Err)
	return out
}

func unknownURL(message string) *codex.Error {
	return &codex.Error{Status: http.StatusNotFound, Type: "invalid_request_error", Code: "unknown_url", Message: message}
}

// discard keeps the header of an answer only.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}

// writeError answers in the dialect of the address.
func (s *Server) writeError(w http.ResponseWriter, path string, e *codex.Error) {
	switch dialect(path) {
	case "anthropic":
		anthropic.WriteError(w, e)
	case "ollama":
		ollama.WriteError(w, e)
	case "gemini":
		gemini.WriteError(w, e)
	default:
		openai.WriteError(w, e)
	}
}

// asError is the *codex.Error in err. Whoever could not be reached for another reason was the upstream.
func (s *Server) asError(err error) *codex.Error {
	var e *codex.Error
	if errors.As(err, &e) {
		return e
	}
	return codex.Unreachable(err, s.cfg.Advice)
}

// account passes the upstream's own answer on, for tools that ask a Codex backend how much is left.
func (s *Server) account(call string) handler {
	return func(w http.ResponseWriter, r *http.Request) (out reply.Outcome) {
		resp, err := s.Client.Account(r.Context(), call)
		if err != nil {
			if out.Gone = errors.Is(err, context.Canceled); !out.Gone {
				out.Err = s.asError(err)
				openai.WriteError(w, out.Err)
			}
			return out
		}
		defer resp.Body.Close()
		w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
		w.Header().Set("Cache-Control", "no-store")
		io.Copy(w, io.LimitReader(resp.Body, 1<<20)) //nolint:errcheck // the caller has gone
		return out
	}
}

// welcome answers people who open the address in a browser, and programs that look whether somebody is there.
func (s *Server) welcome(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	io.WriteString(w, "Codex Proxy "+s.cfg.Version+" is running. Point your tool at this address with /v1 behind it; see /health for its state.\n") //nolint:errcheck // the caller has gone
}

// refuseWebSocket answers an upgrade that is not taken.
func (s *Server) refuseWebSocket(w http.ResponseWriter) (out reply.Outcome) {
	s.begin(&w.(*exchange).start)
	w.Header().Set("Upgrade", "HTTP/1.1")
	out.Err = &codex.Error{Status: http.StatusUpgradeRequired, Type: "invalid_request_error", Code: "websocket_not_available",
		Message: "This WebSocket is not available here. Send a POST"}
	openai.WriteError(w, out.Err)
	return out
}

// postOnly answers a GET that is no upgrade where the mux knows one that is.
func (s *Server) postOnly(w http.ResponseWriter, r *http.Request) (out reply.Outcome) {
	s.begin(&w.(*exchange).start)
	w.Header().Set("Allow", http.MethodPost)
	out.Err = &codex.Error{Status: http.StatusMethodNotAllowed, Type: "invalid_request_error", Code: "method_not_allowed",
		Message: r.Method + " does not work here. Use " + http.MethodPost}
	openai.WriteError(w, out.Err)
	return out
}
