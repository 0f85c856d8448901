package codex

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/tidwall/gjson"
)

func testUpstream() Upstream { return Backend("http://127.0.0.1", NewIdentity("test")) }

func TestOnlyAllowedParametersGoUp(t *testing.T) {
	var body map[string]json.RawMessage
	raw := `{"model":"gpt-5.5","input":"hi","temperature":1,"metadata":{},"user":"u","truncation":"auto","max_output_tokens":5,"stream_options":{},
		"context_management":[],"safety_identifier":"s","service_tier":"flex","text":{"verbosity":"low","other":1},"include":["message.output_text.logprobs"],
		"reasoning":{"effort":"high","budget":3},"top_p":null,"client_metadata":{"a":"b"},"parallel_tool_calls":false}`
	if err := json.Unmarshal([]byte(raw), &body); err != nil {
		t.Fatal(err)
	}
	r := &Request{}
	for name, v := range body {
		if err := r.SetParam(name, v); err != nil {
			t.Fatal(err)
		}
	}
	sent, err := r.encode(testUpstream(), NewCatalogue("", nil), nil)
	out := whole(sent.body)
	if err != nil || !json.Valid(out) {
		t.Fatalf("%v %s", err, out)
	}
	doc := gjson.ParseBytes(out)
	doc.ForEach(func(name, _ gjson.Result) bool {
		if !testUpstream().Params[name.Str] {
			t.Errorf("%s went up", name.Str)
		}
		return true
	})
	for path, want := range map[string]string{
		"store": "false", "stream": "true", "text": `{"verbosity":"low"}`, "reasoning": `{"effort":"high"}`, "parallel_tool_calls": "false",
		"client_metadata": `{"a":"b"}`, "include": `["reasoning.encrypted_content"]`, "instructions": `"You are a helpful assistant."`,
		"input": `[{"type":"message","role":"user","content":[{"type":"input_text","text":"hi"}]}]`,
	} {
		if got := doc.Get(path).Raw; got != want {
			t.Errorf("%s is %s", path, got)
		}
	}
	for _, name := range []string{"temperature", "metadata", "user", "text.other", "reasoning.budget", "service_tier", "include.message.output_text.logprobs"} {
		if !containsString(r.Dropped.Names, name) {
			t.Errorf("%s was dropped in silence: %v", name, r.Dropped)
		}
	}
	if containsString(r.Dropped.Names, "top_p") {
		t.Error("a null was called dropped")
	}
}

func whole(p pieces) []byte {
	raw, _ := io.ReadAll(p.open())
	return raw
}

func containsString(list []string, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}

func TestTheCodexCLIsRequestsGoUpAsTheyAre(t *testing.T) {
	r := &Request{}
	r.RecogniseNative(http.Header{"Originator": {"codex_exec"}, "Session-Id": {"s-1"}, "X-Codex-Turn-State": {"t"}, "Authorization": {"Bearer x"}, "X-Other": {"y"}})
	if !r.Native || r.Header.Get("X-Codex-Turn-State") != "t" || r.Header.Get("Authorization") != "" || r.Header.Get("X-Other") != "" {
		t.Errorf("%+v", r.Header)
	}
	item := `{"type":"additional_tools","id":"at_1","role":"developer","tools":[]}`
	if err := r.SetParam("input", json.RawMessage(`[`+item+`]`)); err != nil {
		t.Fatal(err)
	}
	sent, err := r.encode(testUpstream(), NewCatalogue("", nil), nil)
	out, session := whole(sent.body), sent.session
	if err != nil || session != "s-1" || gjson.GetBytes(out, "instructions").Exists() || gjson.GetBytes(out, "input.0").Raw != item {
		t.Errorf("%v %s %s", err, session, out)
	}
}

// TestAResultStaysWithItsCall of every kind, also of those that came after this program: without it the model calls again.
func TestAResultStaysWithItsCall(t *testing.T) {
	for _, kind := range []string{"function_call", "custom_tool_call", "local_shell_call", "shell_call", "apply_patch_call", "a_new_call"} {
		r := &Request{Input: []json.RawMessage{
			json.RawMessage(`{"type":"` + kind + `","call_id":"a"}`), json.RawMessage(`{"type":"` + kind + `_output","call_id":"a","output":"12"}`),
		}}
		if err := r.normalizeInput(); err != nil || len(r.Input) != 2 || !r.Dropped.Empty() {
			t.Errorf("%s: %v, dropped %s: %s", kind, err, r.Dropped, r.Input)
		}
	}
	r := &Request{Input: []json.RawMessage{json.RawMessage(`{"type":"web_search_call"}`), json.RawMessage(`{"type":"function_call_output","output":"12"}`), Message("user", "hi")}}
	if err := r.normalizeInput(); err != nil || len(r.Input) != 2 || r.Dropped.String() != "input.function_call_output" {
		t.Errorf("a result without an id is nobody's: %v, dropped %s: %s", err, r.Dropped, r.Input)
	}
}

func TestHostedToolsAreRenamedOrRefused(t *testing.T) {
	if got, err := FixTool(json.RawMessage(`{"type":"web_search_preview","search_context_size":"low"}`)); err != nil || gjson.GetBytes(got, "type").Str != "web_search" {
		t.Errorf("%s %v", got, err)
	}
	if _, err := FixTool(json.RawMessage(`{"type":"file_search"}`)); err == nil {
		t.Error("file_search passed")
	}
	if got, err := FixTool(json.RawMessage(`{"type":"function","function":{"name":"f"}}`)); err != nil || gjson.GetBytes(got, "name").Str != "f" {
		t.Errorf("%s %v", got, err)
	}
}

func TestResolve(t *testing.T) {
	c := NewCatalogue("", nil)
	c.Aliases = map[string]string{"fast": "gpt-5.5", "slow": "gpt-5.5-low", "exact-high": "gpt-5.5-low"}
	for _, x := range []struct{ name, effort, id, clamped string }{
		{"", "", "gpt-6.1-sol", ""},
		{"gpt-5.5", "", "gpt-5.5", ""},
		{"gpt-5.5-xhigh", "", "gpt-5.5", "xhigh"},
		{"gpt-5.5-low", "high", "gpt-5.5", "high"},
		{"gpt-6.1-sol-ultra", "", "gpt-6.1-sol", "xhigh"},
		{"gpt-7-nova-medium", "", "gpt-7-nova", "medium"},
		{"gpt-5.1-codex-max", "", "gpt-5.1-codex-max", ""},
		{"unknown", "none", "unknown", "low"},
		{"gpt-5.5", "nonsense", "gpt-5.5", ""},
		{"fast", "", "gpt-5.5", ""},
		{"fast-high", "", "gpt-5.5", "high"},
		{"fast-high", "low", "gpt-5.5", "low"},
		{"slow", "", "gpt-5.5", "low"},
		{"slow-high", "", "gpt-5.5", "high"},
		{"exact-high", "", "gpt-5.5", "low"},
		{"claude-opus-4-1-high", "", "gpt-6.1-sol", "high"},
		{"claude-opus-4-1-max", "", "gpt-6.1-sol", ""},
	} {
		if id, effort := c.Resolve(x.name, x.effort); id != x.id || effort != x.clamped {
			t.Errorf("%q %q: %q %q", x.name, x.effort, id, effort)
		}
	}
}

// TestTheDefaultEffortIsForRequestsThatNameNone: it is brought to what the model takes, and a model that takes none gets
// none.
func TestTheDefaultEffortIsForRequestsThatNameNone(t *testing.T) {
	c := NewCatalogue("", nil)
	c.Aliases = map[string]string{"fast": "gpt-5.5-low"}
	c.DefaultEffort = "max"
	for _, x := range []struct{ name, effort, want string }{
		{"", "", "max"},
		{"gpt-5.5", "", "xhigh"},
		{"gpt-5.5-low", "", "low"},
		{"gpt-5.5", "medium", "medium"},
		{"gpt-5.5", "nonsense", ""},
		{"fast", "", "low"},
		{"claude-opus-4-1", "", "max"},
		{"unknown", "", ""},
	} {
		if _, effort := c.Resolve(x.name, x.effort); effort != x.want {
			t.Errorf("%q %q: %q, want %q", x.name, x.effort, effort, x.want)
		}
	}
	if err := c.use([]byte(`{"models":[{"slug":"plain","visibility":"list"}]}`), "", ""); err != nil {
		t.Fatal(err)
	}
	if id, effort := c.Resolve("", ""); id != "plain" || effort != "" {
		t.Errorf("a model without efforts: %q %q", id, effort)
	}
}

func TestALimitsWordsHoldNothingThatIsRetried(t *testing.T) {
	now := time.Date(2026, 11, 23, 14, 0, 0, 0, time.Local)
	for _, in := range []time.Duration{time.Second, 30 * time.Minute, 5 * time.Hour, 8*time.Hour + 20*time.Minute, 6*24*time.Hour + 5*time.Hour, 300 * 24 * time.Hour} {
		a := &Answer{Status: 429, Header: http.Header{}, Body: mustJSON(map[string]any{"error": map[string]any{
			"type": "usage_limit_reached", "message": "The usage limit has been reached", "resets_at": now.Add(in).Unix()}})}
		e := fromAnswer(a, now, nil)
		if e.Status != 402 || e.Code != "usage_limit_reached" || e.RetryAfter != 0 {
			t.Errorf("%s: %+v", in, e)
		}
		for _, run := range digits(e.Message) {
			if len(run) > 2 {
				t.Errorf("%s: a long number in %q", in, e.Message)
			}
		}
	}
}

func digits(s string) []string {
	var out []string
	run := ""
	for _, r := range s + " " {
		if r >= '0' && r <= '9' {
			run += string(r)
		} else if run != "" {
			out, run = append(out, run), ""
		}
	}
	return out
}

func FuzzRequest(f *testing.F) {
	f.Add([]byte(`{"model":"gpt-5.5-high","input":[{"type":"function_call","call_id":"a","name":"f"},{"role":"system","content":"x"}],"tools":[{"type":"web_search_preview"}]}`))
	f.Add([]byte(`{"input":[{"type":"reasoning"},1],"text":{"format":{}},"reasoning":{"effort":5}}`))
	f.Add([]byte(`{"input":[{"type":"additional_tools","tools":[{"type":"tool_search"},{"type":"custom","name":"a","defer_loading":true}]},{"type":"tool_search_output","tools":5}],"tools":[{"type":"tool_search"},{"type":"function","name":"a"}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var params map[string]json.RawMessage
		if json.Unmarshal(raw, &params) != nil {
			return
		}
		r := &Request{}
		for name, v := range params {
			if r.SetParam(name, v) != nil {
				return
			}
		}
		if r.normalizeInput() != nil {
			return
		}
		for _, up := range []Upstream{testUpstream(), Public("http://127.0.0.1", NewIdentity("test"))} {
			sent, err := r.encode(up, NewCatalogue("", nil), nil)
			if err == nil && !json.Valid(whole(sent.body)) {
				t.Fatalf("%s became %s", raw, sent.body)
			}
		}
	})
}
