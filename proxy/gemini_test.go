package proxy

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
)

const (
	geminiAsk    = "/v1beta/models/gpt-5.5:generateContent"
	geminiStream = "/v1beta/models/gpt-5.5:streamGenerateContent?alt=sse"
)

// wentUp is the last request that the backend got.
func (r *rig) wentUp() gjson.Result {
	r.t.Helper()
	requests := r.backend.Requests("/codex/responses")
	if len(requests) == 0 {
		r.t.Fatal("nothing went up")
	}
	return gjson.ParseBytes(requests[len(requests)-1].Body)
}

func TestGeminisWordsReachTheBackendInItsOwn(t *testing.T) {
	r := newRig(t)
	status, h, text, _ := r.do(http.MethodPost, geminiAsk, `{
		"systemInstruction":{"parts":[{"text":"Be brief."},{"text":"Be kind."}]},
		"contents":[{"role":"user","parts":[{"text":"look"},{"inlineData":{"mimeType":"image/png","data":"_-8="}},{"inlineData":{"mimeType":"application/pdf","displayName":"a.pdf","data":"JVBE"}},
			{"inlineData":{"mimeType":"text/plain","data":"bm90ZQ=="}},{"fileData":{"mimeType":"image/jpeg","fileUri":"https://example.com/a.jpg"}}]}],
		"tools":[{"functionDeclarations":[{"name":"a.b:c","description":"d","parameters":{"type":"OBJECT","required":["z"],"propertyOrdering":["z","b"],"properties":{
			"b":{"type":"ARRAY","minItems":"2","items":{"type":"INTEGER","nullable":true}},"z":{"anyOf":[{"type":"STRING"},{"type":"NUMBER"}],"nullable":true}}}},{"name":"now"}]},{"googleSearch":{}},{"urlContext":{}}],
		"toolConfig":{"functionCallingConfig":{"mode":"AUTO"}},
		"safetySettings":[{"category":"HARM_CATEGORY_HARASSMENT","threshold":"BLOCK_NONE"}],"labels":{"a":"b"},"serviceTier":"PRIORITY",
		"generationConfig":{"temperature":1,"maxOutputTokens":99,"candidateCount":1,"responseModalities":["TEXT"],"thinkingConfig":{"thinkingLevel":"HIGH","includeThoughts":true}}}`)
	if status != 200 || h.Get("X-Codex-Proxy-Dropped") != "generationConfig.maxOutputTokens, generationConfig.temperature, labels, safetySettings" {
		t.Errorf("%d %v %s", status, h, text)
	}
	up := r.wentUp()
	for path, want := range map[string]string{
		"instructions":           "Be brief.\n\nBe kind.",
		"input.0.content.0.text": "look",
		"input.0.content.1":      `{"image_url":"data:image/png;base64,/+8=","type":"input_image"}`,
		"input.0.content.2":      `{"type":"input_file","filename":"a.pdf","file_data":"data:application/pdf;base64,JVBE"}`,
		"input.0.content.3.text": "note",
		"input.0.content.4":      `{"image_url":"https://example.com/a.jpg","type":"input_image"}`,
		"tools.0.parameters":     `{"type":"object","required":["z"],"properties":{"z":{"anyOf":[{"type":"string"},{"type":"number"},{"type":"null"}]},"b":{"type":"array","minItems":2,"items":{"type":["integer","null"]}}}}`,
		"tools.1.parameters":     `{"type":"object","properties":{}}`,
		"tools.#":                "3",
		"tools.2":                `{"type":"web_search"}`,
		"reasoning.effort":       "high",
		"reasoning.summary":      "auto",
		"service_tier":           "priority",
		"tool_choice":            "",
		"text":                   "",
	} {
		if got := up.Get(path).String(); got != want {
			t.Errorf("%s: %s\nwant %s", path, got, want)
		}
	}
	if name := up.Get("tools.0.name").Str; !strings.HasPrefix(name, "a_b_c_") {
		t.Errorf("the tool is called %q", name)
	}
}

func TestFieldsOfGeminisHaveEitherSpelling(t *testing.T) {
	r := newRig(t)
	status, text := r.post(geminiAsk, `{"system_instruction":{"parts":{"text":"Be brief."}},"contents":{"parts":{"text":"look"}},
		"tools":[{"function_declarations":[{"name":"f","parameters":{"type":"object","properties":{"snake_case":{"type":"string"}}}}]}],"tool_config":{"function_calling_config":{"mode":"any","allowed_function_names":["f"]}},
		"generation_config":{"response_mime_type":"application/json","response_json_schema":{"type":"object","properties":{"a_b":{"type":"string"}}}}}`)
	up := r.wentUp()
	if status != 200 || up.Get("instructions").Str != "Be brief." || up.Get("tool_choice.name").Str != "f" || !up.Get("tools.0.parameters.properties.snake_case").Exists() || !up.Get("text.format.schema.properties.a_b").Exists() {
		t.Errorf("%d %s\n%s", status, text, up.Raw)
	}
}

func TestToolsOfGeminisAreChosenFrom(t *testing.T) {
	r := newRig(t)
	for config, want := range map[string]string{
		`{"mode":"NONE"}`: `2 "none"`,
		`{"mode":"ANY"}`:  `2 "required"`,
		`{"mode":"ANY","allowedFunctionNames":["two"]}`:       `1 {"name":"two","type":"function"}`,
		`{"mode":"VALIDATED","allowedFunctionNames":["two"]}`: `1 `,
		`{"mode":"AUTO"}`: `2 `,
	} {
		status, text := r.post(geminiAsk, `{"contents":[{"parts":[{"text":"hello"}]}],"tools":[{"functionDeclarations":[{"name":"one"},{"name":"two"}]}],"toolConfig":{"functionCallingConfig":`+config+`}}`)
		up := r.wentUp()
		if got := fmt.Sprint(up.Get("tools.#").Int(), " ", up.Get("tool_choice").Raw); status != 200 || got != want {
			t.Errorf("%s: %d %s, want %s\n%s", config, status, got, want, text)
		}
	}
}

func TestAConversationOfGeminisComesBackWhole(t *testing.T) {
	const tools = `,"tools":[{"functionDeclarations":[{"name":"get_weather","parameters":{"type":"OBJECT","properties":{"city":{"type":"STRING"}}}}]}]`
	const ask = `{"role":"user","parts":[{"text":"call get_weather"}]}`
	for name, path := range map[string]string{"buffered": geminiAsk, "streamed": geminiStream} {
		r := newRig(t)
		_, answer := r.post(path, `{"contents":[`+ask+`]`+tools+`}`)
		var contents []string
		if name == "streamed" {
			_, chunks := sseEvents(answer)
			for _, c := range chunks {
				contents = append(contents, get(c, "candidates.0.content").Raw)
			}
		} else {
			contents = []string{get(answer, "candidates.0.content").Raw}
		}
		call := gjson.Parse("[" + strings.Join(contents, ",") + "]").Get("#.parts.#(functionCall)|0")
		if raw, err := base64.StdEncoding.DecodeString(call.Get("thoughtSignature").Str); err != nil || len(raw) == 0 {
			t.Errorf("%s: the signature is not bytes: %s", name, answer)
		}
		for how, result := range map[string]string{"by id": `"id":"` + call.Get("functionCall.id").Str + `","name":"get_weather"`, "by name": `"name":"get_weather"`} {
			_, text := r.post(geminiAsk, `{"contents":[`+ask+`,`+strings.Join(contents, ",")+`,{"role":"user","parts":[{"functionResponse":{`+result+`,"response":{"output":"18 degrees"},"parts":[{"inlineData":{"mimeType":"image/png","data":"aGk="}}]}},{"text":"go on"}]}]`+tools+`}`)
			up := r.wentUp()
			var kinds []string
			for _, item := range up.Get("input").Array() {
				kinds = append(kinds, item.Get("type").Str)
			}
			if want := []string{"message", "reasoning", "function_call", "function_call_output", "message"}; !slices.Equal(kinds, want) ||
				up.Get("input.3.call_id").Str != call.Get("functionCall.id").Str || up.Get("input.3.output.0.text").Str != "18 degrees" || up.Get("input.3.output.1.type").Str != "input_image" {
				t.Errorf("%s, %s: %v\n%s\n%s", name, how, kinds, up.Get("input").Raw, text)
			}
		}
	}
}

func TestReasoningOfGeminisIsFoundWithoutItsSignature(t *testing.T) {
	r := newRig(t)
	const tools = `,"tools":[{"functionDeclarations":[{"name":"get_weather"}]}]`
	_, answer := r.post(geminiAsk, `{"contents":[{"parts":[{"text":"call get_weather"}]}]`+tools+`}`)
	call := get(answer, "candidates.0.content.parts.#(functionCall).functionCall").Raw
	r.post(geminiAsk, `{"contents":[{"parts":[{"text":"call get_weather"}]},{"role":"model","parts":[{"functionCall":`+call+`,"thoughtSignature":"Zm9yZWlnbg=="}]},{"parts":[{"functionResponse":{"name":"get_weather","response":{"error":"no city"}}}]}]`+tools+`}`)
	if up := r.wentUp(); up.Get("input.1.type").Str != "reasoning" || up.Get("input.3.output").Str != "The tool failed: no city" {
		t.Error(up.Get("input").Raw)
	}
}

func TestPiecesOfWhatGeminisModelSaidAreOneMessage(t *testing.T) {
	r := newRig(t)
	r.post(geminiAsk, `{"contents":[{"parts":[{"text":"hi"}]},{"role":"model","parts":[{"text":"Thinking","thought":true}]},{"role":"model","parts":[{"text":"one "}]},{"role":"model","parts":[{"text":"two"}]},{"role":"model","parts":[{"text":""}]},{"parts":[{"text":"go on"}]}]}`)
	if up := r.wentUp(); up.Get("input.#").Int() != 3 || up.Get("input.1.content.0.text").Str != "one two" {
		t.Error(up.Get("input").Raw)
	}
}

func TestAnswersOfGeminisHaveAnyShape(t *testing.T) {
	r := newRig(t)
	for config, want := range map[string]string{
		`"responseMimeType":"application/json"`: `{"answer":"ok"}`,
		`"responseMimeType":"application/json","responseSchema":{"type":"OBJECT","properties":{"n":{"type":"INTEGER"}}}`: `{"n":1}`,
		`"responseMimeType":"application/json","responseSchema":{"type":"ARRAY","items":{"type":"INTEGER"}}`:             `[1]`,
		`"responseMimeType":"application/json","responseJsonSchema":{"type":"array","items":{"type":"boolean"}}`:         `[true]`,
		`"responseMimeType":"text/x.enum","responseSchema":{"type":"STRING","enum":["red","blue"]}`:                      `red`,
	} {
		for _, path := range []string{geminiAsk, geminiStream} {
			_, answer := r.post(path, `{"contents":[{"parts":[{"text":"fill"}]}],"generationConfig":{`+config+`}}`)
			if got := gather(t, "gemini", answer, path == geminiStream); got.text != want {
				t.Errorf("%s: %s\n%s", config, got.text, answer)
			}
		}
	}
}

func TestWhatGeminisSearchFoundIsNamed(t *testing.T) {
	found := "Grüße. Found it."
	events := created + event("response.output_item.done", `{"output_index":0,"item":{"type":"web_search_call","action":{"type":"search","query":"x"}}}`) +
		event("response.output_item.added", `{"output_index":1,"item":{"type":"message"}}`) + delta(found) +
		event("response.output_text.annotation.added", `{"output_index":1,"annotation":{"type":"url_citation","start_index":7,"end_index":16,"title":"A page","url":"https://example.com/"}}`) +
		event("response.output_item.done", `{"output_index":1,"item":{"type":"message"}}`) + completed
	r := newRig(t, upstream(events))
	_, answer := r.post(geminiAsk, `{"contents":[{"parts":[{"text":"find"}]}],"tools":[{"googleSearch":{}}]}`)
	g := get(answer, "candidates.0.groundingMetadata")
	start, end := g.Get("groundingSupports.0.segment.startIndex").Int(), g.Get("groundingSupports.0.segment.endIndex").Int()
	if g.Get("webSearchQueries.0").Str != "x" || g.Get("groundingChunks.0.web.uri").Str != "https://example.com/" || found[start:end] != "Found it." || g.Get("groundingSupports.0.segment.text").Str != "Found it." {
		t.Error(answer)
	}
}

func TestPicturesOfGeminisComeInline(t *testing.T) {
	r := newRig(t)
	for _, path := range []string{geminiAsk, geminiStream} {
		if _, answer := r.post(path, `{"contents":[{"parts":[{"text":"a cat"}]}],"generationConfig":{"responseModalities":["TEXT","IMAGE"]}}`); !strings.Contains(answer, `"inlineData":{"data":"iVBOR`) {
			t.Error(answer)
		}
	}
}

func TestEndsOfGeminisSayWhy(t *testing.T) {
	r := newRig(t)
	for say, want := range map[string]string{"[[incomplete]]": "MAX_TOKENS", "[[incomplete content_filter]]": "SAFETY", "[[refusal]]": "STOP", "hello": "STOP"} {
		_, answer := r.post(geminiAsk, `{"contents":[{"parts":[{"text":"`+say+`"}]}]}`)
		if get(answer, "candidates.0.finishReason").Str != want {
			t.Errorf("%s: %s", say, answer)
		}
	}
	_, answer := r.post(geminiAsk, `{"contents":[{"parts":[{"text":"[[reasoning]]"}]}],"generationConfig":{"thinkingConfig":{"includeThoughts":true}}}`)
	u := get(answer, "usageMetadata")
	if u.Get("thoughtsTokenCount").Int() != 3 || u.Get("candidatesTokenCount").Int() != 7 || u.Get("totalTokenCount").Int() != u.Get("promptTokenCount").Int()+10 || u.Get("cachedContentTokenCount").Int() == 0 {
		t.Error(u.Raw)
	}
	if get(answer, "candidates.0.content.parts.0.thought").Bool() != true || get(answer, "candidates.0.content.parts.1.thoughtSignature").Str == "" || get(answer, "modelVersion").Str != "gpt-5.5" {
		t.Error(answer)
	}
}

func TestErrorsOfGeminisSayWhatToDo(t *testing.T) {
	r := newRig(t)
	contents := `"contents":[{"parts":[{"text":"hello"}]}]`
	for name, c := range map[string]struct {
		path, body, want, word string
		status                 int
	}{
		"no contents":       {geminiAsk, `{}`, "contents is missing", "INVALID_ARGUMENT", 400},
		"a list of systems": {geminiAsk, `{` + contents + `,"systemInstruction":[{"text":"Be brief."}]}`, "systemInstruction must be", "INVALID_ARGUMENT", 400},
		"no JSON":           {geminiAsk, `{`, "not a JSON object", "INVALID_ARGUMENT", 400},
		"a cache":           {geminiAsk, `{` + contents + `,"cachedContent":"cachedContents/x"}`, "Send the whole conversation", "INVALID_ARGUMENT", 400},
		"two candidates":    {geminiAsk, `{` + contents + `,"generationConfig":{"candidateCount":2}}`, "several times", "INVALID_ARGUMENT", 400},
		"sound":             {geminiAsk, `{` + contents + `,"generationConfig":{"responseModalities":["AUDIO"]}}`, "no audio", "INVALID_ARGUMENT", 400},
		"video":             {geminiAsk, `{"contents":[{"parts":[{"inlineData":{"mimeType":"video/mp4","data":"aGk="}}]}]}`, "contents[0].parts[0]: data of the type \\\"video/mp4\\\"", "INVALID_ARGUMENT", 400},
		"an uploaded file":  {geminiAsk, `{"contents":[{"parts":[{"fileData":{"mimeType":"image/png","fileUri":"https://generativelanguage.googleapis.com/v1beta/files/x"}}]}]}`, "Send the file in inlineData", "INVALID_ARGUMENT", 400},
		"Google's own tool": {geminiAsk, `{` + contents + `,"tools":[{"codeExecution":{}}]}`, "codeExecution", "INVALID_ARGUMENT", 400},
		"no such function":  {geminiAsk, `{` + contents + `,"tools":[{"functionDeclarations":[{"name":"a"}]}],"toolConfig":{"functionCallingConfig":{"mode":"ANY","allowedFunctionNames":["b"]}}}`, "toolConfig allows", "INVALID_ARGUMENT", 400},
		"a deep schema":     {geminiAsk, `{` + contents + `,"generationConfig":{"responseSchema":` + strings.Repeat(`{"type":"ARRAY","items":`, 60) + `{}` + strings.Repeat(`}`, 60) + `}}`, "nested more than", "INVALID_ARGUMENT", 400},
		"the plan's limit":  {geminiAsk, `{"contents":[{"parts":[{"text":"[[limit]]"}]}]}`, "usage limit", "FAILED_PRECONDITION", 402},
		"too long":          {geminiAsk, `{"contents":[{"parts":[{"text":"[[context]]"}]}]}`, "CONTEXT_LENGTH_EXCEEDED", "INVALID_ARGUMENT", 400},
		"vectors":           {"/v1beta/models/x:embedContent", `{}`, "not available", "UNIMPLEMENTED", 501},
		"no method":         {"/v1beta/models/x", `{}`, "generateContent", "UNIMPLEMENTED", 501},
		"files":             {"/v1beta/files", `{}`, "inlineData", "NOT_FOUND", 404},
		"another method":    {"/v1beta/models", `{}`, "Use GET, HEAD", "UNIMPLEMENTED", 405},
	} {
		status, text := r.post(c.path, c.body)
		if status != c.status || get(text, "error.code").Int() != int64(c.status) || get(text, "error.status").Str != c.word || !strings.Contains(text, c.want) {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	if _, text := r.post(geminiAsk, `{"contents":[{"parts":[{"text":"[[http429]]"}]}]}`); !strings.HasSuffix(get(text, `error.details.#(@type%"*RetryInfo").retryDelay`).Str, "s") {
		t.Error(text)
	}
}

func TestAnArrayOfGeminisIsOneThoughItBreaks(t *testing.T) {
	r := newRig(t)
	for _, how := range []string{"[[failed server_error late]]", "[[cut]]"} {
		_, answer, err := r.ask("array", how, true)
		if list := gjson.Parse(answer); err == nil || !gjson.Valid(answer) || !list.Get("0.candidates").Exists() || list.Get("@reverse.0.error.code").Int() != 502 {
			t.Errorf("%s: %v %s", how, err, answer)
		}
	}
}

func TestKeysOfGeminisAreTakenAndNotTold(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Guard.Keys, c.Guard.KeyRequired = KeyList{"s3cr3t"}, func() bool { return true } })
	body := `{"contents":[{"parts":[{"text":"hello"}]}]}`
	for name, c := range map[string]struct {
		path, header string
		want         int
	}{
		"in the header":                {geminiAsk, "s3cr3t", 200},
		"in the address":               {geminiAsk + "?key=s3cr3t", "", 200},
		"in the address of a stream":   {geminiStream + "&key=s3cr3t", "", 200},
		"another one":                  {geminiAsk + "?key=x", "x", 401},
		"none":                         {geminiAsk, "", 401},
		"in the address of other APIs": {"/v1/chat/completions?key=s3cr3t", "", 401},
	} {
		if status, text := r.post(c.path, body, "X-Goog-Api-Key", c.header); status != c.want || status == 401 && strings.HasPrefix(c.path, "/v1beta") && get(text, "error.status").Str != "UNAUTHENTICATED" {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	if status, _, text, _ := r.do(http.MethodGet, "/v1beta/models?key=s3cr3t", ""); status != 200 {
		t.Errorf("the list: %d %s", status, text)
	}
	for _, entry := range r.log.AllEntries() {
		if line, _ := entry.String(); strings.Contains(line, "s3cr3t") {
			t.Errorf("the log has the key: %s", line)
		}
	}
	for _, up := range r.backend.Requests("/codex/responses") {
		if strings.Contains(fmt.Sprint(up.Header, up.Path), "s3cr3t") {
			t.Error("the key went up")
		}
	}
}

func TestModelsOfGeminisAreListed(t *testing.T) {
	r := newRig(t)
	get := func(path string) gjson.Result {
		_, _, text, _ := r.do(http.MethodGet, path, "")
		return gjson.Parse(text)
	}
	all := get("/v1beta/models").Get("models")
	if n := len(all.Array()); n < 2 || !strings.HasPrefix(all.Get("0.name").Str, "models/") || all.Get("0.inputTokenLimit").Int() == 0 || all.Get("0.supportedGenerationMethods.0").Str != "generateContent" {
		t.Error(all.Raw)
	}
	for path, name := range map[string]string{"/v1/models": "models.0.name", "/v1/models/gpt-5.5": "name"} { // two APIs have these
		_, _, googles, _ := r.do(http.MethodGet, path, "", "X-Goog-Api-Client", "google-genai-sdk/3.1.0")
		_, _, openAIs, _ := r.do(http.MethodGet, path, "", "Authorization", "Bearer x")
		if !strings.HasPrefix(gjson.Get(googles, name).Str, "models/") || gjson.Get(openAIs, "object").Str == "" {
			t.Errorf("%s: %s %s", path, googles, openAIs)
		}
	}
	first := get("/v1beta/models?pageSize=1")
	second := get("/v1beta/models?pageSize=1000000000000000000&pageToken=" + first.Get("nextPageToken").Str)
	if first.Get("models.#").Int() != 1 || second.Get("models.#").Int() != all.Get("#").Int()-1 || second.Get("nextPageToken").Exists() {
		t.Error(first.Raw, second.Raw)
	}
	if one := get("/v1beta/models/gpt-5.5"); one.Get("name").Str != "models/gpt-5.5" || !one.Get("thinking").Bool() {
		t.Error(one.Raw)
	}
	if none := get("/v1beta/models/mystery"); none.Get("error.status").Str != "NOT_FOUND" {
		t.Error(none.Raw)
	}
}

func TestNamesOfGeminisMeanTheFirstModel(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"gemini-2.5-pro", "gemini-3-flash-preview"} {
		if status, text := r.post("/v1/models/"+name+":generateContent", `{"contents":[{"parts":[{"text":"hello"}]}]}`); status != 200 || get(text, "modelVersion").Str != "gpt-5.5" {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
}

func TestTokensOfGeminisAreCounted(t *testing.T) {
	r := newRig(t)
	inner := `{"contents":[{"parts":[{"text":"` + strings.Repeat("word ", 400) + `"}]}]}`
	for _, body := range []string{inner, `{"generateContentRequest":` + inner + `}`} {
		status, h, text, _ := r.do(http.MethodPost, "/v1beta/models/gpt-5.5:countTokens", body)
		if n := get(text, "totalTokens").Int(); status != 200 || n < 400 || n > 700 || h.Get("X-Codex-Proxy-Estimated") != "true" {
			t.Errorf("%d %s", status, text)
		}
	}
}
