package proxy

import (
	"slices"
	"strings"
	"testing"

	"codex-proxy/proxy/reply"
)

func TestWebSearchOptionsBecomeTheHostedTool(t *testing.T) {
	r := newRig(t)
	for options, want := range map[string]string{
		`{}`:   `[{"type":"web_search"}]`,
		`null`: ``,
		`{"search_context_size":"low","user_location":{"type":"approximate","approximate":{"country":"DE","city":"Köln","region":"NRW","timezone":"Europe/Berlin"}}}`: `[{"type":"web_search","search_context_size":"low","user_location":{"type":"approximate","city":"Köln","country":"DE","region":"NRW","timezone":"Europe/Berlin"}}]`,
		`{"user_location":{"type":"approximate","city":"Köln"}}`:  `[{"type":"web_search","user_location":{"type":"approximate","city":"Köln"}}]`,
		`{"user_location":null,"filters":{"allowed_domains":[]}}`: `[{"type":"web_search","filters":{"allowed_domains":[]}}]`,
	} {
		status, text, _ := r.ask("chat", "Hello there", false, `"web_search_options":`+options)
		if got := r.sent().Get("tools").Raw; status != 200 || got != want {
			t.Errorf("%s: %d %s\n%s", options, status, got, text)
		}
	}
	if status, _, _ := r.ask("chat", "Hello there", false, `"tools":[{"type":"web_search_preview","search_context_size":"high"}],"web_search_options":{"search_context_size":"low"}`); status != 200 || r.sent().Get("tools").Raw != `[{"type":"web_search","search_context_size":"low"}]` {
		t.Errorf("twice: %s", r.sent().Get("tools"))
	}
	for options, param := range map[string]string{
		`5`:                              "web_search_options",
		`{"search_context_size":"huge"}`: "web_search_options.search_context_size",
		`{"user_location":"Köln"}`:       "web_search_options.user_location",
		`{"user_location":{"type":"exact","approximate":{}}}`: "web_search_options.user_location",
	} {
		if status, text, _ := r.ask("chat", "Hello there", false, `"web_search_options":`+options); status != 400 || get(text, "error.param").Str != param {
			t.Errorf("%s: %d %s", options, status, text)
		}
	}
	path, body := question("chat", "Hello there", false, `"web_search_options":{"engine":"exa"}`)
	if _, h, _, _ := r.do("POST", path, body); h.Get("X-Codex-Proxy-Dropped") != "web_search_options.engine" {
		t.Errorf("dropped %q", h.Get("X-Codex-Proxy-Dropped"))
	}
}

// TestAChoiceIsOfTheToolThatGoesUp: its names are the old ones where the tool's are, and its shape may be a chat's.
func TestAChoiceIsOfTheToolThatGoesUp(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct{ dialect, tool, choice, want string }{
		{"responses", `{"type":"web_search_preview"}`, `{"type":"web_search_preview"}`, `{"type":"web_search"}`},
		{"responses", `{"type":"web_search_2025_08_26"}`, `{"type":"web_search_2025_08_26"}`, `{"type":"web_search"}`},
		{"chat", `{"type":"web_search_preview"}`, `{"type":"web_search_preview"}`, `{"type":"web_search"}`},
		{"responses", `{"type":"web_search_preview"}`, `{"type":"allowed_tools","mode":"auto","tools":[{"type":"web_search_preview"}]}`, `{"type":"allowed_tools","mode":"auto","tools":[{"type":"web_search"}]}`},
		{"responses", `{"type":"function","name":"f"}`, `{"type":"function","function":{"name":"f"}}`, `{"name":"f","type":"function"}`},
		{"responses", `{"type":"function","name":"f"}`, `"required"`, `"required"`},
	} {
		status, text, _ := r.ask(c.dialect, "Hello there", false, `"tools":[`+c.tool+`]`, `"tool_choice":`+c.choice)
		if got := r.sent().Get("tool_choice").Raw; status != 200 || got != c.want {
			t.Errorf("%s %s: %d %s %s", c.dialect, c.choice, status, got, text)
		}
	}
}

const citation = `{"type":"url_citation","url_citation":{"start_index":0,"end_index":5,"title":"A page","url":"https://example.com/"}}`

// TestWhatASearchFoundIsAnAnnotation once, whether the backend tells it by an event, or with the whole message, or both.
func TestWhatASearchFoundIsAnAnnotation(t *testing.T) {
	created := event("response.created", `{"response":{"id":"resp_1"}}`)
	end := event("response.completed", `{"response":{"usage":{}}}`)
	link := `{"type":"url_citation","start_index":0,"end_index":5,"title":"A page","url":"https://example.com/"}`
	delta := event("response.output_text.delta", `{"output_index":0,"delta":"Found"}`)
	told := event("response.output_text.annotation.added", `{"output_index":0,"annotation":`+link+`}`)
	bare := event("response.output_item.done", `{"output_index":0,"item":{"type":"message","content":[{"type":"output_text","text":"Found","annotations":[]}]}}`)
	whole := event("response.output_item.done", `{"output_index":0,"item":{"type":"message","content":[{"type":"output_text","text":"Found","annotations":[`+link+`]}]}}`)
	for name, events := range map[string]string{"by an event": delta + told + bare, "with the message": delta + whole, "both": delta + told + whole, "at once": whole} {
		r := newRig(t, upstream(created+events+end))
		_, buffered, _ := r.ask("chat", "x", false)
		if got := get(buffered, "choices.0.message.annotations").Raw; got != "["+citation+"]" || get(buffered, "choices.0.message.content").Str != "Found" {
			t.Errorf("%s: %s", name, buffered)
		}
		if _, streamed, _ := r.ask("chat", "x", true); strings.Count(streamed, `"delta":{"annotations":[`+citation+`]}`) != 1 {
			t.Errorf("%s, streamed: %s", name, streamed)
		}
	}
	r := newRig(t, upstream(created+delta+told+bare+strings.ReplaceAll(whole, `"output_index":0`, `"output_index":1`)+end))
	if _, text, _ := r.ask("chat", "x", false); get(text, "choices.0.message.annotations.#").Int() != 2 {
		t.Errorf("of two messages: %s", text)
	}
}

// TestPicturesOfTheHostedToolComeInAChat as those servers have them whose models make pictures.
func TestPicturesOfTheHostedToolComeInAChat(t *testing.T) {
	r := newRig(t)
	tool := `"tools":[{"type":"image_generation","size":"1024x1024"}]`
	_, buffered, _ := r.ask("chat", "Draw a dot", false, tool)
	if got := r.sent().Get("tools").Raw; got != `[{"type":"image_generation","size":"1024x1024"}]` {
		t.Errorf("sent %s", got)
	}
	image := get(buffered, "choices.0.message.images.0")
	if image.Get("type").Str != "image_url" || !strings.HasPrefix(image.Get("image_url.url").Str, "data:image/png;base64,iVBOR") || get(buffered, "choices.0.message.images.#").Int() != 1 {
		t.Errorf("%s", buffered)
	}
	if _, streamed, _ := r.ask("chat", "Draw a dot", true, tool); strings.Count(streamed, `"delta":{"images":[{"index":0,"type":"image_url","image_url":{"url":"data:image/png;base64,iVBOR`) != 1 {
		t.Errorf("%s", streamed)
	}
	for _, dialect := range []string{"chat", "responses"} {
		if status, text, _ := r.ask(dialect, "Draw a dot", false, tool, `"tool_choice":{"type":"image_generation"}`); status != 400 || get(text, "error.param").Str != "tool_choice" || !strings.Contains(text, "required") {
			t.Errorf("%s: %d %s", dialect, status, text)
		}
	}
}

// TestAPictureInPartsIsOfItsItem: SDKs check that the event names it.
func TestAPictureInPartsIsOfItsItem(t *testing.T) {
	r := newRig(t)
	_, text, _ := r.ask("responses", "Draw a dot", true, `"tools":[{"type":"image_generation","partial_images":1}]`)
	types, data := sseEvents(text)
	part := slices.Index(types, "response.image_generation_call.partial_image")
	if part < 0 || get(data[part], "item_id").Str == "" || get(data[part], "item_id").Str != get(data[part-1], "item.id").Str {
		t.Errorf("%s", text)
	}
}

// TestAPictureSaysWhatWasLeftOut, streamed as well.
func TestAPictureSaysWhatWasLeftOut(t *testing.T) {
	r := newRig(t)
	for _, stream := range []string{"false", "true"} {
		status, header, text, _ := r.do("POST", "/v1/images/generations", `{"prompt":"a dot","partial_images":2,"stream":`+stream+`}`)
		if status != 200 || header.Get(reply.DroppedHeader) != "partial_images" || header.Get("X-Request-Id") == "" {
			t.Errorf("stream %s: %d %v %.200s", stream, status, header, text)
		}
	}
}

// TestAPictureThatWasEditedIsToldAsOne: its event has a name of its own. Source: OpenAI API reference, image edit streaming.
func TestAPictureThatWasEditedIsToldAsOne(t *testing.T) {
	r := newRig(t)
	for path, want := range map[string]string{"/v1/images/generations": "image_generation.completed", "/v1/images/edits": "image_edit.completed"} {
		status, text := r.post(path, `{"prompt":"a dot","stream":true,"image":"data:image/png;base64,iVBORw0KGgo="}`)
		if types, data := sseEvents(text); status != 200 || len(types) != 1 || types[0] != want || get(data[0], "type").Str != want {
			t.Errorf("%s: %d %.200s", path, status, text)
		}
	}
}
