package codex

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"codex-proxy/proxy/rawjson"
)

// maxCallID is the longest call_id that the backend takes, in bytes.
const maxCallID = 64

// outputKinds names, for each kind of call that must be answered, the item that answers it.
var outputKinds = map[string]string{
	"function_call":    "function_call_output",
	"custom_tool_call": "custom_tool_call_output",
	"local_shell_call": "local_shell_call_output",
	"computer_call":    "computer_call_output",
	"tool_search_call": "tool_search_output",
}

// normalizeInput makes the history one that the backend takes. It refuses whole conversations for a system message, for a call
// without its output (the user pressed Stop), for an output without its call (the context was trimmed), for a call without an
// id, and for ids of items that it never stored. What is dropped is noted.
func (r *Request) normalizeInput() error {
	called, answered := map[string]bool{}, map[string]bool{}
	var unnamed unnamedCalls
	heads := make([]itemHead, len(r.Input))
	for i, item := range r.Input {
		if len(item) == 0 || item[0] != '{' {
			return Invalid("input", "input[%d] must be an object", i)
		}
		if heads[i].made = r.Translated && bytes.HasPrefix(item, []byte(messageHead)); heads[i].made {
			unnamed.spoken = unnamed.spoken || bytes.HasPrefix(item, []byte(messageHead+`user"`))
			continue
		}
		heads[i] = headOf(item)
		unnamed.name(i, &heads[i])
		switch kind, id := heads[i].kind, heads[i].callID; {
		case strings.HasSuffix(kind, "_call") && id != "": // one that the backend answers itself has no id
			called[id] = true
		case isOutput(kind):
			answered[id] = true
		}
	}
	out := make([]json.RawMessage, 0, len(r.Input))
	for i, item := range r.Input {
		kind, id := heads[i].kind, heads[i].callID
		switch {
		case heads[i].made:
			out = append(out, item)
			continue
		case kind == "item_reference":
			return Invalid("input", "input[%d] refers to an item by id, and the ChatGPT backend stores none. Send the item itself (in OpenAI's SDKs: store false)", i)
		case kind == "reasoning":
			if !heads[i].sealed {
				continue // without it the backend looks for the item by id and does not find it
			}
			out = append(out, item)
			continue
		case isOutput(kind) && !called[id]:
			if r.Translated {
				r.Drop("tool_result")
			} else {
				r.Drop("input." + kind)
			}
			continue
		}
		item, err := fixItem(item, heads[i])
		if err != nil {
			return Invalid("input", "input[%d] can't be read", i)
		}
		if heads[i].files {
			if item, err = fixFiles(item, "input["+strconv.Itoa(i)+"]"); err != nil {
				return err
			}
		}
		out = append(out, item)
		if output := outputKinds[kind]; output != "" && !answered[id] {
			answered[id] = true
			out = append(out, mustJSON(map[string]string{"type": output, "call_id": shortID(id), "output": "aborted"}))
		}
	}
	if len(out) == 0 && len(answered) > 0 {
		return Invalid("", "The tool result answers no tool call in this conversation. Send the call as well")
	}
	r.Input = out
	if gjson.GetBytes(r.Text, "format.type").Str == "json_object" && len(out) > 0 && !saysJSON(out) {
		r.Input = slices.Insert(out, 0, Message("developer", "Answer with a JSON object."))
	}
	return nil
}

// unnamedCalls are the calls without an id that have no result yet, and the ids that they got. A result without one is of the
// oldest of its kind.
type unnamedCalls struct {
	ids    map[string][]string // by the kind of the result
	spoken bool                // by the user since the last call: with the next one, those that are open stay unanswered
}

// name gives an id to the call, or the result, of index i if it has none.
func (u *unnamedCalls) name(i int, h *itemHead) {
	if h.role == "user" {
		u.spoken = true
	}
	if h.callID != "" {
		return
	}
	switch h.kind {
	case "function_call", "custom_tool_call":
		if u.spoken || u.ids == nil {
			u.ids, u.spoken = map[string][]string{}, false
		}
		h.callID, h.named = "call_unnamed_"+strconv.Itoa(i), true
		u.ids[outputKinds[h.kind]] = append(u.ids[outputKinds[h.kind]], h.callID)
	case "function_call_output", "custom_tool_call_output":
		if open := u.ids[h.kind]; len(open) > 0 {
			h.callID, h.named = open[0], true
			u.ids[h.kind] = open[1:]
		}
	}
}

// saysJSON reports whether a conversation asks for JSON in words, which the backend wants beside the format and does not look
// for in the instructions. What follows the first question is not looked at, so that the answer stays the same from turn to
// turn, and with it the beginning of the prompt.
func saysJSON(items []json.RawMessage) bool {
	for _, item := range items {
		content := gjson.GetBytes(item, "content")
		if namesJSON(content.Str) || slices.ContainsFunc(content.Array(), func(part gjson.Result) bool { return namesJSON(part.Get("text").Str) }) {
			return true
		}
		if gjson.GetBytes(item, "role").Str == "user" {
			break
		}
	}
	return false
}

func namesJSON(text string) bool { return strings.Contains(strings.ToLower(text), "json") }

func isOutput(kind string) bool {
	return strings.HasSuffix(kind, "_output")
}

// itemHead is what decides about an item.
type itemHead struct {
	made               bool // by a translator: nothing else is known, and there is nothing to mend
	kind, role, callID string
	named              bool // callID is ours
	id                 bool // it has one
	sealed             bool // it has encrypted content
	files, breakpoints bool // there may be some in its parts
}

// headOf reads it.
func headOf(item json.RawMessage) (h itemHead) {
	rawjson.Each(item, func(name string, value json.RawMessage) bool {
		switch name {
		case "type":
			h.kind = rawjson.Text(value)
		case "role":
			h.role = rawjson.Text(value)
		case "call_id":
			h.callID = rawjson.Text(value)
		case "id":
			h.id = true
		case "encrypted_content":
			h.sealed = rawjson.IsString(value) && len(value) > 2
		}
		return true
	})
	rawjson.Strings(item, func(s []byte) bool {
		switch string(s) {
		case `"input_file"`, `"file_id"`:
			h.files = true
		case `"prompt_cache_breakpoint"`:
			h.breakpoints = true
		}
		return true
	})
	return h
}

// fixItem mends one item: its role, its ids, and fields inside its parts that the backend refuses.
func fixItem(item json.RawMessage, head itemHead) (json.RawMessage, error) {
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
	if (head.kind == "" || head.kind == "message") && head.role == "system" {
		edit("role", "developer")
	}
	if head.id {
		edit("id", nil)
	}
	if len(head.callID) > maxCallID || head.named {
		edit("call_id", shortID(head.callID))
	}
	if head.breakpoints {
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
