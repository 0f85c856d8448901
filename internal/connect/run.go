package connect

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/tidwall/sjson"
)

// launch is how a tool is started pointed at the proxy: by its environment and its command line alone. The key is never
// an argument, which everybody on the machine can see.
type launch struct {
	program string
	before  []string // arguments before those of the user
	env     []string // NAME=value
	// temporary is the content of a file whose path takes the place of {FILE} in before and env, for a tool that takes
	// no other way; empty for none.
	temporary, suffix string
}

// Command is a tool that is ready to be started. Close removes its temporary file.
type Command struct {
	Path string
	Args []string // without the program's name
	Env  []string // besides what there is

	temporary string
}

// Close removes what was made for the run.
func (c *Command) Close() {
	if c.temporary != "" {
		os.Remove(c.temporary) //nolint:errcheck // it is in the system's folder for such files
	}
}

// Start returns the command that starts a tool pointed at a target. Nothing is written into the user's settings.
func Start(id string, target Target, args []string, s System) (*Command, error) {
	tool, ok := Named(id)
	switch {
	case !ok:
		return nil, fmt.Errorf("there is no tool %q", id)
	case tool.launch == nil && tool.HasFile():
		return nil, fmt.Errorf("%s takes its settings from a file only: codex-proxy connect %s", tool.Name, id)
	case tool.launch == nil:
		return nil, fmt.Errorf("%s is not started from a terminal. codex-proxy connect %s says what to paste", tool.Name, id)
	}
	if target.Model == "" {
		target.Model = usualModel
	}
	l := tool.launch(s, target)
	path, err := s.Look(l.program)
	if err != nil {
		return nil, fmt.Errorf("%s is not installed, or not in the PATH: there is no program %q", tool.Name, l.program)
	}
	c := &Command{Path: path}
	if l.temporary != "" {
		f, err := os.CreateTemp("", "codex-proxy-*"+l.suffix)
		if err != nil {
			return nil, err
		}
		c.temporary = f.Name()
		_, err = f.WriteString(l.temporary)
		if err = errors.Join(err, f.Close()); err != nil {
			c.Close()
			return nil, err
		}
	}
	for _, arg := range l.before {
		c.Args = append(c.Args, strings.ReplaceAll(arg, "{FILE}", c.temporary))
	}
	c.Args = append(c.Args, args...)
	for _, variable := range l.env {
		c.Env = append(c.Env, strings.ReplaceAll(variable, "{FILE}", c.temporary))
	}
	c.Env = append(c.Env, pastNetworkProxy(s)...)
	return c, nil
}

// pastNetworkProxy has a tool reach this machine without the proxy of the network, which some send even that to. What is
// reached without it already stays so, by whichever of the two names it was said.
func pastNetworkProxy(s System) (env []string) {
	const near = "localhost,127.0.0.1,::1"
	for _, names := range [][2]string{{"NO_PROXY", "no_proxy"}, {"no_proxy", "NO_PROXY"}} {
		switch already := cmp.Or(s.Getenv(names[0]), s.Getenv(names[1])); already {
		case "":
			env = append(env, names[0]+"="+near)
		case "*": // all, which it means only while it stands alone
			env = append(env, names[0]+"=*")
		default:
			env = append(env, names[0]+"="+already+","+near)
		}
	}
	return env
}

func launchClaude(_ System, t Target) launch {
	var env []string
	settings := map[string]string{}
	for _, variable := range claudeVariables {
		env = append(env, t.Fill(variable))
	}
	for _, name := range claudeClouds {
		env = append(env, name+"=0")
	}
	for _, variable := range env {
		name, value, _ := strings.Cut(variable, "=")
		settings[name] = value
	}
	// What the user's settings.json says about the environment would win over the environment; the command line wins
	// over that.
	raw, _ := json.Marshal(map[string]any{"env": settings}) // texts
	return launch{program: "claude", env: env, before: []string{"--settings", "{FILE}"}, temporary: string(raw), suffix: ".json"}
}

func launchCodex(_ System, t Target) launch {
	set := func(key, value string) []string { return []string{"-c", t.Fill(key + "=" + value)} }
	return launch{program: "codex", env: []string{"CODEX_PROXY_KEY=" + t.Key}, before: slices.Concat(
		set("model_provider", text(provider)), set("model", text("{MODEL}")),
		set("model_providers."+provider, `{name="ChatGPT by Codex Proxy",base_url="{ROOT}/v1",wire_api="responses",supports_websockets=true,env_key="CODEX_PROXY_KEY"}`),
	)}
}

func launchOpenCode(program, variable string) func(System, Target) launch {
	return func(s System, t Target) launch {
		content := t.Fill(`{"model":"codex-proxy/{MODEL}","provider":{"codex-proxy":` + openCodeProvider + `}}`)
		if _, names := openCodeAllowed(s, program); names != nil {
			if !slices.Contains(names, any(provider)) {
				names = append(names, provider)
			}
			content, _ = sjson.Set(content, "enabled_providers", names) // it is an object
		}
		return launch{program: program, env: []string{variable + "=" + content}}
	}
}

func launchQwen(_ System, t Target) launch {
	return launch{program: "qwen", env: []string{"OPENAI_API_KEY=" + t.Key, "OPENAI_BASE_URL=" + t.Root + "/v1", "OPENAI_MODEL=" + t.Model}, before: []string{"--auth-type", "openai", "--model", t.Model}}
}

func launchContinue(_ System, t Target) launch {
	file := "name: ChatGPT by Codex Proxy\nversion: 1.0.0\nschema: v1\nmodels:\n" + yamlItem(t.Fill(continueModel), "  ", "\n")
	return launch{program: "cn", before: []string{"--config", "{FILE}"}, temporary: file, suffix: ".yaml"}
}

func launchCline(_ System, t Target) launch {
	// Without a backend of its own it would start, or use, one that serves every later Cline with the settings of the first.
	env := []string{"CLINE_PROVIDER_SETTINGS_PATH={FILE}", "CLINE_SESSION_BACKEND_MODE=local"}
	return launch{program: "cline", env: env, suffix: ".json",
		temporary: t.Fill(`{"version":1,"lastUsedProvider":"openai-compatible","providers":{"openai-compatible":` + clineProvider + `}}`)}
}

func launchPi(_ System, t Target) launch {
	return launch{program: "pi", before: []string{"-e", "{FILE}", "--provider", provider, "--model", t.Model}, suffix: ".js",
		temporary: t.Fill(`export default (pi) => pi.registerProvider("codex-proxy", {"name":"ChatGPT by Codex Proxy","baseUrl":"{ROOT}/v1","apiKey":"{KEY}","api":"openai-responses","models":[` + piModel + "]});\n")}
}

func launchAider(_ System, t Target) launch {
	return launch{program: "aider", env: []string{"AIDER_OPENAI_API_KEY=" + t.Key}, before: []string{"--model", "openai/" + t.Model, "--openai-api-base", t.Root + "/v1"}}
}

func launchGoose(_ System, t Target) launch {
	return launch{program: "goose", env: []string{"GOOSE_PROVIDER=openai", "GOOSE_MODEL=" + t.Model, "OPENAI_HOST=" + t.Root, "OPENAI_BASE_PATH=v1/chat/completions", "OPENAI_API_KEY=" + t.Key}}
}
