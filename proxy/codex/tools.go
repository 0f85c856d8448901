package codex

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"codex-proxy/proxy/rawjson"
)

// place returns the conversation and the tools as the upstream takes them. The public API wants functions and custom
// tools in groups or in an additional_tools item of the conversation: there, names stay as the caller wrote them, in
// both directions. A tool that the service does not have is dropped where the caller does as well without, and else an
// *Error.
// Source: developers.openai.com/siwc/preview-limitations.
func (u Upstream) place(r *Request, advice Advice) (input, tools []json.RawMessage, err error) {
	tools = r.Tools
	if !r.Native && !r.Translated { // translators fill them in
		tools = withParameters(tools)
	}
	if u.HostedTools == nil {
		return r.Input, tools, nil
	}
	p := placing{up: u, r: r, advice: advice, named: map[string]bool{}}
	tools, callable := p.sort(tools)
	input = make([]json.RawMessage, 0, len(r.Input)+1)
	if callable != nil {
		input = append(input, additionalTools(callable))
	}
	for _, item := range r.Input {
		switch rawjson.Get(item, "type").Str {
		case "tool_search_call": // of a time when the service could search; what was found stays
		case "tool_search_output":
			input = p.add(input, nil, item)
		case "additional_tools":
			input = p.add(input, item, item)
		default:
			input = append(input, item)
		}
	}
	return input, tools, p.err
}

// withParameters are the tools with an empty schema in each function that has none: OpenAI takes null, the backend does not.
// The list itself stays as it is, since the events tell it back.
func withParameters(tools []json.RawMessage) []json.RawMessage {
	tools = slices.Clone(tools)
	for i, t := range tools {
		if rawjson.Get(t, "type").Str != "function" || rawjson.Get(t, "parameters").Type != gjson.Null {
			continue
		}
		filled, err := sjson.SetRawBytes(bytes.Clone(t), "parameters", []byte(`{"type":"object","properties":{}}`))
		if err == nil {
			filled, err = fixSchema(filled, "parameters", "") // with strict, it is closed
		}
		if err == nil {
			tools[i] = filled
		}
	}
	return tools
}

// placing is what is known while a request's tools are placed.
type placing struct {
	up     Upstream
	r      *Request
	advice Advice
	named  map[string]bool // the tools that have their place
	err    error
}

// add puts the tools of an item into the conversation: as it is, when the service takes it so and there is nothing to
// change.
func (p *placing) add(input []json.RawMessage, asItIs, item json.RawMessage) []json.RawMessage {
	all := rawList(gjson.GetBytes(item, "tools"))
	hosted, callable := p.sort(all)
	kept := append(hosted, callable...)
	switch {
	case len(kept) == 0:
		return input
	case asItIs != nil && len(kept) == len(all) && !bytes.Contains(item, deferred):
		return append(input, asItIs)
	}
	return append(input, additionalTools(kept))
}

// sort parts the tools that run at the service, or are groups, from those that the caller runs.
func (p *placing) sort(all []json.RawMessage) (hosted, callable []json.RawMessage) {
	for _, t := range all {
		kind, name := gjson.GetBytes(t, "type").String(), gjson.GetBytes(t, "name").Str
		switch {
		case kind != "function" && kind != "custom" && !slices.Contains(p.up.HostedTools, kind):
			p.leaveOut(kind)
			continue
		case name != "" && p.named[name]:
			continue // a search had found it
		case kind == "function" || kind == "custom":
			callable = append(callable, undeferred(t))
		default:
			hosted = append(hosted, undeferred(t))
		}
		p.named[name] = true
	}
	return hosted, callable
}

// leaveOut drops a tool that the service does not have. A search for tools finds what is there anyway, and the Codex
// CLI brings more tools than it needs; other callers meant what they asked for.
func (p *placing) leaveOut(kind string) {
	chosen := gjson.GetBytes(p.r.ToolChoice, "type").Str == kind
	if (kind == "tool_search" || p.r.Native) && !chosen {
		p.r.Drop("tools." + kind)
		p.r.Expected = append(p.r.Expected, "tools."+kind)
	} else if p.err == nil {
		p.err = Invalid("tools", "The tool %.80q is not available with Sign in with ChatGPT. Remove it, or use a sign-in that may have it: %s", kind, p.advice.For(RemedySignInCodex))
	}
}

var deferred = []byte(`"defer_loading"`)

// undeferred is a tool that need not be searched for before it is called; in a group, each is.
func undeferred(t json.RawMessage) json.RawMessage {
	if !bytes.Contains(t, deferred) {
		return t
	}
	paths := []string{"defer_loading"}
	for i := range gjson.GetBytes(t, "tools").Array() {
		paths = append(paths, "tools."+strconv.Itoa(i)+".defer_loading")
	}
	t = bytes.Clone(t)
	for _, path := range paths {
		if out, err := sjson.DeleteBytes(t, path); err == nil {
			t = out
		}
	}
	return t
}

func additionalTools(tools []json.RawMessage) json.RawMessage {
	return mustJSON(struct {
		Type  string            `json:"type"`
		Role  string            `json:"role"`
		Tools []json.RawMessage `json:"tools"`
	}{"additional_tools", "developer", tools})
}

func rawList(list gjson.Result) []json.RawMessage {
	var out []json.RawMessage
	for _, item := range list.Array() {
		out = append(out, json.RawMessage(item.Raw))
	}
	return out
}
