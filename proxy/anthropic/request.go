// Package anthropic translates between Anthropic's Messages API and package codex.
package anthropic

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/reply"
)

// request is a Messages request on its way to the backend. Source: Anthropic API reference, messages.
type request struct {
	codex.Request

	stream   bool
	thinking bool // the caller wants to see it
	stops    []string
	omitted  bool // what the caller wants of it is no more than what brings it back
	names    codex.Names
	choice   choice
	search   string   // the name of the search tool, if there is one
	lacking  []string // the tools that the backend does not have

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
	Tool      json.RawMessage `json:"tool"`
}

type source struct {
	Type      string          `json:"type"`
	MediaType string          `json:"media_type"`
	Data      string          `json:"data"`
	URL       string          `json:"url"`
	Content   json.RawMessage `json:"content"`
}

// UnmarshalJSON reads an object, or the string that it is in a search result.
func (s *source) UnmarshalJSON(raw []byte) error {
	if json.Unmarshal(raw, &s.URL) == nil {
		return nil
	}
	type object source
	return json.Unmarshal(raw, (*object)(s))
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
	"output_format": (*request).takeFormat,
	// Every caller must send it; the backend takes none.
	"max_tokens": func(r *request, _ json.RawMessage) error { r.Drop("max_tokens"); return nil },
}

// parse reads a request. Its header is nil where only the body counts.
func (h *Handler) parse(header http.Header, body []byte) (*request, error) {
	r := &request{names: codex.Names{}}
	r.takeBetas(header)
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
	if r.PromptCacheKey == "" {
		r.PromptCacheKey = header.Get("X-Claude-Code-Session-Id")
	}
	if r.thinking && !r.omitted {
		r.Summary = json.RawMessage(`"auto"`)
	}
	model, _ := h.Client.Models.Resolve(r.Model, "")
	if err := r.convert(h.Reasoning, model); err != nil {
		return r, err
	}
	return r, r.choose()
}

// betas are the capabilities that callers ask for by a header and have here without it, or that say who is asking.
// Source: platform.claude.com/docs, beta headers; seen from Claude Code 2.1.330.
var betas = []string{"adaptive-thinking", "claude-code", "computer-use", "effort", "fine-grained-tool-streaming", "inline-tools", "interleaved-thinking",
	"mid-conversation-system", "mid-conversation-tool-changes", "oauth", "output-128k", "pdfs", "prompt-caching", "search-results", "structured-outputs",
	"token-counting", "token-efficient-tools", "web-search"}

var betaVersion = regexp.MustCompile(`-\d{4}-?\d{2}-?\d{2}$`)

// takeBetas notes those that this proxy does not have.
func (r *request) takeBetas(header http.Header) {
	for _, line := range header.Values("Anthropic-Beta") {
		for beta := range strings.SplitSeq(line, ",") {
			beta = strings.TrimSpace(beta)
			if beta != "" && !slices.Contains(betas, betaVersion.ReplaceAllString(beta, "")) {
				r.Drop("anthropic-beta." + beta)
			}
		}
	}
}

func (r *request) takeThinking(v json.RawMessage) error {
	var t struct {
		Type    string `json:"type"`
		Budget  int    `json:"budget_tokens"`
		Display string `json:"display"`
	}
	if json.Unmarshal(v, &t) != nil {
		return codex.Invalid("thinking", "thinking must be an object with a type")
	}
	r.omitted = t.Display == "omitted"
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
	var config map[string]json.RawMessage
	if json.Unmarshal(v, &config) != nil {
		return codex.Invalid("output_config", "output_config must be an object")
	}
	return reply.ReadParams(r, config, outputParams, func(name string) { r.Drop("output_config." + name) })
}

var outputParams = map[string]func(*request, json.RawMessage) error{
	"effort": reply.ParamInto("output_config.effort", func(r *request) any { return &r.Effort }),
	"format": (*request).takeFormat,
}

func (r *request) takeFormat(v json.RawMessage) error {
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
			err = r.changeTools(blocks)
		default:
			err = codex.Invalid("messages", "the role %q is unknown. Use user or assistant", m.Role)
		}
		if err != nil {
			return fail(err)
		}
	}
	return nil
}

// changeTools takes what a message says about tools from there on. Those that are given up stay on offer.
func (r *request) changeTools(blocks []inputBlock) error {
	for _, b := range blocks {
		switch b.Type {
		case "tool_addition":
			var added struct {
				Definition *tool `json:"definition"`
			}
			if json.Unmarshal(b.Tool, &added) != nil || added.Definition == nil || r.offers(added.Definition.Name) {
				continue // it refers to one that is on offer
			}
			if err := r.addTool("messages.tool.definition", *added.Definition); err != nil {
				return err
			}
		case "tool_removal":
			r.Drop("messages.tool_removal")
		}
	}
	return nil
}

func (r *request) offers(name string) bool {
	name = r.names.Shorten(name)
	return slices.ContainsFunc(r.Tools, func(t json.RawMessage) bool { return gjson.GetBytes(t, "name").Str == name })
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
	case "mid_conv_system":
		text, err := plainText(b.Content)
		return inputText(b.Text + text), err
	case "search_result":
		text, err := plainText(b.Content)
		from := ""
		if b.Source != nil {
			from = b.Source.URL
		}
		return inputText(strings.TrimSpace(b.Title + "\n" + from + "\n" + text)), err
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
		var raw []gjson.Result
		plain := true
		for i, inner := range blocks {
			part, err := inner.part()
			if err != nil {
				if raw == nil {
					raw = gjson.ParseBytes(b.Content).Array()
				}
				part = inputText(raw[i].Raw) // a kind that only Anthropic knows: let the model read it
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
		case "server_tool_use":
			if b.Name == "web_search" {
				items = append(items, searchCall(gjson.GetBytes(b.Input, "query").Str))
			} else {
				r.Drop("messages.server_tool_use")
			}
		case "web_search_tool_result": // what was found is in the answer
		case "compaction":
			if text, err := plainText(b.Content); err == nil && text != "" {
				items = append(items, codex.Message("assistant", text))
			}
		default:
			r.Drop("messages." + b.Type)
		}
	}
	if !reasoned && first != "" {
		r.Input = append(r.Input, cache.Before(model, first)...)
	}
	r.Input = append(r.Input, items...)
}

// searchCall is a search of an earlier turn.
func searchCall(query string) json.RawMessage {
	return encode(map[string]any{"type": "web_search_call", "status": "completed", "action": map[string]string{"type": "search", "query": query}})
}

func encode(v any) []byte { return reply.Encode(v) }
