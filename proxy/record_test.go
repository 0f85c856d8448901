package proxy

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"codex-proxy/proxy/codex"
)

// recordings hears of requests.
type recordings struct {
	mu      sync.Mutex
	starts  []Start
	records []Record
}

func (r *recordings) listen(c *Config) {
	c.OnStart = func(s Start) { r.mu.Lock(); defer r.mu.Unlock(); r.starts = append(r.starts, s) }
	c.OnRequest = func(x Record) { r.mu.Lock(); defer r.mu.Unlock(); r.records = append(r.records, x) }
}

func (r *recordings) all(t testing.TB, n int) ([]Start, []Record) {
	t.Helper()
	eventually(t, "the requests are recorded", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return len(r.records) >= n })
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.starts, r.records
}

func TestEachRequestIsRecordedOnce(t *testing.T) {
	var heard recordings
	r := newRig(t, heard.listen, func(c *Config) { c.Guard.Keys = named{"secret": "VS Code"} })
	for _, c := range []struct {
		name, method, path, body string
		header                   []string
		want                     Record
	}{
		{"a chat", "POST", "/v1/chat/completions", `{"model":"gpt-5.5-high","temperature":1,"stream":true,"messages":[{"role":"user","content":"hello there"}]}`, []string{"User-Agent", "openai/1 x"},
			Record{Start: Start{Client: "openai", Route: "/chat/completions", Dialect: "openai", Model: "gpt-5.5"}, Status: 200, Effort: "high", Streamed: true, Output: 10, Reasoning: 3, Dropped: []string{"temperature"}}},
		{"with a named key", "POST", "/v1/messages", `{"max_tokens":5,"messages":[{"role":"user","content":"hello there"}]}`, []string{"X-Api-Key", "secret"},
			Record{Start: Start{Client: "VS Code", Route: "/messages", Dialect: "anthropic", Model: "gpt-5.5"}, Status: 200, Output: 10, Reasoning: 3, Dropped: []string{"max_tokens"}}},
		{"a failure", "POST", "/v1/responses", `{"input":"[[limit]]"}`, nil,
			Record{Start: Start{Client: "unknown", Route: "/responses", Dialect: "openai"}, Status: 402, Code: "usage_limit_reached"}},
		{"a late failure", "POST", "/api/chat", `{"messages":[{"role":"user","content":"[[failed server_error late]]"}]}`, nil,
			Record{Start: Start{Client: "unknown", Route: "/api/chat", Dialect: "ollama", Model: "gpt-5.5"}, Status: 200, Streamed: true, Code: "server_error"}},
		{"a model in the address", "POST", "/v1beta/models/gpt-5.5-low:generateContent?key=secret", `{"contents":[{"parts":[{"text":"hello there"}]}],"safety_settings":[],"generationConfig":{"topK":1}}`, nil,
			Record{Start: Start{Client: "VS Code", Route: "/v1beta/models/{model}", Dialect: "gemini", Model: "gpt-5.5"}, Status: 200, Effort: "low", Output: 10, Reasoning: 3, Dropped: []string{"generationConfig.topK", "safetySettings"}}},
		{"a read", "GET", "/v1/responses/resp_x", "", nil,
			Record{Start: Start{Client: "unknown", Route: "/responses/{id}", Dialect: "openai"}, Status: 404, Code: "response_not_found"}},
		{"a refusal", "POST", "/v1/responses", "{}", []string{"Origin", "https://evil.example"},
			Record{Start: Start{Client: "unknown", Dialect: "openai"}, Status: 403, Code: "origin_not_allowed"}},
		{"nowhere", "GET", "/v1/nothing", "", nil, Record{Start: Start{Client: "unknown", Dialect: "openai"}, Status: 404, Code: "unknown_url"}},
	} {
		heard.mu.Lock()
		heard.starts, heard.records = nil, nil
		heard.mu.Unlock()
		header := c.header
		if len(header) == 0 || header[0] != "User-Agent" {
			header = append(header, "User-Agent", "")
		}
		r.do(c.method, c.path, c.body, header...)
		starts, records := heard.all(t, 1)
		if len(starts) != 1 || len(records) != 1 || starts[0].ID != records[0].ID || starts[0].ID == 0 {
			t.Errorf("%s: %+v %+v", c.name, starts, records)
			continue
		}
		got, want := records[0], c.want
		if got.Transport != TransportHTTP || got.Method != c.method || got.Duration <= 0 || time.Since(got.Time) > time.Minute {
			t.Errorf("%s: %+v", c.name, got)
		}
		if got.Client != want.Client || got.Route != want.Route || got.Dialect != want.Dialect || got.Model != want.Model || got.Status != want.Status || got.Effort != want.Effort ||
			got.Streamed != want.Streamed || got.Output != want.Output || got.Reasoning != want.Reasoning || strings.Join(got.Dropped, " ") != strings.Join(want.Dropped, " ") || got.Code != want.Code || (got.Code == "") != (got.Error == "") {
			t.Errorf("%s: %+v", c.name, got)
		}
		if want.Output > 0 && (got.FirstToken <= 0 || got.FirstToken > got.Duration || got.Input == 0 || got.Cached == 0) {
			t.Errorf("%s: %+v", c.name, got)
		}
		if strings.Contains(got.Error, "hello there") || strings.Contains(strings.Join(got.Dropped, ""), "hello there") {
			t.Errorf("%s: a prompt is in %+v", c.name, got)
		}
	}
	if starts, _ := heard.all(t, 1); len(starts) == 0 {
		t.Error("no start")
	}
}

func TestAStartKnowsTheModel(t *testing.T) {
	var heard recordings
	r := newRig(t, heard.listen)
	r.ask("chat", "hello", false, `"model":"gpt-5.5-low"`)
	if starts, _ := heard.all(t, 1); starts[0].Model != "gpt-5.5-low" {
		t.Errorf("%+v", starts[0])
	}
}

func TestEachTurnOfASocketIsARecord(t *testing.T) {
	var heard recordings
	r := newRig(t, heard.listen)
	serve(t, r)
	conn := dialSocket(t, r)
	turn(t, conn, create("one"))
	turn(t, conn, create("two", `"temperature":1`))
	turn(t, conn, create("[[limit]]"))
	starts, records := heard.all(t, 3)
	if len(starts) != 3 || len(records) != 3 {
		t.Fatalf("%d starts, %d records", len(starts), len(records))
	}
	for i, x := range records {
		if x.Transport != TransportWebSocket || x.Route != "/responses" || x.Model != "gpt-5.5" || x.ID != starts[i].ID || !x.Streamed {
			t.Errorf("%+v", x)
		}
	}
	if records[0].Output != 10 || records[1].Output != 10 || records[1].Dropped[0] != "temperature" || records[2].Code != "usage_limit_reached" || records[2].Status != 402 {
		t.Errorf("%+v", records)
	}
	conn.CloseNow()
	eventually(t, "the connection is over", func() bool { return r.server.sockets.Load() == 0 })
	if _, records := heard.all(t, 3); len(records) != 3 {
		t.Errorf("the connection itself is a record: %+v", records[3:])
	}
	_, _, metrics, _ := r.do(http.MethodGet, "/metrics", "")
	if !strings.Contains(metrics, `codex_proxy_tokens_total{kind="output",model="gpt-5.5"} 20`) {
		t.Errorf("%s", metrics)
	}
}

// TestTheFirstTokenIsAHistogramOfPrometheus: histogram_quantile reads buckets with le alone.
func TestTheFirstTokenIsAHistogramOfPrometheus(t *testing.T) {
	var heard recordings
	r := newRig(t, heard.listen)
	r.ask("responses", "hello", true)
	heard.all(t, 1)
	_, _, metrics, _ := r.do(http.MethodGet, "/metrics", "")
	for _, want := range []string{`_bucket{le="0.1"} `, `_bucket{le="60"} 1`, `_bucket{le="+Inf"} 1`, "_count 1"} {
		if !strings.Contains(metrics, "codex_proxy_first_token_seconds"+want) {
			t.Errorf("no %s in\n%s", want, metrics)
		}
	}
}

func TestTheFirstTokenIsNotAKeepAlive(t *testing.T) {
	for dialect := range dialects {
		var heard recordings
		in, out := io.Pipe()
		r := newRig(t, heard.listen, func(c *Config) {
			c.KeepAlive = 5 * time.Millisecond
			c.HTTP = posts(in)
		})
		go func() {
			io.WriteString(out, created)
			time.Sleep(200 * time.Millisecond)
			io.WriteString(out, delta("hi")+completed)
			out.Close()
		}()
		r.ask(dialect, "hello", true)
		if _, records := heard.all(t, 1); records[0].FirstToken < 190*time.Millisecond {
			t.Errorf("%s: %s", dialect, records[0].FirstToken)
		}
	}
}

// TestWhatComesAfterAKeepAliveIsNotHeld: the status is out, so there is nothing more to wait for.
func TestWhatComesAfterAKeepAliveIsNotHeld(t *testing.T) {
	in, out := io.Pipe()
	defer out.Close()
	r := newRig(t, func(c *Config) { c.KeepAlive, c.HTTP = 5*time.Millisecond, posts(in) })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	path, body := question("responses", "hello", true)
	req, _ := http.NewRequestWithContext(ctx, http.MethodPost, r.url+path, strings.NewReader(body))
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	go io.WriteString(out, created)
	for lines := bufio.NewScanner(resp.Body); ; {
		if !lines.Scan() {
			t.Fatalf("the event that is there does not come: %v", lines.Err())
		}
		if strings.HasPrefix(lines.Text(), "event: response.created") {
			return
		}
	}
}

func TestACallerWhoLeavesIsRecordedAsGone(t *testing.T) {
	for dialect := range dialects {
		var heard recordings
		r := newRig(t, heard.listen)
		ctx, cancel := context.WithCancel(t.Context())
		path, body := question(dialect, "[[endless]]", true)
		req, _ := http.NewRequestWithContext(ctx, http.MethodPost, r.url+path, strings.NewReader(body))
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Read(make([]byte, 100))
		start := time.Now()
		cancel()
		<-r.backend.Gone()
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%s: the backend's call ends after %s", dialect, took)
		}
		resp.Body.Close()
		if _, records := heard.all(t, 1); !records[0].Gone || records[0].Code != "" {
			t.Errorf("%s: %+v", dialect, records[0])
		}
	}
}

func TestAPanicIsAnErrorOfItsRequestOnly(t *testing.T) {
	var heard recordings
	r := newRig(t, heard.listen, func(c *Config) {
		c.HTTP = posts(io.NopCloser(exploding{}))
	})
	for _, c := range []struct{ path, body string }{
		{"/v1/chat/completions", `{"n":3,"messages":[{"role":"user","content":"x"}]}`},
		{"/v1/chat/completions", `{"n":3,"stream":true,"messages":[{"role":"user","content":"x"}]}`},
		{"/v1/completions", `{"n":2,"prompt":"x"}`},
		{"/v1/images/generations", `{"n":2,"prompt":"x"}`},
		{"/v1/responses", `{"input":"x"}`},
		{"/v1/messages", `{"max_tokens":1,"messages":[{"role":"user","content":"x"}]}`},
		{"/api/chat", `{"messages":[{"role":"user","content":"x"}]}`},
	} {
		if status, text := r.post(c.path, c.body); status != 500 || !strings.Contains(text, "It is a bug") {
			t.Errorf("%s: %d %s", c.path, status, text)
		}
	}
	for _, e := range r.log.AllEntries() {
		if stack, _ := e.Data["stack"].(string); e.Data["code"] == "internal_error" && !strings.Contains(stack, "exploding") {
			t.Errorf("the log does not say where: %+v", e.Data)
		}
	}
	if r.log.LastEntry().Data["code"] != "internal_error" {
		t.Errorf("%+v", r.log.LastEntry())
	}
}

type exploding struct{}

func (exploding) Read([]byte) (int, error) { panic("a bug") }

func TestAKeepAliveAndAnErrorDoNotMix(t *testing.T) {
	for _, dialect := range []string{"chat", "completions", "responses", "messages"} {
		for i := range 40 {
			in, out := io.Pipe()
			x := newRig(t, func(c *Config) {
				c.KeepAlive = 500 * time.Microsecond
				c.HTTP = posts(in)
			})
			go func() {
				time.Sleep(time.Duration(450+i) * time.Microsecond)
				io.WriteString(out, event("response.failed", `{"response":{"error":{"code":"context_length_exceeded","message":"Too long"}}}`))
				out.Close()
			}()
			status, text, err := x.ask(dialect, "hello", true)
			switch {
			case status == 400 && err == nil && strings.HasPrefix(text, "{") && !strings.Contains(text, "still working"):
			case status == 200 && strings.Contains(text, "Too long") && !strings.HasPrefix(text, "{") && !strings.Contains(text, "}\n: still"):
			default:
				t.Fatalf("%s: %d %q %v", dialect, status, text, err)
			}
		}
	}
}

func TestAdviceChangesWithWhereItIsRead(t *testing.T) {
	r := newRig(t, func(c *Config) {
		c.Strict = true
		c.Advice = func(r codex.Remedy) string { return "Do the " + string(r) + " thing" }
	})
	r.backend.EndAccess()
	for body, want := range map[string]string{`{"input":"x","temperature":1}`: "Do the strict thing"} {
		if _, text := r.post("/v1/responses", body); !strings.Contains(text, want) || strings.Contains(text, "codex-proxy") {
			t.Errorf("%s: %s", body, text)
		}
	}
	if words := codex.Advice(nil).For(codex.RemedySignIn); words != "Run `codex-proxy login`" {
		t.Error(words)
	}
	if words := codex.Advice(func(codex.Remedy) string { return "" }).For(codex.RemedyPort); !strings.Contains(words, "--port") {
		t.Error(words)
	}
}

// TestAModelsNameIsKeptInShort: it is the caller's text, and might be a prompt.
func TestAModelsNameIsKeptInShort(t *testing.T) {
	var heard recordings
	r := newRig(t, heard.listen)
	r.post("/v1/chat/completions", `{"model":"`+strings.Repeat("a prompt ", 2000)+`","messages":[{"role":"user","content":"hello"}]}`)
	starts, records := heard.all(t, 1)
	if len(starts[0].Model) > 80 || len(records[0].Model) > 80 {
		t.Errorf("%d and %d bytes of a name are told", len(starts[0].Model), len(records[0].Model))
	}
	lines := 0
	for _, e := range r.log.AllEntries() {
		text, err := e.String()
		if lines++; err != nil || len(text) > 1000 {
			t.Errorf("%d bytes in the log (%v): %.300s", len(text), err, text)
		}
	}
	if lines == 0 {
		t.Error("nothing is logged")
	}
}
