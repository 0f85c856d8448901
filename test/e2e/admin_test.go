//go:build e2e

package e2e

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"codex-proxy/internal/fakebackend"
)

func (p *program) admin(method, path, body, key string) (int, string) {
	p.t.Helper()
	req, err := http.NewRequest(method, p.url+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("X-Api-Key", key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(raw)
}

func TestTheAdminAPIOfTheDesktop(t *testing.T) {
	p, b := startSignedIn(t)
	if status, body := p.admin("GET", "/admin/credentials/status", "", "x"); status != 404 {
		t.Errorf("without a key it is there: %d %s", status, body)
	}
	p.stop()
	p = start(t, t.TempDir(), append(at(p.backend), "ADMIN_API_KEY=admin"))
	if status, body := p.admin("GET", "/admin/credentials/status", "", "wrong"); status != 401 {
		t.Errorf("a wrong key: %d %s", status, body)
	}
	for key, want := range map[string]int{"wrong": 401, "admin": 404} {
		for _, path := range []string{"/admin/credentials", "/admin", "/admin/", "/v1/admin/other"} {
			if status, body := p.admin("PUT", path, "{}", key); status != want || (want == 404 && !strings.Contains(body, "/admin/credentials/status")) {
				t.Errorf("%s, which the admin API does not have, with the key %s: %d %s", path, key, status, body)
			}
		}
	}
	tokens := b.SignIn(30 * time.Minute)
	status, body := p.admin("POST", "/admin/credentials", `{"accessToken":"`+tokens.Access+`","refreshToken":"`+tokens.Refresh+`","expiresAt":1,"userID":"acct-demo"}`, "admin")
	if status != 400 || !strings.Contains(body, "milliseconds") {
		t.Errorf("seconds for milliseconds: %d %s", status, body)
	}
	status, body = p.admin("POST", "/admin/credentials", `{"accessToken":"`+tokens.Access+`","refreshToken":"`+tokens.Refresh+`","expiresAt":1795463816000}`, "admin")
	if status != 200 || strings.Contains(body, tokens.Access) || gjson.Get(body, "userID").Str != fakebackend.AccountID {
		t.Errorf("%d %s", status, body)
	}
	eventually(t, "a token that ends soon is refreshed", func() bool {
		_, body := p.admin("GET", "/admin/credentials/status", "", "admin")
		return !gjson.Get(body, "needsRefreshSoon").Bool() && gjson.Get(body, "minutesUntilExpiry").Int() > 1000
	})
	if status, _, body := p.post("/v1/chat/completions", chat("hello")); status != 200 {
		t.Errorf("%d %s", status, body)
	}
}

func TestASignInIsPushedToAWorker(t *testing.T) {
	b, url := startBackend(t)
	worker := start(t, t.TempDir(), append(at(url), "ADMIN_API_KEY=admin")) // the same admin API
	home, _ := signedIn(t, b)
	here := start(t, home, at(url))
	here.imported()
	env := append(at(url), "ADMIN_API_KEY=admin")
	stored := filepath.Join(home, ".config", "codex-proxy", "auth.json")
	before, _ := os.ReadFile(stored)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // some answer all that is asked
		if r.URL.Path == "/half/admin/credentials/status" {
			io.WriteString(w, `{"type":"oauth","hasCredentials":false}`)
			return
		}
		io.WriteString(w, "<html>This domain is parked</html>")
	}))
	t.Cleanup(elsewhere.Close)
	for name, test := range map[string]struct {
		args []string
		env  []string
		want string
	}{
		"no Worker":   {[]string{"worker", "push", elsewhere.URL, "--yes"}, env, "no Worker of Codex Proxy"},
		"no answer":   {[]string{"worker", "push", elsewhere.URL + "/half", "--yes"}, env, "not known whether the other side has it"},
		"no key":      {[]string{"worker", "push", worker.url}, at(url), "admin key is missing"},
		"wrong key":   {[]string{"worker", "push", worker.url, "--admin-key", "x"}, at(url), "answered 401"},
		"unencrypted": {[]string{"worker", "push", "http://worker.example"}, env, "Use https"},
		"nobody":      {[]string{"worker", "push", "http://127.0.0.1:1"}, env, "not reached"},
		"not asked":   {[]string{"worker", "push", worker.url}, env, "nothing was changed"},
	} {
		out, code := command(t, home, test.env, test.args...)
		if after, _ := os.ReadFile(stored); code != 1 || !strings.Contains(out, test.want) || string(after) != string(before) {
			t.Errorf("%s: %d %s", name, code, out)
		}
	}
	out, code := command(t, home, env, "worker", "push", worker.url, "--yes")
	golden(t, "commands/worker-push.txt", recorded(home, out))
	if code != 0 {
		t.Fatal(out)
	}
	worker.waitForState("signed_in")
	here.waitForState("none")
	if status, _, body := worker.post("/v1/chat/completions", chat("hello")); status != 200 {
		t.Errorf("%d %s", status, body)
	}
	if b.Counts().Revoked != 0 || b.Counts().Reused != 0 {
		t.Errorf("the sign-in was ended or used twice: %+v", b.Counts())
	}
}

func TestTheAdminAPIChangesNothingInAStoreThatCantBeWritten(t *testing.T) {
	b, url := startBackend(t)
	tokens := b.SignIn(time.Hour)
	p := start(t, t.TempDir(), append(at(url), "ADMIN_API_KEY=admin", "ACCESS_TOKEN="+tokens.Access), "--creds-store", "env")
	status, body := p.admin("POST", "/admin/credentials", `{"accessToken":"`+tokens.Access+`","refreshToken":"`+tokens.Refresh+`","expiresAt":1795463816000}`, "admin")
	if status != 409 || !strings.Contains(body, "Nothing was changed") {
		t.Errorf("%d %s", status, body)
	}
}
