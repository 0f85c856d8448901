package fakebackend

import (
	"slices"
	"strings"

	"github.com/tidwall/gjson"
)

// checkSchema refuses a schema whose root is no object, and with strict what strict mode does not have.
// Source: OpenAI guide on structured outputs, supported schemas.
func checkSchema(where string, schema gjson.Result, strict bool) error {
	if kind := schema.Get("type"); kind.Str != "object" {
		got := kind.String()
		if !kind.Exists() {
			got = "None"
		}
		return bad("Invalid schema for %s: schema must be a JSON Schema of 'type: \"object\"', got 'type: \"%s\"'.", where, got)
	}
	if !schema.Get("properties").Exists() {
		return bad("Invalid schema for %s: In context=(), object schema missing properties.", where)
	}
	if !strict {
		return nil
	}
	if what := strictProblem(schema, schema, "()"); what != "" {
		return bad("Invalid schema for %s: %s", where, what)
	}
	return nil
}

// notPermitted are the fields that strict mode refuses anywhere.
var notPermitted = []string{"allOf", "oneOf", "not", "if", "then", "else", "dependentRequired", "dependentSchemas", "patternProperties", "default"}

// strictProblem is what strict mode has against a schema; empty for nothing.
func strictProblem(root, schema gjson.Result, context string) (problem string) {
	fields := 0
	schema.ForEach(func(name, _ gjson.Result) bool {
		fields++
		if slices.Contains(notPermitted, name.Str) {
			problem = "In context=" + context + ", '" + name.Str + "' is not permitted."
		}
		return true
	})
	if ref := schema.Get(`\$ref`); problem == "" && ref.Exists() {
		definitions := schema.Get(`\$defs`).Exists() || schema.Get("definitions").Exists()
		if fields > 1 && !definitions {
			return "In context=" + context + ", $ref cannot have keywords beside it."
		}
		if !resolve(root, ref.Str).Exists() {
			return "In context=" + context + ", reference can't be resolved: '" + ref.Str + "'."
		}
	}
	properties := schema.Get("properties")
	if problem == "" && (schema.Get("type").Str == "object" || properties.Exists()) {
		if more := schema.Get("additionalProperties"); more.Type != gjson.False {
			return "In context=" + context + ", 'additionalProperties' is required to be supplied and to be false."
		}
		properties.ForEach(func(name, _ gjson.Result) bool {
			if !slices.ContainsFunc(schema.Get("required").Array(), func(r gjson.Result) bool { return r.Str == name.Str }) {
				problem = "In context=" + context + ", 'required' is required to include every key in properties. Missing '" + name.Str + "'."
			}
			return problem == ""
		})
	}
	for _, holder := range []string{"properties", `\$defs`, "definitions", "anyOf"} {
		schema.Get(holder).ForEach(func(name, inner gjson.Result) bool {
			if problem == "" {
				problem = strictProblem(root, inner, "("+holder+", "+name.String()+")")
			}
			return problem == ""
		})
	}
	if items := schema.Get("items"); problem == "" && items.IsObject() {
		problem = strictProblem(root, items, "(items)")
	}
	return problem
}

// resolve follows a reference inside a schema.
func resolve(root gjson.Result, ref string) gjson.Result {
	at := root
	for segment := range strings.SplitSeq(strings.TrimPrefix(ref, "#"), "/") {
		if segment != "" {
			at = at.Get(gjson.Escape(segment))
		}
	}
	return at
}
