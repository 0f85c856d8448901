package connect

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
)

// fakeKeys remembers which keys are known.
type fakeKeys map[string]string

func (k fakeKeys) Add(name, key string) error { k[name] = key; return nil }
func (k fakeKeys) Revoke(name string) error   { delete(k, name); return nil }
func (k fakeKeys) Knows(key string) bool      { return slices.Contains(slices.Collect(maps.Values(k)), key) }

func connections(home string) *Connections {
	return &Connections{
		Folder: filepath.Join(home, "state", "connect"),
		System: System{OS: "linux", Home: home, Config: filepath.Join(home, ".config"), Getenv: func(string) string { return "" },
			Look: func(string) (string, error) { return "", fs.ErrNotExist }},
		Keys: fakeKeys{}, NewKey: func(id string) string { return "cp-" + id + "-0123456789" },
	}
}

var target = Target{Root: "http://localhost:9879", Model: "gpt-5.5"}

// withFile lists the tools that have a file.
func withFile() (out []Tool) {
	for _, tool := range Tools() {
		if tool.HasFile() {
			out = append(out, tool)
		}
	}
	return out
}

// variants are the ways in which the same text is found on people's machines.
var variants = map[string]func(string) string{
	"as it is":          func(s string) string { return s },
	"CRLF":              func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") },
	"byte order mark":   func(s string) string { return "\xef\xbb\xbf" + s },
	"no last line end":  func(s string) string { return strings.TrimRight(s, "\n") },
	"many last lines":   func(s string) string { return s + "\n\n\n" },
	"mark and CRLF":     func(s string) string { return "\xef\xbb\xbf" + strings.ReplaceAll(s, "\n", "\r\n") },
	"empty":             func(string) string { return "" },
	"nothing but lines": func(string) string { return "\n\n" },
}

// lay writes a tool's fixtures below home, and returns what was written by path.
func lay(t *testing.T, c *Connections, tool Tool, vary func(string) string) map[string]string {
	t.Helper()
	laid := map[string]string{}
	fixtures, _ := filepath.Glob("testdata/" + tool.ID + "/*")
	hidden, _ := filepath.Glob("testdata/" + tool.ID + "/.*")
	for _, fixture := range append(fixtures, hidden...) {
		raw, err := os.ReadFile(fixture)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range tool.files(c.System) {
			if filepath.Dir(file.path) == "" || strings.TrimSuffix(filepath.Base(file.path), filepath.Ext(file.path)) != strings.TrimSuffix(filepath.Base(fixture), filepath.Ext(fixture)) {
				continue
			}
			path := filepath.Join(filepath.Dir(file.path), filepath.Base(fixture))
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			laid[path] = vary(string(raw))
			if err := os.WriteFile(path, []byte(laid[path]), 0o640); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(laid) == 0 {
		t.Fatalf("%s has no fixture", tool.ID)
	}
	return laid
}

func (c *Connections) mustConnect(t *testing.T, id string, target Target) *Plan {
	t.Helper()
	plan, err := c.Plan(id, target)
	if err == nil {
		err = c.Do(plan)
	}
	if err != nil {
		t.Fatalf("%s: %v", id, err)
	}
	return plan
}

func (c *Connections) mustUndo(t *testing.T, id string) *Plan {
	t.Helper()
	plan, err := c.PlanUndo(id)
	if err == nil {
		err = c.Do(plan)
	}
	if err != nil {
		t.Fatalf("%s: %v", id, err)
	}
	return plan
}

// tree is every file and folder below home but the journal's.
func tree(t *testing.T, home string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(home, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == home || strings.HasPrefix(path, filepath.Join(home, "state")) {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		out[path] = info.Mode().String()
		if info.Mode().IsRegular() {
			raw, err := os.ReadFile(path)
			out[path] += " " + string(raw)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func same2(t *testing.T, what string, before, after map[string]string) {
	t.Helper()
	for path, text := range before {
		if after[path] != text {
			t.Errorf("%s: %s was\n%q\nand is\n%q", what, path, text, after[path])
		}
	}
	for path := range after {
		if _, ok := before[path]; !ok {
			t.Errorf("%s: %s is new", what, path)
		}
	}
}

// TestEveryToolComesBackByteForByte connects each tool of the table, with its fixture in every variant, and undoes it.
func TestEveryToolComesBackByteForByte(t *testing.T) {
	for _, tool := range withFile() {
		for name, vary := range variants {
			t.Run(tool.ID+"/"+name, func(t *testing.T) {
				home := t.TempDir()
				c := connections(home)
				lay(t, c, tool, vary)
				before := tree(t, home)
				plan := c.mustConnect(t, tool.ID, target)
				if !plan.Changed() || plan.Diff(false) == "" {
					t.Error("nothing was changed")
				}
				for _, file := range tool.files(c.System) {
					says(t, file, target)
				}
				for path, text := range before { // comments and everything else stay
					now, err := os.ReadFile(path)
					if err != nil || !strings.Contains(text, " ") {
						continue
					}
					for line := range strings.Lines(strings.SplitN(text, " ", 2)[1]) {
						if line = strings.TrimSpace(line); (strings.HasPrefix(line, "#") || strings.HasPrefix(line, "//")) && !bytes.Contains(now, []byte(line)) {
							t.Errorf("%s lost %q", path, line)
						}
					}
				}
				if undo := c.mustUndo(t, tool.ID); !undo.Exact {
					t.Error("the undo is not exact")
				}
				same2(t, "after the undo", before, tree(t, home))
				if len(c.Keys.(fakeKeys)) != 0 || len(c.Connected()) != 0 {
					t.Error("it is still known")
				}
			})
		}
	}
}

// says checks that a file has our keys.
func says(t *testing.T, file file, target Target) {
	t.Helper()
	raw, err := os.ReadFile(file.path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := formats[file.format].decode(bytes.TrimPrefix(raw, bom))
	if err != nil {
		t.Fatalf("%s: %v\n%s", file.path, err, raw)
	}
	for _, s := range file.sets {
		var path []string
		for _, step := range s.Path {
			path = append(path, target.Fill(step))
		}
		if _, ok := get(got, path); !ok {
			t.Errorf("%s lacks %v:\n%s", file.path, path, raw)
		}
	}
}

func TestAToolWithoutSettingsGetsAFileThatIsGoneAgain(t *testing.T) {
	for _, tool := range withFile() {
		home := t.TempDir()
		c := connections(home)
		c.mustConnect(t, tool.ID, target)
		for path, text := range tree(t, home) {
			if mode := "-rw-------"; !strings.HasPrefix(text, mode) && !strings.HasPrefix(text, "drwx------") {
				t.Errorf("%s is %s", path, text)
			}
		}
		c.mustUndo(t, tool.ID)
		same2(t, tool.ID, map[string]string{}, tree(t, home))
	}
}

func TestAHomeMayHaveAnyName(t *testing.T) {
	c := connections(filepath.Join(t.TempDir(), "a[b]c"))
	tool := withFile()[0].ID
	c.mustConnect(t, tool, target)
	if got := c.Connected(); !slices.Equal(got, []string{tool}) {
		t.Errorf("%v are connected", got)
	}
}

// TestWhatTheUserChangedMeanwhileStays changes each fixture after connecting, as the tool itself or its user does, and
// undoes: our keys are gone, and nothing else is lost.
func TestWhatTheUserChangedMeanwhileStays(t *testing.T) {
	for _, tool := range withFile() {
		for name, vary := range variants {
			t.Run(tool.ID+"/"+name, func(t *testing.T) {
				home := t.TempDir()
				c := connections(home)
				lay(t, c, tool, vary)
				before := map[string]any{}
				for _, file := range tool.files(c.System) {
					raw, err := os.ReadFile(file.path)
					if err == nil {
						before[file.path], _ = formats[file.format].decode(bytes.TrimPrefix(raw, bom))
					}
				}
				plan := c.mustConnect(t, tool.ID, target)
				for _, change := range plan.Changes {
					f := formats[change.entry.Format]
					mine := Set{[]string{"zz-mine"}, `"kept"`}
					if _, isList := before[change.Path].([]any); isList || bytes.HasPrefix(bytes.TrimLeft(change.After, "\xef\xbb\xbf \r\n"), []byte("[")) && change.entry.Format == "json" || bytes.HasPrefix(change.After, []byte("- ")) {
						mine = Set{[]string{"[name=zz-mine]"}, `{"name":"zz-mine","model_id":"m"}`}
					}
					if change.entry.Format == "yaml" && bytes.Contains(change.After, []byte("model_id")) {
						mine = Set{[]string{"[name=zz-mine]"}, `{"name":"zz-mine","model_id":"m"}`}
					}
					text, _, err := apply(f, change.After, []Set{mine})
					if err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(change.Path, text, 0o600); err != nil {
						t.Fatal(err)
					}
					before[change.Path], _ = put(before[change.Path], mine.Path, decodeJSON(mine.Value))
				}
				undo := c.mustUndo(t, tool.ID)
				if undo.Exact || len(undo.Kept) > 0 {
					t.Errorf("exact %v, kept %v", undo.Exact, undo.Kept)
				}
				for _, change := range undo.Changes {
					raw, err := os.ReadFile(change.Path)
					if err != nil {
						t.Fatal(err)
					}
					got, err := formats[change.entry.Format].decode(bytes.TrimPrefix(raw, bom))
					if err != nil {
						t.Fatal(err)
					}
					if !same(filled(got), filled(before[change.Path])) {
						t.Errorf("%s says\n%v\nbut said\n%v\n%s", change.Path, got, before[change.Path], raw)
					}
				}
			})
		}
	}
}

func decodeJSON(text string) any {
	v, err := jsonFormat{}.decode([]byte(text))
	if err != nil {
		panic(err)
	}
	return v
}

func TestAFileThatDoesNotParseIsNotTouched(t *testing.T) {
	for id, broken := range map[string]struct{ file, text, place string }{
		"claude":   {".claude/settings.json", "{\n  \"env\": {\n    \"A\": 1\n    \"B\": 2\n  }\n}\n", "line 4, column 5"},
		"codex":    {".codex/config.toml", "a = 1\nb = = 2\n", "line 2, column"},
		"continue": {".continue/config.yaml", "name: x\nmodels: [a, b\nversion: 2\n", "line "},
		"aider":    {".aider.conf.yml", "model: a\n\tb: c\n", "line 2, column"},
	} {
		home := t.TempDir()
		c := connections(home)
		path := filepath.Join(home, broken.file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(broken.text), 0o600); err != nil {
			t.Fatal(err)
		}
		before := tree(t, home)
		_, err := c.Plan(id, target)
		if err == nil || !strings.Contains(err.Error(), broken.place) || !strings.Contains(err.Error(), path) ||
			!strings.Contains(err.Error(), "Nothing was changed: mend it") {
			t.Errorf("%s: %v", id, err)
		}
		same2(t, id, before, tree(t, home))
	}
}

// TestATableThatCanNotBeAddedToIsNotTouched: TOML lets nobody add to a table in braces, or give a table of dotted keys a
// heading. The Codex CLI does not start with a file that does. Source: toml.io, v1.0.0, "Inline Table" and "Table".
func TestATableThatCanNotBeAddedToIsNotTouched(t *testing.T) {
	for text, well := range map[string]bool{
		"model_providers = { mine = { name = \"x\" } }\n":        false,
		"model_providers.codex-proxy.name = \"x\"\n":             false,
		"[model_providers]\ncodex-proxy.name = \"x\"\n":          false,
		"[model_providers]\ncodex-proxy = { name = \"x\" }\n":    false,
		"[[model_providers]]\nname = \"x\"\n":                    false,
		"[a]\n[a.b]\n[a]\n":                                      false,
		"[a.b]\n[a]\nb.c = 1\n":                                  false,
		"model_providers.mine.name = \"x\"\n":                    true,
		"[model_providers]\nmine = { name = \"x\" }\n":           true,
		"[model_providers]\nmine.name = \"x\"\nmine.b = \"y\"\n": true,
		"[a.b]\nx = { y.z = 1, y.w = 2 }\n[a]\n[[c]]\n[c.d]\nx = 1\n[[c.e]]\n[c.e.f]\n[[c.e]]\n[c.e.f]\n[[c]]\n[c.d]\nx = 1\n": true,
	} {
		home := t.TempDir()
		c := connections(home)
		path := filepath.Join(home, ".codex", "config.toml")
		os.Mkdir(filepath.Dir(path), 0o755) //nolint:errcheck // the write tells
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Plan("codex", target); (err == nil) != well {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestLinksAndModesStay(t *testing.T) {
	home := t.TempDir()
	c := connections(home)
	real := filepath.Join(home, "dotfiles", "claude.json")
	link := filepath.Join(home, ".claude", "settings.json")
	for _, dir := range []string{filepath.Dir(real), filepath.Dir(link)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(real, []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../dotfiles/claude.json", link); err != nil {
		t.Fatal(err)
	}
	before := tree(t, home)
	c.mustConnect(t, "claude", target)
	after := tree(t, home)
	if after[link][:10] != before[link][:10] || !strings.HasPrefix(after[real], "-rw-r--r-- {\n") {
		t.Errorf("the link is %q, the file %q", after[link], after[real])
	}
	c.mustUndo(t, "claude")
	same2(t, "after the undo", before, tree(t, home))
	os.Remove(real)
	if _, err := c.Plan("claude", target); err == nil || !strings.Contains(err.Error(), "leads nowhere") {
		t.Errorf("a link that leads nowhere: %v", err)
	}
}

// TestAFileThatWasMovedBehindALinkComesBackThere connects a tool, has its user move the file into a folder of dotfiles and
// link it, and undoes: the link stays, and what it leads to is as it was.
func TestAFileThatWasMovedBehindALinkComesBackThere(t *testing.T) {
	for name, before := range map[string]string{"a file": "{\"a\": 1}", "a file of ours": "", "a link": "link"} {
		t.Run(name, func(t *testing.T) {
			home := t.TempDir()
			c := connections(home)
			link, moved := filepath.Join(home, ".claude", "settings.json"), filepath.Join(home, "dotfiles", "claude.json")
			for _, dir := range []string{filepath.Dir(link), filepath.Dir(moved)} {
				if err := os.MkdirAll(dir, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			was := link
			if before == "link" {
				was = filepath.Join(home, "old", "claude.json")
				os.Mkdir(filepath.Dir(was), 0o755) //nolint:errcheck // the write tells
				if err := os.Symlink(was, link); err != nil {
					t.Fatal(err)
				}
			}
			if before != "" {
				if err := os.WriteFile(was, []byte("{\"a\": 1}"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			c.mustConnect(t, "claude", target)
			if err := os.Rename(was, moved); err != nil {
				t.Fatal(err)
			}
			os.RemoveAll(filepath.Join(home, "old")) //nolint:errcheck // it may not be there
			os.Remove(link)                          //nolint:errcheck // it may not be there
			if err := os.Symlink(moved, link); err != nil {
				t.Fatal(err)
			}
			c.mustUndo(t, "claude")
			after := tree(t, home)
			text := func(path string) string { _, text, _ := strings.Cut(after[path], " "); return text }
			if before == "" {
				if after[link] != "" || after[moved] != "" {
					t.Errorf("the link is %q, the file %q", after[link], after[moved])
				}
				return
			}
			if after[link] == "" || after[link][0] != 'L' || text(moved) != "{\"a\": 1}" || after[filepath.Join(home, "old")] != "" {
				t.Errorf("the link is %q, the file %q: %v", after[link], after[moved], after)
			}
		})
	}
}

// TestAFolderThatIsNamedFromHereIsUndoneFromAnywhere: CLAUDE_CONFIG_DIR=mine means another folder elsewhere.
func TestAFolderThatIsNamedFromHereIsUndoneFromAnywhere(t *testing.T) {
	for id, variable := range map[string]string{"claude": "CLAUDE_CONFIG_DIR", "llm": "LLM_USER_PATH"} {
		home := t.TempDir()
		c := connections(home)
		c.System.Getenv = func(name string) string { return map[string]string{variable: "mine"}[name] }
		t.Chdir(home)
		c.mustConnect(t, id, target)
		if len(tree(t, home)) == 0 {
			t.Errorf("%s: nothing was written", id)
		}
		t.Chdir(t.TempDir())
		c.mustUndo(t, id)
		same2(t, id, map[string]string{}, tree(t, home))
	}
}

// TestAConnectionThatFailsIsNone: what was written before is put back, and nothing says that the tool is connected.
func TestAConnectionThatFailsIsNone(t *testing.T) {
	home := t.TempDir()
	c := connections(home)
	before := tree(t, home)
	plan, err := c.Plan("pi", target) // two files
	if err != nil {
		t.Fatal(err)
	}
	second := plan.Changes[1].Path
	c.step = func(step string) {
		if _, err := os.Stat(plan.Changes[0].Path); err == nil && step == "create" {
			os.MkdirAll(filepath.Join(second, "in the way"), 0o755) //nolint:errcheck // the rename tells
		}
	}
	if err := c.Do(plan); err == nil {
		t.Fatal("it went well")
	}
	c.step = nil
	if got := c.Connected(); len(got) != 0 || len(c.Keys.(fakeKeys)) != 0 {
		t.Errorf("connected are %v, keys are %v", got, c.Keys)
	}
	os.RemoveAll(filepath.Dir(second)) //nolint:errcheck // see below
	os.Remove(filepath.Dir(filepath.Dir(second)))
	if _, err := os.Stat(plan.Changes[0].Path); err == nil {
		t.Error("the first file stays")
	}
	same2(t, "after the failure", before, tree(t, home))
}

// noKeys can't be written, as where their file is broken.
type noKeys struct{}

func (noKeys) Add(string, string) error { return errors.New("the keys can't be read") }
func (noKeys) Revoke(string) error      { return errors.New("the keys can't be read") }
func (noKeys) Knows(string) bool        { return true }

// TestAConnectionWithoutItsKeyIsNone: a tool that could get no key is as it was, and that is what is told.
func TestAConnectionWithoutItsKeyIsNone(t *testing.T) {
	c := connections(t.TempDir())
	for _, want := range []string{"", target.Root} {
		good := c.Keys
		c.Keys = noKeys{}
		plan, err := c.Plan("claude", Target{Root: "http://localhost:9901"})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Do(plan); err == nil || strings.Count(err.Error(), "can't be read") != 1 {
			t.Errorf("it says %v", err)
		}
		c.Keys = good
		if s := c.status(plan.Tool, target.Root); s.Root != want {
			t.Errorf("it is connected to %q, not %q", s.Root, want)
		}
		c.mustConnect(t, "claude", target)
	}
}

// TestAConnectionIsTakenBackAlsoWhereItsKeyCanNotBe: the list of tools tells what is so.
func TestAConnectionIsTakenBackAlsoWhereItsKeyCanNotBe(t *testing.T) {
	home := t.TempDir()
	c := connections(home)
	plan, err := c.Plan("claude", target)
	if err != nil {
		t.Fatal(err)
	}
	c.step = func(step string) {
		if step == "create" {
			c.Keys = noKeys{}
			os.MkdirAll(filepath.Join(plan.Changes[0].Path, "in the way"), 0o755) //nolint:errcheck // the rename tells
		}
	}
	if err := c.Do(plan); err == nil {
		t.Fatal("it went well")
	}
	if got := c.Connected(); len(got) != 0 {
		t.Errorf("connected are %v", got)
	}
}

// TestAnUpdateThatFailsLeavesTheOldConnection: the tool still points where it did, and that is what is told.
func TestAnUpdateThatFailsLeavesTheOldConnection(t *testing.T) {
	home := t.TempDir()
	c := connections(home)
	c.mustConnect(t, "vscode", target)
	before := tree(t, home)
	beside := filepath.Join(home, ".config", "Code", "User", ".chatLanguageModels.json.codex-proxy")
	c.step = func(step string) {
		if step == "create" { // the file can't be written
			os.MkdirAll(filepath.Join(beside, "in the way"), 0o755) //nolint:errcheck // the write tells
		}
	}
	if _, err := c.Update("http://localhost:9901"); err == nil {
		t.Fatal("it went well")
	}
	c.step = nil
	os.RemoveAll(beside) //nolint:errcheck // the next line tells
	same2(t, "after the failure", before, tree(t, home))
	if r, err := c.read("vscode"); err != nil || r.Root != target.Root || c.Keys.(fakeKeys)["vscode"] != r.Key {
		t.Errorf("it is connected to %v: %v", r, err)
	}
	if undo := c.mustUndo(t, "vscode"); !undo.Exact {
		t.Error("the undo is not exact")
	}
}

func TestAnotherPortUpdatesWhatIsConnectedAndUndoStillGivesTheOldBytes(t *testing.T) {
	for _, tool := range withFile() {
		home := t.TempDir()
		c := connections(home)
		lay(t, c, tool, variants["as it is"])
		before := tree(t, home)
		c.mustConnect(t, tool.ID, target)
		updated, err := c.Update("http://localhost:9901")
		if err != nil || !slices.Equal(updated, []string{tool.ID}) {
			t.Fatalf("%s: %v %v", tool.ID, updated, err)
		}
		all := fmt.Sprint(tree(t, home))
		if !strings.Contains(all, ":9901") || strings.Contains(all, ":9879") {
			t.Errorf("%s points at both:\n%s", tool.ID, all)
		}
		if undo := c.mustUndo(t, tool.ID); !undo.Exact {
			t.Errorf("%s: not exact", tool.ID)
		}
		same2(t, tool.ID, before, tree(t, home))
	}
}

// TestAToolWhoseKeyWasRevokedGetsAnotherOne when it is connected again: it was said to be connected, and refused.
func TestAToolWhoseKeyWasRevokedGetsAnotherOne(t *testing.T) {
	for _, tool := range withFile() {
		home := t.TempDir()
		c := connections(home)
		laid := lay(t, c, tool, variants["as it is"])
		c.mustConnect(t, tool.ID, target)
		c.Keys.Revoke(tool.ID) //nolint:errcheck // of a map
		c.NewKey = func(string) string { return "cp-another-1" }
		plan := c.mustConnect(t, tool.ID, target)
		if plan.Changed() != (tool.ID != "zed") || c.Keys.(fakeKeys)[tool.ID] != "cp-another-1" {
			t.Errorf("%s: the keys are %v", tool.ID, c.Keys) // Zed has its key in the system's keychain
		}
		for _, change := range plan.Changes {
			if text, err := os.ReadFile(change.Path); err != nil || bytes.Contains(text, []byte("cp-"+tool.ID)) {
				t.Errorf("%s: %v %s", tool.ID, err, text)
			}
		}
		c.NewKey = func(string) string { return "cp-another-2" }
		if plan, err := c.Plan(tool.ID, target); err != nil || plan.Changed() {
			t.Errorf("%s: a key that is known is replaced (%v)", tool.ID, err)
		}
		if undo := c.mustUndo(t, tool.ID); !undo.Exact {
			t.Errorf("%s: it is not as it was", tool.ID)
		}
		for path, want := range laid {
			if text, err := os.ReadFile(path); err != nil || string(text) != want {
				t.Errorf("%s: %s is not as it was (%v)", tool.ID, path, err)
			}
		}
	}
}

// TestAnotherPortKeepsWhatSomebodyChangedSince: people choose another model in the tool, which writes it to its file, and
// take keys out. A key that was revoked stays revoked.
func TestAnotherPortKeepsWhatSomebodyChangedSince(t *testing.T) {
	for _, tool := range withFile() {
		for _, name := range []string{"as it is", "mark and CRLF", "empty"} {
			home := t.TempDir()
			c := connections(home)
			lay(t, c, tool, variants[name])
			c.mustConnect(t, tool.ID, target)
			c.Keys.Revoke(tool.ID) //nolint:errcheck // of a map
			for path := range tree(t, home) {
				raw, err := os.ReadFile(path)
				if err != nil {
					continue
				}
				if err := os.WriteFile(path, bytes.ReplaceAll(raw, []byte("gpt-5.5"), []byte("gpt-5.6-luna")), 0o640); err != nil {
					t.Fatal(err)
				}
			}
			want := tree(t, home)
			for _, port := range []string{"9901", "9902"} {
				if updated, err := c.Update("http://localhost:" + port); err != nil || !slices.Equal(updated, []string{tool.ID}) {
					t.Fatalf("%s, %s: %v %v", tool.ID, name, updated, err)
				}
				for path, text := range want {
					want[path] = strings.NewReplacer(":9879", ":"+port, ":9901", ":"+port).Replace(text)
				}
				same2(t, tool.ID+", "+name, want, tree(t, home))
			}
			if len(c.Keys.(fakeKeys)) != 0 {
				t.Errorf("%s: its key is good again", tool.ID)
			}
			if undo := c.mustUndo(t, tool.ID); undo.Exact || len(undo.Kept) == 0 {
				t.Errorf("%s, %s: what was kept is not told", tool.ID, name)
			}
		}
	}
}

// TestAnotherPortChangesOurKeysAlone: what is said elsewhere of the same address, and to which other program, is the
// user's, and so are keys that are gone.
func TestAnotherPortChangesOurKeysAlone(t *testing.T) {
	home := t.TempDir()
	c := connections(home)
	path := filepath.Join(home, ".codex", "config.toml")
	os.Mkdir(filepath.Dir(path), 0o755) //nolint:errcheck // the write tells
	before := "# http://localhost:9879 is mine\n[model_providers.mine]\nname = \"http://localhost:9879\"\nbase_url = \"http://localhost:9879/v1\" # http://localhost:9879\n"
	if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	c.mustConnect(t, "codex", target)
	raw, _ := os.ReadFile(path)
	changed := bytes.Replace(raw, []byte("model = \"gpt-5.5\"\n"), nil, 1)
	changed = append(changed, "# http://localhost:98790\n"...)
	if err := os.WriteFile(path, changed, 0o600); err != nil || len(changed) > len(raw)+10 {
		t.Fatal(err, len(changed), len(raw))
	}
	if _, err := c.Update("http://localhost:9901"); err != nil {
		t.Fatal(err)
	}
	want, _, _ := strings.Cut(string(changed), "[model_providers.codex-proxy]")
	now, _ := os.ReadFile(path)
	if got, ours, _ := strings.Cut(string(now), "[model_providers.codex-proxy]"); got != want || strings.Count(ours, ":9901/v1") != 1 || strings.Contains(ours, ":9879/v1") {
		t.Errorf("it is\n%s", now)
	}
	c.mustUndo(t, "codex")
	if now, _ := os.ReadFile(path); strings.TrimLeft(string(now), "\n") != before+"# http://localhost:98790\n" {
		t.Errorf("after the undo it is\n%s", now)
	}
}

// TestAMoveThatWasCutOffCanBeUndone: the journal says already where the tool is to point, its files do not.
func TestAMoveThatWasCutOffCanBeUndone(t *testing.T) {
	for _, tool := range withFile() {
		home := t.TempDir()
		c := connections(home)
		lay(t, c, tool, variants["as it is"])
		c.mustConnect(t, tool.ID, target)
		first := tool.files(c.System)[0]
		raw, _ := os.ReadFile(first.path)
		if err := os.WriteFile(first.path, append(raw, "\n"...), 0o640); err != nil { // the old bytes no longer do
			t.Fatal(err)
		}
		r, err := c.read(tool.ID)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := planMove(*r, "http://localhost:9901")
		if err == nil {
			err = c.write(*plan.record)
		}
		if err != nil {
			t.Fatal(err)
		}
		if undo := c.mustUndo(t, tool.ID); len(undo.Kept) > 0 {
			t.Errorf("%s: %v is taken for the user's", tool.ID, undo.Kept)
		}
	}
}

// TestAnUndoLeavesNoEmptyTable: the Codex CLI does not start with a provider that has no name. Remarks stay.
func TestAnUndoLeavesNoEmptyTable(t *testing.T) {
	const heading = "[model_providers.codex-proxy]"
	for _, edit := range [][2]string{
		{heading, heading + " # mine"},
		{heading, "# mine\n" + heading},
		{heading, heading + "\n# mine"},
		{"\n" + heading, "# mine\n\n# mine too\n\n" + heading + " # and mine"},
	} {
		home := t.TempDir()
		c := connections(home)
		path := filepath.Join(home, ".codex", "config.toml")
		c.mustConnect(t, "codex", target)
		raw, _ := os.ReadFile(path)
		if err := os.WriteFile(path, bytes.Replace(raw, []byte(edit[0]), []byte(edit[1]), 1), 0o600); err != nil {
			t.Fatal(err)
		}
		c.mustUndo(t, "codex")
		if now, err := os.ReadFile(path); err != nil || bytes.Contains(now, []byte("[")) || bytes.Count(now, []byte("mine")) != strings.Count(edit[1], "mine") {
			t.Errorf("after %q it is\n%s\n%v", edit[1], now, err)
		}
	}
}

// TestCrushIsConnectedThoughAModelWasChosenInIt: what is chosen in Crush is in a file of its own, and wins.
func TestCrushIsConnectedThoughAModelWasChosenInIt(t *testing.T) {
	home := t.TempDir()
	c := connections(home)
	path := filepath.Join(home, ".local", "share", "crush", "crush.json")
	os.MkdirAll(filepath.Dir(path), 0o755) //nolint:errcheck // the write tells
	before := `{"models":{"large":{"model":"claude-opus","provider":"anthropic","think":true}},"recent_models":{}}`
	if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	c.mustConnect(t, "crush", target)
	raw, _ := os.ReadFile(path)
	if large, _ := get(decodeJSON(string(raw)), []string{"models", "large"}); !reflect.DeepEqual(large, map[string]any{"provider": "codex-proxy", "model": "gpt-5.5"}) {
		t.Errorf("its model is %v", large)
	}
	c.mustUndo(t, "crush")
	if raw, _ = os.ReadFile(path); string(raw) != before {
		t.Errorf("after the undo it is %s", raw)
	}
}

// TestAnUndoThatKnowsNothingSaysWhatToDo: the record is damaged, and nothing is said to be back.
func TestAnUndoThatKnowsNothingSaysWhatToDo(t *testing.T) {
	for _, content := range []string{"", `{"tool":"cla`, "null", "{}"} {
		c := connections(t.TempDir())
		c.mustConnect(t, "claude", target)
		if err := os.WriteFile(c.path("claude"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := c.PlanUndo("claude"); err == nil || !strings.Contains(err.Error(), c.path("claude")+", and take the proxy out of the tool's settings yourself") {
			t.Errorf("%q: %v", content, err)
		}
	}
}

func TestALockThatCanNotBeOpenedIsNoOtherProgram(t *testing.T) {
	c := connections(t.TempDir())
	if err := os.MkdirAll(filepath.Join(c.Folder, "lock"), 0o700); err != nil {
		t.Fatal(err)
	}
	plan, err := c.Plan("claude", target)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Do(plan); err == nil || strings.Contains(err.Error(), "another Codex Proxy") || !strings.HasSuffix(err.Error(), ". Make that a file that you can write") {
		t.Errorf("%v", err)
	}
}

// TestAnotherPortKeepsWhatANewFileBeganWith: Continue takes no file without its name and version.
func TestAnotherPortKeepsWhatANewFileBeganWith(t *testing.T) {
	for _, tool := range withFile() {
		home := t.TempDir()
		c := connections(home)
		c.mustConnect(t, tool.ID, target)
		before := fmt.Sprint(tree(t, home))
		if _, err := c.Update("http://localhost:9901"); err != nil {
			t.Fatal(err)
		}
		if after := fmt.Sprint(tree(t, home)); after != strings.ReplaceAll(before, ":9879", ":9901") {
			t.Errorf("%s was\n%s\nand is\n%s", tool.ID, before, after)
		}
	}
}

func TestAnotherPortKeepsTheBeginningOfAFileThatWasAddedTo(t *testing.T) {
	home := t.TempDir()
	c := connections(home)
	c.mustConnect(t, "continue", target)
	path := filepath.Join(home, ".continue", "config.yaml")
	raw, _ := os.ReadFile(path)
	if err := os.WriteFile(path, append(raw, "rules: [\"mine\"]\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, port := range []string{"9901", "9902"} {
		if _, err := c.Update("http://localhost:" + port); err != nil {
			t.Fatal(err)
		}
		raw, _ = os.ReadFile(path)
		for _, want := range []string{"version:", "schema:", "rules:", ":" + port} {
			if !bytes.Contains(raw, []byte(want)) {
				t.Errorf("it lacks %s:\n%s", want, raw)
			}
		}
	}
	c.mustUndo(t, "continue")
	if raw, _ = os.ReadFile(path); string(raw) != "rules: [\"mine\"]\n" {
		t.Errorf("after the undo it is\n%s", raw)
	}
}

// TestAFileThatHasGoneSinceBeginsAnew: Continue takes none without its name and version, whoever's the first one was.
func TestAFileThatHasGoneSinceBeginsAnew(t *testing.T) {
	home := t.TempDir()
	c := connections(home)
	path := filepath.Join(home, ".continue", "config.yaml")
	os.Mkdir(filepath.Dir(path), 0o755) //nolint:errcheck // the write tells
	if err := os.WriteFile(path, []byte("name: mine\nversion: 1.0.0\nschema: v1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.mustConnect(t, "continue", target)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	c.mustConnect(t, "continue", target)
	if raw, err := os.ReadFile(path); !bytes.Contains(raw, []byte("version:")) || !bytes.Contains(raw, []byte("schema:")) {
		t.Errorf("it lacks its beginning:\n%s\n%v", raw, err)
	}
	c.mustUndo(t, "continue")
	if raw, err := os.ReadFile(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after the undo it is\n%s\n%v", raw, err)
	}
}

// TestAFileThatHoldsNothingBeginsAsANewOne: and is as it was after the undo.
func TestAFileThatHoldsNothingBeginsAsANewOne(t *testing.T) {
	for _, before := range []string{"", "\n", "# mine\n"} {
		home := t.TempDir()
		c := connections(home)
		path := filepath.Join(home, ".continue", "config.yaml")
		os.Mkdir(filepath.Dir(path), 0o755) //nolint:errcheck // the write tells
		if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			c.mustConnect(t, "continue", target)
			if raw, err := os.ReadFile(path); !bytes.Contains(raw, []byte("version:")) || !bytes.Contains(raw, []byte("schema:")) {
				t.Errorf("%q lacks its beginning:\n%s\n%v", before, raw, err)
			}
		}
		c.mustUndo(t, "continue")
		if raw, err := os.ReadFile(path); string(raw) != before || err != nil {
			t.Errorf("after the undo %q is\n%s\n%v", before, raw, err)
		}
	}
}

// TestAnotherPortStaysWithTheProfile: the program that changes its port knows nothing of the variable with which the tool
// was connected.
func TestAnotherPortStaysWithTheProfile(t *testing.T) {
	home := t.TempDir()
	c := connections(home)
	c.System.Getenv = func(name string) string {
		return map[string]string{"CLAUDE_CONFIG_DIR": filepath.Join(home, "work")}[name]
	}
	c.mustConnect(t, "claude", target)
	before := tree(t, home)
	c.System.Getenv = func(string) string { return "" }
	if _, err := c.Update("http://localhost:9901"); err != nil {
		t.Fatal(err)
	}
	for path, text := range before {
		before[path] = strings.ReplaceAll(text, ":9879", ":9901")
	}
	same2(t, "after the update", before, tree(t, home))
	c.mustUndo(t, "claude")
	same2(t, "after the undo", map[string]string{}, tree(t, home))
}

func TestAKeyThatTheUserChangedIsLeftAndNamed(t *testing.T) {
	home := t.TempDir()
	c := connections(home)
	path := filepath.Join(home, ".claude", "settings.json")
	c.mustConnect(t, "claude", target)
	raw, _ := os.ReadFile(path)
	if err := os.WriteFile(path, bytes.Replace(raw, []byte("http://localhost:9879"), []byte("https://other.example"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	undo := c.mustUndo(t, "claude")
	if undo.Exact || len(undo.Kept) != 1 || !strings.HasSuffix(undo.Kept[0], "env.ANTHROPIC_BASE_URL") {
		t.Errorf("kept %v", undo.Kept)
	}
	if raw, _ = os.ReadFile(path); !bytes.Contains(raw, []byte("other.example")) || bytes.Contains(raw, []byte("TOKEN")) {
		t.Errorf("it is %s", raw)
	}
}

func TestAFileThatChangesBetweenThePlanAndTheWriteStays(t *testing.T) {
	home := t.TempDir()
	c := connections(home)
	plan, err := c.Plan("claude", target)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(home, ".claude", "settings.json")
	os.MkdirAll(filepath.Dir(path), 0o755) //nolint:errcheck // the write tells
	if err := os.WriteFile(path, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Do(plan); err == nil {
		t.Error("it was written over")
	}
	if _, err := c.PlanUndo("claude"); !errors.Is(err, ErrNotConnected) {
		t.Errorf("it is connected: %v", err)
	}
}

// TestRandomFilesComeBack: random valid files come back byte for byte, and lose nothing but our keys when they were
// changed in between.
func TestRandomFilesComeBack(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	tools := withFile()
	for round := range 600 {
		tool := tools[round%len(tools)]
		for _, file := range tool.files(connections(t.TempDir()).System) {
			src := []byte(variants[[]string{"as it is", "CRLF", "byte order mark", "no last line end"}[r.IntN(4)]](randomFile(r, file)))
			f := formats[file.format]
			before, err := f.decode(bytes.TrimPrefix(src, bom))
			if err != nil {
				t.Fatalf("seed %d: the random file is wrong: %v\n%s", seed, err, src)
			}
			after, undo, err := apply(f, src, file.sets)
			if err != nil {
				t.Fatalf("seed %d, %s: %v\n%s", seed, tool.ID, err, src)
			}
			back, kept, err := revert(f, after, undo)
			if err != nil || len(kept) > 0 {
				t.Fatalf("seed %d, %s: %v %v\n%s\n%s", seed, tool.ID, err, kept, src, after)
			}
			if got, err := f.decode(bytes.TrimPrefix(back, bom)); err != nil || !same(filled(got), filled(before)) {
				t.Fatalf("seed %d, %s: %v\n%s\nafter\n%s\nback\n%s", seed, tool.ID, err, src, after, back)
			}
			for line := range bytes.Lines(src) { // no remark is lost
				for _, mark := range []string{"//", "# "} {
					if i := bytes.Index(line, []byte(mark)); i >= 0 && !bytes.Contains(back, bytes.TrimSpace(line[i:])) {
						t.Fatalf("seed %d, %s: lost %q\n%s\n%s", seed, tool.ID, line[i:], src, back)
					}
				}
			}
		}
	}
}

func pick(r *rand.Rand, of ...string) string { return of[r.IntN(len(of))] }

func randomFile(r *rand.Rand, f file) string {
	switch f.format {
	case "json":
		list := strings.HasPrefix(f.sets[0].Path[0], "[")
		return pick(r, "", "// head\n", "\n") + randomJSON(r, 3, pick(r, "  ", "\t", "    "), "", list, !list) + pick(r, "", "\n", "\n// end\n")
	case "toml":
		var b strings.Builder
		for i := range r.IntN(4) {
			fmt.Fprintf(&b, "%s%sk%d%s= %s%s\n", pick(r, "", "\n", "# r\n"), pick(r, "", "  "), i, pick(r, " ", "   "), randomScalar(r), pick(r, "", " # why"))
		}
		if r.IntN(3) == 0 {
			fmt.Fprintf(&b, "model = %s # mine\n", pick(r, `"a"`, `'b'`))
		}
		for i := range r.IntN(3) {
			fmt.Fprintf(&b, "%s[t%d]%s\nx = [\n  1, # one\n  2,\n]\n", pick(r, "", "\n", "# table\n"), i, pick(r, "", " # t"))
		}
		return b.String()
	}
	return randomYAML(r, f)
}

func randomScalar(r *rand.Rand) string {
	return pick(r, `"a"`, `"a # b"`, `1`, `true`, `"é 🙂"`, `-2.5`, `"//no"`, `""`)
}

func randomJSON(r *rand.Rand, depth int, unit, indent string, list, object bool) string {
	if depth == 0 || !list && !object && r.IntN(2) == 0 {
		return pick(r, `"a"`, `"é \" // x"`, `1`, `true`, `null`, `-2.5e3`, `{}`, `[]`)
	}
	list = list || !object && r.IntN(2) == 0
	open, close := "{", "}"
	if list {
		open, close = "[", "]"
	}
	n, inline := r.IntN(4), r.IntN(3) == 0
	if n == 0 {
		return open + pick(r, "", " ", "\n"+indent, " /* nothing */ ") + close
	}
	var b strings.Builder
	b.WriteString(open)
	for i := range n {
		if inline {
			b.WriteString(pick(r, "", " "))
		} else {
			b.WriteString(pick(r, "", "", " // remark", " /* r */") + "\n" + pick(r, "", "", "\n", indent+unit+"// own line\n") + indent + unit)
		}
		if !list {
			fmt.Fprintf(&b, "%q%s:%s", fmt.Sprintf("k%d", i), pick(r, "", "", " "), pick(r, " ", "", "  "))
		}
		b.WriteString(randomJSON(r, depth-1, unit, indent+unit, false, false))
		if i < n-1 || r.IntN(4) == 0 {
			b.WriteString(",")
		}
	}
	if !inline {
		b.WriteString(pick(r, "", " // last") + "\n" + indent)
	}
	return b.String() + close
}

func randomYAML(r *rand.Rand, f file) string {
	var b strings.Builder
	path := f.sets[len(f.sets)-1].Path
	if strings.HasPrefix(path[0], "[") {
		for i := range r.IntN(3) {
			fmt.Fprintf(&b, "%s- model_id: m%d%s\n  list: [1, 2]\n  text: |\n    a\n    # b\n", pick(r, "", "\n", "# remark\n"), i, pick(r, "", " # why"))
		}
		return b.String()
	}
	b.WriteString(pick(r, "", "---\n", "# head\n\n"))
	list := func() {
		if len(path) == 1 {
			return
		}
		indent := pick(r, "", "  ", "    ")
		switch r.IntN(4) {
		case 0:
			b.WriteString(path[0] + ": []\n")
		case 1:
			b.WriteString(path[0] + `: [{"name": "x", "id": "x"}]` + "\n")
		default:
			b.WriteString(path[0] + ":" + pick(r, "", " # mine") + "\n")
			for i := range 1 + r.IntN(3) {
				fmt.Fprintf(&b, "%s%s- name: n%d\n%s  id: i%d%s\n", pick(r, "", "\n", "# remark\n"), indent, i, indent, i, pick(r, "", " # why"))
			}
		}
	}
	at := r.IntN(4)
	for i := range 4 {
		if i == at {
			list()
		}
		fmt.Fprintf(&b, "%sk%d: %s\n", pick(r, "", "\n", "# r\n"), i, pick(r, "plain text", `"quoted"`, "'single'", "1", "true", "{a: 1}", "|\n  lines\n  # of text", "\n  deep:\n    er: 1"))
	}
	if len(path) == 1 && r.IntN(2) == 0 {
		fmt.Fprintf(&b, "%s: %s # old\n", path[0], pick(r, "plain", `"quoted"`, "'it''s'"))
	}
	return b.String()
}

// TestNoToolIsGivenItsKeyInAnArgument, which everybody on the machine can see.
func TestNoToolIsGivenItsKeyInAnArgument(t *testing.T) {
	system := System{OS: "linux", Home: t.TempDir(), Getenv: func(string) string { return "" }, Look: func(name string) (string, error) { return "/bin/" + name, nil }}
	ran := 0
	for _, tool := range Tools() {
		if !tool.CanRun() {
			continue
		}
		ran++
		command, err := Start(tool.ID, Target{Root: "http://localhost:1", Model: "m", Key: "s3cret-key"}, []string{"hello"}, system)
		if err != nil {
			t.Fatal(err)
		}
		given := strings.Join(command.Env, "\n")
		if command.temporary != "" {
			raw, err := os.ReadFile(command.temporary)
			if err != nil {
				t.Fatal(err)
			}
			given += string(raw)
			if info, err := os.Stat(command.temporary); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: the file is %v (%v)", tool.ID, info.Mode(), err)
			}
		}
		if strings.Contains(strings.Join(command.Args, " "), "s3cret") || !strings.Contains(given, "s3cret-key") {
			t.Errorf("%s is started with %q and given %q", tool.ID, command.Args, given)
		}
		command.Close()
	}
	if ran < 5 {
		t.Errorf("%d tools can be started", ran)
	}
}

// TestClaudeCodeIsTurnedAwayFromClouds: a variable that chooses one wins over the base URL.
func TestClaudeCodeIsTurnedAwayFromClouds(t *testing.T) {
	const bedrock = "CLAUDE_CODE_USE_BEDROCK"
	settings := `{"env": {"` + bedrock + `": "1", "AWS_REGION": "eu-west-1"}}`
	for _, x := range []struct {
		name, settings, environment string
		off                         bool
	}{
		{"the settings choose one", settings, "", true},
		{"the environment chooses one", `{"model": "opus"}`, "1", true},
		{"nothing chooses one", `{"model": "opus"}`, "", false},
	} {
		t.Run(x.name, func(t *testing.T) {
			home := t.TempDir()
			c := connections(home)
			c.System.Getenv = func(name string) string { return map[string]string{bedrock: x.environment}[name] }
			path := filepath.Join(home, ".claude", "settings.json")
			if err := errors.Join(os.Mkdir(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(x.settings), 0o600)); err != nil {
				t.Fatal(err)
			}
			before := tree(t, home)
			c.mustConnect(t, "claude", target)
			text, err := os.ReadFile(path)
			if err != nil || strings.Contains(string(text), `"`+bedrock+`": "0"`) != x.off || strings.Count(string(text), "CLAUDE_CODE_USE_") > 1 {
				t.Errorf("%s %v", text, err)
			}
			c.mustUndo(t, "claude")
			same2(t, "after the undo", before, tree(t, home))
		})
	}
	c := connections(t.TempDir())
	c.System.Look = func(name string) (string, error) { return "/bin/" + name, nil }
	command, err := Start("claude", target, nil, c.System)
	if err != nil {
		t.Fatal(err)
	}
	defer command.Close()
	if raw, err := os.ReadFile(command.temporary); err != nil || !strings.Contains(string(raw), `"`+bedrock+`":"0"`) || !slices.Contains(command.Env, bedrock+"=0") {
		t.Errorf("it is started with %s and %q (%v)", raw, command.Env, err)
	}
}

// TestPiIsGivenTheKeyItself: a variable's name was the key in its place, from pi 0.77 on, which wants a $ before one.
func TestPiIsGivenTheKeyItself(t *testing.T) {
	system := System{OS: "linux", Home: t.TempDir(), Getenv: func(string) string { return "" }, Look: func(name string) (string, error) { return "/bin/" + name, nil }}
	command, err := Start("pi", Target{Root: "http://localhost:1", Model: "m", Key: "s3cret-key"}, nil, system)
	if err != nil {
		t.Fatal(err)
	}
	defer command.Close()
	if raw, err := os.ReadFile(command.temporary); err != nil || !strings.Contains(string(raw), `"apiKey":"s3cret-key"`) {
		t.Errorf("%s %v", raw, err)
	}
}

// TestTheFileThatWinsIsWritten: opencode and Kilo merge their files, and the last of these has the last word.
func TestTheFileThatWinsIsWritten(t *testing.T) {
	for id, files := range map[string][]string{
		"opencode": {"config.json", "opencode.json", "opencode.jsonc"},
		"kilo":     {"config.json", "kilo.json", "kilo.jsonc", "opencode.json", "opencode.jsonc"},
	} {
		c := connections(t.TempDir())
		folder := filepath.Join(c.System.Config, id)
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		written := func(want string) {
			plan, err := c.Plan(id, target)
			if err != nil || len(plan.Changes) != 1 || filepath.Base(plan.Changes[0].Path) != want {
				t.Errorf("%s, not %s: %+v %v", id, want, plan, err)
			}
		}
		written(id + ".json")
		for _, file := range files {
			if err := os.WriteFile(filepath.Join(folder, file), []byte(`{"model": "another/model"}`), 0o600); err != nil {
				t.Fatal(err)
			}
			written(file)
		}
	}
}

// TestQwenCodesOwnVariablesPointHereToo: what its settings say of the environment wins over their other keys. The
// environment wins over that, so what it says alone is not written: what Qwen Code starts would get our key elsewhere.
func TestQwenCodesOwnVariablesPointHereToo(t *testing.T) {
	home := t.TempDir()
	c := connections(home)
	c.System.Getenv = func(name string) string { return map[string]string{"OPENAI_MODEL": "mine"}[name] }
	path := filepath.Join(home, ".qwen", "settings.json")
	settings := `{"env": {"OPENAI_API_KEY": "sk-mine", "OPENAI_BASE_URL": "https://example.com/v1", "OTHER": "1"}}`
	if err := errors.Join(os.Mkdir(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(settings), 0o600)); err != nil {
		t.Fatal(err)
	}
	before := tree(t, home)
	c.mustConnect(t, "qwen", target)
	text, err := os.ReadFile(path)
	if want := `{"OPENAI_API_KEY": "cp-qwen-0123456789", "OPENAI_BASE_URL": "http://localhost:9879/v1", "OTHER": "1"}`; err != nil || !strings.Contains(string(text), want) {
		t.Errorf("%s %v", text, err)
	}
	c.mustUndo(t, "qwen")
	same2(t, "after the undo", before, tree(t, home))
}

// TestAListOfProvidersGetsOurs: opencode and Kilo leave out a provider that is not in it, if there is one.
func TestAListOfProvidersGetsOurs(t *testing.T) {
	for _, id := range []string{"opencode", "kilo"} {
		for before, after := range map[string]string{
			`["anthropic"]`:                `["anthropic", "codex-proxy"]`,
			`["codex-proxy", "anthropic"]`: `["codex-proxy", "anthropic"]`,
			`[]`:                           "[\n    \"codex-proxy\"\n  ]",
		} {
			home := t.TempDir()
			c := connections(home)
			c.System.Look = func(name string) (string, error) { return "/bin/" + name, nil }
			path := filepath.Join(c.System.Config, id, id+".json")
			settings := "{\n  \"enabled_providers\": " + before + ", // mine\n}\n"
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(settings), 0o600)); err != nil {
				t.Fatal(err)
			}
			was := tree(t, home)
			command, err := Start(id, target, nil, c.System)
			if err != nil {
				t.Fatal(err)
			}
			if _, content, _ := strings.Cut(command.Env[0], "="); gjson.Get(content, "enabled_providers|@ugly").Raw != gjson.Get(after, "@ugly").Raw {
				t.Errorf("%s: %s is run with %s", id, before, content)
			}
			c.mustConnect(t, id, target)
			if text, err := os.ReadFile(path); err != nil || !strings.Contains(string(text), "\"enabled_providers\": "+after+", // mine") {
				t.Errorf("%s: %s became %s %v", id, before, text, err)
			}
			c.mustUndo(t, id)
			same2(t, "after the undo", was, tree(t, home))
		}
	}
}

// TestTheListOfProvidersThatCountsGetsOurs: opencode and Kilo merge their files, and a list may be in a weaker one, which
// may be there to be read only.
func TestTheListOfProvidersThatCountsGetsOurs(t *testing.T) {
	for _, id := range []string{"opencode", "kilo"} {
		home := t.TempDir()
		c := connections(home)
		c.System.Look = func(name string) (string, error) { return "/bin/" + name, nil }
		path := filepath.Join(c.System.Config, id, id+".json")
		list := `{"enabled_providers": ["anthropic"]}`
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(list), 0o600),
			os.WriteFile(path+"c", []byte(`{"theme": "mine"}`), 0o600)); err != nil {
			t.Fatal(err)
		}
		before := tree(t, home)
		c.mustConnect(t, id, target)
		if text, err := os.ReadFile(path); err != nil || string(text) != `{"enabled_providers": ["anthropic", "codex-proxy"]}` {
			t.Errorf("%s: %s %v", id, text, err)
		}
		if _, err := c.Update("http://localhost:1"); err != nil {
			t.Errorf("%s: at another port: %v", id, err)
		}
		c.mustUndo(t, id)
		same2(t, "after the undo", before, tree(t, home))
		if err := os.Chmod(path, 0o400); err != nil {
			t.Fatal(err)
		}
		command, err := Start(id, target, nil, c.System)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(command.Env[0], `"enabled_providers":["anthropic","codex-proxy"]`) {
			t.Errorf("%s is run with %s", id, command.Env[0])
		}
	}
}

// TestARunReachesEverythingWithoutTheNetworksProxyWhereThatWasSaid: curl and Python take a star for all only where it
// stands alone.
func TestARunReachesEverythingWithoutTheNetworksProxyWhereThatWasSaid(t *testing.T) {
	for _, x := range []struct{ upper, lower, wantUpper, wantLower string }{
		{"*", "", "*", "*"},
		{"", "*", "*", "*"},
		{".example.org", "*", ".example.org,localhost,127.0.0.1,::1", "*"},
	} {
		s := System{Getenv: func(name string) string { return map[string]string{"NO_PROXY": x.upper, "no_proxy": x.lower}[name] }}
		if got := pastNetworkProxy(s); !slices.Equal(got, []string{"NO_PROXY=" + x.wantUpper, "no_proxy=" + x.wantLower}) {
			t.Errorf("%+v: %q", x, got)
		}
	}
}

// TestAMoveThatWasCutOffCanBeMadeAgain: the journal says already where the tool is to point, its files do not.
func TestAMoveThatWasCutOffCanBeMadeAgain(t *testing.T) {
	for _, tool := range withFile() {
		for _, edited := range []bool{false, true} {
			for _, port := range []string{"9901", "9902"} { // the same again, and another one
				home := t.TempDir()
				c := connections(home)
				lay(t, c, tool, variants["as it is"])
				before := tree(t, home)
				c.mustConnect(t, tool.ID, target)
				first := tool.files(c.System)[0].path
				if edited {
					raw, _ := os.ReadFile(first)
					if err := os.WriteFile(first, append(raw, "\n"...), 0o640); err != nil {
						t.Fatal(err)
					}
				}
				want := tree(t, home)
				r, err := c.read(tool.ID)
				if err != nil {
					t.Fatal(err)
				}
				plan, err := planMove(*r, "http://localhost:9901")
				if err == nil {
					err = c.write(*plan.record)
				}
				if err != nil {
					t.Fatal(err)
				}
				for _, updated := range [][]string{{tool.ID}, nil} { // and once only
					if got, err := c.Update("http://localhost:" + port); err != nil || !slices.Equal(got, updated) {
						t.Errorf("%s to %s: %v %v", tool.ID, port, got, err)
					}
				}
				for path, text := range want {
					want[path] = strings.ReplaceAll(text, ":9879", ":"+port)
				}
				same2(t, tool.ID, want, tree(t, home))
				if undo := c.mustUndo(t, tool.ID); undo.Exact == edited || len(undo.Kept) > 0 {
					t.Errorf("%s to %s: exact: %v, kept: %v", tool.ID, port, undo.Exact, undo.Kept)
				}
				if !edited {
					same2(t, tool.ID, before, tree(t, home))
				}
			}
		}
	}
}

// TestAnotherPortKeepsWhoMayReadAFile: there is a key in it.
func TestAnotherPortKeepsWhoMayReadAFile(t *testing.T) {
	home := t.TempDir()
	c := connections(home)
	path := filepath.Join(home, ".claude", "settings.json")
	os.Mkdir(filepath.Dir(path), 0o755) //nolint:errcheck // the write tells
	if err := os.WriteFile(path, []byte("{}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	c.mustConnect(t, "claude", target)
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Update("http://localhost:9901"); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("it is %v (%v)", info.Mode(), err)
	}
}
