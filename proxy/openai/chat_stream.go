package openai

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/tidwall/gjson"

	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/reply"
)

// chatStream turns the events of one choice into chunks.
type chatStream struct {
	req      *chatRequest
	opening  []byte // of a chunk, up to the delta
	stop     *reply.Stopper
	began    bool
	finished bool
	reasoned bool // reasoning was sent, so a new part of it needs a blank line before
	spoke    bool // the present message's text or refusal came in pieces
	calls    int
	byIndex  map[int64]*openCall // by output_index
	usage    usage
	written  int // bytes of text and arguments, to estimate tokens of an answer that was stopped here

	model    string
	thinking []json.RawMessage // reasoning items since the last call
	cache    []thought
}

// openCall is a tool call whose arguments are coming.
type openCall struct {
	number int // among the answer's tool calls
	custom bool
	sent   bool // arguments were sent
}

// thought is reasoning and the call that it led to.
type thought struct {
	callID string
	items  []json.RawMessage
}

func newChatStream(c *chatRequest, head chatHead, index int) *chatStream {
	opening := append(head.opening(), `{"index":`...)
	opening = append(strconv.AppendInt(opening, int64(index), 10), `,"delta":{`...)
	return &chatStream{req: c, opening: opening, stop: reply.NewStopper(c.stops), byIndex: map[int64]*openCall{}, model: head.model}
}

const deltaEnd = `},"logprobs":null,"finish_reason":null}]}` + "\n\n"

// event appends the chunks for ev to b. The error is the failure that the event tells.
func (t *chatStream) event(b []byte, ev codex.Event) ([]byte, error) {
	switch ev.Type {
	case codex.TypeTextDelta:
		t.spoke = true
		return t.text(b, gjson.GetBytes(ev.Data, "delta").Raw), nil
	case codex.TypeReasoningDelta, codex.TypeReasoningText:
		t.reasoned = true
		return t.field(b, "reasoning_content", gjson.GetBytes(ev.Data, "delta").Raw), nil
	case codex.TypeReasoningPart:
		if t.reasoned {
			return t.field(b, "reasoning_content", `"\n\n"`), nil
		}
	case codex.TypeRefusalDelta:
		t.spoke = true
		return t.field(b, "refusal", gjson.GetBytes(ev.Data, "delta").Raw), nil
	case codex.TypeAnnotation:
		if a := annotation(gjson.GetBytes(ev.Data, "annotation")); a != nil {
			return t.field(b, "annotations", "["+string(a)+"]"), nil
		}
	case codex.TypeItemAdded:
		return t.itemAdded(b, ev.Data), nil
	case codex.TypeArgumentsDelta, codex.TypeCustomDelta:
		r := gjson.GetManyBytes(ev.Data, "output_index", "delta")
		if call := t.byIndex[r[0].Int()]; call != nil && r[1].Raw != "" {
			return t.arguments(b, call, r[1].Raw), nil
		}
	case codex.TypeItemDone:
		return t.itemDone(b, ev.Data), nil
	case codex.TypeCompleted, codex.TypeIncomplete:
		return t.end(b, ev.Data), nil
	case codex.TypeFailed, codex.TypeError:
		return b, codex.FailureOf(ev.Data, time.Now())
	}
	return b, nil
}

// open appends a chunk up to its delta, after the chunk that names the role if it is the first.
func (t *chatStream) open(b []byte) []byte {
	if !t.began {
		t.began = true
		b = append(append(append(b, t.opening...), `"role":"assistant","content":""`...), deltaEnd...)
	}
	return append(b, t.opening...)
}

// field appends a chunk with one field. raw is JSON as it came from upstream: nothing is decoded on the way.
func (t *chatStream) field(b []byte, name, raw string) []byte {
	if raw == "" {
		return b
	}
	b = append(append(append(t.open(b), '"'), name...), '"', ':')
	return append(append(b, raw...), deltaEnd...)
}

func (t *chatStream) text(b []byte, raw string) []byte {
	if raw == "" {
		return b
	}
	t.written += len(raw)
	if t.stop == nil {
		return t.field(b, "content", raw)
	}
	var s string
	if json.Unmarshal([]byte(raw), &s) != nil {
		return b
	}
	out, hit := t.stop.Push(s)
	if out != "" {
		b = t.field(b, "content", string(encode(out)))
	}
	if hit {
		t.usage = t.estimate()
		b = t.finish(b, "stop")
	}
	return b
}

func (t *chatStream) itemAdded(b []byte, data []byte) []byte {
	r := gjson.GetManyBytes(data, "item.type", "output_index", "item.call_id", "item.name")
	custom := r[0].Str == "custom_tool_call"
	if r[0].Str != "function_call" && !custom {
		return b
	}
	return t.addCall(b, r[1].Int(), custom, r[2].Str, r[3].Str)
}

func (t *chatStream) addCall(b []byte, index int64, custom bool, id, name string) []byte {
	call := &openCall{number: t.calls, custom: custom}
	t.calls++
	t.byIndex[index] = call
	name = string(encode(t.req.names.Original(name)))
	if t.req.legacy {
		return t.field(b, "function_call", `{"name":`+name+`,"arguments":""}`)
	}
	start := `[{"index":` + strconv.Itoa(call.number) + `,"id":` + string(encode(id))
	if custom {
		return t.field(b, "tool_calls", start+`,"type":"custom","custom":{"name":`+name+`,"input":""}}]`)
	}
	return t.field(b, "tool_calls", start+`,"type":"function","function":{"name":`+name+`,"arguments":""}}]`)
}

func (t *chatStream) arguments(b []byte, call *openCall, raw string) []byte {
	call.sent = true
	t.written += len(raw)
	switch {
	case t.req.legacy:
		return t.field(b, "function_call", `{"arguments":`+raw+`}`)
	case call.custom:
		return t.field(b, "tool_calls", `[{"index":`+strconv.Itoa(call.number)+`,"custom":{"input":`+raw+`}}]`)
	}
	return t.field(b, "tool_calls", `[{"index":`+strconv.Itoa(call.number)+`,"function":{"arguments":`+raw+`}}]`)
}

// itemDone sends what did not come in pieces, and keeps the reasoning.
func (t *chatStream) itemDone(b []byte, data []byte) []byte {
	item := gjson.GetBytes(data, "item")
	kind := item.Get("type").Str
	switch kind {
	case "message":
		for _, part := range item.Get("content").Array() {
			if t.spoke || t.finished {
				break
			}
			b = t.text(b, part.Get("text").Raw)
			b = t.field(b, "refusal", part.Get("refusal").Raw)
		}
		t.spoke = false
	case "reasoning":
		t.thinking = append(t.thinking, json.RawMessage(item.Raw))
	case "function_call", "custom_tool_call":
		id, index := item.Get("call_id").Str, gjson.GetBytes(data, "output_index").Int()
		if len(t.thinking) > 0 {
			t.cache = append(t.cache, thought{id, t.thinking})
			t.thinking = nil
		}
		if t.byIndex[index] == nil {
			b = t.addCall(b, index, kind == "custom_tool_call", id, item.Get("name").Str)
		}
		whole := item.Get("arguments")
		if kind == "custom_tool_call" {
			whole = item.Get("input")
		}
		if call := t.byIndex[index]; !call.sent && whole.Str != "" {
			b = t.arguments(b, call, whole.Raw)
		}
	}
	return b
}

func (t *chatStream) end(b []byte, data []byte) []byte {
	if t.stop != nil {
		if rest := t.stop.Rest(); rest != "" {
			b = t.field(b, "content", string(encode(rest)))
		}
	}
	t.usage = readUsage(data)
	return t.finish(b, t.reason(data))
}

func (t *chatStream) reason(data []byte) string {
	switch gjson.GetBytes(data, "response.incomplete_details.reason").Str {
	case "max_output_tokens":
		return "length"
	case "content_filter":
		return "content_filter"
	}
	if gjson.GetBytes(data, "type").Str == codex.TypeIncomplete {
		return "length"
	}
	switch {
	case t.calls > 0 && t.req.legacy:
		return "function_call"
	case t.calls > 0:
		return "tool_calls"
	}
	return "stop"
}

func (t *chatStream) finish(b []byte, reason string) []byte {
	t.finished = true
	b = t.open(b)
	return append(append(append(b, `},"logprobs":null,"finish_reason":"`...), reason...), `"}]}`+"\n\n"...)
}

// estimate stands for the usage of an answer that was stopped here, which the backend does not tell: four bytes a
// token.
func (t *chatStream) estimate() usage {
	var u usage
	for _, item := range t.req.Input {
		u.Prompt += int64(len(item)) / 4
	}
	u.Completion = int64(t.written)/4 + 1
	u.Total = u.Prompt + u.Completion
	return u
}

func (t *chatStream) remember(cache *codex.ReasoningCache) {
	for _, th := range t.cache {
		cache.Keep(t.model, th.callID, th.items)
	}
}

func readUsage(data []byte) usage {
	r := gjson.GetBytes(data, "response.usage")
	var u usage
	u.Prompt, u.Completion, u.Total = r.Get("input_tokens").Int(), r.Get("output_tokens").Int(), r.Get("total_tokens").Int()
	u.PromptDetails.Cached = r.Get("input_tokens_details.cached_tokens").Int()
	u.CompletionDetails.Reasoning = r.Get("output_tokens_details.reasoning_tokens").Int()
	if u.Total == 0 {
		u.Total = u.Prompt + u.Completion
	}
	return u
}

// annotation is a link of a web search as Chat Completions has it; nil for other kinds.
func annotation(a gjson.Result) json.RawMessage {
	if a.Get("type").Str != "url_citation" {
		return nil
	}
	type citation struct {
		Start int64  `json:"start_index"`
		End   int64  `json:"end_index"`
		Title string `json:"title"`
		URL   string `json:"url"`
	}
	return encode(struct {
		Type     string   `json:"type"`
		Citation citation `json:"url_citation"`
	}{"url_citation", citation{a.Get("start_index").Int(), a.Get("end_index").Int(), a.Get("title").String(), a.Get("url").String()}})
}
