//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/tidwall/gjson"
)

func messages(text string, more ...string) string {
	body, _ := json.Marshal(map[string]any{"model": "claude-sonnet-4-5", "max_tokens": 1000, "messages": []any{map[string]any{"role": "user", "content": text}}})
	return with(body, more)
}

// events are the names of the events in a stream, without repeats.
func events(stream string) string {
	var names []string
	for line := range strings.Lines(stream) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "event: "); ok && (len(names) == 0 || names[len(names)-1] != name) {
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}

const weather = `"tools":[{"name":"get_weather","description":"Weather","input_schema":{"type":"object","properties":{"city":{"type":"string"}}}},{"name":"DeferredToolPlaceholder"}]`

func TestMessages(t *testing.T) {
	p, b := startSignedIn(t, "--model-alias", "claude-sonnet=gpt-5.5")
	status, header, body := p.post("/v1/messages?beta=true", messages("hello", `"temperature":0.2,"metadata":{"user_id":"u"},"context_management":{"edits":[]},"system":[{"type":"text","text":"Be brief.","cache_control":{"type":"ephemeral"}}]`))
	doc := gjson.Parse(body)
	if status != 200 || doc.Get("content.0.text").Str != "You said: hello" || doc.Get("stop_reason").Str != "end_turn" || doc.Get("type").Str != "message" ||
		doc.Get("usage.output_tokens").Int() != 10 || doc.Get("model").Str != "gpt-5.5" {
		t.Errorf("%d %s", status, body)
	}
	if got := header.Get("X-Codex-Proxy-Dropped"); got != "context_management, max_tokens, metadata, temperature" {
		t.Errorf("dropped: %q", got)
	}
	requests := b.Requests("/codex/responses")
	if up := gjson.ParseBytes(requests[len(requests)-1].Body); up.Get("instructions").Str != "Be brief." {
		t.Errorf("instructions went up as %s", up.Get("instructions"))
	}

	_, _, stream := p.post("/messages", messages("Call get_weather", weather, `"stream":true,"thinking":{"type":"enabled","budget_tokens":5000}`))
	if got, want := events(stream), "message_start ping content_block_start content_block_delta content_block_stop content_block_start content_block_delta content_block_stop message_delta message_stop"; got != want {
		t.Errorf("events:\n%s\nwant\n%s\n%s", got, want, stream)
	}
	for _, want := range []string{`"type":"thinking_delta"`, `"signature_delta"`, `"type":"tool_use"`, `"partial_json":`, `"stop_reason":"tool_use"`} {
		if !strings.Contains(stream, want) {
			t.Errorf("the stream lacks %s:\n%s", want, stream)
		}
	}

	// The whole turn comes back, with its thinking, and the result of the tool with a picture.
	_, _, body = p.post("/v1/messages", messages("Call get_weather", weather, `"thinking":{"type":"adaptive"}`))
	answer := gjson.Parse(body)
	id := answer.Get(`content.#(type=="tool_use").id`).Str
	follow := fmt.Sprintf(`{"model":"claude-sonnet-4-5","max_tokens":100,%s,"messages":[{"role":"user","content":"Call get_weather"},{"role":"assistant","content":%s},
		{"role":"user","content":[{"type":"tool_result","tool_use_id":%q,"is_error":true,"content":[{"type":"text","text":"no city"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":%q}}]},{"type":"text","text":"go on"}]},
		{"role":"system","content":"A reminder."}]}`, weather, answer.Get("content").Raw, id, pixel)
	status, _, body = p.post("/v1/messages", follow)
	requests = b.Requests("/codex/responses")
	up := gjson.ParseBytes(requests[len(requests)-1].Body).Get("input")
	if status != 200 || up.Get("1.type").Str != "reasoning" || up.Get("2.type").Str != "function_call" || up.Get("3.output.0.text").Str != "The tool failed:" || up.Get("5.role").Str != "developer" {
		t.Errorf("%d %s\nwent up: %s", status, body, up.Raw)
	}

	for name, test := range map[string]struct {
		body, want string
		status     int
	}{
		"limit":           {messages("[[limit]]"), `"type":"billing_error"`, 402},
		"context":         {messages("[[context]]"), "prompt is too long", 400},
		"empty":           {`{"model":"x","messages":[]}`, `"type":"invalid_request_error"`, 400},
		"anthropic tool":  {messages("hi", `"tools":[{"type":"computer_toolset_20250124","name":"computer"}]`), "Anthropic's models only", 400},
		"stop sequence":   {messages("[[stops]]", `"stop_sequences":["STOP"]`), `"stop_sequence":"STOP"`, 200},
		"incomplete":      {messages("[[incomplete]]"), `"stop_reason":"max_tokens"`, 200},
		"schema":          {messages("fill", `"output_config":{"format":{"type":"json_schema","schema":{"type":"object","properties":{"n":{"type":"integer"}}}}}`), `{\"n\":1}`, 200},
		"choice":          {messages("hi", weather, `"tool_choice":{"type":"tool","name":"get_weather","disable_parallel_tool_use":true}`), `"name":"get_weather"`, 200},
		"foreign thought": {`{"model":"claude-opus-4","max_tokens":5,"messages":[{"role":"user","content":"a"},{"role":"assistant","content":[{"type":"thinking","thinking":"x","signature":"EqQB"},{"type":"text","text":"b"}]},{"role":"user","content":"c"}]}`, "You said: c", 200},
	} {
		if status, _, body := p.post("/v1/messages", test.body); status != test.status || !strings.Contains(body, test.want) {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	for _, scenario := range []string{"[[cut]]", "[[failed server_error late]]"} {
		_, _, stream := p.post("/v1/messages", messages(scenario, `"stream":true`))
		if !strings.Contains(stream, "event: error") || strings.Contains(stream, "message_stop") {
			t.Errorf("%s ends as %s", scenario, stream)
		}
	}
	if _, _, body := p.post("/v1/messages/count_tokens", messages(strings.Repeat("word ", 400))); gjson.Get(body, "input_tokens").Int() < 400 {
		t.Errorf("count_tokens: %s", body)
	}
}

func TestOllama(t *testing.T) {
	p, b := startSignedIn(t)
	get := func(path string) gjson.Result {
		t.Helper()
		resp, err := http.Get(p.url + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var raw json.RawMessage
		json.NewDecoder(resp.Body).Decode(&raw) //nolint:errcheck // then it is empty
		return gjson.ParseBytes(raw)
	}
	if v := get("/api/version").Get("version").Str; v == "" {
		t.Error("no version")
	}
	if list := get("/api/tags").Get("models").Array(); len(list) == 0 || list[0].Get("details.family").Str == "" {
		t.Errorf("tags: %v", list)
	}
	_, _, body := p.post("/api/show", `{"model":"gpt-5.5"}`)
	if doc := gjson.Parse(body); doc.Get(`model_info.gpt\.context_length`).Int() != 272000 || !strings.Contains(doc.Get("capabilities").Raw, "vision") {
		t.Errorf("show: %s", body)
	}
	tools := `"tools":[{"type":"function","function":{"name":"get_weather","parameters":{"type":"object","properties":{"city":{"type":"string"}}}}}]`
	for name, test := range map[string]struct {
		path, body, want string
		status           int
	}{
		"chat":     {"/api/chat", `{"model":"gpt-5.5:latest","stream":false,"messages":[{"role":"system","content":"x"},{"role":"user","content":"hello","images":["` + pixel + `"]}],"options":{"temperature":1,"num_ctx":4096}}`, "I see 1 image(s).", 200},
		"stream":   {"/api/chat", `{"model":"gpt-5.5","messages":[{"role":"user","content":"hello"}]}`, `"done":false`, 200},
		"generate": {"/api/generate", `{"model":"gpt-5.5","prompt":"hello","stream":false}`, `"response":"You said: hello"`, 200},
		"load":     {"/api/generate", `{"model":"gpt-5.5"}`, `"done_reason":"load"`, 200},
		"json":     {"/api/chat", `{"model":"gpt-5.5","stream":false,"format":"json","messages":[{"role":"user","content":"hi"}]}`, `{\"answer\":\"ok\"}`, 200},
		"schema":   {"/api/chat", `{"model":"gpt-5.5","stream":false,"format":{"type":"object","properties":{"n":{"type":"integer"}}},"messages":[{"role":"user","content":"hi"}]}`, `{\"n\":1}`, 200},
		"think":    {"/api/chat", `{"model":"gpt-5.5","stream":false,"think":true,"messages":[{"role":"user","content":"[[reasoning]]"}]}`, `"thinking":"First thought`, 200},
		"tool":     {"/api/chat", `{"model":"gpt-5.5","stream":false,"messages":[{"role":"user","content":"get_weather"}],` + tools + `}`, `"arguments":{"city":"sample"}`, 200},
		"stop":     {"/api/generate", `{"model":"gpt-5.5","prompt":"[[stops]]","stream":false,"options":{"stop":["STOP"]}}`, `"response":"one two "`, 200},
		"limit":    {"/api/chat", `{"model":"gpt-5.5","messages":[{"role":"user","content":"[[limit]]"}]}`, `{"error":"ChatGPT plan usage limit`, 402},
		"embed":    {"/api/embed", `{"model":"gpt-5.5","input":"x"}`, `{"error":"/api/embed is not available`, 501},
		"pull":     {"/api/pull", `{"model":"llama"}`, `{"error":"`, 501},
		"unknown":  {"/api/show", `{"model":"llama3"}`, `{"error":"model 'llama3' not found`, 404},
		"bad JSON": {"/api/chat", `{`, `{"error":"`, 400},
	} {
		status, _, body := p.post(test.path, test.body)
		if status != test.status || !strings.Contains(body, test.want) {
			t.Errorf("%s: %d %s", name, status, body)
		}
		if lines := strings.Split(strings.TrimSpace(body), "\n"); name == "stream" && !strings.Contains(lines[len(lines)-1], `"eval_count":10`) {
			t.Errorf("the last line is %s", lines[len(lines)-1])
		}
	}
	// Results carry names and no ids: each goes to the first call of that name.
	history := `{"model":"gpt-5.5","stream":false,"messages":[{"role":"user","content":"x"},{"role":"assistant","tool_calls":[{"function":{"name":"a","arguments":{"i":1}}},{"function":{"name":"b","arguments":{}}},{"function":{"name":"a","arguments":{"i":2}}}]},
		{"role":"tool","tool_name":"b","content":"B"},{"role":"tool","tool_name":"a","content":"A1"},{"role":"tool","content":"A2"}]}`
	if status, _, body := p.post("/api/chat", history); status != 200 {
		t.Errorf("%d %s", status, body)
	}
	requests := b.Requests("/codex/responses")
	input := gjson.ParseBytes(requests[len(requests)-1].Body).Get("input")
	for i, want := range map[string]string{"4": "2", "5": "1", "6": "3"} {
		if input.Get(i+".call_id").Str != input.Get(want+".call_id").Str {
			t.Errorf("result %s does not belong to call %s: %s", i, want, input.Raw)
		}
	}
	_, _, stream := p.post("/api/chat", `{"model":"gpt-5.5","messages":[{"role":"user","content":"[[cut]]"}]}`)
	if !strings.Contains(stream, `{"error":"`) || strings.Contains(stream, `"done":true`) {
		t.Errorf("a cut stream: %s", stream)
	}
}

func TestCompletions(t *testing.T) {
	p, _ := startSignedIn(t)
	for name, test := range map[string]struct {
		body, want string
		status     int
	}{
		"one":    {`{"model":"gpt-5.5","prompt":"Once upon","max_tokens":5}`, `"text":"You said: Once upon"`, 200},
		"two":    {`{"model":"gpt-5.5","prompt":["a","b"]}`, `"index":1`, 200},
		"suffix": {`{"model":"gpt-5.5","prompt":"a","suffix":"b"}`, "a<GAP>b", 200},
		"stream": {`{"model":"gpt-5.5","prompt":"hello","stream":true,"stream_options":{"include_usage":true}}`, "data: [DONE]", 200},
		"stop":   {`{"model":"gpt-5.5","prompt":"[[stops]]","stop":"STOP"}`, `"text":"one two "`, 200},
		"echo":   {`{"model":"gpt-5.5","prompt":"x","echo":true}`, "echo is not available", 400},
		"tokens": {`{"model":"gpt-5.5","prompt":[1,2]}`, "lists of tokens", 400},
		"none":   {`{"model":"gpt-5.5"}`, "prompt is missing", 400},
		"many":   {`{"model":"gpt-5.5","prompt":"x","n":5}`, "from 1 to 4", 400},
		"limit":  {`{"model":"gpt-5.5","prompt":"[[limit]]"}`, "usage_limit_reached", 402},
	} {
		if status, _, body := p.post("/v1/completions", test.body); status != test.status || !strings.Contains(body, test.want) {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
}

func TestResponsesAreRememberedForAWhile(t *testing.T) {
	p, b := startSignedIn(t)
	_, _, body := p.post("/v1/responses", respond("first"))
	first := gjson.Get(body, "id").Str
	_, _, body = p.post("/v1/responses", respond("second", `"previous_response_id":"`+first+`"`, `"stream":true`))
	second := regexp.MustCompile(`"id":"(resp_[0-9a-f]+)"`).FindStringSubmatch(body)[1]
	status, _, body := p.post("/v1/responses", respond("third", `"previous_response_id":"`+second+`"`))
	requests := b.Requests("/codex/responses")
	input := string(requests[len(requests)-1].Body)
	if status != 200 || !strings.Contains(input, "You said: first") || !strings.Contains(input, "You said: second") || !strings.Contains(input, "third") {
		t.Errorf("%d %s\nwent up: %s", status, body, input)
	}
	third := gjson.Get(body, "id").Str
	message := gjson.Get(body, `output.#(type=="message").id`).Str
	if status, _, body := p.post("/v1/responses", `{"model":"gpt-5.5","input":[{"type":"item_reference","id":"`+message+`"},{"role":"user","content":"hi"}]}`); status != 200 {
		t.Errorf("item_reference: %d %s", status, body)
	}
	do := func(method, path string) (int, string) {
		t.Helper()
		req, _ := http.NewRequest(method, p.url+path, nil)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var raw json.RawMessage
		json.NewDecoder(resp.Body).Decode(&raw) //nolint:errcheck // then it is empty
		return resp.StatusCode, string(raw)
	}
	for _, test := range []struct {
		method, path, want string
		status             int
	}{
		{"GET", "/v1/responses/" + third, "You said: third", 200},
		{"GET", "/v1/responses/" + third + "/input_items", "third", 200},
		{"POST", "/v1/responses/" + third + "/cancel", "background", 400},
		{"DELETE", "/v1/responses/" + third, `"deleted":true`, 200},
		{"GET", "/v1/responses/" + third, "response_not_found", 404},
		{"GET", "/v1/responses/resp_nope", "response_not_found", 404},
	} {
		if status, body := do(test.method, test.path); status != test.status || !strings.Contains(body, test.want) {
			t.Errorf("%s %s: %d %s", test.method, test.path, status, body)
		}
	}
	_, _, body = p.post("/v1/responses", respond("secret", `"store":false`))
	if status, _ := do("GET", "/v1/responses/"+gjson.Get(body, "id").Str); status != 404 {
		t.Error("store false was stored")
	}
	if _, _, body := p.post("/v1/responses/input_tokens", respond("hello")); gjson.Get(body, "input_tokens").Int() == 0 {
		t.Errorf("input_tokens: %s", body)
	}
	if status, _, body := p.post("/v1/responses/compact", respond("hello")); status != 200 || !strings.Contains(body, "compaction") {
		t.Errorf("compact: %d %s", status, body)
	}
}

func TestImages(t *testing.T) {
	p, b := startSignedIn(t)
	status, _, body := p.post("/v1/images/generations", `{"prompt":"a cat","model":"gpt-image-1","n":2,"size":"1024x1024","quality":"high","background":"transparent"}`)
	if doc := gjson.Parse(body); status != 200 || len(doc.Get("data").Array()) != 2 || doc.Get("data.0.b64_json").Str != pixel || doc.Get("size").Str != "1024x1024" {
		t.Errorf("%d %s", status, body)
	}
	requests := b.Requests("/codex/responses")
	if tool := gjson.ParseBytes(requests[len(requests)-1].Body).Get("tools.0"); tool.Get("quality").Str != "high" || tool.Get("background").Str != "transparent" {
		t.Errorf("the tool went up as %s", tool.Raw)
	}
	var form strings.Builder
	w := multipart.NewWriter(&form)
	part, _ := w.CreateFormFile("image[]", "cat.png")
	part.Write([]byte("\x89PNG\r\n\x1a\n"))
	w.WriteField("prompt", "make it blue")
	w.Close()
	if status, _, body := p.post("/v1/images/edits", form.String(), "Content-Type", w.FormDataContentType()); status != 200 || !strings.Contains(body, pixel) {
		t.Errorf("edit: %d %s", status, body)
	}
	for body, want := range map[string]string{`{"n":1}`: "prompt is missing", `{"prompt":"x","n":9}`: "from 1 to 4", `{"prompt":"[[limit]]"}`: "usage limit"} {
		if status, _, answer := p.post("/v1/images/generations", body); status < 400 || !strings.Contains(answer, want) {
			t.Errorf("%s: %d %s", body, status, answer)
		}
	}
}

func TestResponsesOverAWebSocket(t *testing.T) {
	p, b := startSignedIn(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, p.url+"/v1/responses", &websocket.DialOptions{
		HTTPHeader:      http.Header{"Openai-Beta": {"responses_websockets=2026-02-06"}, "Originator": {"codex_exec"}},
		CompressionMode: websocket.CompressionContextTakeover,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	conn.SetReadLimit(1 << 24)
	turn := func(message string) gjson.Result {
		t.Helper()
		if err := conn.Write(ctx, websocket.MessageText, []byte(message)); err != nil {
			t.Fatal(err)
		}
		for {
			_, raw, err := conn.Read(ctx)
			if err != nil {
				t.Fatal(err)
			}
			switch doc := gjson.ParseBytes(raw); doc.Get("type").Str {
			case "response.completed", "response.failed", "error":
				return doc
			}
		}
	}
	item := func(text string) string {
		return `{"type":"message","role":"user","content":[{"type":"input_text","text":"` + text + `"}]}`
	}
	warm := turn(`{"type":"response.create","model":"gpt-5.5","instructions":"x","input":[` + item("context") + `],"store":false,"generate":false}`)
	if warm.Get("type").Str != "response.completed" || len(b.Requests("/codex/responses")) != 0 {
		t.Fatalf("a turn that is not to be answered: %s", warm.Raw)
	}
	id := warm.Get("response.id").Str
	for i := range 3 {
		done := turn(fmt.Sprintf(`{"type":"response.create","model":"gpt-5.5","instructions":"x","previous_response_id":%q,"input":[%s],"store":false}`, id, item(fmt.Sprint("turn ", i))))
		if !strings.Contains(done.Raw, fmt.Sprintf("You said: turn %d", i)) {
			t.Fatalf("turn %d: %s", i, done.Raw)
		}
		id = done.Get("response.id").Str
	}
	requests := b.Requests("/codex/responses")
	if up := string(requests[len(requests)-1].Body); !strings.Contains(up, "context") || !strings.Contains(up, "You said: turn 1") {
		t.Errorf("the last turn went up without what was before: %s", up)
	}
	if e := turn(`{"type":"response.create","model":"gpt-5.5","instructions":"x","input":[` + item("[[limit]]") + `]}`); e.Get("status").Int() != 429 || e.Get("error.type").Str != "usage_limit_reached" {
		t.Errorf("the limit: %s", e.Raw)
	}
	if e := turn(`{"type":"response.create","previous_response_id":"resp_gone","input":[` + item("x") + `]}`); e.Get("error.code").Str != "previous_response_not_found" {
		t.Errorf("a lost answer: %s", e.Raw)
	}
	if e := turn(`nonsense`); e.Get("type").Str != "error" {
		t.Errorf("nonsense: %s", e.Raw)
	}
	if done := turn(`{"type":"response.create","model":"gpt-5.5","instructions":"x","input":[` + item("still there") + `]}`); !strings.Contains(done.Raw, "still there") {
		t.Errorf("after errors: %s", done.Raw)
	}
}

func TestModelAliases(t *testing.T) {
	p, b := startSignedIn(t, "--model-alias", "fast=gpt-5.5", "--model-alias", "claude-haiku=gpt-5.6-luna", "--model", "gpt-6-luna", "--default-effort", "max")
	for name, want := range map[string]string{
		"fast": "gpt-5.5", "claude-haiku-4-5-20251001": "gpt-5.6-luna", "claude-opus-4-1": "gpt-6-luna", "fast-high": "gpt-5.5", "gpt-5.5": "gpt-5.5", "mystery": "mystery",
	} {
		p.post("/v1/chat/completions", `{"model":"`+name+`","messages":[{"role":"user","content":"hi"}]}`)
		requests := b.Requests("/codex/responses")
		if got := gjson.ParseBytes(requests[len(requests)-1].Body).Get("model").Str; got != want {
			t.Errorf("%s went up as %s, want %s", name, got, want)
		}
		effort := map[string]string{"fast": "xhigh", "gpt-5.5": "xhigh", "mystery": ""}
		if want, ok := effort[name]; ok {
			if got := gjson.ParseBytes(requests[len(requests)-1].Body).Get("reasoning.effort").Str; got != want {
				t.Errorf("%s went up with the effort %q, want %q", name, got, want)
			}
		}
	}
	if status, _, body := p.post("/v1/chat/completions", `{"model":"mystery","messages":[{"role":"user","content":"hi"}]}`); status != 404 || !strings.Contains(body, "model_not_found") {
		t.Errorf("an unknown model: %d %s", status, body)
	}
}

// TestAModelThatIsSetAndNotOfferedIsNamed: the caller chose another one, or none, and can't know.
func TestAModelThatIsSetAndNotOfferedIsNamed(t *testing.T) {
	b, url := startBackend(t)
	home, _ := signedIn(t, b)
	env := append(at(url), "CODEX_PROXY_MODEL=gpt-4-old", "CODEX_PROXY_MODEL_ALIAS=fast=gpt-4-fast,good=gpt-5.5,claude=")
	p := start(t, home, env)
	p.imported()
	for body, want := range map[string]string{
		`{}`:                       `does not offer the model \"gpt-4-old\" to this account, which the proxy is set to use where none is named. There are: gpt-`,
		`{"model":"fast"}`:         `does not offer the model \"gpt-4-fast\" to this account, which the proxy is set to use for \"fast\". There are: gpt-`,
		`{"model":"claude-opus"}`:  `to use for \"claude-opus\". There are: gpt-`,
		`{"model":"mystery-high"}`: `does not offer the model \"mystery\" to this account. There are: gpt-`,
	} {
		body = strings.Replace(body+`,"messages":[{"role":"user","content":"hi"}]}`, "}", "", 1)
		if status, _, answer := p.post("/v1/chat/completions", strings.Replace(body, "{,", "{", 1)); status != 404 || !strings.Contains(answer, want) {
			t.Errorf("%s: %d %s", body, status, answer)
		}
	}
	out, code := command(t, home, env, "doctor")
	for _, want := range []string{"gpt-4-old, for requests that name none (--model), is not", "gpt-4-fast, for fast (--model-alias), is not", "Choose one of /v1/models"} {
		if code != 1 || !strings.Contains(out, want) {
			t.Errorf("doctor ends with %d and lacks %q: %s", code, want, out)
		}
	}
	if strings.Contains(out, "good (--model") || strings.Contains(out, "claude (--model") {
		t.Errorf("doctor names what is well: %s", out)
	}
	eventually(t, "a line about the default model", func() bool { return strings.Contains(p.log.String(), "Requests that name no model fail: gpt-4-old") })
}
