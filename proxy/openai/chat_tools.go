package openai

import (
	"encoding/json"
	"slices"
	"strconv"

	"github.com/tidwall/gjson"

	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/reply"
)

// takeTools reads tools ({"type":"function","function":{…}}, {"type":"custom",…}, hosted ones) and functions, which
// are the inner objects alone.
func (c *chatRequest) takeTools(v json.RawMessage, param string) error {
	var tools []json.RawMessage
	if json.Unmarshal(v, &tools) != nil {
		return codex.Invalid(param, "%s must be a list", param)
	}
	for i, raw := range tools {
		tool, err := c.tool(raw, param, param+"["+strconv.Itoa(i)+"]")
		if err != nil {
			return err
		}
		c.Tools = append(c.Tools, tool)
	}
	return nil
}

type functionTool struct {
	Type        string          `json:"type"`
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Parameters  json.RawMessage `json:"parameters"`
	Strict      bool            `json:"strict"` // the Responses API takes a missing one for true
}

type customTool struct {
	Type        string          `json:"type"`
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Format      json.RawMessage `json:"format,omitempty"`
}

// tool is one of the tools, which stands at path, as the Responses API has it.
func (c *chatRequest) tool(raw json.RawMessage, param, path string) (json.RawMessage, error) {
	var t struct {
		Type     string          `json:"type"`
		Function json.RawMessage `json:"function"`
		Custom   *customTool     `json:"custom"`
	}
	if json.Unmarshal(raw, &t) != nil {
		return nil, codex.Invalid(param, "each tool must be an object")
	}
	switch {
	case param == "functions":
		return c.function(raw, path)
	case t.Type == "function" && t.Function != nil:
		return c.function(t.Function, path+".function")
	case t.Type == "function": // the Responses API's flat shape
		return c.function(raw, path)
	case t.Type == "custom" && t.Custom != nil:
		return encode(customTool{"custom", c.names.Shorten(t.Custom.Name), t.Custom.Description, flatFormat(t.Custom.Format)}), nil
	}
	return codex.FixTool(raw)
}

func (c *chatRequest) function(raw json.RawMessage, path string) (_ json.RawMessage, err error) {
	f := functionTool{}
	if json.Unmarshal(raw, &f) != nil || f.Name == "" {
		return nil, codex.Invalid("tools", "a function must have a name, and parameters that are a JSON schema")
	}
	f.Type, f.Name = "function", c.names.Shorten(f.Name)
	if len(f.Parameters) == 0 || string(f.Parameters) == "null" {
		f.Parameters = json.RawMessage(`{"type":"object","properties":{}}`)
	}
	if f.Parameters, err = codex.ObjectSchema(f.Parameters, f.Strict, path+".parameters"); err != nil {
		return nil, err
	}
	return encode(f), nil
}

// flatFormat lifts {"type":"grammar","grammar":{"syntax","definition"}} to what the Responses API has.
func flatFormat(raw json.RawMessage) json.RawMessage {
	var f struct {
		Type    string `json:"type"`
		Grammar *struct {
			Syntax     string `json:"syntax"`
			Definition string `json:"definition"`
		} `json:"grammar"`
	}
	if json.Unmarshal(raw, &f) != nil || f.Grammar == nil {
		return raw
	}
	return encode(map[string]string{"type": "grammar", "syntax": f.Grammar.Syntax, "definition": f.Grammar.Definition})
}

// choice turns tool_choice, or function_call, into the Responses API's.
func (c *chatRequest) choice(v json.RawMessage) (json.RawMessage, error) {
	if v[0] == '"' {
		return v, nil
	}
	type named struct {
		Name string `json:"name"`
	}
	var t struct {
		Type     string `json:"type"`
		Name     string `json:"name"`
		Function *named `json:"function"`
		Custom   *named `json:"custom"`
		Allowed  *struct {
			Mode  string            `json:"mode"`
			Tools []json.RawMessage `json:"tools"`
		} `json:"allowed_tools"`
	}
	if json.Unmarshal(v, &t) != nil {
		return nil, codex.Invalid("tool_choice", "tool_choice must be a string or an object")
	}
	type flat struct {
		Type string `json:"type"`
		Name string `json:"name"`
	}
	switch {
	case t.Function != nil:
		return encode(flat{"function", c.names.Shorten(t.Function.Name)}), nil
	case t.Custom != nil:
		return encode(flat{"custom", c.names.Shorten(t.Custom.Name)}), nil
	case t.Allowed != nil:
		tools := []json.RawMessage{}
		for _, raw := range t.Allowed.Tools {
			one, err := c.choice(raw)
			if err != nil {
				return nil, err
			}
			tools = append(tools, one)
		}
		return encode(struct {
			Type  string            `json:"type"`
			Mode  string            `json:"mode"`
			Tools []json.RawMessage `json:"tools"`
		}{"allowed_tools", t.Allowed.Mode, tools}), nil
	case t.Name != "" && (t.Type == "" || t.Type == "function"): // legacy function_call
		return encode(flat{"function", c.names.Shorten(t.Name)}), nil
	}
	return v, nil
}

// webSearch is the backend's own search. Source: OpenAI API reference, responses, web_search; Codex CLI's ToolSpec.
type webSearch struct {
	Type     string          `json:"type"`
	Size     string          `json:"search_context_size,omitempty"`
	Location *searchLocation `json:"user_location,omitempty"`
	Filters  json.RawMessage `json:"filters,omitempty"`
}

type searchLocation struct {
	Type string `json:"type"`
	searchPlace
}

type searchPlace struct {
	City     string `json:"city,omitempty"`
	Country  string `json:"country,omitempty"`
	Region   string `json:"region,omitempty"`
	Timezone string `json:"timezone,omitempty"`
}

// takeWebSearch turns web_search_options into the hosted tool, in place of one that is among the tools.
func (c *chatRequest) takeWebSearch(v json.RawMessage) error {
	options, err := reply.Object(v)
	if err != nil {
		return codex.Invalid("web_search_options", "web_search_options must be an object")
	}
	tool := webSearch{Type: "web_search"}
	err = reply.ReadParams(&tool, options, webSearchOptions, func(name string) { c.Drop("web_search_options." + name) })
	if err != nil {
		return err
	}
	c.Tools = slices.DeleteFunc(c.Tools, func(t json.RawMessage) bool { return gjson.GetBytes(t, "type").Str == tool.Type })
	c.Tools = append(c.Tools, encode(tool))
	return nil
}

// webSearchOptions is the one table of what web_search_options may hold.
var webSearchOptions = map[string]func(*webSearch, json.RawMessage) error{
	"search_context_size": func(t *webSearch, v json.RawMessage) error {
		if json.Unmarshal(v, &t.Size) != nil || !slices.Contains([]string{"low", "medium", "high"}, t.Size) {
			return codex.Invalid("web_search_options.search_context_size", "web_search_options.search_context_size must be low, medium or high")
		}
		return nil
	},
	"user_location": func(t *webSearch, v json.RawMessage) error {
		var at struct {
			Type string `json:"type"`
			searchPlace
			Approximate *searchPlace `json:"approximate"` // where Chat Completions has what the Responses API has beside the type
		}
		if json.Unmarshal(v, &at) != nil || at.Type != "approximate" {
			return codex.Invalid("web_search_options.user_location", "web_search_options.user_location must be an object of the type approximate")
		}
		if at.Approximate != nil {
			at.searchPlace = *at.Approximate
		}
		t.Location = &searchLocation{at.Type, at.searchPlace}
		return nil
	},
	"filters": func(t *webSearch, v json.RawMessage) error { t.Filters = v; return nil },
}
