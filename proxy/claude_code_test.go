package proxy

import (
	"strings"
	"testing"

	"github.com/tidwall/gjson"
)

// TestClaudeCodesOwnMarksAreNoPrompt sends what Claude Code 2.1 does: the block for Anthropic's accounts is left out, and
// the conversation's name becomes the cache key, in both forms that there were of it.
func TestClaudeCodesOwnMarksAreNoPrompt(t *testing.T) {
	const session = "4f8d73a8-2ab2-4bd8-8635-8db42d9bace9"
	for name, userID := range map[string]string{
		"a field": `{\"device_id\":\"79ef\",\"account_uuid\":\"\",\"session_id\":\"` + session + `\"}`,
		"the end": `user_79ef_account__session_` + session,
	} {
		r := newRig(t)
		status, answer := r.post("/v1/messages", `{"max_tokens":9,"metadata":{"user_id":"`+userID+`"},"system":[{"type":"text","text":"x-anthropic-billing-header: cc_version=2.1.330.839; cc_entrypoint=cli;"},
			{"type":"text","text":"Be brief."}],"messages":[{"role":"user","content":[{"type":"text","text":"x-anthropic-billing-header: is mine"}]}]}`)
		sent := r.backend.Requests("/responses")
		if status != 200 || len(sent) != 1 {
			t.Fatalf("%s: %d %s", name, status, answer)
		}
		up := gjson.ParseBytes(sent[0].Body)
		if got := up.Get("instructions").Str; got != "Be brief." {
			t.Errorf("%s: instructions are %q", name, got)
		}
		if got := up.Get("prompt_cache_key").Str; got != session {
			t.Errorf("%s: the cache key is %q", name, got)
		}
		if !strings.Contains(up.Get("input").Raw, "is mine") || strings.Contains(up.Raw, "79ef") {
			t.Errorf("%s: sent %s", name, up.Raw)
		}
	}
}

// TestMetadataWithoutAConversationIsTold, as it is left out.
func TestMetadataWithoutAConversationIsTold(t *testing.T) {
	r := newRig(t)
	_, header, _, err := r.do("POST", "/v1/messages", `{"max_tokens":9,"metadata":{"user_id":"me"},"messages":[{"role":"user","content":"hello"}]}`)
	if err != nil || !strings.Contains(header.Get("X-Codex-Proxy-Dropped"), "metadata") {
		t.Errorf("%v, dropped: %q", err, header.Get("X-Codex-Proxy-Dropped"))
	}
	if up := gjson.ParseBytes(r.backend.Requests("/responses")[0].Body); up.Get("prompt_cache_key").Str == "" {
		t.Error("there is no cache key")
	}
}
