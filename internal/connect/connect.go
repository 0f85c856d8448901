// Package connect points tools at the proxy and puts everything back.
//
//   - tools.go: the table of tools: how each is found, its files, keys and environment. A new tool is one entry
//   - edit.go, json.go, toml.go, yaml.go: change only our keys in the text of a settings file
//   - journal.go, write.go: what was there before the first byte is written, and how it comes back
//   - connect.go: plans: what connecting or undoing would change, and doing it
//   - diff.go: a change for people; run.go: starting a tool without writing anything
package connect

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"codex-proxy/internal/atomicfile"
)

// Target is where a tool is pointed.
type Target struct {
	Root  string // http://localhost:9879
	Model string // an id of /v1/models
	Key   string // the tool's own API key
}

// usualModel stands for the first model of the plan until that is known.
const usualModel = "gpt-5.5"

// Fill puts a target into a text that has {ROOT}, {MODEL}, {PORT} and {KEY}.
func (t Target) Fill(text string) string {
	if t.Model == "" {
		t.Model = usualModel
	}
	port := t.Root[strings.LastIndexByte(t.Root, ':')+1:]
	return strings.NewReplacer("{ROOT}", t.Root, "{MODEL}", t.Model, "{PORT}", port, "{KEY}", t.Key).Replace(text)
}

// fill puts a target into keys and their values.
func (t Target) fill(sets []Set) (out []Set) {
	for _, s := range sets {
		set := Set{Value: t.Fill(s.Value)}
		for _, step := range s.Path {
			set.Path = append(set.Path, t.Fill(step))
		}
		out = append(out, set)
	}
	return out
}

// Keys gives tools keys of their own. Safe for concurrent use.
type Keys interface {
	// Add makes key known under a name and for what it is; one of that name is replaced.
	Add(name, key string) error
	// Revoke makes the key of a name unknown; none is no error.
	Revoke(name string) error
	// Knows reports whether a key is known; also where that can't be told.
	Knows(key string) bool
}

// Connections are the tools of one user. Its fields are set before use. Safe for concurrent use, by several processes
// too: a change holds a lock in Folder.
type Connections struct {
	// Folder is where the journal is kept, 0700.
	Folder string
	// System is the machine that the tools are looked for on.
	System System
	// Keys gives and takes the tools' keys.
	Keys Keys
	// NewKey makes a key for the tool of an id.
	NewKey func(id string) string

	step func(string) // for tests: called at each step that can be the last one
}

// Change is what happens to one file.
type Change struct {
	Path    string // as the tool names it
	Before  []byte // nil when there is no file
	After   []byte // nil when there is to be no file
	entry   entry
	restore bool // the file is as it was left: After is what it was
}

// Plan is what connecting or undoing changes. Nothing has happened yet.
type Plan struct {
	Tool    Tool
	Changes []Change
	// Exact means of an undo that each file is as it was left and gets its old bytes back.
	Exact bool
	// Kept names keys that somebody has changed since: an undo leaves those as they are.
	Kept []string

	record *record // for connecting: the journal's new entry
	old    *record // what the journal said of the tool, for one that was connected
	keyed  bool    // the tool's key is to be made known
}

// ErrNoFile means that a tool has no file to write: its recipe is to be copied.
var ErrNoFile = errors.New("it has no settings file that can be written")

// ErrNotConnected means that there is nothing to undo.
var ErrNotConnected = errors.New("it is not connected")

// Plan works out what connecting a tool changes. The key that it gets is made here, and known to the proxy after Do.
// One that is connected already is brought up to date. Errors are ErrNoFile or say which file can't be changed and why.
func (c *Connections) Plan(id string, target Target) (*Plan, error) {
	tool, ok := Named(id)
	if !ok {
		return nil, fmt.Errorf("there is no tool %q", id)
	}
	if tool.files == nil {
		return nil, ErrNoFile
	}
	before, err := c.read(id)
	if err != nil && !errors.Is(err, ErrNotConnected) {
		return nil, err
	}
	target.Key = c.NewKey(id)
	if before != nil && c.Keys.Knows(before.Key) { // else it was revoked
		target.Key = before.Key
	}
	plan := &Plan{Tool: tool, old: before, record: &record{Tool: id, Root: target.Root, Key: target.Key, Time: time.Now().UTC()}, keyed: true}
	for i, file := range tool.files(c.System) {
		var head []Set
		if i == 0 {
			head = tool.head
		}
		change, err := c.connect(file, head, target, before)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file.path, err)
		}
		plan.Changes = append(plan.Changes, change)
		plan.record.Files = append(plan.record.Files, change.entry)
	}
	if before != nil { // files that it no longer needs come back
		for _, old := range before.Files {
			if slices.ContainsFunc(plan.record.Files, func(e entry) bool { return e.Path == old.Path }) {
				continue
			}
			change, _, err := undo(old)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", old.Path, err)
			}
			plan.Changes = append(plan.Changes, change)
			plan.record.Files = append(plan.record.Files, change.entry)
		}
	}
	return plan, nil
}

// connect works out the change of one file, which begins with head where it says nothing yet.
func (c *Connections) connect(file file, head []Set, target Target, before *record) (Change, error) {
	now, real, mode, err := readFile(file.path)
	if err != nil {
		return Change{}, err
	}
	change := Change{Path: file.path, Before: now}
	e := entry{Path: file.path, Real: real, Format: file.format, Existed: now != nil, Mode: mode, Before: now, Made: missingFolders(real)}
	begun := false
	if before != nil {
		for _, old := range before.Files {
			if old.Path != file.path {
				continue
			}
			back, _, err := undo(old) // what was changed since becomes what was before
			if err != nil {
				return Change{}, err
			}
			begun = len(head) > 0 && slices.ContainsFunc(old.Undo, func(w was) bool { return slices.Equal(w.Path, head[0].Path) })
			e.Existed, e.Before, e.Mode, e.Made = back.After != nil, back.After, old.Mode, old.Made
			e.After = append(e.After, digest(now))
		}
	}
	sets := file.sets
	if begun || saysNothing(formats[file.format], e.Before) {
		sets = slices.Concat(head, sets)
	}
	after, undo, err := apply(formats[file.format], e.Before, target.fill(sets))
	if err != nil {
		return Change{}, err
	}
	e.Undo, e.After = undo, append(e.After, digest(after))
	change.After, change.entry = after, e
	return change, nil
}

// PlanUndo works out what putting everything back changes. The error is ErrNotConnected, or says which file can't be
// put back and why.
func (c *Connections) PlanUndo(id string) (*Plan, error) {
	tool, ok := Named(id)
	if !ok {
		return nil, fmt.Errorf("there is no tool %q", id)
	}
	r, err := c.read(id)
	if err != nil {
		return nil, err
	}
	plan := &Plan{Tool: tool, Exact: true}
	for _, e := range r.Files {
		change, kept, err := undo(e)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.Path, err)
		}
		plan.Changes = append(plan.Changes, change)
		plan.Exact = plan.Exact && change.restore
		for _, key := range kept {
			plan.Kept = append(plan.Kept, e.Path+": "+key)
		}
	}
	return plan, nil
}

// undo works out how one file comes back.
func undo(e entry) (Change, []string, error) {
	now, real, _, err := readFile(e.Path)
	if err != nil {
		return Change{}, nil, err
	}
	e.Real = real // its user may have moved it since
	change := Change{Path: e.Path, Before: now, entry: e}
	switch {
	case bytes.Equal(now, e.Before) && (now != nil) == e.Existed: // not written yet, or back already
		change.After, change.restore = now, true
	case slices.Contains(e.After, digest(now)) && now != nil:
		change.restore = true
		if e.Existed {
			change.After = nonNil(e.Before)
		}
	case now == nil: // somebody has deleted it: so be it
		change.restore = true
	default:
		after, kept, err := revert(formats[e.Format], now, e.Undo)
		if err != nil {
			return Change{}, nil, err
		}
		if !e.Existed && saysNothing(formats[e.Format], after) && !hasRemarks(after) {
			after = nil
		}
		change.After = after
		return change, kept, nil
	}
	return change, nil, nil
}

// saysNothing reports whether a file has no keys, or is none.
func saysNothing(f format, text []byte) bool {
	tree, err := f.decode(bytes.TrimPrefix(text, bom))
	return err == nil && filled(tree) == nil
}

// hasRemarks reports whether there is something in a text that says nothing.
func hasRemarks(text []byte) bool {
	return len(bytes.Trim(text, "{}[] \t\r\n\xef\xbb\xbf")) > 0
}

func nonNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// Changed reports whether the plan changes any file.
func (p *Plan) Changed() bool {
	return slices.ContainsFunc(p.Changes, func(c Change) bool { return !bytes.Equal(c.Before, c.After) || (c.Before == nil) != (c.After == nil) })
}

// Do carries a plan out. A file that has been changed since the plan was made stays, and is the error. Where connecting
// fails, everything is as it was. Killed at any point, each file is the old or the new one, and an undo works.
func (c *Connections) Do(plan *Plan) error {
	release, err := c.lock()
	if err != nil {
		return err
	}
	defer release()
	for _, change := range plan.Changes {
		now, _, _, err := readFile(change.Path)
		if err != nil {
			return fmt.Errorf("%s: %w", change.Path, err)
		}
		if !bytes.Equal(now, change.Before) || (now == nil) != (change.Before == nil) {
			return fmt.Errorf("%s is being changed by another program. Nothing was changed here: try again", change.Path)
		}
	}
	if plan.record != nil {
		c.at("journal")
		if err := c.write(*plan.record); err != nil {
			return err
		}
	}
	if plan.keyed {
		c.at("key")
		if err := c.Keys.Add(plan.Tool.ID, plan.record.Key); err != nil {
			return errors.Join(err, c.writeBack(plan))
		}
	}
	for i, change := range plan.Changes {
		if err := c.put(change); err != nil {
			err = fmt.Errorf("%s: %w", change.Path, err)
			if plan.record != nil {
				err = errors.Join(err, c.takeBack(plan, i))
			}
			return err
		}
	}
	if plan.record != nil {
		return nil
	}
	c.at("revoke")
	if err := c.Keys.Revoke(plan.Tool.ID); err != nil {
		return err
	}
	c.at("forget")
	return c.forget(plan.Tool.ID)
}

// takeBack undoes a plan for connecting whose change n has failed. Where that fails, too, the journal still knows the way.
func (c *Connections) takeBack(plan *Plan, n int) error {
	removeFolders(plan.Changes[n].entry.Made) // they are empty, or stay
	for _, change := range slices.Backward(plan.Changes[:n]) {
		change.Before, change.After = change.After, change.Before
		if err := c.put(change); err != nil {
			return fmt.Errorf("%s: %w", change.Path, err)
		}
	}
	var err error
	if plan.old == nil {
		err = c.Keys.Revoke(plan.Tool.ID)
	}
	return errors.Join(err, c.writeBack(plan))
}

// writeBack has the journal say again what it said before a plan for connecting.
func (c *Connections) writeBack(plan *Plan) error {
	if plan.old != nil {
		return c.write(*plan.old)
	}
	return c.forget(plan.Tool.ID)
}

func (c *Connections) at(step string) {
	if c.step != nil {
		c.step(step)
	}
}

// put brings one file to what it is to be.
func (c *Connections) put(change Change) error {
	e := change.entry
	removeStale(e.Real)
	if bytes.Equal(change.Before, change.After) && (change.Before == nil) == (change.After == nil) {
		if change.After == nil {
			removeFolders(e.Made)
		}
		return nil
	}
	if change.After == nil {
		c.at("remove")
		for _, path := range []string{e.Real, e.Path} { // two where its user has linked it since
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		atomicfile.SyncFolder(filepath.Dir(e.Real))
		c.at("folders")
		removeFolders(e.Made)
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(e.Real), 0o700); err != nil {
		return err
	}
	return writeFile(e.Real, change.After, e.Mode, c.at)
}

// Status is how a tool is.
type Status struct {
	Tool
	Found     bool   // on this machine
	Connected bool   // by us
	Root      string // where it points, when it is connected
	// By says who pointed it at a proxy of this machine, when that was not us; empty for nobody.
	By string
}

// List says how each tool of the table is. root is where the proxy is.
func (c *Connections) List(root string) []Status {
	var out []Status
	for _, tool := range Tools() {
		out = append(out, c.status(tool, root))
	}
	return out
}

func (c *Connections) status(tool Tool, root string) Status {
	s := Status{Tool: tool, Found: tool.found(c.System)}
	if r, err := c.read(tool.ID); err == nil {
		s.Connected, s.Root = true, r.Root
		return s
	}
	if tool.files == nil {
		return s
	}
	for _, file := range tool.files(c.System) {
		text, _, _, err := readFile(file.path)
		port := []byte(":" + root[strings.LastIndexByte(root, ':')+1:])
		for _, host := range []string{"localhost", "127.0.0.1", "[::1]"} {
			if err == nil && bytes.Contains(text, append([]byte(host), port...)) {
				s.By = "by hand, in " + file.path
			}
		}
	}
	return s
}

// Update points what is connected at another root, and returns the ids of the tools that were brought up to date. What
// somebody has changed since stays, but for where it points. The error names the tools that could not be updated.
func (c *Connections) Update(root string) (updated []string, err error) {
	for _, id := range c.Connected() {
		r, e := c.read(id)
		if e != nil || r.Root == root && r.From == "" {
			continue
		}
		plan, e := planMove(*r, root)
		if r.Root == root && (e != nil || !plan.Changed()) {
			continue // no crash has cut it off
		}
		if e == nil {
			e = c.Do(plan)
		}
		if e != nil {
			err = errors.Join(err, fmt.Errorf("%s still points at %s: %w", id, r.Root, e))
			continue
		}
		updated = append(updated, id)
	}
	return updated, err
}

// planMove works out what pointing a connected tool at another root changes in the files where it is connected.
func planMove(r record, root string) (*Plan, error) {
	tool, ok := Named(r.Tool)
	if !ok {
		return nil, fmt.Errorf("there is no tool %q", r.Tool)
	}
	plan := &Plan{Tool: tool, old: &r, record: &record{Tool: r.Tool, Root: root, From: r.Root, Key: r.Key, Time: time.Now().UTC()}}
	if r.Root == root {
		plan.record.From = r.From
	}
	mention := regexp.MustCompile("(?:" + regexp.QuoteMeta(r.Root) + "|" + regexp.QuoteMeta(cmp.Or(r.From, r.Root)) + `)\b`)
	for _, e := range r.Files {
		change, err := moveFile(e, mention, root)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.Path, err)
		}
		plan.Changes = append(plan.Changes, change)
		plan.record.Files = append(plan.record.Files, change.entry)
	}
	return plan, nil
}

// moveFile works out the change of one file.
func moveFile(e entry, mention *regexp.Regexp, to string) (Change, error) {
	now, real, mode, err := readFile(e.Path)
	if err != nil {
		return Change{}, err
	}
	e.Real = real // its user may have moved it since
	change := Change{Path: e.Path, Before: now, After: now}
	if now != nil {
		e.Mode = mode
		ours := slices.Contains(e.After, digest(now)) // as it was left
		if change.After, e.Undo, err = move(formats[e.Format], now, e.Undo, mention, to); err != nil {
			return Change{}, err
		}
		if ours {
			e.After = []string{digest(now), digest(change.After)}
		}
	}
	change.entry = e
	return change, nil
}
