//go:build e2e

package e2e

import (
	"os"
	"strings"
	"testing"

	"codex-proxy/tray"
)

// TestTheReadmeHasTheMenusRecipes: what the menu copies is what the README shows, and what make test-clients runs.
func TestTheReadmeHasTheMenusRecipes(t *testing.T) {
	readme, err := os.ReadFile(root + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	runs, err := os.ReadFile(root + "/test/clients/agents.mjs")
	if err != nil {
		t.Fatal(err)
	}
	s := tray.State{Root: "http://localhost:9879", Model: "gpt-5.5"}
	for _, name := range tray.Tools() {
		text, _, _ := tray.Snippet(tray.ConnectPrefix+tray.Action(name), s)
		for line := range strings.Lines(text) {
			if line = strings.TrimSpace(line); !strings.Contains(string(readme), line) {
				t.Errorf("%s: the README lacks\n%s", name, line)
			}
		}
	}
	// The parts of the recipes that matter, as the runs have them.
	for _, part := range []string{`wire_api = "responses"`, `env_key = "OPENAI_API_KEY"`, "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_DEFAULT_HAIKU_MODEL", "@ai-sdk/openai-compatible", "provider: openai", "tool_use, image_input", "OPENAI_BASE_URL"} {
		if !strings.Contains(string(runs), part) || !strings.Contains(string(readme), part) {
			t.Errorf("%s is not in both, the README and the runs", part)
		}
	}
}
