//go:build unix

package connect

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestMain lets the test binary be the program that is killed.
func TestMain(m *testing.M) {
	if at := os.Getenv("KILL_AT"); at != "" {
		connectAndDie(at)
		return
	}
	os.Exit(m.Run())
}

// noKeys is enough for a program that is killed.
type noKeys struct{}

func (noKeys) Add(string, string) error { return nil }
func (noKeys) Revoke(string) error      { return nil }

func connectAndDie(at string) {
	c := connections(os.Getenv("KILL_HOME"))
	c.Keys = noKeys{}
	n, _ := strconv.Atoi(os.Getenv("KILL_AFTER"))
	c.step = func(here string) {
		if here != at {
			return
		}
		if n--; n < 0 {
			syscall.Kill(os.Getpid(), syscall.SIGKILL) //nolint:errcheck // there is no after
			select {}
		}
	}
	id := os.Getenv("KILL_TOOL")
	plan, err := c.PlanUndo(id)
	if os.Getenv("KILL_VERB") != "undo" {
		plan, err = c.Plan(id, Target{Root: os.Getenv("KILL_ROOT"), Model: "gpt-5.5"})
	}
	if err == nil {
		err = c.Do(plan)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(3)
	}
}

// TestKilledAtAnyPointEachFileIsTheOldOrTheNewOne ends the program by kill -9 at each point of connecting, of an update
// and of an undo. Afterwards each file is whole, and an undo gives the old bytes back.
func TestKilledAtAnyPointEachFileIsTheOldOrTheNewOne(t *testing.T) {
	rounds := 20
	if n, err := strconv.Atoi(os.Getenv("KILL_ROUNDS")); err == nil {
		rounds = n
	}
	points := []string{"journal", "key", "create", "write", "rename", "renamed", "remove", "folders", "revoke", "forget"}
	verbs := []string{"connect", "update", "undo"}
	tools := withFile()
	for round := range rounds {
		tool, verb, at, after := tools[round%len(tools)], verbs[round/2%len(verbs)], points[round%len(points)], round/7%2
		home := t.TempDir()
		c := connections(home)
		if round%5 > 0 {
			lay(t, c, tool, variants["as it is"])
		}
		before := tree(t, home)
		if verb != "connect" {
			c.mustConnect(t, tool.ID, target)
		}
		old := tree(t, home)
		cmd := exec.Command(os.Args[0], "-test.run", "^$")
		cmd.Env = append(os.Environ(), "KILL_AT="+at, "KILL_AFTER="+strconv.Itoa(after), "KILL_HOME="+home, "KILL_TOOL="+tool.ID, "KILL_VERB="+verb, "KILL_ROOT=http://localhost:9880")
		out, _ := cmd.CombinedOutput()
		what := fmt.Sprintf("round %d, %s, %s of %s", round, at, verb, tool.ID)
		if cmd.ProcessState.ExitCode() > 0 {
			t.Fatalf("%s: exit %d: %s", what, cmd.ProcessState.ExitCode(), out)
		}
		for path, text := range tree(t, home) {
			if text == old[path] || text == before[path] || strings.HasSuffix(path, ".codex-proxy") || strings.HasPrefix(text, "d") {
				continue
			}
			if raw, _ := os.ReadFile(path); verb == "undo" || !strings.Contains(string(raw), "cp-"+tool.ID) && !strings.Contains(string(raw), "codex") && !strings.Contains(string(raw), "gpt-5.5") {
				t.Fatalf("%s: %s is neither the old nor the new one:\n%s", what, filepath.Base(path), raw)
			}
		}
		if len(c.Connected()) > 0 {
			if undo := c.mustUndo(t, tool.ID); !undo.Exact {
				t.Fatalf("%s: the undo is not exact", what)
			}
		}
		same2(t, what, before, tree(t, home))
		if t.Failed() {
			return
		}
	}
}
