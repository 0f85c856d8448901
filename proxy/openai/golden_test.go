package openai

import (
	"bytes"
	"context"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"codex-proxy/creds"
	"codex-proxy/internal/fakebackend"
	"codex-proxy/proxy/codex"
)

var update = flag.Bool("update", false, "write the golden files anew")

type fixedToken creds.Token

func (f fixedToken) Token(context.Context) (creds.Token, error) { return creds.Token(f), nil }
func (f fixedToken) Rejected(context.Context, creds.Token) (creds.Token, error) {
	return creds.Token{}, &creds.UnavailableError{Problem: "refused"}
}

func (fixedToken) Accepted(creds.Token) {}

func newHandler(t testing.TB) (*Handler, *fakebackend.Backend) {
	b := fakebackend.New()
	b.Models = codex.BundledModels()
	server := httptest.NewServer(b)
	t.Cleanup(server.Close)
	tokens := b.SignIn(time.Hour)
	return &Handler{Reasoning: codex.NewReasoningCache(), Store: NewResponseStore(), Client: &codex.Client{
		Upstreams: map[creds.Kind]codex.Upstream{creds.KindCodex: codex.Backend(server.URL+"/backend-api", codex.NewIdentity("test"))}, HTTP: server.Client(),
		Tokens: fixedToken{Access: tokens.Access, AccountID: fakebackend.AccountID},
		Models: codex.NewCatalogue("gpt-5.5", nil), IdleTimeout: time.Minute, KeepAlive: time.Minute,
	}}, b
}

var changing = regexp.MustCompile(`(chatcmpl-|resp_|rs_|msg_|fc_|ctc_|call_|gAAAA)[0-9a-f]{24}|"(created|created_at|prompt_tokens|input_tokens|total_tokens|cached_tokens)":\d+`)

// steady takes out of an answer what differs from run to run.
func steady(s string) string {
	return changing.ReplaceAllStringFunc(s, func(m string) string {
		if i := strings.IndexByte(m, ':'); i > 0 {
			return m[:i] + ":0"
		}
		return m[:strings.LastIndexAny(m, "-_A")+1] + "X"
	})
}

// TestChatGolden holds each request of testdata/chat/*.json, and beside it what went up and what came down.
func TestChatGolden(t *testing.T) {
	requests, _ := filepath.Glob("testdata/chat/*.json")
	if len(requests) < 10 {
		t.Fatal("the requests are gone")
	}
	for _, path := range requests {
		t.Run(filepath.Base(path), func(t *testing.T) {
			h, b := newHandler(t)
			body, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			w := httptest.NewRecorder()
			h.Chat(w, httptest.NewRequest(http.MethodPost, "/v1/chat/completions", nil), body)
			got := "--- up\n"
			for _, r := range b.Requests("/codex/responses") {
				got += string(r.Body) + "\n"
			}
			got += "--- down: " + http.StatusText(w.Code) + ", dropped: " + w.Header().Get("X-Codex-Proxy-Dropped") + "\n" + w.Body.String()
			compare(t, strings.TrimSuffix(path, ".json")+".golden", steady(got))
		})
	}
}

func compare(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, []byte(got)) {
		t.Errorf("%s differs; got\n%s", path, got)
	}
}

func FuzzChat(f *testing.F) {
	requests, _ := filepath.Glob("testdata/chat/*.json")
	for _, path := range requests {
		raw, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	h := &Handler{Reasoning: codex.NewReasoningCache(), Store: NewResponseStore(), Client: &codex.Client{Models: codex.NewCatalogue("", nil)}}
	f.Fuzz(func(t *testing.T, raw []byte) {
		h.parseChat(raw) //nolint:errcheck // it must not crash
	})
}
