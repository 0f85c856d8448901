package proxy

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"codex-proxy/creds"
	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/reply"
)

// replay is a backend that answers each request with the same events.
type replay string

func (r replay) Do(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodPost {
		return &http.Response{StatusCode: 404, Header: http.Header{}, Body: http.NoBody}, nil
	}
	io.Copy(io.Discard, req.Body) //nolint:errcheck // bytes
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(string(r)))}, nil
}

type always creds.Token

func (a always) Token(context.Context) (creds.Token, error) { return creds.Token(a), nil }
func (always) Accepted(creds.Token)                         {}
func (always) State() creds.State                           { return creds.State{} }
func (a always) Rejected(context.Context, creds.Token) (creds.Token, error) {
	return creds.Token(a), nil
}

// drain is a caller who reads everything and keeps nothing.
type drain struct{ header http.Header }

func (d drain) Header() http.Header         { return d.header }
func (d drain) Write(b []byte) (int, error) { return len(b), nil }
func (d drain) WriteHeader(int)             {}
func (d drain) Flush()                      {}

// answerOf is an answer of n events: text, or the arguments of a tool call.
func answerOf(n int, call bool) replay {
	var b strings.Builder
	b.WriteString("event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\"}}\n\n")
	if call {
		b.WriteString("event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\"output_index\":0,\"item\":{\"type\":\"function_call\",\"call_id\":\"call_1\",\"name\":\"f\"}}\n\n")
	}
	for i := range n {
		if call {
			fmt.Fprintf(&b, "event: response.function_call_arguments.delta\ndata: {\"type\":\"response.function_call_arguments.delta\",\"sequence_number\":%d,\"item_id\":\"fc_0123456789\",\"output_index\":0,\"delta\":\" 1\"}\n\n", i)
		} else {
			fmt.Fprintf(&b, "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":%d,\"item_id\":\"msg_0123456789\",\"output_index\":0,\"content_index\":0,\"delta\":\"word \"}\n\n", i)
		}
	}
	b.WriteString("event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"resp_1\",\"status\":\"completed\",\"output\":[],\"usage\":{\"input_tokens\":7,\"output_tokens\":5,\"total_tokens\":12}}}\n\n")
	return replay(b.String())
}

func benchServer(backend replay) *Server {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return NewServer(Config{SignIn: always{Access: "x"}, HTTP: backend, BackendURL: "http://127.0.0.1", Identity: codex.NewIdentity("test"),
		IdleTimeout: time.Hour, KeepAlive: time.Hour, Model: "gpt-5.5", Log: log})
}

// benchDialects are requests that say something after a history, which is a list of messages with one text each.
var benchDialects = []struct {
	name, path, user, assistant string
	body                        func(messages string, stream bool) string
}{
	{"responses", "/v1/responses", `{"type":"message","role":"user","content":[{"type":"input_text","text":"%s"}]}`, `{"type":"message","role":"assistant","content":[{"type":"output_text","text":"%s"}]}`,
		func(m string, stream bool) string {
			return fmt.Sprintf(`{"model":"gpt-5.5","input":[%s],"stream":%t}`, m, stream)
		}},
	{"chat", "/v1/chat/completions", `{"role":"user","content":"%s"}`, `{"role":"assistant","content":"%s"}`,
		func(m string, stream bool) string {
			return fmt.Sprintf(`{"model":"gpt-5.5","messages":[%s],"stream":%t}`, m, stream)
		}},
	{"messages", "/v1/messages", `{"role":"user","content":[{"type":"text","text":"%s"}]}`, `{"role":"assistant","content":[{"type":"text","text":"%s"}]}`,
		func(m string, stream bool) string {
			return fmt.Sprintf(`{"model":"gpt-5.5","max_tokens":9999,"messages":[%s],"stream":%t}`, m, stream)
		}},
	{"ollama", "/api/chat", `{"role":"user","content":"%s"}`, `{"role":"assistant","content":"%s"}`,
		func(m string, stream bool) string {
			return fmt.Sprintf(`{"model":"gpt-5.5","messages":[%s],"stream":%t}`, m, stream)
		}},
	{"gemini", "/v1beta/models/gpt-5.5:streamGenerateContent?alt=sse", `{"role":"user","parts":[{"text":"%s"}]}`, `{"role":"model","parts":[{"text":"%s"}]}`,
		func(m string, _ bool) string { return fmt.Sprintf(`{"contents":[%s]}`, m) }},
}

func ask(t testing.TB, s *Server, path, body string) {
	r := httptest.NewRequest(http.MethodPost, "http://localhost"+path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	x := &statusDrain{drain: drain{http.Header{}}}
	s.ServeHTTP(x, r)
	if x.status != 0 && x.status != 200 {
		t.Fatalf("%s: %d", path, x.status)
	}
}

type statusDrain struct {
	drain
	status int
}

func (d *statusDrain) WriteHeader(status int) { d.status = status }

// BenchmarkAnswer is what an event costs on its way, in each dialect.
func BenchmarkAnswer(b *testing.B) {
	const events = 2000
	for _, d := range benchDialects {
		for _, stream := range []bool{true, false} {
			if d.name == "gemini" && !stream {
				continue
			}
			b.Run(fmt.Sprintf("%s/stream=%t", d.name, stream), func(b *testing.B) {
				s := benchServer(answerOf(events, false))
				body := d.body(fmt.Sprintf(d.user, "x"), stream)
				b.ReportAllocs()
				for b.Loop() {
					ask(b, s, d.path, body)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/events, "ns/event")
			})
		}
	}
}

// sourceCode is this program's.
var sourceCode = sync.OnceValue(func() string {
	var all strings.Builder
	filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error { //nolint:errcheck // what can't be read is left out
		if err == nil && d.Type().IsRegular() && strings.HasSuffix(path, ".go") {
			raw, _ := os.ReadFile(path)
			all.Write(raw)
		}
		return nil
	})
	return all.String()
})

// history is a conversation about source code of about so many bytes.
func history(user, assistant string, size int) string {
	const turn = 3500
	code := sourceCode()
	var items []string
	for at := 0; size > 0; at += turn {
		if at+turn > len(code) {
			at = 0
		}
		text := reply.Encode(strings.ToValidUTF8(code[at:at+turn], ""))
		items = append(items, fmt.Sprintf([]string{user, assistant}[len(items)%2], text[1:len(text)-1]))
		size -= len(text)
	}
	return strings.Join(append(items, fmt.Sprintf(user, "x")), ",")
}

// BenchmarkHistory is what a long conversation costs on its way up; "valid" is the reference, json.Valid of the same, and
// "pack" the part that is for packing.
func BenchmarkHistory(b *testing.B) {
	for _, size := range []int{10 << 10, 1 << 20, 10 << 20, 60 << 20} {
		for _, d := range benchDialects {
			body := d.body(history(d.user, d.assistant, size), true)
			if d.name == "chat" {
				b.Run(fmt.Sprintf("valid/%dkB", size>>10), func(b *testing.B) {
					b.SetBytes(int64(len(body)))
					for b.Loop() {
						json.Valid([]byte(body))
					}
				})
				b.Run(fmt.Sprintf("pack/%dkB", size>>10), func(b *testing.B) {
					pack := zstdPacker()
					b.SetBytes(int64(len(body)))
					for b.Loop() {
						pack([][]byte{[]byte(body)})
					}
				})
			}
			b.Run(fmt.Sprintf("%s/%dkB", d.name, size>>10), func(b *testing.B) {
				s := benchServer(answerOf(1, false))
				b.SetBytes(int64(len(body)))
				b.ReportAllocs()
				for b.Loop() {
					ask(b, s, d.path, body)
				}
			})
		}
	}
}

func TestAnEventAllocatesNothing(t *testing.T) {
	for _, call := range []bool{false, true} {
		for _, d := range benchDialects {
			body := d.body(fmt.Sprintf(d.user, "x"), true)
			cost := func(events int) float64 {
				s := benchServer(answerOf(events, call))
				return testing.AllocsPerRun(5, func() { ask(t, s, d.path, body) })
			}
			if few, many := cost(1000), cost(5000); (many-few)/4000 > 0.01 {
				t.Errorf("%s, calls %t: %.3f allocations an event", d.name, call, (many-few)/4000)
			}
		}
	}
}

// TestALongConversationTakesLittleMemory: all that is allocated for one, of which not all is alive at once, is bounded.
func TestALongConversationTakesLittleMemory(t *testing.T) {
	for _, d := range benchDialects {
		body := d.body(history(d.user, d.assistant, 10<<20), true)
		s := benchServer(answerOf(1, false))
		ask(t, s, d.path, body)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		ask(t, s, d.path, body)
		runtime.ReadMemStats(&after)
		t.Logf("%s: %.1f times its size", d.name, float64(after.TotalAlloc-before.TotalAlloc)/float64(len(body)))
		if times := float64(after.TotalAlloc-before.TotalAlloc) / float64(len(body)); times > 5.5 { // 3.6 without the race detector
			t.Errorf("%s: %.1f times its size is allocated", d.name, times)
		}
	}
}
