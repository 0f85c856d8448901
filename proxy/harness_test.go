package proxy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"
	"github.com/tidwall/gjson"

	"codex-proxy/creds"
	"codex-proxy/internal/fakebackend"
	"codex-proxy/proxy/codex"
)

// signIn is a sign-in that is good until it is replaced.
type signIn struct {
	mu    sync.Mutex
	token creds.Token
	state creds.State
	err   error // of Token, Rejected and Refresh
}

func (s *signIn) Token(context.Context) (creds.Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.token, s.err
}

func (s *signIn) Rejected(ctx context.Context, _ creds.Token) (creds.Token, error) {
	return creds.Token{}, &creds.UnavailableError{Status: creds.StatusSignInAgain, Problem: "Sign in again"}
}

func (s *signIn) State() creds.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

func (s *signIn) Adopt(context.Context, creds.Credentials) error { return s.err }
func (s *signIn) Refresh(context.Context) error                  { return s.err }
func (s *signIn) SignOut(context.Context) (error, error)         { return nil, s.err }
func (s *signIn) Accepted(creds.Token)                           {}

// rig is a proxy in this process, before the stand-in of the backend.
type rig struct {
	t       testing.TB
	backend *fakebackend.Backend
	signIn  *signIn
	server  *Server
	url     string
	log     *test.Hook
}

// newRig starts one. change may alter its configuration.
func newRig(t testing.TB, change ...func(*Config)) *rig {
	t.Helper()
	b := fakebackend.New()
	b.Models = codex.BundledModels()
	up := httptest.NewServer(b)
	t.Cleanup(up.Close)
	tokens := b.SignIn(time.Hour)
	log, hook := test.NewNullLogger()
	log.SetLevel(logrus.DebugLevel)
	r := &rig{t: t, backend: b, log: hook, signIn: &signIn{
		token: creds.Token{Access: tokens.Access, AccountID: fakebackend.AccountID},
		state: creds.State{Status: creds.StatusSignedIn, Usable: true, Plan: "plus", ExpiresAt: time.Now().Add(time.Hour)},
	}}
	cfg := Config{
		SignIn: r.signIn, HTTP: up.Client(), BackendURL: up.URL + "/backend-api", APIURL: up.URL + "/v1", Identity: codex.NewIdentity("test"),
		IdleTimeout: time.Minute, KeepAlive: time.Minute, Model: "gpt-5.5", Version: "test", Log: log,
	}
	for _, f := range change {
		f(&cfg)
	}
	r.server = NewServer(cfg)
	front := httptest.NewServer(r.server)
	t.Cleanup(front.Close)
	r.url = front.URL
	return r
}

// do sends a request and returns the whole answer. header is names and values in turn. err is of the answer's body.
func (r *rig) do(method, path, body string, header ...string) (status int, h http.Header, answer string, err error) {
	r.t.Helper()
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, r.url+path, in)
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
			continue
		}
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, string(raw), err
}

func (r *rig) post(path, body string, header ...string) (int, string) {
	r.t.Helper()
	status, _, answer, _ := r.do(http.MethodPost, path, body, header...)
	return status, answer
}

// upstream makes a proxy whose backend answers each request with these bytes.
func upstream(events string) func(*Config) {
	return func(c *Config) {
		c.HTTP = doer(func(*http.Request) (*http.Response, error) { return answer(200, events), nil })
	}
}

// posts answers each POST with a body, and has nothing else.
func posts(body io.ReadCloser) doer {
	return func(r *http.Request) (*http.Response, error) {
		if r.Method != http.MethodPost {
			return answer(404, ""), nil
		}
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: body}, nil
	}
}

type doer func(*http.Request) (*http.Response, error)

func (d doer) Do(r *http.Request) (*http.Response, error) { return d(r) }

func answer(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
}

// event is one server-sent event.
func event(name, data string) string {
	return "event: " + name + "\ndata: {\"type\":\"" + name + "\"," + strings.TrimPrefix(data, "{") + "\n\n"
}

// dialects are the requests that ask the same in each dialect.
var dialects = map[string]struct{ path, body string }{
	"chat":        {"/v1/chat/completions", `{"messages":[{"role":"user","content":"SAY"}]STREAM}`},
	"completions": {"/v1/completions", `{"prompt":"SAY"STREAM}`},
	"responses":   {"/v1/responses", `{"input":"SAY"STREAM}`},
	"messages":    {"/v1/messages", `{"max_tokens":100,"messages":[{"role":"user","content":"SAY"}]STREAM}`},
	"ollama":      {"/api/chat", `{"messages":[{"role":"user","content":"SAY"}]STREAM}`},
	"generate":    {"/api/generate", `{"prompt":"SAY"STREAM}`},
	"gemini":      {"/v1beta/models/MODEL:generateContent", `{"contents":[{"role":"user","parts":[{"text":"SAY"}]}]STREAM}`},
	"array":       {"/v1beta/models/MODEL:generateContent", `{"contents":[{"role":"user","parts":[{"text":"SAY"}]}]STREAM}`},
}

// question is the request that asks in a dialect: with the stream and the model where they are said there.
func question(dialect, say string, stream bool, more ...string) (path, body string) {
	d := dialects[dialect]
	path = d.path
	on := fmt.Sprintf(`,"stream":%v`, stream)
	if strings.Contains(path, "MODEL") {
		on = ""
		if stream {
			path = strings.Replace(path, ":generateContent", map[string]string{"gemini": ":streamGenerateContent?alt=sse", "array": ":streamGenerateContent"}[dialect], 1)
		}
		more = slices.DeleteFunc(slices.Clone(more), func(m string) bool {
			name := get("{"+m+"}", "model").Str
			if name != "" {
				path = strings.Replace(path, "MODEL", name, 1)
			}
			return name != ""
		})
		path = strings.Replace(path, "MODEL", "gpt-5.5", 1)
	}
	for _, m := range more {
		on += "," + m
	}
	return path, strings.NewReplacer("SAY", say, "STREAM", on).Replace(d.body)
}

// ask sends what is said in a dialect.
func (r *rig) ask(dialect, say string, stream bool, more ...string) (int, string, error) {
	r.t.Helper()
	path, body := question(dialect, say, stream, more...)
	status, _, answer, err := r.do(http.MethodPost, path, body)
	return status, answer, err
}

// sseEvents are the data of an event stream as a client reads it.
func sseEvents(stream string) (types []string, data []string) {
	name, lines := "", []string(nil)
	for line := range strings.SplitSeq(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(stream), "\n") {
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "":
			if lines != nil {
				types, data = append(types, name), append(data, strings.Join(lines, "\n"))
			}
			name, lines = "", nil
		case field == "event":
			name = value
		case field == "data":
			lines = append(lines, value)
		}
	}
	return types, data
}

func get(doc, path string) gjson.Result { return gjson.Get(doc, path) }

// eventually waits for something that happens on another goroutine.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if f() {
			return
		}
	}
	t.Fatalf("%s: never", what)
}
