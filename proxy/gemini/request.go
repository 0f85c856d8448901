// Package gemini translates between Google's Gemini API and package codex.
package gemini

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/tidwall/gjson"

	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/rawjson"
	"codex-proxy/proxy/reply"
)

// request is a GenerateContent request on its way to the backend. Source: Gemini API reference, models.generateContent.
type request struct {
	codex.Request

	thinking bool // the caller wants to see it
	wrapped  bool // the answer stands in an object of ours
	word     bool // and is a word without quotation marks
	stops    []string
	names    codex.Names
	contents gjson.Result

	functions []function
	choice    callingConfig
	effort    string // by thinking's budget
}

// params is the one table of what a caller may send. What is not here is dropped, as safety settings are.
var params = map[string]func(*request, json.RawMessage) error{
	"contents": func(r *request, v json.RawMessage) error { r.contents = gjson.Parse(rawjson.View(v)); return nil },
	"systemInstruction": func(r *request, v json.RawMessage) error {
		system := gjson.ParseBytes(v)
		if !system.IsObject() && system.Type != gjson.String {
			return codex.Invalid("systemInstruction", "systemInstruction must be one content: an object with parts")
		}
		parts, _ := partsOf(system)
		r.Instructions = joinText(parts)
		return nil
	},
	"tools":            (*request).takeTools,
	"toolConfig":       (*request).takeToolConfig,
	"generationConfig": (*request).takeConfig,
	"serviceTier": func(r *request, v json.RawMessage) error {
		tier := strings.TrimPrefix(strings.ToLower(gjson.ParseBytes(v).String()), "service_tier_")
		return r.SetParam("service_tier", reply.Encode(strings.TrimPrefix(tier, "unspecified")))
	},
	"model": func(*request, json.RawMessage) error { return nil }, // the address names it
	"cachedContent": func(*request, json.RawMessage) error {
		return codex.Invalid("cachedContent", "Cached contents are not stored by the ChatGPT backend, which caches by itself. Send the whole conversation in contents")
	},
}

// configParams is the same for generationConfig.
var configParams = map[string]func(*request, json.RawMessage) error{
	"stopSequences": func(r *request, v json.RawMessage) (err error) {
		r.stops, err = reply.Stops("generationConfig.stopSequences", v)
		return err
	},
	"thinkingConfig":     (*request).takeThinking,
	"responseMimeType":   (*request).takeMimeType,
	"responseSchema":     func(r *request, v json.RawMessage) error { return r.takeSchema("responseSchema", v, true) },
	"responseJsonSchema": func(r *request, v json.RawMessage) error { return r.takeSchema("responseJsonSchema", v, false) },
	"responseModalities": (*request).takeModalities,
	"candidateCount": func(_ *request, v json.RawMessage) error {
		if gjson.ParseBytes(v).Int() > 1 {
			return codex.Invalid("generationConfig.candidateCount", "There is one candidate for a request. Send the request several times")
		}
		return nil
	},
}

// parse reads a request's body. The address has named the model.
func (h *Handler) parse(model string, body []byte) (*request, error) {
	r := &request{names: codex.Names{}}
	r.Translated = true
	r.Model = model
	fields, err := reply.Object(body)
	if err == nil {
		err = reply.ReadParams(r, camelKeys(fields), params, r.Drop)
	}
	if err == nil {
		err = r.placeTools()
	}
	if err != nil {
		return r, err
	}
	r.Effort = r.effort
	if r.thinking {
		r.Summary = json.RawMessage(`"auto"`)
	}
	id, _ := h.Client.Models.Resolve(r.Model, "")
	return r, r.convert(h.Reasoning, id)
}

// camel is a field's name as the API's JSON has it; its own name, with underscores, is as good.
// Source: Protocol Buffers, ProtoJSON format.
func camel(name string) string {
	if !strings.Contains(name, "_") {
		return name
	}
	up := false
	return strings.Map(func(c rune) rune {
		switch {
		case c == '_':
			up = true
			return -1
		case up:
			up = false
			return unicode.ToUpper(c)
		}
		return c
	}, name)
}

func camelKeys(fields map[string]json.RawMessage) map[string]json.RawMessage {
	out := make(map[string]json.RawMessage, len(fields))
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		out[camel(name)] = fields[name]
	}
	return out
}

// each calls f with the fields of an object, by the API's names for them. Null counts as absent.
func each(object gjson.Result, f func(name string, v gjson.Result)) {
	eachRaw(object, func(name string, value json.RawMessage) { f(name, gjson.Parse(rawjson.View(value))) })
}

// eachRaw is each for who needs no value decoded.
func eachRaw(object gjson.Result, f func(name string, value json.RawMessage)) {
	rawjson.Each(rawjson.Raw(object.Raw), func(name string, value json.RawMessage) bool {
		if !rawjson.IsNull(value) {
			f(camel(name), value)
		}
		return true
	})
}

// field is one field of a small object.
func field(object gjson.Result, name string) (found gjson.Result) {
	each(object, func(n string, v gjson.Result) {
		if n == name {
			found = v
		}
	})
	return found
}

// partsOf are those of a content, which may also be a string, and whose they are.
func partsOf(content gjson.Result) (parts []gjson.Result, role string) {
	if content.Type == gjson.String {
		return []gjson.Result{gjson.Parse(`{"text":` + content.Raw + `}`)}, ""
	}
	each(content, func(name string, v gjson.Result) {
		switch name {
		case "parts":
			parts = elements(v)
		case "role":
			role = strings.ToLower(v.String())
		}
	})
	return parts, role
}

// elements are those of a list; anything else is a list of itself.
func elements(list gjson.Result) []gjson.Result {
	if !list.IsArray() {
		return list.Array()
	}
	values, _ := rawjson.Elements(rawjson.Raw(list.Raw))
	out := make([]gjson.Result, len(values))
	for i, v := range values {
		out[i] = gjson.Parse(rawjson.View(v))
	}
	return out
}

func joinText(parts []gjson.Result) string {
	var texts []string
	for _, p := range parts {
		if text := field(p, "text").String(); text != "" {
			texts = append(texts, text)
		}
	}
	return strings.Join(texts, "\n\n")
}

func (r *request) takeConfig(v json.RawMessage) error {
	var fields map[string]json.RawMessage
	if json.Unmarshal(v, &fields) != nil {
		return codex.Invalid("generationConfig", "generationConfig must be an object")
	}
	return reply.ReadParams(r, camelKeys(fields), configParams, func(name string) { r.Drop("generationConfig." + name) })
}

func (r *request) takeThinking(v json.RawMessage) error {
	each(gjson.ParseBytes(v), func(name string, v gjson.Result) {
		switch name {
		case "includeThoughts":
			r.thinking = v.Bool()
		case "thinkingLevel":
			if r.effort = strings.ToLower(v.String()); r.effort == "thinking_level_unspecified" {
				r.effort = ""
			}
		case "thinkingBudget":
			switch budget := v.Int(); {
			case budget < 0: // as the model likes
			case budget == 0:
				r.effort = "none" // brought to the least that the model has
				r.Expected = append(r.Expected, codex.EffortParam)
			case budget < 4096:
				r.effort = "low"
			case budget < 16384:
				r.effort = "medium"
			default:
				r.effort = "high"
			}
		default:
			r.Drop("generationConfig.thinkingConfig." + name)
		}
	})
	return nil
}

func (r *request) takeMimeType(v json.RawMessage) error {
	switch kind := gjson.ParseBytes(v).String(); kind {
	case "", "text/plain":
	case "application/json":
		if r.Text == nil { // a schema says more
			r.SetText("format", json.RawMessage(`{"type":"json_object"}`))
		}
	case "text/x.enum": // the schema has the words
		r.word = true
	default:
		return codex.Invalid("generationConfig.responseMimeType", "The format %.80q is not available with a ChatGPT plan. Use text/plain or application/json", kind)
	}
	return nil
}

// takeModalities asks for pictures where they are wanted.
func (r *request) takeModalities(v json.RawMessage) error {
	for _, kind := range gjson.ParseBytes(v).Array() {
		switch strings.ToUpper(kind.String()) {
		case "TEXT", "MODALITY_UNSPECIFIED":
		case "IMAGE":
			r.Tools = append(r.Tools, json.RawMessage(`{"type":"image_generation"}`))
		default:
			return codex.Invalid("generationConfig.responseModalities", "Answers are text, or pictures: there is no audio or video with a ChatGPT plan. Ask for TEXT or IMAGE")
		}
	}
	return nil
}

// takeSchema asks for an answer of a shape.
func (r *request) takeSchema(name string, v json.RawMessage, openAPI bool) error {
	schema := gjson.ParseBytes(v)
	if !schema.IsObject() {
		return codex.Invalid("generationConfig."+name, "%s must be a schema", name)
	}
	var err error
	if openAPI {
		if v, err = jsonSchema(schema, 0); err != nil {
			return err
		}
	}
	if v, r.wrapped, err = codex.AnswerSchema(v, "generationConfig."+name); err != nil {
		return err
	}
	r.SetText("format", reply.Encode(map[string]any{"type": "json_schema", "name": "answer", "schema": v, "strict": false}))
	return nil
}

// wholeRequest is the request inside a count of tokens that names one.
func wholeRequest(body []byte) ([]byte, bool) {
	if !rawjson.Valid(body) {
		return nil, false
	}
	inner := field(gjson.ParseBytes(body), "generateContentRequest")
	return []byte(inner.Raw), inner.IsObject()
}
