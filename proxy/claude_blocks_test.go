package proxy

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"codex-proxy/proxy/reply"
)

// asked is a conversation whose last turn holds these blocks, after what the assistant said in those.
func asked(assistant, user string) string {
	return `{"max_tokens":9,"messages":[{"role":"user","content":"hello"},{"role":"assistant","content":[` + assistant + `]},{"role":"user","content":[` + user + `]}]}`
}

const someText = `{"type":"text","text":"x"}`

// TestAnAnswerThatTheCallerBeganIsTold: the model does not go on from it but says all anew, which callers would put behind it.
func TestAnAnswerThatTheCallerBeganIsTold(t *testing.T) {
	r := newRig(t)
	for last, dropped := range map[string]string{
		`{"role":"assistant","content":"{"}`:                  "max_tokens, messages.prefill",
		`{"role":"assistant","content":[` + someText + `]}`:   "max_tokens, messages.prefill",
		`{"role":"user","content":"more"}`:                    "max_tokens",
		`{"role":"assistant","content":[` + someSearch + `]}`: "max_tokens", // it is to be gone on with after a pause
	} {
		status, header, answer, _ := r.do("POST", "/v1/messages", `{"max_tokens":9,"messages":[{"role":"user","content":"hello"},`+last+`]}`)
		if got := header.Get(reply.DroppedHeader); status != 200 || got != dropped {
			t.Errorf("%s: %d, told %q: %s", last, status, got, answer)
		}
	}
}

const someSearch = `{"type":"text","text":"x"},{"type":"server_tool_use","id":"s","name":"web_search","input":{"query":"x"}}`

// TestAThreadIsNotAnsweredWithoutWhatCameBefore: its new messages come alone. The answer is the one at which Anthropic's
// SDKs send all of them.
func TestAThreadIsNotAnsweredWithoutWhatCameBefore(t *testing.T) {
	var heard recordings
	r := newRig(t, heard.listen)
	ask := func(thread string) (int, http.Header, string) {
		t.Helper()
		status, header, answer, _ := r.do("POST", "/v1/messages", `{"max_tokens":9,"messages":[{"role":"user","content":"hello"}],"thread":`+thread+`}`)
		return status, header, answer
	}
	for thread, dropped := range map[string]string{`{"type":"create"}`: "max_tokens, thread", `null`: "max_tokens"} {
		if status, header, answer := ask(thread); status != 200 || header.Get(reply.DroppedHeader) != dropped {
			t.Errorf("%s: %d, told %q: %s", thread, status, header.Get(reply.DroppedHeader), answer)
		}
	}
	sent := r.backend.Counts().Responses
	for _, path := range []string{"/v1/messages", "/v1/messages/count_tokens"} {
		for _, messages := range []string{`[{"role":"user","content":"and?"}]`, `[]`} {
			status, answer := r.post(path, `{"max_tokens":9,"thread":{"type":"continue","previous_message_id":"msg_1"},"messages":`+messages+`}`)
			if e := get(answer, "error"); status != 404 || e.Get("type").Str != "not_found_error" || e.Get("details.error_code").Str != "thread_not_found" {
				t.Errorf("%s %s: %d %s", path, messages, status, answer)
			}
		}
	}
	if _, records := heard.all(t, 6); !slices.ContainsFunc(records, func(x Record) bool { return x.Resent && x.Status == 404 }) || slices.ContainsFunc(records, func(x Record) bool { return x.Resent && x.Status != 404 }) {
		t.Errorf("which are sent again: %+v", records)
	}
	if status, _, answer := ask(`"create"`); status != 400 {
		t.Errorf("%d %s", status, answer)
	}
	if more := r.backend.Counts().Responses - sent; more > 0 {
		t.Errorf("%d of them went up", more)
	}
}

// TestEveryBlockIsCounted by what the model reads of it: a text by its length, a picture or a file by a fixed number, and
// what is not sent not at all.
func TestEveryBlockIsCounted(t *testing.T) {
	r := newRig(t)
	count := func(body string) int64 {
		t.Helper()
		status, header, answer, _ := r.do("POST", "/v1/messages/count_tokens", body)
		if status != 200 || header.Get("X-Codex-Proxy-Estimated") != "true" {
			t.Fatalf("%d %s for %.300s", status, answer, body)
		}
		return get(answer, "input_tokens").Int()
	}
	words := strings.Repeat("word ", 4000)  // about 5000 tokens
	base64 := strings.Repeat("AAAA", 1<<18) // 1 MB
	const call = `{"type":"tool_use","id":"t","name":"f","input":{}}`
	plain := count(asked(someText, someText))
	for name, c := range map[string]struct {
		assistant, user string
		least, most     int64 // beyond a plain conversation
	}{
		"text":                  {someText, `{"type":"text","text":"` + words + `"}`, 4900, 5100},
		"image":                 {someText, `{"type":"image","source":{"type":"base64","media_type":"image/png","data":"` + base64 + `"}}`, 700, 900},
		"image by address":      {someText, `{"type":"image","source":{"type":"url","url":"https://example.com/x.png"}}`, 700, 900},
		"document":              {someText, `{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"` + base64 + `"}}`, 700, 900},
		"document of text":      {someText, `{"type":"document","source":{"type":"text","media_type":"text/plain","data":"` + words + `"}}`, 4900, 5100},
		"search result":         {someText, `{"type":"search_result","source":"s","title":"t","content":[{"type":"text","text":"` + words + `"}]}`, 4900, 5100},
		"tool use":              {`{"type":"tool_use","id":"t","name":"f","input":{"a":"` + words + `"}}`, someText, 4900, 5100},
		"tool result":           {call, `{"type":"tool_result","tool_use_id":"t","content":"` + words + `"}`, 4900, 5100},
		"tool result, blocks":   {call, `{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"` + words + `"}]}`, 4900, 5100},
		"tool result, image":    {call, `{"type":"tool_result","tool_use_id":"t","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"` + base64 + `"}}]}`, 700, 950},
		"tool reference":        {call, `{"type":"tool_result","tool_use_id":"t","content":[{"type":"tool_reference","tool_name":"` + strings.Repeat("n", 400) + `"}]}`, 90, 250},
		"another's thinking":    {`{"type":"thinking","thinking":"` + words + `","signature":"theirs"},` + someText, someText, 0, 0},
		"redacted thinking":     {`{"type":"redacted_thinking","data":"` + words + `"},` + someText, someText, 0, 0},
		"server tool use":       {`{"type":"server_tool_use","id":"s","name":"web_search","input":{"query":"` + words + `"}},` + someText, someText, 4900, 5100},
		"web search result":     {`{"type":"web_search_tool_result","tool_use_id":"s","content":[{"type":"web_search_result","url":"u","title":"t","encrypted_content":"` + base64 + `"}]},` + someText, someText, 0, 0},
		"code execution":        {`{"type":"server_tool_use","id":"s","name":"code_execution","input":{}},{"type":"code_execution_tool_result","tool_use_id":"s","content":{"type":"code_execution_result","stdout":"` + words + `"}},` + someText, someText, 0, 0},
		"tool of an MCP server": {`{"type":"mcp_tool_use","id":"m","name":"f","server_name":"s","input":{}},{"type":"mcp_tool_result","tool_use_id":"m","is_error":false,"content":[{"type":"text","text":"` + words + `"}]},` + someText, someText, 0, 0},
		"compaction":            {`{"type":"compaction","content":"` + words + `"},` + someText, someText, 4900, 5100},
	} {
		if got := count(asked(c.assistant, c.user)) - plain; got < c.least || got > c.most {
			t.Errorf("%s counts %d, not %d to %d", name, got, c.least, c.most)
		}
	}
	for name, field := range map[string]string{
		"system":  `"system":[{"type":"text","text":"` + words + `"}]`,
		"tools":   `"tools":[{"name":"f","description":"` + words + `","input_schema":{"type":"object"}}]`,
		"schema":  `"output_config":{"format":{"type":"json_schema","schema":{"type":"object","description":"` + words + `"}}}`,
		"message": `"messages":[{"role":"user","content":"` + words + `"}]`,
	} {
		body := `{` + field + `,"model":"claude-opus-5"`
		if name != "message" {
			body += `,"messages":[{"role":"user","content":"x"}]`
		}
		if got := count(body + `}`); got < 5000 || got > 5200 {
			t.Errorf("%s counts %d", name, got)
		}
	}
}

// TestWhatServersOfAnthropicSaidIsPassedOver in the history, and told: it does not end the conversation.
func TestWhatServersOfAnthropicSaidIsPassedOver(t *testing.T) {
	r := newRig(t)
	for kind, blocks := range map[string]string{
		"messages.server_tool_use, messages.web_fetch_tool_result": `{"type":"server_tool_use","id":"s","name":"web_fetch","input":{"url":"u"}},{"type":"web_fetch_tool_result","tool_use_id":"s","content":{}}`,
		"messages.mcp_tool_use, messages.mcp_tool_result":          `{"type":"mcp_tool_use","id":"m","name":"f","server_name":"s","input":{}},{"type":"mcp_tool_result","tool_use_id":"m","content":[]}`,
		"messages.of_tomorrow":                                     `{"type":"of_tomorrow","tool":"x","content":{"a":1}}`,
	} {
		status, header, answer, _ := r.do("POST", "/v1/messages", asked(blocks, someText))
		if status != 200 || header.Get("X-Codex-Proxy-Dropped") != "max_tokens, "+kind {
			t.Errorf("%s: %d %s, told %q", kind, status, answer, header.Get("X-Codex-Proxy-Dropped"))
		}
	}
}

// TestAToolsUnknownResultIsReadAsItCame, such as the names of tools that a search for tools has found.
func TestAToolsUnknownResultIsReadAsItCame(t *testing.T) {
	r := newRig(t)
	_, answer := r.post("/v1/messages", asked(`{"type":"tool_use","id":"t","name":"f","input":{}}`, `{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"found"},{"type":"tool_reference","tool_name":"WebFetch"}]}`))
	if text := get(answer, `content.#(type=="text").text`).Str; !strings.Contains(text, "found") || !strings.Contains(text, `"tool_name":"WebFetch"`) {
		t.Error(answer)
	}
}

// TestThinkingThatIsNotShown comes back nevertheless: the caller gets what it has to send again, and asks for no more.
func TestThinkingThatIsNotShown(t *testing.T) {
	r := newRig(t)
	for _, stream := range []bool{false, true} {
		_, answer := r.post("/v1/messages", `{"max_tokens":9,"stream":`+strconv.FormatBool(stream)+`,"thinking":{"type":"adaptive","display":"omitted"},"messages":[{"role":"user","content":"[[reasoning]]"}]}`)
		content := get(answer, "content")
		if stream {
			blocks, _ := message(t, answer)
			content = gjson.ParseBytes(reply.Encode(blocks))
		}
		first := content.Get("0")
		if first.Get("type").Str != "thinking" || first.Get("thinking").Raw != `""` || first.Get("signature").Str == "" {
			t.Fatalf("streamed %v: %s", stream, answer)
		}
		sent := r.backend.Requests("/responses")
		if gjson.GetBytes(sent[len(sent)-1].Body, "reasoning.summary").Exists() {
			t.Error("a summary was asked for")
		}
		r.post("/v1/messages", asked(first.Raw+","+someText, someText))
		sent = r.backend.Requests("/responses")
		if !gjson.GetBytes(sent[len(sent)-1].Body, `input.#(type=="reasoning").encrypted_content`).Exists() {
			t.Errorf("streamed %v: the reasoning did not come back", stream)
		}
	}
}

// TestAMessageWithoutContentIsNamed where nothing else is said: a message was sent, so the conversation is not called empty.
func TestAMessageWithoutContentIsNamed(t *testing.T) {
	r := newRig(t)
	for name, content := range map[string]string{"a text": `""`, "no blocks": `[]`, "a block": `[{"type":"text","text":""}]`} {
		status, text := r.post("/v1/messages", `{"max_tokens":100,"system":"be nice","messages":[{"role":"user","content":`+content+`}]}`)
		if message := get(text, "error.message").Str; status != 400 || message != "messages.0 must have non-empty content. Send a text or another block" {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	if status, text := r.post("/v1/messages/count_tokens", `{"messages":[{"role":"user","content":""}]}`); status != 200 {
		t.Errorf("counted: %d %s", status, text)
	}
	status, text := r.post("/v1/messages", `{"max_tokens":100,"messages":[{"role":"user","content":""},{"role":"user","content":"hello"}]}`)
	if status != 200 {
		t.Errorf("beside another message: %d %s", status, text)
	}
}
