package connect

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"codex-proxy/internal/atomicfile"
)

// System is the machine that tools are looked for on. Its fields are set before use.
type System struct {
	OS   string // as runtime.GOOS
	Home string
	// Config is where programs of the command line keep their settings: ~/.config.
	Config string
	Getenv func(string) string
	// Look finds a program by its name, as exec.LookPath does.
	Look func(string) (string, error)
}

// folder is where a tool keeps its settings: what a variable says, else the place below the home folder.
func (s System) folder(variable string, parts ...string) string {
	if dir := s.Getenv(variable); variable != "" && dir != "" {
		if path, err := filepath.Abs(dir); err == nil {
			return path
		}
		return dir
	}
	return filepath.Join(append([]string{s.Home}, parts...)...)
}

// data is where programs with windows keep their settings.
func (s System) data(parts ...string) string {
	base := s.Config
	switch s.OS {
	case "darwin":
		base = filepath.Join(s.Home, "Library", "Application Support")
	case "windows":
		base = filepath.Join(s.Home, "AppData", "Roaming")
		if dir := s.Getenv("APPDATA"); dir != "" {
			base = dir
		}
	}
	return filepath.Join(append([]string{base}, parts...)...)
}

// Tool is a program that can be pointed at the proxy: an entry of the table.
type Tool struct {
	ID   string // as commands name it
	Name string // as people do
	// Recipe is what to paste where there is no file to write, with {ROOT}, {MODEL}, {PORT} and {KEY}.
	Recipe string
	// Where says where to paste it, or what else is to be done after connecting; may be empty.
	Where string
	// Route is where it asks; /v1/chat/completions when empty.
	Route string

	programs []string // any of these means that it is installed
	places   func(System) []string
	files    func(System) []file         // nil when there is none to write
	head     []Set                       // with what the first file begins where it says nothing yet
	launch   func(System, Target) launch // nil when it can't be started without writing
}

// HasFile reports whether the tool has settings that can be written.
func (t Tool) HasFile() bool { return t.files != nil }

// CanRun reports whether the tool can be started pointed at the proxy.
func (t Tool) CanRun() bool { return t.launch != nil }

// Text is the recipe for a target.
func (t Tool) Text(target Target) string { return target.Fill(t.Recipe) }

func (t Tool) found(s System) bool {
	for _, program := range t.programs {
		if _, err := s.Look(program); err == nil {
			return true
		}
	}
	if t.places == nil {
		return false
	}
	return slices.ContainsFunc(t.places(s), func(path string) bool {
		_, err := os.Stat(path)
		return err == nil
	})
}

// file is a settings file and the keys that it gets.
type file struct {
	path   string
	format string // of formats
	sets   []Set
}

var formats = map[string]format{"json": jsonFormat{}, "toml": tomlFormat{}, "yaml": yamlFormat{}}

// first is the first of the paths that is there, else the last of all.
func first(paths ...string) string {
	for _, path := range paths {
		if _, err := os.Lstat(path); err == nil {
			return path
		}
	}
	return paths[len(paths)-1]
}

// text is a value that is a string.
func text(s string) string { return `"` + s + `"` }

// provider is the name under which tools list the proxy.
const provider = "codex-proxy"

// Tools is the table, the most used first. Sources: docs/clients.md names those that are tried with every release; the
// others follow the tools' own documentation.
func Tools() []Tool {
	return []Tool{
		{
			ID: "claude", Name: "Claude Code", Route: "/v1/messages", programs: []string{"claude"},
			places: func(s System) []string { return []string{s.folder("CLAUDE_CONFIG_DIR", ".claude")} },
			files: func(s System) []file {
				path := filepath.Join(s.folder("CLAUDE_CONFIG_DIR", ".claude"), "settings.json")
				var sets []Set
				for _, variable := range claudeVariables {
					name, value, _ := strings.Cut(variable, "=")
					sets = append(sets, Set{[]string{"env", name}, text(value)})
				}
				said := saidIn(path)
				for _, name := range claudeClouds { // what the file says of the environment wins over that
					if set := (Set{[]string{"env", name}, text("0")}); said(set) || s.Getenv(name) != "" {
						sets = append(sets, set)
					}
				}
				return []file{{path, "json", sets}}
			},
			launch: launchClaude,
		},
		{
			ID: "codex", Name: "Codex CLI", Route: "/v1/responses", programs: []string{"codex"},
			places: func(s System) []string { return []string{s.folder("CODEX_HOME", ".codex")} },
			files: func(s System) []file {
				table := func(key, value string) Set {
					return Set{[]string{"model_providers", provider, key}, value}
				}
				return []file{{filepath.Join(s.folder("CODEX_HOME", ".codex"), "config.toml"), "toml", []Set{
					{[]string{"model_provider"}, text(provider)},
					{[]string{"model"}, text("{MODEL}")},
					table("name", text("ChatGPT by Codex Proxy")),
					table("base_url", text("{ROOT}/v1")),
					table("wire_api", text("responses")),
					table("supports_websockets", "true"),
					table("experimental_bearer_token", text("{KEY}")),
				}}}
			},
			launch: launchCodex,
		},
		{
			ID: "opencode", Name: "opencode", programs: []string{"opencode"},
			places: func(s System) []string { return []string{filepath.Join(s.Config, "opencode")} },
			files: func(s System) []file {
				return openCodeFiles(s, "opencode")
			},
			launch: launchOpenCode("opencode", "OPENCODE_CONFIG_CONTENT"),
		},
		{
			ID: "qwen", Name: "Qwen Code", programs: []string{"qwen"},
			Where:  "Variables such as OPENAI_BASE_URL win over this, also those in ~/.qwen/.env: take them out, if there are any",
			places: func(s System) []string { return []string{s.folder("QWEN_HOME", ".qwen")} },
			files: func(s System) []file {
				path := filepath.Join(s.folder("QWEN_HOME", ".qwen"), "settings.json")
				sets := []Set{
					{[]string{"security", "auth", "selectedType"}, text("openai")},
					{[]string{"security", "auth", "apiKey"}, text("{KEY}")},
					{[]string{"security", "auth", "baseUrl"}, text("{ROOT}/v1")},
					{[]string{"model", "name"}, text("{MODEL}")},
				}
				said := saidIn(path)
				for _, set := range []Set{ // what the file says of the environment wins over these, but not over the environment
					{[]string{"env", "OPENAI_API_KEY"}, text("{KEY}")}, {[]string{"env", "OPENAI_BASE_URL"}, text("{ROOT}/v1")}, {[]string{"env", "OPENAI_MODEL"}, text("{MODEL}")},
				} {
					if said(set) {
						sets = append(sets, set)
					}
				}
				return []file{{path, "json", sets}}
			},
			launch: launchQwen,
		},
		{
			ID: "gemini", Name: "Gemini CLI", Route: "/v1beta/models", programs: []string{"gemini"},
			places: func(s System) []string { return []string{s.folder("GEMINI_CLI_HOME", ".gemini")} },
			Recipe: "GOOGLE_GEMINI_BASE_URL={ROOT}\nGEMINI_API_KEY={KEY}\nGEMINI_MODEL={MODEL}",
			Where:  "In ~/.gemini/.env, or in the environment. Choose Use Gemini API Key under /auth",
		},
		{
			ID: "vscode", Name: "VS Code", Route: "/v1/responses", programs: []string{"code", "code-insiders"},
			places: func(s System) []string { return []string{s.data("Code", "User"), s.data("Code - Insiders", "User")} },
			files: func(s System) []file {
				folder := first(s.data("Code", "User"), s.data("Code - Insiders", "User"), s.data("Code", "User"))
				// Copilot's small jobs, such as titles, go where the chat goes, instead of to GitHub.
				settings := file{filepath.Join(folder, "settings.json"), "json", []Set{{[]string{"chat.byokUtilityModelDefault"}, text("mainAgent")}}}
				return []file{settings, {filepath.Join(folder, "chatLanguageModels.json"), "json", []Set{{[]string{"[name=ChatGPT by Codex Proxy]"},
					`{"name":"ChatGPT by Codex Proxy","vendor":"customendpoint","apiKey":"{KEY}","apiType":"responses","models":[{"id":"{MODEL}","name":"{MODEL}","url":"{ROOT}/v1/responses","toolCalling":true,"vision":true,"maxInputTokens":240000,"maxOutputTokens":32000}]}`}}}}
			},
			Where: "Choose the model in the chat's list of models. Restart VS Code if it is not there",
		},
		{
			ID: "jetbrains", Name: "JetBrains", Recipe: "{ROOT}/v1", Where: "Settings, Tools, AI Assistant, Providers & API keys, OpenAI-compatible. Any text will do as the key",
			places: func(s System) []string { return []string{s.data("JetBrains")} },
		},
		{
			ID: "zed", Name: "Zed", programs: []string{"zed", "zeditor"},
			places: func(s System) []string { return []string{filepath.Join(zedFolder(s))} },
			files: func(s System) []file {
				return []file{{filepath.Join(zedFolder(s), "settings.json"), "json", []Set{{[]string{"language_models", "openai_compatible", provider},
					`{"api_url":"{ROOT}/v1","available_models":[{"name":"{MODEL}","max_tokens":272000,"max_output_tokens":32000,"capabilities":{"tools":true,"images":true,"parallel_tool_calls":true,"prompt_cache_key":true}}]}`}}}}
			},
			Where: "Choose the model in the agent's panel. Zed keeps keys in the system's keychain: type one into the provider's field, any text while the proxy asks for none",
		},
		{
			ID: "xcode", Name: "Xcode", Recipe: "{PORT}", Where: "Settings, Intelligence, Add a Chat Provider, Locally Hosted: this port",
			places: func(s System) []string {
				if s.OS != "darwin" {
					return nil
				}
				return []string{"/Applications/Xcode.app"}
			},
		},
		{
			ID: "continue", Name: "Continue", programs: []string{"cn"},
			places: func(s System) []string { return []string{s.folder("CONTINUE_GLOBAL_DIR", ".continue")} },
			files: func(s System) []file {
				return []file{{filepath.Join(s.folder("CONTINUE_GLOBAL_DIR", ".continue"), "config.yaml"), "yaml", []Set{
					{[]string{"models", "[name=ChatGPT by Codex Proxy]"}, continueModel},
				}}}
			},
			head:   []Set{{[]string{"name"}, text("ChatGPT by Codex Proxy")}, {[]string{"version"}, text("1.0.0")}, {[]string{"schema"}, text("v1")}},
			launch: launchContinue,
			Where:  "Choose the model in Continue's list of models",
		},
		{
			ID: "cline", Name: "Cline", programs: []string{"cline"},
			places: func(s System) []string { return []string{filepath.Join(s.Home, ".cline")} },
			files: func(s System) []file {
				return []file{{filepath.Join(s.folder("CLINE_DATA_DIR", ".cline", "data"), "settings", "providers.json"), "json", []Set{
					{[]string{"version"}, "1"},
					{[]string{"lastUsedProvider"}, text("openai-compatible")},
					{[]string{"providers", "openai-compatible"}, clineProvider},
				}}}
			},
			launch: launchCline,
			Where:  "The extension of VS Code keeps its settings elsewhere: provider OpenAI Compatible, base URL {ROOT}/v1",
		},
		{
			ID: "kilo", Name: "Kilo", programs: []string{"kilo"},
			places: func(s System) []string { return []string{filepath.Join(s.Config, "kilo")} },
			files: func(s System) []file {
				return openCodeFiles(s, "kilo")
			},
			launch: launchOpenCode("kilo", "KILO_CONFIG_CONTENT"),
		},
		{
			ID: "pi", Name: "pi", programs: []string{"pi"},
			places: func(s System) []string { return []string{s.folder("PI_CODING_AGENT_DIR", ".pi", "agent")} },
			files: func(s System) []file {
				folder := s.folder("PI_CODING_AGENT_DIR", ".pi", "agent")
				return []file{
					{filepath.Join(folder, "models.json"), "json", []Set{{[]string{"providers", provider},
						`{"baseUrl":"{ROOT}/v1","api":"openai-responses","apiKey":"{KEY}","models":[` + piModel + `]}`}}},
					{filepath.Join(folder, "settings.json"), "json", []Set{{[]string{"defaultProvider"}, text(provider)}, {[]string{"defaultModel"}, text("{MODEL}")}}},
				}
			},
			launch: launchPi,
		},
		{
			ID: "raycast", Name: "Raycast",
			places: func(s System) []string {
				return []string{filepath.Join(s.Config, "raycast"), "/Applications/Raycast.app"}
			},
			files: func(s System) []file {
				return []file{{filepath.Join(s.Config, "raycast", "ai", "providers.yaml"), "yaml", []Set{{[]string{"providers", "[id=codex-proxy]"},
					`{"id":"codex-proxy","name":"ChatGPT by Codex Proxy","base_url":"{ROOT}/v1","api_keys":{"openai":"{KEY}"},"models":[{"id":"{MODEL}","name":"{MODEL}","provider":"openai","context":272000,"abilities":{"tools":{"supported":true},"vision":{"supported":true},"temperature":{"supported":false}}}]}`}}}}
			},
		},
		{
			ID: "obsidian", Name: "Obsidian", Recipe: "{ROOT}/v1", Where: "Copilot, Add Custom Model, OpenAI Format, Base URL",
			programs: []string{"obsidian"}, places: func(s System) []string { return []string{s.data("obsidian")} },
		},
		{
			ID: "open-webui", Name: "Open WebUI", Recipe: "{ROOT}/v1", Where: "Admin, Settings, Connections, OpenAI API", programs: []string{"open-webui"},
		},
		{
			ID: "aider", Name: "aider", programs: []string{"aider"},
			places: func(s System) []string { return []string{filepath.Join(s.Home, ".aider.conf.yml")} },
			files: func(s System) []file {
				return []file{{filepath.Join(s.Home, ".aider.conf.yml"), "yaml", []Set{
					{[]string{"openai-api-base"}, text("{ROOT}/v1")}, {[]string{"openai-api-key"}, text("{KEY}")}, {[]string{"model"}, text("openai/{MODEL}")},
				}}}
			},
			launch: launchAider,
		},
		{
			ID: "llm", Name: "llm", programs: []string{"llm"},
			places: func(s System) []string { return []string{llmFolder(s)} },
			files: func(s System) []file {
				return []file{
					{filepath.Join(llmFolder(s), "extra-openai-models.yaml"), "yaml", []Set{{[]string{"[model_id=codex-proxy]"},
						`{"model_id":"codex-proxy","model_name":"{MODEL}","api_base":"{ROOT}/v1","api_key_name":"codex-proxy","vision":true,"supports_schema":true,"supports_tools":true}`}}},
					{filepath.Join(llmFolder(s), "keys.json"), "json", []Set{{[]string{provider}, text("{KEY}")}}},
				}
			},
			Where: "Use it with: llm -m codex-proxy",
		},
		{
			ID: "goose", Name: "Goose", programs: []string{"goose"},
			places: func(s System) []string { return []string{gooseFolder(s)} },
			files: func(s System) []file {
				return []file{
					{filepath.Join(gooseFolder(s), "custom_providers", "codex_proxy.json"), "json", []Set{
						{[]string{"name"}, text("codex_proxy")}, {[]string{"engine"}, text("openai")}, {[]string{"display_name"}, text("ChatGPT by Codex Proxy")},
						{[]string{"api_key_env"}, text("")}, {[]string{"requires_auth"}, "false"}, {[]string{"base_url"}, text("{ROOT}/v1/chat/completions")},
						{[]string{"models"}, `[{"name":"{MODEL}","context_limit":272000}]`}, {[]string{"headers"}, `{"Authorization":"Bearer {KEY}"}`}, {[]string{"supports_streaming"}, "true"},
					}},
					{filepath.Join(gooseFolder(s), "config.yaml"), "yaml", []Set{{[]string{"GOOSE_PROVIDER"}, text("codex_proxy")}, {[]string{"GOOSE_MODEL"}, text("{MODEL}")}}},
				}
			},
			launch: launchGoose,
		},
		{
			ID: "crush", Name: "Crush", programs: []string{"crush"},
			places: func(s System) []string { return []string{crushConfig(s), crushData(s)} },
			files: func(s System) []file {
				return []file{
					{filepath.Join(crushConfig(s), "crush.json"), "json", []Set{
						{[]string{"providers", provider}, `{"name":"ChatGPT by Codex Proxy","type":"openai-compat","base_url":"{ROOT}/v1","api_key":"{KEY}","models":[{"id":"{MODEL}","name":"{MODEL}","context_window":272000,"default_max_tokens":32000,"can_reason":true,"supports_attachments":true}]}`},
					}},
					{filepath.Join(crushData(s), "crush.json"), "json", []Set{
						{[]string{"models", "large"}, `{"provider":"codex-proxy","model":"{MODEL}"}`},
						{[]string{"models", "small"}, `{"provider":"codex-proxy","model":"{MODEL}"}`},
					}},
				}
			},
		},
	}
}

// Named is the tool of an id.
func Named(id string) (Tool, bool) {
	for _, t := range Tools() {
		if t.ID == id {
			return t, true
		}
	}
	return Tool{}, false
}

// claudeVariables point Claude Code at the proxy. It takes models that it does not know for larger ones.
var claudeVariables = []string{"ANTHROPIC_BASE_URL={ROOT}", "ANTHROPIC_AUTH_TOKEN={KEY}", "ANTHROPIC_MODEL={MODEL}", "ANTHROPIC_DEFAULT_HAIKU_MODEL={MODEL}",
	"CLAUDE_CODE_MAX_CONTEXT_TOKENS=272000", "CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY=1"}

// claudeClouds are the variables with which Claude Code asks a cloud, whatever its base URL says. Source:
// code.claude.com/docs/en/env-vars, and Claude Code 2.1.332 itself.
var claudeClouds = []string{"CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX", "CLAUDE_CODE_USE_FOUNDRY", "CLAUDE_CODE_USE_ANTHROPIC_AWS",
	"CLAUDE_CODE_USE_ANTHROPIC_GOOGLE_CLOUD", "CLAUDE_CODE_USE_MANTLE"}

// saidIn tells of what a JSON file says something; of nothing where it can't be read.
func saidIn(path string) func(Set) bool {
	settings := read(path)
	return func(s Set) bool {
		_, said := jsonFormat{}.raw(settings, s.Path)
		return said
	}
}

// read returns what a settings file says, without a byte order mark, and nothing where it can't be read.
func read(path string) []byte {
	settings, _, _ := atomicfile.Read(path, largest)
	return bytes.TrimPrefix(settings, bom)
}

const openCodeProvider = `{"npm":"@ai-sdk/openai-compatible","name":"ChatGPT by Codex Proxy","options":{"baseURL":"{ROOT}/v1","apiKey":"{KEY}"},"models":{"{MODEL}":{"name":"{MODEL}","reasoning":true,"tool_call":true,"attachment":true,"limit":{"context":272000,"output":32000}}}}`

const continueModel = `{"name":"ChatGPT by Codex Proxy","provider":"openai","model":"{MODEL}","apiBase":"{ROOT}/v1","apiKey":"{KEY}","roles":["chat"],"capabilities":["tool_use","image_input"]}`

const clineProvider = `{"settings":{"provider":"openai-compatible","apiKey":"{KEY}","model":"{MODEL}","baseUrl":"{ROOT}/v1"},"updatedAt":"2026-01-01T00:00:00.000Z","tokenSource":"manual"}`

const piModel = `{"id":"{MODEL}","name":"{MODEL}","reasoning":true,"input":["text","image"],"cost":{"input":0,"output":0,"cacheRead":0,"cacheWrite":0},"contextWindow":272000,"maxTokens":32000}`

// openCodePaths are the files of opencode, or of a program made of it: all that are there count. They begin with the
// strongest, and end with the one to make.
func openCodePaths(s System, program string) (paths []string) {
	names := []string{"opencode.jsonc", "opencode.json", "config.json", "opencode.json"}
	if program == "kilo" {
		names = []string{"opencode.jsonc", "opencode.json", "kilo.jsonc", "kilo.json", "config.json", "kilo.json"}
	}
	for _, name := range names {
		paths = append(paths, filepath.Join(s.Config, program, name))
	}
	return paths
}

// openCodeFiles are the one of them that has the last word, and, where some providers are allowed only, the one that says
// so: ours is put into its list.
func openCodeFiles(s System, program string) []file {
	files := []file{{first(openCodePaths(s, program)...), "json", []Set{
		{[]string{"provider", provider}, openCodeProvider},
		{[]string{"model"}, text(provider + "/{MODEL}")},
	}}}
	ours := Set{[]string{"enabled_providers", "[=" + provider + "]"}, text(provider)}
	switch path, allowed := openCodeAllowed(s, program); {
	case allowed == nil:
	case path == files[0].path:
		files[0].sets = append(files[0].sets, ours)
	default:
		files = append(files, file{path, "json", []Set{ours}})
	}
	return files
}

// openCodeAllowed are the providers that are not left out, and the file whose list that is; nil for all.
func openCodeAllowed(s System, program string) (path string, names []any) {
	for _, path := range openCodePaths(s, program) {
		tree, _ := jsonFormat{}.decode(read(path)) // what it can't read, opencode can't; none allows all
		list, _ := get(tree, []string{"enabled_providers"})
		if names, isList := list.([]any); isList {
			return path, names
		}
	}
	return "", nil
}

func zedFolder(s System) string {
	if s.OS == "windows" {
		return s.data("Zed")
	}
	return filepath.Join(s.Config, "zed")
}

func llmFolder(s System) string {
	if s.Getenv("LLM_USER_PATH") != "" {
		return s.folder("LLM_USER_PATH")
	}
	return s.data("io.datasette.llm")
}

// crushConfig is where Crush's user writes settings.
func crushConfig(s System) string {
	if s.Getenv("CRUSH_GLOBAL_CONFIG") != "" {
		return s.folder("CRUSH_GLOBAL_CONFIG")
	}
	return filepath.Join(s.Config, "crush")
}

// crushData is where Crush writes what is chosen in it, which wins. Source: internal/config/load.go of charmbracelet/crush.
func crushData(s System) string {
	if s.Getenv("CRUSH_GLOBAL_DATA") != "" {
		return s.folder("CRUSH_GLOBAL_DATA")
	}
	if s.OS == "windows" && s.Getenv("XDG_DATA_HOME") == "" {
		return filepath.Join(s.folder("LOCALAPPDATA", "AppData", "Local"), "crush")
	}
	return filepath.Join(s.folder("XDG_DATA_HOME", ".local", "share"), "crush")
}

func gooseFolder(s System) string {
	if s.OS == "windows" {
		return s.data("Block", "goose", "config")
	}
	return filepath.Join(s.Config, "goose")
}
