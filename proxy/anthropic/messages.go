package anthropic

import (
	"encoding/json"
	"net/http"

	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/reply"
)

// Handler answers Anthropic's API. Its fields are set before use and not changed. Safe for concurrent use.
type Handler struct {
	Client    *codex.Client
	Reasoning *codex.ReasoningCache
}

// Messages answers POST /v1/messages.
func (h *Handler) Messages(w http.ResponseWriter, r *http.Request, body []byte) reply.Outcome {
	req, err := h.parse(r.Header, body)
	out := reply.Outcome{Model: req.Model, Streamed: req.stream, Dropped: req.Dropped}
	if err == nil {
		err = req.empty()
	}
	if err != nil {
		return h.fail(w, req, out, err)
	}
	s, err := h.Client.Stream(r.Context(), &req.Request)
	if err != nil {
		return h.fail(w, req, out, err)
	}
	defer s.Close()
	out.Began(&req.Request, s)
	a := newAnswer(req, out.Model)
	answer := reply.Answer{
		Encoder: a, Request: &req.Request, Events: &a.events, Whole: a.whole, Type: "application/json",
		Head: reply.SSE, Quiet: ping, Closing: a.closing,
		Broken: func(e *codex.Error) []byte { return sse("error", errorBody(e)) }, Error: WriteError,
	}
	if req.stream {
		answer.Opening = a.opening()
	}
	return answer.Give(w, s, h.Reasoning, out)
}

// CountTokens answers POST /v1/messages/count_tokens by an estimate, and says so in a header.
func (h *Handler) CountTokens(w http.ResponseWriter, _ *http.Request, body []byte) reply.Outcome {
	req, err := h.parse(nil, body)
	out := reply.Outcome{Model: req.Model}
	if err != nil {
		return h.fail(w, req, out, err)
	}
	w.Header().Set("X-Codex-Proxy-Estimated", "true")
	writeObject(w, map[string]int64{"input_tokens": req.Estimate()})
	return out
}

var ping = []byte("event: ping\ndata: {\"type\":\"ping\"}\n\n")

func sse(name string, data []byte) []byte {
	return append(append(append([]byte("event: "+name+"\ndata: "), data...), '\n'), '\n')
}

type usage struct {
	Input      int64 `json:"input_tokens"`
	CacheWrite int64 `json:"cache_creation_input_tokens"`
	CacheRead  int64 `json:"cache_read_input_tokens"`
	Output     int64 `json:"output_tokens"`

	ServerTools *serverTools `json:"server_tool_use,omitempty"`
}

// serverTools is how often the service's own tools were used.
type serverTools struct {
	WebSearch int `json:"web_search_requests"`
	WebFetch  int `json:"web_fetch_requests"`
}

type messageObject struct {
	ID           string            `json:"id"`
	Type         string            `json:"type"`
	Role         string            `json:"role"`
	Model        string            `json:"model"`
	Content      []json.RawMessage `json:"content"`
	StopReason   *string           `json:"stop_reason"`
	StopSequence *string           `json:"stop_sequence"`
	Usage        usage             `json:"usage"`
}

// opening is the events before the first block. The tokens are an estimate; the last event has the true number.
func (a *answer) opening() []byte {
	m := messageObject{a.id, "message", "assistant", a.model, []json.RawMessage{}, nil, nil, usage{Input: a.req.Estimate(), Output: 1}}
	return append(sse("message_start", encode(struct {
		Type    string        `json:"type"`
		Message messageObject `json:"message"`
	}{"message_start", m})), ping...)
}

func (a *answer) stopReason(end *codex.End) (reason string, sequence *string) {
	if a.hit != "" {
		return "stop_sequence", &a.hit
	}
	switch end.Reason {
	case "tool_calls":
		return "tool_use", nil
	case "length":
		return "max_tokens", nil
	case "content_filter":
		return "refusal", nil
	}
	return "end_turn", nil
}

func (a *answer) usage(end *codex.End) usage {
	u := usage{Input: max(end.Input-end.Cached, 0), CacheRead: end.Cached, Output: end.Output}
	if a.searches > 0 {
		u.ServerTools = &serverTools{WebSearch: a.searches}
	}
	return u
}

func (a *answer) closing(end *codex.End) []byte {
	reason, sequence := a.stopReason(end)
	return append(sse("message_delta", encode(map[string]any{
		"type": "message_delta", "delta": map[string]any{"stop_reason": reason, "stop_sequence": sequence}, "usage": a.usage(end),
	})), "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"...)
}

// whole is a buffered answer.
func (a *answer) whole(end *codex.End) []byte {
	reason, sequence := a.stopReason(end)
	content := a.blocks
	if content == nil {
		content = []json.RawMessage{}
	}
	return encode(messageObject{a.id, "message", "assistant", a.model, content, &reason, sequence, a.usage(end)})
}

// fail answers a request for which nothing has been sent yet.
func (h *Handler) fail(w http.ResponseWriter, req *request, out reply.Outcome, err error) reply.Outcome {
	if e := out.Fail(&req.Request, err); e != nil {
		reply.Announce(w.Header(), req.Dropped, e.Header())
		WriteError(w, e)
	}
	return out
}

// WriteError answers with an error in Anthropic's shape.
func WriteError(w http.ResponseWriter, e *codex.Error) { reply.WriteError(w, e, errorBody(e)) }

func errorBody(e *codex.Error) []byte {
	message := e.Message
	if e.Code == "context_length_exceeded" {
		message = "prompt is too long: " + message // by these words Claude Code knows that it should compact
	}
	body := map[string]any{"type": errorType(e), "message": message}
	if e.Code == threadNotFound {
		body["details"] = map[string]string{"error_code": e.Code}
	}
	return encode(map[string]any{"type": "error", "error": body})
}

// threadNotFound is Anthropic's word, by which its SDKs know what to do.
const threadNotFound = "thread_not_found"

// errorType is Anthropic's word. Source: Anthropic API reference, errors.
func errorType(e *codex.Error) string {
	switch e.Status {
	case http.StatusUnauthorized:
		return "authentication_error"
	case http.StatusPaymentRequired:
		return "billing_error"
	case http.StatusForbidden:
		return "permission_error"
	case http.StatusNotFound:
		return "not_found_error"
	case http.StatusRequestEntityTooLarge:
		return "request_too_large"
	case http.StatusTooManyRequests:
		return "rate_limit_error"
	case http.StatusServiceUnavailable:
		return "overloaded_error"
	case http.StatusGatewayTimeout:
		return "timeout_error"
	}
	if e.Status >= 500 {
		return "api_error"
	}
	return "invalid_request_error"
}
