package connect

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// Set is one key of a settings file and the value that it gets.
type Set struct {
	// Path leads to the key from the outside in. A step like [name=Codex Proxy] is the element of a list whose field
	// has that value, and [=text] the one that is that text; it can only be the last one.
	Path []string `json:"path"`
	// Value is JSON, whatever the format of the file.
	Value string `json:"value"`
}

// SyntaxError says where a settings file can't be read. Such a file is never written: its user must mend it.
type SyntaxError struct {
	Line, Column int // from 1; 0 when it is not known
	Message      string
}

func (e *SyntaxError) Error() string {
	place := ""
	if e.Line > 0 {
		place = fmt.Sprintf("line %d, column %d: ", e.Line, e.Column)
	}
	return place + e.Message + ". Nothing was changed: mend it, and try again"
}

// errShape means that the file is written in a way that an edit of its text can't follow. The user must edit it.
var errShape = errors.New("it is written in a way that can't be edited safely. Nothing was changed: edit it by hand")

// A format edits the text of one kind of settings file and leaves every byte alone that need not change. Texts have no
// byte order mark. An empty text is a file with nothing set.
type format interface {
	// decode reads all that the file says; a *SyntaxError when it can't be read.
	decode(src []byte) (any, error)
	// raw is the text of the value at path.
	raw(src []byte, path []string) (text string, ok bool)
	// add puts a value, JSON, where there is none yet.
	add(src []byte, path []string, value string) ([]byte, error)
	// replace puts text, in the file's own words, in the place of the value at path.
	replace(src []byte, path []string, text string) ([]byte, error)
	// words is JSON in the file's own words, for replace.
	words(src []byte, path []string, value string) string
	// remove takes the key at path away, and what is empty then, but nothing that leads to the first keep steps.
	remove(src []byte, path []string, keep int) ([]byte, error)
}

// was is how a key was before it was set.
type was struct {
	Set
	Had  bool   `json:"had,omitempty"`  // there was a value
	Old  string `json:"old,omitempty"`  // its text, in the file's own words
	Keep int    `json:"keep,omitempty"` // how many steps of the path were there
	From string `json:"from,omitempty"` // the value, JSON, before it was last moved; a crash may have left it
}

// isOurs reports whether a value is the one that was set.
func (w was) isOurs(value any) bool {
	return slices.ContainsFunc([]string{w.Value, w.From}, func(text string) bool {
		var ours any
		return json.Unmarshal([]byte(text), &ours) == nil && reflect.DeepEqual(value, ours)
	})
}

var bom = []byte("\xef\xbb\xbf")

// apply sets keys and returns the new text, and what undoes it. What the new text says has been compared with what the
// old one said: nothing but the keys differs.
func apply(f format, src []byte, sets []Set) ([]byte, []was, error) {
	text, tree, restore, err := open(f, src)
	if err != nil {
		return nil, nil, err
	}
	var undo []was
	for _, s := range sets {
		w := was{Set: s, Keep: depth(tree, s.Path)}
		if w.Old, w.Had = f.raw(text, s.Path); w.Had {
			text, err = f.replace(text, s.Path, f.words(text, s.Path, s.Value))
		} else {
			text, err = f.add(text, s.Path, s.Value)
		}
		if err != nil {
			return nil, nil, err
		}
		undo = append(undo, w)
		var value any
		if err := json.Unmarshal([]byte(s.Value), &value); err != nil {
			return nil, nil, fmt.Errorf("the value of %s: %w", strings.Join(s.Path, "."), err)
		}
		if tree, err = put(tree, s.Path, value); err != nil {
			return nil, nil, err
		}
	}
	if err := proves(f, text, tree); err != nil {
		return nil, nil, err
	}
	return restore(text), undo, nil
}

// open is a text as formats take it, what it says, and how it gets back what was taken off.
func open(f format, src []byte) (text []byte, tree any, restore func([]byte) []byte, err error) {
	text, mark := bytes.CutPrefix(src, bom)
	lines := func(b []byte) []byte { return b }
	if _, isYAML := f.(yamlFormat); isYAML {
		ok := false
		if text, lines, ok = unixLines(text); !ok {
			return nil, nil, nil, errShape
		}
	}
	tree, err = f.decode(text)
	return text, tree, func(b []byte) []byte {
		if b = lines(b); mark {
			return slices.Concat(bom, b)
		}
		return b
	}, err
}

// revert takes back what apply did, in a file that may have been changed since. kept names keys whose values somebody
// has changed: those stay.
func revert(f format, src []byte, undo []was) (text []byte, kept []string, err error) {
	text, tree, restore, err := open(f, src)
	if err != nil {
		return nil, nil, err
	}
	for _, w := range slices.Backward(undo) {
		now, there := get(tree, w.Path)
		if !there {
			continue
		}
		if !w.isOurs(now) {
			kept = append(kept, strings.Join(w.Path, "."))
			continue
		}
		if w.Had {
			if text, err = f.replace(text, w.Path, w.Old); err != nil {
				return nil, nil, err
			}
			if tree, err = f.decode(text); err != nil {
				return nil, nil, err
			}
			continue
		}
		if text, err = f.remove(text, w.Path, w.Keep); err != nil {
			return nil, nil, err
		}
		tree = drop(tree, w.Path, w.Keep)
	}
	if err := proves(f, text, tree); err != nil {
		return nil, nil, err
	}
	return restore(text), kept, nil
}

// move has the keys that were set say to where mention matches, whatever else has become of their values, and returns the
// new text, and what undoes it. No other byte differs.
func move(f format, src []byte, undo []was, mention *regexp.Regexp, to string) ([]byte, []was, error) {
	text, tree, restore, err := open(f, src)
	if err != nil {
		return nil, nil, err
	}
	want, moved := tree, slices.Clone(undo)
	for i, w := range undo {
		if now, there := get(tree, w.Path); there {
			want, _ = put(want, w.Path, swap(now, mention, to)) // it is there
		}
		if value := mention.ReplaceAllLiteralString(w.Value, to); value != w.Value {
			moved[i].From, moved[i].Value = w.Value, value
		}
	}
	others := func(tree any) any { // what the keys do not say
		for _, w := range undo {
			if _, there := get(tree, w.Path); there {
				tree, _ = put(tree, w.Path, nil) // it is there
			}
		}
		return tree
	}
	rest := others(tree)
	for _, at := range slices.Backward(mention.FindAllIndex(text, -1)) {
		next := splice(text, at[0], at[1], to)
		if got, err := f.decode(next); err == nil && !reflect.DeepEqual(got, tree) && reflect.DeepEqual(others(got), rest) {
			text, tree = next, got
		}
	}
	if err := proves(f, text, want); err != nil {
		return nil, nil, err
	}
	return restore(text), moved, nil
}

// swap returns a tree with to in all its strings where mention matches.
func swap(tree any, mention *regexp.Regexp, to string) any {
	switch t := tree.(type) {
	case string:
		return mention.ReplaceAllLiteralString(t, to)
	case map[string]any:
		out := map[string]any{}
		for k, v := range t {
			out[k] = swap(v, mention, to)
		}
		return out
	case []any:
		out := make([]any, len(t))
		for i, v := range t {
			out[i] = swap(v, mention, to)
		}
		return out
	}
	return tree
}

// proves reads a text again and compares what it says with what it must say.
func proves(f format, text []byte, want any) error {
	got, err := f.decode(text)
	if err != nil || !reflect.DeepEqual(filled(got), filled(want)) {
		return errShape
	}
	return nil
}

// filled is a tree without the tables and lists that say nothing; nil when it says nothing at all.
func filled(tree any) any {
	switch t := tree.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, v := range t {
			if v = filled(v); v != nil {
				out[k] = v
			}
		}
		if len(out) > 0 {
			return out
		}
		return nil
	case []any:
		out := make([]any, len(t))
		for i, v := range t {
			out[i] = filled(v)
		}
		if len(out) > 0 {
			return out
		}
		return nil
	case string: // a text in YAML may have ended with the file, without a line end
		return strings.TrimSuffix(t, "\n")
	}
	return tree
}

// bare reports whether a tree says nothing.
func bare(tree any) bool {
	switch t := tree.(type) {
	case nil:
		return true
	case map[string]any:
		return len(t) == 0
	case []any:
		return len(t) == 0
	}
	return false
}

// element is the field and the value of a step that chooses an element of a list.
func element(step string) (field, value string, ok bool) {
	inner, opened := strings.CutPrefix(step, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	field, value, pair := strings.Cut(inner, "=")
	return field, value, opened && closed && pair
}

// index is where in a list the element of a step is; -1 when it is not there.
func index(list []any, step string) int {
	field, value, _ := element(step)
	return slices.IndexFunc(list, func(v any) bool {
		m, ok := v.(map[string]any)
		return ok && m[field] == value || field == "" && v == any(value)
	})
}

func get(tree any, path []string) (any, bool) {
	for _, step := range path {
		switch t := tree.(type) {
		case map[string]any:
			v, ok := t[step]
			if !ok {
				return nil, false
			}
			tree = v
		case []any:
			i := index(t, step)
			if i < 0 {
				return nil, false
			}
			tree = t[i]
		default:
			return nil, false
		}
	}
	return tree, true
}

// depth is how many steps of a path are there.
func depth(tree any, path []string) int {
	for n := len(path); n > 0; n-- {
		if _, ok := get(tree, path[:n]); ok {
			return n
		}
	}
	return 0
}

// put returns the tree with a value set. It shares nothing with the one that it was given.
func put(tree any, path []string, value any) (any, error) {
	if len(path) == 0 {
		return value, nil
	}
	step := path[0]
	if _, _, isElement := element(step); isElement {
		list, ok := tree.([]any)
		if !ok && tree != nil {
			return nil, fmt.Errorf("there is something else where the list with %s belongs. Nothing was changed: edit it by hand", step)
		}
		list = slices.Clone(list)
		i := index(list, step)
		if i < 0 {
			return append(list, value), nil
		}
		v, err := put(list[i], path[1:], value)
		list[i] = v
		return list, err
	}
	m, ok := tree.(map[string]any)
	if !ok && tree != nil {
		return nil, fmt.Errorf("there is something else where a table with %q belongs. Nothing was changed: edit it by hand", step)
	}
	out := map[string]any{}
	for k, v := range m {
		out[k] = v
	}
	v, err := put(out[step], path[1:], value)
	out[step] = v
	return out, err
}

// drop returns the tree without the key at path, and without what is empty then, but for the first keep steps.
func drop(tree any, path []string, keep int) any {
	step := path[0]
	var child any
	switch t := tree.(type) {
	case map[string]any:
		child = t[step]
	case []any:
		child = t[index(t, step)]
	}
	if len(path) > 1 {
		child = drop(child, path[1:], keep-1)
		if keep > 0 || !bare(child) {
			out, _ := put(tree, path[:1], child) // it is there
			return out
		}
	}
	switch t := tree.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, v := range t {
			if k != step {
				out[k] = v
			}
		}
		return out
	case []any:
		i := index(t, step)
		return slices.Concat(t[:i], t[i+1:])
	}
	return tree
}

// plain brings a tree to the one form that trees are compared in.
func plain(tree any) (any, error) {
	raw, err := json.Marshal(tree)
	if err != nil {
		return nil, err
	}
	var out any
	err = json.Unmarshal(raw, &out)
	return out, err
}

// newline is how the lines of a text end.
func newline(src []byte) string {
	if bytes.Contains(src, []byte("\r\n")) {
		return "\r\n"
	}
	return "\n"
}

// splice puts text in the place of src[from:to].
func splice(src []byte, from, to int, text string) []byte {
	return slices.Concat(src[:from], []byte(text), src[to:])
}

// place is the line and the column of an offset, both from 1.
func place(src []byte, offset int) (line, column int) {
	offset = min(max(offset, 0), len(src))
	line = bytes.Count(src[:offset], []byte("\n")) + 1
	return line, offset - bytes.LastIndexByte(src[:offset], '\n')
}
