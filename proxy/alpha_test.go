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
		"/v1/alpha/notes/v2/append_to_file": `{"context":{"session_id":"s","current_agent_name":"/root"},"path":"a.md","text":"b"}`,
	} {
		status, _, answer, err := r.do(http.MethodPost, path, body, "Originator", "codex_exec", "X-Openai-Tool-Output-Truncation-Policy", "bytes:9", "Cookie", "a=b")
		sent := r.backend.Requests(strings.TrimPrefix(path, "/v1"))
		if err != nil || status != 200 || len(sent) != 1 {
			t.Fatalf("%s: %d %s (%v)", path, status, answer, err)
		}
		up := gjson.ParseBytes(sent[0].Body)
		if up.Get("prompt_cache_key").Exists() || up.Get("context").Raw != gjson.Get(body, "context").Raw || up.Get("commands").Raw != gjson.Get(body, "commands").Raw {
			t.Errorf("%s: sent %s", path, up.Raw)
		}
		if h := sent[0].Header; h.Get("Chatgpt-Account-Id") == "" || h.Get("X-Openai-Tool-Output-Truncation-Policy") != "bytes:9" || h.Get("Cookie") != "" {
			t.Errorf("%s: headers %v", path, h)
		}
	}
	if status, answer := r.post("/v1/alpha/notes/v2/delete_file", `{}`); status != 404 || !strings.Contains(answer, "/alpha/notes/v2/write_file") {
		t.Errorf("an unknown call: %d %s", status, answer)
	}
}
