// Package rawjson takes JSON apart without copying it: what it returns are parts of what it was given, which must not be
// changed as long as they are in use. What it is given must be valid, which Valid and Clean tell; a document that holds what is no
// text is the one that is copied, by Clean.
package rawjson

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unsafe"

	"github.com/tidwall/gjson"
)

// View is b as a string.
func View(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// Raw is a string as bytes, which must not be written to.
func Raw(s string) json.RawMessage { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// Get is the value at a path of gjson's, as gjson.GetBytes gives it, but for the copy.
func Get(document []byte, path string) gjson.Result { return gjson.Get(View(document), path) }

// Each calls f for the fields of an object in their order, until f returns false, and reports whether it is an object.
func Each(object []byte, f func(name string, value json.RawMessage) bool) bool {
	at := space(object, 0)
	if at == len(object) || object[at] != '{' {
		return false
	}
	for at = space(object, at+1); at < len(object) && object[at] == '"'; {
		end := stringEnd(object, at)
		name := nameOf(object[at:end])
		at = space(object, end) // the colon
		at = space(object, at+1)
		end = valueEnd(object, at)
		if !f(name, object[at:end:end]) {
			return true
		}
		if at = space(object, end); at < len(object) && object[at] == ',' {
			at = space(object, at+1)
		}
	}
	return true
}

// Fields returns the values of an object by their names, and whether it is one. Of a name that comes twice, the last counts.
func Fields(object []byte) (map[string]json.RawMessage, bool) {
	fields := map[string]json.RawMessage{}
	ok := Each(object, func(name string, value json.RawMessage) bool {
		fields[name] = value
		return true
	})
	return fields, ok
}

// Elements returns the values of a list, and whether it is one. null is an empty one.
func Elements(list []byte) ([]json.RawMessage, bool) {
	at := space(list, 0)
	if at == len(list) || list[at] != '[' {
		return nil, string(bytes.TrimSpace(list)) == "null"
	}
	elements := []json.RawMessage{}
	for at = space(list, at+1); at < len(list) && list[at] != ']'; {
		end := valueEnd(list, at)
		elements = append(elements, list[at:end:end])
		if at = space(list, end); at < len(list) && list[at] == ',' {
			at = space(list, at+1)
		}
	}
	return elements, true
}

// Strings calls f for each string in a value, with its quotation marks, names among them, until f returns false. An s has the
// capacity of all that follows it, which tells where it is.
func Strings(value []byte, f func(s []byte) bool) {
	for at := 0; ; {
		i := bytes.IndexByte(value[at:], '"')
		if i < 0 {
			return
		}
		begin := at + i
		at = stringEnd(value, begin)
		if !f(value[begin:at]) {
			return
		}
	}
}

// IsString reports whether a value is a string.
func IsString(value json.RawMessage) bool { return len(value) > 0 && value[0] == '"' }

// IsNull reports whether a value is null or not there.
func IsNull(value json.RawMessage) bool { return len(value) == 0 || string(value) == "null" }

// Text is the text of a string; empty for another value.
func Text(value json.RawMessage) string { return gjson.Parse(View(value)).Str }

// Quote is a text as a JSON string, made in one go: it may be as long as a conversation. Bytes that are no text are U+FFFD.
func Quote(text string) json.RawMessage {
	raw := Raw(strings.ToValidUTF8(text, "\uFFFD"))
	quoted := append(make([]byte, 0, len(raw)+len(raw)/16+2), '"')
	for from := 0; ; {
		at := special(raw, from)
		quoted = append(quoted, raw[from:at]...)
		if at == len(raw) {
			return append(quoted, '"')
		}
		switch c := raw[at]; c {
		case '"', '\\':
			quoted = append(quoted, '\\', c)
		case '\n':
			quoted = append(quoted, `\n`...)
		case '\t':
			quoted = append(quoted, `\t`...)
		default:
			quoted = fmt.Appendf(quoted, `\u%04x`, c)
		}
		from = at + 1
	}
}

// NotEmpty is a string, or nil for an empty one.
func NotEmpty(s json.RawMessage) json.RawMessage {
	if len(s) <= 2 {
		return nil
	}
	return s
}

// Join puts strings, which are not empty, into one. between stands between two, as it is written inside a JSON string.
// Without any the result is nil.
func Join(strings []json.RawMessage, between string) json.RawMessage {
	switch len(strings) {
	case 0:
		return nil
	case 1:
		return strings[0]
	}
	joined := []byte{'"'}
	for i, s := range strings {
		if i > 0 {
			joined = append(joined, between...)
		}
		joined = append(joined, s[1:len(s)-1]...)
	}
	return append(joined, '"')
}

// AppendList adds a list of values to b.
func AppendList(b []byte, values []json.RawMessage) []byte {
	size := 2 + len(values)
	for _, v := range values {
		size += len(v)
	}
	b = append(slices.Grow(b, size), '[')
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, v...)
	}
	return append(b, ']')
}

// space is where, from at on, something else than white space is.
func space(b []byte, at int) int {
	for at < len(b) && (b[at] == ' ' || b[at] == '\n' || b[at] == '\t' || b[at] == '\r') {
		at++
	}
	return at
}

// stringEnd is where the string that begins at at has ended: behind a quotation mark with an even number of backslashes
// before it.
func stringEnd(b []byte, at int) int {
	for from := at + 1; ; {
		i := bytes.IndexByte(b[from:], '"')
		if i < 0 {
			return len(b)
		}
		mark := from + i
		first := mark
		for first > at+1 && b[first-1] == '\\' {
			first--
		}
		if from = mark + 1; (mark-first)%2 == 0 {
			return from
		}
	}
}

// valueEnd is where the value that begins at at has ended.
func valueEnd(b []byte, at int) int {
	for depth := 0; at < len(b); {
		switch c := b[at]; c {
		case '"':
			at = stringEnd(b, at)
		case '{', '[':
			depth++
			at++
			continue
		case '}', ']':
			depth--
			at++
		default:
			at++
			if depth > 0 {
				continue
			}
			for at < len(b) && b[at] != ',' && b[at] != '}' && b[at] != ']' && space(b, at) == at {
				at++
			}
		}
		if depth <= 0 {
			return at
		}
	}
	return len(b)
}

func nameOf(s []byte) string {
	if bytes.IndexByte(s, '\\') < 0 {
		return View(s[1 : len(s)-1])
	}
	return Text(s)
}
