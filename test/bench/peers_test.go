//go:build linux

package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"codex-proxy/internal/fakebackend"
)

func TestRatiosAreToTheRowBesideRoundByRound(t *testing.T) {
	all := targets(fakebackend.Tokens{})
	ours, other := all[messages], peers(all)[0].targets[0]
	s := samples{direct: {2, 4, 1}, overChat: {10, 0, 5}, ours.name: {4, 4, 4}, other.name: {30, 30, 10}}
	if median, ratios := s.of(ours); median != 4 || !slices.Equal(ratios, []float64{1, 2, 4}) {
		t.Errorf("ours: %v %v", median, ratios)
	}
	if median, ratios := s.of(other); median != 30 || !slices.Equal(ratios, []float64{2, 3}) { // a round without a value has no ratio
		t.Errorf("the other: %v %v", median, ratios)
	}
	if chat := chatTarget(all); !chat.isReference() || !all[reference].isReference() || other.isReference() || ours.isReference() {
		t.Error("which rows are references is not told right")
	}
}

func TestTurnsAreOfTheSizeThatIsAskedFor(t *testing.T) {
	code := strings.Repeat("if a < b {\n\treturn \"é\"\n}\n", 500)
	for _, size := range []int{10 << 10, 100 << 10} {
		turns := turnsOf(code, size)
		for _, target := range targets(fakebackend.Tokens{}) {
			body := target.body("x", turns, true)
			if !json.Valid([]byte(body)) || len(body) < size || len(body) > size*6/5 {
				t.Errorf("%s, %d: %d bytes, valid %t", target.name, size, len(body), json.Valid([]byte(body)))
			}
		}
	}
}

func TestTheChatBackendStreamsWhatItIsTold(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(chatCompletions))
	defer server.Close()
	ask := func(said string) (int, string) {
		resp, err := http.Post(server.URL, "application/json", strings.NewReader(chatTarget(targets(fakebackend.Tokens{})).body(said, nil, true)))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(raw)
	}
	status, body := ask(fast(7, 20, "1"))
	if n := strings.Count(body, `"content":"`+strings.Repeat("w", 20)+`"`); status != 200 || n != 7 {
		t.Errorf("%d with %d pieces: %s", status, n, body)
	}
	events := strings.Split(strings.TrimSuffix(body, "\n\n"), "\n\n")
	for i, event := range events {
		data, ok := strings.CutPrefix(event, "data: ")
		if last := i == len(events)-1; !ok || last != (data == "[DONE]") || !last && !json.Valid([]byte(data)) {
			t.Errorf("event %d: %s", i, event)
		}
	}
	if status, _ := ask("hello"); status != http.StatusBadRequest {
		t.Errorf("without an order: %d", status)
	}
}

func TestAPeerIsToldToStayOnLoopback(t *testing.T) {
	home := t.TempDir()
	backend := announcement{URL: "http://127.0.0.1:1"}
	backend.Tokens.Access = "the access token"
	for _, p := range peers(targets(backend.Tokens)) {
		if err := p.configure(home, 4711, backend); err != nil {
			t.Fatal(err)
		}
	}
	for name, all := range map[string][]string{
		".claude-code-router/config.json": {`"HOST":"127.0.0.1"`, `"PORT":4711`, `"LOG":false`, `"api_base_url":"http://127.0.0.1:1/chat/completions"`},
		"serve.mjs":                       {`"host":"127.0.0.1"`, `"port":4711`, `"baseURL":"http://127.0.0.1:1/polite/backend-api/codex"`, `"tokenUrl":"http://127.0.0.1:1/oauth/token"`},
		"auth.json":                       {`"access_token":"the access token"`},
	} {
		raw, err := os.ReadFile(filepath.Join(home, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range all {
			if !strings.Contains(string(raw), want) {
				t.Errorf("%s is missing in %s", want, raw)
			}
		}
	}
}

func TestAPeerThatCannotBeInstalledIsNamed(t *testing.T) {
	bin := t.TempDir()
	script := "#!/bin/sh\necho 'npm error network unreachable'\necho more\nexit 1\n"
	if err := os.WriteFile(filepath.Join(bin, "npm"), []byte(script), 0o755); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
	p := peers(targets(fakebackend.Tokens{}))[0]
	err := p.fetch(t.TempDir())
	if want := "npm could not install @musistudio/claude-code-router@2.0.0: exit status 1: npm error network unreachable"; err == nil || err.Error() != want {
		t.Errorf("%v, not %s", err, want)
	}
	t.Setenv("PATH", t.TempDir())
	if err := p.fetch(t.TempDir()); err == nil || !strings.Contains(err.Error(), "executable file not found") {
		t.Errorf("without npm: %v", err)
	}
}

func TestTablesGoToTheMarkOfTheirCommand(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.md")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a\n<!-- make bench -->\nold\n<!-- end -->\nb\n<!-- make bench-peers -->\nold\n<!-- end -->\nc\n")
	if err := between(path, "make bench-peers", "new\n"); err != nil {
		t.Fatal(err)
	}
	raw, _ := os.ReadFile(path)
	if want := "a\n<!-- make bench -->\nold\n<!-- end -->\nb\n<!-- make bench-peers -->\n\nnew\n\n<!-- end -->\nc\n"; string(raw) != want {
		t.Errorf("%s", raw)
	}
	write("nothing")
	if err := between(path, "make bench-peers", "new"); err == nil {
		t.Error("a file without the mark was written")
	}
}
