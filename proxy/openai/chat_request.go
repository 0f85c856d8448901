package openai

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/rawjson"
	"codex-proxy/proxy/reply"
)

const mostChoices = 4 // n

// chatRequest is a Chat Completions request on its way to the backend.
// Source: OpenAI API reference, chat completions.
type chatRequest struct {
	codex.Request

	stream       bool
	includeUsage bool
	choices      int
	stops        []string
	legacy       bool // the caller offered functions, not tools
	names        codex.Names

	messages   []chatMessage
	toolChoice json.RawMessage
}

// chatMessage is a message. Its texts are parts of the request, as JSON: a long conversation is not copied apart.
type chatMessage struct {
	role, name string
	content    json.RawMessage
	refusal    json.RawMessage // a string
	toolCalls  []json.RawMessage
	toolCallID string
	function   json.RawMessage // function_call
}

type functionCall struct {
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

// chatParams is the one table of what a Chat Completions caller may send. What is not here is dropped.
var chatParams = map[string]func(*chatRequest, json.RawMessage) error{
	"messages": func(c *chatRequest, v json.RawMessage) error {
		var ok bool
		if c.messages, ok = readMessages(v); !ok {
			return codex.Invalid("messages", "messages must be a list of objects with role and content")
		}
		return nil
	},
	"stream": reply.ParamInto("stream", func(c *chatRequest) any { return &c.stream }),
	"stream_options": func(c *chatRequest, v json.RawMessage) (err error) {
		c.includeUsage, err = includeUsage(v)
		return err
	},
	"n": func(c *chatRequest, v json.RawMessage) error {
		if json.Unmarshal(v, &c.choices) != nil || c.choices < 1 || c.choices > mostChoices {
			return codex.Invalid("n", "n must be a number from 1 to %d: each choice is a call of its own", mostChoices)
		}
		return nil
	},
	"stop": func(c *chatRequest, v json.RawMessage) (err error) {
		c.stops, err = reply.Stops("stop", v)
		return err
	},
	"tools":     func(c *chatRequest, v json.RawMessage) error { return c.takeTools(v, "tools") },
	"functions": func(c *chatRequest, v json.RawMessage) error { c.legacy = true; return c.takeTools(v, "functions") },
	"tool_choice": func(c *chatRequest, v json.RawMessage) error {
		c.toolChoice = v
		return nil
	},
	"function_call": func(c *chatRequest, v json.RawMessage) error {
		if c.toolChoice == nil {
			c.toolChoice = v
		}
		return nil
	},
	"response_format":    (*chatRequest).takeFormat,
	"web_search_options": (*chatRequest).takeWebSearch,
	"reasoning_effort": func(c *chatRequest, v json.RawMessage) error {
		return c.SetParam("reasoning", json.RawMessage(`{"effort":`+string(v)+`}`))
	},
	"reasoning":    func(c *chatRequest, v json.RawMessage) error { return c.SetParam("reasoning", v) },
	"verbosity":    func(c *chatRequest, v json.RawMessage) error { return c.SetVerbosity("verbosity", v) },
	"logprobs":     noLogprobs("logprobs", "false"),
	"top_logprobs": noLogprobs("top_logprobs", "0"),
	"modalities": func(c *chatRequest, v json.RawMessage) error {
		if strings.Contains(string(v), "audio") {
			return codex.Invalid("modalities", "Audio is not available with a ChatGPT plan. Ask for text")
		}
		return nil
	},
	"model":               passed("model"),
	"parallel_tool_calls": passed("parallel_tool_calls"),
	"service_tier":        passed("service_tier"),
	"prompt_cache_key":    passed("prompt_cache_key"),
	"store":               passed("store"),
}

// noLogprobs refuses a parameter that asks for probabilities: who asks for them does something with them.
func noLogprobs(name, none string) func(*chatRequest, json.RawMessage) error {
	return func(_ *chatRequest, v json.RawMessage) error {
		if string(v) == none {
			return nil
		}
		return codex.Invalid(name, "There are no log probabilities with a ChatGPT plan. Send the request without %s", name)
	}
}

// includeUsage reads stream_options.
func includeUsage(v json.RawMessage) (bool, error) {
	var o struct {
		IncludeUsage bool `json:"include_usage"`
	}
	if json.Unmarshal(v, &o) != nil {
		return false, codex.Invalid("stream_options", "stream_options must be an object")
	}
	return o.IncludeUsage, nil
}

// passed hands a parameter that is the same in the Responses API on to it.
func passed(name string) func(*chatRequest, json.RawMessage) error {
	return func(c *chatRequest, v json.RawMessage) error { return c.SetParam(name, v) }
}

// parseChat reads the request and builds the one for the backend. On an error the request is as far as it got.
func (h *Handler) parseChat(body []byte) (*chatRequest, error) {
	c := &chatRequest{choices: 1, names: codex.Names{}}
	c.Translated = true
	params, err := reply.Object(body)
	if err == nil {
		err = reply.ReadParams(c, params, chatParams, c.Drop)
	}
	if err != nil {
		return c, err
	}
	if len(c.messages) == 0 {
		if params["input"] != nil {
			return c, codex.Invalid("input", "This is a Responses request. Send it to /v1/responses")
		}
		return c, codex.Invalid("messages", "messages is missing or empty. Send at least one message")
	}
	if c.toolChoice != nil {
		choice, err := c.choice(c.toolChoice)
		if err == nil {
			err = c.SetParam("tool_choice", choice)
		}
		if err != nil {
			return c, err
		}
	}
	if c.legacy {
		c.ParallelToolCalls = json.RawMessage("false") // a function_call is one
	}
	if c.Summary == nil {
		c.Summary = json.RawMessage(`"auto"`) // shown as reasoning_content
	}
	model, _ := h.Client.Models.Resolve(c.Model, "")
	return c, c.convert(h.Reasoning, model)
}

// readMessages reads the list of messages, and reports whether it is one.
func readMessages(v json.RawMessage) ([]chatMessage, bool) {
	list, ok := rawjson.Elements(v)
	messages := make([]chatMessage, len(list))
	for i, object := range list {
		m := &messages[i]
		ok = ok && rawjson.Each(object, func(name string, value json.RawMessage) bool {
			if rawjson.IsNull(value) {
				return true
			}
			var text *string
			switch name {
			case "role":
				text = &m.role
			case "name":
				text = &m.name
			case "tool_call_id":
				text = &m.toolCallID
			case "content":
				m.content = value
			case "refusal":
				m.refusal, ok = value, rawjson.IsString(value)
			case "tool_calls":
				m.toolCalls, ok = rawjson.Elements(value)
			case "function_call":
				m.function = value
			}
			if text != nil {
				*text, ok = rawjson.Text(value), rawjson.IsString(value)
			}
			return ok
		}) && ok
	}
	return messages, ok
}

// convert turns the messages into items.
func (c *chatRequest) convert(cache *codex.ReasoningCache, model string) error {
	custom := map[string]bool{}    // ids of custom tool calls
	pending := map[string]string{} // legacy: a function's name -> the id of its last call
	var system []string
	for i, m := range c.messages {
		fail := func(err error) error { return inMessage(i, err) }
		if m.name != "" && m.role != "tool" && m.role != "function" {
			c.Drop("messages.name")
		}
		switch m.role {
		case "system", "developer":
			text, err := c.plainText(m.content)
			if err != nil {
				return fail(err)
			}
			switch {
			case text == nil:
			case len(c.Input) == 0 && m.role == "system":
				system = append(system, rawjson.Text(text))
			default:
				c.Input = append(c.Input, codex.MessageOf("developer", text))
			}
		case "user":
			item, err := userMessage(m.content)
			if err != nil {
				return fail(err)
			}
			c.Input = append(c.Input, item)
		case "assistant":
			if err := c.assistant(m, i, cache, model, custom, pending); err != nil {
				return fail(err)
			}
		case "tool", "function":
			id, kind := m.toolCallID, "function_call_output"
			if id == "" {
				id = pending[m.name]
			}
			if custom[id] {
				kind = "custom_tool_call_output"
			}
			output, err := toolOutput(m.content)
			if err != nil {
				return fail(err)
			}
			c.Input = append(c.Input, codex.CallItem(kind, id, "", "output", output))
		default:
			return fail(codex.Invalid("messages", "the role %s is unknown. Use system, developer, user, assistant or tool", quoteName(m.role)))
		}
	}
	c.Instructions = strings.Join(system, "\n\n")
	c.SayInstructions()
	return nil
}

func (c *chatRequest) assistant(m chatMessage, index int, cache *codex.ReasoningCache, model string, custom map[string]bool, pending map[string]string) error {
	text, err := c.plainText(m.content)
	if err != nil {
		return err
	}
	if text == nil && m.refusal != nil {
		text = rawjson.NotEmpty(m.refusal)
	}
	var calls []json.RawMessage
	first := ""
	for _, call := range m.toolCalls {
		id, own, f := rawjson.Get(call, "id"), rawjson.Get(call, "custom"), rawjson.Get(call, "function")
		kind, field, told := "function_call", "arguments", f
		if own.IsObject() {
			kind, field, told = "custom_tool_call", "input", own
			custom[id.Str] = true
		}
		name, value := told.Get("name"), told.Get(field)
		if !told.IsObject() || !textOrNone(id) || !textOrNone(name) || !(textOrNone(value) || value.IsObject()) {
			return codex.Invalid("messages", "tool_calls must be a list of objects with id and function, whose name and arguments are strings")
		}
		if first = cmp.Or(first, id.Str); field == "arguments" {
			value = arguments(value)
		}
		calls = append(calls, codex.CallItem(kind, id.Str, c.names.Shorten(name.Str), field, stringOf(value)))
	}
	if m.function != nil && len(calls) == 0 {
		f := gjson.Parse(rawjson.View(m.function))
		value := f.Get("arguments")
		if !f.IsObject() || !textOrNone(f.Get("name")) || !(textOrNone(value) || value.IsObject()) {
			return codex.Invalid("messages", "function_call must be an object with name and arguments, which are strings")
		}
		name := f.Get("name").Str
		first = "call_function_" + strconv.Itoa(index)
		pending[name] = first
		calls = append(calls, codex.CallItem("function_call", first, c.names.Shorten(name), "arguments", stringOf(arguments(value))))
	}
	if first != "" {
		c.Input = append(c.Input, cache.Before(model, first)...)
	}
	if text != nil {
		c.Input = append(c.Input, codex.MessageOf("assistant", text))
	}
	c.Input = append(c.Input, calls...)
	return nil
}

// stringOf is a value that should be a string as one.
func stringOf(v gjson.Result) json.RawMessage {
	if v.Type != gjson.String {
		return encode(v.String())
	}
	return json.RawMessage(v.Raw)
}

// arguments are those of a call; an empty object where there are none.
func arguments(v gjson.Result) gjson.Result {
	if strings.TrimSpace(v.String()) == "" {
		return gjson.Parse(`"{}"`)
	}
	return v
}

// textOrNone reports whether a value is a string, null or not there.
func textOrNone(v gjson.Result) bool { return v.Type == gjson.String || v.Type == gjson.Null }

// textOf is a string; nil for an empty one and for null. ok is false for anything else.
func textOf(value json.RawMessage) (text json.RawMessage, ok bool) {
	switch {
	case rawjson.IsNull(value):
		return nil, true
	case !rawjson.IsString(value):
		return nil, false
	}
	return rawjson.NotEmpty(value), true
}

// contentPart is a part of a message in Chat Completions.
type contentPart struct {
	kind    string
	text    json.RawMessage // a string; nil for none
	refusal json.RawMessage // the same
	image   json.RawMessage // {"url","detail"}, or a string as some send it
	whole   json.RawMessage
}

// chatFile is a file as the Responses API has it.
type chatFile struct {
	Data string `json:"file_data"`
	ID   string `json:"file_id"`
	Name string `json:"filename"`
	URL  string `json:"file_url"`
}

// readContent reads a message's content: one text, a JSON string, or parts. Both are nil when there is none.
func readContent(raw json.RawMessage) (text json.RawMessage, parts []contentPart, err error) {
	wrong := func() error {
		return codex.Invalid("messages", "content must be a string or a list of parts, whose type and text are strings")
	}
	switch {
	case rawjson.IsNull(raw):
		return nil, nil, nil
	case rawjson.IsString(raw):
		return raw, nil, nil
	}
	list, ok := rawjson.Elements(raw)
	if !ok {
		return nil, nil, wrong()
	}
	parts = make([]contentPart, len(list))
	for i, object := range list {
		p := &parts[i]
		p.whole = object
		typed := true
		ok := rawjson.Each(object, func(name string, value json.RawMessage) bool {
			switch name {
			case "type":
				var kind json.RawMessage
				kind, typed = textOf(value)
				p.kind = rawjson.Text(kind)
			case "text":
				p.text, typed = textOf(value)
			case "refusal":
				p.refusal, typed = textOf(value)
			case "image_url":
				p.image = value
			}
			return typed
		})
		if !ok || !typed {
			return nil, nil, wrong()
		}
	}
	return nil, parts, nil
}

// thought reports whether a part is what clients send back of a model's thinking: it is known by other ways, or not wanted.
func thought(kind string) bool {
	return slices.Contains([]string{"thinking", "redacted_thinking", "summary_text"}, kind) || strings.HasPrefix(kind, "reasoning")
}

// plainText is the text of a message that can hold nothing else, a JSON string; nil for none. Other parts are dropped.
func (c *chatRequest) plainText(raw json.RawMessage) (json.RawMessage, error) {
	text, parts, err := readContent(raw)
	if err != nil || parts == nil {
		return rawjson.NotEmpty(text), err
	}
	for _, p := range parts {
		if p.text == nil && p.refusal == nil && !slices.Contains([]string{"", "text", "input_text", "output_text", "refusal"}, p.kind) && !thought(p.kind) {
			c.Drop("messages." + p.kind)
		}
	}
	return joinText(parts), nil
}

// joinText is the text of all parts, a JSON string; nil for none.
func joinText(parts []contentPart) json.RawMessage {
	var texts []json.RawMessage
	for _, p := range parts {
		for _, text := range []json.RawMessage{p.text, p.refusal} {
			if text != nil {
				texts = append(texts, text)
			}
		}
	}
	return rawjson.Join(texts, `\n`)
}

// userMessage is a user's message as the Responses API has it.
func userMessage(raw json.RawMessage) (json.RawMessage, error) {
	text, parts, err := readContent(raw)
	switch {
	case err != nil:
		return nil, err
	case parts != nil:
		content, err := inputParts(parts)
		return codex.MessageParts("user", content), err
	case text == nil:
		text = json.RawMessage(`""`)
	}
	return codex.MessageOf("user", text), nil
}

// inputParts are parts as the Responses API has them.
func inputParts(parts []contentPart) ([]json.RawMessage, error) {
	list := make([]json.RawMessage, 0, len(parts))
	for j, p := range parts {
		item, err := p.input()
		if e, ok := err.(*codex.Error); ok { //nolint:errorlint // made right here
			return nil, codex.Invalid(strings.TrimSuffix("content["+strconv.Itoa(j)+"]."+e.Param, "."), "%s", e.Message)
		}
		list = append(list, item)
	}
	return list, nil
}

type inputText struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

type inputImage struct {
	Type     string `json:"type"`
	ImageURL string `json:"image_url"`
	Detail   string `json:"detail,omitempty"`
}

// input is the part as the Responses API has it. The error is an *codex.Error whose Param is the field at fault.
func (p contentPart) input() (json.RawMessage, error) {
	switch p.kind {
	case "text", "input_text", "output_text":
		text := p.text
		if text == nil {
			text = json.RawMessage(`""`)
		}
		return codex.InputText(text), nil
	case "image_url", "input_image":
		url, detail := p.image, gjson.Result{}
		if !rawjson.IsString(url) {
			detail = rawjson.Get(p.image, "detail")
			url = json.RawMessage(rawjson.Get(p.image, "url").Raw)
		}
		if !rawjson.IsString(url) || len(url) <= 2 {
			return nil, codex.Invalid("image_url", "image_url must hold a url: a data: address, or https")
		}
		item := slices.Concat([]byte(`{"type":"input_image","image_url":`), url)
		if detail.Str != "" {
			item = append(append(item, `,"detail":`...), encode(detail.Str)...)
		}
		return append(item, '}'), nil
	case "file", "input_file":
		var in struct {
			File *chatFile `json:"file"`
			chatFile
		}
		json.Unmarshal(p.whole, &in) //nolint:errcheck // what is missing is named below
		f, at := in.chatFile, ""
		if in.File != nil {
			f, at = *in.File, "file."
		}
		part, err := codex.File{Name: f.Name, Data: f.Data, URL: f.URL, ID: f.ID}.Part()
		if e, ok := err.(*codex.Error); ok { //nolint:errorlint // made right here
			return nil, codex.Invalid(at+e.Param, "%s", e.Message)
		}
		return part, nil
	case "input_audio", "audio":
		return nil, codex.Invalid("type", "audio is not available with a ChatGPT plan. Send text")
	}
	return nil, codex.Invalid("type", "the part %s is unknown. Use text, image_url or file", quoteName(p.kind))
}

// toolOutput is a tool's result: a string, or parts when it holds an image or a file.
func toolOutput(raw json.RawMessage) (json.RawMessage, error) {
	text, parts, err := readContent(raw)
	if err != nil {
		return encode(string(raw)), nil //nolint:nilerr // a tool may answer with an object: it is passed as text
	}
	for _, p := range parts {
		if p.kind == "" && p.text == nil && p.refusal == nil { // a list of the tool's own
			return encode(string(raw)), nil
		}
		if p.kind != "text" && p.kind != "" {
			list, err := inputParts(parts)
			return rawjson.AppendList(nil, list), err
		}
	}
	if parts != nil {
		text = joinText(parts)
	}
	if text == nil {
		text = json.RawMessage(`""`)
	}
	return text, nil
}

// takeFormat turns response_format into text.format.
func (c *chatRequest) takeFormat(v json.RawMessage) error {
	var f struct {
		Type   string                     `json:"type"`
		Schema map[string]json.RawMessage `json:"json_schema"`
		Beside json.RawMessage            `json:"schema"` // as some servers have it beside json_object
	}
	if json.Unmarshal(v, &f) != nil {
		return codex.Invalid("response_format", "response_format must be an object with a type")
	}
	switch f.Type {
	case "text":
	case "json_object":
		if rawjson.IsNull(f.Beside) {
			c.SetText("format", json.RawMessage(`{"type":"json_object"}`))
			return nil
		}
		schema, err := codex.ObjectSchema(f.Beside, false, "response_format.schema")
		if err != nil {
			return err
		}
		c.SetText("format", encode(map[string]any{"type": "json_schema", "name": "answer", "schema": schema, "strict": false}))
	case "json_schema":
		if f.Schema["schema"] == nil {
			return codex.Invalid("response_format", "response_format.json_schema must hold a name and a schema")
		}
		strict := string(f.Schema["strict"]) == "true"
		schema, err := codex.ObjectSchema(f.Schema["schema"], strict, "response_format.json_schema.schema")
		if err != nil {
			return err
		}
		f.Schema["schema"] = schema
		out := map[string]json.RawMessage{"type": json.RawMessage(`"json_schema"`), "name": json.RawMessage(`"answer"`)}
		for _, name := range []string{"name", "schema", "strict", "description"} {
			if value := f.Schema[name]; value != nil && string(value) != "null" {
				out[name] = value
			}
		}
		c.SetText("format", encode(out))
	default:
		return codex.Invalid("response_format", "response_format.type must be text, json_object or json_schema")
	}
	return nil
}

// inMessage says in which message an error is; its Param is "messages", or a path inside the message.
func inMessage(i int, err error) error {
	e, ok := err.(*codex.Error) //nolint:errorlint // made right here, never wrapped
	if !ok {
		return err
	}
	param := "messages"
	if e.Param != param {
		param = fmt.Sprintf("messages[%d].%s", i, e.Param)
	}
	return codex.Invalid(param, "messages[%d]: %s", i, e.Message)
}
