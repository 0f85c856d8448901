package proxy

import (
	"strings"
	"testing"
)

// TestOllamasTagIsNoPartOfTheName: its clients add :latest to a model's name, wherever they send it.
func TestOllamasTagIsNoPartOfTheName(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"gpt-5.5", "gpt-5.5:latest"} {
		for _, path := range []string{"/api/show", "/api/chat", "/api/generate"} {
			status, text := r.post(path, `{"model":"`+name+`","stream":false,"prompt":"hello","messages":[{"role":"user","content":"hello"}]}`)
			if status != 200 {
				t.Errorf("%s of %s: %d %s", path, name, status, text)
			}
		}
	}
	if status, text := r.post("/api/show", `{"model":"gpt-0:latest"}`); status != 404 {
		t.Errorf("a model that is not there: %d %s", status, text)
	}
}

// TestOllamaNamesTheModelThatAnswers where the request names none, in each line and when a model is to be loaded.
func TestOllamaNamesTheModelThatAnswers(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct{ path, body string }{
		{"/api/chat", `{"stream":false,"messages":[{"role":"user","content":"hello"}]}`},
		{"/api/chat", `{"messages":[{"role":"user","content":"hello"}]}`},
		{"/api/chat", `{"model":"","messages":[]}`},
		{"/api/generate", `{"stream":false,"prompt":"hello"}`},
		{"/api/generate", `{"prompt":"hello"}`},
		{"/api/generate", `{}`},
	} {
		status, text := r.post(c.path, c.body)
		for line := range strings.Lines(text) {
			if status != 200 || get(line, "model").Str != "gpt-5.5" {
				t.Errorf("%s %s: %d %s", c.path, c.body, status, line)
			}
		}
	}
	if _, text := r.post("/api/chat", `{"model":"gpt-5.5:latest","stream":false,"messages":[{"role":"user","content":"hello"}]}`); get(text, "model").Str != "gpt-5.5:latest" {
		t.Errorf("the caller's own name: %s", text)
	}
}

func TestAnswersOfOllamasHaveAnyShape(t *testing.T) {
	r := newRig(t)
	for format, want := range map[string]string{
		`{"type":"object","properties":{"n":{"type":"integer"}}}`:                        `{"n":1}`,
		`{"type":"array","items":{"type":"integer"}}`:                                    `[1]`,
		`{"type":"array","items":{"$ref":"#/$defs/N"},"$defs":{"N":{"type":"integer"}}}`: `[1]`,
		`{}`: `"sample"`,
		`{"type":"string","enum":["red","blue"]}`: `"red"`,
		`{"$ref":"#/definitions/N","definitions":{"N":{"type":"object","properties":{"n":{"type":"integer"}}}}}`: `{"n":1}`,
	} {
		for _, stream := range []string{"true", "false"} {
			for path, body := range map[string]string{"/api/chat": `"messages":[{"role":"user","content":"fill"}]`, "/api/generate": `"prompt":"fill"`} {
				_, answer := r.post(path, `{"model":"gpt-5.5","stream":`+stream+`,"format":`+format+`,`+body+`}`)
				text := ""
				for line := range strings.Lines(answer) {
					text += get(line, "message.content").String() + get(line, "response").String()
				}
				if text != want {
					t.Errorf("%s, streamed %s, %s: %s\n%s", path, stream, format, text, answer)
				}
			}
		}
	}
}

// TestAToolsResultWithoutItsCallIsReadAllTheSame: some clients of Ollama's keep no calls in their history, and its templates show
// a result to the model whatever came before. Without it the model calls the tool again, for ever.
func TestAToolsResultWithoutItsCallIsReadAllTheSame(t *testing.T) {
	r := newRig(t)
	const tool = `"tools":[{"type":"function","function":{"name":"get_weather","parameters":{"type":"object","properties":{}}}}]`
	for result, want := range map[string]string{
		`{"role":"tool","content":"22 °C \"sunny\""}`:                 "Result of a tool:\n22 °C \"sunny\"",
		`{"role":"tool","tool_name":"get_weather","content":"22 °C"}`: "Result of the tool get_weather:\n22 °C",
		`{"role":"tool","tool_call_id":"call_9","content":"22 °C"}`:   "Result of a tool:\n22 °C",
		`{"role":"tool"}`: "Result of a tool:\n",
	} {
		status, _, answer, _ := r.do("POST", "/api/chat", `{"stream":false,`+tool+`,"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":""},`+result+`]}`)
		last := r.wentUp().Get("input.@reverse.0")
		if status != 200 || last.Get("role").Str != "user" || last.Get("content.0.text").Str != want {
			t.Errorf("%s: %d, %s\n%s", result, status, last.Raw, answer)
		}
	}
}
