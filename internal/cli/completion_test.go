package cli

import (
	"bytes"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// typed is what a command prints that succeeds.
func typed(t *testing.T, args ...string) string {
	t.Helper()
	out, _ := ran(t, 0, args...)
	return out
}

// ran runs a command line that must end with code, in a home of its own.
func ran(t *testing.T, code int, args ...string) (out, errs string) {
	t.Helper()
	t.Setenv("HOME", t.TempDir())
	var o, e bytes.Buffer
	if got := Run(t.Context(), Process{Version: "1.2.3", Args: args, Out: &o, Err: &e}); got != code {
		t.Fatalf("%q ended with %d, not %d: %s%s", args, got, code, o.String(), e.String())
	}
	return o.String(), e.String()
}

func TestAShellIsToldWhatCanComeNext(t *testing.T) {
	for line, want := range map[string]string{
		"codex-proxy sta":              "start status",
		"codex-proxy completion ":      "bash fish zsh",
		"codex-proxy --creds-store l":  "legacy",
		"codex-proxy login --dev":      "--device",
		"codex-proxy serve --install-": "--install-service",
		"codex-proxy connect cl":       "claude cline",
		"codex-proxy connect --undo z": "zed",
		"codex-proxy run cl":           "claude cline",
		"codex-proxy run z":            "", // it can't be run
		"codex-proxy run claude cl":    "", // what follows is the tool's
		"codex-proxy help lo":          "log login logout",
	} {
		t.Setenv("COMP_LINE", line)
		answers := strings.Fields(typed(t))
		slices.Sort(answers)
		if got := strings.Join(answers, " "); got != want {
			t.Errorf("%q: %q, not %q", line, got, want)
		}
	}
}

func TestEachShellTakesItsScript(t *testing.T) {
	for shell := range completionScripts {
		script := typed(t, "completion", shell)
		path, err := exec.LookPath(shell)
		if err != nil {
			t.Logf("no %s here: its script is not parsed", shell)
			continue
		}
		check := exec.Command(path, "-n")
		check.Stdin = strings.NewReader(script)
		if out, err := check.CombinedOutput(); err != nil {
			t.Errorf("%s: %v %s", shell, err, out)
		}
	}
}

func TestTheManualPageIsTheSameOnAnyDay(t *testing.T) {
	page := typed(t, "man", "--date", "2026-11-20")
	for _, want := range []string{`.TH CODEX-PROXY 1 "2026-11-20"`, "login [flags]", "Port to listen on", ".SH COMMANDS"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page, "access-token") {
		t.Error("the page shows what is hidden")
	}
}
