package proxy

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"
)

// inReads is a backend whose answer comes in so many reads.
type inReads []string

func (r inReads) Do(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodPost {
		return &http.Response{StatusCode: 404, Header: http.Header{}, Body: http.NoBody}, nil
	}
	var all []io.Reader
	for _, part := range r {
		all = append(all, strings.NewReader(part))
	}
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(io.MultiReader(all...))}, nil
}

// TestEventsArePassedOnAsTheyCame: whatever comes in one read. What is held until something is said outlives the reads, and
// each is as large as what was read before, so that it would be written over.
func TestEventsArePassedOnAsTheyCame(t *testing.T) {
	event := func(kind, fill string) string {
		return "event: " + kind + "\ndata: {\"type\":\"" + kind + "\",\"response\":{\"id\":\"resp_1\"},\"fill\":\"" + strings.Repeat(fill, 500) + "\"}\n\n"
	}
	events := []string{event("response.created", "a"), event("codex.rate_limits", "b"), event("response.in_progress", "c"), event("response.metadata", "d"),
		event("response.output_text.delta", "e"), event("response.output_text.delta", "f"), event("response.some_day", "g"), event("response.completed", "h")}
	whole := strings.Join(events, "")
	for name, reads := range map[string][]string{
		"an event a read": events, "all in one": {whole}, "cut in an event": {whole[:1700], whole[1700:2900], whole[2900:]}, "by the byte": strings.Split(whole, ""),
		"a pair a read": {events[0] + events[1], events[2] + events[3], events[4] + events[5], events[6] + events[7]},
	} {
		s := benchServer("")
		s.Client.HTTP = inReads(reads)
		r := httptest.NewRequest(http.MethodPost, "http://localhost/v1/responses", strings.NewReader(`{"model":"gpt-5.5","input":"x","store":false,"stream":true}`))
		r.Header.Set("Originator", "codex_cli_rs") // its events are not completed
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if got := w.Body.String(); got != whole {
			t.Errorf("%s: %d bytes came, not %d: %.300q", name, len(got), len(whole), got)
		}
	}
}

// TestEventsThatAreCutAreAnError: those that are taken apart, whatever is missing.
func TestEventsThatAreCutAreAnError(t *testing.T) {
	const whole = `{"type":"response.output_item.done","item":{"type":"message","content":[{"type":"output_text","text":"a\"b"}]},"response":{"id":"resp_1","status":null}}`
	for _, kind := range []string{"response.created", "response.in_progress", "response.output_item.done", "response.completed", "response.failed"} {
		for n := 1; n < len(whole); n++ {
			for _, path := range []string{"/v1/responses", "/v1/chat/completions"} {
				s := benchServer(replay("event: " + kind + "\ndata: " + whole[:n] + "\n\n"))
				r := httptest.NewRequest(http.MethodPost, "http://localhost"+path, strings.NewReader(`{"model":"gpt-5.5","input":"x","messages":[{"role":"user","content":"x"}],"stream":true}`))
				w := httptest.NewRecorder()
				func() {
					defer func() { recover() }() //nolint:errcheck // how net/http is told to cut the connection
					s.ServeHTTP(w, r)
				}()
				if body := w.Body.String(); !strings.Contains(body, "upstream_disconnected") {
					t.Fatalf("%s, %s cut after %d bytes: %d %s", path, kind, n, w.Code, body)
				}
			}
		}
	}
}

// slowCaller takes a while for each large write, as one whose connection is full.
type slowCaller struct{ *httptest.ResponseRecorder }

func (s slowCaller) Write(p []byte) (int, error) {
	if len(p) > 500 {
		time.Sleep(60 * time.Millisecond)
	}
	return s.ResponseRecorder.Write(p)
}

// dataOf are the lines of data of an event stream. Everything that is no JSON there is an error.
func dataOf(t *testing.T, stream string) (all []string) {
	t.Helper()
	for line := range strings.Lines(stream) {
		line = strings.TrimSuffix(line, "\n")
		data, isData := strings.CutPrefix(line, "data: ")
		switch {
		case isData && json.Valid([]byte(data)):
			all = append(all, data)
		case isData, line != "" && line[0] != ':' && !strings.HasPrefix(line, "event: "):
			t.Errorf("in the stream: %.60q … %.60q", line, line[max(0, len(line)-60):])
		}
	}
	return all
}

// TestAKeepAliveStandsBetweenEvents: a caller that reads slowly holds a write up for longer than the keep-alive's time.
func TestAKeepAliveStandsBetweenEvents(t *testing.T) {
	delta := "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"" + strings.Repeat("x", 200) + "\"}\n\n"
	end := "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"resp_1\",\"status\":\"completed\",\"output\":[],\"fill\":\"" + strings.Repeat("y", 2000) + "\"}}\n\n"
	for range 3 {
		s := benchServer("")
		s.Client.HTTP, s.Client.KeepAlive = inReads{strings.Repeat(delta, 300), strings.Repeat(delta, 10) + end}, 5*time.Millisecond
		w := slowCaller{httptest.NewRecorder()}
		s.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "http://localhost/v1/responses", strings.NewReader(`{"model":"gpt-5.5","input":"x","store":false,"stream":true}`)))
		if all := dataOf(t, w.Body.String()); len(all) != 311 || !strings.Contains(all[310], "resp_1") {
			t.Errorf("%d events", len(all))
		}
	}
}

// TestWhatWasAskedIsToldOnOneLine, also when it came on many.
func TestWhatWasAskedIsToldOnOneLine(t *testing.T) {
	asked := `{"model":"gpt-5.5","input":"x","stream":true,"tools":[
		{"type":"function",
		"name":"f","parameters":{}}],"tool_choice":{
		"type":"function","name":"f"},"text":{
		"format":{"type":"json_schema","name":"n","schema":{
		"type":"object"}}}, "reasoning": {
		"effort":"low","summary":"auto"}}`
	s := benchServer(answerOf(1, false))
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "http://localhost/v1/responses", strings.NewReader(asked)))
	if all := dataOf(t, w.Body.String()); len(all) != 3 || !strings.Contains(all[2], `"name":"f"`) {
		t.Errorf("%d events: %s", len(all), w.Body)
	}
}

// TestAFunctionNeedsNoParameters: they may be null or missing. It goes up with an empty schema, and is told back without.
func TestAFunctionNeedsNoParameters(t *testing.T) {
	r, chatGPT := newRig(t), withChatGPT(t)
	for name, parameters := range map[string]string{"null": `,"parameters":null`, "missing": "", "strict": `,"strict":true`} {
		body := `{"input":"hello","stream":true,"tools":[{"type":"function","name":"f"` + parameters + `}]}`
		status, text := r.post("/v1/responses", body)
		if sent := r.sent().Get("tools.0"); status != 200 || sent.Get("parameters.type").Str != "object" || !sent.Get("parameters.properties").IsObject() {
			t.Errorf("%s: %d %s, sent %s", name, status, text, sent)
		}
		_, data := sseEvents(text)
		for _, event := range data {
			if tool := get(event, "response.tools.0"); get(event, "response").Exists() && (tool.Get("name").Str != "f" || tool.Get("parameters").Raw != "null") {
				t.Errorf("%s is told back as %s", name, tool)
			}
		}
		if status, text := chatGPT.post("/v1/responses", body); status != 200 {
			t.Errorf("%s, Sign in with ChatGPT: %d %s", name, status, text)
		}
	}
	if status, _ := r.post("/v1/responses", `{"model":"gpt-5.5","input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"x"}]}],"stream":true,"store":false,"tools":[{"type":"function","name":"f"}]}`, "Originator", "codex_exec"); status != 400 || r.sent().Get("tools.0.parameters").Exists() {
		t.Errorf("the Codex CLI's own is changed: %d %s", status, r.sent().Get("tools"))
	}
}

// TestAPictureOutlivesTheReadThatBroughtIt: the next one is as large, and comes before the picture is given to the caller.
func TestAPictureOutlivesTheReadThatBroughtIt(t *testing.T) {
	picture := strings.Repeat("iVBO", 300)
	s := benchServer("")
	s.Client.HTTP = inReads{
		"event: response.output_item.done\ndata: {\"type\":\"response.output_item.done\",\"output_index\":0,\"item\":{\"type\":\"image_generation_call\",\"id\":\"ig_1\",\"result\":\"" + picture + "\"}}\n\n",
		"event: response.some_day\ndata: {\"type\":\"response.some_day\",\"fill\":\"" + strings.Repeat("#", 1300) + "\"}\n\n",
		"event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"resp_1\",\"status\":\"completed\",\"output\":[]}}\n\n",
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "http://localhost/v1/images/generations", strings.NewReader(`{"prompt":"x"}`)))
	if !strings.Contains(w.Body.String(), `"b64_json":"`+picture+`"`) {
		t.Errorf("%d %.200s", w.Code, w.Body)
	}
}

// TestAnEstimateCountsAPictureOnce, in whatever shape it comes, and a text for what it is.
func TestAnEstimateCountsAPictureOnce(t *testing.T) {
	data := `"data:image/png;base64,` + strings.Repeat("iVBO", 100_000) + `"`
	count := func(content string) int64 {
		w := httptest.NewRecorder()
		benchServer("").ServeHTTP(w, httptest.NewRequest(http.MethodPost, "http://localhost/v1/responses/input_tokens", strings.NewReader(`{"model":"gpt-5.5","input":[{"role":"user","content":[`+content+`]}]}`)))
		return gjson.Get(w.Body.String(), "input_tokens").Int()
	}
	for _, content := range []string{`{"type":"input_image","image_url":` + data + `}`, `{"type":"input_image","image_url":{"url":` + data + `}}`, `{"type":"image_url","image_url":{"url":` + data + `}}`, `{"type":"input_file","file_data":` + data + `}`} {
		if n := count(content); n < 800 || n > 900 {
			t.Errorf("%.60s: %d", content, n)
		}
	}
	if n := count(`{"type":"input_text","text":"image_url"},{"type":"input_text","text":"file_data"}`); n < 20 || n > 100 {
		t.Errorf("two short texts: %d", n)
	}
}
