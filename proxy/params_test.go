package proxy

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"codex-proxy/proxy/reply"
)

// sent is the body that went up last; nothing when no request did.
func (r *rig) sent() gjson.Result {
	all := r.backend.Requests("/codex/responses")
	if len(all) == 0 {
		return gjson.Result{}
	}
	return gjson.ParseBytes(all[len(all)-1].Body)
}

func TestParametersGoUpOrAreToldOf(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		dialect, more      string
		up, value, dropped string
	}{
		{"chat", `"verbosity":"high"`, "text.verbosity", `"high"`, ""},
		{"responses", `"text":{"verbosity":"low"}`, "text.verbosity", `"low"`, ""},
		{"chat", `"service_tier":"priority"`, "service_tier", `"priority"`, ""},
		{"responses", `"service_tier":"fast"`, "service_tier", `"priority"`, ""},
		{"chat", `"service_tier":"auto"`, "service_tier", "", ""},
		{"responses", `"service_tier":"default"`, "service_tier", "", ""},
		{"chat", `"service_tier":"flex"`, "service_tier", "", "service_tier"},
		{"responses", `"service_tier":"scale"`, "service_tier", "", "service_tier"},
		{"gemini", `"serviceTier":"SERVICE_TIER_PRIORITY"`, "service_tier", `"priority"`, ""},
		{"gemini", `"serviceTier":"flex"`, "service_tier", "", "service_tier"},
		{"chat", `"prompt_cache_retention":"24h","safety_identifier":"u"`, "safety_identifier", "", "prompt_cache_retention, safety_identifier"},
		{"responses", `"prompt_cache_retention":"24h","safety_identifier":"u"`, "prompt_cache_retention", "", "prompt_cache_retention, safety_identifier"},
		{"chat", `"logprobs":false,"top_logprobs":0`, "logprobs", "", ""},
		{"chat", `"logprobs":null`, "logprobs", "", ""},
	} {
		path, body := question(c.dialect, "Hello there", false, c.more)
		status, h, text, _ := r.do(http.MethodPost, path, body)
		if got := r.sent().Get(c.up).Raw; status != 200 || got != c.value || h.Get(reply.DroppedHeader) != c.dropped {
			t.Errorf("%s %s: %d, %s is %q, dropped %q, %s", c.dialect, c.more, status, c.up, got, h.Get(reply.DroppedHeader), text)
		}
	}
}

func TestParametersThatWouldBeIgnoredAreRefused(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct{ dialect, more, param, says string }{
		{"chat", `"logprobs":true`, "logprobs", "no log probabilities"},
		{"chat", `"top_logprobs":3`, "top_logprobs", "no log probabilities"},
		{"chat", `"verbosity":"chatty"`, "verbosity", "low, medium or high"},
		{"chat", `"verbosity":5`, "verbosity", "low, medium or high"},
		{"responses", `"text":{"verbosity":"chatty"}`, "text.verbosity", "low, medium or high"},
		{"responses", `"service_tier":5`, "service_tier", "must be a string"},
	} {
		path, body := question(c.dialect, "Hello there", false, c.more)
		status, text := r.post(path, body)
		if status != 400 || get(text, "error.param").Str != c.param || !strings.Contains(get(text, "error.message").Str, c.says) {
			t.Errorf("%s: %d %s", c.more, status, text)
		}
	}
	if r.sent().Exists() {
		t.Error("a request went up")
	}
}

// TestAStreamIsTrueOrFalse: who sends "true" would wait for events that never come.
func TestAStreamIsTrueOrFalse(t *testing.T) {
	r := newRig(t)
	const messages = `"model":"gpt-5.5","max_tokens":9,"messages":[{"role":"user","content":"hi"}]`
	for path, body := range map[string]string{
		"/v1/chat/completions": messages, "/v1/messages": messages, "/api/chat": messages, "/v1/responses": `"input":"hi"`, "/v1/completions": `"prompt":"hi"`,
	} {
		for stream, want := range map[string]int{"true": 200, "false": 200, "null": 200, `"true"`: 400, "1": 400} {
			if status, text := r.post(path, `{`+body+`,"stream":`+stream+`}`); status != want || want == 400 && !strings.Contains(text, "stream") {
				t.Errorf("%s, stream %s: %d %s", path, stream, status, text)
			}
		}
	}
}

// TestStrictRefusesWhatWouldBeDropped: before a request is sent, whatever drops it.
func TestStrictRefusesWhatWouldBeDropped(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Strict = true })
	for _, more := range []string{`"service_tier":"flex"`, `"safety_identifier":"u"`} {
		if status, text, _ := r.ask("responses", "Hello there", false, more); status != 400 || get(text, "error.code").Str != "unsupported_parameter" {
			t.Errorf("%s: %d %s", more, status, text)
		}
	}
	// An effort that the model lacks is known only when the model is.
	if status, text, _ := r.ask("chat", "Hello there", false, `"reasoning_effort":"minimal"`); status != 400 || get(text, "error.param").Str != "reasoning.effort" {
		t.Errorf("an effort: %d %s", status, text)
	}
	if r.sent().Exists() {
		t.Error("a request went up")
	}
	for path, body := range map[string]string{
		"/v1/chat/completions":   `{"model":"gpt-5.5","store":false,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"hi"}]}`,
		"/v1/responses":          `{"model":"gpt-5.5","store":false,"input":"hi"}`,
		"/v1/messages":           `{"model":"gpt-5.5","max_tokens":10,"messages":[{"role":"user","content":"hi"}]}`,
		"/api/chat":              `{"model":"gpt-5.5","keep_alive":"5m","options":{"num_ctx":4096},"stream":false,"messages":[{"role":"user","content":"hi"}]}`,
		"/v1/images/generations": `{"model":"gpt-image-1","prompt":"a cat"}`,
	} {
		if status, text := r.post(path, body); status != 200 {
			t.Errorf("what every caller of %s sends: %d %s", path, status, text)
		}
	}
	// Who switches thinking off has named no effort that could be left out, and gets the least that the model has.
	for path, body := range map[string]string{
		"/v1/messages":                           `{"model":"gpt-5.5","max_tokens":10,"thinking":{"type":"disabled"},"messages":[{"role":"user","content":"hi"}]}`,
		"/api/chat":                              `{"model":"gpt-5.5","think":false,"stream":false,"messages":[{"role":"user","content":"hi"}]}`,
		"/v1beta/models/gpt-5.5:generateContent": `{"contents":[{"parts":[{"text":"hi"}]}],"generationConfig":{"thinkingConfig":{"thinkingBudget":0}}}`,
	} {
		status, h, text, _ := r.do(http.MethodPost, path, body)
		if status != 200 || !strings.Contains(h.Get(reply.DroppedHeader), "reasoning.effort") || r.sent().Get("reasoning.effort").Str != "low" {
			t.Errorf("%s without thinking: %d %s", path, status, text)
		}
	}
}

// TestAResultThatAnswersNoCallIsTold, as a conversation holds it that was trimmed. Alone it is no conversation. Ollama shows it to
// the model: TestAToolsResultWithoutItsCallIsReadAllTheSame.
func TestAResultThatAnswersNoCallIsTold(t *testing.T) {
	r, strict := newRig(t), newRig(t, func(c *Config) { c.Strict = true })
	for dialect, c := range map[string]struct{ path, list, result, user, dropped string }{
		"chat":      {"/v1/chat/completions", "messages", `{"role":"tool","tool_call_id":"gone","content":"12"}`, `{"role":"user","content":"hello"}`, "tool_result"},
		"messages":  {"/v1/messages", "messages", `{"role":"user","content":[{"type":"tool_result","tool_use_id":"gone","content":"12"}]}`, `{"role":"user","content":"hello"}`, "tool_result"},
		"gemini":    {"/v1beta/models/gpt-5.5:generateContent", "contents", `{"role":"user","parts":[{"functionResponse":{"name":"gone","response":{"output":"12"}}}]}`, `{"role":"user","parts":[{"text":"hello"}]}`, "tool_result"},
		"responses": {"/v1/responses", "input", `{"type":"function_call_output","call_id":"gone","output":"12"}`, `{"role":"user","content":"hello"}`, "input.function_call_output"},
	} {
		body := func(items string) string { return `{"` + c.list + `":[` + items + `]}` }
		status, h, text, _ := r.do(http.MethodPost, c.path, body(c.result+","+c.user))
		if status != 200 || h.Get(reply.DroppedHeader) != c.dropped || strings.Contains(r.sent().Raw, "gone") {
			t.Errorf("%s: %d, dropped %q: %s", dialect, status, h.Get(reply.DroppedHeader), text)
		}
		if status, text := strict.post(c.path, body(c.result+","+c.user)); status != 400 || !strings.Contains(text, c.dropped) {
			t.Errorf("%s in strict mode: %d %s", dialect, status, text)
		}
		if status, text := r.post(c.path, body(c.result)); status != 400 || !strings.Contains(text, "The tool result answers no tool call in this conversation") {
			t.Errorf("%s, the result alone: %d %s", dialect, status, text)
		}
	}
	if strict.sent().Exists() {
		t.Error("a request went up in strict mode")
	}
}
