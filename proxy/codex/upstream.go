package codex

import (
	"bytes"
	"encoding/json"
	"net/http"
	"runtime"
	"slices"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"codex-proxy/creds"
)

// ProtocolVersion is the version of the Codex CLI whose protocol this program speaks. The backend offers newer models
// only to clients that name a version that knows them. It goes into the version header, never into the user agent.
const ProtocolVersion = "0.169.0"

// Upstream is one of OpenAI's services that answers for a ChatGPT plan: where it is and what it takes.
type Upstream struct {
	ResponsesURL string
	ModelsURL    string
	UsageURL     string

	// Params are the body fields that go up. Everything else is dropped or refused before.
	Params map[string]bool
	// Header sets what the service wants to see on each request.
	Header func(h http.Header, t creds.Token)
	// Namespace, when set, is the group in which functions and custom tools must be; they are put there.
	Namespace string
	// Tools are the hosted tools that the service has; nil where it has those of the Codex backend.
	Tools []string
	// DefaultInstructions is sent when the caller has none; empty where none are needed.
	DefaultInstructions string
}

// Identity is who we say we are.
type Identity struct {
	Originator string // names the program
	UserAgent  string
}

// NewIdentity returns this program's own name. It is never another program's.
func NewIdentity(version string) Identity {
	return Identity{Originator: "codex-proxy", UserAgent: "codex-proxy/" + version + " (" + runtime.GOOS + "; " + runtime.GOARCH + ")"}
}

// Backend is the ChatGPT Codex backend under baseURL (https://chatgpt.com/backend-api), for sign-ins of the Codex
// CLI's kind. Source: captured from Codex CLI 0.169; the list is the backend's own, which refuses what is not on it.
func Backend(baseURL string, id Identity) Upstream {
	return Upstream{
		ResponsesURL: baseURL + "/codex/responses",
		ModelsURL:    baseURL + "/codex/models?client_version=" + ProtocolVersion,
		UsageURL:     baseURL + "/wham/usage",
		Params: set("model", "instructions", "input", "tools", "tool_choice", "parallel_tool_calls", "reasoning",
			"include", "service_tier", "prompt_cache_key", "text", "client_metadata"),
		Header: func(h http.Header, t creds.Token) {
			h.Set("Authorization", "Bearer "+t.Access)
			if t.AccountID != "" {
				h.Set("Chatgpt-Account-Id", t.AccountID)
			}
			if t.FedRAMP {
				h.Set("X-Openai-Fedramp", "true")
			}
			h.Set("Originator", id.Originator)
			h.Set("User-Agent", id.UserAgent)
			h.Set("Version", ProtocolVersion)
		},
		DefaultInstructions: "You are a helpful assistant.",
	}
}

// Public is OpenAI's public API under baseURL (https://api.openai.com/v1), for a "Sign in with ChatGPT".
// Source: developers.openai.com/siwc/models-and-inference and /preview-limitations.
func Public(baseURL string, id Identity) Upstream {
	return Upstream{
		ResponsesURL: baseURL + "/responses",
		ModelsURL:    baseURL + "/models",
		Params: set("model", "instructions", "input", "tools", "tool_choice", "parallel_tool_calls", "reasoning",
			"include", "service_tier", "prompt_cache_key", "text"),
		Header: func(h http.Header, t creds.Token) {
			h.Set("Authorization", "Bearer "+t.Access)
			h.Set("User-Agent", id.UserAgent)
			for _, name := range nativeHeaders { // those are the Codex backend's
				h.Del(name)
			}
		},
		Namespace: "tools",
		Tools:     []string{"web_search", "namespace"},
	}
}

// tools returns the request's tools as the upstream takes them.
func (u Upstream) tools(r *Request, advice Advice) ([]json.RawMessage, error) {
	if u.Tools == nil && u.Namespace == "" {
		return r.Tools, nil
	}
	var out, grouped []json.RawMessage
	for _, t := range r.Tools {
		kind := gjson.GetBytes(t, "type").String()
		if kind == "function" || kind == "custom" {
			grouped = append(grouped, t)
			continue
		}
		if u.Tools != nil && !slices.Contains(u.Tools, kind) {
			return nil, Invalid("tools", "The tool %.80q is not available with Sign in with ChatGPT. Remove it, or use a sign-in that may have it: %s", kind, advice.For(RemedySignInCodex))
		}
		out = append(out, t)
	}
	if grouped != nil {
		out = append(out, mustJSON(map[string]any{"type": "namespace", "name": u.Namespace, "description": "The tools of this program.", "tools": grouped}))
	}
	return out, nil
}

// items says of calls made earlier in which group their tools are now.
func (u Upstream) items(items []json.RawMessage) []json.RawMessage {
	if u.Namespace == "" {
		return items
	}
	out := slices.Clone(items)
	for i, item := range out {
		kind := gjson.GetBytes(item, "type").Str
		if (kind == "function_call" || kind == "custom_tool_call") && !gjson.GetBytes(item, "namespace").Exists() {
			if named, err := sjson.SetBytes(bytes.Clone(item), "namespace", u.Namespace); err == nil {
				out[i] = named
			}
		}
	}
	return out
}

func set(names ...string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[n] = true
	}
	return m
}

// isNull reports whether a JSON value is absent or null, which clients use alike.
func isNull(v json.RawMessage) bool { return len(v) == 0 || string(v) == "null" }
