package proxy

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"codex-proxy/creds"
	"codex-proxy/internal/fakebackend"
	"codex-proxy/proxy/codex"
)

const (
	created   = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\"}}\n\n"
	completed = "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"resp_1\",\"status\":\"completed\",\"output\":[],\"usage\":{\"input_tokens\":7,\"output_tokens\":5,\"total_tokens\":12}}}\n\n"
)

func delta(text string) string {
	return event("response.output_text.delta", `{"output_index":0,"delta":"`+text+`"}`)
}

func TestAStreamedIncompleteAnswerCanBeGoneOnFrom(t *testing.T) {
	for _, stream := range []bool{true, false} {
		r := newRig(t)
		_, first, _ := r.ask("responses", "[[incomplete]]", stream)
		id := get(first, "id").Str
		if stream {
			_, data := sseEvents(first)
			id = get(data[len(data)-1], "response.id").Str
		}
		if status, answer := r.post("/v1/responses", `{"input":"go on","previous_response_id":"`+id+`"}`); status != 200 {
			t.Errorf("stream %v: %d %s", stream, status, answer)
		}
	}
}

func TestEveryCallNamesTheRouteOfTheWorkspace(t *testing.T) {
	r := newRig(t)
	r.backend.Accounts = []byte(`{"accounts":[{"id":"` + fakebackend.AccountID + `","workspace_backend_origin":"NO_CONSTRAINT","account_routing_override":"us_cr"}]}`)
	r.ask("responses", "hello", false)
	r.post("/v1/responses/compact", `{"model":"gpt-5.5","input":"hello"}`)
	r.do(http.MethodGet, "/v1/models", "")
	r.do(http.MethodGet, "/api/codex/usage", "")
	for _, path := range []string{"/codex/responses", "/codex/responses/compact", "/codex/models", "/wham/usage"} {
		requests := r.backend.Requests(path)
		if len(requests) == 0 {
			t.Errorf("%s: nothing went up", path)
			continue
		}
		if got := requests[len(requests)-1].Header.Get("X-Openai-Account-Routing-Override"); got != "us_cr" {
			t.Errorf("%s: the route is %q", path, got)
		}
	}
}

func item(kind, name, id string, index int, field, value string) string {
	return fmt.Sprintf(`{"output_index":%d,"item":{"type":%q,"name":%q,"call_id":%q,%q:%q}}`, index, kind, name, id, field, value)
}

func TestCallsThatOverlapKeepTheirArguments(t *testing.T) {
	events := created +
		event("response.output_item.added", item("function_call", "one", "call_a", 0, "arguments", "")) +
		event("response.output_item.added", item("function_call", "two", "call_b", 1, "arguments", "")) +
		event("response.function_call_arguments.delta", `{"output_index":1,"delta":"{\"b\""}`) +
		event("response.function_call_arguments.delta", `{"output_index":0,"delta":"{\"a\""}`) +
		event("response.function_call_arguments.delta", `{"output_index":0,"delta":":1}"}`) +
		event("response.function_call_arguments.delta", `{"output_index":1,"delta":":2}"}`) +
		event("response.output_item.done", item("function_call", "two", "call_b", 1, "arguments", `{"b":2}`)) +
		event("response.output_item.done", item("function_call", "one", "call_a", 0, "arguments", `{"a":1}`)) + completed
	r := newRig(t, upstream(events))
	for _, dialect := range []string{"chat", "messages", "ollama", "gemini", "array"} {
		for _, stream := range []bool{false, true} {
			_, answer, err := r.ask(dialect, "hello", stream)
			got := gather(t, dialect, answer, stream)
			if dialect != "chat" && dialect != "messages" { // calls come whole there, each when it is done
				slices.Sort(got.calls)
			}
			if err != nil || len(got.calls) != 2 || got.calls[0] != `one {"a":1}` || got.calls[1] != `two {"b":2}` {
				t.Errorf("%s, stream %v: %v %v\n%s", dialect, stream, got.calls, err, answer)
			}
		}
	}
}

func TestACallWithoutArgumentsHasNone(t *testing.T) {
	events := created + event("response.output_item.done", item("function_call", "now", "call_a", 0, "arguments", "")) + completed
	r := newRig(t, upstream(events))
	for _, dialect := range []string{"messages", "ollama", "gemini", "array"} {
		_, answer, _ := r.ask(dialect, "hello", false)
		if got := gather(t, dialect, answer, false); len(got.calls) != 1 || got.calls[0] != "now {}" {
			t.Errorf("%s: %v", dialect, got.calls)
		}
	}
}

func TestAnAnswerThatIsNotOneIsABadGateway(t *testing.T) {
	for _, status := range []int{101, 201, 204, 206, 302, 304, 307, 399} {
		r := newRig(t, func(c *Config) {
			c.HTTP = doer(func(*http.Request) (*http.Response, error) {
				a := answer(status, "")
				a.Header.Set("Location", "https://elsewhere.example/")
				return a, nil
			})
		})
		for _, path := range []string{"/v1/chat/completions", "/v1/responses", "/v1/messages", "/api/chat", "/v1beta/models/gpt-5.5:generateContent", "/v1/responses/compact", "/api/codex/usage"} {
			method, body := http.MethodPost, `{"model":"gpt-5.5","max_tokens":1,"input":"x","messages":[{"role":"user","content":"x"}],"contents":[{"parts":[{"text":"x"}]}]}`
			if strings.HasSuffix(path, "responses") || strings.HasSuffix(path, "compact") {
				body = `{"model":"gpt-5.5","input":"x"}`
			}
			if strings.HasSuffix(path, "usage") {
				method, body = http.MethodGet, ""
			}
			for _, native := range []string{"", "codex_exec"} {
				got, h, text, _ := r.do(method, path, body, "Originator", native)
				if got != http.StatusBadGateway || !strings.Contains(text, fmt.Sprint(status)) || h.Get("Location") != "" {
					t.Errorf("%d on %s (%q): %d %s", status, path, native, got, text)
				}
			}
		}
	}
}

func TestEachContentCodingIsUnderstood(t *testing.T) {
	r := newRig(t)
	plain := `{"input":"packed"}`
	pack := func(f func(io.Writer) io.WriteCloser) string {
		var b bytes.Buffer
		w := f(&b)
		io.WriteString(w, plain)
		w.Close()
		return b.String()
	}
	for name, c := range map[string]struct{ coding, body string }{
		"gzip":                 {"gzip", pack(func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) })},
		"deflate as zlib":      {"deflate", pack(func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) })},
		"deflate without zlib": {"deflate", pack(func(w io.Writer) io.WriteCloser { f, _ := flate.NewWriter(w, 5); return f })},
		"none":                 {"identity", plain},
	} {
		if status, text := r.post("/v1/responses", c.body, "Content-Encoding", c.coding); status != 200 || !strings.Contains(text, "packed") {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	if status, text := r.post("/v1/responses", plain, "Content-Encoding", "br"); status != 415 {
		t.Errorf("br: %d %s", status, text)
	}
	if status, text := r.post("/v1/responses", "not packed", "Content-Encoding", "deflate"); status != 400 {
		t.Errorf("what is not packed: %d %s", status, text)
	}
}

func TestStoppedAnswersEstimateAlike(t *testing.T) {
	r := newRig(t)
	picture := "data:image/png;base64," + strings.Repeat("iVBORw0KGgoA", 1<<20/12)
	_, chat := r.post("/v1/chat/completions", `{"stop":["STOP"],"messages":[{"role":"user","content":[{"type":"text","text":"[[stops]]"},{"type":"image_url","image_url":{"url":"`+picture+`"}}]}]}`)
	_, messages := r.post("/v1/messages", `{"max_tokens":9,"stop_sequences":["STOP"],"messages":[{"role":"user","content":[{"type":"text","text":"[[stops]]"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"`+strings.TrimPrefix(picture, "data:image/png;base64,")+`"}}]}]}`)
	_, ollama := r.post("/api/chat", `{"stream":false,"options":{"stop":["STOP"]},"messages":[{"role":"user","content":"[[stops]]","images":["`+strings.TrimPrefix(picture, "data:image/png;base64,")+`"]}]}`)
	_, gemini := r.post("/v1beta/models/gpt-5.5:generateContent", `{"generationConfig":{"stopSequences":["STOP"]},"contents":[{"parts":[{"text":"[[stops]]"},{"inlineData":{"mimeType":"image/png","data":"`+strings.TrimPrefix(picture, "data:image/png;base64,")+`"}}]}]}`)
	in := []int64{get(chat, "usage.prompt_tokens").Int(), get(messages, "usage.input_tokens").Int(), get(ollama, "prompt_eval_count").Int(), get(gemini, "usageMetadata.promptTokenCount").Int()}
	out := []int64{get(chat, "usage.completion_tokens").Int(), get(messages, "usage.output_tokens").Int(), get(ollama, "eval_count").Int(), get(gemini, "usageMetadata.candidatesTokenCount").Int()}
	for i := range in {
		if in[i] < 800 || in[i] > 1000 || in[i] != in[0] || out[i] != out[0] {
			t.Errorf("estimates differ: %v %v\n%.200s\n%.200s\n%.200s", in, out, chat, messages, ollama)
			break
		}
	}
	_, result := r.post("/v1/messages/count_tokens", `{"max_tokens":9,"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"x","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"`+strings.TrimPrefix(picture, "data:image/png;base64,")+`"}}]}]}]}`)
	if n := get(result, "input_tokens").Int(); n < 800 || n > 1000 {
		t.Errorf("a picture in a tool's result counts %d", n)
	}
	_, result = r.post("/v1/messages/count_tokens", `{"max_tokens":9,"messages":[{"role":"user","content":[{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"`+strings.Repeat("JVBERi0x", 1<<17)+`"}}]}]}`)
	if n := get(result, "input_tokens").Int(); n < 800 || n > 50_000 {
		t.Errorf("a document of 1 MB counts %d", n)
	}
}

func TestARefreshDuringAnOutageIsNotTheCallersFault(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Admin = &Admin{Key: "admin", Manager: c.SignIn.(*signIn)} })
	for name, c := range map[string]struct {
		err  error
		want int
	}{
		"network": {&creds.UnavailableError{Problem: "The auth server is not reached", RetryAfter: 30 * time.Second}, 503},
		"store":   {&creds.UnavailableError{Problem: "The disk is full", RetryAfter: time.Second}, 503},
		"ended":   {&creds.UnavailableError{Problem: "Sign in again"}, 401},
		"nobody":  {&creds.UnavailableError{Problem: "Nobody is signed in"}, 401},
		"soon":    {&creds.TooSoonError{Wait: 40 * time.Second}, 429},
	} {
		r.signIn.mu.Lock()
		r.signIn.err = c.err
		r.signIn.mu.Unlock()
		status, h, text, _ := r.do(http.MethodPost, "/admin/credentials/refresh", "", "X-Api-Key", "admin")
		if status != c.want || !strings.Contains(text, c.err.Error()) {
			t.Errorf("%s: %d %s", name, status, text)
		}
		if c.want != 401 && (h.Get("Retry-After") == "" || h.Get("Retry-After") == "0") {
			t.Errorf("%s: no word of when to try again", name)
		}
	}
}

func TestAnEventOverSeveralLinesReachesTheClientWhole(t *testing.T) {
	last := "event: response.completed\ndata: {\"type\":\"response.completed\",\ndata: \"response\":{\"id\":\"resp_1\",\ndata: \"usage\":{\"input_tokens\":7,\"output_tokens\":5}}}\n\n"
	events := created + "event: response.output_text.delta\ndata: {\"output_index\":0,\ndata: \"delta\":\"hi\"}\n\n" +
		event("response.output_item.done", `{"output_index":0,"item":{"type":"message","content":[{"type":"output_text","text":"hi"}]}}`) + last
	r := newRig(t, upstream(events))
	_, body, err := r.ask("responses", "hello", true)
	types, data := sseEvents(body)
	if n := len(types); err != nil || n == 0 || types[n-1] != "response.completed" || get(data[n-1], "response.output.0.content.0.text").Str != "hi" {
		t.Errorf("%v %v %s", err, types, body)
	}
	for dialect := range dialects {
		for _, stream := range []bool{true, false} {
			_, answer, err := r.ask(dialect, "hello", stream)
			if got := gather(t, dialect, answer, stream); err != nil || got.text != "hi" {
				t.Errorf("%s, stream %v: %v %q\n%s", dialect, stream, err, got.text, answer)
			}
		}
	}
	broken := strings.Replace(last, "\"response\":{", "\"response\":{\"x\":\"a\ndata: b\",", 1)
	r = newRig(t, upstream(created+delta("hi")+broken))
	if _, body, err := r.ask("responses", "hello", true); err == nil || !strings.Contains(body, "event: error") {
		t.Errorf("a last event that is not JSON: %v %s", err, body)
	}
}

func TestAFailureAfterTheFirstTextIsToldInEveryDialect(t *testing.T) {
	r := newRig(t)
	for dialect := range dialects {
		for _, how := range []string{"[[failed context_length_exceeded late]]", "[[error context_length_exceeded late]]", "[[cut]]", "[[eof]]"} {
			want := "context_length_exceeded"
			if dialect == "gemini" || dialect == "array" {
				want = "CONTEXT_LENGTH_EXCEEDED"
			}
			if dialect == "messages" || dialect == "ollama" || dialect == "generate" {
				want = "It failed"
			}
			if how == "[[cut]]" || how == "[[eof]]" {
				want = "broke before the answer was whole"
			}
			_, answer, err := r.ask(dialect, how, true)
			told := dialect == "responses" && !strings.Contains(want, "broke") // there the failure is an ending of its own
			if (err == nil) != told || !strings.Contains(answer, want) {
				t.Errorf("%s %s: %v %s", dialect, how, err, answer)
			}
		}
	}
}

func TestEveryLoopbackAddressMayBeNamed(t *testing.T) {
	r := newRig(t)
	for host, want := range map[string]int{"127.0.0.2:9879": 200, "127.8.9.10": 200, "[::1]:9879": 200, "localhost.": 200, "128.0.0.1": 421, "127.0.0.1.evil.example": 421, "evil.example": 421, "0x7f.1": 421} {
		if status, _, text, _ := r.do(http.MethodGet, "/health", "", "Host", host); status != want {
			t.Errorf("%s: %d %s", host, status, text)
		}
	}
}

func TestAFailedFetchOfTheModelsIsRemembered(t *testing.T) {
	var asked atomic.Int32
	r := newRig(t, func(c *Config) {
		up := c.HTTP
		c.HTTP = doer(func(req *http.Request) (*http.Response, error) {
			if strings.HasSuffix(req.URL.Path, "/models") {
				asked.Add(1)
				return nil, io.ErrUnexpectedEOF
			}
			return up.Do(req)
		})
	})
	for range 3 {
		if status, _, text, _ := r.do(http.MethodGet, "/v1/models", ""); status != 200 || len(get(text, "data").Array()) == 0 {
			t.Errorf("%d %s", status, text)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the backend was asked %d times", n)
	}
	r.server.Client.Models.Stale() // another sign-in: worth another try
	r.do(http.MethodGet, "/v1/models", "")
	if n := asked.Load(); n != 2 {
		t.Errorf("after another sign-in: %d", n)
	}
}

func TestTheFirstRequestWaitsForTheListOfModels(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Model = "" })
	r.backend.Models = []byte(`{"models":[{"slug":"gpt-5.5","visibility":"list","priority":1,"supported_reasoning_levels":[{"effort":"low"}]}]}`)
	if status, text, _ := r.ask("chat", "hello", false); status != 200 || get(text, "model").Str != "gpt-5.5" {
		t.Errorf("%d %s", status, text)
	}
	silent := newRig(t, func(c *Config) {
		up := c.HTTP
		c.HTTP = doer(func(req *http.Request) (*http.Response, error) {
			if strings.HasSuffix(req.URL.Path, "/models") {
				<-req.Context().Done()
				return nil, req.Context().Err()
			}
			return up.Do(req)
		})
	})
	start := time.Now()
	if status, text, _ := silent.ask("chat", "hello", false); status != 200 || time.Since(start) > 4500*time.Millisecond {
		t.Errorf("%s: %d %s", time.Since(start), status, text)
	}
}

func TestOnlyWhatIsListedGoesUpUnderResponses(t *testing.T) {
	var went []string
	r := newRig(t, func(c *Config) {
		up := c.HTTP
		c.HTTP = doer(func(req *http.Request) (*http.Response, error) {
			if req.Method == http.MethodPost {
				went = append(went, req.URL.RequestURI())
			}
			return up.Do(req)
		})
	})
	for _, path := range []string{"/v1/responses/%252e%252e/me", "/v1/responses/x%3Fa=b", "/v1/responses/%2e%2e/wham/usage", "/v1/responses/compact%3Fa=b", "/v1/responses/compact%23",
		"/v1/responses/@evil.example", "/v1/responses/compact/..%2f..%2fx", "/v1/responses/compact/x", "/v1/responses/other", "/v1/responses/%2f%2fevil.example", "/v1/responses/.", "/v1/responses/compact%00",
		"/v1/alpha", "/v1/alpha/", "/v1/alpha/other", "/v1/alpha/search/x", "/v1/alpha/%2e%2e/responses", "/v1/alpha/search%3Fa=b", "/v1/alpha/history/v2/../../../me", "/v1/alpha/notes/v2/delete_file"} {
		if status, text := r.post(path, `{"model":"gpt-5.5"}`); status < 400 || status >= 500 {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	if len(went) > 0 {
		t.Errorf("these went up: %q", went)
	}
	if status, text := r.post("/v1/responses/compact", `{"model":"gpt-5.5","input":"hello"}`); status != 200 || len(went) != 1 {
		t.Errorf("compact: %d %s", status, text)
	}
	for _, path := range []string{"/../me", "/x?a=b", "@evil.example", "/%2e%2e", ".evil.example", "", "/compact", "/responses", "/responses/compact/", "/responses/compact?x", "/alpha/search?x", "/alpha/../responses"} {
		if _, _, err := r.server.Client.Forward(context.Background(), path, nil, nil); err == nil {
			t.Errorf("the client takes %q", path)
		}
	}
}

func TestWorkIsLinearInTheBody(t *testing.T) {
	r := newRig(t)
	repeat := func(one string, n int) string { return strings.TrimSuffix(strings.Repeat(one+",", n), ",") }
	keys := strings.Builder{}
	for i := range 200_000 {
		fmt.Fprintf(&keys, `"unknown_%d":1,`, i)
	}
	var calls, results, added strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&added, `{"type":"tool_addition","tool":{"type":"tool_definition","definition":{"name":"g%d","input_schema":{"type":"object"}}}},`, i)
		fmt.Fprintf(&calls, `{"function":{"name":"f%d","arguments":{}}},`, i)
		fmt.Fprintf(&results, `{"role":"tool","tool_name":"f%d","content":"x"},`, 19_999-i)
	}
	for name, c := range map[string]struct{ path, body string }{
		"system messages":  {"/v1/chat/completions", `{"messages":[` + repeat(`{"role":"system","content":"a system message of some length"}`, 100_000) + `,{"role":"user","content":"hi"}]}`},
		"system blocks":    {"/v1/messages", `{"max_tokens":1,"system":[` + repeat(`{"type":"text","text":"a block"}`, 100_000) + `],"messages":[{"role":"user","content":"hi"}]}`},
		"unknown keys":     {"/v1/responses", `{` + keys.String() + `"input":"hi"}`},
		"unknown in chat":  {"/v1/chat/completions", `{` + keys.String() + `"messages":[{"role":"user","content":"hi"}]}`},
		"unknown options":  {"/api/chat", `{"stream":false,"options":{` + strings.TrimSuffix(keys.String(), ",") + `},"messages":[{"role":"user","content":"hi"}]}`},
		"breakpoints":      {"/v1/responses", `{"input":[{"type":"message","role":"user","content":[` + repeat(`{"type":"input_text","text":"hi","prompt_cache_breakpoint":{}}`, 20_000) + `]}]}`},
		"parts, as JSON":   {"/v1/responses", `{"text":{"format":{"type":"json_object"}},"input":[{"role":"user","content":[` + repeat(`{"type":"input_text","text":"`+strings.Repeat("x", 50)+`"}`, 100_000) + `]}]}`},
		"results of tools": {"/api/chat", `{"stream":false,"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"","tool_calls":[` + strings.TrimSuffix(calls.String(), ",") + `]},` + strings.TrimSuffix(results.String(), ",") + `]}`},
		"contents":         {"/v1beta/models/gpt-5.5:generateContent", `{"contents":[` + repeat(`{"role":"model","parts":[{"text":"a piece "}]}`, 100_000) + `,{"role":"user","parts":[{"text":"hi"}]}]}`},
		"parts":            {"/v1beta/models/gpt-5.5:generateContent", `{"contents":[{"role":"user","parts":[` + repeat(`{"text":"a part"}`, 20_000) + `]}]}`},
		"properties":       {"/v1beta/models/gpt-5.5:generateContent", `{"contents":[{"parts":[{"text":"hi"}]}],"tools":[{"functionDeclarations":[{"name":"f","parameters":{"type":"OBJECT","properties":{` + strings.ReplaceAll(strings.TrimSuffix(keys.String(), ","), ":1", ":{}") + `},"propertyOrdering":[` + repeat(`"unknown_1"`, 100_000) + `]}}]}]}`},
		"one of, again":    {"/v1/chat/completions", `{"messages":[{"role":"user","content":"hi"}],"response_format":{"type":"json_schema","json_schema":{"name":"a","strict":true,"schema":{"type":"object","properties":{"a":{` + repeat(`"oneOf":[]`, 100_000) + `}},"required":["a"],"additionalProperties":false}}}}`},
		"definitions":      {"/v1/chat/completions", `{"messages":[{"role":"user","content":"hi"}],"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"$ref":"#/$defs/b","$defs":{"b":{` + keys.String() + `"type":"object"}},` + repeat(`"$defs":{}`, 20_000) + `}}}}`},
		"added tools":      {"/v1/messages", `{"max_tokens":1,"messages":[{"role":"user","content":[{"type":"text","text":"hi"}]},{"role":"system","content":[` + added.String() + repeat(`{"type":"tool_addition","tool":{"type":"tool_definition","definition":{"name":"g19999","input_schema":{"type":"object"}}}}`, 20_000) + "," + `{"type":"text","text":"x"}]}]}`},
		"stop sequences":   {"/v1/messages", `{"max_tokens":1,"stop_sequences":[` + repeat(`"`+strings.Repeat("x", 40)+`"`, 100_000) + `],"messages":[{"role":"user","content":"[[text 200]]"}]}`},
	} {
		start := time.Now()
		status, h, text, _ := r.do(http.MethodPost, c.path, c.body)
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("%s: %s", name, took)
		}
		if dropped := h.Get("X-Codex-Proxy-Dropped"); len(dropped) > 1024+32 || (strings.HasPrefix(name, "unknown") && !strings.Contains(dropped, " more")) {
			t.Errorf("%s: a header of %d bytes: %.80s", name, len(dropped), dropped)
		}
		if name == "stop sequences" {
			if status != 400 {
				t.Errorf("%s: %d %.200s", name, status, text)
			}
		} else if status != 200 {
			t.Errorf("%s: %d %.200s", name, status, text)
		}
	}
}

func TestAnIDThatComesTwiceDoesNotMakeALoop(t *testing.T) {
	r := newRig(t, upstream(created+delta("hi")+completed))
	r.ask("responses", "hello", false)
	for range 3 {
		done := make(chan struct{})
		go func() {
			defer close(done)
			r.post("/v1/responses", `{"input":"go on","previous_response_id":"resp_1"}`)
		}()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Fatal("it loops")
		}
	}
}

func TestHealthTellsMoreToThoseWhoMayAskOnly(t *testing.T) {
	open, closed := newRig(t), newRig(t, func(c *Config) { c.Guard.Keys, c.Guard.KeyRequired = KeyList{"key"}, func() bool { return true } })
	for name, c := range map[string]struct {
		rig  *rig
		key  string
		more bool
	}{"no key is set": {open, "", true}, "without the key": {closed, "", false}, "a wrong key": {closed, "x", false}, "with the key": {closed, "key", true}} {
		status, _, text, _ := c.rig.do(http.MethodGet, "/health", "", "X-Api-Key", c.key)
		if status != 200 || get(text, "credentials").Exists() != c.more || get(text, "status").Str != "ok" {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
}

func TestAModelThatIsNotThereIsNotFound(t *testing.T) {
	r := newRig(t)
	for dialect := range dialects {
		status, text, _ := r.ask(dialect, "hello", false, `"model":"mystery"`)
		if status != 404 || !strings.Contains(text, "mystery") || !strings.Contains(text, "gpt-5.5") {
			t.Errorf("%s: %d %s", dialect, status, text)
		}
	}
	_, text, _ := r.ask("chat", "hello", false, `"model":"mystery"`)
	if get(text, "error.code").Str != "model_not_found" || get(text, "error.param").Str != "model" {
		t.Error(text)
	}
	if status, text := r.post("/v1/responses", `{"model":"mystery","instructions":"x","input":[{"role":"user","content":"x"}]}`, "Originator", "codex_exec"); status != 400 || !strings.Contains(text, "not supported when using Codex") {
		t.Errorf("the Codex CLI gets the backend's own words: %d %s", status, text)
	}
}

func TestARefusedTokenIsNotBlamedOnTheNetwork(t *testing.T) {
	r := newRig(t)
	r.backend.EndAccess()
	_, err := r.server.Client.Workspaces(context.Background())
	e, ok := err.(*codex.Error)
	if !ok || e.Status != 401 {
		t.Errorf("%v", err)
	}
}

// TestAnEventThatIsAllBracketsIsNoMatter, whether they are the event's own or the arguments of a call.
func TestAnEventThatIsAllBracketsIsNoMatter(t *testing.T) {
	brackets := strings.Repeat("[", 15<<20)
	call := func(field string) string {
		return `{"output_index":0,` + field + `"item":{"type":"function_call","id":"fc_1","call_id":"call_1","name":"f","arguments":"` + brackets + `"}}`
	}
	for name, events := range map[string]string{
		"an event": "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"x\",\"y\":" + brackets + "}\n\n",
		"a call":   event("response.output_item.done", call("")),
	} {
		for _, dialect := range []string{"responses", "chat", "messages", "ollama", "gemini"} {
			for _, stream := range []bool{false, true} {
				r := newRig(t, upstream(created+events+completed))
				r.ask(dialect, "hello", stream) // how it ends is a matter of other tests
				if status, _, text, _ := r.do(http.MethodGet, "/health", ""); status != 200 {
					t.Errorf("%s, %s: %d %s", name, dialect, status, text)
				}
			}
		}
	}
}
