package tray

import "strings"

// tool is one that can be pointed at the proxy.
type tool struct {
	name string
	// snippet is copied, with {ROOT}, {MODEL} and {PORT} filled in; what says what it is.
	snippet, what string
}

// tools are those of the README, by the order of how many use them.
var tools = []tool{
	{"Copy base URL", "{ROOT}/v1", "The base URL is copied. Any text will do as the API key"},
	{"Copy model id", "{MODEL}", "The model's id is copied"},
	{"VS Code", `[{"name":"ChatGPT","vendor":"customendpoint","apiKey":"x","apiType":"responses","models":[{"id":"{MODEL}","name":"{MODEL}","url":"{ROOT}/v1/responses","toolCalling":true,"vision":true,"maxInputTokens":240000,"maxOutputTokens":32000}]}]`, "Copied: paste it into chatLanguageModels.json (Chat, Manage Language Models, Custom Endpoint)"},
	{"JetBrains", "{ROOT}/v1", "Copied: Settings, Tools, AI Assistant, Providers & API keys, OpenAI-compatible"},
	{"Zed", `"language_models": {"openai_compatible": {"codex": {"api_url": "{ROOT}/v1", "available_models": [{"name": "{MODEL}", "max_tokens": 272000, "max_output_tokens": 32000, "capabilities": {"tools": true, "images": true, "parallel_tool_calls": true, "prompt_cache_key": true}}]}}}`, "Copied: paste it into settings.json"},
	{"Xcode", "{PORT}", "The port is copied: Settings, Intelligence, Add a Chat Provider, Locally Hosted"},
	{"Continue", "models:\n  - {name: gpt, provider: openai, model: {MODEL}, apiBase: \"{ROOT}/v1\", apiKey: x, roles: [chat], capabilities: [tool_use, image_input]}\n", "Copied: paste it into config.yaml"},
	{"Cline", "{ROOT}/v1", "Copied: provider OpenAI Compatible, this base URL, any key"},
	{"opencode", `{"provider":{"codex":{"npm":"@ai-sdk/openai-compatible","name":"ChatGPT","options":{"baseURL":"{ROOT}/v1","apiKey":"x"},"models":{"{MODEL}":{"name":"{MODEL}","reasoning":true,"tool_call":true,"attachment":true,"limit":{"context":272000,"output":32000}}}}}}`, "Copied: paste it into opencode.json"},
	{"Claude Code", "ANTHROPIC_BASE_URL={ROOT} ANTHROPIC_AUTH_TOKEN=x ANTHROPIC_MODEL={MODEL} ANTHROPIC_DEFAULT_HAIKU_MODEL={MODEL} claude", "Copied: run it in a terminal"},
	{"Codex CLI", "model_provider = \"local\"\n[model_providers.local]\nname = \"local\"\nbase_url = \"{ROOT}/v1\"\nwire_api = \"responses\"\nenv_key = \"OPENAI_API_KEY\"\nsupports_websockets = true\n", "Copied: paste it into config.toml, and set OPENAI_API_KEY to any text"},
	{"Raycast", "providers: [{id: codex, name: ChatGPT, base_url: \"{ROOT}/v1\", models: [{id: {MODEL}, name: {MODEL}, context: 272000, abilities: {tools: {supported: true}, vision: {supported: true}, temperature: {supported: false}}}]}]\n", "Copied: paste it into ~/.config/raycast/ai/providers.yaml"},
	{"Obsidian", "{ROOT}/v1", "Copied: Copilot, Add Custom Model, OpenAI Format, Base URL"},
	{"Open WebUI", "{ROOT}/v1", "Copied: Admin, Settings, Connections, OpenAI API"},
	{"aider", "OPENAI_API_BASE={ROOT}/v1 OPENAI_API_KEY=x aider --model openai/{MODEL}", "Copied: run it in a terminal"},
}

func connect(State) []Item {
	items := make([]Item, len(tools))
	for i, t := range tools {
		items[i] = Item{ID: "connect " + t.name, Title: t.name, Action: ConnectPrefix + Action(t.name)}
	}
	return items
}

// Tools names those for which there is a snippet.
func Tools() []string {
	names := make([]string, len(tools))
	for i, t := range tools {
		names[i] = t.name
	}
	return names
}

// ToolNamed returns the name of a tool as Tools has it, whatever the case; else name.
func ToolNamed(name string) string {
	for _, t := range tools {
		if strings.EqualFold(t.name, name) {
			return t.name
		}
	}
	return name
}

// Snippet is the text that a connect action copies, and what to tell the user then. ok is false for other actions.
func Snippet(a Action, s State) (text, told string, ok bool) {
	name, isConnect := strings.CutPrefix(string(a), string(ConnectPrefix))
	if !isConnect {
		return "", "", false
	}
	model := s.Model
	if model == "" {
		model = "gpt-5.5"
	}
	for _, t := range tools {
		if t.name == name {
			port := s.Root[strings.LastIndexByte(s.Root, ':')+1:]
			return strings.NewReplacer("{ROOT}", s.Root, "{MODEL}", model, "{PORT}", port).Replace(t.snippet), t.what, true
		}
	}
	return "", "", false
}
