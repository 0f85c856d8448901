package gemini

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/reply"
)

// Handler answers the Gemini API. Its fields are set before use and not changed. Safe for concurrent use.
type Handler struct {
	Client    *codex.Client
	Reasoning *codex.ReasoningCache
}

// Split parts an address below models/ into the model's name and what it is asked to do.
func Split(path string) (model, method string) {
	if i := strings.LastIndexByte(path, ':'); i >= 0 {
		return path[:i], path[i+1:]
	}
	return path, ""
}

// Ask answers POST /v1beta/models/{model}:generateContent, :streamGenerateContent and :countTokens.
func (h *Handler) Ask(w http.ResponseWriter, r *http.Request, body []byte) reply.Outcome {
	model, method := Split(r.PathValue("model"))
	switch method {
	case "generateContent", "streamGenerateContent":
		query := r.URL.Query()
		return h.generate(w, r, model, body, method == "streamGenerateContent", query.Get("alt") == "sse" || query.Get("$alt") == "sse")
	case "countTokens":
		return h.countTokens(w, model, body)
	}
	return h.fail(w, nil, reply.Outcome{Model: model}, &codex.Error{Status: http.StatusNotImplemented, Type: "invalid_request_error", Code: "not_available",
		Message: fmt.Sprintf("models/%.80s is not available with a ChatGPT plan. There are models/MODEL:generateContent, :streamGenerateContent and :countTokens", r.PathValue("model"))})
}

func (h *Handler) generate(w http.ResponseWriter, r *http.Request, model string, body []byte, stream, sse bool) reply.Outcome {
	req, err := h.parse(model, body)
	out := reply.Outcome{Model: req.Model, Streamed: stream, Dropped: req.Dropped}
	if err != nil {
		return h.fail(w, req, out, err)
	}
	s, err := h.Client.Stream(r.Context(), &req.Request)
	if err != nil {
		return h.fail(w, req, out, err)
	}
	defer s.Close()
	out.Began(&req.Request, s)
	a := newAnswer(req, out.Model, stream, sse)
	answer := reply.Answer{
		Encoder: a, Request: &req.Request, Events: &a.events, Whole: a.whole, Type: jsonType,
		Head: reply.SSE, Quiet: reply.Comment, Closing: a.closing, Broken: a.broken, Error: WriteError,
	}
	if !sse {
		answer.Opening, answer.Quiet = []byte("["), []byte("\n")
		answer.Head = func(head http.Header) {
			reply.SSE(head)
			head.Set("Content-Type", jsonType)
		}
	}
	return answer.Give(w, s, h.Reasoning, out)
}

// broken is the last chunk of a stream that failed.
func (a *answer) broken(e *codex.Error) []byte {
	a.out = a.out[:0]
	a.begin()
	a.out = append(a.out, errorBody(e)...)
	a.end()
	if !a.sse {
		a.out = append(a.out, "]\n"...)
	}
	return a.Take()
}

// countTokens answers by an estimate, and says so in a header.
func (h *Handler) countTokens(w http.ResponseWriter, model string, body []byte) reply.Outcome {
	if whole, ok := wholeRequest(body); ok {
		body = whole
	}
	req, err := h.parse(model, body)
	out := reply.Outcome{Model: req.Model}
	if err != nil {
		return h.fail(w, req, out, err)
	}
	w.Header().Set("X-Codex-Proxy-Estimated", "true")
	writeJSON(w, map[string]int64{"totalTokens": req.Estimate()})
	return out
}

// modelObject is an entry of the list. Source: Gemini API reference, models.
type modelObject struct {
	Name        string   `json:"name"`
	Version     string   `json:"version"`
	DisplayName string   `json:"displayName"`
	Input       int      `json:"inputTokenLimit,omitempty"`
	Methods     []string `json:"supportedGenerationMethods"`
	Thinking    bool     `json:"thinking"`
}

func toModelObject(m codex.Model) modelObject {
	name := m.Name
	if name == "" {
		name = m.ID
	}
	return modelObject{"models/" + m.ID, m.ID, name, m.ContextWindow, []string{"generateContent", "countTokens"}, len(m.Efforts) > 0}
}

// Models answers GET /v1beta/models, page by page where the caller wants it so.
func (h *Handler) Models(w http.ResponseWriter, r *http.Request) {
	h.Client.Models.Fetch(r.Context(), h.Client) //nolint:errcheck // the list at hand is used
	all := h.Client.Models.All()
	from, _ := strconv.Atoi(r.URL.Query().Get("pageToken"))
	size, _ := strconv.Atoi(r.URL.Query().Get("pageSize"))
	if size <= 0 {
		size = len(all)
	}
	from = min(max(from, 0), len(all))
	to := from + min(size, len(all)-from)
	page := struct {
		Models []modelObject `json:"models"`
		Next   string        `json:"nextPageToken,omitempty"`
	}{Models: []modelObject{}}
	for _, m := range all[from:to] {
		page.Models = append(page.Models, toModelObject(m))
	}
	if to < len(all) {
		page.Next = strconv.Itoa(to)
	}
	writeJSON(w, page)
}

// Model answers GET /v1beta/models/{model}, also for a name with an effort.
func (h *Handler) Model(w http.ResponseWriter, r *http.Request) {
	h.Client.Models.Fetch(r.Context(), h.Client) //nolint:errcheck // the list at hand is used
	name := r.PathValue("model")
	if name == "" {
		name = r.PathValue("id") // of the address that OpenAI's API has, too
	}
	id, _ := h.Client.Models.Resolve(name, "")
	m, ok := h.Client.Models.Find(id)
	if !ok {
		WriteError(w, &codex.Error{Status: http.StatusNotFound, Code: "model_not_found",
			Message: fmt.Sprintf("There is no model %.80q here. GET /v1beta/models lists those of your plan", name)})
		return
	}
	object := toModelObject(m)
	object.Name = "models/" + name
	writeJSON(w, object)
}

// fail answers a request for which nothing has been sent yet.
func (h *Handler) fail(w http.ResponseWriter, req *request, out reply.Outcome, err error) reply.Outcome {
	var r *codex.Request
	if req != nil {
		r = &req.Request
	}
	if e := out.Fail(r, err); e != nil {
		reply.Announce(w.Header(), out.Dropped, e.Header())
		WriteError(w, e)
	}
	return out
}

// WriteError answers with an error in Google's shape.
func WriteError(w http.ResponseWriter, e *codex.Error) { reply.WriteError(w, e, errorBody(e)) }

// statuses are Google's words. Source: google.rpc.Code.
var statuses = map[int]string{
	http.StatusUnauthorized: "UNAUTHENTICATED", http.StatusPaymentRequired: "FAILED_PRECONDITION", http.StatusForbidden: "PERMISSION_DENIED", http.StatusNotFound: "NOT_FOUND",
	http.StatusMethodNotAllowed: "UNIMPLEMENTED", http.StatusConflict: "ABORTED", http.StatusTooManyRequests: "RESOURCE_EXHAUSTED",
	http.StatusInternalServerError: "INTERNAL", http.StatusNotImplemented: "UNIMPLEMENTED", http.StatusBadGateway: "UNAVAILABLE",
	http.StatusServiceUnavailable: "UNAVAILABLE", http.StatusGatewayTimeout: "DEADLINE_EXCEEDED",
}

// errorBody is an error in Google's shape. Source: google.rpc.Status and error_details.
func errorBody(e *codex.Error) []byte {
	status := statuses[e.Status]
	switch {
	case status == "" && e.Status >= 500:
		status = "INTERNAL"
	case status == "":
		status = "INVALID_ARGUMENT"
	}
	details := []any{}
	if e.Code != "" {
		details = append(details, map[string]string{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": strings.ToUpper(e.Code), "domain": "codex-proxy"})
	}
	if e.RetryAfter > 0 {
		seconds := strconv.FormatInt(int64((e.RetryAfter+time.Second-1)/time.Second), 10)
		details = append(details, map[string]string{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": seconds + "s"})
	}
	return reply.Encode(map[string]any{"error": map[string]any{"code": e.Status, "message": e.Message, "status": status, "details": details}})
}

const jsonType = "application/json; charset=utf-8"

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", jsonType)
	w.Write(append(reply.Encode(v), '\n')) //nolint:errcheck // the caller has gone
}
