package fakebackend

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"
)

// The public API as a sign-in with ChatGPT may use it: POST /v1/responses and GET /v1/models, and nothing else.
// Source: developers.openai.com/siwc: models-and-inference, preview-limitations, errors-and-recovery.

// siwcRefused are refused there although the public API takes them from others.
var siwcRefused = []string{"background", "conversation", "max_output_tokens", "max_tool_calls", "metadata", "moderation", "multi_agent", "prompt",
	"prompt_cache_retention", "safety_identifier", "temperature", "top_logprobs", "top_p", "truncation", "user", "previous_response_id"}

// backendHeaders belong to the Codex backend: whoever sends them here has mixed up the two.
var backendHeaders = []string{"Chatgpt-Account-Id", "Originator", "Version", "X-Openai-Fedramp", "X-Openai-Account-Routing-Override",
	"X-Openai-Internal-Codex-Responses-Lite", "X-Codex-Turn-Metadata", "X-Codex-Turn-State", "X-Codex-Window-Id", "X-Codex-Beta-Features", "X-Openai-Memgen-Request"}

const planScope = "chatgpt.tokens.use.direct"

func (b *Backend) publicAuthorize(w http.ResponseWriter, r *http.Request) bool {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	b.mu.Lock()
	a, known := b.access[token]
	down := b.down
	b.mu.Unlock()
	if !known {
		b.hesitate(r)
	}
	switch {
	case !ok || !known || down || time.Now().After(a.end):
		writeJSON(w, 401, publicError("invalid_api_key", "The access token is invalid or has expired.", ""))
	case !a.public:
		b.count(func(c *Counts) { c.Crossed++ })
		writeJSON(w, 401, publicError("invalid_api_key", "This token is not for this API.", ""))
	case b.Scope != "" && !slices.Contains(strings.Fields(b.Scope), planScope):
		writeJSON(w, 403, publicError("chatpass_v2_scope_not_authorized", "The token lacks the scope "+planScope+".", ""))
	case r.Header.Get("Cookie") != "" || r.Header.Get("X-Api-Key") != "":
		writeJSON(w, 400, publicError("invalid_request", "A client's own secrets were sent here", ""))
	case slices.ContainsFunc(backendHeaders, func(name string) bool { return r.Header.Get(name) != "" }):
		writeJSON(w, 400, publicError("invalid_request", "A header of the Codex backend was sent here", ""))
	default:
		return true
	}
	return false
}

// hesitate waits for as long as a refusal takes, or until the caller has gone.
func (b *Backend) hesitate(r *http.Request) {
	if b.RefusalDelay > 0 {
		select {
		case <-time.After(b.RefusalDelay):
		case <-r.Context().Done():
		}
	}
}

func publicError(code, message, param string) map[string]any {
	e := map[string]any{"message": message, "type": "invalid_request_error", "code": code, "param": nil}
	if param != "" {
		e["param"] = param
	}
	return map[string]any{"error": e}
}

func unsupported(param, format string, args ...any) map[string]any {
	return publicError("subscription_sharing_unsupported_capability", fmt.Sprintf(format, args...), param)
}

func (b *Backend) publicModels(w http.ResponseWriter, r *http.Request) {
	if _, err := b.record(r); err != nil || !b.publicAuthorize(w, r) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(b.Models) //nolint:errcheck // gone
}

// publicElsewhere answers on every other address of the public API.
func (b *Backend) publicElsewhere(w http.ResponseWriter, r *http.Request) {
	if _, err := b.record(r); err == nil && b.publicAuthorize(w, r) {
		writeJSON(w, 403, publicError("subscription_sharing_route_not_supported", "This route is not supported.", ""))
	}
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
			return 400, unsupported(name, "Unsupported parameter: '%s'.", name)
		}
		if !slices.Contains(allowedParams, name) || name == "client_metadata" {
			return 400, publicError("unknown_parameter", "Unknown parameter: '"+name+"'.", name)
		}
	}
	doc := gjson.ParseBytes(body)
	if _, ok := b.model(doc.Get("model").String()); !ok {
		return 404, publicError("model_not_found", "The model '"+doc.Get("model").String()+"' does not exist or you do not have access to it.", "model")
	}
	if !doc.Get("stream").Bool() || !doc.Get("store").Exists() || doc.Get("store").Bool() || !doc.Get("input").IsArray() || len(doc.Get("input").Array()) == 0 {
		return 400, publicError("invalid_value", "stream must be true, store must be false and input must be a list.", "")
	}
	names, problem := publicTools(doc)
	if problem != nil {
		return 400, problem
	}
	if choice := doc.Get("tool_choice"); choice.Get("name").Exists() && !names[choice.Get("name").Str] {
		return 400, publicError("invalid_value", "Tool choice '"+choice.Get("name").Str+"' not found in 'tools' parameter.", "tool_choice")
	}
	if format := doc.Get("text.format"); format.Get("type").Str == "json_schema" {
		if err := checkSchema("text.format", format.Get("schema"), format.Get("strict").Bool()); err != nil {
			return 400, publicError("invalid_json_schema", err.Error(), "text.format.schema")
		}
	}
	if strings.Contains(string(body), sealedByBackend) {
		return 400, publicError("invalid_encrypted_content", errSealed.Error(), "input")
	}
	if err := checkInput(doc.Get("input").Array()); err != nil {
		return 400, publicError("invalid_value", err.Error(), "input")
	}
	return 0, nil
}

// publicTools checks the tools, in both places where they may be, and returns the names of those that can be called.
func publicTools(doc gjson.Result) (names map[string]bool, problem map[string]any) {
	names = map[string]bool{}
	for _, t := range doc.Get("tools").Array() {
		switch kind := t.Get("type").Str; kind {
		case "web_search":
		case "function", "custom":
			return nil, unsupported("tools", "Function tools must be grouped in a namespace or supplied by additional_tools.")
		default:
			if problem := publicTool(t, names); problem != nil {
				return nil, problem
			}
		}
	}
	for _, item := range doc.Get("input").Array() {
		switch kind := item.Get("type").Str; kind {
		case "tool_search_call", "tool_search_output":
			return nil, unsupported("input", "The item '%s' is not available.", kind)
		case "additional_tools":
			if item.Get("role").Str != "developer" || len(item.Get("tools").Array()) == 0 {
				return nil, publicError("invalid_value", "additional_tools needs the role developer, and tools.", "input")
			}
			for _, t := range item.Get("tools").Array() {
				if problem := publicTool(t, names); problem != nil {
					return nil, problem
				}
			}
		}
	}
	return names, nil
}

// publicTool checks one tool and adds its name, or those in its namespace.
func publicTool(t gjson.Result, names map[string]bool) map[string]any {
	switch kind, name := t.Get("type").Str, t.Get("name").Str; kind {
	case "namespace":
		if name == "" || t.Get("description").Str == "" || len(t.Get("tools").Array()) == 0 {
			return publicError("invalid_value", "A namespace needs a name, a description and tools.", "tools")
		}
		for _, inner := range t.Get("tools").Array() {
			if kind := inner.Get("type").Str; kind != "function" && kind != "custom" {
				return unsupported("tools", "The tool '%s' can't be in a namespace.", kind)
			}
			if problem := publicTool(inner, names); problem != nil {
				return problem
			}
		}
	case "function", "custom":
		if !toolName().MatchString(name) || names[name] || (kind == "function" && !t.Get("parameters").IsObject()) || t.Get("defer_loading").Bool() {
			return publicError("invalid_value", "The tool '"+name+"' is not as it must be.", "tools")
		}
		names[name] = true
	default:
		return unsupported("tools", "The tool '%s' is not available.", kind)
	}
	return nil
}

// SignInWithChatGPT starts a chain of the public API's kind and returns its first tokens, and the client that they were
// issued to; the access token lives for life.
func (b *Backend) SignInWithChatGPT(life time.Duration) (t Tokens, client string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	client = "oaiapp_" + random()
	b.clients[client] = true
	return b.issueFor(&chain{client: client, nonce: random()}, life), client
}

// EndAccessOf makes the access tokens of one kind of sign-in invalid: those for the public API, or those for the Codex
// backend.
func (b *Backend) EndAccessOf(public bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.DeleteFunc(b.access, func(_ string, a access) bool { return a.public == public })
}
