package fakebackend

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"
)

// The public API as a sign-in with ChatGPT may use it: POST /v1/responses and GET /v1/models.

// siwcParams are refused there although the public API takes them from others.
var siwcRefused = []string{"background", "conversation", "max_output_tokens", "max_tool_calls", "metadata", "moderation", "multi_agent", "prompt",
	"prompt_cache_retention", "safety_identifier", "temperature", "top_logprobs", "top_p", "truncation", "user", "previous_response_id"}

func (b *Backend) publicAuthorize(w http.ResponseWriter, r *http.Request) bool {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	b.mu.Lock()
	a, known := b.access[token]
	b.mu.Unlock()
	switch {
	case !ok || !known || time.Now().After(a.end):
		writeJSON(w, 401, publicError("invalid_api_key", "The access token is invalid or has expired.", ""))
	case !a.public:
		writeJSON(w, 401, publicError("invalid_api_key", "This token is not for this API.", ""))
	case r.Header.Get("Cookie") != "" || r.Header.Get("X-Api-Key") != "":
		writeJSON(w, 400, publicError("invalid_request", "A client's own secrets were sent here", ""))
	default:
		return true
	}
	return false
}

func publicError(code, message, param string) map[string]any {
	e := map[string]any{"message": message, "type": "invalid_request_error", "code": code, "param": nil}
	if param != "" {
		e["param"] = param
	}
	return map[string]any{"error": e}
}

func (b *Backend) publicModels(w http.ResponseWriter, r *http.Request) {
	if _, err := b.record(r); err != nil || !b.publicAuthorize(w, r) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(b.Models) //nolint:errcheck // gone
}

func (b *Backend) publicResponses(w http.ResponseWriter, r *http.Request) {
	body, err := b.record(r)
	if err != nil {
		return
	}
	b.count(func(c *Counts) { c.Responses++; c.Open++ })
	defer b.count(func(c *Counts) { c.Open-- })
	if !b.publicAuthorize(w, r) {
		return
	}
	if status, problem := b.checkPublic(body); problem != nil {
		writeJSON(w, status, problem)
		return
	}
	b.answer(w, r, body)
}

func (b *Backend) checkPublic(body []byte) (int, map[string]any) {
	var params map[string]json.RawMessage
	if json.Unmarshal(body, &params) != nil {
		return 400, publicError("invalid_json", "The body is not JSON.", "")
	}
	for name := range params {
		if slices.Contains(siwcRefused, name) {
			return 400, publicError("unsupported_parameter", "Unsupported parameter: '"+name+"'.", name)
		}
		if !slices.Contains(allowedParams, name) || name == "client_metadata" {
			return 400, publicError("unknown_parameter", "Unknown parameter: '"+name+"'.", name)
		}
	}
	doc := gjson.ParseBytes(body)
	if _, ok := b.model(doc.Get("model").String()); !ok {
		return 404, publicError("model_not_found", "The model '"+doc.Get("model").String()+"' does not exist or you do not have access to it.", "model")
	}
	if !doc.Get("stream").Bool() || !doc.Get("store").Exists() || doc.Get("store").Bool() || !doc.Get("input").IsArray() {
		return 400, publicError("invalid_value", "stream must be true, store must be false and input must be a list.", "")
	}
	for _, t := range doc.Get("tools").Array() {
		switch kind := t.Get("type").Str; kind {
		case "namespace":
			if t.Get("name").Str == "" || t.Get("description").Str == "" || len(t.Get("tools").Array()) == 0 {
				return 400, publicError("invalid_value", "A namespace needs a name, a description and tools.", "tools")
			}
		case "web_search":
		case "function", "custom":
			return 400, publicError("subscription_sharing_unsupported_capability", "Function tools must be grouped in a namespace.", "tools")
		default:
			return 400, publicError("subscription_sharing_unsupported_capability", "The tool '"+kind+"' is not available.", "tools")
		}
	}
	if err := checkInput(doc.Get("input").Array()); err != nil {
		return 400, publicError("invalid_value", err.Error(), "input")
	}
	return 0, nil
}
