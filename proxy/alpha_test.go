package proxy

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
)

// TestTheCodexCLIsOtherCallsGoToTheBackend as they are, with our credentials; the search without what it refuses.
func TestTheCodexCLIsOtherCallsGoToTheBackend(t *testing.T) {
	r := newRig(t)
	for path, body := range map[string]string{
		"/v1/alpha/search":                  `{"model":"gpt-5.5","commands":{"search_query":[{"q":"x"}]},"prompt_cache_key":"k"}`,
		"/v1/alpha/history/v2/list_windows": `{"context":{"session_id":"s","current_agent_name":"/root"}}`,
		"/v1/memories/trace_summarize":      `{"model":"gpt-5.5","traces":[{"id":"t","metadata":{"source_path":"a"},"items":[]}],"reasoning":{"effort":"low"}}`,
		"/v1/alpha/notes/v2/append_to_file": `{"context":{"session_id":"s","current_agent_name":"/root"},"path":"a.md","text":"b"}`,
	} {
		status, _, answer, err := r.do(http.MethodPost, path, body, "Originator", "codex_exec", "X-Openai-Tool-Output-Truncation-Policy", "bytes:9", "X-Openai-Memgen-Request", "true", "Cookie", "a=b")
		sent := r.backend.Requests(strings.TrimPrefix(path, "/v1"))
		if err != nil || status != 200 || len(sent) != 1 {
			t.Fatalf("%s: %d %s (%v)", path, status, answer, err)
		}
		up := gjson.ParseBytes(sent[0].Body)
		if up.Get("prompt_cache_key").Exists() || up.Get("context").Raw != gjson.Get(body, "context").Raw || up.Get("traces").Raw != gjson.Get(body, "traces").Raw || up.Get("commands").Raw != gjson.Get(body, "commands").Raw {
			t.Errorf("%s: sent %s", path, up.Raw)
		}
		if h := sent[0].Header; h.Get("Chatgpt-Account-Id") == "" || h.Get("X-Openai-Tool-Output-Truncation-Policy") != "bytes:9" || h.Get("X-Openai-Memgen-Request") != "true" || h.Get("Cookie") != "" {
			t.Errorf("%s: headers %v", path, h)
		}
	}
	for _, path := range []string{"/v1/alpha/notes/v2/delete_file", "/v1/memories/forget"} {
		if status, answer := r.post(path, `{}`); status != 404 || !strings.Contains(answer, "/alpha/notes/v2/write_file") || !strings.Contains(answer, "/memories/trace_summarize") {
			t.Errorf("%s: %d %s", path, status, answer)
		}
	}
	if sent := r.backend.Requests("/forget"); len(sent) != 0 {
		t.Error("an unknown call went up")
	}
}

// TestTheAccountCanBeAskedAbout under both names that the Codex CLI has for it, and what would change it can't be called.
func TestTheAccountCanBeAskedAbout(t *testing.T) {
	r := newRig(t)
	for _, below := range []string{"/api/codex", "/backend-api/wham"} {
		for call, field := range map[string]string{"/usage": "rate_limit", "/rate-limit-reset-credits": "available_count"} {
			status, h, answer, _ := r.do(http.MethodGet, below+call, "")
			if status != 200 || !gjson.Get(answer, field).Exists() || h.Get("Cache-Control") != "no-store" || len(r.backend.Requests("/backend-api/wham"+call)) == 0 {
				t.Errorf("%s%s: %d %s", below, call, status, answer)
			}
		}
		for path, method := range map[string]string{"/rate-limit-reset-credits/consume": http.MethodPost, "/settings/user": http.MethodGet, "/tasks": http.MethodPost} {
			status, answer := 0, ""
			if status, _, answer, _ = r.do(method, below+path, ""); status != 404 || !strings.Contains(answer, "GET /api/codex/rate-limit-reset-credits") || gjson.Get(answer, "error.code").Str != "unknown_url" {
				t.Errorf("%s%s: %d %s", below, path, status, answer)
			}
		}
	}
	if len(r.backend.Requests("/consume"))+len(r.backend.Requests("/user")) != 0 {
		t.Error("what is not on the list went up")
	}
	chatGPT := withChatGPT(t)
	if status, _, answer, _ := chatGPT.do(http.MethodGet, "/api/codex/rate-limit-reset-credits", ""); status != 404 || gjson.Get(answer, "error.code").Str != "not_available" {
		t.Errorf("with Sign in with ChatGPT: %d %s", status, answer)
	}
}
