package openai

import (
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

// replay is a backend that gives the same answer to each request.
type replay string

func (r replay) Do(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodPost {
		return &http.Response{StatusCode: http.StatusNotFound, Header: http.Header{}, Body: http.NoBody}, nil
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(string(r)))}, nil
}

type always creds.Token

func (a always) Token(context.Context) (creds.Token, error) { return creds.Token(a), nil }
func (always) Accepted(creds.Token)                         {}
func (a always) Rejected(context.Context, creds.Token) (creds.Token, error) {
	return creds.Token(a), nil
}

// TestWhatIsKeptIsNoPartOfTheRequest: what outlives a request must not hold all of it in memory. Here its body is
// overwritten afterwards, and what was kept is still the same.
func TestWhatIsKeptIsNoPartOfTheRequest(t *testing.T) {
	answer := `{"type":"response.completed","response":{"id":"resp_1","status":"completed","output":[{"type":"message","id":"msg_1","role":"assistant","content":[{"type":"output_text","text":"Yes."}]}]}}`
	h := &Handler{Reasoning: codex.NewReasoningCache(), Store: NewResponseStore(), Client: &codex.Client{
		Upstreams: map[creds.Kind]codex.Upstream{creds.KindCodex: codex.Backend("http://127.0.0.1", codex.NewIdentity("test"))},
		HTTP:      replay("event: response.completed\ndata: " + answer + "\n\n"), Tokens: always{Access: "x"}, Models: codex.NewCatalogue("gpt-5.5", nil), IdleTimeout: time.Hour, KeepAlive: time.Hour,
	}}
	body := []byte(`{"model":"gpt-5.5","an_odd_name":1,"input":[{"role":"user","content":"a question"}]}`)
	w := httptest.NewRecorder()
	out := h.Responses(w, httptest.NewRequest(http.MethodPost, "/", nil), body)
	if w.Code != http.StatusOK {
		t.Fatal(w.Code, w.Body)
	}
	for i := range body {
		body[i] = '#'
	}
	items, err := storeScope{ResponseStore: h.Store}.before("resp_1")
	if got := fmt.Sprintf("%s", items); err != nil || !strings.Contains(got, "a question") || strings.Contains(got, "#") {
		t.Errorf("the conversation: %s %v", got, err)
	}
	if got := out.Dropped.String() + " " + out.Model; got != "an_odd_name gpt-5.5" {
		t.Errorf("what is told of it: %s", got)
	}
}
