package codex

import (
	"encoding/json"
	"strings"

	"github.com/tidwall/gjson"

	"codex-proxy/proxy/rawjson"
)

// An EventHandler tells an answer in the few words that every chat dialect has: it is the one place where the
// backend's events are understood. Events that say nothing to a chat are passed over; what did not come in pieces is
// told in one. Each function may be nil. Not safe for concurrent use.
type EventHandler struct {
	// Text is a piece of the answer, Thinking of the reasoning that is shown, Refusal of what the model says instead of
	// an answer (Text when Refusal is nil). raw is a JSON string as it came, and nothing is decoded on the way; like the
	// event, it is gone when the next one is read.
	Text, Thinking, Refusal func(raw string)
	// Call begins a tool call; Arguments is a piece of its arguments, or of a custom tool's input; CallDone comes once
	// all of them have come, and has them whole. The pieces of several calls may come in turns.
	Call      func(c Call)
	Arguments func(c Call, raw string)
	CallDone  func(c Call, arguments string)
	// Annotation is something that belongs to the text, such as the source of a quotation. Each comes once, whether the
	// backend tells it by an event, with the whole message, or by both.
	Annotation func(annotation gjson.Result)
	// Reasoning is a finished reasoning item, for who can send it back.
	Reasoning func(item gjson.Result)
	// Other is a finished item of another kind, such as an image.
	Other func(item gjson.Result)

	calls     map[int64]*openCall // by output_index
	count     int
	written   int  // bytes of text and arguments
	pieces    bool // the present message came in pieces
	annotated bool // and so did its annotations
	thought   bool // some reasoning was shown
	reasoning []json.RawMessage
	byCall    map[string][]json.RawMessage // call id -> the reasoning before it
}

// Call is a tool call.
type Call struct {
	Number int    // among the answer's calls
	ID     string // call_id
	Name   string // as the backend knows it
	Custom bool
}

type openCall struct {
	Call
	sent bool
}

// Tokens is what an answer used.
type Tokens struct {
	Input, Cached, // Cached is a part of Input
	Output, Reasoning int64 // Reasoning is a part of Output
}

// Add adds what another answer to the same request used.
func (t *Tokens) Add(u Tokens) {
	t.Input, t.Cached, t.Output, t.Reasoning = t.Input+u.Input, t.Cached+u.Cached, t.Output+u.Output, t.Reasoning+u.Reasoning
}

// TokensOf reads the usage in the event that ends an answer.
func TokensOf(ev Event) Tokens {
	u := gjson.GetBytes(ev.Data, "response.usage")
	return Tokens{Input: u.Get("input_tokens").Int(), Cached: u.Get("input_tokens_details.cached_tokens").Int(),
		Output: u.Get("output_tokens").Int(), Reasoning: u.Get("output_tokens_details.reasoning_tokens").Int()}
}

// End is how an answer ended.
type End struct {
	Reason string // stop, tool_calls, length or content_filter
	Tokens
}

// Event tells one event, which must not be a failure, and returns the end with the last one.
func (h *EventHandler) Event(ev Event) *End {
	switch ev.Type {
	case TypeTextDelta:
		h.pieces = true
		h.text(h.Text, deltaOf(ev))
	case TypeRefusalDelta:
		h.pieces = true
		h.refuse(deltaOf(ev))
	case TypeReasoningDelta, TypeReasoningText:
		h.thought = true
		h.think(deltaOf(ev))
	case TypeReasoningPart:
		if h.thought {
			h.think(`"\n\n"`)
		}
	case TypeAnnotation:
		h.annotated = true
		h.annotate(gjson.GetBytes(ev.Data, "annotation"))
	case TypeItemAdded:
		r := gjson.GetManyBytes(ev.Data, "item.type", "output_index", "item.call_id", "item.name")
		if custom := r[0].Str == "custom_tool_call"; custom || r[0].Str == "function_call" {
			h.begin(r[1].Int(), r[2].Str, r[3].Str, custom)
		}
	case TypeArgumentsDelta, TypeCustomDelta:
		if call := h.calls[rawjson.Get(ev.Data, "output_index").Int()]; call != nil {
			h.arguments(call, deltaOf(ev))
		}
	case TypeItemDone:
		item := rawjson.Get(ev.Data, "item")
		if !h.pieces || item.Get("type").Str != "message" { // else all of it was told already, and it is as long as the answer
			item = gjson.Parse(strings.Clone(item.Raw))
		}
		h.done(rawjson.Get(ev.Data, "output_index").Int(), item)
	case TypeCompleted, TypeIncomplete:
		return h.end(ev)
	}
	return nil
}

func deltaOf(ev Event) string { return rawjson.Get(ev.Data, "delta").Raw }

func isText(raw string) bool { return len(raw) > 2 && raw[0] == '"' }

func (h *EventHandler) text(f func(string), raw string) {
	if isText(raw) {
		h.written += len(raw) - 2
		if f != nil {
			f(raw)
		}
	}
}

func (h *EventHandler) refuse(raw string) {
	if h.Refusal != nil {
		h.text(h.Refusal, raw)
	} else {
		h.text(h.Text, raw)
	}
}

func (h *EventHandler) annotate(annotation gjson.Result) {
	if h.Annotation != nil {
		h.Annotation(annotation)
	}
}

func (h *EventHandler) think(raw string) {
	if h.Thinking != nil && isText(raw) {
		h.Thinking(raw)
	}
}

func (h *EventHandler) begin(index int64, id, name string, custom bool) *openCall {
	if h.calls == nil {
		h.calls = map[int64]*openCall{}
	}
	call := &openCall{Call: Call{h.count, id, name, custom}}
	h.count++
	h.calls[index] = call
	if h.Call != nil {
		h.Call(call.Call)
	}
	return call
}

func (h *EventHandler) arguments(call *openCall, raw string) {
	if !isText(raw) {
		return
	}
	call.sent = true
	h.written += len(raw) - 2
	if h.Arguments != nil {
		h.Arguments(call.Call, raw)
	}
}

func (h *EventHandler) done(index int64, item gjson.Result) {
	switch kind := item.Get("type").Str; kind {
	case "message":
		for _, part := range item.Get("content").Array() {
			if !h.pieces {
				h.text(h.Text, part.Get("text").Raw)
				h.refuse(part.Get("refusal").Raw)
			}
			if !h.annotated {
				part.Get("annotations").ForEach(func(_, a gjson.Result) bool { h.annotate(gjson.Parse(strings.Clone(a.Raw))); return true })
			}
		}
		h.pieces, h.annotated = false, false
	case "reasoning":
		h.reasoning = append(h.reasoning, json.RawMessage(item.Raw))
		if h.Reasoning != nil {
			h.Reasoning(item)
		}
	case "function_call", "custom_tool_call":
		call := h.calls[index]
		if call == nil || call.ID != item.Get("call_id").Str {
			call = h.begin(index, item.Get("call_id").Str, item.Get("name").Str, kind == "custom_tool_call")
		}
		delete(h.calls, index)
		if len(h.reasoning) > 0 {
			if h.byCall == nil {
				h.byCall = map[string][]json.RawMessage{}
			}
			h.byCall[call.ID], h.reasoning = h.reasoning, nil
		}
		whole := item.Get("arguments")
		if call.Custom {
			whole = item.Get("input")
		}
		if !call.sent {
			h.arguments(call, whole.Raw)
		}
		if h.CallDone != nil {
			h.CallDone(call.Call, whole.Str)
		}
	default:
		if h.Other != nil {
			h.Other(item)
		}
	}
}

func (h *EventHandler) end(ev Event) *End {
	e := &End{Reason: "stop", Tokens: TokensOf(ev)}
	switch reason := gjson.GetBytes(ev.Data, "response.incomplete_details.reason").Str; {
	case reason == "content_filter":
		e.Reason = "content_filter"
	case reason != "" || ev.Type == TypeIncomplete:
		e.Reason = "length"
	case h.count > 0:
		e.Reason = "tool_calls"
	}
	return e
}

// Stopped is the end of an answer to r that was cut short here, whose usage the backend does not tell: an estimate.
func (h *EventHandler) Stopped(r *Request) *End {
	return &End{Reason: "stop", Tokens: Tokens{Input: r.Estimate(), Output: estimate(h.written)}}
}

// Remember keeps the reasoning that led to each call.
func (h *EventHandler) Remember(cache *ReasoningCache, model string) {
	for id, items := range h.byCall {
		cache.Keep(model, id, items)
	}
}

// Text is the text of a JSON string as an EventHandler gives it, and like that it may be gone with the next event.
func Text(raw string) string {
	if isText(raw) && strings.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1]
	}
	return gjson.Parse(raw).String()
}

// estimate is about how many tokens so many bytes of text are.
func estimate(bytes int) int64 { return int64(bytes+3) / 4 }

// Estimate is about how many tokens the request has: the backend has no way to ask. Four bytes count as one, a picture
// or a file as a fixed number, whatever its size: both are read otherwise than as their base64.
func (r *Request) Estimate() int64 {
	const attached = 800
	size, n := len(r.Instructions)+len(r.Text), 0
	for _, item := range r.Input {
		size += len(item)
		if !mentionsAttachment(item) {
			continue
		}
		rawjson.Each(item, func(name string, value json.RawMessage) bool {
			if name == "content" || name == "output" {
				parts, _ := rawjson.Elements(value)
				for _, part := range parts {
					rawjson.Each(part, func(name string, value json.RawMessage) bool {
						if name == "image_url" || name == "file_data" {
							size -= len(value)
							n++
						}
						return true
					})
				}
			}
			return true
		})
	}
	for _, tool := range r.Tools {
		size += len(tool)
	}
	return estimate(size) + int64(n*attached)
}

// mentionsAttachment reports whether a picture or a file may be in an item, in one look at it: most have none, and are long.
func mentionsAttachment(item json.RawMessage) (found bool) {
	rawjson.Strings(item, func(s []byte) bool {
		found = string(s) == `"image_url"` || string(s) == `"file_data"`
		return !found
	})
	return found
}
