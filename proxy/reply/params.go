package reply

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"

	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/rawjson"
)

// Object reads a request's body, which must be a JSON object. Its fields are parts of the body, or of a copy in which all
// strings are text. The error is an *codex.Error.
func Object(body []byte) (map[string]json.RawMessage, error) {
	if clean, valid := rawjson.Clean(body); valid {
		if fields, ok := rawjson.Fields(clean); ok {
			return fields, nil
		}
	}
	where := ""
	var syntax *json.SyntaxError
	if errors.As(json.Unmarshal(body, &struct{}{}), &syntax) {
		where = " (" + syntax.Error() + ", after " + strconv.FormatInt(syntax.Offset, 10) + " bytes)"
	}
	return nil, &codex.Error{Status: http.StatusBadRequest, Type: "invalid_request_error", Code: "invalid_json", Message: "The request's body is not a JSON object" + where}
}

// ReadParams reads a request's parameters one by one, in the order of their names, so that one request goes up as one
// body each time. Null counts as absent. What table does not have is dropped.
func ReadParams[R any](r R, fields map[string]json.RawMessage, table map[string]func(R, json.RawMessage) error, drop func(name string)) error {
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		take, known := table[name]
		switch v := fields[name]; {
		case string(v) == "null":
		case !known:
			drop(name)
		default:
			if err := take(r, v); err != nil {
				return err
			}
		}
	}
	return nil
}

// ParamInto is an entry of such a table for a field that is decoded as it is.
func ParamInto[R any](name string, field func(R) any) func(R, json.RawMessage) error {
	return func(r R, v json.RawMessage) error {
		if json.Unmarshal(v, field(r)) != nil {
			return codex.Invalid(name, "%s has the wrong type", name)
		}
		return nil
	}
}

const (
	mostStops  = 16  // sequences
	stopLength = 256 // bytes of one
)

// Stops reads stop sequences: a string, or a list of at most 16 of at most 256 bytes each, since every piece of the
// answer is compared with each. The error is an *codex.Error.
func Stops(param string, v json.RawMessage) ([]string, error) {
	var one string
	var list []string
	if json.Unmarshal(v, &one) == nil {
		list = []string{one}
	} else if json.Unmarshal(v, &list) != nil {
		return nil, codex.Invalid(param, "%s must be a string or a list of strings", param)
	}
	list = slices.DeleteFunc(list, func(s string) bool { return s == "" })
	if len(list) > mostStops || slices.ContainsFunc(list, func(s string) bool { return len(s) > stopLength }) {
		return nil, codex.Invalid(param, "%s can hold at most %d strings of at most %d bytes", param, mostStops, stopLength)
	}
	return list, nil
}
