//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/tidwall/gjson"
)

func chat(text string, more ...string) string {
	body, _ := json.Marshal(map[string]any{"model": "gpt-5.5", "messages": []any{map[string]any{"role": "user", "content": text}}})
	return with(body, more)
}

func respond(text string, more ...string) string {
	body, _ := json.Marshal(map[string]any{"model": "gpt-5.5", "input": text})
	return with(body, more)
}

// with adds fields to a JSON object.
func with(body []byte, more []string) string {
	s := strings.TrimSuffix(string(body), "}")
	for _, m := range more {
		s += "," + m
	}
	return s + "}"
}

// What opencode, pi and others take for an error that is worth another try.
var retried = regexp.MustCompile(`(?i)429|500|502|503|504|524|rate.?limit|too many requests|overloaded|server_error|terminated|timeout|timed out|try again (in|later)`)

func TestFailuresBecomeErrorsThatClientsUnderstand(t *testing.T) {
	p, _ := startSignedIn(t)
	for _, c := range []struct {
		scenario string
		status   int
		code     string
		says     string
	}{
		{"limit", 402, "usage_limit_reached", "Resets at "},
		{"notincluded", 402, "usage_not_included", "plan"},
		{"failed usage_limit_reached", 402, "usage_limit_reached", "usage limit reached"},
		{"http429", 429, "rate_limit_exceeded", "Too fast"},
		{"context", 400, "context_length_exceeded", "context window"},
		{"failed context_length_exceeded", 400, "context_length_exceeded", ""},
		{"error context_length_exceeded", 400, "context_length_exceeded", ""},
		{"failed rate_limit_exceeded", 429, "rate_limit_exceeded", "11.054s"},
		{"failed server_is_overloaded", 503, "server_is_overloaded", ""},
		{"failed invalid_prompt", 400, "invalid_prompt", ""},
		{"failed cyber_policy", 400, "cyber_policy", ""},
		{"failed server_error", 502, "server_error", ""},
		{"http400", 400, "", "Unsupported parameter"},
		{"http404", 404, "model_not_found", ""},
		{"http500", 502, "upstream_error", "error page"},
		{"http503", 503, "server_is_overloaded", "Busy"},
		{"http520", 502, "upstream_error", ""},
		{"html403", 502, "upstream_blocked", "cf-ray"},
		{"cut early", 502, "upstream_disconnected", "again"},
	} {
		for path, body := range map[string]string{
			"/v1/chat/completions": chat("[[" + c.scenario + "]]"),
			"/v1/responses":        respond("[[" + c.scenario + "]]"),
		} {
			for _, stream := range []string{`"stream":false`, `"stream":true`} {
				status, header, answer := p.post(path, with([]byte(body), []string{stream}))
				if status != c.status || gjson.Get(answer, "error.code").String() != c.code || !strings.Contains(answer, c.says) {
					t.Errorf("%s %s %s: %d %s", c.scenario, path, stream, status, answer)
				}
				if gjson.Get(answer, "error.message").String() == "" || gjson.Get(answer, "error.type").String() == "" || header.Get("Content-Type") != "application/json" {
					t.Errorf("%s: not an error in OpenAI's shape: %s %s", c.scenario, header.Get("Content-Type"), answer)
				}
				if strings.Contains(c.code, "usage") && retried.MatchString(answer) {
					t.Errorf("%s: agents would retry this: %s", c.scenario, retried.FindString(answer))
				}
				if got := header.Get("Retry-After"); (got != "") != (c.status == 429) {
					t.Errorf("%s: retry-after %q", c.scenario, got)
				}
			}
		}
	}
}

func TestABrokenStreamNeverLooksFinished(t *testing.T) {
	p, _ := startSignedIn(t)
	for _, scenario := range []string{"cut", "eof", "failed server_error late", "error server_error late"} {
		_, _, answer := p.post("/v1/chat/completions", chat("[["+scenario+"]]", `"stream":true`))
		if strings.Contains(answer, "[DONE]") || strings.Contains(answer, `"finish_reason":"`) {
			t.Errorf("%s looks finished: %s", scenario, answer)
		}
		if !strings.Contains(answer, `"error":{`) || !strings.Contains(answer, "unexpected EOF") {
			t.Errorf("%s: no error chunk, or a body that ends normally: %s", scenario, answer)
		}
		status, _, answer := p.post("/v1/chat/completions", chat("[["+scenario+"]]"))
		if status != 502 {
			t.Errorf("%s buffered: %d %s", scenario, status, answer)
		}
	}
	for _, scenario := range []string{"cut", "eof"} {
		_, _, answer := p.post("/v1/responses", respond("[["+scenario+"]]", `"stream":true`))
		if strings.Contains(answer, "response.completed") || !strings.Contains(answer, "event: error\n") || !strings.Contains(answer, "unexpected EOF") {
			t.Errorf("%s: %s", scenario, answer)
		}
	}
}

func TestResponsesGoThroughAsTheyAre(t *testing.T) {
	p, b := startSignedIn(t)
	_, header, answer := p.post("/v1/responses", respond("[[private]]", `"stream":true`))
	for _, want := range []string{"event: response.created\n", "event: codex.rate_limits\n", "event: response.metadata\n", "event: response.completed\n"} {
		if !strings.Contains(answer, want) {
			t.Errorf("no %q in %s", want, answer)
		}
	}
	_, last, _ := strings.Cut(answer, "event: response.completed\ndata: ")
	if gjson.Get(last, "response.output.0.content.0.text").String() != "Hello." {
		t.Errorf("the last event's output is not complete: %s", last)
	}
	if header.Get("Set-Cookie") != "" || header.Get("X-Codex-Primary-Used-Percent") != "32" {
		t.Errorf("headers that came down: %v", header)
	}
	for _, framing := range []string{"crlf", "cr", "split", "unnamed", "full", "undelta"} {
		for _, stream := range []string{"true", "false"} {
			_, _, answer := p.post("/v1/responses", respond("[["+framing+"]]", `"stream":`+stream))
			answer = strings.ReplaceAll(answer, `"error":null`, "")
			if !strings.Contains(answer, "世界") && !strings.Contains(answer, "All at once.") || strings.Contains(answer, "error") {
				t.Errorf("%s, stream %s: %s", framing, stream, answer)
			}
			_, _, answer = p.post("/v1/chat/completions", chat("[["+framing+"]]", `"stream":`+stream))
			if !strings.Contains(answer, "世界") && !strings.Contains(answer, "All at once.") || strings.Contains(answer, "error") {
				t.Errorf("chat %s, stream %s: %s", framing, stream, answer)
			}
		}
	}
	for _, r := range b.Requests("/codex/responses") {
		if strings.Contains(fmt.Sprint(r.Header), "sk-local") {
			t.Error("the caller's key went up")
		}
	}
}

func TestOneEventOf16MBPasses(t *testing.T) {
	p, _ := startSignedIn(t)
	_, _, answer := p.post("/v1/responses", respond("[[big 16]]", `"stream":true`))
	if n := strings.Count(answer, "x"); n < 16<<20 || !strings.Contains(answer, "event: response.completed") {
		t.Errorf("%d bytes came", n)
	}
	_, _, answer = p.post("/v1/chat/completions", chat("[[big 16]]", `"stream":true`))
	if n := strings.Count(answer, "x"); n < 16<<20 || !strings.HasSuffix(answer, "data: [DONE]\n\n") {
		t.Errorf("%d bytes came", n)
	}
}

func TestDroppedParametersAreTold(t *testing.T) {
	p, b := startSignedIn(t)
	params := []string{`"temperature":0.5`, `"seed":1`, `"max_tokens":100`, `"top_p":null`, `"store":false`, `"stream_options":{"include_usage":true}`}
	status, header, answer := p.post("/v1/chat/completions", chat("hi", params...), "User-Agent", "Tester/1.0", "Authorization", "Bearer sk-local", "Cookie", "a=b", "X-Api-Key", "k")
	if status != 200 {
		t.Fatal(answer)
	}
	told := strings.Split(header.Get("X-Codex-Proxy-Dropped"), ", ")
	if len(told) != 3 {
		t.Errorf("told: %v", told)
	}
	if n := p.health()["dropped_parameters"].(map[string]any)["Tester"].(map[string]any)["temperature"]; n != 1.0 {
		t.Errorf("counted: %v", n)
	}
	up := b.Requests("/codex/responses")[0]
	if gjson.GetBytes(up.Body, "temperature").Exists() || !gjson.GetBytes(up.Body, "prompt_cache_key").Exists() {
		t.Errorf("went up: %s", up.Body)
	}
	for _, name := range []string{"Originator", "User-Agent"} {
		if !strings.HasPrefix(up.Header.Get(name), "codex-proxy") {
			t.Errorf("%s is %q", name, up.Header.Get(name))
		}
	}

	strict, _ := startSignedIn(t, "--strict")
	status, _, answer = strict.post("/v1/responses", respond("hi", `"temperature":1`))
	if status != 400 || gjson.Get(answer, "error.param").String() != "temperature" {
		t.Errorf("strict: %d %s", status, answer)
	}
}

func TestContextIsNeverLostInSilence(t *testing.T) {
	p, _ := startSignedIn(t)
	for _, param := range []string{`"previous_response_id":"resp_1"`, `"conversation":"c"`, `"background":true`, `"prompt":{"id":"p"}`} {
		if status, _, answer := p.post("/v1/responses", respond("hi", param)); status != 400 && status != 404 {
			t.Errorf("%s: %d %s", param, status, answer)
		}
	}
	body := `{"model":"gpt-5.5","input":[{"type":"item_reference","id":"msg_1"},{"role":"user","content":"hi"}]}`
	if status, _, answer := p.post("/v1/responses", body); status != 404 || !strings.Contains(answer, "item") {
		t.Errorf("item_reference: %d %s", status, answer)
	}
}

func TestHistoriesAreHealed(t *testing.T) {
	p, b := startSignedIn(t)
	long := strings.Repeat("i", 90)
	body := `{"model":"gpt-5.5","input":[
		{"role":"system","content":"be brief"},
		{"type":"function_call_output","call_id":"orphan","output":"x"},
		{"type":"reasoning","id":"rs_1","summary":[]},
		{"type":"message","id":"foreign-id","role":"assistant","content":[{"type":"output_text","text":"calling"}]},
		{"type":"function_call","id":"fc_x","call_id":"` + long + `","name":"f","arguments":"{}"},
		{"role":"user","content":[{"type":"input_text","text":"go on","prompt_cache_breakpoint":true}]}]}`
	status, _, answer := p.post("/v1/responses", body)
	if status != 200 {
		t.Fatalf("%d %s", status, answer)
	}
	up := gjson.GetBytes(b.Requests("/codex/responses")[0].Body, "input")
	if up.Get("0.role").Str != "developer" || up.Get(`#(type=="function_call_output").output`).Str != "aborted" {
		t.Errorf("went up: %s", up.Raw)
	}
	messages := `{"model":"gpt-5.5","messages":[{"role":"user","content":"a"},
		{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":""}}]},
		{"role":"user","content":"stop"},{"role":"tool","tool_call_id":"c9","content":"late"},{"role":"user","content":"go on"}]}`
	if status, _, answer := p.post("/v1/chat/completions", messages); status != 200 {
		t.Errorf("%d %s", status, answer)
	}
}

func TestModelNamesChooseTheEffort(t *testing.T) {
	p, b := startSignedIn(t)
	for i, c := range []struct{ body, model, effort string }{
		{`{"model":"gpt-5.5-high"`, "gpt-5.5", "high"},
		{`{"model":"gpt-5.5","reasoning_effort":"minimal"`, "gpt-5.5", "low"},
		{`{"model":"gpt-5.5","reasoning_effort":"max"`, "gpt-5.5", "xhigh"},
		{`{"model":"gpt-5.5","reasoning_effort":"silly"`, "gpt-5.5", ""},
		{`{"model":"gpt-5.5"`, "gpt-5.5", ""},
		{`{"x":1`, "gpt-6.1-sol", ""},
		{`{"model":"openai/gpt-5.5-none"`, "gpt-5.5", "low"},
	} {
		if status, _, answer := p.post("/v1/chat/completions", c.body+`,"messages":[{"role":"user","content":"hi"}]}`); status != 200 {
			t.Fatalf("%s: %s", c.body, answer)
		}
		up := b.Requests("/codex/responses")[i].Body
		if gjson.GetBytes(up, "model").Str != c.model || gjson.GetBytes(up, "reasoning.effort").Str != c.effort {
			t.Errorf("%s went up as %s", c.body, up)
		}
	}
	if status, _, answer := p.post("/v1/chat/completions", `{"model":"nonsense","messages":[{"role":"user","content":"hi"}]}`); status != 404 || !strings.Contains(answer, "model_not_found") || !strings.Contains(answer, "There are: gpt-6.1-sol") {
		t.Errorf("an unknown model: %d %s", status, answer)
	}
}

func TestOneConversationKeepsItsCacheKey(t *testing.T) {
	p, b := startSignedIn(t)
	for _, messages := range []string{
		`[{"role":"system","content":"s"},{"role":"user","content":"first"}]`,
		`[{"role":"system","content":"s"},{"role":"user","content":"first"},{"role":"assistant","content":"a"},{"role":"user","content":"second"}]`,
		`[{"role":"system","content":"s"},{"role":"user","content":"another"}]`,
	} {
		p.post("/v1/chat/completions", `{"messages":`+messages+`}`)
	}
	r := b.Requests("/codex/responses")
	key := func(i int) string { return gjson.GetBytes(r[i].Body, "prompt_cache_key").Str }
	if key(0) == "" || key(0) != key(1) || key(0) == key(2) || r[0].Header.Get("Session-Id") != r[1].Header.Get("Session-Id") {
		t.Errorf("keys: %q %q %q", key(0), key(1), key(2))
	}
}

func TestReasoningComesBackBeforeTheCallItLedTo(t *testing.T) {
	p, b := startSignedIn(t)
	tools := `"tools":[{"type":"function","function":{"name":"look","parameters":{"type":"object","properties":{}}}}]`
	_, _, answer := p.post("/v1/chat/completions", chat("use the tool", tools))
	message := gjson.Get(answer, "choices.0.message")
	if message.Get("reasoning_content").Str != "I should use a tool for this." {
		t.Errorf("no reasoning in %s", answer)
	}
	next := `{"model":"gpt-5.5","messages":[{"role":"user","content":"use the tool"},` + message.Raw +
		`,{"role":"tool","tool_call_id":"` + message.Get("tool_calls.0.id").Str + `","content":[{"type":"text","text":"42"}]}],` + tools + `}`
	if _, _, answer = p.post("/v1/chat/completions", next); !strings.Contains(answer, "42") {
		t.Errorf("second turn: %s", answer)
	}
	input := gjson.GetBytes(b.Requests("/codex/responses")[1].Body, "input")
	if input.Get("1.type").Str != "reasoning" || input.Get("2.type").Str != "function_call" {
		t.Errorf("went up: %s", input.Raw)
	}
}

func TestStopSequencesEndTheAnswerAndTheCallUpstream(t *testing.T) {
	p, b := startSignedIn(t)
	start := time.Now()
	_, _, answer := p.post("/v1/chat/completions", chat("[[stops]]", `"stop":["STOP"]`))
	if got := gjson.Get(answer, "choices.0.message.content").Str; got != "one two " {
		t.Errorf("buffered: %q of %s", got, answer)
	}
	_, _, answer = p.post("/v1/chat/completions", chat("[[stops]]", `"stop":["STOP"]`, `"stream":true`))
	if strings.Contains(answer, "ST") || strings.Contains(answer, "three") || !strings.HasSuffix(answer, "[DONE]\n\n") {
		t.Errorf("streamed: %s", answer)
	}
	eventually(t, "both calls upstream are cancelled", func() bool { return b.Counts().Canceled == 2 })
	if time.Since(start) > 5*time.Second {
		t.Error("it waited for the rest")
	}
}

func TestSeveralChoices(t *testing.T) {
	p, b := startSignedIn(t)
	_, _, answer := p.post("/v1/chat/completions", chat("hi", `"n":3`))
	if n := len(gjson.Get(answer, "choices").Array()); n != 3 {
		t.Errorf("%d choices: %s", n, answer)
	}
	_, _, answer = p.post("/v1/chat/completions", chat("hi", `"n":2`, `"stream":true`, `"stream_options":{"include_usage":true}`))
	for _, want := range []string{`{"index":0,`, `{"index":1,`} {
		if !strings.Contains(answer, want) {
			t.Errorf("no %s in %s", want, answer)
		}
	}
	if strings.Count(answer, `"choices":[],"usage":{`) != 1 || strings.Count(answer, `"finish_reason":"stop"`) != 2 {
		t.Errorf("ends: %s", answer)
	}
	if status, _, answer := p.post("/v1/chat/completions", chat("hi", `"n":5`)); status != 400 || b.Counts().Responses != 5 {
		t.Errorf("n 5: %d %s", status, answer)
	}
}

func TestPackedAndOddRequestsWork(t *testing.T) {
	p, _ := startSignedIn(t)
	var zipped, squeezed bytes.Buffer
	g := gzip.NewWriter(&zipped)
	g.Write([]byte(chat("packed")))
	g.Close()
	z, _ := zstd.NewWriter(&squeezed)
	z.Write([]byte(chat("packed")))
	z.Close()
	for _, c := range []struct{ path, body, encoding string }{
		{"/v1/chat/completions", zipped.String(), "gzip"},
		{"/v1/chat/completions", squeezed.String(), "zstd"},
		{"/chat/completions", chat("x"), ""},
		{"/v1/v1/chat/completions/", chat("x"), ""},
		{"//v1//chat//completions?api-version=1", chat("x"), ""},
		{"/v1/chat/completions", chat(strings.Repeat("long ", 12<<20/5)), ""},
	} {
		if status, _, answer := p.post(c.path, c.body, "Content-Encoding", c.encoding); status != 200 {
			t.Errorf("%s %s: %d %.300s", c.path, c.encoding, status, answer)
		}
	}
	for _, c := range []struct {
		body, encoding string
		status         int
	}{
		{"not json", "", 400}, {"", "", 400}, {"[]", "", 400}, {"null", "", 400}, {"{}", "", 400}, {"x", "br", 415}, {"x", "gzip", 400},
		{`{"messages":"x"}`, "", 400}, {`{"messages":[{"role":"robot","content":"x"}]}`, "", 400},
		{`{"messages":[{"role":"user","content":[{"type":"input_audio"}]}]}`, "", 400},
		{strings.Repeat(" ", 65<<20) + "{}", "", 413},
	} {
		status, _, answer := p.post("/v1/chat/completions", c.body, "Content-Encoding", c.encoding)
		if status != c.status || gjson.Get(answer, "error.message").Str == "" {
			t.Errorf("%.40q %s: %d %s", c.body, c.encoding, status, answer)
		}
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	body := chat("old", `"stream":true`)
	fmt.Fprintf(conn, "POST /v1/chat/completions HTTP/1.0\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	var old bytes.Buffer
	old.ReadFrom(conn)
	if !strings.HasPrefix(old.String(), "HTTP/1.0 200") || !strings.HasSuffix(old.String(), "data: [DONE]\n\n") {
		t.Errorf("HTTP/1.0: %s", old.String())
	}
}

func TestUnknownAddressesAnswerInOpenAIsShape(t *testing.T) {
	p := start(t, t.TempDir(), nil, "--demo")
	for _, c := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/v1/nothing", 404}, {"POST", "/v1/embeddings", 404}, {"GET", "/v1/chat/completions", 405}, {"GET", "/v1/models/none", 404},
		{"GET", "/v1/models/gpt-5.5-high", 200}, {"GET", "/v1/models?x=1", 200}, {"HEAD", "/", 200}, {"GET", "/", 200}, {"GET", "/v1", 200},
	} {
		req, _ := http.NewRequest(c.method, p.url+c.path, nil)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var body bytes.Buffer
		body.ReadFrom(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != c.status || (c.status >= 400 && gjson.Get(body.String(), "error.message").Str == "") {
			t.Errorf("%s %s: %d %s", c.method, c.path, resp.StatusCode, body.String())
		}
	}
}

func TestAClientThatLeavesCancelsUpstream(t *testing.T) {
	p, b := startSignedIn(t)
	for _, stream := range []string{"true", "false"} {
		for _, path := range []string{"/v1/chat/completions", "/v1/responses"} {
			body := chat("[[endless]]", `"stream":`+stream)
			if path == "/v1/responses" {
				body = respond("[[endless]]", `"stream":`+stream)
			}
			eventually(t, "the call before has ended", func() bool { return b.Counts().Open == 0 })
			conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
			if stream == "true" {
				bufio.NewReader(conn).ReadString('\n')
			} else {
				eventually(t, "the call upstream runs", func() bool { return b.Counts().Open == 1 })
			}
			conn.Close()
			left := time.Now()
			select {
			case <-b.Gone():
				if d := time.Since(left); d > 5*time.Second {
					t.Errorf("%s, stream %s: upstream heard of it after %s", path, stream, d)
				}
			case <-time.After(10 * time.Second):
				t.Fatalf("%s, stream %s: upstream goes on", path, stream)
			}
		}
	}
}

func TestSilenceIsBridgedAndThenEnded(t *testing.T) {
	patient, _ := startSignedIn(t, "--idle-timeout", "10s", "--keep-alive", "100ms")
	_, _, answer := patient.post("/v1/chat/completions", chat("[[stall 300]]", `"stream":true`))
	if !strings.Contains(answer, ": still working") || !strings.HasSuffix(answer, "[DONE]\n\n") {
		t.Errorf("a pause: %s", answer)
	}
	p, b := startSignedIn(t, "--idle-timeout", "600ms", "--keep-alive", "100ms")
	_, _, answer = p.post("/v1/responses", respond("[[stall]]", `"stream":true`))
	if !strings.Contains(answer, "upstream_idle") || strings.Contains(answer, "response.completed") {
		t.Errorf("a silence: %s", answer)
	}
	for _, scenario := range []string{"[[stall]]", "[[hangheaders]]"} {
		if status, _, answer := p.post("/v1/chat/completions", chat(scenario)); status != 504 {
			t.Errorf("%s: %d %s", scenario, status, answer)
		}
	}
	eventually(t, "the silent calls are cancelled", func() bool { return b.Counts().Open == 0 })
}

func TestA401IsMendedByOneRefresh(t *testing.T) {
	p, b := startSignedIn(t)
	before := b.Counts().Refreshes
	if status, _, answer := p.post("/v1/chat/completions", chat("[[http401once]]")); status != 200 || !strings.Contains(answer, "Second try.") {
		t.Errorf("%d %s", status, answer)
	}
	if n := b.Counts().Refreshes - before; n != 1 {
		t.Errorf("%d refreshes", n)
	}
	if status, _, answer := p.post("/v1/chat/completions", chat("[[http401]]")); status != 401 || !strings.Contains(answer, "codex-proxy login") {
		t.Errorf("%d %s", status, answer)
	}
	if status, _, answer := p.post("/v1/chat/completions", chat("[[http429once]]")); status != 200 {
		t.Errorf("a short wait: %d %s", status, answer)
	}
}

func TestHundredRequestsOnARefusedTokenRefreshOnce(t *testing.T) {
	p, b := startSignedIn(t)
	before := b.Counts().Refreshes
	b.EndAccess()
	var wait sync.WaitGroup
	for range 100 {
		wait.Go(func() {
			if status, _, answer := p.post("/v1/chat/completions", chat("hi")); status != 200 {
				t.Errorf("%d %s", status, answer)
			}
		})
	}
	wait.Wait()
	if n := b.Counts().Refreshes - before; n != 1 || b.Counts().Reused != 0 {
		t.Errorf("%d refreshes, %d reused", n, b.Counts().Reused)
	}
}

func TestStopLetsAnswersEndAndCutsTheRest(t *testing.T) {
	p, b := startSignedIn(t)
	results := make(chan string, 2)
	for _, scenario := range []string{"[[text 20 50]]", "[[endless]]"} {
		go func() {
			answer := ""
			defer func() { results <- answer }() // also when post gives up
			_, _, answer = p.post("/v1/chat/completions", chat(scenario, `"stream":true`))
		}()
	}
	eventually(t, "both answers are under way", func() bool { return b.Counts().Open == 2 })
	begun := time.Now()
	if err := p.stop(); err != nil {
		t.Error(err)
	}
	if d := time.Since(begun); d > 12*time.Second {
		t.Errorf("stopping took %s", d)
	}
	short, endless := <-results, <-results
	if !strings.HasSuffix(short, "[DONE]\n\n") {
		t.Errorf("the short answer was cut: %s", short)
	}
	if !strings.Contains(endless, "proxy_stopping") || strings.Contains(endless, "[DONE]") {
		t.Errorf("the endless answer ended with %s", endless[max(0, len(endless)-300):])
	}
}

func TestTheGuard(t *testing.T) {
	p, b := startSignedIn(t, "--allow-host", "host.docker.internal")
	for _, c := range []struct {
		header []string
		status int
	}{
		{nil, 200},
		{[]string{"Host", "localhost:1"}, 200},
		{[]string{"Host", "[::1]:9879"}, 200},
		{[]string{"Host", "host.docker.internal:9879"}, 200},
		{[]string{"Host", "evil.example"}, 421},
		{[]string{"Host", "localhost.evil.example"}, 421},
		{[]string{"Host", "127.0.0.1.evil.example:9879"}, 421},
		{[]string{"Origin", "https://evil.example"}, 403},
		{[]string{"Origin", "https://evil.example", "Content-Type", "text/plain"}, 403},
		{[]string{"Origin", "null"}, 403},
		{[]string{"Origin", "http://localhost.evil.example"}, 403},
		{[]string{"Origin", "http://localhost:3000"}, 403},
		{[]string{"Origin", "http://127.0.0.1:5173"}, 403},
		{[]string{"Origin", "http://[::1]:5173"}, 403},
		{[]string{"Origin", "app://obsidian.md"}, 200},
		{[]string{"Origin", "vscode-webview://1a2b3c"}, 200},
		{[]string{"Origin", "tauri://localhost"}, 200},
		{[]string{"Sec-Fetch-Site", "cross-site"}, 403},
		{[]string{"Sec-Fetch-Site", "same-origin"}, 200},
	} {
		status, header, answer := p.post("/v1/chat/completions", chat("hi"), c.header...)
		if status != c.status || (status != 200 && gjson.Get(answer, "error.code").Str == "") {
			t.Errorf("%v: %d %s", c.header, status, answer)
		}
		if len(c.header) > 1 && c.header[0] == "Origin" && status == 200 && header.Get("Access-Control-Allow-Origin") != c.header[1] {
			t.Errorf("%v: no CORS header", c.header)
		}
	}
	if n := b.Counts().Responses; n != 8 {
		t.Errorf("%d requests went up", n)
	}
	req, _ := http.NewRequest(http.MethodOptions, p.url+"/v1/chat/completions", nil)
	req.Header.Set("Origin", "app://obsidian.md")
	req.Header.Set("Access-Control-Request-Method", "POST")
	req.Header.Set("Access-Control-Request-Headers", "authorization,x-stainless-os")
	req.Header.Set("Access-Control-Request-Private-Network", "true")
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != 204 || resp.Header.Get("Access-Control-Allow-Headers") != "authorization,x-stainless-os" ||
		resp.Header.Get("Access-Control-Allow-Private-Network") != "true" {
		t.Errorf("preflight: %v %v", resp, err)
	}
	// an error can be read by the page, too
	if _, header, _ := p.post("/v1/chat/completions", "x", "Origin", "app://obsidian.md"); header.Get("Access-Control-Allow-Origin") == "" {
		t.Error("an error without CORS headers")
	}
}

func TestALocalKeyIsAskedFor(t *testing.T) {
	p, _ := startSignedIn(t, "--api-key", "one,two", "--allow-origin", "https://chat.example.com")
	for _, c := range []struct {
		header []string
		status int
	}{
		{nil, 401}, {[]string{"Authorization", "Bearer wrong"}, 401}, {[]string{"Authorization", "Basic one"}, 401},
		{[]string{"Authorization", "Bearer one"}, 200}, {[]string{"Authorization", "bearer two"}, 200},
		{[]string{"X-Api-Key", "one"}, 200}, {[]string{"Api-Key", "two"}, 200},
		{[]string{"Origin", "https://chat.example.com"}, 401},
		{[]string{"Origin", "https://chat.example.com", "Authorization", "Bearer one"}, 200},
	} {
		if status, _, answer := p.post("/v1/chat/completions", chat("hi"), c.header...); status != c.status {
			t.Errorf("%v: %d %s", c.header, status, answer)
		}
	}
	if h := p.health(); h["status"] != "ok" {
		t.Errorf("health: %v", h)
	}
}

// TestWhoIsAskedForAKeyHearsHowToGetOne, also where the proxy was started with none.
func TestWhoIsAskedForAKeyHearsHowToGetOne(t *testing.T) {
	p := start(t, t.TempDir(), nil, "--demo", "--require-key")
	if status, _, answer := p.post("/v1/chat/completions", chat("hi")); status != 401 || !strings.Contains(answer, "one that `codex-proxy keys add NAME` makes") {
		t.Errorf("%d %s", status, answer)
	}
}

func TestWhatCantWorkIsRefusedAtTheStart(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"--listen", "0.0.0.0"}, "Set --api-key too"},
		{[]string{"--allow-origin", "https://x.example"}, "Set --api-key too"},
		{[]string{"--backend-url", "http://example.com/x"}, "Use https"},
		{[]string{"--demo", "--port", fmt.Sprint(port)}, "choose another port with --port"},
		{[]string{"--port", "70000"}, "from 0 to 65535"},
		{[]string{"--creds-store", "cloud"}, "must be one of"},
		{[]string{"--allow-host", "http://host.docker.internal"}, "Write it like host.docker.internal"},
		{[]string{"--nonsense"}, "unknown flag"},
	} {
		p := launch(t, t.TempDir(), nil, c.args...)
		err := <-p.done
		p.done <- err
		if err == nil || !strings.Contains(p.log.String(), c.says) {
			t.Errorf("%v: %v\n%s", c.args, err, p.log)
		}
	}
}

func TestNoSecretIsEverPrinted(t *testing.T) {
	b, url := startBackend(t)
	home, tokens := signedIn(t, b)
	p := start(t, home, at(url))
	p.waitForState("signed_in")
	const prompt = "a very private prompt"
	var all strings.Builder
	for _, path := range []string{"/v1/chat/completions", "/v1/responses"} {
		for _, text := range []string{prompt, prompt + " [[http500]]", prompt + " [[http401]]", prompt + " [[cut]]", prompt + " [[html403]]"} {
			body := chat(text, `"stream":true`)
			if path == "/v1/responses" {
				body = respond(text, `"stream":true`)
			}
			_, header, answer := p.post(path, body, "Authorization", "Bearer sk-local-secret")
			all.WriteString(strings.ReplaceAll(answer, "You said: "+prompt, ""))
			fmt.Fprint(&all, header)
		}
	}
	b.RefuseRefresh("refresh_token_invalidated")
	p.post("/v1/chat/completions", chat("[[http401]]"))
	fmt.Fprint(&all, p.health())
	p.stop()
	all.WriteString(p.log.String())
	for _, secret := range []string{tokens.Access, tokens.Refresh, tokens.ID, b.Newest(tokens), "rt_", "eyJ", "sk-local-secret", prompt, "__cf_bm"} {
		if i := strings.Index(all.String(), secret); i >= 0 {
			t.Errorf("printed: %.60s", all.String()[max(0, i-80):])
		}
	}
	if info, err := os.Stat(home + "/.config/codex-proxy/auth.json"); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	if info, err := os.Stat(home + "/.config/codex-proxy"); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", info, err)
	}
}

func TestWithoutASignInTheProxySaysSo(t *testing.T) {
	_, url := startBackend(t)
	p := start(t, t.TempDir(), at(url))
	p.waitForState("none")
	status, _, answer := p.post("/v1/chat/completions", chat("hi"))
	if status != 401 || !strings.Contains(answer, "codex-proxy login") {
		t.Errorf("%d %s", status, answer)
	}
	resp, err := http.Get(p.url + "/health")
	if err != nil || resp.StatusCode != 503 {
		t.Errorf("health: %v %v", resp, err)
	}
}
