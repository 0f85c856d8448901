package gemini

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/tidwall/gjson"

	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/reply"
)

// deepest is how many schemas may stand in one another: the work grows with it.
const deepest = 50

// jsonSchema is a schema of the API's own kind, a part of OpenAPI's with types in capitals, as JSON Schema. The order of
// properties stays, or is the one that propertyOrdering gives: models write in it. The error is an *codex.Error.
// Source: Gemini API reference, Schema.
func jsonSchema(schema gjson.Result, depth int) (json.RawMessage, error) {
	if depth > deepest {
		return nil, codex.Invalid("", "The schema is nested more than %d deep. Make it flatter", deepest)
	}
	var err error
	inner := func(s gjson.Result) json.RawMessage {
		out, e := jsonSchema(s, depth+1)
		err = errors.Join(err, e)
		return out
	}
	nullable := field(schema, "nullable").Bool()
	b := objectWriter{}
	each(schema, func(name string, v gjson.Result) {
		switch name {
		case "nullable", "propertyOrdering", "example":
		case "type":
			switch kind := strings.ToLower(v.String()); {
			case kind == "type_unspecified":
			case nullable:
				b.field(name, reply.Encode([]string{kind, "null"}))
			default:
				b.field(name, reply.Encode(kind))
			}
		case "properties":
			b.field(name, properties(v, field(schema, "propertyOrdering"), inner))
		case "items":
			b.field(name, inner(v))
		case "anyOf":
			var list []json.RawMessage
			for _, s := range v.Array() {
				list = append(list, inner(s))
			}
			if nullable {
				list = append(list, json.RawMessage(`{"type":"null"}`))
			}
			b.field(name, reply.Encode(list))
		case "minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties": // int64, which ProtoJSON has as strings
			b.field(name, reply.Encode(v.Int()))
		default:
			b.field(name, []byte(v.Raw))
		}
	})
	if err != nil {
		return nil, err
	}
	return b.end(), nil
}

// properties are those of an object, the ones that order names first.
func properties(all, order gjson.Result, schema func(gjson.Result) json.RawMessage) json.RawMessage {
	var names []string
	schemas := map[string]gjson.Result{}
	all.ForEach(func(name, v gjson.Result) bool {
		if _, twice := schemas[name.String()]; !twice {
			names = append(names, name.String())
		}
		schemas[name.String()] = v
		return true
	})
	var ordered []string
	for _, name := range order.Array() {
		ordered = append(ordered, name.String())
	}
	b := objectWriter{}
	for _, name := range append(ordered, names...) {
		if s, ok := schemas[name]; ok {
			b.field(name, schema(s))
			delete(schemas, name)
		}
	}
	return b.end()
}

// objectWriter writes a JSON object whose fields keep their order.
type objectWriter struct{ buf []byte }

func (b *objectWriter) field(name string, value []byte) {
	sep := byte(',')
	if b.buf == nil {
		sep = '{'
	}
	b.buf = append(append(append(append(b.buf, sep), reply.Encode(name)...), ':'), value...)
}

func (b *objectWriter) end() json.RawMessage {
	if b.buf == nil {
		return json.RawMessage("{}")
	}
	return append(b.buf, '}')
}
