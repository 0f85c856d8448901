package gemini

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/reply"
)

// function is a tool that the caller runs.
type function struct {
	Type        string          `json:"type"`
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Parameters  json.RawMessage `json:"parameters"`
	Strict      bool            `json:"strict"`
}

var noParameters = json.RawMessage(`{"type":"object","properties":{}}`)

// callingConfig is a toolConfig's functionCallingConfig.
type callingConfig struct {
	mode    string
	allowed []string
}

// takeTools reads the tools, each of which may be several. A search is the backend's own, which also opens pages.
func (r *request) takeTools(v json.RawMessage) error {
	list := gjson.ParseBytes(v)
	if !list.IsArray() {
		return codex.Invalid("tools", "tools must be a list of objects")
	}
	search := false
	for _, tool := range list.Array() {
		var err error
		each(tool, func(name string, v gjson.Result) {
			switch name {
			case "functionDeclarations":
				for _, f := range v.Array() {
					if e := r.takeFunction(f); err == nil {
						err = e
					}
				}
			case "googleSearch", "googleSearchRetrieval", "enterpriseWebSearch", "urlContext":
				search = true
			default:
				if err == nil {
					err = codex.Invalid("tools", "The tool %.80q is one of Google's own and is not available with a ChatGPT plan. Remove it, or declare a function of your own", name)
				}
			}
		})
		if err != nil {
			return err
		}
	}
	if search {
		r.Tools = append(r.Tools, json.RawMessage(`{"type":"web_search"}`))
	}
	return nil
}

func (r *request) takeFunction(declaration gjson.Result) error {
	f := function{Type: "function", Parameters: noParameters}
	var err error
	each(declaration, func(name string, v gjson.Result) {
		switch name {
		case "name":
			f.Name = v.String()
		case "description":
			f.Description = v.String()
		case "parameters":
			if v.IsObject() {
				f.Parameters, err = jsonSchema(v, 0)
			}
		case "parametersJsonSchema":
			if v.IsObject() {
				f.Parameters = json.RawMessage(v.Raw)
			}
		}
	})
	if err == nil && f.Name == "" {
		err = codex.Invalid("tools", "each function must have a name")
	}
	if err == nil {
		f.Parameters, err = codex.ObjectSchema(f.Parameters, false, fmt.Sprintf("tools.functionDeclarations[%d].parameters", len(r.functions)))
	}
	r.functions = append(r.functions, f)
	return err
}

func (r *request) takeToolConfig(v json.RawMessage) error {
	each(gjson.ParseBytes(v), func(name string, config gjson.Result) {
		if name != "functionCallingConfig" {
			r.Drop("toolConfig." + name)
			return
		}
		each(config, func(name string, v gjson.Result) {
			switch name {
			case "mode":
				r.choice.mode = strings.ToUpper(v.String())
			case "allowedFunctionNames":
				for _, allowed := range v.Array() {
					r.choice.allowed = append(r.choice.allowed, allowed.String())
				}
			default:
				r.Drop("toolConfig.functionCallingConfig." + name)
			}
		})
	})
	return nil
}

// placeTools sends up the functions that may be called: the backend knows no list of allowed ones among others.
func (r *request) placeTools() error {
	allowed := map[string]bool{}
	for _, name := range r.choice.allowed {
		allowed[name] = true
	}
	var callable []json.RawMessage
	for _, f := range r.functions {
		if len(allowed) > 0 && !allowed[f.Name] {
			continue
		}
		f.Name = r.names.Shorten(f.Name)
		callable = append(callable, reply.Encode(f))
	}
	r.Tools = append(callable, r.Tools...)
	switch mode := r.choice.mode; {
	case len(allowed) > 0 && len(callable) == 0:
		return codex.Invalid("toolConfig", "No function that toolConfig allows is declared in tools")
	case mode == "NONE":
		r.ToolChoice = json.RawMessage(`"none"`)
	case mode == "ANY" && len(callable) == 0:
		return codex.Invalid("toolConfig", "toolConfig wants a function to be called, and tools declares none")
	case mode == "ANY" && len(callable) == 1:
		r.ToolChoice = reply.Encode(map[string]string{"type": "function", "name": gjson.GetBytes(callable[0], "name").Str})
	case mode == "ANY":
		r.ToolChoice = json.RawMessage(`"required"`)
	case !slices.Contains([]string{"", "AUTO", "VALIDATED", "MODE_UNSPECIFIED"}, mode):
		return codex.Invalid("toolConfig", "functionCallingConfig.mode must be AUTO, ANY, NONE or VALIDATED")
	}
	return nil
}
