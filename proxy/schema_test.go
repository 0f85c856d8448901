package proxy

import (
	"net/http"
	"strings"
	"testing"
)

const (
	// tree is a schema that goes on in itself, as pydantic and zod write one.
	tree = `{"$ref":"#/$defs/node","$defs":{"node":{"type":"object","properties":{"name":{"type":"string","default":"x"},"children":{"type":"array","items":{"$ref":"#/$defs/node"}}},"required":["name","children"]}}}`
	list = `{"type":"array","items":{"type":"string"}}`
)

// shaped are the places where a dialect has a schema, and how each calls it. SCHEMA stands for the schema.
var shaped = []struct{ dialect, more, param string }{
	{"chat", `"response_format":{"type":"json_schema","json_schema":{"name":"n","strict":true,"schema":SCHEMA}}`, "response_format.json_schema.schema"},
	{"chat", `"tools":[{"type":"custom","custom":{"name":"c"}},{"type":"function","function":{"name":"f","strict":true,"parameters":SCHEMA}}]`, "tools[1].function.parameters"},
	{"chat", `"functions":[{"name":"f","parameters":SCHEMA}]`, "functions[0].parameters"},
	{"responses", `"text":{"format":{"type":"json_schema","name":"n","strict":true,"schema":SCHEMA}}`, "text.format.schema"},
	{"responses", `"tools":[{"type":"function","name":"f","strict":true,"parameters":SCHEMA}]`, "tools[0].parameters"},
	{"messages", `"output_config":{"format":{"type":"json_schema","schema":SCHEMA}}`, "output_config.format.schema"},
	{"messages", `"tools":[{"name":"f","input_schema":SCHEMA}]`, "tools.0.input_schema"},
	{"ollama", `"format":SCHEMA`, "format"},
	{"ollama", `"tools":[{"type":"function","function":{"name":"f","parameters":SCHEMA}}]`, "tools[0].function.parameters"},
	{"gemini", `"tools":[{"functionDeclarations":[{"name":"f","parametersJsonSchema":SCHEMA}]}]`, "tools.functionDeclarations[0].parameters"},
}

// TestSchemasOfEveryDialectGoUpAsTheBackendTakesThem: the stand-in refuses what is not of strict mode.
func TestSchemasOfEveryDialectGoUpAsTheBackendTakesThem(t *testing.T) {
	r := newRig(t)
	for _, c := range shaped {
		status, text, _ := r.ask(c.dialect, "Hello there", false, strings.Replace(c.more, "SCHEMA", tree, 1))
		if status != 200 {
			t.Errorf("%s %s: %d %s", c.dialect, c.param, status, text)
		}
		if c.param == "format" {
			continue // Ollama's answers may be anything: TestAnswersOfOllamasHaveAnyShape
		}
		status, text, _ = r.ask(c.dialect, "Hello there", false, strings.Replace(c.more, "SCHEMA", list, 1))
		if status != 400 || !strings.Contains(text, c.param+" must be of the type object at its root") || (c.dialect != "messages" && c.dialect != "ollama" && c.dialect != "gemini" && get(text, "error.param").Str != c.param) {
			t.Errorf("%s, a list: %d %s", c.dialect, status, text)
		}
	}
	more := `"response_format":{"type":"json_schema","json_schema":{"name":"n","strict":true,"schema":{"type":"object","properties":{"x":{"not":{}}},"required":["x"]}}}`
	if _, text, _ := r.ask("chat", "Hello there", false, more); get(text, "error.param").Str != "response_format.json_schema.schema.properties.x.not" {
		t.Errorf("a path: %s", text)
	}
	status, text, _ := r.ask("chat", "Hello there", false, strings.Replace(shaped[0].more, "SCHEMA", tree, 1))
	if answer := get(text, "choices.0.message.content").Str; status != 200 || get(answer, "name").Str != "sample" || !get(answer, "children.0.name").Exists() {
		t.Errorf("a tree: %d %s", status, text)
	}
	status, text, _ = r.ask("gemini", "Hello there", false, `"generationConfig":{"responseMimeType":"application/json","responseJsonSchema":{"properties":{"a":{"type":"string"}}}}`)
	if status != 200 || r.sent().Get("text.format.schema.type").Str != "object" {
		t.Errorf("gemini: %d %s", status, text)
	}
}

// TestTheCodexCLIsSchemasAreItsOwn: what it sends the backend judges.
func TestTheCodexCLIsSchemasAreItsOwn(t *testing.T) {
	r := newRig(t)
	body := `{"input":[{"role":"developer","content":"x"},{"role":"user","content":"Hello there"}],"text":{"format":{"type":"json_schema","name":"n","strict":true,"schema":` + list + `}}}`
	status, text := r.post("/v1/responses", body, "Originator", "codex_exec")
	if status != http.StatusBadRequest || !strings.Contains(text, "schema must be a JSON Schema of 'type:") || r.sent().Get("text.format.schema").Raw != list {
		t.Errorf("%d %s", status, text)
	}
	tool := `{"type":"function","name":"f","strict":true,"parameters":{"type":"object","properties":{},"additionalProperties":false,"default":{}}}`
	r.post("/v1/responses", `{"input":[{"role":"developer","content":"x"},{"role":"user","content":"Hello there"}],"tools":[`+tool+`]}`, "Originator", "codex_exec")
	if r.sent().Get("tools.0").Raw != tool {
		t.Errorf("a tool: %s", r.sent().Get("tools.0"))
	}
}

// TestAJSONObjectIsAskedForInWords: the backend wants the word in a message, whoever asks, and does not count instructions.
func TestAJSONObjectIsAskedForInWords(t *testing.T) {
	r := newRig(t)
	const chat = `{"response_format":{"type":"json_object"},"messages":[`
	for _, c := range []struct {
		name, path, body string
		added            bool
	}{
		{"a chat's system message", "/v1/chat/completions", chat + `{"role":"system","content":"Answer in JSON"},{"role":"user","content":"hello"}]}`, true},
		{"a chat's first question", "/v1/chat/completions", chat + `{"role":"user","content":[{"type":"text","text":"hello, Json"}]}]}`, false},
		{"a later question", "/v1/chat/completions", chat + `{"role":"user","content":"hello"},{"role":"assistant","content":"{}"},{"role":"user","content":"as JSON"}]}`, true},
		{"the bytes of a picture", "/v1/chat/completions", chat + `{"role":"user","content":[{"type":"text","text":"hello"},{"type":"image_url","image_url":{"url":"data:image/png;base64,json"}}]}]}`, true},
		{"instructions", "/v1/responses", `{"input":"hello","instructions":"Answer in JSON","text":{"format":{"type":"json_object"}}}`, true},
		{"a message of a string", "/v1/responses", `{"input":[{"role":"user","content":"as json"}],"text":{"format":{"type":"json_object"}}}`, false},
		{"Ollama", "/api/chat", `{"stream":false,"format":"json","messages":[{"role":"user","content":"hello"}]}`, true},
		{"Gemini", "/v1beta/models/gpt-5.5:generateContent", `{"contents":[{"parts":[{"text":"hello"}]}],"generationConfig":{"responseMimeType":"application/json"}}`, true},
	} {
		status, _, text, _ := r.do(http.MethodPost, c.path, c.body)
		first := r.sent().Get("input.0")
		if added := first.Get("role").Str == "developer"; status != 200 || added != c.added {
			t.Errorf("%s: %d %s %s", c.name, status, first.Raw, text)
		}
	}
}

// TestTheWordOfAJSONObjectIsNotKept: who goes on from an answer says it anew.
func TestTheWordOfAJSONObjectIsNotKept(t *testing.T) {
	r := newRig(t)
	_, text, _ := r.ask("responses", "hello", false, `"text":{"format":{"type":"json_object"}}`)
	status, text, _ := r.ask("responses", "more", false, `"previous_response_id":`+get(text, "id").Raw)
	if sent := r.sent().Get("input"); status != 200 || strings.Contains(strings.ToLower(sent.Raw), "a json object") {
		t.Errorf("%d %s %s", status, sent.Raw, text)
	}
}

// TestASchemaBesideAJSONObjectIsFollowed: some servers take one there, and instructor sends it.
func TestASchemaBesideAJSONObjectIsFollowed(t *testing.T) {
	r := newRig(t)
	status, text, _ := r.ask("chat", "Hello there", false, `"response_format":{"type":"json_object","schema":{"type":"object","properties":{"name":{"type":"string"}}}}`)
	if got := r.sent().Get("text.format"); status != 200 || got.Get("type").Str != "json_schema" || !got.Get("schema.properties.name").Exists() || get(text, "choices.0.message.content").Str != `{"name":"sample"}` {
		t.Errorf("%d %s\n%s", status, got.Raw, text)
	}
	if status, text, _ := r.ask("chat", "Hello there, as JSON", false, `"response_format":{"type":"json_object","schema":null}`); status != 200 || r.sent().Get("text.format").Raw != `{"type":"json_object"}` {
		t.Errorf("%d %s", status, text)
	}
	if status, text, _ := r.ask("chat", "Hello there", false, `"response_format":{"type":"json_object","schema":`+list+`}`); status != 400 || get(text, "error.param").Str != "response_format.schema" {
		t.Errorf("%d %s", status, text)
	}
}

// TestStopSequencesAreLookedForInTheAnswer, not in the object that the proxy puts around one that is none.
func TestStopSequencesAreLookedForInTheAnswer(t *testing.T) {
	r := newRig(t)
	for stop, want := range map[string]string{"]": "[1", "answer": "[1]"} {
		for _, stream := range []string{"false", "true"} {
			_, answer := r.post("/api/chat", `{"model":"gpt-5.5","stream":`+stream+`,"format":{"type":"array","items":{"type":"integer"}},"options":{"stop":["`+stop+`"]},"messages":[{"role":"user","content":"fill"}]}`)
			text := ""
			for line := range strings.Lines(answer) {
				text += get(line, "message.content").String()
			}
			if text != want || !get(answer[strings.LastIndex(strings.TrimSpace(answer), "\n")+1:], "done").Bool() {
				t.Errorf("Ollama, until %q: %s\n%s", stop, text, answer)
			}
		}
		for _, path := range []string{geminiAsk, geminiStream} {
			_, answer := r.post(path, `{"contents":[{"parts":[{"text":"fill"}]}],"generationConfig":{"responseMimeType":"application/json","responseSchema":{"type":"ARRAY","items":{"type":"INTEGER"}},"stopSequences":["`+stop+`"]}}`)
			if got := gather(t, "gemini", answer, path == geminiStream); got.text != want {
				t.Errorf("Gemini, until %q: %s\n%s", stop, got.text, answer)
			}
		}
	}
}
