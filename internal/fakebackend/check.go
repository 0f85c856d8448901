package fakebackend

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/tidwall/gjson"
)

// allowedParams is what the backend takes; the rest is a 400.
var allowedParams = []string{"model", "instructions", "input", "tools", "tool_choice", "parallel_tool_calls", "reasoning", "store",
	"stream", "include", "service_tier", "prompt_cache_key", "text", "client_metadata"}

// toolName is made when it is used first: it would be a twentieth of the program's start.
var toolName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`) })

// idPrefixes says how the ids of items begin.
var idPrefixes = map[string]string{"message": "msg_", "function_call": "fc_", "reasoning": "rs_", "custom_tool_call": "ctc_",
	"function_call_output": "fco_", "additional_tools": "at_"}

var pairs = map[string]string{"function_call": "function_call_output", "custom_tool_call": "custom_tool_call_output"}

// What the two services have encrypted begins with these, and neither can read the other's.
const (
	sealedByBackend = "gAAAAcodex"
	sealedByPublic  = "gAAAAsiwc"
)

var (
	errSealed  = bad("The encrypted content could not be verified.")
	errNoInput = bad("Input must not be empty")
)

// check returns what the backend would say against a body.
func (b *Backend) check(h http.Header, body []byte) error {
	var params map[string]json.RawMessage
	if json.Unmarshal(body, &params) != nil {
		return bad("Invalid JSON body")
	}
	for name := range params {
		if !slices.Contains(allowedParams, name) {
			return bad("Unsupported parameter: %s", name)
		}
	}
	doc := gjson.ParseBytes(body)
	model, ok := b.model(doc.Get("model").String())
	switch {
	case h.Get("Content-Type") != "application/json":
		return bad("Unsupported content type")
	case h.Get("Accept") != "text/event-stream":
		return bad("Accept must be text/event-stream")
	case h.Get("Originator") == "":
		return bad("Originator is required")
	case !ok:
		return bad("The '%s' model is not supported when using Codex with a ChatGPT account.", doc.Get("model").String())
	case strings.HasPrefix(doc.Get("model").String(), "gpt-6") && h.Get("Version") == "":
		return bad("The '%s' model requires a newer version of Codex. Please upgrade to the latest app or CLI and try again.", doc.Get("model").String())
	case !doc.Get("stream").Bool():
		return bad("Stream must be set to true")
	case !doc.Get("store").Exists() || doc.Get("store").Bool():
		return bad("Store must be set to false")
	case !doc.Get("input").IsArray():
		return bad("Input must be a list")
	case len(doc.Get("input").Array()) == 0:
		return errNoInput
	}
	lite := h.Get("X-Openai-Internal-Codex-Responses-Lite") == "true"
	if lite && !model.Get("use_responses_lite").Bool() {
		return bad("This model is not supported when using X-OpenAI-Internal-Codex-Responses-Lite.")
	}
	if doc.Get("instructions").String() == "" && !lite && !doc.Get(`input.#(role=="developer")`).Exists() {
		return bad("Instructions are required")
	}
	if tier := doc.Get("service_tier"); tier.Exists() && tier.String() != "priority" {
		return bad("Unsupported service_tier: %s", tier.String())
	}
	if effort := doc.Get("reasoning.effort"); effort.Exists() && (effort.Str == "ultra" || !model.Get(`supported_reasoning_levels.#(effort=="`+effort.Str+`")`).Exists()) {
		return bad("Unsupported value: 'reasoning.effort' does not support '%s' with this model.", effort.String())
	}
	if v := doc.Get("text.verbosity"); v.Exists() && !slices.Contains([]string{"low", "medium", "high"}, v.Str) {
		return bad("Unsupported value: text.verbosity")
	}
	if format := doc.Get("text.format"); format.Get("type").Str == "json_schema" {
		if err := checkSchema("text.format", format.Get("schema"), format.Get("strict").Bool()); err != nil {
			return err
		}
	}
	if doc.Get("text.format.type").Str == "json_object" && !saysJSON(doc.Get("input").Array()) {
		return bad("Response input messages must contain the word 'json' in some form to use 'text.format' of type 'json_object'.")
	}
	for _, v := range doc.Get("include").Array() {
		if v.Str != "reasoning.encrypted_content" && !strings.HasPrefix(v.Str, "web_search_call.") {
			return bad("Unsupported include: %s", v.Str)
		}
	}
	if err := checkTools(doc); err != nil {
		return err
	}
	if strings.Contains(string(body), sealedByPublic) {
		return errSealed
	}
	return checkInput(doc.Get("input").Array())
}

// saysJSON reports whether a message has the word json in it. Instructions don't count.
// Source: what callers of the Responses API report of its error.
func saysJSON(items []gjson.Result) bool {
	return slices.ContainsFunc(items, func(item gjson.Result) bool {
		content := item.Get("content")
		return strings.Contains(strings.ToLower(content.Str+flatten(content)), "json")
	})
}

// compactionParams is what the backend takes to compact. Source: codex-rs/codex-api/src/common.rs, CompactionInput.
var compactionParams = []string{"model", "input", "instructions", "tools", "parallel_tool_calls", "reasoning", "service_tier", "prompt_cache_key", "text"}

// checkCompaction is check for a conversation that is to be compacted.
func (b *Backend) checkCompaction(body []byte) error {
	var params map[string]json.RawMessage
	if json.Unmarshal(body, &params) != nil {
		return bad("Invalid JSON body")
	}
	for name := range params {
		if !slices.Contains(compactionParams, name) {
			return bad("Unsupported parameter: %s", name)
		}
	}
	doc := gjson.ParseBytes(body)
	if _, ok := b.model(doc.Get("model").String()); !ok {
		return bad("The '%s' model is not supported when using Codex with a ChatGPT account.", doc.Get("model").String())
	}
	if !doc.Get("input").IsArray() {
		return bad("Input must be a list")
	}
	return checkInput(doc.Get("input").Array())
}

func (b *Backend) model(id string) (gjson.Result, bool) {
	m := gjson.GetBytes(b.Models, `models.#(slug=="`+id+`")`)
	return m, m.Exists() && !strings.ContainsAny(id, `"\`)
}

func checkTools(doc gjson.Result) error {
	names := map[string]bool{}
	for i, t := range doc.Get("tools").Array() {
		kind, name := t.Get("type").Str, t.Get("name").Str
		names[name] = true
		switch kind {
		case "function", "custom":
			if !t.Get("name").Exists() {
				return bad("Missing required parameter: 'tools[%d].name'.", i)
			}
			if !toolName().MatchString(name) {
				return bad("Invalid 'tools[%d].name': string does not match pattern or is too long.", i)
			}
			if kind == "function" && !t.Get("parameters").IsObject() {
				return bad("Missing required parameter: 'tools[%d].parameters'.", i)
			}
			if kind == "function" {
				if err := checkSchema("function '"+name+"'", t.Get("parameters"), t.Get("strict").Bool()); err != nil {
					return err
				}
			}
		case "web_search":
			if err := checkWebSearch(i, t); err != nil {
				return err
			}
		case "image_generation", "local_shell", "namespace", "tool_search":
		default:
			return bad("Unsupported tool type: %s", kind)
		}
	}
	choice := doc.Get("tool_choice")
	if choice.Get("type").Str == "image_generation" {
		return bad("Tool choice 'image_generation' not found in 'tools' parameter.")
	}
	if kind := choice.Get("type").Str; strings.HasPrefix(kind, "web_search") && !doc.Get(`tools.#(type=="`+kind+`")`).Exists() {
		return bad("Tool choice '%s' not found in 'tools' parameter.", kind)
	}
	if choice.Get("function").Exists() {
		return bad("Unknown parameter: 'tool_choice.function'.")
	}
	for i, one := range choice.Get("tools").Array() {
		if strings.HasPrefix(one.Get("type").Str, "web_search_") {
			return bad("Tool choice '%s' not found in 'tools' parameter: 'tool_choice.tools[%d]'.", one.Get("type").Str, i)
		}
	}
	if choice.IsObject() && choice.Get("name").Exists() && !names[choice.Get("name").Str] {
		return bad("Tool choice '%s' not found in 'tools' parameter.", choice.Get("name").Str)
	}
	if choice.Type == gjson.String && !slices.Contains([]string{"auto", "none", "required"}, choice.Str) {
		return bad("Invalid value: 'tool_choice'.")
	}
	return nil
}

// webSearchFields are what the hosted search takes, and locationFields what says where the user is.
// Source: Codex CLI's ToolSpec; OpenAI API reference, responses, web_search.
var (
	webSearchFields = []string{"type", "external_web_access", "indexed_web_access", "filters", "user_location", "search_context_size", "search_content_types"}
	locationFields  = []string{"type", "city", "country", "region", "timezone"}
)

func checkWebSearch(i int, t gjson.Result) (err error) {
	known := func(path string, fields []string) func(name, _ gjson.Result) bool {
		return func(name, _ gjson.Result) bool {
			if !slices.Contains(fields, name.Str) {
				err = bad("Unknown parameter: 'tools[%d]%s.%s'.", i, path, name.Str)
			}
			return err == nil
		}
	}
	t.ForEach(known("", webSearchFields))
	t.Get("user_location").ForEach(known(".user_location", locationFields))
	if size := t.Get("search_context_size"); err == nil && size.Exists() && !slices.Contains([]string{"low", "medium", "high"}, size.Str) {
		err = bad("Invalid value: 'tools[%d].search_context_size'.", i)
	}
	t.Get("filters").ForEach(func(name, domains gjson.Result) bool {
		if name.Str != "allowed_domains" && name.Str != "blocked_domains" {
			err = bad("Unknown parameter: 'tools[%d].filters.%s'.", i, name.Str)
		}
		for _, domain := range domains.Array() {
			if strings.ContainsAny(domain.Str, "/:") {
				err = bad("Invalid 'tools[%d].filters.%s': a domain has no scheme and no path.", i, name.Str)
			}
		}
		return err == nil
	})
	return err
}

func checkInput(items []gjson.Result) error {
	called, answered := map[string]string{}, map[string]string{}
	for i, item := range items {
		kind := item.Get("type").Str
		if kind == "" && item.Get("role").Exists() {
			kind = "message"
		}
		id := item.Get("id").Str
		if prefix := idPrefixes[kind]; id != "" && prefix != "" && !strings.HasPrefix(id, prefix) {
			return bad("Invalid 'input[%d].id': '%s'. Expected an ID that begins with '%s'.", i, id, strings.TrimSuffix(prefix, "_"))
		}
		callID := item.Get("call_id").Str
		if len(callID) > 64 || len(item.Get("name").Str) > 64 {
			return bad("Invalid 'input[%d]': string too long.", i)
		}
		if (pairs[kind] != "" || strings.HasSuffix(kind, "call_output")) && callID == "" {
			return bad("Invalid 'input[%d].call_id': empty string. Expected a string with minimum length 1, but got an empty string instead.", i)
		}
		switch kind {
		case "message":
			if err := checkMessage(i, item); err != nil {
				return err
			}
		case "function_call", "custom_tool_call":
			called[callID] = kind
		case "function_call_output", "custom_tool_call_output":
			answered[callID] = kind
			if !item.Get("output").Exists() {
				return bad("Missing required parameter: 'input[%d].output'.", i)
			}
		case "reasoning":
			if item.Get("encrypted_content").Str == "" {
				return bad("Item with id '%s' not found. Items are not persisted when `store` is set to false.", id)
			}
			if !strings.HasPrefix(item.Get("encrypted_content").Str, "gAAAA") {
				return errSealed
			}
		case "item_reference":
			return bad("Item with id '%s' not found. Items are not persisted when `store` is set to false.", id)
		case "additional_tools", "configuration_update", "web_search_call", "image_generation_call", "tool_search_call", "tool_search_output", "compaction":
		default:
			return bad("Invalid value: '%s'. Unsupported item type in 'input[%d]'.", kind, i)
		}
	}
	for id, kind := range called {
		if answered[id] != pairs[kind] {
			return bad("No tool output found for function call %s.", id)
		}
	}
	for id := range answered {
		if called[id] == "" {
			return bad("No tool call found for function call output with call_id %s.", id)
		}
	}
	return nil
}

func checkMessage(i int, item gjson.Result) error {
	role := item.Get("role").Str
	switch role {
	case "user", "developer", "assistant":
	case "system":
		return bad("System messages are not allowed")
	default:
		return bad("Invalid value: 'input[%d].role'.", i)
	}
	content := item.Get("content")
	if content.Type == gjson.String {
		return nil
	}
	for j, part := range content.Array() {
		kind := part.Get("type").Str
		ok := slices.Contains([]string{"input_text", "input_image", "input_file"}, kind)
		if role == "assistant" {
			ok = kind == "output_text" || kind == "refusal"
		}
		if !ok {
			return bad("Invalid value: '%s'. Supported values are for 'input[%d].content[%d]' of role %s.", kind, i, j, role)
		}
		if part.Get("prompt_cache_breakpoint").Exists() {
			return bad("Unknown parameter: 'input[%d].content[%d].prompt_cache_breakpoint'.", i, j)
		}
		if kind == "input_file" {
			if err := checkFile(i, j, part); err != nil {
				return err
			}
		}
		if kind == "input_image" && part.Get("image_url").Type != gjson.String {
			return bad("Invalid type for 'input[%d].content[%d].image_url': expected a string.", i, j)
		}
	}
	return nil
}

// checkFile refuses what nobody could read: an upload, since none are kept, and data that has no name or is no address.
// Source: OpenAI guide on file inputs.
func checkFile(i, j int, part gjson.Result) error {
	data, url := part.Get("file_data").Str, part.Get("file_url").Str
	_, content, ok := strings.Cut(data, ";base64,")
	switch {
	case part.Get("file_id").Exists():
		return bad("Invalid 'input[%d].content[%d].file_id': the file was not found.", i, j)
	case data == "" && !strings.HasPrefix(url, "http"):
		return bad("Missing required parameter: 'input[%d].content[%d].file_data'.", i, j)
	case data != "" && (!strings.HasPrefix(data, "data:") || !ok || content == ""):
		return bad("Invalid 'input[%d].content[%d].file_data': expected a base64-encoded data URL.", i, j)
	case data != "" && part.Get("filename").Str == "":
		return bad("Missing required parameter: 'input[%d].content[%d].filename'.", i, j)
	}
	return nil
}
