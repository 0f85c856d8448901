package proxy

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"codex-proxy/proxy/reply"
)

// TestWhatChatHoldsGoesUpWhole though a part has more fields than it needs, or a text is spelled in halves.
func TestWhatChatHoldsGoesUpWhole(t *testing.T) {
	const call = `{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":{"a":1}}}]}`
	r := newRig(t)
	r.post("/v1/chat/completions", `{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://example.com/\ud83d.png"}}]}]}`)
	if got := r.sent().Get("input.0.content.0.image_url").Raw; got != `"https://example.com/�.png"` {
		t.Errorf("a picture's address went up as %s", got)
	}
	for name, c := range map[string]struct{ messages, path, want string }{
		"a refusal that is empty":     {`{"role":"user","content":[{"type":"text","text":"hello","refusal":""}]}`, "input.0.content.0.text", "hello"},
		"a refusal that is null":      {`{"role":"user","content":[{"type":"text","text":"hello","refusal":null}]}`, "input.0.content.0.text", "hello"},
		"a user's refusal is no text": {`{"role":"user","content":[{"type":"text","text":"hello","refusal":"no"}]}`, "input.0.content.0.text", "hello"},
		"of a tool":                   {call + `,{"role":"tool","tool_call_id":"c","content":[{"type":"text","text":"hello","refusal":""}]}`, "input.1.output", "hello"},
		"a tool's object":             {call + `,{"role":"tool","tool_call_id":"c","content":[{"type":"text","text":{"a":1}}]}`, "input.1.output", `[{"type":"text","text":{"a":1}}]`},
		"a tool's list":               {call + `,{"role":"tool","tool_call_id":"c","content":[{"title":"a"},{"title":"b"}]}`, "input.1.output", `[{"title":"a"},{"title":"b"}]`},
		"of the assistant":            {`{"role":"assistant","content":[{"type":"text","text":"hello","refusal":""},{"type":"refusal","refusal":"no"}]},{"role":"user","content":"x"}`, "input.0.content.0.text", "hello\nno"},

		"arguments as an object":  {call + `,{"role":"tool","tool_call_id":"c","content":"x"}`, "input.0.arguments", `{"a":1}`},
		"arguments that are null": {strings.Replace(call, `{"a":1}`, `null`, 1) + `,{"role":"tool","tool_call_id":"c","content":"x"}`, "input.0.arguments", `{}`},
	} {
		status, text := r.post("/v1/chat/completions", `{"messages":[`+c.messages+`]}`)
		if got := r.sent().Get(c.path).String(); status != 200 || got != c.want {
			t.Errorf("%s: %d %q\n%s", name, status, got, text)
		}
	}
}

// TestASystemMessageAloneIsAnswered, as OpenAI and Ollama do: it goes up as the conversation, and not as instructions as well.
func TestASystemMessageAloneIsAnswered(t *testing.T) {
	r := newRig(t)
	for _, path := range []string{"/v1/chat/completions", "/api/chat"} {
		status, text := r.post(path, `{"stream":false,"messages":[{"role":"system","content":"be nice"}]}`)
		sent := r.sent()
		if status != 200 || sent.Get("input.#").Int() != 1 || sent.Get("input.0.role").Str != "developer" || sent.Get("input.0.content.0.text").Str != "be nice" || sent.Get("instructions").Str == "be nice" {
			t.Errorf("%s: %d %s\n%s", path, status, text, sent)
		}
	}
	r.post("/v1/chat/completions", `{"messages":[{"role":"system","content":"be nice"},{"role":"system","content":[{"type":"text","text":"be brief"}]}]}`)
	if got := r.sent().Get("input.0.content.0.text").Str; got != "be nice\n\nbe brief" {
		t.Errorf("two of them went up as %q", got)
	}
	r.post("/v1/chat/completions", `{"messages":[{"role":"system","content":"be nice"},{"role":"user","content":"hello"}]}`)
	if sent := r.sent(); sent.Get("instructions").Str != "be nice" || sent.Get("input.#").Int() != 1 {
		t.Errorf("beside another message: %s", sent)
	}
}

// TestAPictureThatCantGoUpIsTold: the backend takes those of a user and of a tool alone.
func TestAPictureThatCantGoUpIsTold(t *testing.T) {
	r, strict := newRig(t), newRig(t, func(c *Config) { c.Strict = true })
	part := `{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo="}}`
	for _, c := range []struct{ role, more, dropped string }{
		{"system", part, "messages.image_url"},
		{"developer", part, "messages.image_url"},
		{"assistant", part, "messages.image_url"},
		{"assistant", `{"type":"file","file":{"filename":"a.pdf"}}`, "messages.file"},
		{"assistant", `{"type":"refusal","refusal":""},{"type":"text","text":""},{"type":"output_text","text":"x"}`, ""},
		{"assistant", `{"type":"thinking","thinking":"hm","signature":"x"},{"type":"redacted_thinking","data":"x"}`, ""}, // sent back each turn
		{"assistant", `{"type":"thinking","thinking":[{"type":"text","text":"hm"}]},{"type":"reasoning","reasoning":"hm"},{"type":"summary_text","text":""}`, ""},
		{"user", part, ""},
	} {
		body := `{"messages":[{"role":"` + c.role + `","content":[{"type":"text","text":"look"},` + c.more + `]},{"role":"user","content":"hello"}]}`
		status, h, text, _ := r.do(http.MethodPost, "/v1/chat/completions", body)
		if status != 200 || h.Get(reply.DroppedHeader) != c.dropped {
			t.Errorf("%s %.40s: %d, dropped %q: %s", c.role, c.more, status, h.Get(reply.DroppedHeader), text)
		}
		if status, text := strict.post("/v1/chat/completions", body); (status == 400) != (c.dropped != "") {
			t.Errorf("%s %.40s in strict mode: %d %s", c.role, c.more, status, text)
		}
	}
}

// TestANameThatIsLostIsTold: the backend's messages have no place for who speaks, but a function's name is no loss.
func TestANameThatIsLostIsTold(t *testing.T) {
	r := newRig(t)
	for messages, dropped := range map[string]string{
		`{"role":"user","name":"bob","content":"hello"}`:                                                                                     "messages.name",
		`{"role":"user","content":"hello"},{"role":"assistant","name":"critic","content":"no"}`:                                              "messages.name",
		`{"role":"user","name":"","content":"hello"}`:                                                                                        "",
		`{"role":"assistant","function_call":{"name":"f"}},{"role":"function","name":"f","content":"hello"}`:                                 "",
		`{"role":"assistant","tool_calls":[{"id":"c","function":{"name":"f"}}]},{"role":"tool","tool_call_id":"c","name":"f","content":"x"}`: "",
	} {
		status, h, text, _ := r.do(http.MethodPost, "/v1/chat/completions", `{"messages":[`+messages+`]}`)
		if status != 200 || h.Get(reply.DroppedHeader) != dropped {
			t.Errorf("%s: %d, dropped %q: %s", messages, status, h.Get(reply.DroppedHeader), text)
		}
	}
}

// TestChatOfAWrongTypeIsRefused and nothing is made up in its place.
func TestChatOfAWrongTypeIsRefused(t *testing.T) {
	r := newRig(t)
	calls := func(call string) string { return `{"role":"assistant","tool_calls":[` + call + `]}` }
	for name, message := range map[string]string{
		"a text":            `{"role":"user","content":[{"type":"text","text":42}]}`,
		"an object as text": `{"role":"user","content":[{"type":"text","text":{"a":1}}]}`,
		"a type":            `{"role":"user","content":[{"type":1,"text":"x"}]}`,
		"a refusal":         `{"role":"assistant","content":[{"type":"refusal","refusal":[]}]}`,
		"an id":             calls(`{"id":1,"function":{"name":"f","arguments":"{}"}}`),
		"a name":            calls(`{"id":"c","function":{"name":1,"arguments":"{}"}}`),
		"arguments":         calls(`{"id":"c","function":{"name":"f","arguments":true}}`),
		"a list":            calls(`{"id":"c","function":{"name":"f","arguments":[1]}}`),
		"a custom name":     calls(`{"id":"c","custom":{"name":1,"input":"x"}}`),
		"a custom input":    calls(`{"id":"c","custom":{"name":"f","input":7}}`),
		"a legacy name":     `{"role":"assistant","function_call":{"name":1,"arguments":"{}"}}`,
		"legacy arguments":  `{"role":"assistant","function_call":{"name":"f","arguments":1}}`,
	} {
		status, text := r.post("/v1/chat/completions", `{"messages":[{"role":"user","content":"x"},`+message+`,{"role":"user","content":"x"}]}`)
		if status != 400 || !strings.HasPrefix(get(text, "error.param").Str, "messages") || !strings.Contains(get(text, "error.message").Str, "messages[1]") {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	if r.sent().Exists() {
		t.Errorf("a request went up: %s", r.sent())
	}
}

// TestFunctionsAreCalledOneAtATime: a message of those who offer functions, not tools, has room for one call.
func TestFunctionsAreCalledOneAtATime(t *testing.T) {
	r := newRig(t)
	const two = `"functions":[{"name":"a"},{"name":"b"}]`
	for _, more := range []string{two, two + `,"parallel_tool_calls":true`} {
		_, whole, _ := r.ask("chat", "[[parallel]]", false, more)
		_, stream, _ := r.ask("chat", "[[parallel]]", true, more)
		if call := get(whole, "choices.0.message.function_call"); call.Get("name").Str != "a" || strings.Contains(stream, `"name":"b"`) {
			t.Errorf("%s: %s\n%s", more, whole, stream)
		}
	}
}

// TestCallsWithoutAnIDGetOne: some servers give none, and a conversation with them goes on here. The backend wants one.
func TestCallsWithoutAnIDGetOne(t *testing.T) {
	r := newRig(t)
	const function = `"function":{"name":"f","arguments":"{}"}`
	for path, body := range map[string]string{
		"/v1/chat/completions": `{"messages":[{"role":"user","content":"x"},{"role":"assistant","tool_calls":[{"id":"",` + function + `},{` + function + `}]},{"role":"tool","content":"A"},{"role":"tool","tool_call_id":"","content":"B"}]}`,
		"/v1/responses":        `{"input":[{"role":"user","content":"x"},{"type":"function_call","call_id":"","name":"f","arguments":"{}"},{"type":"custom_tool_call","name":"f","input":""},{"type":"function_call_output","call_id":"","output":"A"},{"type":"custom_tool_call_output","output":"B"}]}`,
		"/v1/messages":         `{"messages":[{"role":"user","content":"x"},{"role":"assistant","content":[{"type":"tool_use","id":"","name":"f","input":{}},{"type":"tool_use","id":"","name":"f","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"","content":"A"},{"type":"tool_result","tool_use_id":"","content":"B"}]}]}`,
	} {
		status, text := r.post(path, body)
		input := r.sent().Get("input")
		first, second := input.Get("1.call_id").Str, input.Get("2.call_id").Str
		if status != 200 || first == "" || first == second || input.Get("3.call_id").Str != first || input.Get("4.call_id").Str != second || input.Get("3.output").Str != "A" {
			t.Errorf("%s: %d %s\n%s", path, status, text, input.Raw)
		}
	}
	status, text := r.post("/v1/chat/completions", `{"messages":[{"role":"user","content":"x"},{"role":"assistant","tool_calls":[{`+function+`}]},{"role":"user","content":"y"}]}`)
	if input := r.sent().Get("input"); status != 200 || input.Get("2.output").Str != "aborted" || input.Get("2.call_id").Str != input.Get("1.call_id").Str {
		t.Errorf("one without a result: %d %s\n%s", status, text, input.Raw)
	}
}

// TestAResultIsOfTheCallThatItFollows, where neither has an id: one that was left unanswered before the user spoke gets no
// later result, and none gets one of another kind.
func TestAResultIsOfTheCallThatItFollows(t *testing.T) {
	r := newRig(t)
	const call, use = `{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}`, `{"role":"assistant","content":[{"type":"tool_use","id":"","name":"f","input":{}}]}`
	for _, c := range []struct{ path, body, outputs string }{
		{"/v1/chat/completions", `{"messages":[{"role":"user","content":"x"},` + call + `,{"role":"user","content":"stop"},` + call + `,{"role":"tool","content":"B"}]}`, "1 aborted, 4 B"},
		{"/v1/messages", `{"messages":[{"role":"user","content":"x"},` + use + `,{"role":"user","content":"stop"},` + use + `,{"role":"user","content":[{"type":"text","text":"so"},{"type":"tool_result","tool_use_id":"","content":"B"}]}]}`, "1 aborted, 4 B"},
		{"/v1/responses", `{"input":[{"role":"user","content":"x"},{"type":"function_call","name":"f","arguments":"{}"},{"role":"user","content":"stop"},{"type":"function_call","name":"f","arguments":"{}"},{"type":"function_call_output","output":"B"}]}`, "1 aborted, 4 B"},
		{"/v1/responses", `{"input":[{"role":"user","content":"x"},{"type":"function_call","name":"f","arguments":"{}"},{"type":"custom_tool_call","name":"g","input":""},{"type":"custom_tool_call_output","output":"B"},{"type":"function_call_output","output":"A"}]}`, "2 B, 1 A"},
	} {
		status, text := r.post(c.path, c.body)
		at, outputs := map[string]int{}, []string{}
		for i, item := range r.sent().Get("input").Array() {
			if id := item.Get("call_id").Str; item.Get("output").Exists() {
				outputs = append(outputs, fmt.Sprint(at[id], " ", item.Get("output").Str))
			} else if id != "" {
				at[id] = i
			}
		}
		if got := strings.Join(outputs, ", "); status != 200 || got != c.outputs {
			t.Errorf("%s: %d %s, results %s: %s", c.path, status, text, got, r.sent().Get("input").Raw)
		}
	}
}
