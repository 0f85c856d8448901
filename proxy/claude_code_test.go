package proxy

import (
	"strings"
	"testing"
	"time"

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

// TestWhatClaudeCodeSendsIsAnswered as Claude Code 2.1.330 sends it, and what of it the backend has not is told by name.
func TestWhatClaudeCodeSendsIsAnswered(t *testing.T) {
	r := newRig(t)
	status, header, answer, _ := r.do("POST", "/v1/messages?beta=true", `{"model":"claude-opus-5-5","max_tokens":128000,"stream":true,"thinking":{"type":"adaptive","display":"omitted"},
		"context_management":{"edits":[{"type":"clear_thinking_20251015","keep":"all"}]},"output_config":{"effort":"medium","task_budget":{"type":"tokens","total":9}},
		"mcp_servers":[],"container":"c","of_tomorrow":1,"cache_control":{"type":"ephemeral"},"metadata":{"user_id":"{\"session_id\":\"4f8d73a8-2ab2-4bd8-8635-8db42d9bace9\"}"},
		"messages":[{"role":"user","content":"hello"},{"role":"system","content":"mind this"},{"role":"user","content":[{"type":"mid_conv_system","content":[{"type":"text","text":"and that"}]},{"type":"text","text":"hello"}]}]}`,
		"Anthropic-Version", "2023-06-01", "Authorization", "Bearer x", "X-Claude-Code-Session-Id", "30e0fc75-d885-4ab3-bbf2-dabde7e9049d", "X-Claude-Code-Of-Tomorrow", "1", "Anthropic-Beta",
		"claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27,per-turn-control-2026-07-01,mid-conversation-tool-changes-2026-07-01, of-tomorrow-2030-01-01,effort-2025-11-24")
	const want = "anthropic-beta.context-management-2025-06-27, anthropic-beta.per-turn-control-2026-07-01, anthropic-beta.of-tomorrow-2030-01-01, " +
		"cache_control, container, context_management, max_tokens, mcp_servers, of_tomorrow, output_config.task_budget"
	if status != 200 || header.Get("X-Codex-Proxy-Dropped") != want || !strings.Contains(answer, "message_stop") {
		t.Errorf("%d, told %q\n%s", status, header.Get("X-Codex-Proxy-Dropped"), answer)
	}
	sent := r.backend.Requests("/responses")[0]
	up := gjson.ParseBytes(sent.Body)
	if up.Get("reasoning.effort").Str != "medium" || !strings.Contains(up.Get(`input.#(role=="developer").content`).Raw, "mind this") || !strings.Contains(up.Get("input").Raw, "and that") {
		t.Errorf("sent %s", up.Raw)
	}
	if up.Get("prompt_cache_key").Str != "4f8d73a8-2ab2-4bd8-8635-8db42d9bace9" {
		t.Errorf("the cache key is %s", up.Get("prompt_cache_key").Raw)
	}
	for name := range sent.Header {
		if strings.HasPrefix(name, "Anthropic") || strings.HasPrefix(name, "X-Claude") {
			t.Errorf("%s went up", name)
		}
	}
}

// TestASessionsHeaderKeepsItTogether where the body does not name the session.
func TestASessionsHeaderKeepsItTogether(t *testing.T) {
	r := newRig(t)
	const session = "30e0fc75-d885-4ab3-bbf2-dabde7e9049d"
	r.post("/v1/messages", `{"max_tokens":9,"messages":[{"role":"user","content":"hello"}]}`, "X-Claude-Code-Session-Id", session)
	if got := gjson.GetBytes(r.backend.Requests("/responses")[0].Body, "prompt_cache_key").Str; got != session {
		t.Errorf("the cache key is %q", got)
	}
}

// TestEffortAndSchemaReachTheBackend, under the schema's old name, too.
func TestEffortAndSchemaReachTheBackend(t *testing.T) {
	const format = `{"type":"json_schema","schema":{"type":"object","properties":{"name":{"type":"string"}},"required":["name"]}}`
	for name, field := range map[string]string{
		"output_config": `"output_config":{"effort":"xhigh","format":` + format + `}`,
		"output_format": `"output_config":{"effort":"xhigh","format":null},"output_format":` + format,
	} {
		r := newRig(t)
		status, header, answer, _ := r.do("POST", "/v1/messages", `{"max_tokens":9,"messages":[{"role":"user","content":"fill it"}],`+field+`}`)
		up := gjson.ParseBytes(r.backend.Requests("/responses")[0].Body)
		if status != 200 || get(answer, `content.#(type=="text").text`).Str != `{"name":"sample"}` || header.Get("X-Codex-Proxy-Dropped") != "max_tokens" {
			t.Errorf("%s: %d %s, told %q", name, status, answer, header.Get("X-Codex-Proxy-Dropped"))
		}
		if up.Get("reasoning.effort").Str != "xhigh" || up.Get("text.format.type").Str != "json_schema" || !up.Get("text.format.schema.properties.name").Exists() {
			t.Errorf("%s: sent %s %s", name, up.Get("reasoning").Raw, up.Get("text").Raw)
		}
	}
}

// TestTheProtocolOfGateways is what code.claude.com/docs/en/llm-gateway-protocol asks and no other test shows.
func TestTheProtocolOfGateways(t *testing.T) {
	r := newRig(t, func(c *Config) {
		c.KeepAlive = 20 * time.Millisecond
		c.Guard = Guard{Keys: named{"secret": "Claude Code"}, KeyRequired: func() bool { return true }}
	})
	const body = `{"max_tokens":9,"stream":true,"messages":[{"role":"user","content":"[[stall 200]]"}]}`
	for name, header := range map[string][]string{"a token": {"Authorization", "Bearer secret"}, "a key": {"X-Api-Key", "secret"}, "both": {"Authorization", "Bearer secret", "X-Api-Key", "secret"}} {
		if status, answer := r.post("/v1/messages?beta=true", body, header...); status != 200 || !strings.Contains(answer, "event: ping\n") {
			t.Errorf("%s: %d %s", name, status, answer)
		}
		if status, _, answer, _ := r.do("GET", "/v1/models?limit=1000", "", append(header, anthropicVersion...)...); status != 200 {
			t.Errorf("%s: %d %s", name, status, answer)
		}
	}
	for _, path := range []string{"/v1/messages/", "//v1/messages", "/v1//messages"} {
		if status, answer := r.post(path, body, "X-Api-Key", "secret"); status != 200 {
			t.Errorf("%s: %d %s", path, status, answer)
		}
	}
	for name, body := range map[string]string{"no JSON": "<html>", "no messages": "{}"} {
		status, header, answer, _ := r.do("POST", "/v1/messages", body, "X-Api-Key", "secret")
		if status != 400 || header.Get("Content-Type") != "application/json" || get(answer, "type").Str != "error" {
			t.Errorf("%s: %d %s %s", name, status, header.Get("Content-Type"), answer)
		}
	}
	if _, answer := r.post("/v1/messages", `{"max_tokens":9,"messages":[{"role":"user","content":"[[failed context_length_exceeded]]"}]}`, "X-Api-Key", "secret"); !strings.HasPrefix(get(answer, "error.message").Str, "prompt is too long") {
		t.Errorf("a prompt that is too long: %s", answer)
	}
}
