package codex

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"
)

// maxCallID is the longest call_id that the backend takes, in bytes.
const maxCallID = 64

// outputKinds names, for each kind of call, the item that answers it.
var outputKinds = map[string]string{
	"function_call":    "function_call_output",
	"custom_tool_call": "custom_tool_call_output",
	"local_shell_call": "local_shell_call_output",
	"computer_call":    "computer_call_output",
	"tool_search_call": "tool_search_output",
}

// normalizeInput makes the history one that the backend takes. It refuses whole conversations for a system message, for a call
// without its output (the user pressed Stop), for an output without its call (the context was trimmed), and for ids of
// items that it never stored.
func (r *Request) normalizeInput() error {
	called, answered := map[string]bool{}, map[string]bool{}
	for _, item := range r.Input {
		switch kind := gjson.GetBytes(item, "type").Str; {
		case outputKinds[kind] != "":
			called[gjson.GetBytes(item, "call_id").Str] = true
		case isOutput(kind):
			answered[gjson.GetBytes(item, "call_id").Str] = true
		}
	}
	out := make([]json.RawMessage, 0, len(r.Input))
	for i, item := range r.Input {
		if len(item) == 0 || item[0] != '{' {
			return Invalid("input", "input[%d] must be an object", i)
		}
		kind := gjson.GetBytes(item, "type").Str
		id := gjson.GetBytes(item, "call_id").Str
		switch {
		case kind == "item_reference":
			return Invalid("input", "input[%d] refers to an item by id, and the ChatGPT backend stores none. Send the item itself (in OpenAI's SDKs: store false)", i)
		case kind == "reasoning":
			if gjson.GetBytes(item, "encrypted_content").Str == "" {
				continue // without it the backend looks for the item by id and does not find it
			}
			out = append(out, item)
			continue
		case isOutput(kind) && !called[id]:
			continue
		}
		item, err := r.fixItem(item, kind)
		if err != nil {
			return Invalid("input", "input[%d] can't be read", i)
		}
		out = append(out, item)
		if output := outputKinds[kind]; output != "" && !answered[id] {
			answered[id] = true
			out = append(out, mustJSON(map[string]string{"type": output, "call_id": shortID(id), "output": "aborted"}))
		}
	}
	r.Input = out
	return nil
}

func isOutput(kind string) bool {
	return strings.HasSuffix(kind, "_output")
}

// fixItem mends one item: its role, its ids, and fields inside its parts that the backend refuses.
func (r *Request) fixItem(item json.RawMessage, kind string) (json.RawMessage, error) {
	var err error
	edit := func(path string, value any) {
		if err != nil {
			return
		}
		if value == nil {
			item, err = sjson.DeleteBytes(bytes.Clone(item), path)
		} else {
			item, err = sjson.SetBytes(bytes.Clone(item), path, value)
		}
	}
	if (kind == "" || kind == "message") && gjson.GetBytes(item, "role").Str == "system" {
		edit("role", "developer")
	}
	if gjson.GetBytes(item, "id").Exists() {
		edit("id", nil)
	}
	if id := gjson.GetBytes(item, "call_id").Str; len(id) > maxCallID {
		edit("call_id", shortID(id))
	}
	if bytes.Contains(item, []byte(`"prompt_cache_breakpoint"`)) {
		if parts, changed := withoutBreakpoints(gjson.GetBytes(item, "content").Array()); changed && err == nil {
			item, err = sjson.SetRawBytes(bytes.Clone(item), "content", parts)
		}
	}
	return item, err
}

// withoutBreakpoints is a list of parts without a field that the backend refuses, written once however many have it.
func withoutBreakpoints(parts []gjson.Result) (list []byte, changed bool) {
	list = []byte("[")
	for i, part := range parts {
		if i > 0 {
			list = append(list, ',')
		}
		raw := part.Raw
		if part.Get("prompt_cache_breakpoint").Exists() {
			if out, err := sjson.Delete(raw, "prompt_cache_breakpoint"); err == nil {
				raw, changed = out, true
			}
		}
		list = append(list, raw...)
	}
	return append(list, ']'), changed
}

// shortID is id, or where that is too long another one that stands for it, the same each time.
func shortID(id string) string {
	if len(id) <= maxCallID {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return "call_" + hex.EncodeToString(sum[:16])
}
