package codex

import (
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"codex-proxy/proxy/rawjson"
)

// schemaDepth is how many schemas may stand in one another: the work grows with it.
const schemaDepth = 100

// ObjectSchema brings a JSON Schema into what the backend takes for answers and for arguments of tools: its root must be an
// object. A reference at the root is followed, and what can only be an object is called one. With strict, which the backend
// enforces, it also writes what is meant in the words that strict mode has; see strictSchema. path is where the schema
// stands in the caller's request. The error is an *Error whose Param is the path of what can't be brought so far.
// Source: OpenAI guide on structured outputs, supported schemas.
func ObjectSchema(schema json.RawMessage, strict bool, path string) (json.RawMessage, error) {
	root := gjson.ParseBytes(schema)
	if !root.IsObject() {
		return nil, Invalid(path, "%s must be a JSON schema, which is an object", path)
	}
	fields, object, err := rootFields(root, path)
	if err != nil {
		return nil, err
	}
	if !object {
		return nil, Invalid(path, "%s must be of the type object at its root. Make what you have a property of an object", path)
	}
	out := objectOf(fields)
	if !strict {
		return out, nil
	}
	s := strictSchema{gjson.ParseBytes(out), map[string]bool{}, new(int)}
	for _, name := range definitions {
		s.root.Get(gjson.Escape(name)).ForEach(func(key, _ gjson.Result) bool {
			s.leads["#/"+name+"/"+key.String()] = true
			return true
		})
	}
	return s.rewrite(s.root, path, 0)
}

// wrapping is the property of our own around an answer that is no object.
const wrapping = "answer"

// AnswerSchema is ObjectSchema, without strict, for a dialect in which an answer may be anything: where its root is no object, it
// becomes the only property of one, and UnwrapAnswer takes what stands there.
func AnswerSchema(schema json.RawMessage, path string) (out json.RawMessage, wrapped bool, err error) {
	root := gjson.ParseBytes(schema)
	if root.IsObject() {
		says := slices.ContainsFunc([]string{"type", "properties", `\$ref`}, func(name string) bool { return root.Get(name).Exists() })
		if _, object, err := rootFields(root, path); err == nil && !(object && says) { // one that says nothing of it allows everything
			fields := []schemaField{
				{"type", []byte(`"object"`)}, {"properties", objectOf([]schemaField{{wrapping, schema}})},
				{"required", mustJSON([]string{wrapping})}, {"additionalProperties", []byte("false")},
			}
			for _, name := range definitions { // references begin at the root
				if defs := root.Get(gjson.Escape(name)); defs.Exists() {
					fields = append(fields, schemaField{name, []byte(defs.Raw)})
				}
			}
			return objectOf(fields), true, nil
		}
	}
	out, err = ObjectSchema(schema, false, path)
	return out, false, err
}

// UnwrapAnswer is the answer in the object of AnswerSchema, as JSON; ok is false when whole is no such object.
func UnwrapAnswer(whole string) (answer gjson.Result, ok bool) {
	answer = gjson.Get(whole, wrapping)
	return answer, answer.Exists() && rawjson.Valid(rawjson.Raw(whole))
}

// schemaField is one field of a schema, in its place: models write properties in the order in which they stand.
type schemaField struct {
	name string
	raw  []byte
}

// fieldsOf are the fields of an object; of a name that comes again, the first counts, as gjson reads it.
func fieldsOf(object gjson.Result) (fields []schemaField) {
	seen := map[string]bool{}
	object.ForEach(func(name, v gjson.Result) bool {
		if f := (schemaField{name.String(), []byte(v.Raw)}); !seen[f.name] {
			seen[f.name] = true
			fields = append(fields, f)
		}
		return true
	})
	return fields
}

func objectOf(fields []schemaField) json.RawMessage {
	b := []byte("{")
	for i, f := range fields {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, quote(f.name)...), ':'), f.raw...)
	}
	return append(b, '}')
}

func named(name string) func(schemaField) bool {
	return func(f schemaField) bool { return f.name == name }
}

// definitions are the fields in which schemas stand that others refer to.
var definitions = []string{"$defs", "definitions"}

// rootFields are those of a root; object says that it is one of the type object.
func rootFields(root gjson.Result, path string) (fields []schemaField, object bool, err error) {
	fields = fieldsOf(root)
	top := root
	for hops := 0; top.Get(`\$ref`).Exists(); hops++ { // the definitions stay at the root, where references begin
		target, ok := resolve(root, top.Get(`\$ref`).String())
		if !ok || !target.IsObject() || hops == schemaDepth {
			return nil, false, Invalid(path+".$ref", "%s.$ref does not lead to a schema in this one", path)
		}
		top = target
		kept := slices.DeleteFunc(fields, func(f schemaField) bool { return !slices.Contains(definitions, f.name) })
		fields = append(fieldsOf(top), slices.DeleteFunc(kept, func(f schemaField) bool { return top.Get(gjson.Escape(f.name)).Exists() })...)
	}
	kind := top.Get("type")
	switch {
	case kind.Str == "object":
	case kind.IsArray() && slices.ContainsFunc(kind.Array(), func(t gjson.Result) bool { return t.Str == "object" }):
		fields[slices.IndexFunc(fields, named("type"))].raw = []byte(`"object"`)
	case !kind.Exists() && !slices.ContainsFunc(notObjects, func(name string) bool { return top.Get(name).Exists() }):
		fields = slices.Insert(fields, 0, schemaField{"type", []byte(`"object"`)})
	default:
		return nil, false, nil
	}
	if !slices.ContainsFunc(fields, named("properties")) {
		fields = append(fields, schemaField{"properties", []byte("{}")})
	}
	return fields, true, nil
}

// notObjects are fields by which a schema without a type may be something else than an object.
var notObjects = []string{"anyOf", "oneOf", "allOf", "not", "enum", "const", "items", "prefixItems"}

// resolve follows a reference inside a schema, a JSON pointer. Source: RFC 6901, 6.
func resolve(root gjson.Result, ref string) (gjson.Result, bool) {
	pointer, ok := strings.CutPrefix(ref, "#")
	if !ok || (pointer != "" && pointer[0] != '/') {
		return gjson.Result{}, false
	}
	at := root
	for segment := range strings.SplitSeq(pointer, "/") {
		if segment == "" {
			continue
		}
		if plain, err := url.PathUnescape(segment); err == nil {
			segment = plain
		}
		segment = strings.NewReplacer("~1", "/", "~0", "~").Replace(segment)
		at = at.Get(gjson.Escape(segment))
	}
	return at, at.Exists()
}

// strictSchema writes a schema in the words of strict mode: additionalProperties is false where it is not said, oneOf is
// anyOf, an allOf of one is that one, and what only explains is left out where it must not stand. What can't be said is an
// error. Recursion is no matter: references stay as they are.
type strictSchema struct {
	root  gjson.Result
	leads map[string]bool // by reference; each one that is not here takes a look through the whole schema
	looks *int
}

// schemaReferences is how many different references are looked at beyond those to definitions.
const schemaReferences = 1000

func (s strictSchema) reference(ref, path string) error {
	leads, seen := s.leads[ref]
	if !seen {
		if *s.looks++; *s.looks > schemaReferences {
			return Invalid(path, "%s is one reference too many. Refer to $defs", path)
		}
		_, leads = resolve(s.root, ref)
		s.leads[ref] = leads
	}
	if !leads {
		return Invalid(path, "%s does not lead to a schema in this one", path)
	}
	return nil
}

// unsayable are fields that strict mode does not have, and without which a schema means something else.
var unsayable = []string{"not", "if", "then", "else", "dependentRequired", "dependentSchemas", "patternProperties"}

// explaining are fields that must not stand beside a reference, and change nothing.
var explaining = []string{"title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$comment"}

func (s strictSchema) rewrite(v gjson.Result, path string, depth int) (json.RawMessage, error) {
	if depth > schemaDepth {
		return nil, Invalid(path, "%s is nested more than %d deep. Make it flatter", path, schemaDepth)
	}
	if !v.IsObject() {
		return json.RawMessage(v.Raw), nil
	}
	fields := fieldsOf(v)
	if all := v.Get("allOf").Array(); len(all) == 1 {
		own := map[string]bool{}
		for _, f := range fields {
			own[f.name] = true
		}
		one := slices.DeleteFunc(fieldsOf(all[0]), func(f schemaField) bool { return own[f.name] })
		fields = append(slices.DeleteFunc(fields, named("allOf")), one...)
	}
	ref := slices.ContainsFunc(fields, named("$ref"))
	out := make([]schemaField, 0, len(fields)+1)
	for _, f := range fields {
		at := path + "." + f.name
		value := gjson.ParseBytes(f.raw)
		var err error
		switch {
		case f.name == "default", ref && slices.Contains(explaining, f.name):
			continue
		case f.name == "$ref":
			err = s.reference(value.String(), at)
		case slices.Contains(unsayable, f.name), f.name == "allOf":
			err = Invalid(at, "%s is not available with strict true. Say it another way, or send strict false", at)
		case f.name == "oneOf" && !v.Get("anyOf").Exists():
			f.name = "anyOf"
			f.raw, err = s.list(value, at, depth)
		case f.name == "anyOf":
			f.raw, err = s.list(value, at, depth)
		case f.name == "items":
			f.raw, err = s.rewrite(value, at, depth+1)
		case f.name == "properties", slices.Contains(definitions, f.name):
			inner := fieldsOf(value)
			for i, p := range inner {
				if inner[i].raw, err = s.rewrite(gjson.ParseBytes(p.raw), at+"."+p.name, depth+1); err != nil {
					return nil, err
				}
			}
			f.raw = objectOf(inner)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return s.closed(out, path)
}

func (s strictSchema) list(all gjson.Result, path string, depth int) (json.RawMessage, error) {
	b := []byte("[")
	for i, one := range all.Array() {
		out, err := s.rewrite(one, path+"["+strconv.Itoa(i)+"]", depth+1)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, out...)
	}
	return append(b, ']'), nil
}

// closed is a schema whose objects have no other properties than those that are named, and all of those.
func (s strictSchema) closed(fields []schemaField, path string) (json.RawMessage, error) {
	schema := objectOf(fields)
	v := gjson.ParseBytes(schema)
	properties, more := v.Get("properties"), v.Get("additionalProperties")
	if !strings.Contains(v.Get("type").Raw, `"object"`) && !properties.Exists() {
		return schema, nil
	}
	switch {
	case !more.Exists():
		schema = objectOf(append(fields, schemaField{"additionalProperties", []byte("false")}))
	case more.Type != gjson.False:
		return nil, Invalid(path+".additionalProperties", "%s.additionalProperties must be false with strict true. Name the properties, or send strict false", path)
	}
	required := map[string]bool{}
	for _, name := range v.Get("required").Array() {
		required[name.String()] = true
	}
	for _, p := range fieldsOf(properties) {
		if !required[p.name] {
			at := path + ".properties." + p.name
			return nil, Invalid(at, "%s must be in required with strict true. Let it be null where there may be none, or send strict false", at)
		}
	}
	return schema, nil
}
