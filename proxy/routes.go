package proxy

import (
	"net/http"
	"strings"

	"codex-proxy/proxy/anthropic"
	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/ollama"
	"codex-proxy/proxy/openai"
	"codex-proxy/proxy/reply"
)

// posts are the addresses that take a body, as normalise leaves them.
func (s *Server) posts() map[string]func(http.ResponseWriter, *http.Request, []byte) reply.Outcome {
	return map[string]func(http.ResponseWriter, *http.Request, []byte) reply.Outcome{
		"/chat/completions":       s.openai.Chat,
		"/completions":            s.openai.Completions,
		"/responses":              s.openai.Responses,
		"/responses/input_tokens": s.openai.InputTokens,
		"/images/generations":     s.openai.Images,
		"/images/edits":           s.openai.Images,
		"/messages":               s.anthropic.Messages,
		"/messages/count_tokens":  s.anthropic.CountTokens,
		"/api/chat":               s.ollama.Chat,
		"/api/generate":           s.ollama.Generate,
		"/api/show":               s.ollama.Show,
	}
}

// reads are the addresses that are only read.
func (s *Server) reads() map[string]func(http.ResponseWriter, *http.Request) {
	return map[string]func(http.ResponseWriter, *http.Request){
		"/":            s.welcome,
		"/models":      s.openai.Models,
		"/metrics":     func(w http.ResponseWriter, _ *http.Request) { s.metrics.write(w) },
		"/api/version": s.ollama.Version,
		"/api/tags":    s.ollama.Tags,
		"/api/ps":      s.ollama.Running,
	}
}

// unavailable are addresses whose callers deserve a reason.
var unavailable = []struct{ prefix, why string }{
	{"/embeddings", "There are no embeddings with a ChatGPT plan."},
	{"/audio", "There is no audio with a ChatGPT plan."},
	{"/moderations", "There are no moderations with a ChatGPT plan."},
	{"/files", "There are no uploaded files with a ChatGPT plan: send them inside the request."},
	{"/batches", "There are no batches with a ChatGPT plan."},
	{"/fine_tuning", "There is no fine-tuning with a ChatGPT plan."},
	{"/assistants", "There are no assistants with a ChatGPT plan."},
	{"/threads", "There are no threads with a ChatGPT plan."},
	{"/conversations", "There are no stored conversations with a ChatGPT plan: send the whole conversation, or previous_response_id."},
}

const whatIsThere = "Here are: POST /v1/chat/completions, /v1/completions, /v1/responses, /v1/messages, /v1/images/generations, /api/chat, /api/generate; GET /v1/models, /health, /metrics"

// route hands the request to the handler of its path and method.
func (s *Server) route(w http.ResponseWriter, r *http.Request, route string) (out reply.Outcome) {
	post, takesBody := s.postRoutes[route]
	read, isReadable := s.readRoutes[route]
	response, underResponses := strings.CutPrefix(route, "/responses/")
	model, isModel := strings.CutPrefix(route, "/models/")
	switch {
	case takesBody && r.Method == http.MethodPost:
		return s.withBody(w, r, post)
	case isReadable && isRead(r):
		read(w, r)
		return out
	case isModel && isRead(r):
		s.openai.Model(w, r, model)
		return out
	case route == "/responses" && strings.EqualFold(r.Header.Get("Upgrade"), "websocket"):
		return s.webSocket(w, r)
	case (route == "/api/codex/usage" || route == "/backend-api/wham/usage") && isRead(r):
		return s.usage(w, r)
	case underResponses && (strings.HasPrefix(response, "resp") || r.Method != http.MethodPost):
		return s.openai.Stored(w, r, response)
	case underResponses: // what else the backend has there
		return s.withBody(w, r, func(w http.ResponseWriter, r *http.Request, body []byte) reply.Outcome {
			return s.openai.Forward(w, r, response, body)
		})
	case takesBody, isReadable, isModel:
		allow := "GET, HEAD"
		if takesBody {
			allow = http.MethodPost
		}
		w.Header().Set("Allow", allow)
		out.Err = &codex.Error{Status: http.StatusMethodNotAllowed, Type: "invalid_request_error", Code: "method_not_allowed",
			Message: r.Method + " does not work here. Use " + allow}
	case strings.HasPrefix(route, "/api/"):
		return s.ollama.Unavailable(w, route)
	default:
		out.Err = notFound(route)
	}
	s.writeError(w, route, out.Err)
	return out
}

func notFound(route string) *codex.Error {
	why := "There is nothing at this address."
	for _, u := range unavailable {
		if strings.HasPrefix(route, u.prefix) {
			why = u.why
		}
	}
	return &codex.Error{Status: http.StatusNotFound, Type: "invalid_request_error", Code: "unknown_url", Message: why + " " + whatIsThere}
}

// writeError answers in the dialect of the route.
func (s *Server) writeError(w http.ResponseWriter, route string, e *codex.Error) {
	switch {
	case route == "/messages" || strings.HasPrefix(route, "/messages/"):
		anthropic.WriteError(w, e)
	case strings.HasPrefix(route, "/api/") && route != "/api/codex/usage":
		ollama.WriteError(w, e)
	default:
		openai.WriteError(w, e)
	}
}
