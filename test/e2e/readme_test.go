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
	_, after, _ := strings.Cut(string(readme), "**Run a tool once.**")
	toRun, _, _ := strings.Cut(after, "What follows the name")
	target := connect.Target{Root: "http://localhost:9879", Model: "gpt-5.5", Key: "x"}
	for _, tool := range connect.Tools() {
		if named := strings.Contains(toRun, "codex-proxy run "+tool.ID) || strings.Contains(toRun, "`"+tool.ID+"`"); named != tool.CanRun() {
			t.Errorf("the README names %s among the tools to run: %v", tool.Name, named)
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
