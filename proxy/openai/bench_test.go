package openai

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"codex-proxy/creds"
	"codex-proxy/proxy/codex"
)

// replay answers each request with the same events.
type replay []byte

func (r replay) Do(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodPost {
		return &http.Response{StatusCode: 404, Header: http.Header{}, Body: http.NoBody}, nil
	}
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(r))}, nil
}

type always creds.Token

func (a always) Token(context.Context) (creds.Token, error) { return creds.Token(a), nil }
func (always) Accepted(creds.Token)                         {}
func (a always) Rejected(context.Context, creds.Token) (creds.Token, error) {
	return creds.Token(a), nil
}

// drain is a caller who reads everything and keeps nothing.
type drain struct{ header http.Header }

func (d drain) Header() http.Header         { return d.header }
func (d drain) Write(b []byte) (int, error) { return len(b), nil }
func (d drain) WriteHeader(int)             {}
func (d drain) Flush()                      {}

const benchEvents = 2000

func benchStream() replay {
	var b strings.Builder
	b.WriteString("event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\"}}\n\n")
	for i := range benchEvents {
		fmt.Fprintf(&b, "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":%d,\"item_id\":\"msg_0123456789\",\"output_index\":0,\"content_index\":0,\"delta\":\"word \"}\n\n", i)
	}
	b.WriteString("event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"resp_1\",\"status\":\"completed\",\"output\":[],\"usage\":{\"input_tokens\":7,\"output_tokens\":5,\"total_tokens\":12}}}\n\n")
	return replay(b.String())
}

func benchHandler() *Handler {
	return &Handler{Reasoning: codex.NewReasoningCache(), Store: NewResponseStore(), Client: &codex.Client{
		Upstreams: map[creds.Kind]codex.Upstream{creds.KindCodex: codex.Backend("http://127.0.0.1", codex.NewIdentity("test"))},
		HTTP:      benchStream(), Tokens: always{Access: "x"}, Models: codex.NewCatalogue("gpt-5.5", nil), IdleTimeout: time.Hour, KeepAlive: time.Hour,
	}}
}

// BenchmarkAnswer is the hot ways of an answer: 2,000 deltas each.
func BenchmarkAnswer(b *testing.B) {
	h := benchHandler()
	for name, c := range map[string]struct {
		handle func(*Handler, http.ResponseWriter, *http.Request, []byte)
		body   string
	}{
		"chat/streamed":      {func(h *Handler, w http.ResponseWriter, r *http.Request, body []byte) { h.Chat(w, r, body) }, `{"stream":true,"messages":[{"role":"user","content":"x"}]}`},
		"chat/folded":        {func(h *Handler, w http.ResponseWriter, r *http.Request, body []byte) { h.Chat(w, r, body) }, `{"messages":[{"role":"user","content":"x"}]}`},
		"responses/streamed": {func(h *Handler, w http.ResponseWriter, r *http.Request, body []byte) { h.Responses(w, r, body) }, `{"stream":true,"input":"x"}`},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.handle(h, drain{http.Header{}}, httptest.NewRequest(http.MethodPost, "/", nil), []byte(c.body))
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchEvents, "ns/event")
		})
	}
}

func TestATextDeltaCostsOneAllocation(t *testing.T) {
	h := benchHandler()
	for name, body := range map[string]string{"streamed": `{"stream":true,"messages":[{"role":"user","content":"x"}]}`, "folded": `{"messages":[{"role":"user","content":"x"}]}`} {
		n := testing.AllocsPerRun(3, func() {
			h.Chat(drain{http.Header{}}, httptest.NewRequest(http.MethodPost, "/", nil), []byte(body))
		})
		if n > 1.3*benchEvents {
			t.Errorf("%s: %.2f allocations an event", name, n/benchEvents)
		}
	}
}
