package reply

import (
	"encoding/json"
	"io"
	"maps"
	"slices"

	"codex-proxy/proxy/codex"
)

// Encoder is an answer on its way down in some dialect.
type Encoder interface {
	// Event takes one event and returns the end with the last one, or an *codex.Error for a failure.
	Event(codex.Event) (*codex.End, error)
	// Stopped returns the end of an answer that a stop sequence ended; nil while it goes on.
	Stopped() *codex.End
	// Finish is called once, before the last bytes are sent.
	Finish(stopped bool)
	// Take returns what is to be sent now; the slice is valid until the next event.
	Take() []byte
}

// Copy reads an answer to its end, or to a stop sequence, and sends what t makes of it. The error is an *codex.Error, or
// another one when the caller has gone.
func Copy(s *codex.Stream, t Encoder, send func(p []byte, more bool) error) (*codex.End, error) {
	for {
		ev, err := s.Next()
		if err == io.EOF { //nolint:errorlint // Next returns it bare
			err = codex.Broken()
		}
		if err != nil {
			return nil, err
		}
		end, err := t.Event(ev)
		if err != nil {
			return nil, err
		}
		stopped := t.Stopped()
		if stopped != nil { // the backend's call is ended here; what it used is an estimate
			end = stopped
		}
		if end != nil {
			t.Finish(stopped != nil)
		}
		if p := t.Take(); len(p) > 0 {
			err = send(p, s.Buffered() || end != nil)
		}
		if err != nil || end != nil {
			return end, err
		}
	}
}

// ReadParams reads a request's body field by field, in the order of their names, so that one request goes up as one body
// each time. Null counts as absent. What table does not have is dropped.
func ReadParams[R any](r R, body []byte, table map[string]func(R, json.RawMessage) error, drop func(name string)) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil || fields == nil {
		return codex.Invalid("", "The request's body is not a JSON object")
	}
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
