package anthropic

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"codex-proxy/proxy/codex"
)

// tool is one that a caller offers. Source: Anthropic API reference, messages, tools.
type tool struct {
	Type        string          `json:"type"`
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Schema      json.RawMessage `json:"input_schema"`

	Strict   bool            `json:"strict"`
	Deferred bool            `json:"defer_loading"`
	Callers  json.RawMessage `json:"allowed_callers"`
	Examples json.RawMessage `json:"input_examples"`

	// Of a web search.
	MaxUses  int       `json:"max_uses"`
	Allowed  []string  `json:"allowed_domains"`
	Blocked  []string  `json:"blocked_domains"`
	Location *location `json:"user_location"`

	// Of a screen, in pixels.
	Width  int `json:"display_width_px"`
	Height int `json:"display_height_px"`
}

// location is where a user is, in both APIs.
type location struct {
	Type     string `json:"type"`
	City     string `json:"city,omitempty"`
	Country  string `json:"country,omitempty"`
	Region   string `json:"region,omitempty"`
	Timezone string `json:"timezone,omitempty"`
}

type functionTool struct {
	Type        string          `json:"type"`
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Parameters  json.RawMessage `json:"parameters"`
	Strict      bool            `json:"strict"`
}

// searchTool is the backend's own search. Source: OpenAI API reference, responses, web search.
type searchTool struct {
	Type     string         `json:"type"`
	Filters  *searchFilters `json:"filters,omitempty"`
	Location *location      `json:"user_location,omitempty"`
}

type searchFilters struct {
	Allowed []string `json:"allowed_domains,omitempty"`
	Blocked []string `json:"blocked_domains,omitempty"`
}

// includeSources asks for what a search has found.
const includeSources = "web_search_call.action.sources"

// clientTools are Anthropic's tools that the caller runs: Claude knows their parameters without being told, other models
// are told them here. Source: platform.claude.com/docs, agents and tools.
var clientTools = map[string]struct{ description, schema string }{
	"bash": {"Runs a command in a shell that lives on between calls, and returns what it prints.",
		`{"type":"object","properties":{"command":{"type":"string","description":"The command to run"},"restart":{"type":"boolean","description":"Start a new shell instead of running a command"}}}`},
	"text_editor": {"Views and edits text files.",
		`{"type":"object","properties":{"command":{"type":"string","enum":["view","create","str_replace","insert"]},"path":{"type":"string","description":"The file, or the folder to list"},` +
			`"view_range":{"type":"array","items":{"type":"integer"},"description":"For view: the first line and the last, from 1; -1 is the end"},"file_text":{"type":"string","description":"For create: the whole file"},` +
			`"old_str":{"type":"string","description":"For str_replace: the text to replace, which must be in the file exactly once"},"new_str":{"type":"string","description":"For str_replace: what to put in its place"},` +
			`"insert_line":{"type":"integer","description":"For insert: the line after which to insert; 0 is the beginning"},"insert_text":{"type":"string","description":"For insert: the text"}},"required":["command","path"]}`},
	"memory": {"Keeps notes in files under /memories from one conversation to the next. View the folder before other work.",
		`{"type":"object","properties":{"command":{"type":"string","enum":["view","create","str_replace","insert","delete","rename"]},"path":{"type":"string","description":"The file or folder; for rename use old_path and new_path"},` +
			`"view_range":{"type":"array","items":{"type":"integer"}},"file_text":{"type":"string"},"old_str":{"type":"string"},"new_str":{"type":"string"},"insert_line":{"type":"integer"},"insert_text":{"type":"string"},` +
			`"old_path":{"type":"string"},"new_path":{"type":"string"}},"required":["command"]}`},
	"computer": {"Uses the mouse and the keyboard of a computer, and takes pictures of its screen.",
		`{"type":"object","properties":{"action":{"type":"string","enum":["screenshot","left_click","right_click","middle_click","double_click","triple_click","left_click_drag","left_mouse_down","left_mouse_up","mouse_move","cursor_position","scroll","type","key","hold_key","wait"]},` +
			`"coordinate":{"type":"array","items":{"type":"integer"},"description":"x and y in pixels from the upper left"},"start_coordinate":{"type":"array","items":{"type":"integer"},"description":"For left_click_drag: where it begins"},` +
			`"text":{"type":"string","description":"What to type, the keys to press, such as ctrl+s, or keys to hold during a click"},"scroll_direction":{"type":"string","enum":["up","down","left","right"]},"scroll_amount":{"type":"integer"},` +
			`"duration":{"type":"number","description":"Seconds, for hold_key and wait"}},"required":["action"]}`},
}

// toolsets are the caller's own, too, but more than one tool each.
var toolsets = []string{"computer_toolset", "browser_toolset"}

var toolVersion = regexp.MustCompile(`_\d{8}$`)

func (r *request) takeTools(v json.RawMessage) error {
	var tools []tool
	if json.Unmarshal(v, &tools) != nil {
		return codex.Invalid("tools", "tools must be a list of objects with a name")
	}
	for i, t := range tools {
		if err := r.addTool(fmt.Sprintf("tools.%d", i), t); err != nil {
			return err
		}
	}
	return nil
}

// addTool offers a tool, which stands at a path of the request, to the model. One that runs at Anthropic is left out, except for the search, which the backend
// has as well.
func (r *request) addTool(at string, t tool) error {
	kind := toolVersion.ReplaceAllString(t.Type, "")
	own, known := clientTools[kind]
	switch {
	case kind == "" || kind == "custom" || len(t.Schema) > 0:
		if t.Name == "" {
			return codex.Invalid("tools", "each tool must have a name")
		}
		return r.addFunction(at, t)
	case kind == "web_search":
		r.addSearch(t)
	case known:
		t.Description, t.Schema = own.description, json.RawMessage(own.schema)
		if t.Width > 0 && t.Height > 0 {
			t.Description += fmt.Sprintf(" The screen is %d pixels wide and %d high.", t.Width, t.Height)
		}
		t.Name = cmp.Or(t.Name, kind)
		return r.addFunction(at, t)
	case slices.Contains(toolsets, kind):
		return codex.Invalid("tools", "The tools of %q are known to Anthropic's models only. Offer each with a name and an input_schema", t.Type)
	default:
		r.Drop("tools." + t.Type)
		r.lacking = append(r.lacking, t.Name)
	}
	return nil
}

func (r *request) addFunction(at string, t tool) error {
	if len(t.Schema) == 0 || string(t.Schema) == "null" {
		t.Schema = json.RawMessage(`{"type":"object","properties":{}}`)
	}
	for _, field := range []struct {
		name  string
		there bool
	}{{"allowed_callers", len(t.Callers) > 0}, {"defer_loading", t.Deferred}, {"input_examples", len(t.Examples) > 0}, {"strict", t.Strict}} {
		if field.there {
			r.Drop("tools." + field.name)
		}
	}
	schema, err := codex.ObjectSchema(t.Schema, false, at+".input_schema")
	if err != nil {
		return err
	}
	name := r.names.Shorten(t.Name)
	r.offered[name] = true
	r.Tools = append(r.Tools, encode(functionTool{"function", name, t.Description, schema, false}))
	return nil
}

func (r *request) addSearch(t tool) {
	s := searchTool{Type: "web_search", Location: t.Location}
	if t.Allowed, t.Blocked = r.hosts("allowed_domains", t.Allowed), r.hosts("blocked_domains", t.Blocked); len(t.Allowed)+len(t.Blocked) > 0 {
		s.Filters = &searchFilters{t.Allowed, t.Blocked}
	}
	if t.MaxUses > 0 {
		r.Drop("tools.web_search.max_uses")
	}
	r.search = cmp.Or(t.Name, "web_search")
	r.Tools = append(r.Tools, encode(s))
	r.Include = append(r.Include, includeSources)
}

// hosts are domains as the backend takes them: Anthropic's may go on with a path.
func (r *request) hosts(field string, domains []string) []string {
	for i, domain := range domains {
		host, _, path := strings.Cut(domain, "/")
		if domains[i] = host; path {
			r.Drop("tools.web_search." + field)
		}
	}
	return domains
}

// choice is a caller's tool_choice.
type choice struct {
	Type     string `json:"type"`
	Name     string `json:"name"`
	Parallel *bool  `json:"disable_parallel_tool_use"`
}

func (r *request) takeChoice(v json.RawMessage) error {
	if json.Unmarshal(v, &r.choice) != nil {
		return codex.Invalid("tool_choice", "tool_choice must be an object with a type")
	}
	return nil
}

// choose says which tool is to be called, once all are known.
func (r *request) choose() error {
	switch c := r.choice; {
	case c.Type == "":
	case c.Type == "auto", c.Type == "none":
		r.ToolChoice = encode(c.Type)
	case c.Type != "any" && c.Type != "tool":
		return codex.Invalid("tool_choice", "tool_choice.type must be auto, any, tool or none")
	case c.Type == "tool" && slices.Contains(r.lacking, c.Name):
		return codex.Invalid("tool_choice", "The tool %q runs at Anthropic and is not available with a ChatGPT plan. Offer a tool of your own", c.Name)
	case len(r.Tools) == 0:
		r.Drop("tool_choice")
	case c.Type == "any", r.search != "" && c.Name == r.search && len(r.Tools) == 1:
		r.ToolChoice = json.RawMessage(`"required"`)
	case r.search != "" && c.Name == r.search:
		r.ToolChoice = json.RawMessage(`{"type":"web_search"}`)
	default:
		r.ToolChoice = encode(map[string]string{"type": "function", "name": r.names.Shorten(c.Name)})
	}
	if r.choice.Parallel != nil {
		r.ParallelToolCalls = encode(!*r.choice.Parallel)
	}
	return nil
}
