package proxy

import (
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"codex-proxy/proxy/reply"
)

// ask and answer of Anthropic's search.
const (
	searching = `{"max_tokens":9,"stream":STREAM,"messages":[{"role":"user","content":"[[websearch]]"}],"tools":[{"type":"web_search_20250305","name":"web_search","max_uses":8,` +
		`"allowed_domains":["example.com/docs"],"blocked_domains":["example.org"],"user_location":{"type":"approximate","city":"Berlin","country":"DE","region":null}}]}`
	failing = `{"max_tokens":9,"messages":[{"role":"user","content":"[[websearch failed]]"}],"tools":[{"type":"web_search_20260318","name":"web_search"}]}`
)

// message puts the events of a streamed message together, as Anthropic's SDKs do.
func message(t *testing.T, stream string) (content []map[string]any, last gjson.Result) {
	t.Helper()
	open := -1
	input := ""
	types, data := sseEvents(stream)
	for i, kind := range types {
		ev := gjson.Parse(data[i])
		if at := ev.Get("index"); at.Exists() && at.Int() != int64(max(open, 0)) && kind != "content_block_start" {
			t.Errorf("an event of block %d while %d is open: %s", at.Int(), open, data[i])
		}
		switch kind {
		case "content_block_start":
			if ev.Get("index").Int() != int64(len(content)) {
				t.Errorf("block %d begins as %d", len(content), ev.Get("index").Int())
			}
			open, input = len(content), ""
			block, _ := ev.Get("content_block").Value().(map[string]any)
			content = append(content, block)
		case "content_block_delta":
			block := content[open]
			switch delta := ev.Get("delta"); delta.Get("type").Str {
			case "text_delta":
				block["text"] = block["text"].(string) + delta.Get("text").Str
			case "input_json_delta":
				input += delta.Get("partial_json").Str
			case "citations_delta":
				citations, _ := block["citations"].([]any)
				block["citations"] = append(citations, delta.Get("citation").Value())
			case "signature_delta":
				block["signature"] = delta.Get("signature").Str
			}
		case "content_block_stop":
			if input != "" {
				content[open]["input"] = gjson.Parse(input).Value()
			}
		case "message_delta":
			last = ev
		}
	}
	return content, last
}

// TestASearchIsToldInAnthropicsBlocks: what was searched for, the pages that were found, the text with its citations,
// and the count; alike in a stream and at once.
func TestASearchIsToldInAnthropicsBlocks(t *testing.T) {
	r := newRig(t)
	_, header, whole, _ := r.do("POST", "/v1/messages", strings.Replace(searching, "STREAM", "false", 1))
	_, stream := r.post("/v1/messages", strings.Replace(searching, "STREAM", "true", 1))
	streamed, last := message(t, stream)
	for form, content := range map[string]gjson.Result{"whole": get(whole, "content"), "streamed": gjson.ParseBytes(reply.Encode(streamed))} {
		var kinds []string
		for _, block := range content.Array() {
			kinds = append(kinds, block.Get("type").Str)
		}
		if !slices.Equal(kinds, []string{"server_tool_use", "web_search_tool_result", "text"}) {
			t.Fatalf("%s: %q in %s", form, kinds, content.Raw)
		}
		for path, want := range map[string]string{
			"0.name": "web_search", "0.input.query": "x", "1.content.#": "2", "1.content.0.type": "web_search_result", "1.content.0.url": "https://example.com/",
			"1.content.1.title": "https://example.org/other", "2.text": "Found it.", "2.citations.#": "1", "2.citations.0.type": "web_search_result_location",
			"2.citations.0.url": "https://example.com/", "2.citations.0.title": "A page",
		} {
			if got := content.Get(path).String(); got != want {
				t.Errorf("%s: %s is %q", form, path, got)
			}
		}
		if id := content.Get("0.id").Str; !strings.HasPrefix(id, "srvtoolu_") || content.Get("1.tool_use_id").Str != id {
			t.Errorf("%s: the ids in %s", form, content.Raw)
		}
	}
	if get(whole, "usage.server_tool_use.web_search_requests").Int() != 1 || last.Get("usage.server_tool_use.web_search_requests").Int() != 1 || last.Get("delta.stop_reason").Str != "end_turn" {
		t.Errorf("counted in %s and %s", get(whole, "usage").Raw, last.Raw)
	}
	sent := gjson.ParseBytes(r.backend.Requests("/responses")[0].Body)
	const want = `[{"type":"web_search","filters":{"allowed_domains":["example.com"],"blocked_domains":["example.org"]},"user_location":{"type":"approximate","city":"Berlin","country":"DE"}}]`
	if sent.Get("tools").Raw != want {
		t.Errorf("sent %s", sent.Get("tools").Raw)
	}
	dropped := header.Get("X-Codex-Proxy-Dropped")
	if !strings.Contains(dropped, "tools.web_search.max_uses") || !strings.Contains(dropped, "tools.web_search.allowed_domains") || strings.Contains(dropped, "blocked_domains") {
		t.Errorf("told %q", dropped)
	}
}

// TestAnAnswerWithoutASearchCountsNone.
func TestAnAnswerWithoutASearchCountsNone(t *testing.T) {
	r := newRig(t)
	if _, whole := r.post("/v1/messages", `{"max_tokens":9,"messages":[{"role":"user","content":"hello"}]}`); get(whole, "usage.server_tool_use").Exists() || get(whole, "content.0.citations").Exists() {
		t.Error(whole)
	}
}

// TestASearchThatFailedIsAnError of the search, not of the answer.
func TestASearchThatFailedIsAnError(t *testing.T) {
	r := newRig(t)
	status, whole := r.post("/v1/messages", failing)
	if status != 200 || get(whole, "content.1.content.error_code").Str != "unavailable" || get(whole, "content.1.content.type").Str != "web_search_tool_result_error" {
		t.Errorf("%d %s", status, whole)
	}
}

// TestASearchIsRemembered: what the answer was goes back as it came.
func TestASearchIsRemembered(t *testing.T) {
	r := newRig(t)
	_, whole := r.post("/v1/messages", strings.Replace(searching, "STREAM", "false", 1))
	status, answer := r.post("/v1/messages", `{"max_tokens":9,"messages":[{"role":"user","content":"search"},{"role":"assistant","content":`+get(whole, "content").Raw+`},{"role":"user","content":"and then"}]}`)
	sent := r.backend.Requests("/responses")
	input := gjson.GetBytes(sent[len(sent)-1].Body, "input")
	if status != 200 || input.Get(`#(type=="web_search_call").action.query`).Str != "x" || input.Get(`#(role=="assistant").content.0.text`).Str != "Found it." {
		t.Errorf("%d %s\n%s", status, answer, input.Raw)
	}
}

// TestTheSearchCanBeForced, as Claude Code does for its own tool.
func TestTheSearchCanBeForced(t *testing.T) {
	for name, c := range map[string]struct{ tools, want string }{
		"alone":         {`{"type":"web_search_20250305","name":"web_search"}`, `"required"`},
		"beside others": {`{"type":"web_search_20250305","name":"web_search"},{"name":"f","input_schema":{"type":"object"}}`, `{"type":"web_search"}`},
		"an own one":    {`{"name":"web_search","input_schema":{"type":"object"}},{"name":"f","input_schema":{"type":"object"}}`, `{"name":"web_search","type":"function"}`},
	} {
		r := newRig(t)
		status, answer := r.post("/v1/messages", `{"max_tokens":9,"tool_choice":{"type":"tool","name":"web_search"},"tools":[`+c.tools+`],"messages":[{"role":"user","content":"cats"}]}`)
		sent := gjson.ParseBytes(r.backend.Requests("/responses")[0].Body)
		if status != 200 || sent.Get("tool_choice").Raw != c.want {
			t.Errorf("%s: %d %s\n%s", name, status, answer, sent.Get("tool_choice").Raw)
		}
		if hosted := c.want != `{"name":"web_search","type":"function"}`; hosted != get(answer, `content.#(type=="server_tool_use")`).Exists() {
			t.Errorf("%s: %s", name, answer)
		}
	}
}

// TestToolsThatTheCallerRuns have parameters that only Claude knows: other models are told them.
func TestToolsThatTheCallerRuns(t *testing.T) {
	for kind, c := range map[string]struct{ name, tool, param string }{
		"bash_20250124":        {"bash", `"name":"bash"`, "command"},
		"text_editor_20250728": {"str_replace_based_edit_tool", `"name":"str_replace_based_edit_tool","max_characters":100`, "old_str"},
		"text_editor_20250124": {"str_replace_editor", `"name":"str_replace_editor"`, "insert_text"},
		"memory_20250818":      {"memory", `"name":"memory"`, "new_path"},
		"computer_20251124":    {"computer", `"name":"computer","display_width_px":1024,"display_height_px":768`, "coordinate"},
	} {
		r := newRig(t)
		status, answer := r.post("/v1/messages", `{"max_tokens":9,"tool_choice":{"type":"tool","name":"`+c.name+`"},"tools":[{"type":"`+kind+`",`+c.tool+`}],"messages":[{"role":"user","content":"go"}]}`)
		tool := gjson.GetBytes(r.backend.Requests("/responses")[0].Body, "tools.0")
		if status != 200 || get(answer, "stop_reason").Str != "tool_use" || get(answer, `content.#(type=="tool_use").name`).Str != c.name {
			t.Errorf("%s: %d %s", kind, status, answer)
		}
		if tool.Get("type").Str != "function" || !tool.Get("parameters.properties."+c.param).Exists() || tool.Get("description").Str == "" {
			t.Errorf("%s: sent %s", kind, tool.Raw)
		}
		if kind == "computer_20251124" && !strings.Contains(tool.Get("description").Str, "1024 pixels wide and 768") {
			t.Errorf("the screen in %s", tool.Raw)
		}
	}
}

// TestToolsThatRunAtAnthropicAreLeftOut and told; one that must be called is refused by name, and so is a set whose tools
// nobody else knows.
func TestToolsThatRunAtAnthropicAreLeftOut(t *testing.T) {
	r := newRig(t)
	for _, kind := range []string{"code_execution_20260521", "web_fetch_20260318", "tool_search_tool_regex_20251119", "advisor_20260301", "mcp_toolset", "of_tomorrow_20300101"} {
		tools := `"tools":[{"type":"` + kind + `","name":"theirs"},{"name":"mine","input_schema":{"type":"object"}}]`
		status, header, answer, _ := r.do("POST", "/v1/messages", `{"max_tokens":9,"messages":[{"role":"user","content":"hello"}],`+tools+`}`)
		sent := r.backend.Requests("/responses")
		if names := gjson.GetBytes(sent[len(sent)-1].Body, "tools.#.name").Raw; status != 200 || names != `["mine"]` || header.Get("X-Codex-Proxy-Dropped") != "max_tokens, tools."+kind {
			t.Errorf("%s: %d %s, sent %s, told %q", kind, status, answer, names, header.Get("X-Codex-Proxy-Dropped"))
		}
		status, answer = r.post("/v1/messages", `{"max_tokens":9,"messages":[{"role":"user","content":"hello"}],"tool_choice":{"type":"tool","name":"theirs"},`+tools+`}`)
		if status != 400 || !strings.Contains(get(answer, "error.message").Str, `"theirs" runs at Anthropic`) {
			t.Errorf("%s, forced: %d %s", kind, status, answer)
		}
	}
	status, header, answer, _ := r.do("POST", "/v1/messages", `{"max_tokens":9,"messages":[{"role":"user","content":"hello"}],"tool_choice":{"type":"any"},"tools":[{"type":"code_execution_20260521","name":"code_execution"}]}`)
	sent := r.backend.Requests("/responses")
	if status != 200 || gjson.GetBytes(sent[len(sent)-1].Body, "tool_choice").Exists() || !strings.HasSuffix(header.Get("X-Codex-Proxy-Dropped"), ", tool_choice") {
		t.Errorf("any of none: %d %s, told %q", status, answer, header.Get("X-Codex-Proxy-Dropped"))
	}
	for _, kind := range []string{"computer_toolset_20260801", "browser_toolset_20260801"} {
		status, answer := r.post("/v1/messages", `{"max_tokens":9,"messages":[{"role":"user","content":"hello"}],"tools":[{"type":"`+kind+`"}]}`)
		if status != 400 || !strings.Contains(get(answer, "error.message").Str, kind) {
			t.Errorf("%s: %d %s", kind, status, answer)
		}
	}
}

// TestWhatAToolHasBesides is told, but not that the backend caches by itself.
func TestWhatAToolHasBesides(t *testing.T) {
	r := newRig(t)
	_, header, answer, _ := r.do("POST", "/v1/messages", `{"max_tokens":9,"messages":[{"role":"user","content":"hello"}],"tools":[{"name":"mine","input_schema":{"type":"object"},"cache_control":{"type":"ephemeral"},"strict":true,"defer_loading":true,"input_examples":[{}],"allowed_callers":["direct"]}]}`)
	if got := header.Get("X-Codex-Proxy-Dropped"); got != "max_tokens, tools.allowed_callers, tools.defer_loading, tools.input_examples, tools.strict" {
		t.Errorf("told %q: %s", got, answer)
	}
	_, header, _, _ = r.do("POST", "/v1/messages", `{"max_tokens":9,"messages":[{"role":"user","content":"hello"}],"tools":[{"name":"plain","strict":false,"defer_loading":false,"input_schema":{"type":"object"}}]}`)
	if got := header.Get("X-Codex-Proxy-Dropped"); got != "max_tokens" {
		t.Errorf("of a plain tool %q is told", got)
	}
}

// TestToolsThatAConversationBringsAlong can be called from there on.
func TestToolsThatAConversationBringsAlong(t *testing.T) {
	r := newRig(t)
	status, header, answer, _ := r.do("POST", "/v1/messages", `{"max_tokens":9,"messages":[{"role":"user","content":"hello"},{"role":"system","content":[
		{"type":"tool_addition","tool":{"type":"tool_definition","definition":{"name":"late","input_schema":{"type":"object"}}}},
		{"type":"tool_addition","tool":{"type":"tool_definition","definition":{"name":"early","input_schema":{"type":"object"}}}},
		{"type":"tool_addition","tool":{"type":"tool_reference","name":"early"}},
		{"type":"tool_removal","tool":{"type":"tool_reference","name":"early"}}]},{"role":"user","content":"use late"}],"tools":[{"name":"early","input_schema":{"type":"object"}}]}`)
	names := gjson.GetBytes(r.backend.Requests("/responses")[0].Body, "tools.#.name").Raw
	if status != 200 || names != `["early","late"]` || get(answer, `content.#(type=="tool_use").name`).Str != "late" || !strings.Contains(header.Get("X-Codex-Proxy-Dropped"), "messages.tool_removal") {
		t.Errorf("%d %s, sent %s, told %q", status, answer, names, header.Get("X-Codex-Proxy-Dropped"))
	}
}
