//go:build unix

package connect

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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

// fileKeys are keys that outlive the program: a file for each.
type fileKeys struct{ folder string }

func keysOf(home string) fileKeys { return fileKeys{filepath.Join(home, "state", "keys")} }

func (k fileKeys) Add(name, key string) error {
	if err := os.MkdirAll(k.folder, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(k.folder, name), []byte(key), 0o600)
}

func (k fileKeys) Revoke(name string) error {
	if err := os.Remove(filepath.Join(k.folder, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (k fileKeys) Knows(key string) bool {
	files, _ := filepath.Glob(filepath.Join(k.folder, "*")) //nolint:errcheck // of a bad pattern only
	return slices.ContainsFunc(files, func(path string) bool {
		raw, err := os.ReadFile(path)
		return err == nil && string(raw) == key
	})
}

func connectAndDie(at string) {
	c := connections(os.Getenv("KILL_HOME"))
	c.Keys = keysOf(os.Getenv("KILL_HOME"))
	c.step = func(here string) {
		if here == at {
			syscall.Kill(os.Getpid(), syscall.SIGKILL) //nolint:errcheck // there is no after
			select {}
		}
	}
	id, root := os.Getenv("KILL_TOOL"), os.Getenv("KILL_ROOT")
	var plan *Plan
	var err error
	switch os.Getenv("KILL_VERB") {
	case "undo":
		plan, err = c.PlanUndo(id)
	case "update":
		_, err = c.Update(root)
	default:
		plan, err = c.Plan(id, Target{Root: root, Model: "gpt-5.5"})
	}
	if err == nil && plan != nil {
		err = c.Do(plan)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(3)
	}
}

// TestKilledAtAnyPointEachFileIsTheOldOrTheNewOne ends the program by kill -9 at each point of connecting, once and again,
// of an update and of an undo. Afterwards each file is whole, and an undo gives the old bytes back.
func TestKilledAtAnyPointEachFileIsTheOldOrTheNewOne(t *testing.T) {
	type point struct {
		verb, at string
		laid     bool // the tool has settings already
	}
	var points []point
	for _, laid := range []bool{true, false} {
		for _, verb := range []string{"connect", "again", "update"} {
			for _, at := range []string{"journal", "key", "create", "write", "rename", "renamed"} {
				if verb != "update" || at != "key" { // an update leaves the key alone
					points = append(points, point{verb, at, laid})
				}
			}
		}
	}
	for _, at := range []string{"create", "write", "rename", "renamed", "revoke", "forget"} {
		points = append(points, point{"undo", at, true})
	}
	for _, at := range []string{"remove", "folders", "revoke", "forget"} {
		points = append(points, point{"undo", at, false})
	}
	rounds := 7 * len(points)
	if n, err := strconv.Atoi(os.Getenv("KILL_ROUNDS")); err == nil {
		rounds = n
	}
	tools := withFile()
	for round := range rounds {
		point := points[round%len(points)]
		tool, verb := tools[(round+round/len(points))%len(tools)], point.verb
		home := t.TempDir()
		c := connections(home)
		c.Keys = keysOf(home)
		if point.laid {
			lay(t, c, tool, variants["as it is"])
		}
		before := tree(t, home)
		if verb != "connect" {
			c.mustConnect(t, tool.ID, target)
		}
		old := tree(t, home)
		cmd := exec.Command(os.Args[0], "-test.run", "^$")
		cmd.Env = append(os.Environ(), "KILL_AT="+point.at, "KILL_HOME="+home, "KILL_TOOL="+tool.ID, "KILL_VERB="+verb, "KILL_ROOT=http://localhost:9880")
		out, _ := cmd.CombinedOutput()
		what := fmt.Sprintf("round %d, %s, %s of %s", round, point.at, verb, tool.ID)
		if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
			t.Fatalf("%s: it was not killed but ended with %d: %s", what, cmd.ProcessState.ExitCode(), out)
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
		if left, _ := os.ReadDir(keysOf(home).folder); len(left) > 0 {
			t.Errorf("%s: a key is good that nothing uses", what)
		}
		if t.Failed() {
			return
		}
	}
}
