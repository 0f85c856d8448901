package openai

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/rawjson"
)

// responseFields are those that a response object has at OpenAI, and that clients check, in the order in which they are
// added where the backend leaves them out. What it takes no part of, such as a temperature, is at its default.
// Source: Open Responses 2026-04-24, ResponseResource.
var responseFields = []struct {
	name  string
	value func(t *turn) []byte // nil for null
}{
	{"object", text("response")},
	{"created_at", func(*turn) []byte { return now() }},
	{completedAt, null},
	{"incomplete_details", null},
	{"previous_response_id", func(t *turn) []byte { return textOrNull(t.previous) }},
	{"instructions", func(t *turn) []byte { return textOrNull(t.req.Instructions) }},
	{"output", literal(`[]`)},
	{"error", null},
	{"tools", func(t *turn) []byte { return toolsAsked(t.req.Tools) }},
	{"tool_choice", func(t *turn) []byte { return given(t.req.ToolChoice, `"auto"`) }},
	{"truncation", text("disabled")},
	{"parallel_tool_calls", func(t *turn) []byte { return given(t.req.ParallelToolCalls, `true`) }},
	{"text", func(t *turn) []byte { return textAsked(t.req.Text) }},
	{"top_p", literal(`1`)},
	{"presence_penalty", literal(`0`)},
	{"frequency_penalty", literal(`0`)},
	{"top_logprobs", literal(`0`)},
	{"temperature", literal(`1`)},
	{"reasoning", func(t *turn) []byte {
		return slices.Concat([]byte(`{"effort":`), given(textOrNull(t.req.Effort), `null`), []byte(`,"summary":`), given(t.req.Summary, `null`), []byte(`}`))
	}},
	{"usage", null},
	{"max_output_tokens", null},
	{"max_tool_calls", null},
	{"store", func(t *turn) []byte { return strconv.AppendBool(nil, t.store) }},
	{"background", literal(`false`)},
	{"service_tier", func(t *turn) []byte {
		if t.req.ServiceTier == "priority" || t.req.ServiceTier == "fast" {
			return []byte(`"priority"`)
		}
		return []byte(`"default"`)
	}},
	{"metadata", literal(`{}`)},
	{"safety_identifier", null},
	{"prompt_cache_key", func(t *turn) []byte { return textOrNull(t.req.PromptCacheKey) }},
}

// fieldIndex is where each of responseFields stands.
var fieldIndex = func() map[string]int {
	at := map[string]int{}
	for i, field := range responseFields {
		at[field.name] = i
	}
	return at
}()

const completedAt = "completed_at" // null until the answer has ended

func literal(v string) func(*turn) []byte { return func(*turn) []byte { return []byte(v) } }
func text(v string) func(*turn) []byte    { return literal(string(encode(v))) }
func null(*turn) []byte                   { return nil }

func now() []byte { return strconv.AppendInt(nil, time.Now().Unix(), 10) }

func textOrNull(s string) []byte {
	if s == "" {
		return nil
	}
	return encode(s)
}

func given(v json.RawMessage, otherwise string) json.RawMessage {
	if len(v) == 0 {
		return json.RawMessage(otherwise)
	}
	return v
}

// complete returns the data of an event with its response object completed: with what the caller asked for, where the
// backend does not tell. The Codex CLI gets the object as it came.
func (t *turn) complete(kind string, data []byte) []byte {
	response := rawjson.Get(data, "response")
	if t.req.Native || !response.IsObject() || response.Index == 0 {
		return data
	}
	out := append(make([]byte, 0, len(data)+1024), data[:response.Index]...)
	out = t.describe(out, rawjson.Raw(response.Raw), kind == codex.TypeCompleted)
	return append(out, data[response.Index+len(response.Raw):]...)
}

// describe adds a response object to out, with the fields that it lacks. The backend stores nothing and knows of no answer
// before, whatever it says of that.
func (t *turn) describe(out []byte, object json.RawMessage, ended bool) []byte {
	if t.asked == nil {
		for _, field := range responseFields {
			t.asked = append(t.asked, oneLine(given(field.value(t), "null")))
		}
	}
	begin := len(out)
	add := func(name string, value json.RawMessage) {
		if len(out) == begin {
			out = append(out, '{')
		} else {
			out = append(out, ',')
		}
		out = append(append(append(out, rawjson.Quote(name)...), ':'), value...)
	}
	there := make([]bool, len(responseFields))
	rawjson.Each(object, func(name string, value json.RawMessage) bool {
		if i, known := fieldIndex[name]; known {
			there[i] = true
			if name == "store" || name == "previous_response_id" && t.previous != "" {
				value = t.asked[i]
			}
		}
		add(name, value)
		return true
	})
	for i, field := range responseFields {
		switch {
		case there[i]:
		case field.name == completedAt && ended:
			add(field.name, now())
		default:
			add(field.name, t.asked[i])
		}
	}
	return append(out, '}')
}

// oneLine is a value without line breaks, which would end the data of an event.
func oneLine(value json.RawMessage) json.RawMessage {
	var line bytes.Buffer
	if !bytes.ContainsAny(value, "\r\n") || json.Compact(&line, value) != nil {
		return value
	}
	return line.Bytes()
}

// toolsAsked are the tools of a request as a response tells them: a function's fields are all there.
func toolsAsked(tools []json.RawMessage) []byte {
	list := []byte("[")
	for i, t := range tools {
		if i > 0 {
			list = append(list, ',')
		}
		if gjson.GetBytes(t, "type").Str == "function" {
			t = withNulls(t, "description", "parameters", "strict")
		}
		list = append(list, t...)
	}
	return append(list, ']')
}

// textAsked is the text of a request as a response tells it.
func textAsked(v json.RawMessage) []byte {
	format := gjson.GetBytes(v, "format")
	if !format.Exists() {
		out, _ := sjson.SetRawBytes(bytes.Clone(given(v, `{}`)), "format", []byte(`{"type":"text"}`))
		return out
	}
	if format.Get("type").Str != "json_schema" {
		return v
	}
	whole := withNulls([]byte(format.Raw), "description")
	if !gjson.GetBytes(whole, "strict").IsBool() {
		whole, _ = sjson.SetBytes(whole, "strict", false)
	}
	out, _ := sjson.SetRawBytes(bytes.Clone(v), "format", whole)
	return out
}

// withNulls is an object with these fields, null where they are not there.
func withNulls(object []byte, names ...string) []byte {
	object = bytes.Clone(object)
	for _, name := range names {
		if !gjson.GetBytes(object, name).Exists() {
			object, _ = sjson.SetRawBytes(object, name, []byte("null"))
		}
	}
	return object
}

// errorEvent is the event that tells of an error in the middle of an answer, the nth of it. Its fields are there twice:
// as OpenAI's SDKs read them, and as an object, as Open Responses has them.
type errorEvent struct {
	Type     string      `json:"type"`
	Sequence int         `json:"sequence_number"`
	Code     string      `json:"code"`
	Message  string      `json:"message"`
	Param    *string     `json:"param"`
	Error    errorObject `json:"error"`
}

func newErrorEvent(e *codex.Error, n int) errorEvent {
	return errorEvent{codex.TypeError, n, e.Code, e.Message, nil, errorObject{e.Message, e.Type, optional(e.Param), optional(e.Code)}}
}
