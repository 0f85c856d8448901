package connect

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	yamlparser "github.com/goccy/go-yaml/parser"
)

// yamlFormat is YAML: keys of the outermost table, and elements of a list that is there or is the whole file.
type yamlFormat struct{}

// body is the one document of a text; nil when it says nothing.
func (yamlFormat) body(src []byte) (ast.Node, error) {
	file, err := yamlparser.ParseBytes(src, 0)
	if err != nil {
		out := &SyntaxError{Line: 1, Column: 1, Message: err.Error()}
		var syntax *yaml.SyntaxError
		if errors.As(err, &syntax) {
			out.Message = syntax.Message
			if syntax.Token != nil {
				out.Line, out.Column = syntax.Token.Position.Line, syntax.Token.Position.Column
			}
		}
		return nil, out
	}
	var body ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if body != nil {
			return nil, errShape
		}
		body = doc.Body
	}
	return body, nil
}

func (f yamlFormat) decode(src []byte) (any, error) {
	if _, err := f.body(src); err != nil {
		return nil, err
	}
	var tree any
	if err := yaml.Unmarshal(src, &tree); err != nil {
		out := &SyntaxError{Message: err.Error()}
		var syntax yaml.Error
		if errors.As(err, &syntax) {
			out.Message = syntax.GetMessage()
			if token := syntax.GetToken(); token != nil {
				out.Line, out.Column = token.Position.Line, token.Position.Column
			}
		}
		return nil, out
	}
	out, err := plain(tree)
	if err != nil {
		return nil, errShape
	}
	return out, nil
}

// yamlEntry is one key of the outermost table.
type yamlEntry struct {
	value    ast.Node
	line     int // of the key, from 1
	next     int // line of the next key, or one behind the last line
	column   int // of the key, from 1
	colonEnd int // offset behind the colon
}

// entries lists the keys of the outermost table; ok is false when there is something else.
func (f yamlFormat) entries(src []byte) (names []string, list []yamlEntry, ok bool) {
	body, err := f.body(src)
	if err != nil {
		return nil, nil, false
	}
	var values []*ast.MappingValueNode
	switch b := body.(type) {
	case nil:
		return nil, nil, true
	case *ast.NullNode:
		return nil, nil, true
	case *ast.MappingNode:
		if b.IsFlowStyle {
			return nil, nil, false
		}
		values = b.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{b}
	default:
		return nil, nil, false
	}
	for _, v := range values {
		token := v.Key.GetToken()
		names = append(names, token.Value)
		colon := offsetOf(src, v.Start.Position.Line, v.Start.Position.Column) + 1
		list = append(list, yamlEntry{value: v.Value, line: token.Position.Line, column: token.Position.Column, colonEnd: colon})
	}
	for i := range list {
		list[i].next = bytes.Count(src, []byte("\n")) + 2
		if i+1 < len(list) {
			list[i].next = list[i+1].line
		}
	}
	return names, list, true
}

func (f yamlFormat) entry(src []byte, name string) (yamlEntry, bool) {
	names, list, _ := f.entries(src)
	if i := slices.Index(names, name); i >= 0 {
		return list[i], true
	}
	return yamlEntry{}, false
}

// offsetOf is the offset of a line and a column, both from 1, the column in characters.
func offsetOf(src []byte, line, column int) int {
	from, to := lineAt(src, line)
	for i := range string(src[from:to]) {
		if column--; column == 0 {
			return from + i
		}
	}
	return to
}

// scalar is where the value of a key stands, when it is one line behind the key.
func (f yamlFormat) scalar(src []byte, path []string) (from, to int, ok bool) {
	if len(path) != 1 {
		return 0, 0, false
	}
	e, ok := f.entry(src, path[0])
	if !ok {
		return 0, 0, false
	}
	_, end := lineAt(src, e.line)
	from = e.colonEnd
	text := src[from:end]
	switch v := e.value.(type) {
	case *ast.StringNode:
		if start := offsetOf(src, v.Token.Position.Line, v.Token.Position.Column); start < from || start > end {
			return 0, 0, false
		}
		if v.Token.Value != v.Value {
			return 0, 0, false
		}
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode:
	default:
		return 0, 0, false
	}
	blank := len(text) - len(bytes.TrimLeft(text, " \t"))
	from += blank
	text = text[blank:]
	quoted := len(text) > 0 && (text[0] == '"' || text[0] == '\'')
	if quoted {
		close := bytes.LastIndexByte(text, text[0])
		if hash := bytes.Index(text, []byte(" #")); hash > 0 {
			if before := bytes.LastIndexByte(text[:hash], text[0]); before > 0 && bytes.Count(text[:before+1], text[:1])%2 == 0 {
				close = before
			}
		}
		return from, from + close + 1, close > 0
	}
	if hash := bytes.Index(text, []byte(" #")); hash >= 0 {
		text = text[:hash]
	}
	return from, from + len(bytes.TrimRight(text, " \t")), true
}

func (f yamlFormat) raw(src []byte, path []string) (string, bool) {
	tree, err := f.decode(src)
	if err != nil {
		return "", false
	}
	if _, there := get(tree, path); !there {
		return "", false
	}
	from, to, ok := f.scalar(src, path)
	if !ok {
		return "", true // replace says that it can't
	}
	return string(src[from:to]), true
}

func (yamlFormat) words(_ []byte, _ []string, value string) string { return value }

func (f yamlFormat) replace(src []byte, path []string, text string) ([]byte, error) {
	from, to, ok := f.scalar(src, path)
	if !ok {
		return nil, errShape
	}
	if text != "" && from > 0 && src[from-1] == ':' {
		text = " " + text
	}
	return splice(src, from, to, text), nil
}

func (f yamlFormat) add(src []byte, path []string, value string) ([]byte, error) {
	body, err := f.body(src)
	if err != nil {
		return nil, err
	}
	nl := newline(src)
	last := path[len(path)-1]
	_, _, isElement := element(last)
	if isElement && len(path) == 1 {
		switch list := body.(type) {
		case nil:
			return appendLine(src, yamlItem(value, "", nl), nl), nil
		case *ast.SequenceNode:
			return f.addItem(src, list, bytes.Count(src, []byte("\n"))+2, value)
		}
		return nil, errShape
	}
	if isElement && len(path) == 2 {
		e, there := f.entry(src, path[0])
		if !there {
			return f.addKey(src, path[0], ":"+nl+strings.TrimSuffix(yamlItem(value, "  ", nl), nl))
		}
		switch v := e.value.(type) {
		case *ast.SequenceNode:
			return f.addItem(src, v, e.next, value)
		case *ast.NullNode:
			_, end := lineAt(src, e.line)
			if rest := bytes.TrimSpace(src[e.colonEnd:end]); len(rest) > 0 && rest[0] != '#' {
				return nil, errShape
			}
			indent := strings.Repeat(" ", e.column+1)
			return splice(src, end, end, nl+strings.TrimSuffix(yamlItem(value, indent, nl), nl)), nil
		}
		return nil, errShape
	}
	if len(path) != 1 {
		return nil, errShape
	}
	return f.addKey(src, path[0], ": "+compact(value))
}

// addKey adds a key of the outermost table at the end.
func (f yamlFormat) addKey(src []byte, name, rest string) ([]byte, error) {
	_, list, ok := f.entries(src)
	if !ok {
		return nil, errShape
	}
	nl, indent := newline(src), ""
	if len(list) > 0 {
		indent = strings.Repeat(" ", list[0].column-1)
	}
	return appendLine(src, indent+name+strings.ReplaceAll(rest, nl, nl+indent)+nl, nl), nil
}

func appendLine(src []byte, text, nl string) []byte {
	if len(src) > 0 && src[len(src)-1] != '\n' {
		text = nl + text
	}
	return append(slices.Clone(src), text...)
}

// addItem adds an element at the end of a list whose lines end before the line next.
func (f yamlFormat) addItem(src []byte, list *ast.SequenceNode, next int, value string) ([]byte, error) {
	nl := newline(src)
	if list.IsFlowStyle {
		if list.End == nil {
			return nil, errShape
		}
		at := offsetOf(src, list.End.Position.Line, list.End.Position.Column)
		if at >= len(src) || src[at] != ']' {
			return nil, errShape
		}
		text := compact(value)
		if len(list.Values) > 0 {
			text = ", " + text
		}
		return splice(src, at, at, text), nil
	}
	end := lastLine(src, list.Start.Position.Line, next, list.Start.Position.Column)
	_, at := lineAt(src, end)
	text := yamlItem(value, strings.Repeat(" ", list.Start.Position.Column-1), nl)
	return splice(src, at, at, nl+strings.TrimSuffix(text, nl)), nil
}

// lastLine is the last line before next that says something, from the line first on. What looks like a remark and is
// indented by inner blanks or more may be a line of a text, and counts; 0 for never.
func lastLine(src []byte, first, next, inner int) int {
	for line := next - 1; line > first; line-- {
		from, to := lineAt(src, line)
		text := bytes.TrimSpace(src[from:to])
		remark := len(text) > 0 && text[0] == '#' && (inner == 0 || len(lineIndent(src, from)) < inner)
		if len(text) > 0 && !remark && !bytes.HasPrefix(src[from:to], []byte("...")) {
			return line
		}
	}
	return first
}

// unixLines is a text with the line ends that the parser counts right, and how to give it its own back. ok is false for
// a text with both kinds.
func unixLines(src []byte) (text []byte, back func([]byte) []byte, ok bool) {
	crlf := bytes.Count(src, []byte("\r\n"))
	if crlf == 0 {
		return src, func(b []byte) []byte { return b }, true
	}
	if crlf != bytes.Count(src, []byte("\n")) {
		return nil, nil, false
	}
	return bytes.ReplaceAll(src, []byte("\r\n"), []byte("\n")), func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n")) }, true
}

// yamlItem is an object, JSON, as an element of a block list: one field a line.
func yamlItem(value, indent, nl string) string {
	var b strings.Builder
	dec := json.NewDecoder(strings.NewReader(value))
	dec.Token() //nolint:errcheck // the table's values are objects
	for first := true; dec.More(); first = false {
		name, _ := dec.Token()
		var v json.RawMessage
		dec.Decode(&v) //nolint:errcheck // see above
		lead := "  "
		if first {
			lead = "- "
		}
		b.WriteString(indent + lead + name.(string) + ": " + compact(string(v)) + nl)
	}
	return b.String()
}

func (f yamlFormat) remove(src []byte, path []string, keep int) ([]byte, error) {
	last := path[len(path)-1]
	if _, _, isElement := element(last); !isElement {
		if len(path) != 1 {
			return nil, errShape
		}
		return f.removeKey(src, path[0])
	}
	body, err := f.body(src)
	if err != nil {
		return nil, err
	}
	next := bytes.Count(src, []byte("\n")) + 2
	if len(path) == 2 {
		e, ok := f.entry(src, path[0])
		if !ok {
			return nil, errShape
		}
		body, next = e.value, e.next
	}
	list, ok := body.(*ast.SequenceNode)
	if !ok {
		return nil, errShape
	}
	tree, err := f.decode(src)
	if err != nil {
		return nil, err
	}
	elements, _ := get(tree, path[:len(path)-1])
	all, _ := elements.([]any)
	i := index(all, last)
	if i < 0 || len(all) != len(list.Values) {
		return nil, errShape
	}
	if len(all) == 1 && len(path) == 2 && keep == 0 {
		return f.removeKey(src, path[0])
	}
	if list.IsFlowStyle {
		return removeFlow(src, list, all[i])
	}
	from, _ := lineAt(src, list.Entries[i].Start.Position.Line)
	stop := next
	if i+1 < len(list.Entries) {
		stop = list.Entries[i+1].Start.Position.Line
	}
	_, end := lineAt(src, lastLine(src, list.Entries[i].Start.Position.Line, stop, 0))
	return splice(src, from, nextLine(src, end), ""), nil
}

// removeFlow takes an element out of a list in brackets, where it stands as it was written.
func removeFlow(src []byte, list *ast.SequenceNode, value any) ([]byte, error) {
	from := offsetOf(src, list.Start.Position.Line, list.Start.Position.Column)
	to := offsetOf(src, list.End.Position.Line, list.End.Position.Column)
	for at := from; at < to; at++ {
		if src[at] != '{' {
			continue
		}
		dec := json.NewDecoder(bytes.NewReader(src[at:to]))
		var got any
		if dec.Decode(&got) != nil || !same(got, value) {
			continue
		}
		end := at + int(dec.InputOffset())
		before := bytes.TrimRight(src[:at], " \t")
		if len(before) > 0 && before[len(before)-1] == ',' {
			return splice(src, len(before)-1, end, ""), nil
		}
		rest := src[end:]
		if after := bytes.TrimLeft(rest, " \t"); len(after) > 0 && after[0] == ',' {
			end += len(rest) - len(bytes.TrimLeft(after[1:], " \t"))
		}
		return splice(src, at, end, ""), nil
	}
	return nil, errShape
}

func (f yamlFormat) removeKey(src []byte, name string) ([]byte, error) {
	e, ok := f.entry(src, name)
	if !ok {
		return nil, errShape
	}
	from, _ := lineAt(src, e.line)
	_, end := lineAt(src, lastLine(src, e.line, e.next, 0))
	return splice(src, from, nextLine(src, end), ""), nil
}

func same(a, b any) bool {
	x, errX := plain(a)
	y, errY := plain(b)
	rawX, _ := json.Marshal(x)
	rawY, _ := json.Marshal(y)
	return errX == nil && errY == nil && bytes.Equal(rawX, rawY)
}
