package ollama

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/rawjson"
	"codex-proxy/proxy/reply"
)

// request is a chat or generate request on its way to the backend. Source: Ollama's docs/api.md and its Go package api.
type request struct {
	codex.Request

	shown  string // the model's name as the caller wrote it; that of the model that answers where it wrote none
	stream bool
	think  bool // the caller wants to see the reasoning
	empty  bool // nothing to answer
	stops  []string
	names  codex.Names

	wrapped bool // the answer stands in an object of ours

	messages []message
	prompt   string
	suffix   string
	system   string
	images   []string
}

// latest is the tag that Ollama's clients add to a model's name. There are no others here.
const latest = ":latest"

// message is a message. Its text is a part of the request, as JSON: a long conversation is not copied apart.
type message struct {
	role      string
	content   json.RawMessage // a string; nil for none
	images    []string
	toolCalls []toolCall
	toolName  string
	toolID    string
	name      string // what older clients call tool_name
}

// readMessages reads the list of messages, and reports whether it is one.
func readMessages(v json.RawMessage) ([]message, bool) {
	list, ok := rawjson.Elements(v)
	messages := make([]message, len(list))
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
			case "tool_name":
				text = &m.toolName
			case "tool_call_id":
				text = &m.toolID
			case "name":
				text = &m.name
			case "content":
				m.content, ok = rawjson.NotEmpty(value), rawjson.IsString(value)
			case "images":
				ok = json.Unmarshal(value, &m.images) == nil
			case "tool_calls":
				ok = json.Unmarshal(value, &m.toolCalls) == nil
			}
			if text != nil {
				*text, ok = rawjson.Text(value), rawjson.IsString(value)
			}
			return ok
		}) && ok
	}
	return messages, ok
}

type toolCall struct {
	ID       string `json:"id"`
	Function struct {
		Name      string          `json:"name"`
		Arguments json.RawMessage `json:"arguments"`
	} `json:"function"`
}

// params is the one table of what a caller may send. What is not here is dropped.
var params = map[string]func(*request, json.RawMessage) error{
	"model": func(r *request, v json.RawMessage) error { return r.SetParam("model", v) },
	"messages": func(r *request, v json.RawMessage) error {
		var ok bool
		if r.messages, ok = readMessages(v); !ok {
			return codex.Invalid("messages", "messages has the wrong type: it is a list of objects with role and content")
		}
		return nil
	},
	"prompt":  reply.ParamInto("prompt", func(r *request) any { return &r.prompt }),
	"suffix":  reply.ParamInto("suffix", func(r *request) any { return &r.suffix }),
	"system":  reply.ParamInto("system", func(r *request) any { return &r.system }),
	"images":  reply.ParamInto("images", func(r *request) any { return &r.images }),
	"stream":  reply.ParamInto("stream", func(r *request) any { return &r.stream }),
	"tools":   (*request).takeTools,
	"format":  (*request).takeFormat,
	"options": (*request).takeOptions,
	"think":   (*request).takeThink,
	"raw":     func(*request, json.RawMessage) error { return nil }, // there are no templates to leave out
}

func (h *Handler) parse(body []byte, chat bool) (*request, error) {
	r := &request{stream: true, names: codex.Names{}}
	r.Translated, r.Expected = true, []string{"keep_alive", "options.num_ctx"}
	fields, err := reply.Object(body)
	if err == nil {
		err = reply.ReadParams(r, fields, params, r.Drop)
	}
	if err != nil {
		return r, err
	}
	r.shown = r.Model
	r.Model = strings.TrimSuffix(r.Model, latest)
	if r.think {
		r.Summary = json.RawMessage(`"auto"`)
	}
	if chat {
		r.empty = len(r.messages) == 0
		model, _ := h.Client.Models.Resolve(r.Model, "")
		return r, r.convert(h.Reasoning, model)
	}
	r.empty = r.prompt == "" && len(r.images) == 0
	r.Instructions = r.system
	text := r.prompt
	if r.suffix != "" {
		r.Instructions = strings.TrimPrefix(r.Instructions+"\n\n"+codex.FillIn, "\n\n")
		text = codex.FillInPrompt(r.prompt, r.suffix)
	}
	item, err := user(encode(text), r.images)
	r.Input = []json.RawMessage{item}
	return r, err
}

func (r *request) takeTools(v json.RawMessage) error {
	var tools []struct {
		Function struct {
			Name        string          `json:"name"`
			Description string          `json:"description"`
			Parameters  json.RawMessage `json:"parameters"`
		} `json:"function"`
	}
	if json.Unmarshal(v, &tools) != nil {
		return codex.Invalid("tools", "tools must be a list of {\"type\":\"function\",\"function\":{…}}")
	}
	for i, t := range tools {
		f := t.Function
		if f.Name == "" {
			return codex.Invalid("tools", "each tool must be a function with a name")
		}
		if len(f.Parameters) == 0 || string(f.Parameters) == "null" {
			f.Parameters = json.RawMessage(`{"type":"object","properties":{}}`)
		}
		schema, err := codex.ObjectSchema(f.Parameters, false, fmt.Sprintf("tools[%d].function.parameters", i))
		if err != nil {
			return err
		}
		r.Tools = append(r.Tools, encode(map[string]any{"type": "function", "name": r.names.Shorten(f.Name), "description": f.Description, "parameters": schema, "strict": false}))
	}
	return nil
}

func (r *request) takeFormat(v json.RawMessage) error {
	var word string
	if json.Unmarshal(v, &word) == nil {
		switch word {
		case "":
		case "json":
			r.SetText("format", json.RawMessage(`{"type":"json_object"}`))
		default:
			return codex.Invalid("format", "format must be \"json\" or a JSON schema")
		}
		return nil
	}
	if v[0] != '{' {
		return codex.Invalid("format", "format must be \"json\" or a JSON schema")
	}
	schema, wrapped, err := codex.AnswerSchema(v, "format")
	if err != nil {
		return err
	}
	r.wrapped = wrapped
	r.SetText("format", encode(map[string]any{"type": "json_schema", "name": "answer", "schema": schema, "strict": false}))
	return nil
}

// takeOptions follows stop; the others are about sampling and memory, and the backend takes none.
func (r *request) takeOptions(v json.RawMessage) error {
	var options map[string]json.RawMessage
	if json.Unmarshal(v, &options) != nil {
		return codex.Invalid("options", "options must be an object")
	}
	for _, name := range slices.Sorted(maps.Keys(options)) {
		if name != "stop" {
			r.Drop("options." + name)
			continue
		}
		var err error
		if r.stops, err = reply.Stops("options.stop", options[name]); err != nil {
			return err
		}
	}
	return nil
}

func (r *request) takeThink(v json.RawMessage) error {
	var on bool
	if json.Unmarshal(v, &on) == nil {
		if r.think = on; !on {
			r.Effort = "none" // brought to the least that the model has
			r.Expected = append(r.Expected, codex.EffortParam)
		}
		return nil
	}
	if json.Unmarshal(v, &r.Effort) != nil {
		return codex.Invalid("think", "think must be true, false, or an effort such as \"high\"")
	}
	r.think = true
	return nil
}

// convert turns the messages into items. Tool results carry the tool's name and seldom an id, so each is given to the
// first call of that name that has no result yet.
func (r *request) convert(cache *codex.ReasoningCache, model string) error {
	waiting := codex.NewUnanswered()
	for i, m := range r.messages {
		switch m.role {
		case "system":
			if i == 0 {
				r.Instructions = rawjson.Text(m.content)
			} else if m.content != nil {
				r.Input = append(r.Input, codex.MessageOf("developer", m.content))
			}
		case "user":
			item, err := user(m.content, m.images)
			if err != nil {
				return err
			}
			r.Input = append(r.Input, item)
		case "assistant":
			for j, c := range m.toolCalls {
				if c.ID == "" {
					c.ID = fmt.Sprintf("call_%d_%d", i, j)
				}
				if j == 0 {
					r.Input = append(r.Input, cache.Before(model, c.ID)...)
				}
				m.toolCalls[j].ID = c.ID
				waiting.Add(c.ID, c.Function.Name)
			}
			if m.content != nil {
				r.Input = append(r.Input, codex.MessageOf("assistant", m.content))
			}
			for _, c := range m.toolCalls {
				arguments := string(c.Function.Arguments)
				var text string
				if json.Unmarshal(c.Function.Arguments, &text) == nil {
					arguments = text
				}
				if arguments == "" || arguments == "null" {
					arguments = "{}"
				}
				r.Input = append(r.Input, codex.CallItem("function_call", c.ID, r.names.Shorten(c.Function.Name), "arguments", encode(arguments)))
			}
		case "tool":
			name := cmp.Or(m.toolName, m.name)
			if id, ok := waiting.Take(m.toolID, name); ok {
				r.Input = append(r.Input, codex.CallItem("function_call_output", id, "", "output", orEmpty(m.content)))
			} else {
				r.Input = append(r.Input, codex.Message("user", resultOf(name)+rawjson.Text(m.content)))
			}
		default:
			return codex.Invalid("messages", "messages[%d]: the role %q is unknown. Use system, user, assistant or tool", i, m.role)
		}
	}
	r.SayInstructions()
	return nil
}

// resultOf is the heading of a tool's result whose call is not in the conversation: Ollama shows it to the model, too.
func resultOf(name string) string {
	if name == "" {
		return "Result of a tool:\n"
	}
	return "Result of the tool " + name + ":\n"
}

// orEmpty is a JSON string.
func orEmpty(text json.RawMessage) json.RawMessage {
	if text == nil {
		return json.RawMessage(`""`)
	}
	return text
}

// user is a message with a text, a JSON string, and pictures, which come as bare base64.
func user(text json.RawMessage, images []string) (json.RawMessage, error) {
	if len(images) == 0 {
		return codex.MessageOf("user", orEmpty(text)), nil
	}
	parts := []json.RawMessage{codex.InputText(orEmpty(text))}
	for i, image := range images {
		url, ok := codex.DataURL("", image)
		if !ok {
			return nil, codex.Invalid("images", "images[%d] is not base64", i)
		}
		parts = append(parts, encode(map[string]string{"type": "input_image", "image_url": url}))
	}
	return codex.MessageParts("user", parts), nil
}
