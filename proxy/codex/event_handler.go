package codex

import (
	"encoding/json"
	"io"
	"time"

	"github.com/tidwall/gjson"
)

// An EventHandler tells an answer in the few words that every chat dialect has. Events that say nothing to a chat are
// passed over; what did not come in pieces is told in one.
type EventHandler struct {
	// Text is a piece of the answer, Thinking of the reasoning that is shown. raw is a JSON string as it came: nothing
	// is decoded on the way.
	Text, Thinking func(raw string)
	// Call begins a tool call; Arguments is a piece of its arguments, or of a custom tool's input.
	Call      func(c Call)
	Arguments func(c Call, raw string)
	CallDone  func(c Call, arguments string)
	// Thought is a finished reasoning item, for who can send it back.
	Thought func(item gjson.Result)
	// Made is a finished item of another kind, such as an image.
	Made func(item gjson.Result)

	calls   map[int64]*openCall // by output_index
	count   int
	spoke   bool // the present message came in pieces
	thought bool // some reasoning was shown
	led     []json.RawMessage
	links   map[string][]json.RawMessage // call id -> the reasoning before it
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

// End is how an answer ended.
type End struct {
	Reason string // stop, tool_calls, length or content_filter
	Input, Cached,
	Output, Reasoning int64 // tokens
}

// Event tells one event. It returns the end with the last one, and an *Error for a failure.
func (n *EventHandler) Event(ev Event) (*End, error) {
	switch ev.Type {
	case TypeTextDelta, TypeRefusalDelta:
		n.spoke = true
		n.say(n.Text, gjson.GetBytes(ev.Data, "delta").Raw)
	case TypeReasoningDelta, TypeReasoningText:
		n.thought = true
		n.say(n.Thinking, gjson.GetBytes(ev.Data, "delta").Raw)
	case TypeReasoningPart:
		if n.thought {
			n.say(n.Thinking, `"\n\n"`)
		}
	case TypeItemAdded:
		r := gjson.GetManyBytes(ev.Data, "item.type", "output_index", "item.call_id", "item.name")
		if custom := r[0].Str == "custom_tool_call"; custom || r[0].Str == "function_call" {
			n.begin(r[1].Int(), r[2].Str, r[3].Str, custom)
		}
	case TypeArgumentsDelta, TypeCustomDelta:
		r := gjson.GetManyBytes(ev.Data, "output_index", "delta")
		if call := n.calls[r[0].Int()]; call != nil && r[1].Raw != "" {
			n.arguments(call, r[1].Raw)
		}
	case TypeItemDone:
		n.done(gjson.GetBytes(ev.Data, "output_index").Int(), gjson.GetBytes(ev.Data, "item"))
	case TypeCompleted, TypeIncomplete:
		return n.end(ev), nil
	case TypeFailed, TypeError:
		return nil, FailureOf(ev.Data, time.Now())
	}
	return nil, nil
}

func (n *EventHandler) say(f func(string), raw string) {
	if f != nil && raw != "" && raw != `""` {
		f(raw)
	}
}

func (n *EventHandler) begin(index int64, id, name string, custom bool) *openCall {
	if n.calls == nil {
		n.calls = map[int64]*openCall{}
	}
	call := &openCall{Call: Call{n.count, id, name, custom}}
	n.count++
	n.calls[index] = call
	if n.Call != nil {
		n.Call(call.Call)
	}
	return call
}

func (n *EventHandler) arguments(call *openCall, raw string) {
	call.sent = true
	if n.Arguments != nil {
		n.Arguments(call.Call, raw)
	}
}

func (n *EventHandler) done(index int64, item gjson.Result) {
	switch kind := item.Get("type").Str; kind {
	case "message":
		if !n.spoke {
			for _, part := range item.Get("content").Array() {
				n.say(n.Text, part.Get("text").Raw)
				n.say(n.Text, part.Get("refusal").Raw)
			}
		}
		n.spoke = false
	case "reasoning":
		n.led = append(n.led, json.RawMessage(item.Raw))
		if n.Thought != nil {
			n.Thought(item)
		}
	case "function_call", "custom_tool_call":
		call := n.calls[index]
		if call == nil {
			call = n.begin(index, item.Get("call_id").Str, item.Get("name").Str, kind == "custom_tool_call")
		}
		if len(n.led) > 0 {
			if n.links == nil {
				n.links = map[string][]json.RawMessage{}
			}
			n.links[call.ID], n.led = n.led, nil
		}
		whole := item.Get("arguments")
		if call.Custom {
			whole = item.Get("input")
		}
		if !call.sent && whole.Str != "" {
			n.arguments(call, whole.Raw)
		}
		if n.CallDone != nil {
			n.CallDone(call.Call, whole.Str)
		}
	default:
		if n.Made != nil {
			n.Made(item)
		}
	}
}

func (n *EventHandler) end(ev Event) *End {
	r := gjson.GetBytes(ev.Data, "response.usage")
	e := &End{Reason: "stop", Input: r.Get("input_tokens").Int(), Cached: r.Get("input_tokens_details.cached_tokens").Int(),
		Output: r.Get("output_tokens").Int(), Reasoning: r.Get("output_tokens_details.reasoning_tokens").Int()}
	switch reason := gjson.GetBytes(ev.Data, "response.incomplete_details.reason").Str; {
	case reason == "content_filter":
		e.Reason = "content_filter"
	case reason != "" || ev.Type == TypeIncomplete:
		e.Reason = "length"
	case n.count > 0:
		e.Reason = "tool_calls"
	}
	return e
}

// Remember keeps the reasoning that led to each call.
func (n *EventHandler) Remember(t *ReasoningCache, model string) {
	for id, items := range n.links {
		t.Keep(model, id, items)
	}
}

// ReadAll reads a whole answer. The error is an *Error, or ctx's when the caller went away.
func (n *EventHandler) ReadAll(s *Stream) (*End, error) {
	for {
		ev, err := s.Next()
		if err == io.EOF { //nolint:errorlint // Next returns it bare
			err = Broken()
		}
		if err != nil {
			return nil, err
		}
		if end, err := n.Event(ev); err != nil || end != nil {
			return end, err
		}
	}
}

// Estimate is about how many tokens the request has: the backend has no way to ask. Four bytes count as one, a picture
// as a fixed number.
func (r *Request) Estimate() int64 {
	const picture = 800
	bytes := len(r.Instructions)
	pictures := 0
	for _, item := range r.Input {
		size := len(item)
		for _, part := range gjson.GetBytes(item, "content").Array() {
			if url := part.Get("image_url").Str; url != "" {
				size -= len(url)
				pictures++
			}
		}
		bytes += size
	}
	for _, tool := range r.Tools {
		bytes += len(tool)
	}
	return int64(bytes/4 + pictures*picture)
}
