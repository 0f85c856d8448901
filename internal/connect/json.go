package connect

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/tailscale/hujson"
)

// jsonFormat is JSON, with comments and trailing commas where the tool takes those.
type jsonFormat struct{}

func (jsonFormat) parse(src []byte) (hujson.Value, error) {
	if len(bytes.TrimSpace(src)) == 0 {
		return hujson.Value{}, nil
	}
	if src[len(src)-1] != '\n' { // the parser wants one behind a last remark
		src = splice(src, len(src), len(src), "\n")
	}
	v, err := hujson.Parse(src)
	if err != nil {
		return v, jsonSyntax(src, err)
	}
	return v, nil
}

var jsonPlace = regexp.MustCompile(`^hujson: line (\d+), column (\d+): (.*)$`)

func jsonSyntax(src []byte, err error) error {
	m := jsonPlace.FindStringSubmatch(err.Error())
	if m == nil {
		line, column := place(src, len(src))
		return &SyntaxError{line, column, strings.TrimPrefix(err.Error(), "hujson: ")}
	}
	line, _ := strconv.Atoi(m[1])
	column, _ := strconv.Atoi(m[2])
	return &SyntaxError{line, column, m[3]}
}

func (f jsonFormat) decode(src []byte) (any, error) {
	v, err := f.parse(src)
	if err != nil || v.Value == nil {
		return nil, err
	}
	v = v.Clone()
	v.Standardize()
	var tree any
	if err := json.Unmarshal(v.Pack(), &tree); err != nil {
		return nil, &SyntaxError{0, 0, err.Error()}
	}
	return tree, nil
}

// part is a value within a text, with what surrounds it.
type part struct {
	start      int // of the name, or of an element
	value      *hujson.Value
	lead       []byte // the extra before start
	comma      int    // the offset of the comma behind; -1 for none
	prevComma  int    // the offset of the comma before; -1 for none
	only, last bool
}

// parts lists the members of an object or the elements of a list.
func parts(src []byte, v *hujson.Value) (out []part, names []string) {
	add := func(name string, first, value *hujson.Value) {
		p := part{start: first.StartOffset, value: value, lead: first.BeforeExtra, comma: -1, prevComma: -1}
		if at := value.EndOffset + len(value.AfterExtra); at < len(src) && src[at] == ',' {
			p.comma = at
		}
		if n := len(out); n > 0 {
			p.prevComma = out[n-1].comma
		}
		out, names = append(out, p), append(names, name)
	}
	switch c := v.Value.(type) {
	case *hujson.Object:
		for i := range c.Members {
			m := &c.Members[i]
			add(m.Name.Value.(hujson.Literal).String(), &m.Name, &m.Value)
		}
	case *hujson.Array:
		for i := range c.Elements {
			add("", &c.Elements[i], &c.Elements[i])
		}
	}
	if len(out) > 0 {
		out[len(out)-1].last, out[0].only = true, len(out) == 1
	}
	return out, names
}

// find is the part at a step.
func (jsonFormat) find(src []byte, v *hujson.Value, step string) (part, bool) {
	list, names := parts(src, v)
	if _, isList := v.Value.(*hujson.Array); isList {
		field, want, ok := element(step)
		for i := range list {
			if l, isLiteral := list[i].value.Value.(hujson.Literal); ok && field == "" && isLiteral && l.Kind() == '"' && l.String() == want {
				return list[i], true
			}
			if object, isObject := list[i].value.Value.(*hujson.Object); ok && isObject {
				for _, m := range object.Members {
					l, isLiteral := m.Value.Value.(hujson.Literal)
					if m.Name.Value.(hujson.Literal).String() == field && isLiteral && l.Kind() == '"' && l.String() == want {
						return list[i], true
					}
				}
			}
		}
		return part{}, false
	}
	for i := len(list) - 1; i >= 0; i-- { // the last of two of the same name counts
		if names[i] == step {
			return list[i], true
		}
	}
	return part{}, false
}

// walk follows a path as far as it is there, and returns the containers on the way and the parts in them.
func (f jsonFormat) walk(src []byte, root *hujson.Value, path []string) (on []part) {
	for v := root; len(on) < len(path); {
		p, ok := f.find(src, v, path[len(on)])
		if !ok {
			break
		}
		on = append(on, p)
		v = p.value
	}
	return on
}

func (f jsonFormat) raw(src []byte, path []string) (string, bool) {
	root, err := f.parse(src)
	if err != nil || root.Value == nil {
		return "", false
	}
	on := f.walk(src, &root, path)
	if len(on) < len(path) {
		return "", false
	}
	v := on[len(on)-1].value
	return string(src[v.StartOffset:v.EndOffset]), true
}

func (f jsonFormat) replace(src []byte, path []string, text string) ([]byte, error) {
	root, err := f.parse(src)
	if err != nil {
		return nil, err
	}
	on := f.walk(src, &root, path)
	if len(on) < len(path) {
		return nil, errShape
	}
	v := on[len(on)-1].value
	return splice(src, v.StartOffset, v.EndOffset, text), nil
}

func (f jsonFormat) words(src []byte, path []string, value string) string {
	root, err := f.parse(src)
	if err != nil || root.Value == nil {
		return value
	}
	indent := ""
	if on := f.walk(src, &root, path); len(on) > 0 {
		indent = lineIndent(src, on[len(on)-1].start)
	}
	return pretty(value, indent, jsonUnit(src, &root), newline(src))
}

func (f jsonFormat) add(src []byte, path []string, value string) ([]byte, error) {
	root, err := f.parse(src)
	if err != nil {
		return nil, err
	}
	if root.Value == nil {
		if _, _, isElement := element(path[0]); isElement {
			return []byte(pretty("["+nest(path[1:], value)+"]", "", "  ", newline(src)) + newline(src)), nil
		}
		return []byte(pretty(nest(path, value), "", "  ", newline(src)) + newline(src)), nil
	}
	on, into := f.walk(src, &root, path), &root
	if len(on) > 0 {
		into = on[len(on)-1].value
	}
	step := path[len(on)]
	_, _, isElement := element(step)
	_, isObject := into.Value.(*hujson.Object)
	_, isList := into.Value.(*hujson.Array)
	if isElement && !isList || !isElement && !isObject {
		line, column := place(src, into.StartOffset)
		return nil, fmt.Errorf("line %d, column %d: there is something else where %q belongs. Nothing was changed", line, column, step)
	}
	member := nest(path[len(on)+1:], value)
	name := ""
	if !isElement {
		quoted, _ := json.Marshal(step)
		name = string(quoted) + ": "
	}
	list, _ := parts(src, into)
	nl, unit := newline(src), jsonUnit(src, &root)
	if len(list) == 0 {
		outer := lineIndent(src, into.StartOffset)
		inner := bytes.TrimRight(src[into.StartOffset+1:into.EndOffset-1], " \t\r\n")
		text := string(inner) + nl + outer + unit + name + pretty(member, outer+unit, unit, nl) + nl + outer
		return splice(src, into.StartOffset+1, into.EndOffset-1, text), nil
	}
	last := list[len(list)-1]
	if !bytes.Contains(last.lead, []byte("\n")) { // all in one line
		text := ", " + name + compact(member)
		if last.comma >= 0 {
			return splice(src, last.comma+1, last.comma+1, text[1:]+","), nil
		}
		return splice(src, last.value.EndOffset, last.value.EndOffset, text), nil
	}
	indent := lineIndent(src, last.start)
	text := nl + indent + name + pretty(member, indent, unit, nl)
	if last.comma >= 0 {
		at := lineEnd(src, last.comma+1, into.EndOffset-1)
		return splice(src, at, at, text+","), nil
	}
	at := lineEnd(src, last.value.EndOffset, into.EndOffset-1)
	out := splice(src, at, at, text)
	return splice(out, last.value.EndOffset, last.value.EndOffset, ","), nil
}

// lineEnd is where a remark behind a value ends: at the end of its line, if that comes before the end of what it is in;
// else where it begins.
func lineEnd(src []byte, from, limit int) int {
	rest := src[from:limit]
	i := bytes.IndexByte(rest, '\n')
	if i < 0 || bytes.Contains(rest[:i], []byte("/*")) {
		return from
	}
	return from + len(bytes.TrimRight(rest[:i], "\r"))
}

func (f jsonFormat) remove(src []byte, path []string, keep int) ([]byte, error) {
	for {
		root, err := f.parse(src)
		if err != nil {
			return nil, err
		}
		on := f.walk(src, &root, path)
		if len(on) < len(path) {
			return nil, errShape
		}
		src = cutPart(src, on[len(on)-1])
		path = path[:len(path)-1]
		if len(path) <= keep || len(path) == 0 {
			return src, nil
		}
		if root, err = f.parse(src); err != nil {
			return nil, err
		}
		on = f.walk(src, &root, path)
		if len(on) < len(path) {
			return nil, errShape
		}
		if left, _ := parts(src, on[len(on)-1].value); len(left) > 0 {
			return src, nil
		}
	}
}

// cutPart takes a member or an element away, with its line and its comma. Remarks around it stay.
func cutPart(src []byte, p part) []byte {
	from := p.start
	blank := len(p.lead) - len(bytes.TrimRight(p.lead, " \t"))
	from -= blank
	if from > 0 && src[from-1] == '\n' {
		from--
		if from > 0 && src[from-1] == '\r' {
			from--
		}
	}
	end := p.value.EndOffset
	if p.comma >= 0 {
		src = splice(src, p.comma, p.comma+1, "")
	}
	src = splice(src, from, end, "")
	if p.comma < 0 && p.prevComma >= 0 {
		src = splice(src, p.prevComma, p.prevComma+1, "")
	}
	if p.only { // nothing but blanks between the brackets
		open := bytes.LastIndexAny(src[:from], "{[")
		if tail := bytes.IndexAny(src[from:], "}]"); open >= 0 && tail >= 0 && len(bytes.TrimSpace(src[open+1:from+tail])) == 0 {
			src = splice(src, open+1, from+tail, "")
		}
	}
	return src
}

// nest is JSON for a value below the steps of a path.
func nest(path []string, value string) string {
	for i := len(path) - 1; i >= 0; i-- {
		if _, _, isElement := element(path[i]); isElement {
			value = "[" + value + "]"
			continue
		}
		name, _ := json.Marshal(path[i])
		value = "{" + string(name) + ":" + value + "}"
	}
	return value
}

func pretty(value, indent, unit, nl string) string {
	var b bytes.Buffer
	if json.Indent(&b, []byte(value), indent, unit) != nil {
		return value
	}
	return strings.ReplaceAll(b.String(), "\n", nl)
}

// compact is JSON in one line, with the blanks that people write.
func compact(value string) string {
	var b bytes.Buffer
	if json.Indent(&b, []byte(value), "", "") != nil {
		return value
	}
	text := strings.ReplaceAll(b.String(), ",\n", ", ")
	return strings.ReplaceAll(text, "\n", "")
}

// lineIndent is the blanks at the beginning of the line of an offset.
func lineIndent(src []byte, offset int) string {
	line := src[bytes.LastIndexByte(src[:offset], '\n')+1:]
	return string(line[:len(line)-len(bytes.TrimLeft(line, " \t"))])
}

// jsonUnit is what one step of indentation is in a text.
func jsonUnit(src []byte, root *hujson.Value) string {
	if list, _ := parts(src, root); len(list) > 0 && bytes.Contains(list[0].lead, []byte("\n")) {
		if unit := strings.TrimPrefix(lineIndent(src, list[0].start), lineIndent(src, root.StartOffset)); unit != "" {
			return unit
		}
	}
	return "  "
}
