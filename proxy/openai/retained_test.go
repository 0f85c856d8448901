package openai

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
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

func newReplaying(stream string) *Handler {
	return &Handler{Reasoning: codex.NewReasoningCache(), Store: NewResponseStore(), Client: &codex.Client{
		Upstreams: map[creds.Kind]codex.Upstream{creds.KindCodex: codex.Backend("http://127.0.0.1", codex.NewIdentity("test"))},
		HTTP:      replay(stream), Tokens: always{Access: "x"}, Models: codex.NewCatalogue("gpt-5.5", nil), IdleTimeout: time.Hour, KeepAlive: time.Hour,
	}}
}

// TestWhatIsKeptIsNoPartOfTheRequest: what outlives a request must not hold all of it in memory. Here its body is
// overwritten afterwards, and what was kept is still the same.
func TestWhatIsKeptIsNoPartOfTheRequest(t *testing.T) {
	answer := `{"type":"response.completed","response":{"id":"resp_1","status":"completed","output":[{"type":"message","id":"msg_1","role":"assistant","content":[{"type":"output_text","text":"Yes."}]}]}}`
	h := newReplaying("event: response.completed\ndata: " + answer + "\n\n")
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

// TestWhatIsMostOfARequestIsKeptAsItCame: copying a conversation would take as much memory again.
func TestWhatIsMostOfARequestIsKeptAsItCame(t *testing.T) {
	h := newReplaying(`event: response.completed` + "\n" + `data: {"type":"response.completed","response":{"id":"resp_1","status":"completed","output":[]}}` + "\n\n")
	body := []byte(`{"model":"gpt-5.5","input":[{"role":"user","content":"` + strings.Repeat("a long question ", 20) + `"}]}`)
	h.Responses(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", nil), body)
	items, err := storeScope{ResponseStore: h.Store}.before("resp_1")
	if err != nil || len(items) != 1 {
		t.Fatal(items, err)
	}
	if at := bytes.Index(body, items[0]); at < 0 || !same(items[0], body[at:at+len(items[0])]) {
		t.Errorf("%s is a copy", items[0])
	}
}

// TestWhatIsKeptIsBoundedByItsBytes, those of items among them, which the object leaves out.
func TestWhatIsKeptIsBoundedByItsBytes(t *testing.T) {
	store := storeScope{ResponseStore: NewResponseStore()}
	var items codex.Items
	items.Add(codex.Event{Type: codex.TypeItemDone, Data: []byte(`{"item":{"id":"msg_1","text":"` + strings.Repeat("x", 30<<20) + `"}}`)})
	for _, id := range []string{"resp_1", "resp_2", "resp_3"} {
		store.keep(&turn{}, &items, []byte(`{"id":"`+id+`"}`))
	}
	if n := store.Len(); n != 2 {
		t.Errorf("%d answers of 30 MB are kept, not 2 in 64 MB", n)
	}
}

// TestALongAnswerIsCopiedOnce: reading an answer of 1 MB takes buffers of 4 MB (2 kB, doubled until it fits), and its item is
// copied out of them. The event that ends it, what is kept of it, and what is told of it later take no copies.
func TestALongAnswerIsCopiedOnce(t *testing.T) {
	const size = 1 << 20
	item := `{"type":"message","id":"msg_1","role":"assistant","content":[{"type":"output_text","text":"` + strings.Repeat("x", size) + `"}]}`
	stream := "event: response.output_item.done\ndata: {\"type\":\"response.output_item.done\",\"item\":" + item + "}\n\n" +
		`event: response.completed` + "\n" + `data: {"type":"response.completed","response":{"id":"resp_1","status":"completed","output":[]}}` + "\n\n"
	h := newReplaying(stream)
	for _, ask := range []func(http.ResponseWriter){
		func(w http.ResponseWriter) {
			h.Responses(w, httptest.NewRequest(http.MethodPost, "/", nil), []byte(`{"model":"gpt-5.5","input":"hello","stream":true}`))
		},
		func(w http.ResponseWriter) {
			h.Responses(w, httptest.NewRequest(http.MethodPost, "/", nil), []byte(`{"model":"gpt-5.5","input":"hello"}`))
		},
		func(w http.ResponseWriter) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.SetPathValue("id", "resp_1")
			h.StoredResponse(w, r)
		},
	} {
		var before, after runtime.MemStats
		heard := &hearing{header: http.Header{}, item: []byte(`"output":[` + item + `]`)}
		runtime.ReadMemStats(&before)
		ask(heard)
		runtime.ReadMemStats(&after)
		if taken := float64(after.TotalAlloc-before.TotalAlloc-heard.taken) / size; taken > 6 {
			t.Errorf("%.1f times the answer was allocated", taken)
		}
		if !heard.whole() {
			t.Errorf("the answer is not whole: %d bytes", len(heard.body))
		}
	}
}

// hearing is a caller that counts what its own copy takes.
type hearing struct {
	header     http.Header
	item, body []byte
	taken      uint64
}

func (h *hearing) Header() http.Header { return h.header }
func (h *hearing) WriteHeader(int)     {}
func (h *hearing) Flush()              {}
func (h *hearing) whole() bool         { return bytes.Contains(h.body, h.item) }

func (h *hearing) Write(p []byte) (int, error) {
	before := cap(h.body)
	if h.body = append(h.body, p...); cap(h.body) > before {
		h.taken += uint64(cap(h.body)) //nolint:gosec // not negative
	}
	return len(p), nil
}
