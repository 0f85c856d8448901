package codex

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestSchemasAreBroughtIntoWhatTheBackendTakes(t *testing.T) {
	const node = `{"type":"object","properties":{"next":{"anyOf":[{"$ref":"#/$defs/node"},{"type":"null"}]}},"required":["next"],"additionalProperties":false}`
	for name, c := range map[string]struct {
		schema, want string
		strict       bool
	}{
		"as it must be":         {`{"$defs":{"node":` + node + `},` + node[1:], `{"$defs":{"node":` + node + `},` + node[1:], true},
		"no type":               {`{"properties":{"b":{},"a":{}}}`, `{"type":"object","properties":{"b":{},"a":{}}}`, false},
		"nothing":               {`{}`, `{"type":"object","properties":{}}`, false},
		"no properties":         {`{"type":"object"}`, `{"type":"object","properties":{}}`, false},
		"or null":               {`{"type":["object","null"],"properties":{}}`, `{"type":"object","properties":{}}`, false},
		"a reference at root":   {`{"$ref":"#/$defs/node","$defs":{"node":` + node + `},"$schema":"x"}`, node[:len(node)-1] + `,"$defs":{"node":` + node + `}}`, false},
		"two of them":           {`{"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"type":"object","properties":{}}},"$ref":"#/$defs/a"}`, `{"type":"object","properties":{},"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"type":"object","properties":{}}}}`, false},
		"an odd name":           {`{"$ref":"#/definitions/a~1b%20.c","definitions":{"a/b .c":{"type":"object","properties":{}}}}`, `{"type":"object","properties":{},"definitions":{"a/b .c":{"type":"object","properties":{}}}}`, false},
		"not strict":            {`{"type":"object","properties":{"a":{"oneOf":[],"default":1,"not":{}}}}`, `{"type":"object","properties":{"a":{"oneOf":[],"default":1,"not":{}}}}`, false},
		"strict, open":          {`{"type":"object","properties":{"a":{"type":"object","properties":{}}},"required":["a"]}`, `{"type":"object","properties":{"a":{"type":"object","properties":{},"additionalProperties":false}},"required":["a"],"additionalProperties":false}`, true},
		"strict, a default":     {`{"type":"object","properties":{"default":{"type":"string","default":"x","title":"y"}},"required":["default"],"additionalProperties":false}`, `{"type":"object","properties":{"default":{"type":"string","title":"y"}},"required":["default"],"additionalProperties":false}`, true},
		"strict, one of":        {`{"type":"object","properties":{"a":{"oneOf":[{"type":"string","default":1},{"type":"null"}]}},"required":["a"],"additionalProperties":false}`, `{"type":"object","properties":{"a":{"anyOf":[{"type":"string"},{"type":"null"}]}},"required":["a"],"additionalProperties":false}`, true},
		"strict, all of one":    {`{"type":"object","properties":{"a":{"allOf":[{"$ref":"#/$defs/b"}],"description":"x","default":null}},"required":["a"],"additionalProperties":false,"$defs":{"b":{"type":"string"}}}`, `{"type":"object","properties":{"a":{"$ref":"#/$defs/b"}},"required":["a"],"additionalProperties":false,"$defs":{"b":{"type":"string"}}}`, true},
		"strict, a tree":        {`{"type":"object","properties":{"children":{"type":"array","items":{"$ref":"#"}}},"required":["children"]}`, `{"type":"object","properties":{"children":{"type":"array","items":{"$ref":"#"}}},"required":["children"],"additionalProperties":false}`, true},
		"strict, in definition": {`{"type":"object","properties":{"a":{"$ref":"#/$defs/b","description":"x"}},"required":["a"],"$defs":{"b":{"type":"object","properties":{"default":{"type":"string"}},"required":["default"]}}}`, `{"type":"object","properties":{"a":{"$ref":"#/$defs/b"}},"required":["a"],"$defs":{"b":{"type":"object","properties":{"default":{"type":"string"}},"required":["default"],"additionalProperties":false}},"additionalProperties":false}`, true},
	} {
		if got, err := ObjectSchema(json.RawMessage(c.schema), c.strict, "s"); err != nil || string(got) != c.want {
			t.Errorf("%s: %v\n%s\nwant\n%s", name, err, got, c.want)
		}
	}
}

func TestSchemasThatCantBeBroughtAreNamedByTheirPath(t *testing.T) {
	object := func(properties, required string) string {
		return `{"type":"object","properties":{` + properties + `},"required":[` + required + `],"additionalProperties":false}`
	}
	for name, c := range map[string]struct {
		schema, param string
		strict        bool
	}{
		"no object":               {`[]`, "s", false},
		"a list at root":          {`{"type":"array","items":{}}`, "s", false},
		"a choice at root":        {`{"anyOf":[{"type":"object"}]}`, "s", false},
		"another's":               {`{"$ref":"https://example.com/s.json"}`, "s.$ref", false},
		"nowhere":                 {`{"$ref":"#/$defs/x"}`, "s.$ref", false},
		"itself":                  {`{"$ref":"#"}`, "s.$ref", false},
		"a circle":                {`{"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}}}`, "s.$ref", false},
		"strict, nowhere":         {object(`"a":{"type":"array","items":{"$ref":"#/$defs/x"}}`, `"a"`), "s.properties.a.items.$ref", true},
		"strict, open":            {object(`"a":{"type":"object","properties":{},"additionalProperties":{"type":"string"}}`, `"a"`), "s.properties.a.additionalProperties", true},
		"strict, optional":        {object(`"a":{},"b":{}`, `"a"`), "s.properties.b", true},
		"strict, optional deeper": {object(`"a":{"anyOf":[{"type":"null"},{"type":"object","properties":{"c":{}}}]}`, `"a"`), "s.properties.a.anyOf[1].properties.c", true},
		"strict, not":             {object(`"a":{"not":{}}`, `"a"`), "s.properties.a.not", true},
		"strict, all of two":      {object(`"a":{"allOf":[{},{}]}`, `"a"`), "s.properties.a.allOf", true},
		"strict, in definition":   {`{"type":"object","properties":{},"$defs":{"b":{"type":"object","properties":{"c":{}}}}}`, "s.$defs.b.properties.c", true},
		"strict, deep":            {object(`"a":`+strings.Repeat(`{"items":`, 200)+`{}`+strings.Repeat(`}`, 200), `"a"`), "", true},
	} {
		_, err := ObjectSchema(json.RawMessage(c.schema), c.strict, "s")
		var e *Error
		if !errors.As(err, &e) || e.Status != 400 || (e.Param != c.param && c.param != "") || !strings.HasPrefix(e.Message, e.Param) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSchemasAreReadInAsMuchTimeAsTheyAreLong: a program of this machine must not stop the others by one. A schema that is eight
// times as long takes as long as eight, not as sixty-four. Both are long enough to be held up alike by a busy machine.
func TestSchemasAreReadInAsMuchTimeAsTheyAreLong(t *testing.T) {
	cut := func(b *strings.Builder) string { return strings.TrimSuffix(b.String(), ",") }
	schemas := func(size int) map[string]string {
		var defs, refs, odd, names strings.Builder
		for i := range size {
			n := strconv.Itoa(i)
			defs.WriteString(`"d` + n + `":{},`)
			refs.WriteString(`{"$ref":"#/$defs/d` + n + `"},`)
			odd.WriteString(`{"$ref":"#/properties/a/d` + n + `"},`)
		}
		for i := range 5 * size {
			names.WriteString(`"x` + strconv.Itoa(i) + `":1,`)
		}
		return map[string]string{
			"references":     `"$defs":{` + cut(&defs) + `},"anyOf":[` + cut(&refs) + `]`,
			"odd references": `"properties":{"a":{` + cut(&defs) + `}},"required":["a"],"anyOf":[` + cut(&odd) + `]`,
			"all of one":     names.String() + `"allOf":[{` + strings.ReplaceAll(cut(&names), `"x`, `"y`) + `}]`,
		}
	}
	short, long := schemas(1100), schemas(8800)
	for name := range short {
		took := func(fields string, times int) time.Duration {
			start := time.Now()
			for range times {
				if _, err := ObjectSchema(json.RawMessage(`{"type":"object",`+fields+`}`), true, "s"); (err != nil) != (name == "odd references") {
					t.Fatalf("%s: %v", name, err)
				}
			}
			return time.Since(start)
		}
		eight, one := time.Hour, time.Hour
		for try := 0; try < 10 && one > 3*eight || try == 0; try++ { // what else runs makes it longer, never shorter
			eight, one = min(eight, took(short[name], 8)), min(one, took(long[name], 1))
		}
		if one > 3*eight {
			t.Errorf("%s: %s for eight, and %s for one that is eight times as long", name, eight, one)
		}
	}
}
