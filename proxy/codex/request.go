package codex

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"codex-proxy/proxy/rawjson"
)

// Request is one turn, in the words of the Responses API. Translators fill it; Client sends it.
type Request struct {
	Model             string // may carry an effort as suffix ("gpt-5.5-high"); empty for the default model
	Instructions      string
	Input             []json.RawMessage // items, in order
	Tools             []json.RawMessage
	ToolChoice        json.RawMessage
	ParallelToolCalls json.RawMessage
	Effort            string          // of reasoning; empty for the model's default
	Summary           json.RawMessage // of reasoning: auto, concise, detailed
	Context           json.RawMessage // of reasoning
	Include           []string
	ServiceTier       string // "priority", or empty for the usual one
	PromptCacheKey    string
	Text              json.RawMessage // verbosity and format
	ClientMetadata    json.RawMessage

	// Translated means that each message of Input was made by Message, MessageOf or MessageParts: there is nothing to mend in it.
	Translated bool
	// Native means that the caller is the Codex CLI itself: it speaks the backend's own dialect, so its items are
	// passed as they are and it gets the backend's errors as they come.
	Native bool
	// Header holds the Codex CLI's own headers, by allow-list; nil for other callers.
	Header http.Header

	// Dropped names what the caller sent and the backend does not get.
	Dropped Dropped
	// Expected are names that Client.Strict lets be dropped: callers of the dialect always send them, or have no other way to
	// say what they want.
	Expected []string
}

// EffortParam is the name by which an effort is dropped that the model lacks.
const EffortParam = "reasoning.effort"

// Drop notes that a parameter of the caller's was left out or changed.
func (r *Request) Drop(name string) { r.Dropped.add(name) }

// nativeHeaders are the headers of the Codex CLI that the backend understands.
// Source: captured from Codex CLI 0.169; for memories codex-rs/core/src/client.rs.
var nativeHeaders = []string{
	"Session-Id", "Thread-Id", "X-Client-Request-Id", "X-Codex-Beta-Features", "X-Codex-Window-Id",
	"X-Codex-Turn-Metadata", "X-Codex-Turn-State", "X-Codex-Routing-Hint", "X-Codex-Parent-Thread-Id",
	"X-Openai-Subagent", "X-Openai-Memgen-Request", "X-Openai-Internal-Codex-Responses-Lite",
}

// RecogniseNative marks the request as the Codex CLI's own if h says so, and keeps its headers.
func (r *Request) RecogniseNative(h http.Header) {
	if !strings.HasPrefix(strings.ToLower(h.Get("Originator")), "codex") {
		return
	}
	r.Native, r.Expected = true, []string{"client_metadata"}
	r.Header = http.Header{}
	for _, name := range nativeHeaders {
		if v := h.Get(name); v != "" {
			r.Header.Set(name, v)
		}
	}
}

// SetParam takes one parameter of a Responses request. Those that only change how an answer is sampled or kept are
// dropped; those without which the answer would be another one are refused with an *Error.
func (r *Request) SetParam(name string, v json.RawMessage) error {
	if isNull(v) {
		return nil
	}
	if take, ok := responsesParams[name]; ok {
		return take(r, v)
	}
	r.Drop(name)
	return nil
}

// responsesParams is the one table of what a Responses caller may send.
var responsesParams = map[string]func(*Request, json.RawMessage) error{
	"model": func(r *Request, v json.RawMessage) error { return decodeString(v, "model", &r.Model) },
	"instructions": func(r *Request, v json.RawMessage) error {
		return decodeString(v, "instructions", &r.Instructions)
	},
	"input":               takeInput,
	"tools":               takeTools,
	"tool_choice":         takeToolChoice,
	"parallel_tool_calls": func(r *Request, v json.RawMessage) error { r.ParallelToolCalls = v; return nil },
	"reasoning":           takeReasoning,
	"include":             takeInclude,
	"service_tier":        takeServiceTier,
	"prompt_cache_key": func(r *Request, v json.RawMessage) error {
		return decodeString(v, "prompt_cache_key", &r.PromptCacheKey)
	},
	"text":            takeText,
	"client_metadata": func(r *Request, v json.RawMessage) error { r.ClientMetadata = v; return nil },

	// Handled by the proxy.
	"store": func(*Request, json.RawMessage) error { return nil },

	// Without these the answer would be given without its context, or to another question.
	"conversation": refuse("conversation", "Conversations are not stored by the ChatGPT backend. Send the whole conversation in input"),
	"prompt":       refuse("prompt", "Stored prompts are not available with a ChatGPT plan. Send the text in instructions and input"),
	"background": func(r *Request, v json.RawMessage) error {
		if string(v) == "true" {
			return Invalid("background", "Background answers are not available with a ChatGPT plan. Send the request without background, with stream")
		}
		return nil
	},
}

func refuse(name, why string) func(*Request, json.RawMessage) error {
	return func(*Request, json.RawMessage) error { return Invalid(name, "%s", why) }
}

func decodeString(v json.RawMessage, name string, into *string) error {
	if json.Unmarshal(v, into) != nil {
		return Invalid(name, "%s must be a string", name)
	}
	return nil
}

func takeInput(r *Request, v json.RawMessage) error {
	if v[0] == '"' {
		var s string
		if err := decodeString(v, "input", &s); err != nil {
			return err
		}
		r.Input = []json.RawMessage{Message("user", s)}
		return nil
	}
	var ok bool
	if r.Input, ok = rawjson.Elements(v); !ok {
		return Invalid("input", "input must be a string or a list of items")
	}
	return nil
}

func takeTools(r *Request, v json.RawMessage) error {
	var tools []json.RawMessage
	if json.Unmarshal(v, &tools) != nil {
		return Invalid("tools", "tools must be a list")
	}
	for i, t := range tools {
		fixed, err := FixTool(t)
		if err == nil && !r.Native {
			fixed, err = fixSchema(fixed, "parameters", "tools["+strconv.Itoa(i)+"].parameters")
		}
		if err != nil {
			return err
		}
		tools[i] = fixed
	}
	r.Tools = tools
	return nil
}

func takeToolChoice(r *Request, v json.RawMessage) error {
	if gjson.GetBytes(v, "type").Str == "image_generation" && !r.Native {
		return Invalid("tool_choice", "The ChatGPT backend does not take image_generation as tool_choice. Send \"required\", or leave it out")
	}
	r.ToolChoice = v
	if r.Native || v[0] != '{' {
		return nil
	}
	var err error
	if r.ToolChoice, err = FixTool(v); err != nil {
		return err
	}
	allowed := rawList(gjson.GetBytes(v, "tools"))
	for i, t := range allowed {
		if allowed[i], err = FixTool(t); err != nil {
			return err
		}
	}
	if allowed != nil {
		r.ToolChoice, err = sjson.SetRawBytes(bytes.Clone(v), "tools", rawjson.AppendList(nil, allowed))
	}
	return err
}

// FixTool returns a tool, or the choice of one, as the backend takes it, or an *Error for one that it does not have.
func FixTool(t json.RawMessage) (json.RawMessage, error) {
	kind := gjson.GetBytes(t, "type").String()
	switch kind {
	case "web_search_preview", "web_search_preview_2025_03_11", "web_search_2025_08_26":
		return sjson.SetBytes(bytes.Clone(t), "type", "web_search")
	case "file_search", "code_interpreter", "computer", "computer_use", "computer_use_preview", "mcp":
		return nil, Invalid("tools", "The tool %q is not available with a ChatGPT plan. Remove it, or offer a function of your own", kind)
	case "function":
		if f := gjson.GetBytes(t, "function"); f.IsObject() { // Chat Completions' shape, which some send here
			return sjson.SetBytes([]byte(f.Raw), "type", "function")
		}
	}
	return t, nil
}

// fixSchema brings the schema in a field of a tool or a format, if there is one, into what the backend takes.
func fixSchema(holder json.RawMessage, field, path string) (json.RawMessage, error) {
	schema := gjson.GetBytes(holder, field)
	if !schema.IsObject() {
		return holder, nil
	}
	out, err := ObjectSchema(json.RawMessage(schema.Raw), gjson.GetBytes(holder, "strict").Bool(), path)
	if err != nil || string(out) == schema.Raw {
		return holder, err
	}
	return sjson.SetRawBytes(bytes.Clone(holder), field, out)
}

func takeReasoning(r *Request, v json.RawMessage) error {
	var in map[string]json.RawMessage
	if json.Unmarshal(v, &in) != nil {
		return Invalid("reasoning", "reasoning must be an object")
	}
	for _, name := range slices.Sorted(maps.Keys(in)) {
		value := in[name]
		if isNull(value) {
			continue
		}
		switch name {
		case "effort":
			if err := decodeString(value, "reasoning.effort", &r.Effort); err != nil {
				return err
			}
		case "summary":
			r.Summary = value
		case "context":
			r.Context = value
		case "generate_summary": // the old name
			if r.Summary == nil {
				r.Summary = value
			}
		default:
			r.Drop("reasoning." + name)
		}
	}
	return nil
}

func takeInclude(r *Request, v json.RawMessage) error {
	var in []string
	if json.Unmarshal(v, &in) != nil {
		return Invalid("include", "include must be a list of strings")
	}
	for _, name := range in {
		if name == includeReasoning || strings.HasPrefix(name, "web_search_call.") {
			r.Include = append(r.Include, name)
		} else {
			r.Drop("include." + name)
		}
	}
	return nil
}

func takeText(r *Request, v json.RawMessage) error {
	var in map[string]json.RawMessage
	if json.Unmarshal(v, &in) != nil {
		return Invalid("text", "text must be an object")
	}
	for _, name := range slices.Sorted(maps.Keys(in)) {
		value := in[name]
		if isNull(value) {
			continue
		}
		switch name {
		case "verbosity":
			if err := r.SetVerbosity("text.verbosity", value); err != nil {
				return err
			}
		case "format":
			if !r.Native {
				var err error
				if value, err = fixSchema(value, "schema", "text.format.schema"); err != nil {
					return err
				}
			}
			r.SetText(name, value)
		default:
			r.Drop("text." + name)
		}
	}
	return nil
}

// takeServiceTier takes the one tier that the backend knows beside the usual one, which needs no name.
func takeServiceTier(r *Request, v json.RawMessage) error {
	var tier string
	if err := decodeString(v, "service_tier", &tier); err != nil {
		return err
	}
	switch tier {
	case "", "auto", "default", "standard":
	case "priority", "fast":
		r.ServiceTier = "priority"
	default:
		r.Drop("service_tier")
	}
	return nil
}

// SetVerbosity sets how much the model says: low, medium or high. The error is an *Error about param.
func (r *Request) SetVerbosity(param string, v json.RawMessage) error {
	if !slices.Contains([]string{`"low"`, `"medium"`, `"high"`}, string(v)) && !r.Native {
		return Invalid(param, "%s must be low, medium or high", param)
	}
	r.SetText("verbosity", v)
	return nil
}

// SetText sets one field of text: "verbosity" or "format".
func (r *Request) SetText(name string, value json.RawMessage) {
	if r.Text == nil {
		r.Text = json.RawMessage("{}")
	}
	if out, err := sjson.SetRawBytes(bytes.Clone(r.Text), name, value); err == nil {
		r.Text = out
	}
}

// Message is an input item with one text.
func Message(role, text string) json.RawMessage { return MessageOf(role, quote(text)) }

// MessageOf is an input item with one text, which is a JSON string and goes up as it is.
func MessageOf(role string, text json.RawMessage) json.RawMessage {
	kind := "input_text"
	if role == "assistant" {
		kind = "output_text"
	}
	b := make([]byte, 0, len(text)+100)
	b = append(append(append(b, messageHead...), role...), `","content":[{"type":"`...)
	b = append(append(append(b, kind...), `","text":`...), text...)
	return append(b, "}]}"...)
}

// messageHead is how an item of Message, MessageOf and MessageParts begins.
const messageHead = `{"type":"message","role":"`

// MessageParts is an input item with parts, which go up as they are.
func MessageParts(role string, parts []json.RawMessage) json.RawMessage {
	b := append(append([]byte(messageHead), role...), `","content":`...)
	return append(rawjson.AppendList(b, parts), '}')
}

// CallItem is a call, or the result of one. name is left out when it is empty; value is the JSON of the last field, and goes
// up as it is.
func CallItem(kind, id, name, field string, value json.RawMessage) json.RawMessage {
	b := make([]byte, 0, len(value)+len(id)+len(name)+100)
	b = append(append(append(b, `{"type":"`...), kind...), `","call_id":`...)
	b = append(b, quote(id)...)
	if name != "" {
		b = append(append(b, `,"name":`...), quote(name)...)
	}
	b = append(append(append(b, `,"`...), field...), `":`...)
	return append(append(b, value...), '}')
}

// InputText is a part with a text, which is a JSON string and goes up as it is.
func InputText(text json.RawMessage) json.RawMessage {
	return slices.Concat([]byte(`{"type":"input_text","text":`), text, []byte("}"))
}

// SayInstructions makes the instructions the conversation where there is nothing else: the backend takes no empty one.
func (r *Request) SayInstructions() {
	if len(r.Input) == 0 && r.Instructions != "" {
		r.Input = []json.RawMessage{Message("developer", r.Instructions)}
		r.Instructions = ""
	}
}

const includeReasoning = "reasoning.encrypted_content"

// encoded is a request as it goes up.
type encoded struct {
	body          pieces
	packed        pieces // the same, by zstd; nil when it goes up as it is
	session       string // that the turn belongs to
	model, effort string
}

// encode returns the request, whose input the backend takes, for an upstream. Errors are *Error.
func (r *Request) encode(up Upstream, models *Catalogue, advice Advice) (encoded, error) {
	model, effort := models.Resolve(r.Model, r.Effort)
	if effort != r.Effort && r.Effort != "" {
		r.Drop(EffortParam)
	}
	input, tools, err := up.place(r, advice)
	if err != nil {
		return encoded{}, err
	}
	if len(r.Input) == 0 {
		return encoded{}, Invalid("input", "The conversation is empty. Send at least one message")
	}
	session := r.session()

	b := bodyWriter{allowed: up.Params}
	b.field("model", quote(model))
	if r.Instructions != "" {
		b.field("instructions", quote(r.Instructions))
	} else if !r.Native && up.DefaultInstructions != "" {
		b.field("instructions", quote(up.DefaultInstructions))
	}
	b.list("input", input)
	if tools != nil {
		b.list("tools", tools)
	}
	b.raw("tool_choice", r.ToolChoice)
	b.raw("parallel_tool_calls", r.ParallelToolCalls)
	if reasoning := r.reasoning(effort); reasoning != nil {
		b.field("reasoning", reasoning)
	}
	include := r.Include
	if !slices.Contains(include, includeReasoning) {
		include = append(slices.Clone(include), includeReasoning)
	}
	b.field("include", mustJSON(include))
	if r.ServiceTier != "" {
		b.field("service_tier", quote(r.ServiceTier))
	}
	key := r.PromptCacheKey
	if key == "" {
		key = session
	}
	b.field("prompt_cache_key", quote(key))
	b.raw("text", r.Text)
	if !isNull(r.ClientMetadata) && !up.Params["client_metadata"] {
		r.Drop("client_metadata")
	}
	b.raw("client_metadata", r.ClientMetadata)
	b.field("store", []byte("false"))
	b.field("stream", []byte("true"))
	b.buf = append(b.buf, '}')
	b.cut()
	return encoded{body: b.pieces, session: session, model: model, effort: effort}, nil
}

// forgetReasoning takes out the reasoning of earlier turns, and reports whether there was any. The model then thinks anew.
func (r *Request) forgetReasoning() bool {
	kept := slices.DeleteFunc(slices.Clone(r.Input), func(item json.RawMessage) bool { return gjson.GetBytes(item, "type").Str == "reasoning" })
	if len(kept) == len(r.Input) {
		return false
	}
	r.Input = kept
	r.Drop("input.reasoning")
	r.Expected = append(r.Expected, "input.reasoning") // else the conversation would be refused for ever
	return true
}

func (r *Request) reasoning(effort string) json.RawMessage {
	b := bodyWriter{}
	if effort != "" {
		b.field("effort", quote(effort))
	}
	b.raw("summary", r.Summary)
	b.raw("context", r.Context)
	if b.buf == nil {
		return nil
	}
	return append(b.buf, '}')
}

// session names the conversation that this turn belongs to, so that the backend finds its prompt cache: by the
// caller's key, or by what does not change from turn to turn, which is the instructions and the first user message.
func (r *Request) session() string {
	if v := r.Header.Get("Session-Id"); v != "" {
		return v
	}
	h := sha256.New()
	if r.PromptCacheKey != "" {
		if isUUID(r.PromptCacheKey) {
			return r.PromptCacheKey
		}
		h.Write([]byte(r.PromptCacheKey))
	} else {
		h.Write([]byte(r.Instructions))
		for _, item := range r.Input {
			h.Write(item)
			if gjson.GetBytes(item, "role").Str == "user" {
				break
			}
		}
	}
	sum := h.Sum(nil)
	sum[6] = sum[6]&0x0f | 0x80 // a version 8 UUID: made from a hash. Source: RFC 9562, 5.8.
	sum[8] = sum[8]&0x3f | 0x80
	return formatUUID([16]byte(sum))
}

func isUUID(s string) bool {
	return len(s) == 36 && s[8] == '-' && s[13] == '-' && s[18] == '-' && s[23] == '-'
}

// bodyWriter writes a JSON object, leaving out what the upstream does not take.
type bodyWriter struct {
	pieces  pieces // what was written before buf
	buf     []byte
	allowed map[string]bool // nil for everything
}

const (
	pieceFrom = 1 << 10  // the size of an item from which on it is a piece of its own
	pieceMost = 32 << 10 // the most that smaller ones are put together to
)

// cut ends a piece.
func (b *bodyWriter) cut() {
	b.pieces = append(b.pieces, slices.Clip(b.buf))
	b.buf = nil
}

func (b *bodyWriter) name(name string) bool {
	if b.allowed != nil && !b.allowed[name] {
		return false
	}
	if len(b.pieces) == 0 && len(b.buf) == 0 {
		b.buf = append(b.buf, '{')
	} else {
		b.buf = append(b.buf, ',')
	}
	b.buf = append(append(append(b.buf, '"'), name...), '"', ':')
	return true
}

func (b *bodyWriter) field(name string, value []byte) {
	if b.name(name) {
		b.buf = append(b.buf, value...)
	}
}

func (b *bodyWriter) raw(name string, value json.RawMessage) {
	if !isNull(value) {
		b.field(name, value)
	}
}

func (b *bodyWriter) list(name string, items []json.RawMessage) {
	if !b.name(name) {
		return
	}
	b.buf = append(b.buf, '[')
	for i, item := range items {
		if i > 0 {
			b.buf = append(b.buf, ',')
		}
		if len(item) < pieceFrom {
			if len(b.buf)+len(item) > pieceMost {
				b.cut()
				b.buf = make([]byte, 0, pieceMost)
			}
			b.buf = append(b.buf, item...)
			continue
		}
		b.cut()
		b.pieces = append(b.pieces, item)
	}
	b.buf = append(b.buf, ']')
}

func quote(s string) []byte { return rawjson.Quote(s) }

// mustJSON encodes what can't fail to encode: strings, and structs of them.
func mustJSON(v any) json.RawMessage {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}
