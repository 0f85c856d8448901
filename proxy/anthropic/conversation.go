package anthropic

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/rawjson"
)

// message and inputBlock hold parts of the request as JSON: a long conversation is not copied apart.
type message struct {
	role    string
	content json.RawMessage
}

// inputBlock is a content block of any kind, as a caller sends it.
type inputBlock struct {
	kind      string          // type
	text      json.RawMessage // a string; nil for none
	source    *source
	title     string
	id        string
	name      string
	input     json.RawMessage
	toolUseID string
	content   json.RawMessage
	isError   bool
	thinking  string
	signature string
	data      string
	tool      json.RawMessage
	whole     json.RawMessage
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
		blocks, err := readBlocks(m.content)
		if err != nil {
			return fail(err)
		}
		switch m.role {
		case "user":
			err = r.user(blocks)
		case "assistant":
			r.assistant(blocks, cache, model)
			if last := len(blocks) - 1; i == len(r.messages)-1 && last >= 0 && blocks[last].kind == "text" {
				r.Drop("messages.prefill") // the model does not go on from what the caller has begun
			}
		case "system", "developer":
			if text := joinText(blocks); text != nil {
				r.Input = append(r.Input, codex.MessageOf("developer", text))
			}
			err = r.changeTools(blocks)
		default:
			err = codex.Invalid("messages", "the role %q is unknown. Use user or assistant", m.role)
		}
		if err != nil {
			return fail(err)
		}
	}
	return nil
}

// empty names the message that says nothing where none says anything; else it is nil.
func (r *request) empty() error {
	i := slices.IndexFunc(r.messages, func(m message) bool { return m.role == "user" })
	if i < 0 || len(r.Input) > 0 {
		return nil
	}
	return codex.Invalid("messages", "messages.%d must have non-empty content. Send a text or another block", i)
}

// changeTools takes what a message says about tools from there on. Those that are given up stay on offer.
func (r *request) changeTools(blocks []inputBlock) error {
	for _, b := range blocks {
		switch b.kind {
		case "tool_addition":
			var added struct {
				Definition *tool `json:"definition"`
			}
			if json.Unmarshal(b.tool, &added) != nil || added.Definition == nil || r.offered[r.names.Shorten(added.Definition.Name)] {
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

// readMessages reads the list of messages, and reports whether it is one.
func readMessages(v json.RawMessage) ([]message, bool) {
	list, ok := rawjson.Elements(v)
	messages := make([]message, len(list))
	for i, object := range list {
		ok = ok && rawjson.Each(object, func(name string, value json.RawMessage) bool {
			switch name {
			case "role":
				messages[i].role, ok = rawjson.Text(value), rawjson.IsString(value)
			case "content":
				messages[i].content = value
			}
			return ok
		}) && ok
	}
	return messages, ok
}

// readBlocks reads a content: a text, or a list of blocks.
func readBlocks(raw json.RawMessage) ([]inputBlock, error) {
	if rawjson.IsString(raw) {
		return []inputBlock{{kind: "text", text: rawjson.NotEmpty(raw)}}, nil
	}
	list, ok := rawjson.Elements(raw)
	blocks := make([]inputBlock, len(list))
	for i, object := range list {
		ok = ok && blocks[i].read(object)
	}
	if !ok {
		return nil, codex.Invalid("messages", "content must be a string or a list of blocks")
	}
	return blocks, nil
}

// read takes a block apart, and reports whether it is one.
func (b *inputBlock) read(object json.RawMessage) bool {
	b.whole = object
	right := true
	ok := rawjson.Each(object, func(name string, value json.RawMessage) bool {
		if rawjson.IsNull(value) {
			return true
		}
		var text *string
		switch name {
		case "type":
			text = &b.kind
		case "title":
			text = &b.title
		case "id":
			text = &b.id
		case "name":
			text = &b.name
		case "tool_use_id":
			text = &b.toolUseID
		case "thinking":
			text = &b.thinking
		case "signature":
			text = &b.signature
		case "data":
			text = &b.data
		case "text":
			b.text, right = rawjson.NotEmpty(value), rawjson.IsString(value)
		case "source":
			b.source = &source{}
			right = json.Unmarshal(value, b.source) == nil
		case "input":
			b.input = value
		case "content":
			b.content = value
		case "tool":
			b.tool = value
		case "is_error":
			b.isError, right = string(value) == "true", value[0] == 't' || value[0] == 'f'
		}
		if text != nil {
			*text, right = rawjson.Text(value), rawjson.IsString(value)
		}
		return right
	})
	return ok && right
}

// plainText is the text of a content, a JSON string; nil for none.
func plainText(raw json.RawMessage) (json.RawMessage, error) {
	if len(raw) == 0 {
		return nil, nil
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
	blocks = slices.DeleteFunc(blocks, func(b inputBlock) bool { return bytes.HasPrefix(b.text, []byte(`"`+attribution)) })
	return rawjson.Text(joinText(blocks)), err
}

// joinText is the text of all blocks, a JSON string; nil for none.
func joinText(blocks []inputBlock) json.RawMessage {
	var texts []json.RawMessage
	for _, b := range blocks {
		if b.text != nil {
			texts = append(texts, b.text)
		}
	}
	return rawjson.Join(texts, `\n\n`)
}

// user writes results of tools as items of their own, and the rest between them as messages.
func (r *request) user(blocks []inputBlock) error {
	if len(blocks) == 1 && blocks[0].kind == "text" && blocks[0].text != nil { // most of them
		r.Input = append(r.Input, codex.MessageOf("user", blocks[0].text))
		return nil
	}
	var parts []json.RawMessage
	flush := func() {
		if len(parts) > 0 {
			r.Input = append(r.Input, codex.MessageParts("user", parts))
			parts = nil
		}
	}
	for i, b := range blocks {
		if b.kind != "tool_result" {
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
		r.Input = append(r.Input, codex.CallItem("function_call_output", b.toolUseID, "", "output", output))
	}
	flush()
	return nil
}

// part is a block of a user's as the Responses API has it; nil for one that says nothing.
func (b inputBlock) part() (json.RawMessage, error) {
	switch b.kind {
	case "text":
		if b.text == nil {
			return nil, nil
		}
		return codex.InputText(b.text), nil
	case "image":
		url, err := b.source.url("image")
		if err != nil {
			return nil, err
		}
		return encode(map[string]string{"type": "input_image", "image_url": url}), nil
	case "document":
		if b.source == nil {
			return nil, codex.Invalid("messages", "a document must have a source")
		}
		switch b.source.Type {
		case "text":
			return inputText(b.source.Data), nil
		case "content":
			text, err := plainText(b.source.Content)
			return inputText(rawjson.Text(text)), err
		}
		url, err := b.source.url("document")
		switch {
		case err != nil:
			return nil, err
		case b.source.Type == "url":
			return codex.File{URL: url}.Part()
		}
		return codex.File{Name: b.title, Data: url}.Part()
	case "mid_conv_system":
		text, err := plainText(b.content)
		return inputText(rawjson.Text(b.text) + rawjson.Text(text)), err
	case "search_result":
		text, err := plainText(b.content)
		from := ""
		if b.source != nil {
			from = b.source.URL
		}
		return inputText(strings.TrimSpace(b.title + "\n" + from + "\n" + rawjson.Text(text))), err
	}
	return nil, codex.Invalid("messages", "the block %q is unknown. Use text, image, document or tool_result", b.kind)
}

func inputText(text string) json.RawMessage {
	return encode(map[string]string{"type": "input_text", "text": text})
}

func (s *source) url(what string) (string, error) {
	switch {
	case s != nil && s.Type == "base64" && s.Data != "":
		url, _ := codex.DataURL(cmp.Or(s.MediaType, "application/octet-stream"), s.Data)
		return url, nil
	case s != nil && s.Type == "url" && s.URL != "":
		return s.URL, nil
	}
	return "", codex.Invalid("messages", "the source of this %s must be base64 data or a url: uploaded files are not available with a ChatGPT plan", what)
}

// output is the result of a tool: a string, or parts when it holds a picture.
func (b inputBlock) output() (json.RawMessage, error) {
	var texts []json.RawMessage
	if b.isError {
		texts = append(texts, json.RawMessage(`"The tool failed:"`))
	}
	if !rawjson.IsNull(b.content) {
		blocks, err := readBlocks(b.content)
		if err != nil {
			return nil, err
		}
		var parts []json.RawMessage
		plain := true
		for _, inner := range blocks {
			part, err := inner.part()
			if err != nil {
				part = inputText(string(inner.whole)) // a kind that only Anthropic knows: let the model read it
			}
			if part != nil {
				plain = plain && inner.kind == "text"
				parts = append(parts, part)
			}
		}
		if !plain {
			if b.isError {
				parts = slices.Insert(parts, 0, codex.InputText(texts[0]))
			}
			return rawjson.AppendList(nil, parts), nil
		}
		if text := joinText(blocks); text != nil {
			texts = append(texts, text)
		}
	}
	if texts == nil {
		return json.RawMessage(`""`), nil
	}
	return rawjson.Join(texts, " "), nil
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
		switch b.kind {
		case "text":
			if b.text != nil {
				items = append(items, codex.MessageOf("assistant", b.text))
			}
		case "thinking", "redacted_thinking":
			signature := b.signature
			if b.kind == "redacted_thinking" {
				signature = b.data
			}
			if item := reasoning(signature, b.thinking, model); item != nil {
				items, reasoned = append(items, item), true
			}
		case "tool_use":
			if first == "" {
				first = b.id
			}
			arguments := string(b.input)
			if len(b.input) == 0 || arguments == "null" {
				arguments = "{}"
			}
			items = append(items, codex.CallItem("function_call", b.id, r.names.Shorten(b.name), "arguments", encode(arguments)))
		case "server_tool_use":
			if b.name == "web_search" {
				items = append(items, searchCall(gjson.GetBytes(b.input, "query").Str))
			} else {
				r.Drop("messages.server_tool_use")
			}
		case "web_search_tool_result": // what was found is in the answer
		case "compaction":
			if text, err := plainText(b.content); err == nil && text != nil {
				items = append(items, codex.MessageOf("assistant", text))
			}
		default:
			r.Drop("messages." + b.kind)
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
