//go:build e2e

package e2e

import (
	"os"
	"strings"
	"testing"

	"codex-proxy/internal/connect"
)

// TestTheReadmeHasARecipeForEachTool: those that can be run or connected are named, the others say what to paste.
func TestTheReadmeHasARecipeForEachTool(t *testing.T) {
	readme, err := os.ReadFile(root + "/README.md")
	if err != nil {
		t.Fatal(err)
	}
	runs, err := os.ReadFile(root + "/test/clients/agents.mjs")
	if err != nil {
		t.Fatal(err)
	}
	target := connect.Target{Root: "http://localhost:9879", Model: "gpt-5.5", Key: "x"}
	for _, tool := range connect.Tools() {
		if tool.CanRun() && !strings.Contains(string(readme), "codex-proxy run "+tool.ID) && !strings.Contains(string(readme), "`"+tool.ID+"`") {
			t.Errorf("the README does not say how to run %s", tool.Name)
		}
		if !tool.HasFile() && !strings.Contains(string(readme), "**"+tool.Name) {
			t.Errorf("the README lacks a recipe for %s", tool.Name)
		}
		if connect.Print(tool, target) == "" && tool.Text(target) == "" {
			t.Errorf("there is nothing to paste into %s", tool.Name)
		}
	}
	// The parts of the recipes that matter, as the runs have them.
	for _, part := range []string{"ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_DEFAULT_HAIKU_MODEL"} {
		if !strings.Contains(string(runs), part) || !strings.Contains(string(readme), part) {
			t.Errorf("%s is not in both, the README and the runs", part)
		}
	}
}
