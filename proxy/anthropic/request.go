// Package anthropic translates between Anthropic's Messages API and package codex.
package anthropic

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/reply"
)

// request is a Messages request on its way to the backend. Source: Anthropic API reference, messages.
type request struct {
	codex.Request

	stream   bool
	thinking bool // the caller wants to see it
	stops    []string
	names    codex.Names

	system   json.RawMessage
	messages []message
	effort   string // by thinking's budget
}

type message struct {
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"`
}

// inputBlock is a content block of any kind, as a caller sends it.
type inputBlock struct {
	Type      string          `json:"type"`
	Text      string          `json:"text"`
	Source    *source         `json:"source"`
	Title     string          `json:"title"`
	ID        string          `json:"id"`
	Name      string          `json:"name"`
	Input     json.RawMessage `json:"input"`
	ToolUseID string          `json:"tool_use_id"`
	Content   json.RawMessage `json:"content"`
	IsError   bool            `json:"is_error"`
	Thinking  string          `json:"thinking"`
	Signature string          `json:"signature"`
	Data      string          `json:"data"`
}

type source struct {
	Type      string          `json:"type"`
	MediaType string          `json:"media_type"`
	Data      string          `json:"data"`
	URL       string          `json:"url"`
	Content   json.RawMessage `json:"content"`
}

// params is the one table of what a caller may send. What is not here is dropped, as unknown betas are.
var params = map[string]func(*request, json.RawMessage) error{
	"model":    func(r *request, v json.RawMessage) error { return r.SetParam("model", v) },
	"stream":   func(r *request, v json.RawMessage) error { r.stream = string(v) == "true"; return nil },
	"system":   func(r *request, v json.RawMessage) error { r.system = v; return nil },
	"messages": reply.ParamInto("messages", func(r *request) any { return &r.messages }),
	"stop_sequences": func(r *request, v json.RawMessage) (err error) {
		r.stops, err = reply.Stops("stop_sequences", v)
		return err
	},
	"tools":         (*request).takeTools,
	"tool_choice":   (*request).takeChoice,
	"thinking":      (*request).takeThinking,
	"output_config": (*request).takeOutput,
	"metadata":      (*request).takeMetadata,
	"output_format": func(r *request, v json.RawMessage) error { return r.takeFormat(v) },
	// Every caller must send it; the backend takes none.
	"max_tokens": func(r *request, _ json.RawMessage) error { r.Drop("max_tokens"); return nil },
}

func (h *Handler) parse(body []byte) (*request, error) {
	r := &request{names: codex.Names{}}
	fields, err := reply.Object(body)
	if err == nil {
		err = reply.ReadParams(r, fields, params, r.Drop)
	}
	if err != nil {
		return r, err
	}
	if len(r.messages) == 0 {
		return r, codex.Invalid("messages", "messages is missing or empty. Send at least one message")
	}
	if r.Effort == "" {
		r.Effort = r.effort
	}
	if r.thinking {
		r.Summary = json.RawMessage(`"auto"`)
	}
	model, _ := h.Client.Models.Resolve(r.Model, "")
	return r, r.convert(h.Reasoning, model)
}

func (r *request) takeTools(v json.RawMessage) error {
	var tools []struct {
		Type        string          `json:"type"`
		Name        string          `json:"name"`
		Description string          `json:"description"`
		Schema      json.RawMessage `json:"input_schema"`
	}
	if json.Unmarshal(v, &tools) != nil {
		return codex.Invalid("tools", "tools must be a list of objects with a name")
	}
	for i, t := range tools {
		switch {
		case t.Type == "" || t.Type == "custom":
			if t.Name == "" {
				return codex.Invalid("tools", "each tool must have a name")
			}
			if len(t.Schema) == 0 || string(t.Schema) == "null" {
				t.Schema = json.RawMessage(`{"type":"object","properties":{}}`)
			}
			schema, err := codex.ObjectSchema(t.Schema, false, fmt.Sprintf("tools.%d.input_schema", i))
			if err != nil {
				return err
			}
			r.Tools = append(r.Tools, encode(functionTool{"function", r.names.Shorten(t.Name), t.Description, schema, false}))
		case strings.HasPrefix(t.Type, "web_search"):
			r.Tools = append(r.Tools, json.RawMessage(`{"type":"web_search"}`))
		default:
			return codex.Invalid("tools", "The tool %q is one of Anthropic's own and is not available with a ChatGPT plan. Remove it, or offer a tool of your own", t.Type)
		}
	}
	return nil
}

type functionTool struct {
	Type        string          `json:"type"`
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Parameters  json.RawMessage `json:"parameters"`
	Strict      bool            `json:"strict"`
}

func (r *request) takeChoice(v json.RawMessage) error {
	var c struct {
		Type     string `json:"type"`
		Name     string `json:"name"`
		Parallel *bool  `json:"disable_parallel_tool_use"`
	}
	if json.Unmarshal(v, &c) != nil {
		return codex.Invalid("tool_choice", "tool_choice must be an object with a type")
	}
	switch c.Type {
	case "auto", "none":
		r.ToolChoice = encode(c.Type)
	case "any":
		r.ToolChoice = json.RawMessage(`"required"`)
	case "tool":
		r.ToolChoice = encode(map[string]string{"type": "function", "name": r.names.Shorten(c.Name)})
	default:
		return codex.Invalid("tool_choice", "tool_choice.type must be auto, any, tool or none")
	}
	if c.Parallel != nil {
		r.ParallelToolCalls = encode(!*c.Parallel)
	}
	return nil
}

func (r *request) takeThinking(v json.RawMessage) error {
	var t struct {
		Type   string `json:"type"`
		Budget int    `json:"budget_tokens"`
	}
	if json.Unmarshal(v, &t) != nil {
		return codex.Invalid("thinking", "thinking must be an object with a type")
	}
	switch t.Type {
	case "disabled":
		r.effort = "none" // brought to the least that the model has
	case "enabled":
		r.thinking = true
		switch {
		case t.Budget < 4096:
			r.effort = "low"
		case t.Budget < 16384:
			r.effort = "medium"
		default:
			r.effort = "high"
		}
	case "adaptive":
		r.thinking = true
	default:
		return codex.Invalid("thinking", "thinking.type must be enabled, adaptive or disabled")
	}
	return nil
}

func (r *request) takeOutput(v json.RawMessage) error {
	var o struct {
		Effort string          `json:"effort"`
		Format json.RawMessage `json:"format"`
	}
	if json.Unmarshal(v, &o) != nil {
		return codex.Invalid("output_config", "output_config must be an object")
	}
	r.Effort = o.Effort
	return r.takeFormat(o.Format)
}

func (r *request) takeFormat(v json.RawMessage) error {
	if len(v) == 0 || string(v) == "null" {
		return nil
	}
	var f struct {
		Type   string          `json:"type"`
		Schema json.RawMessage `json:"schema"`
	}
	if json.Unmarshal(v, &f) != nil || f.Type != "json_schema" || len(f.Schema) == 0 {
		return codex.Invalid("output_config", "the output format must be of type json_schema and hold a schema")
	}
	schema, err := codex.ObjectSchema(f.Schema, false, "output_config.format.schema")
	if err != nil {
		return err
	}
	r.SetText("format", encode(map[string]any{"type": "json_schema", "name": "answer", "schema": schema, "strict": false}))
	return nil
}

// sessionID is Claude Code's name of a conversation, at the end of the user's id or, since 2.1, a field of it.
var sessionID = regexp.MustCompile(`(?:_session_|"session_id":\s*")([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})`)

// takeMetadata keeps the requests of a conversation together, so that the backend finds their prompt in its cache. Who
// the user is stays here.
func (r *request) takeMetadata(v json.RawMessage) error {
	var metadata struct {
		UserID string `json:"user_id"`
	}
	if json.Unmarshal(v, &metadata) == nil {
		if found := sessionID.FindStringSubmatch(metadata.UserID); found != nil {
			r.PromptCacheKey = found[1]
			return nil
		}
	}
	r.Drop("metadata")
	return nil
}

// attribution begins a block of Claude Code's system prompt that is for Anthropic's accounts, and differs from request to
// request. It is no prompt.
const attribution = "x-anthropic-billing-header:"

// convert turns the messages into items.
func (r *request) convert(cache *codex.ReasoningCache, model string) error {
	system, err := systemPrompt(r.system)
	if err != nil {
		return codex.Invalid("system", "system must be a string or a list of text blocks")
	}
	r.Instructions = system
	for i, m := range r.messages {
		fail := func(err error) error {
			if e, ok := err.(*codex.Error); ok { //nolint:errorlint // made right here
				return codex.Invalid("messages", "messages.%d: %s", i, e.Message)
			}
			return err
		}
		blocks, err := readBlocks(m.Content)
		if err != nil {
			return fail(err)
		}
		switch m.Role {
		case "user":
			err = r.user(blocks)
		case "assistant":
			r.assistant(blocks, cache, model)
		case "system", "developer":
			if text := joinText(blocks); text != "" {
				r.Input = append(r.Input, codex.Message("developer", text))
			}
		default:
			err = codex.Invalid("messages", "the role %q is unknown. Use user or assistant", m.Role)
		}
		if err != nil {
			return fail(err)
		}
	}
	return nil
}

func readBlocks(raw json.RawMessage) ([]inputBlock, error) {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return []inputBlock{{Type: "text", Text: text}}, nil
	}
	var blocks []inputBlock
	if json.Unmarshal(raw, &blocks) != nil {
		return nil, codex.Invalid("messages", "content must be a string or a list of blocks")
	}
	return blocks, nil
}

func plainText(raw json.RawMessage) (string, error) {
	if len(raw) == 0 {
		return "", nil
	}
	blocks, err := readBlocks(raw)
	return joinText(blocks), err
}

// systemPrompt is the text of a system prompt without its attribution.
func systemPrompt(raw json.RawMessage) (string, error) {
	if len(raw) == 0 {
		return "", nil
	}
	blocks, err := readBlocks(raw)
	blocks = slices.DeleteFunc(blocks, func(b inputBlock) bool { return strings.HasPrefix(b.Text, attribution) })
	return joinText(blocks), err
}

func joinText(blocks []inputBlock) string {
	var texts []string
	for _, b := range blocks {
		if b.Text != "" {
			texts = append(texts, b.Text)
		}
	}
	return strings.Join(texts, "\n\n")
}

// user writes results of tools as items of their own, and the rest between them as messages.
func (r *request) user(blocks []inputBlock) error {
	var parts []json.RawMessage
	flush := func() {
		if len(parts) > 0 {
			r.Input = append(r.Input, encode(map[string]any{"type": "message", "role": "user", "content": parts}))
			parts = nil
		}
	}
	for i, b := range blocks {
		if b.Type != "tool_result" {
			part, err := b.part()
			if e, ok := err.(*codex.Error); ok { //nolint:errorlint // made right here
				return codex.Invalid(e.Param, "content.%d: %s", i, e.Message)
			}
			if part != nil {
				parts = append(parts, part)
			}
			continue
		}
		flush()
		output, err := b.output()
		if err != nil {
			return err
		}
		r.Input = append(r.Input, encode(map[string]any{"type": "function_call_output", "call_id": b.ToolUseID, "output": output}))
	}
	flush()
	return nil
}

// part is a block of a user's as the Responses API has it; nil for one that says nothing.
func (b inputBlock) part() (json.RawMessage, error) {
	switch b.Type {
	case "text":
		if b.Text == "" {
			return nil, nil
		}
		return inputText(b.Text), nil
	case "image":
		url, err := b.Source.url("image")
		if err != nil {
			return nil, err
		}
		return encode(map[string]string{"type": "input_image", "image_url": url}), nil
	case "document":
		if b.Source == nil {
			return nil, codex.Invalid("messages", "a document must have a source")
		}
		switch b.Source.Type {
		case "text":
			return inputText(b.Source.Data), nil
		case "content":
			text, err := plainText(b.Source.Content)
			return inputText(text), err
		}
		url, err := b.Source.url("document")
		switch {
		case err != nil:
			return nil, err
		case b.Source.Type == "url":
			return codex.File{URL: url}.Part()
		}
		return codex.File{Name: b.Title, Data: url}.Part()
	case "search_result":
		text, err := plainText(b.Content)
		return inputText(strings.TrimSpace(b.Title + "\n" + text)), err
	}
	return nil, codex.Invalid("messages", "the block %q is unknown. Use text, image, document or tool_result", b.Type)
}

func inputText(text string) json.RawMessage {
	return encode(map[string]string{"type": "input_text", "text": text})
}

func (s *source) url(what string) (string, error) {
	switch {
	case s != nil && s.Type == "base64" && s.Data != "":
		kind := s.MediaType
		if kind == "" {
			kind = "application/octet-stream"
		}
		return "data:" + kind + ";base64," + s.Data, nil
	case s != nil && s.Type == "url" && s.URL != "":
		return s.URL, nil
	}
	return "", codex.Invalid("messages", "the source of this %s must be base64 data or a url: uploaded files are not available with a ChatGPT plan", what)
}

// output is the result of a tool: a string, or parts when it holds a picture.
func (b inputBlock) output() (any, error) {
	text := ""
	if len(b.Content) > 0 && string(b.Content) != "null" {
		blocks, err := readBlocks(b.Content)
		if err != nil {
			return nil, err
		}
		var parts []json.RawMessage
		plain := true
		for _, inner := range blocks {
			part, err := inner.part()
			if err != nil {
				part = inputText(string(encode(inner))) // a kind that only Anthropic knows: let the model read it
			}
			if part != nil {
				plain = plain && inner.Type == "text"
				parts = append(parts, part)
			}
		}
		if !plain {
			if b.IsError {
				parts = slices.Insert(parts, 0, inputText("The tool failed:"))
			}
			return parts, nil
		}
		text = joinText(blocks)
	}
	if b.IsError {
		text = "The tool failed: " + text
	}
	return text, nil
}

// reasoning returns the item that a signature carries; nil for another program's, or another model's.
func reasoning(signature, text, model string) json.RawMessage {
	encrypted, ok := codex.SignedReasoning(signature, model)
	if !ok {
		return nil
	}
	summary := []map[string]string{}
	if text != "" {
		summary = append(summary, map[string]string{"type": "summary_text", "text": text})
	}
	return encode(map[string]any{"type": "reasoning", "summary": summary, "encrypted_content": encrypted})
}

func (r *request) assistant(blocks []inputBlock, cache *codex.ReasoningCache, model string) {
	var items []json.RawMessage
	reasoned, first := false, ""
	for _, b := range blocks {
		switch b.Type {
		case "text":
			if b.Text != "" {
				items = append(items, codex.Message("assistant", b.Text))
			}
		case "thinking", "redacted_thinking":
			signature := b.Signature
			if b.Type == "redacted_thinking" {
				signature = b.Data
			}
			if item := reasoning(signature, b.Thinking, model); item != nil {
				items, reasoned = append(items, item), true
			}
		case "tool_use":
			if first == "" {
				first = b.ID
			}
			arguments := string(b.Input)
			if len(b.Input) == 0 || arguments == "null" {
				arguments = "{}"
			}
			items = append(items, encode(map[string]string{"type": "function_call", "call_id": b.ID, "name": r.names.Shorten(b.Name), "arguments": arguments}))
		}
	}
	if !reasoned && first != "" {
		r.Input = append(r.Input, cache.Before(model, first)...)
	}
	r.Input = append(r.Input, items...)
}

func encode(v any) []byte { return reply.Encode(v) }
