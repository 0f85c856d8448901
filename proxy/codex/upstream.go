package codex

import (
	"encoding/json"
	"net/http"
	"runtime"

	"codex-proxy/creds"
)

// ProtocolVersion is the version of the Codex CLI whose protocol this program speaks. The backend offers newer models
// only to clients that name a version that knows them. It goes into the version header, never into the user agent.
const ProtocolVersion = "0.169.0"

// Upstream is one of OpenAI's services that answers for a ChatGPT plan: where it is and what it takes.
type Upstream struct {
	ResponsesURL string
	ModelsURL    string
	AccountURL   string // below it is what Client.Account asks; empty for a service that tells nothing

	// Params are the body fields that go up. Everything else is dropped or refused before.
	Params map[string]bool
	// Header sets what the service wants to see on each request.
	Header func(h http.Header, t creds.Token)
	// HostedTools are the tools that run at the service. Where they are given, functions and custom tools go up beside
	// the conversation; nil for a service that takes every tool in tools. See place.
	HostedTools []string
	// Forwards says that the service takes what Client.Forward sends.
	Forwards bool
	// TakesZstd says that request bodies may be packed. Source: captured from Codex CLI 0.169, which packs its own.
	TakesZstd bool
	// TakesSockets says that turns may come over WebSocket. Source: captured from Codex CLI 0.169.
	TakesSockets bool
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
		AccountURL:   baseURL + "/wham",
		TakesZstd:    true,
		TakesSockets: true,
		Params: set("model", "instructions", "input", "tools", "tool_choice", "parallel_tool_calls", "reasoning",
			"include", "service_tier", "prompt_cache_key", "text", "client_metadata", "store", "stream"),
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
		Forwards:            true,
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
			"include", "service_tier", "prompt_cache_key", "text", "store", "stream"),
		Header: func(h http.Header, t creds.Token) {
			h.Set("Authorization", "Bearer "+t.Access)
			h.Set("User-Agent", id.UserAgent)
			for _, name := range nativeHeaders { // those are the Codex backend's
				h.Del(name)
			}
		},
		HostedTools: []string{"web_search", "namespace"},
	}
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
