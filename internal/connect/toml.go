package connect

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/creachadair/tomledit"
	"github.com/creachadair/tomledit/parser"
)

// tomlFormat is TOML. Values are one line long; a path of several steps is a key in a table of its own.
type tomlFormat struct{}

var tomlPlace = regexp.MustCompile(`(?:at|line) (\d+)(?::(\d+))?:? ?`)

func (tomlFormat) parse(src []byte) (*tomledit.Document, error) {
	doc, err := tomledit.Parse(bytes.NewReader(src))
	if err == nil {
		return doc, nil
	}
	out := &SyntaxError{Line: 1, Column: 1, Message: err.Error()}
	if m := tomlPlace.FindStringSubmatch(err.Error()); m != nil {
		out.Line, _ = strconv.Atoi(m[1])
		if column, e := strconv.Atoi(m[2]); e == nil {
			out.Column = column + 1 // the scanner counts from 0
		}
		out.Message = strings.Replace(err.Error(), m[0], "", 1)
	}
	return nil, out
}

func (f tomlFormat) decode(src []byte) (any, error) {
	doc, err := f.parse(src)
	if err != nil {
		return nil, err
	}
	tree := map[string]any{}
	arrays := map[string]int{}
	made := map[string]string{} // what made a table: "heading", "keys" with dots, or "braces"
	sections := doc.Sections
	if doc.Global != nil {
		sections = slices.Concat([]*tomledit.Section{doc.Global}, sections)
	}
	for _, s := range sections {
		var prefix []string
		line := 0
		if s.Heading != nil {
			line = s.Heading.Line
			for i, step := range s.Heading.Name { // what is below an array is in its last element
				prefix = append(prefix, step)
				name := parser.Key(prefix).String()
				if s.Heading.IsArray && i == len(s.Heading.Name)-1 {
					arrays[name]++
				}
				if n := arrays[name]; n > 0 {
					prefix[i] += "#" + strconv.Itoa(n)
				}
			}
			if err := tomlPut(tree, prefix, nil, line); err != nil {
				return nil, err
			}
			for i := range prefix {
				how := made[parser.Key(prefix[:i+1]).String()]
				if last := i == len(prefix)-1; how == "braces" || last && how != "" {
					return nil, &SyntaxError{line, 1, fmt.Sprintf("%s is there twice", s.Heading.Name)}
				}
			}
			made[parser.Key(prefix).String()] = "heading"
		}
		for _, item := range s.Items {
			if kv, ok := item.(*parser.KeyValue); ok {
				path := slices.Concat(prefix, []string(kv.Name))
				if err := tomlPut(tree, path, kv.Value.X, kv.Line); err != nil {
					return nil, err
				}
				for i := len(prefix) + 1; i < len(path); i++ {
					name := parser.Key(path[:i]).String()
					if how := made[name]; how != "" && how != "keys" {
						return nil, &SyntaxError{kv.Line, 1, fmt.Sprintf("%s is there twice", name)}
					}
					made[name] = "keys"
				}
				if _, inline := kv.Value.X.(parser.Inline); inline {
					made[parser.Key(path).String()] = "braces"
				}
			}
		}
	}
	return tree, nil
}

// tomlPut enters a value, or an empty table for nil.
func tomlPut(tree map[string]any, path []string, value parser.Datum, line int) error {
	for i, step := range path {
		if i == len(path)-1 && value != nil {
			if _, twice := tree[step]; twice {
				return &SyntaxError{line, 1, fmt.Sprintf("%s is there twice", strings.Join(path, "."))}
			}
			tree[step] = tomlValue(value)
			return nil
		}
		next, ok := tree[step].(map[string]any)
		if !ok {
			if _, other := tree[step]; other {
				return &SyntaxError{line, 1, fmt.Sprintf("%s is there twice", strings.Join(path[:i+1], "."))}
			}
			next = map[string]any{}
			tree[step] = next
		}
		tree = next
	}
	return nil
}

// tomlValue is a value for comparing: strings and booleans as such, everything else as it is written.
func tomlValue(d parser.Datum) any {
	switch d := d.(type) {
	case parser.Inline:
		table := map[string]any{}
		for _, kv := range d {
			tomlPut(table, kv.Name, kv.Value.X, 0) //nolint:errcheck // compared with itself only
		}
		return table
	case parser.Token:
		text := d.String()
		var v any
		if json.Unmarshal([]byte(text), &v) == nil {
			return v
		}
		if inner, ok := strings.CutPrefix(text, "'"); ok && !strings.HasPrefix(text, "'''") {
			return strings.TrimSuffix(inner, "'")
		}
		return "\x00" + text
	}
	return "\x00" + d.String()
}

// span is where a value stands: [from:to] of the text.
func (f tomlFormat) span(src []byte, path []string) (kv *parser.KeyValue, from, to int, ok bool) {
	doc, err := f.parse(src)
	if err != nil {
		return nil, 0, 0, false
	}
	for _, e := range doc.Find(path...) {
		if !e.IsMapping() || e.IsInline() {
			continue
		}
		line, end := lineAt(src, e.KeyValue.Line)
		text, value := src[line:end], e.KeyValue.Value.X.String()
		equals := bytes.IndexByte(text, '=')
		if equals < 0 || strings.Contains(value, "\n") {
			continue
		}
		at := bytes.Index(text[equals:], []byte(value))
		if at < 0 || len(bytes.TrimSpace(text[equals+1:equals+at])) > 0 {
			continue
		}
		return e.KeyValue, line + equals + at, line + equals + at + len(value), true
	}
	return nil, 0, 0, false
}

// lineAt is where a line, counted from 1, begins and where its text ends.
func lineAt(src []byte, line int) (from, to int) {
	for ; line > 1; line-- {
		i := bytes.IndexByte(src[from:], '\n')
		if i < 0 {
			return len(src), len(src)
		}
		from += i + 1
	}
	if i := bytes.IndexByte(src[from:], '\n'); i >= 0 {
		return from, from + len(bytes.TrimRight(src[from:from+i], "\r"))
	}
	return from, len(src)
}

func (f tomlFormat) raw(src []byte, path []string) (string, bool) {
	_, from, to, ok := f.span(src, path)
	return string(src[from:to]), ok
}

func (tomlFormat) words(_ []byte, _ []string, value string) string { return value }

func (f tomlFormat) replace(src []byte, path []string, text string) ([]byte, error) {
	_, from, to, ok := f.span(src, path)
	if !ok {
		return nil, errShape
	}
	return splice(src, from, to, text), nil
}

func (f tomlFormat) add(src []byte, path []string, value string) ([]byte, error) {
	doc, err := f.parse(src)
	if err != nil {
		return nil, err
	}
	nl, table, name := newline(src), path[:len(path)-1], path[len(path)-1]
	line := parser.Key{name}.String() + " = " + value + nl
	if len(table) == 0 {
		at := len(src)
		switch first := firstMapping(doc.Global); {
		case first != nil:
			at, _ = lineAt(src, first.Line)
			for range first.Block { // its remarks stay with it
				at = bytes.LastIndexByte(src[:max(at-1, 0)], '\n') + 1
			}
		case len(doc.Sections) > 0:
			at, _ = lineAt(src, doc.Sections[0].Heading.Line)
			for range doc.Sections[0].Heading.Block {
				at = bytes.LastIndexByte(src[:max(at-1, 0)], '\n') + 1
			}
			line += nl
		case len(src) > 0 && src[len(src)-1] != '\n':
			line = nl + line
		}
		return splice(src, at, at, line), nil
	}
	for _, s := range doc.Sections {
		if s.Heading.IsArray || !slices.Equal(s.Heading.Name, table) {
			continue
		}
		after := s.Heading.Line
		for _, item := range s.Items {
			if kv, ok := item.(*parser.KeyValue); ok {
				if strings.Contains(kv.Value.X.String(), "\n") {
					break
				}
				after = kv.Line
			}
		}
		_, at := lineAt(src, after)
		if rest := bytes.IndexByte(src[at:], '\n'); rest >= 0 {
			at += rest + 1
			return splice(src, at, at, line), nil
		}
		return splice(src, at, at, nl+line), nil
	}
	text := "[" + parser.Key(table).String() + "]" + nl + line
	if len(src) > 0 {
		text = nl + text
		if src[len(src)-1] != '\n' {
			text = nl + text
		}
	}
	return append(slices.Clone(src), text...), nil
}

func firstMapping(s *tomledit.Section) *parser.KeyValue {
	if s != nil {
		for _, item := range s.Items {
			if kv, ok := item.(*parser.KeyValue); ok {
				return kv
			}
		}
	}
	return nil
}

func (f tomlFormat) remove(src []byte, path []string, keep int) ([]byte, error) {
	kv, _, to, ok := f.span(src, path)
	if !ok {
		return nil, errShape
	}
	from, end := lineAt(src, kv.Line)
	if tail := bytes.TrimSpace(src[to:end]); len(tail) > 0 && tail[0] != '#' {
		return nil, errShape
	}
	src = splice(src, from, nextLine(src, end), "")
	if keep >= len(path)-1 {
		return src, nil
	}
	doc, err := f.parse(src)
	if err != nil {
		return nil, err
	}
	for i, s := range doc.Sections {
		if s.Heading.IsArray || !slices.Equal(s.Heading.Name, path[:len(path)-1]) || firstMapping(s) != nil {
			continue
		}
		from, end := lineAt(src, s.Heading.Line)
		if s.Heading.Trailer != "" { // somebody's remark
			return splice(src, from, from+bytes.IndexByte(src[from:end], '#'), ""), nil
		}
		next := nextLine(src, end)
		if i < len(doc.Sections) || from > 0 {
			if before := bytes.TrimSuffix(bytes.TrimSuffix(src[:from], []byte("\n")), []byte("\r")); len(before) < from && bytes.HasSuffix(before, []byte("\n")) {
				from = len(before) // the blank line that came with it
			}
		}
		return splice(src, from, next, ""), nil
	}
	return src, nil
}

// nextLine is where the line behind the one that ends at end begins.
func nextLine(src []byte, end int) int {
	if i := bytes.IndexByte(src[end:], '\n'); i >= 0 {
		return end + i + 1
	}
	return len(src)
}
