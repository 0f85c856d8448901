package proxy

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"codex-proxy/proxy/codex"
)

func TestWhoMayUseTheProxy(t *testing.T) {
	var allowed atomic.Pointer[[]string]
	allowed.Store(&[]string{"https://chat.example.com"})
	var asked []string
	g := &Guard{Hosts: []string{"host.docker.internal"}, Origins: func() []string { return *allowed.Load() }, Asked: func(o string) { asked = append(asked, o) }}
	check := func(host, origin, site string) (int, *httptest.ResponseRecorder) {
		r := httptest.NewRequest(http.MethodPost, "http://"+host+"/v1/chat/completions", strings.NewReader("{}"))
		if origin != "" {
			r.Header.Set("Origin", origin)
		}
		if site != "" {
			r.Header.Set("Sec-Fetch-Site", site)
		}
		w := httptest.NewRecorder()
		if e := g.Check(w, r); e != nil {
			return e.Status, w
		}
		return 200, w
	}
	for _, c := range []struct {
		host, origin, site string
		want               int
	}{
		{"localhost:9879", "", "", 200},
		{"LOCALHOST", "", "", 200},
		{"127.0.0.1:9879", "", "", 200},
		{"127.9.9.9", "", "", 200},
		{"[::1]:9879", "", "", 200},
		{"host.docker.internal:9879", "", "", 200},
		{"localhost.evil.example", "", "", 421},
		{"evil.example", "", "", 421},
		{"192.168.1.5", "", "", 421},
		{"localhost:9879", "http://localhost:9879", "same-origin", 200},
		{"127.0.0.1:9879", "http://localhost:9879", "cross-site", 403},
		{"localhost:9879", "http://localhost:3000", "same-site", 403},
		{"localhost:9879", "http://[::1]:3000", "", 403},
		{"localhost:9879", "https://chat.example.com", "cross-site", 200},
		{"localhost:9879", "HTTPS://CHAT.example.com", "", 200},
		{"localhost:9879", "https://evil.example", "cross-site", 403},
		{"localhost:9879", "http://localhost.evil.example", "", 403},
		{"localhost:9879", "http://user@localhost:9879", "", 403},
		{"localhost:9879", "null", "", 403},
		{"localhost:9879", "file://", "", 403},
		{"localhost:9879", "app://obsidian.md", "cross-site", 200},
		{"localhost:9879", "app://other", "", 403},
		{"localhost:9879", "vscode-webview://1a2b", "", 200},
		{"localhost:9879", "vscode-webview", "", 403},
		{"localhost:9879", "", "cross-site", 403},
		{"localhost:9879", "", "same-origin", 200},
		{"localhost:9879", "", "none", 200},
	} {
		got, w := check(c.host, c.origin, c.site)
		if got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
		if got == 200 && w.Header().Get("Access-Control-Allow-Origin") != c.origin {
			t.Errorf("%+v: the page can't read the answer", c)
		}
	}
	want := "http://localhost:9879 http://localhost:3000 http://[::1]:3000 http://user@localhost:9879"
	if got := strings.Join(asked, " "); got != want {
		t.Errorf("asked about %s, want %s", got, want)
	}
	allowed.Store(&[]string{"http://localhost:3000"})
	if got, _ := check("localhost:9879", "http://localhost:3000", ""); got != 200 {
		t.Errorf("after it was allowed: %d", got)
	}
	if got, _ := check("localhost:9879", "https://chat.example.com", ""); got != 403 {
		t.Errorf("after it was revoked: %d", got)
	}
}

func TestAPageOfAnotherPortIsToldWhy(t *testing.T) {
	asked := make(chan string, 1)
	r := newRig(t, func(c *Config) {
		c.Guard.Asked = func(o string) { asked <- o }
		c.Advice = func(r codex.Remedy) string {
			if r == codex.RemedyAllowOrigin {
				return "Allow it in the menu"
			}
			return ""
		}
	})
	status, h, text, _ := r.do(http.MethodPost, "/v1/chat/completions", "{}", "Origin", "http://localhost:3000")
	if status != 403 || h.Get("Access-Control-Allow-Origin") != "http://localhost:3000" || get(text, "error.code").Str != "origin_not_allowed" ||
		!strings.Contains(text, "A page at http://localhost:3000 wants to use your plan") || !strings.Contains(text, "Allow it in the menu") {
		t.Errorf("%d %v %s", status, h, text)
	}
	if o := <-asked; o != "http://localhost:3000" {
		t.Error(o)
	}
	if status, _, text, _ := r.do(http.MethodPost, "/v1/messages", "{}", "Origin", "http://localhost:3000"); status != 403 || get(text, "error.type").Str != "permission_error" {
		t.Errorf("in Anthropic's words: %d %s", status, text)
	}
}

func TestTheAddressOnWhichACallerCameMayBeNamed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.3:0")
	if err != nil {
		t.Skip(err)
	}
	g := &Guard{}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if e := g.Check(w, r); e != nil {
			w.WriteHeader(e.Status)
		}
	})}
	go server.Serve(l)
	defer server.Close()
	resp, err := http.Get("http://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Error(resp.Status)
	}
}

func TestKeysAreAskedForWhereTheyAreRequired(t *testing.T) {
	required := true
	g := &Guard{Keys: named{"one": "VS Code", "two": ""}, KeyRequired: func() bool { return required }}
	for _, c := range []struct {
		header, value, name string
		ok, okOpen          bool
	}{
		{"Authorization", "Bearer one", "VS Code", true, true},
		{"Authorization", "bearer   one", "VS Code", true, true},
		{"Authorization", "one", "", false, true},
		{"Authorization", "Basic one", "", false, true},
		{"X-Api-Key", "one", "VS Code", true, true},
		{"Api-Key", "two", "", true, true},
		{"X-Api-Key", "three", "", false, true},
		{"X-Api-Key", "", "", false, true},
		{"Cookie", "one", "", false, true},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set(c.header, c.value)
		for _, required = range []bool{true, false} {
			name, e := g.Authorize(r)
			if want := (required && c.ok) || (!required && c.okOpen); (e == nil) != want || name != c.name {
				t.Errorf("%+v, required %v: %q %v", c, required, name, e)
			}
		}
	}
	if _, e := (&Guard{KeyMissing: "Set one"}).Authorize(httptest.NewRequest(http.MethodGet, "/", nil)); e == nil || e.Status != 503 {
		t.Errorf("while there is no key: %v", e)
	}
	if _, ok := (KeyList{"a", "b"}).Lookup("b"); !ok {
		t.Error("the second key of a list")
	}
	if _, ok := (KeyList{}).Lookup(""); ok {
		t.Error("nothing is a key")
	}
}

type named map[string]string

func (n named) Lookup(presented string) (string, bool) { name, ok := n[presented]; return name, ok }

func TestRefusalsAreLoggedWithTheirCode(t *testing.T) {
	r := newRig(t, func(c *Config) {
		c.Guard.Keys, c.Guard.KeyRequired = KeyList{"key"}, func() bool { return true }
	})
	for code, header := range map[string][]string{
		"invalid_api_key": {"X-Api-Key", "wrong"}, "origin_not_allowed": {"Origin", "https://evil.example"}, "host_not_allowed": {"Host", "evil.example"},
	} {
		r.log.Reset()
		r.do(http.MethodPost, "/v1/responses", "{}", header...)
		last := r.log.LastEntry()
		if last == nil || last.Data["code"] != code {
			t.Errorf("%s: %+v", code, last)
		}
		for _, e := range r.log.AllEntries() {
			if line, _ := e.String(); strings.Contains(line, "wrong") || strings.Contains(line, "evil.example") {
				t.Errorf("the log has what the caller sent: %s", line)
			}
		}
	}
}

func TestWhatAWebPagesOriginIs(t *testing.T) {
	for origin, want := range map[string]bool{
		"http://localhost:3000": true, "https://chat.example.com": true, "wss://chat.example.com": true, "WS://x": true, "file://": true, "null": true, "": true,
		"app://obsidian.md": false, "vscode-webview://x": false, "capacitor://localhost": false, "http://tauri.localhost": false, "tauri://localhost": false,
	} {
		if WebOrigin(origin) != want {
			t.Errorf("%q: %v", origin, !want)
		}
	}
}

func TestPreflightsAreAnsweredWithoutAKey(t *testing.T) {
	r := newRig(t, func(c *Config) {
		c.Guard.Keys, c.Guard.KeyRequired = KeyList{"key"}, func() bool { return true }
	})
	status, h, _, _ := r.do(http.MethodOptions, "/v1/chat/completions", "", "Origin", "app://obsidian.md", "Access-Control-Request-Method", "POST",
		"Access-Control-Request-Headers", "authorization,x-stainless-os", "Access-Control-Request-Private-Network", "true")
	if status != 204 || h.Get("Access-Control-Allow-Headers") != "authorization,x-stainless-os" || h.Get("Access-Control-Allow-Private-Network") != "true" || h.Get("Access-Control-Allow-Origin") != "app://obsidian.md" {
		t.Errorf("%d %v", status, h)
	}
	if status, _, _, _ := r.do(http.MethodOptions, "/v1/chat/completions", "", "Origin", "https://evil.example", "Access-Control-Request-Method", "POST"); status != 403 {
		t.Errorf("of a page that may not: %d", status)
	}
}
