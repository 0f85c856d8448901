package proxy

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
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
