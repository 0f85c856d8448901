// Package rawjson takes JSON apart without copying it: what it returns are parts of what it was given, which must not be
// changed as long as they are in use. What it is given must be valid, which [encoding/json.Valid] tells: it bounds the
// depth, too.
package rawjson

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"
	"unsafe"

	"github.com/tidwall/gjson"
)

// View is b as a string.
func View(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// raw is the part of a document that a string of it is.
func raw(part string) json.RawMessage { return unsafe.Slice(unsafe.StringData(part), len(part)) }

// Fields returns the values of an object by their names, and whether it is one. Of a name that comes twice, the last counts.
func Fields(object []byte) (map[string]json.RawMessage, bool) {
	parsed := gjson.Parse(View(object))
	if !parsed.IsObject() {
		return nil, false
	}
	fields := map[string]json.RawMessage{}
	parsed.ForEach(func(name, value gjson.Result) bool {
		fields[name.Str] = raw(value.Raw)
		return true
	})
	return fields, true
}

// Elements returns the values of a list, and whether it is one. null is an empty one.
func Elements(list []byte) ([]json.RawMessage, bool) {
	parsed := gjson.Parse(View(list))
	if !parsed.IsArray() {
		return nil, parsed.Type == gjson.Null
	}
	elements := []json.RawMessage{}
	parsed.ForEach(func(_, value gjson.Result) bool {
		elements = append(elements, raw(value.Raw))
		return true
	})
	return elements, true
}

// IsString reports whether a value is a string.
func IsString(value json.RawMessage) bool { return len(value) > 0 && value[0] == '"' }

// IsNull reports whether a value is null or not there.
func IsNull(value json.RawMessage) bool { return len(value) == 0 || string(value) == "null" }

// Text is the text of a string; empty for another value.
func Text(value json.RawMessage) string { return gjson.Parse(View(value)).Str }

// Each calls f for the fields of an object, and reports whether it is one; f's false ends that.
func Each(object []byte, f func(name string, value json.RawMessage) bool) bool {
	parsed := gjson.Parse(View(object))
	if parsed.IsObject() {
		parsed.ForEach(func(name, value gjson.Result) bool { return f(name.Str, raw(value.Raw)) })
	}
	return parsed.IsObject()
}

// Get is the value at a path of gjson's, as gjson.GetBytes gives it, but for the copy.
func Get(document []byte, path string) gjson.Result { return gjson.Get(View(document), path) }

// String returns a string as JSON that other readers take, too: the same where it can be, without half characters, which
// JSON can spell and text can't have.
func String(s json.RawMessage) json.RawMessage {
	if utf8.Valid(s) && !bytes.Contains(s, []byte(`\ud`)) && !bytes.Contains(s, []byte(`\uD`)) {
		return s
	}
	var text string
	if json.Unmarshal(s, &text) != nil {
		return json.RawMessage(`""`)
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.Encode(text) //nolint:errcheck // a string
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}
