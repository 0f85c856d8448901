package openai

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"codex-proxy/proxy/codex"
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

type chatMessage struct {
	Role         string            `json:"role"`
	Content      json.RawMessage   `json:"content"`
	ToolCalls    []json.RawMessage `json:"tool_calls"`
	ToolCallID   string            `json:"tool_call_id"`
	FunctionCall *functionCall     `json:"function_call"`
	Name         string            `json:"name"`
	Refusal      string            `json:"refusal"`
}

type functionCall struct {
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

type chatToolCall struct {
	ID       string        `json:"id"`
	Type     string        `json:"type"`
	Function *functionCall `json:"function"`
	Custom   *struct {
		Name  string `json:"name"`
		Input string `json:"input"`
	} `json:"custom"`
}

// chatParams is the one table of what a Chat Completions caller may send. What is not here is dropped.
var chatParams = map[string]func(*chatRequest, json.RawMessage) error{
	"messages": func(c *chatRequest, v json.RawMessage) error {
		if json.Unmarshal(v, &c.messages) != nil {
			return codex.Invalid("messages", "messages must be a list of objects with role and content")
		}
		return nil
	},
	"stream": func(c *chatRequest, v json.RawMessage) error { c.stream = string(v) == "true"; return nil },
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
	if c.Summary == nil {
		c.Summary = json.RawMessage(`"auto"`) // shown as reasoning_content
	}
	model, _ := h.Client.Models.Resolve(c.Model, "")
	return c, c.convert(h.Reasoning, model)
}

// convert turns the messages into items.
func (c *chatRequest) convert(cache *codex.ReasoningCache, model string) error {
	custom := map[string]bool{}    // ids of custom tool calls
	pending := map[string]string{} // legacy: a function's name -> the id of its last call
	var system []string
	for i, m := range c.messages {
		fail := func(err error) error { return inMessage(i, err) }
		switch m.Role {
		case "system", "developer":
			text, err := plainText(m.Content)
			if err != nil {
				return fail(err)
			}
			switch {
			case text == "":
			case len(c.Input) == 0 && m.Role == "system":
				system = append(system, text)
			default:
				c.Input = append(c.Input, codex.Message("developer", text))
			}
		case "user":
			content, err := userContent(m.Content)
			if err != nil {
				return fail(err)
			}
			c.Input = append(c.Input, encode(message{"message", "user", content}))
		case "assistant":
			if err := c.assistant(m, i, cache, model, custom, pending); err != nil {
				return fail(err)
			}
		case "tool", "function":
			id, kind := m.ToolCallID, "function_call_output"
			if id == "" {
				id = pending[m.Name]
			}
			if custom[id] {
				kind = "custom_tool_call_output"
			}
			output, err := toolOutput(m.Content)
			if err != nil {
				return fail(err)
			}
			c.Input = append(c.Input, encode(callOutput{kind, id, output}))
		default:
			return fail(codex.Invalid("messages", "the role %s is unknown. Use system, developer, user, assistant or tool", quoteName(m.Role)))
		}
	}
	c.Instructions = strings.Join(system, "\n\n")
	return nil
}

func (c *chatRequest) assistant(m chatMessage, index int, cache *codex.ReasoningCache, model string, custom map[string]bool, pending map[string]string) error {
	text, err := plainText(m.Content)
	if err != nil {
		return err
	}
	if text == "" {
		text = m.Refusal
	}
	var calls []json.RawMessage
	first := ""
	for _, raw := range m.ToolCalls {
		var call chatToolCall
		if json.Unmarshal(raw, &call) != nil || (call.Function == nil && call.Custom == nil) {
			return codex.Invalid("messages", "tool_calls must be a list of objects with id and function")
		}
		if first == "" {
			first = call.ID
		}
		if call.Custom != nil {
			custom[call.ID] = true
			calls = append(calls, encode(customCall{"custom_tool_call", call.ID, c.names.Shorten(call.Custom.Name), call.Custom.Input}))
			continue
		}
		calls = append(calls, encode(functionCallItem{"function_call", call.ID, c.names.Shorten(call.Function.Name), arguments(call.Function.Arguments)}))
	}
	if f := m.FunctionCall; f != nil && len(calls) == 0 {
		first = "call_function_" + string(encode(index))
		pending[f.Name] = first
		calls = append(calls, encode(functionCallItem{"function_call", first, c.names.Shorten(f.Name), arguments(f.Arguments)}))
	}
	if first != "" {
		c.Input = append(c.Input, cache.Before(model, first)...)
	}
	if text != "" {
		c.Input = append(c.Input, codex.Message("assistant", text))
	}
	c.Input = append(c.Input, calls...)
	return nil
}

type message struct {
	Type    string            `json:"type"`
	Role    string            `json:"role"`
	Content []json.RawMessage `json:"content"`
}

type functionCallItem struct {
	Type      string `json:"type"`
	CallID    string `json:"call_id"`
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

type customCall struct {
	Type   string `json:"type"`
	CallID string `json:"call_id"`
	Name   string `json:"name"`
	Input  string `json:"input"`
}

type callOutput struct {
	Type   string          `json:"type"`
	CallID string          `json:"call_id"`
	Output json.RawMessage `json:"output"`
}

func arguments(s string) string {
	if strings.TrimSpace(s) == "" {
		return "{}"
	}
	return s
}

// contentPart is a part of a message in Chat Completions.
type contentPart struct {
	Type     string          `json:"type"`
	Text     string          `json:"text"`
	Refusal  string          `json:"refusal"`
	ImageURL json.RawMessage `json:"image_url"` // {"url","detail"}, or a string as some send it
	File     *chatFile       `json:"file"`
	chatFile                 // as the Responses API has it
}

type chatFile struct {
	Data string `json:"file_data"`
	ID   string `json:"file_id"`
	Name string `json:"filename"`
	URL  string `json:"file_url"`
}

func readContent(raw json.RawMessage) (text string, parts []contentPart, err error) {
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return "", nil, nil
	case raw[0] == '"':
		err = json.Unmarshal(raw, &text)
	default:
		err = json.Unmarshal(raw, &parts)
	}
	if err != nil {
		err = codex.Invalid("messages", "content must be a string or a list of parts")
	}
	return text, parts, err
}

// plainText joins the text of a message that can hold nothing else.
func plainText(raw json.RawMessage) (string, error) {
	text, parts, err := readContent(raw)
	if err != nil || parts == nil {
		return text, err
	}
	var texts []string
	for _, p := range parts {
		if t := p.Text + p.Refusal; t != "" {
			texts = append(texts, t)
		}
	}
	return strings.Join(texts, "\n"), nil
}

// userContent returns the parts as the Responses API has them.
func userContent(raw json.RawMessage) ([]json.RawMessage, error) {
	text, parts, err := readContent(raw)
	if err != nil {
		return nil, err
	}
	if parts == nil {
		return []json.RawMessage{encode(inputText{"input_text", text})}, nil
	}
	out := make([]json.RawMessage, 0, len(parts))
	for j, p := range parts {
		item, err := p.input()
		if e, ok := err.(*codex.Error); ok { //nolint:errorlint // made right here
			return nil, codex.Invalid(strings.TrimSuffix("content["+strconv.Itoa(j)+"]."+e.Param, "."), "%s", e.Message)
		}
		out = append(out, item)
	}
	return out, nil
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
	switch p.Type {
	case "text", "input_text", "output_text":
		return encode(inputText{"input_text", p.Text}), nil
	case "image_url", "input_image":
		var image struct {
			URL    string `json:"url"`
			Detail string `json:"detail"`
		}
		if json.Unmarshal(p.ImageURL, &image.URL) != nil && json.Unmarshal(p.ImageURL, &image) != nil || image.URL == "" {
			return nil, codex.Invalid("image_url", "image_url must hold a url: a data: address, or https")
		}
		return encode(inputImage{"input_image", image.URL, image.Detail}), nil
	case "file", "input_file":
		f, at := p.chatFile, ""
		if p.File != nil {
			f, at = *p.File, "file."
		}
		part, err := codex.File{Name: f.Name, Data: f.Data, URL: f.URL, ID: f.ID}.Part()
		if e, ok := err.(*codex.Error); ok { //nolint:errorlint // made right here
			return nil, codex.Invalid(at+e.Param, "%s", e.Message)
		}
		return part, nil
	case "input_audio", "audio":
		return nil, codex.Invalid("type", "audio is not available with a ChatGPT plan. Send text")
	}
	return nil, codex.Invalid("type", "the part %s is unknown. Use text, image_url or file", quoteName(p.Type))
}

// toolOutput is a tool's result: a string, or parts when it holds an image or a file.
func toolOutput(raw json.RawMessage) (json.RawMessage, error) {
	_, parts, err := readContent(raw)
	if err != nil {
		return encode(string(raw)), nil //nolint:nilerr // a tool may answer with an object: it is passed as text
	}
	for _, p := range parts {
		if p.Type != "text" && p.Type != "" {
			content, err := userContent(raw)
			return encode(content), err
		}
	}
	text, err := plainText(raw)
	return encode(text), err
}

// takeFormat turns response_format into text.format.
func (c *chatRequest) takeFormat(v json.RawMessage) error {
	var f struct {
		Type   string                     `json:"type"`
		Schema map[string]json.RawMessage `json:"json_schema"`
	}
	if json.Unmarshal(v, &f) != nil {
		return codex.Invalid("response_format", "response_format must be an object with a type")
	}
	switch f.Type {
	case "text":
	case "json_object":
		c.SetText("format", json.RawMessage(`{"type":"json_object"}`))
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
