package proxy

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/tidwall/gjson"

	"codex-proxy/proxy/reply"
)

// What Open Responses says of the fields that must be there: their kind, with ? for those that may be null.
// Source: github.com/openresponses/openresponses, version 2026-04-24.
var (
	responseFields = map[string]string{
		"id": "string", "object": "string", "created_at": "integer", "completed_at": "integer?", "status": "string", "incomplete_details": "object?", "model": "string",
		"previous_response_id": "string?", "instructions": "string?", "output": "array", "error": "object?", "tools": "array", "tool_choice": "any", "truncation": "string",
		"parallel_tool_calls": "boolean", "text": "object", "top_p": "number", "presence_penalty": "number", "frequency_penalty": "number", "top_logprobs": "integer", "temperature": "number",
		"reasoning": "object?", "usage": "object?", "max_output_tokens": "integer?", "max_tool_calls": "integer?", "store": "boolean", "background": "boolean", "service_tier": "string",
		"metadata": "object", "safety_identifier": "string?", "prompt_cache_key": "string?",
	}
	usageFields = map[string]string{"input_tokens": "integer", "input_tokens_details.cached_tokens": "integer", "output_tokens": "integer", "output_tokens_details.reasoning_tokens": "integer", "total_tokens": "integer"}
	itemFields  = map[string]map[string]string{
		"message":       {"id": "string", "status": "string", "role": "string", "content": "array"},
		"function_call": {"id": "string", "call_id": "string", "name": "string", "arguments": "string", "status": "string"},
		"reasoning":     {"id": "string", "summary": "array"},
		"compaction":    {"id": "string", "encrypted_content": "string"},
	}
	partFields  = map[string]map[string]string{"output_text": {"text": "string", "annotations": "array"}, "refusal": {"refusal": "string"}, "summary_text": {"text": "string"}}
	toolFields  = map[string]string{"type": "string", "name": "string", "description": "string?", "parameters": "object?", "strict": "boolean?"}
	eventFields = map[string]string{
		"response.created": "response", "response.in_progress": "response", "response.completed": "response", "response.incomplete": "response", "response.failed": "response",
		"response.output_item.added": "output_index item", "response.output_item.done": "output_index item",
		"response.content_part.added": "item_id output_index content_index part", "response.content_part.done": "item_id output_index content_index part",
		"response.output_text.delta": "item_id output_index content_index delta", "response.output_text.done": "item_id output_index content_index text",
		"response.output_text.annotation.added": "item_id output_index content_index annotation_index annotation",
		"response.refusal.delta":                "item_id output_index content_index delta", "response.refusal.done": "item_id output_index content_index refusal",
		"response.function_call_arguments.delta": "item_id output_index delta", "response.function_call_arguments.done": "item_id output_index arguments",
		"response.reasoning_summary_part.added": "item_id output_index summary_index part", "response.reasoning_summary_part.done": "item_id output_index summary_index part",
		"response.reasoning_summary_text.delta": "item_id output_index summary_index delta", "response.reasoning_summary_text.done": "item_id output_index summary_index text",
		"error": "error",
	}
)

func kindOf(v gjson.Result) string {
	switch {
	case !v.Exists():
		return "missing"
	case v.IsObject():
		return "object"
	case v.IsArray():
		return "array"
	case v.IsBool():
		return "boolean"
	case v.Type == gjson.String:
		return "string"
	case v.Type == gjson.Null:
		return "null"
	case v.Num == float64(v.Int()):
		return "integer"
	}
	return "number"
}

// has checks an object's fields.
func has(t *testing.T, what string, object gjson.Result, fields map[string]string) {
	t.Helper()
	for name, want := range fields {
		kind := kindOf(object.Get(name))
		ok := kind == strings.TrimSuffix(want, "?") || kind == "null" && strings.HasSuffix(want, "?") || kind != "missing" && want == "any" || kind == "integer" && want == "number"
		if !ok {
			t.Errorf("%s: %s is %s, not %s, in %.1500s", what, name, kind, want, object.Raw)
		}
	}
}

// isResponse checks a response object with all that is in it.
func isResponse(t *testing.T, what string, object gjson.Result) {
	t.Helper()
	has(t, what, object, responseFields)
	if object.Get("object").Str != "response" || !object.Get("text.format.type").Exists() {
		t.Errorf("%s: %s", what, object.Raw)
	}
	if usage := object.Get("usage"); usage.IsObject() {
		has(t, what+": usage", usage, usageFields)
	}
	for _, tool := range object.Get("tools").Array() {
		if tool.Get("type").Str == "function" {
			has(t, what+": tool", tool, toolFields)
		}
	}
	for _, item := range object.Get("output").Array() {
		isItem(t, what, item)
	}
}

func isItem(t *testing.T, what string, item gjson.Result) {
	t.Helper()
	fields, ok := itemFields[item.Get("type").Str]
	if !ok {
		t.Errorf("%s: an item %s", what, item.Raw)
	}
	has(t, what+": item", item, fields)
	for _, list := range []string{"content", "summary"} {
		for _, part := range item.Get(list).Array() {
			has(t, what+": part", part, partFields[part.Get("type").Str])
		}
	}
}

// isStream checks the events of an answer, their numbers and their order, and returns the last response object.
func isStream(t *testing.T, what string, events []gjson.Result) (last gjson.Result) {
	t.Helper()
	open := map[int64]string{} // output_index -> type, of items that are not done
	parts := map[string]bool{}
	for i, ev := range events {
		kind := ev.Get("type").Str
		fields, ok := eventFields[kind]
		if !ok || ev.Get("sequence_number").Raw != strconv.Itoa(i) {
			t.Errorf("%s: event %d is %s", what, i, ev.Raw)
		}
		for name := range strings.FieldsSeq(fields) {
			if !ev.Get(name).Exists() {
				t.Errorf("%s: there is no %s in %s", what, name, ev.Raw)
			}
		}
		index, place := ev.Get("output_index").Int(), ev.Get("item_id").Str+"/"+ev.Get("content_index").Raw+ev.Get("summary_index").Raw
		switch {
		case ev.Get("response").Exists():
			isResponse(t, what+": "+kind, ev.Get("response"))
			last = ev.Get("response")
		case kind == "response.output_item.added":
			if ev.Get("item.status").Str == "completed" {
				t.Errorf("%s: an item begins completed: %s", what, ev.Raw)
			}
			open[index] = ev.Get("item.type").Str
		case kind == "response.output_item.done":
			if open[index] != ev.Get("item.type").Str {
				t.Errorf("%s: an item ends that had not begun: %s", what, ev.Raw)
			}
			isItem(t, what, ev.Get("item"))
			delete(open, index)
		case strings.HasSuffix(kind, "part.added"):
			parts[place] = true
		case strings.HasSuffix(kind, "part.done"):
			if !parts[place] {
				t.Errorf("%s: a part ends that had not begun: %s", what, ev.Raw)
			}
			delete(parts, place)
		case strings.HasPrefix(kind, "response.output_text.") && !parts[place], fields != "error" && open[index] == "":
			t.Errorf("%s: out of its place: %s", what, ev.Raw)
		}
	}
	if len(events) < 3 || events[0].Get("type").Str != "response.created" || events[1].Get("type").Str != "response.in_progress" || len(open)+len(parts) > 0 {
		t.Errorf("%s: %v and %v are open at the end of %v", what, open, parts, events)
	}
	return last
}

// compliance are the cases of Open Responses' own tests that are one request, and what the answer must hold.
var compliance = map[string]struct{ body, path, want string }{
	"basic-response":  {`"input":[{"type":"message","role":"user","content":"Say hello."}]`, "output.#.type", `["message"]`},
	"assistant-phase": {`"input":[{"type":"message","role":"assistant","phase":"commentary","content":"It is saved."},{"type":"message","role":"assistant","phase":"final_answer","content":"Four."},{"type":"message","role":"user","content":"Which?"}]`, "output.#.type", `["message"]`},
	"system-prompt":   {`"input":[{"type":"message","role":"system","content":"You are a pirate."},{"type":"message","role":"user","content":"Say hello."}]`, "output.#.type", `["message"]`},
	"tool-calling": {`"input":[{"type":"message","role":"user","content":"get_weather in Berlin"}],"tools":[{"type":"function","name":"get_weather","parameters":{"type":"object","properties":{"location":{"type":"string"}},"required":["location"]}}]`,
		`output.#(type=="function_call").name`, `"get_weather"`},
	"image-input": {`"input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"What is it?"},{"type":"input_image","image_url":"data:image/png;base64,iVBORw0KGgo="}]}]`,
		`output.0.content.0.text`, `"You said: What is it? I see 1 image(s)."`},
	"file-input": {`"input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"What is it?"},{"type":"input_file","filename":"a.pdf","file_data":"data:application/pdf;base64,JVBERi0xLjEK"}]}]`,
		"output.#.type", `["message"]`},
	"multi-turn": {`"input":[{"type":"message","role":"user","content":"My name is Alice."},{"type":"message","role":"assistant","content":"Hello Alice!"},{"type":"message","role":"user","content":"My name?"}]`,
		"output.0.content.0.text", `"You said: My name?"`},
	"structured": {`"input":"fill it","text":{"format":{"type":"json_schema","name":"n","schema":{"type":"object","properties":{"a":{"type":"string"}}}}}`, "text.format.strict", "false"},
	"reasoning":  {`"input":"[[reasoning]]","reasoning":{"effort":"high","summary":"auto"},"instructions":"Think.","parallel_tool_calls":false,"prompt_cache_key":"k","service_tier":"priority","store":false`, "output.#.type", `["reasoning","reasoning","message"]`},
	"refusal":    {`"input":"[[refusal]]"`, "output.0.content.0.type", `"refusal"`},
}

// TestOpenResponses asks what Open Responses' own tests ask, whole, streamed and over a WebSocket.
func TestOpenResponses(t *testing.T) {
	r := newRig(t)
	serve(t, r)
	conn := dialSocket(t, r, bySDK)
	for name, c := range compliance {
		body := `{"model":"gpt-5.5",` + c.body + `}`
		status, answer := r.post("/v1/responses", body)
		whole := gjson.Parse(answer)
		if status != 200 {
			t.Errorf("%s: %d %s", name, status, answer)
		}
		isResponse(t, name, whole)
		_, stream := r.post("/v1/responses", `{"stream":true,`+body[1:])
		_, data := sseEvents(stream)
		streamed := isStream(t, name+" streamed", parsed(data))
		send(t, conn, `{"type":"response.create",`+body[1:])
		var events []gjson.Result
		for len(events) == 0 || !slices.Contains([]string{"response.completed", "response.failed", "error"}, events[len(events)-1].Get("type").Str) {
			events = append(events, next(t, conn))
		}
		for form, response := range map[string]gjson.Result{"whole": whole, "streamed": streamed, "by socket": isStream(t, name+" by socket", events)} {
			if got := response.Get(c.path).Raw; response.Get("status").Str != "completed" || got != c.want || kindOf(response.Get("completed_at")) != "integer" || response.Get("store").Bool() == strings.Contains(c.body, `"store":false`) {
				t.Errorf("%s, %s: %s is %s in %s", name, form, c.path, got, response.Raw)
			}
		}
		if name == "reasoning" {
			has(t, name, whole, map[string]string{"instructions": "string", "prompt_cache_key": "string"})
			if whole.Get("reasoning.effort").Str != "high" || whole.Get("reasoning.summary").Str != "auto" || whole.Get("parallel_tool_calls").Bool() || whole.Get("service_tier").Str != "priority" {
				t.Errorf("what was asked is not told: %s", whole.Raw)
			}
		}
	}
}

func parsed(data []string) (events []gjson.Result) {
	for _, d := range data {
		events = append(events, gjson.Parse(d))
	}
	return events
}

// TestOpenResponsesGoesOn from an answer by its id, and gives a tool's result back.
func TestOpenResponsesGoesOn(t *testing.T) {
	r := newRig(t)
	_, first := r.post("/v1/responses", `{"model":"gpt-5.5","input":"Remember papaya."}`)
	_, second := r.post("/v1/responses", `{"model":"gpt-5.5","previous_response_id":"`+get(first, "id").Str+`","input":"Which word?"}`)
	isResponse(t, "second", gjson.Parse(second))
	if get(second, "previous_response_id").Str != get(first, "id").Str || !strings.Contains(string(r.backend.Requests("/responses")[1].Body), "papaya") {
		t.Error(second)
	}
	_, stream := r.post("/v1/responses", `{"model":"gpt-5.5","stream":true,"previous_response_id":"`+get(first, "id").Str+`","input":"Which word?"}`)
	_, data := sseEvents(stream)
	for _, ev := range []string{data[0], data[len(data)-1]} {
		if get(ev, "response.previous_response_id").Str != get(first, "id").Str {
			t.Error(ev)
		}
	}
	if _, full := r.post("/v1/responses", `{"model":"gpt-5.5","previous_response_id":"`+get(first, "id").Str+`","input":"[[full]]"}`); get(full, "previous_response_id").Str != get(first, "id").Str {
		t.Errorf("where the backend names none: %s", full)
	}
	_, stream = r.post("/v1/responses", `{"model":"gpt-5.5","stream":true,"previous_response_id":"`+get(first, "id").Str+`","input":"[[full]]"}`)
	if _, data = sseEvents(stream); get(data[len(data)-1], "response.previous_response_id").Str != get(first, "id").Str {
		t.Errorf("in a stream: %s", data[len(data)-1])
	}
	const tools = `"tools":[{"type":"function","name":"get_weather","parameters":{"type":"object","properties":{"location":{"type":"string"}}}}]`
	_, call := r.post("/v1/responses", `{"model":"gpt-5.5","input":"get_weather",`+tools+`,"tool_choice":{"type":"function","name":"get_weather"}}`)
	id := get(call, `output.#(type=="function_call").call_id`).Str
	_, result := r.post("/v1/responses", `{"model":"gpt-5.5","previous_response_id":"`+get(call, "id").Str+`",`+tools+`,"input":[{"type":"function_call_output","call_id":"`+id+`","output":"sunny"}]}`)
	if !strings.Contains(get(result, `output.#(type=="message").content.0.text`).Str, "sunny") || get(call, "tool_choice.name").Str != "get_weather" {
		t.Errorf("%s\n%s", call, result)
	}
}

// TestOpenResponsesThatEndEarly say why, in the object and in the event.
func TestOpenResponsesThatEndEarly(t *testing.T) {
	r := newRig(t)
	_, stream := r.post("/v1/responses", `{"model":"gpt-5.5","stream":true,"input":"[[incomplete]]"}`)
	_, data := sseEvents(stream)
	if last := isStream(t, "incomplete", parsed(data)); last.Get("status").Str != "incomplete" || last.Get("incomplete_details.reason").Str != "max_output_tokens" || last.Get("completed_at").Raw != "null" {
		t.Error(last.Raw)
	}
	_, stream = r.post("/v1/responses", `{"model":"gpt-5.5","stream":true,"input":"[[failed server_error late]]"}`)
	_, data = sseEvents(stream)
	if last := isStream(t, "failed", parsed(data)); last.Get("status").Str != "failed" || last.Get("error.code").Str != "server_error" || last.Get("error.message").Str == "" {
		t.Error(last.Raw)
	}
	for name, script := range map[string]string{"the backend's": "[[error server_error late]]", "ours": "[[cut]]"} {
		_, _, stream, _ = r.do("POST", "/v1/responses", `{"model":"gpt-5.5","stream":true,"input":"`+script+`"}`)
		_, data = sseEvents(stream)
		last := gjson.Parse(data[len(data)-1])
		has(t, name, last, map[string]string{"type": "string", "sequence_number": "integer", "error.type": "string", "error.message": "string", "error.code": "string?", "error.param": "string?", "message": "string", "code": "string?"})
		if last.Get("type").Str != "error" || last.Get("sequence_number").Int() != int64(len(data)-1) {
			t.Errorf("%s: %s after %d events", name, last.Raw, len(data)-1)
		}
	}
	status, answer := r.post("/v1/responses", `{"model":"gpt-5.5","input":{}}`)
	has(t, "refused", gjson.Parse(answer), map[string]string{"error.message": "string", "error.type": "string", "error.code": "string?", "error.param": "string?"})
	if status != 400 {
		t.Errorf("%d %s", status, answer)
	}
}

// TestOpenResponsesCompacts a conversation, which goes on from there on a WebSocket; not without a model.
func TestOpenResponsesCompacts(t *testing.T) {
	r := newRig(t)
	serve(t, r)
	status, answer := r.post("/v1/responses/compact", `{"model":"gpt-5.5","prompt_cache_key":"k","input":[{"type":"message","role":"user","content":"On Tuesday."},{"type":"message","role":"assistant","content":"Understood."}]}`)
	compacted := gjson.Parse(answer)
	has(t, "compact", compacted, map[string]string{"id": "string", "object": "string", "created_at": "integer", "output": "array"})
	if status != 200 || compacted.Get("object").Str != "response.compaction" || compacted.Get(`output.#(type=="compaction")`).Raw == "" {
		t.Errorf("%d %s", status, answer)
	}
	for _, item := range compacted.Get("output").Array() {
		isItem(t, "compact", item)
	}
	if status, answer = r.post("/v1/responses/compact", `{"input":[{"type":"message","role":"user","content":"On Tuesday."}]}`); status != 400 || get(answer, "error.param").Str != "model" {
		t.Errorf("without a model: %d %s", status, answer)
	}
	conn := dialSocket(t, r, bySDK)
	items := strings.TrimSuffix(strings.TrimPrefix(compacted.Get("output").Raw, "["), "]")
	if last := turn(t, conn, []byte(`{"type":"response.create","model":"gpt-5.5","store":false,"tools":[],"input":[`+items+`,{"type":"message","role":"user","content":"go on"}]}`)); last.Get("response.status").Str != "completed" {
		t.Errorf("%s", last.Raw)
	}
}

// TestWhatIsCompactedIsWhatTheBackendTakes: the conversation itself, also where an id stands for it, and a model of its own.
// The Codex CLI's goes up as it came.
func TestWhatIsCompactedIsWhatTheBackendTakes(t *testing.T) {
	r := newRig(t)
	_, first := r.post("/v1/responses", `{"input":"On Tuesday.","instructions":"Be brief."}`)
	answer, id := get(first, "output.0").Raw, get(first, "output.0.id").Raw
	for _, c := range []struct{ body, up, dropped string }{
		{`{"model":"gpt-5.5","previous_response_id":` + get(first, "id").Raw + `}`, "input.#.content.0.text", ""},
		{`{"model":"gpt-5.5-high","input":[{"role":"user","content":[{"type":"input_text","text":"On Tuesday."}]},{"type":"item_reference","id":` + id + `}]}`, "input.#.content.0.text", ""},
		{`{"model":"gpt-5.5","input":[{"role":"user","content":[{"type":"input_text","text":"On Tuesday."}]},` + answer + `],"prompt_cache_retention":"24h","service_tier":"auto","prompt_cache_key":"k","client_metadata":{"a":"b"},"tool_choice":"auto","store":false}`, "input.#.content.0.text", "prompt_cache_retention"},
	} {
		status, h, text, _ := r.do(http.MethodPost, "/v1/responses/compact", c.body)
		sent := r.backend.Requests("/responses/compact")
		if status != 200 || len(sent) == 0 {
			t.Fatalf("%s: %d %s", c.body, status, text)
		}
		up := gjson.ParseBytes(sent[len(sent)-1].Body)
		if up.Get(c.up).Raw != `["On Tuesday.","You said: On Tuesday."]` || up.Get("model").Str != "gpt-5.5" || h.Get(reply.DroppedHeader) != c.dropped {
			t.Errorf("%s: dropped %q, %s", c.body, h.Get(reply.DroppedHeader), up.Raw)
		}
	}
	for _, body := range []string{`{"model":"gpt-5.5","input":"On Tuesday."}`, `{"model":"gpt-5.5","input":[{"role":"system","content":"Be brief."},{"role":"user","content":"hello"}]}`} {
		if status, text := r.post("/v1/responses/compact", body); status != 200 {
			t.Errorf("%s: %d %s", body, status, text)
		}
	}
	if status, text := r.post("/v1/responses/compact", `{"model":"gpt-5.5","previous_response_id":"resp_gone"}`); status != 404 || get(text, "error.param").Str != "previous_response_id" {
		t.Errorf("%d %s", status, text)
	}
	own := `{"model":"gpt-5.5","input":[],"instructions":"x","tools":[],"parallel_tool_calls":false}`
	if status, text := r.post("/v1/responses/compact", own, "Originator", "codex_exec"); status != 200 {
		t.Errorf("%d %s", status, text)
	}
	if sent := r.backend.Requests("/responses/compact"); string(sent[len(sent)-1].Body) != own {
		t.Errorf("%s", sent[len(sent)-1].Body)
	}
}

// TestOpenResponsesOnASocket keeps what is not stored for that connection only.
func TestOpenResponsesOnASocket(t *testing.T) {
	r := newRig(t)
	serve(t, r)
	open := func() *websocket.Conn { return dialSocket(t, r, bySDK) }
	ask := func(conn *websocket.Conn, previous string) gjson.Result {
		return turn(t, conn, []byte(`{"type":"response.create","model":"gpt-5.5","store":false,"input":"cobalt","previous_response_id":`+previous+`}`))
	}
	conn := open()
	first := ask(conn, "null").Get("response")
	isResponse(t, "first", first)
	second := ask(conn, first.Get("id").Raw).Get("response")
	isResponse(t, "second", second)
	if second.Get("previous_response_id").Raw != first.Get("id").Raw || second.Get("store").Bool() {
		t.Errorf("%s", second.Raw)
	}
	for name, previous := range map[string]string{"of another connection": first.Get("id").Raw, "of nobody": `"resp_missing"`} {
		again := open()
		if refused := ask(again, previous); refused.Get("type").Str != "error" || refused.Get("error.code").Str != "previous_response_not_found" {
			t.Errorf("%s: %s", name, refused.Raw)
		}
		if recovered := ask(again, "null"); recovered.Get("response.status").Str != "completed" {
			t.Errorf("%s: %s", name, recovered.Raw)
		}
	}
}
