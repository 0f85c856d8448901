//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"codex-proxy/internal/app"
	"codex-proxy/internal/fakebackend"
)

// command runs a command to its end and returns what it printed and its exit code.
func command(t testing.TB, home string, env []string, args ...string) (string, int) {
	t.Helper()
	p := launch(t, home, env, args...)
	return p.end()
}

// end waits for the program to end by itself.
func (p *program) end() (string, int) {
	p.t.Helper()
	within(p.t, 20*time.Second, "the command ends\n"+p.log.String(), p.exited)
	return p.log.String(), p.cmd.ProcessState.ExitCode()
}

var (
	address   = regexp.MustCompile(`http://127\.0\.0\.1:\d+`)
	query     = regexp.MustCompile(`\?\S+`)
	clock     = regexp.MustCompile(`(Mon|Tue|Wed|Thu|Fri|Sat|Sun) \d+ \w+, \d\d:\d\d|\d\d:\d\d`)
	deviceTag = regexp.MustCompile(`ABCD-[0-9A-F]{5}`)
	versions  = regexp.MustCompile(`Codex Proxy \S+, go\S+ \S+`)
	processes = regexp.MustCompile(`process \d+`)
)

// recorded is what a command printed, without what differs from run to run.
func recorded(home, text string) string {
	text = strings.ReplaceAll(text, home, "~")
	text = address.ReplaceAllString(query.ReplaceAllString(text, "?…"), "http://127.0.0.1:PORT")
	text = dated.ReplaceAllString(text, "DATE")
	text = clock.ReplaceAllString(ports.ReplaceAllString(text, "localhost:PORT"), "TIME")
	text = deviceTag.ReplaceAllString(versions.ReplaceAllString(text, "Codex Proxy VERSION"), "ABCD-12345")
	return processes.ReplaceAllString(text, "process N")
}

// signInPage is the address that a login printed.
var signInPage = regexp.MustCompile(`http://127\.0\.0\.1:\d+/\S*authorize\?\S+`)

// inBrowser does what a browser and its user do on the sign-in page, and returns the page that they see last.
func inBrowser(t testing.TB, p *program, answer string) string {
	t.Helper()
	eventually(t, "the login prints an address", func() bool { return signInPage.MatchString(p.log.String()) || p.exited() })
	u, err := url.Parse(signInPage.FindString(p.log.String()))
	if err != nil || u.Host == "" {
		t.Fatalf("no address: %s", p.log)
	}
	jar, _ := cookiejar.New(nil)
	client := &http.Client{Jar: jar, Timeout: 20 * time.Second}
	resp, err := client.Get(u.String())
	if err != nil {
		t.Fatal(err)
	}
	page, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Fatalf("the auth server refused the sign-in: %s", page)
	}
	resp, err = client.PostForm("http://"+u.Host+"/decide", url.Values{"query": {u.RawQuery}, "path": {u.Path}, "answer": {answer}})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	page, _ = io.ReadAll(resp.Body)
	return string(page)
}

func logIn(t testing.TB, home string, env []string, args ...string) *program {
	t.Helper()
	return launch(t, home, env, append([]string{"login", "--no-browser"}, args...)...)
}

func TestSignInWithChatGPT(t *testing.T) {
	b, url := startBackend(t)
	home := t.TempDir()
	p := logIn(t, home, at(url), "--chatgpt", "--yes")
	if page := inBrowser(t, p, "allow"); !strings.Contains(page, "You are signed in") {
		t.Errorf("the browser shows %s", page)
	}
	out, code := p.end()
	if code != 0 {
		t.Fatalf("%d %s", code, out)
	}
	golden(t, "commands/login-chatgpt.txt", recorded(home, out))

	proxy := start(t, home, at(url))
	proxy.waitForState("signed_in")
	tool := `"tools":[{"type":"function","function":{"name":"get_weather","parameters":{"type":"object","properties":{"city":{"type":"string"}}}}}]`
	status, _, body := proxy.post("/v1/chat/completions", chat("Call get_weather", tool))
	if status != 200 || !strings.Contains(body, `"name":"get_weather"`) || !strings.Contains(body, `"finish_reason":"tool_calls"`) {
		t.Errorf("a tool call: %d %s", status, body)
	}
	id := regexp.MustCompile(`"id":"(call_[^"]+)"`).FindStringSubmatch(body)[1]
	follow := `{"model":"gpt-5.5",` + tool + `,"messages":[{"role":"user","content":"Call get_weather"},{"role":"assistant","tool_calls":[{"id":"` + id + `","type":"function","function":{"name":"get_weather","arguments":"{}"}}]},{"role":"tool","tool_call_id":"` + id + `","content":"sunny"}]}`
	if status, _, body := proxy.post("/v1/chat/completions", follow); status != 200 || !strings.Contains(body, "sunny") {
		t.Errorf("the tool's result: %d %s", status, body)
	}
	if status, _, body := proxy.post("/v1/responses", respond("hello")); status != 200 || !strings.Contains(body, "You said: hello") {
		t.Errorf("responses: %d %s", status, body)
	}
	for scenario, want := range map[string]string{
		"[[sharing]]":     "plan usage limit reached",
		"[[ineligible]]":  "the Codex way",
		"[[unavailable]]": "in a minute",
	} {
		if _, _, body := proxy.post("/v1/chat/completions", chat(scenario)); !strings.Contains(body, want) {
			t.Errorf("%s: %s", scenario, body)
		}
	}
	status, _, body = proxy.post("/v1/responses", respond("hello", `"tools":[{"type":"image_generation"}]`))
	if status != 400 || !strings.Contains(body, "the Codex way") {
		t.Errorf("image generation: %d %s", status, body)
	}
	if len(b.Requests("/backend-api/codex/responses")) > 0 {
		t.Error("this sign-in went to the Codex backend")
	}
	// The proxy must not be asked to refresh all the time: these tokens live for an hour.
	time.Sleep(300 * time.Millisecond)
	if n := b.Counts().Refreshes; n != 0 {
		t.Errorf("%d refreshes", n)
	}
	if out, code := command(t, home, at(url), "refresh"); code != 0 || b.Counts().Refreshes != 1 {
		t.Errorf("refresh: %d %s", code, out)
	}
	if status, _, body := proxy.post("/v1/responses", respond("hello")); status != 200 {
		t.Errorf("after a refresh by command: %d %s", status, body)
	}
	out, code = command(t, home, at(url), "status")
	if code != 0 {
		t.Errorf("status: %d", code)
	}
	golden(t, "commands/status-chatgpt.txt", recorded(home, out))
}

func TestCodexSignIn(t *testing.T) {
	b, url := startBackend(t)
	home := t.TempDir()
	proxy := start(t, home, at(url))
	proxy.waitForState("none")
	p := logIn(t, home, at(url))
	if page := inBrowser(t, p, "allow"); !strings.Contains(page, "You are signed in") {
		t.Errorf("the browser shows %s", page)
	}
	out, code := p.end()
	if code != 0 {
		t.Fatalf("%d %s", code, out)
	}
	golden(t, "commands/login.txt", recorded(home, out))
	if h := proxy.health(); h["credentials"].(map[string]any)["state"] != "signed_in" {
		t.Errorf("the running proxy did not notice: %v", h)
	}
	if status, _, body := proxy.post("/v1/chat/completions", chat("hello")); status != 200 {
		t.Errorf("%d %s", status, body)
	}
	out, code = command(t, home, at(url), "status")
	golden(t, "commands/status.txt", recorded(home, out))
	if code != 0 {
		t.Errorf("status ended with %d", code)
	}
	out, _ = command(t, home, at(url), "status", "--json")
	var r app.State
	if json.Unmarshal([]byte(out), &r) != nil || !r.Proxy.Running || r.SignIn.Email != fakebackend.Email || len(r.Usage.Windows) != 2 {
		t.Errorf("status --json: %s", out)
	}

	out, code = command(t, home, at(url), "workspace", fakebackend.SecondAccountID)
	golden(t, "commands/workspace.txt", recorded(home, out))
	if code != 0 {
		t.Error(out)
	}
	proxy.post("/v1/chat/completions", chat("hello"))
	requests := b.Requests("/codex/responses")
	if got := requests[len(requests)-1].Header.Get("Chatgpt-Account-Id"); got != fakebackend.SecondAccountID {
		t.Errorf("the request went out for %s", got)
	}
	if out, code := command(t, home, at(url), "workspace", "nope"); code != 1 || !strings.Contains(out, "no workspace") {
		t.Errorf("%d %s", code, out)
	}

	out, code = command(t, home, at(url), "logout")
	golden(t, "commands/logout.txt", recorded(home, out))
	if code != 0 || b.Counts().Revoked != 1 {
		t.Errorf("logout: %d, %d revoked: %s", code, b.Counts().Revoked, out)
	}
	if h := proxy.health(); h["credentials"].(map[string]any)["state"] != "none" {
		t.Errorf("the running proxy did not notice the logout: %v", h)
	}
	if out, code := command(t, home, at(url), "status"); code != 1 {
		t.Errorf("status after a logout: %d %s", code, out)
	}
	if out, code := command(t, home, at(url), "workspace"); code != 1 || out != "❌ You are signed out. Run `codex-proxy login`\n" {
		t.Errorf("workspace after a logout: %d %s", code, out)
	}
	if out, code := command(t, home, at(url), "quit"); code != 0 {
		t.Errorf("quit: %s", out)
	}
	eventually(t, "the proxy ends", proxy.exited)
}

func TestALogoutIsNotUndoneByTheCLIsSignIn(t *testing.T) {
	b, url := startBackend(t)
	home, _ := signedIn(t, b)
	proxy := start(t, home, at(url))
	proxy.imported()
	if out, code := command(t, home, at(url), "logout"); code != 0 {
		t.Fatal(out)
	}
	writeFile(t, filepath.Join(home, ".codex", "auth.json"), b.SignIn(200*time.Hour).AuthJSON())
	proxy.stop()
	proxy = start(t, home, at(url))
	eventually(t, "it has looked", func() bool { return strings.Contains(proxy.log.String(), "You are signed out") })
	if h := proxy.health(); h["credentials"].(map[string]any)["state"] != "none" {
		t.Errorf("signed in again by itself: %v", h)
	}
	out, code := command(t, home, at(url), "import")
	golden(t, "commands/import.txt", recorded(home, out))
	if code != 0 {
		t.Error(out)
	}
	proxy.waitForState("signed_in")
}

func TestSignInByDeviceCode(t *testing.T) {
	b, url := startBackend(t)
	home := t.TempDir()
	p := logIn(t, home, at(url), "--device")
	eventually(t, "the code is shown", func() bool { return deviceTag.MatchString(p.log.String()) })
	b.AnswerDevice(deviceTag.FindString(p.log.String()), "allow")
	out, code := p.end()
	if code != 0 || !strings.Contains(out, "✅ Signed in as demo@example.com (plus)") {
		t.Errorf("%d %s", code, out)
	}
	golden(t, "commands/login-device.txt", recorded(home, strings.ReplaceAll(out, ".\n", "\n")))
}

// TestBadInputEndsInASentence has each way in which a sign-in fails say what to do, and change nothing.
func TestBadInputEndsInASentence(t *testing.T) {
	for _, test := range []struct {
		name, want string
		run        func(t *testing.T, b *fakebackend.Backend, home string, env []string) (string, int)
	}{
		{"denied in the browser", "denied in the browser", func(t *testing.T, _ *fakebackend.Backend, home string, env []string) (string, int) {
			p := logIn(t, home, env)
			inBrowser(t, p, "deny")
			return p.end()
		}},
		{"clock an hour off", "clock is 1h0m0s behind", func(t *testing.T, b *fakebackend.Backend, home string, env []string) (string, int) {
			b.ClockAhead = time.Hour
			p := logIn(t, home, env)
			inBrowser(t, p, "allow")
			return p.end()
		}},
		{"no account in the id token", "without a ChatGPT account", func(t *testing.T, b *fakebackend.Backend, home string, env []string) (string, int) {
			b.NoAccount = true
			p := logIn(t, home, env, "--codex")
			inBrowser(t, p, "allow")
			return p.end()
		}},
		{"device code expired", "code has expired", func(t *testing.T, b *fakebackend.Backend, home string, env []string) (string, int) {
			p := logIn(t, home, env, "--codex", "--device")
			eventually(t, "the code is shown", func() bool { return deviceTag.MatchString(p.log.String()) })
			b.AnswerDevice(deviceTag.FindString(p.log.String()), "expire")
			return p.end()
		}},
		{"device code denied", "denied in the browser", func(t *testing.T, b *fakebackend.Backend, home string, env []string) (string, int) {
			p := logIn(t, home, env, "--codex", "--device")
			eventually(t, "the code is shown", func() bool { return deviceTag.MatchString(p.log.String()) })
			b.AnswerDevice(deviceTag.FindString(p.log.String()), "deny")
			return p.end()
		}},
		{"both ports taken", "1455 and 1457", func(t *testing.T, _ *fakebackend.Backend, home string, env []string) (string, int) {
			for _, port := range []string{"1455", "1457"} {
				var l net.Listener
				eventually(t, "port "+port+" is free", func() (ok bool) { // another test's sign-in may hold it still
					var err error
					l, err = net.Listen("tcp", "127.0.0.1:"+port)
					return err == nil
				})
				defer l.Close()
			}
			return logIn(t, home, env, "--codex").end()
		}},
		{"an API key login", "not a ChatGPT sign-in", func(t *testing.T, _ *fakebackend.Backend, home string, env []string) (string, int) {
			writeFile(t, filepath.Join(home, ".codex", "auth.json"), []byte(`{"auth_mode":"apikey","OPENAI_API_KEY":"sk-proj-123456789"}`))
			return command(t, home, env, "import", "--from", "file")
		}},
		{"nothing in the keychain", "has no sign-in in the keychain", func(t *testing.T, b *fakebackend.Backend, home string, env []string) (string, int) {
			writeFile(t, filepath.Join(home, ".codex", "auth.json"), b.SignIn(time.Hour).AuthJSON())
			return command(t, home, env, "import", "--from", "keychain")
		}},
		{"auth server away", "could not be reached", func(t *testing.T, _ *fakebackend.Backend, home string, env []string) (string, int) {
			return command(t, home, append(env, "CODEX_PROXY_AUTH_URL=http://127.0.0.1:1"), "login", "--no-browser", "--codex", "--device")
		}},
		{"another account's sign-in", "nothing was changed", func(t *testing.T, b *fakebackend.Backend, home string, env []string) (string, int) {
			other := strings.ReplaceAll(string(b.SignIn(200*time.Hour).AuthJSON()), `"`+fakebackend.AccountID+`"`, `"acct-other"`)
			writeFile(t, filepath.Join(home, ".codex", "auth.json"), []byte(other))
			return command(t, home, env, "import")
		}},
		{"ended by Ctrl-C", "signed in as before", func(t *testing.T, _ *fakebackend.Backend, home string, env []string) (string, int) {
			p := logIn(t, home, env)
			eventually(t, "the login prints an address", func() bool { return signInPage.MatchString(p.log.String()) })
			p.cmd.Process.Signal(os.Interrupt) //nolint:errcheck // it ends or the test does
			return p.end()
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b, url := startBackend(t)
			home := t.TempDir()
			stored := filepath.Join(home, ".config", "codex-proxy", "auth.json")
			before := string(b.SignIn(200 * time.Hour).AuthJSON())
			writeFile(t, stored, []byte(before))
			out, code := test.run(t, b, home, at(url))
			if code == 0 || !strings.Contains(out, test.want) || strings.Count(out, "❌") != 1 {
				t.Errorf("exit %d: %s", code, out)
			}
			if after, _ := os.ReadFile(stored); string(after) != before {
				t.Error("what was stored has changed")
			}
		})
	}
}

func TestTheCallbackTakesOneRightAnswer(t *testing.T) {
	_, url_ := startBackend(t)
	home := t.TempDir()
	p := logIn(t, home, at(url_))
	eventually(t, "the login prints an address", func() bool { return signInPage.MatchString(p.log.String()) })
	u, _ := url.Parse(signInPage.FindString(p.log.String()))
	back := u.Query().Get("redirect_uri")
	get := func(address string) int {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	for _, wrong := range []string{"", "?code=x", "?code=x&state=wrong", "?state=" + u.Query().Get("state")} {
		if status := get(back + wrong); status != 400 {
			t.Errorf("%q: %d", wrong, status)
		}
	}
	if status := get(strings.TrimSuffix(back, "/auth/callback") + "/"); status != 404 {
		t.Errorf("another path: %d", status)
	}
	if page := inBrowser(t, p, "allow"); !strings.Contains(page, "You are signed in") {
		t.Errorf("after wrong answers the right one failed: %s", page)
	}
	p.end()
}

func TestDoctor(t *testing.T) {
	b, url := startBackend(t)
	home, _ := signedIn(t, b)
	proxy := start(t, home, at(url))
	proxy.imported()
	out, code := command(t, home, at(url), "doctor", "--probe")
	text := recorded(home, out)
	golden(t, "commands/doctor.txt", regexp.MustCompile(`answered in \S+`).ReplaceAllString(text, "answered in TIME"))
	if code != 0 || strings.Contains(out, fakebackend.Email) || strings.Contains(out, fakebackend.AccountID) {
		t.Errorf("exit %d, or not redacted: %s", code, out)
	}

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	out, code = command(t, t.TempDir(), append(at(url), "CODEX_PROXY_AUTH_URL=http://127.0.0.1:1"), "doctor", "--port", port)
	if code != 1 || !strings.Contains(out, "is used by e2e.test") || !strings.Contains(out, "Run `codex-proxy login`") || !strings.Contains(out, "Check the network") {
		t.Errorf("a machine with everything wrong: %d %s", code, out)
	}
}

func TestUsageIsKnownFromEveryAnswer(t *testing.T) {
	p, b := startSignedIn(t)
	eventually(t, "the start asks once", func() bool { return len(b.Requests("/wham/usage")) == 1 })
	p.post("/v1/chat/completions", chat("hello", `"stream":true`))
	if len(b.Requests("/wham/usage")) != 1 {
		t.Error("the usage endpoint was asked although the answer told")
	}
	windows, _ := p.health()["usage"].(map[string]any)["windows"].([]any)
	if len(windows) != 2 || windows[0].(map[string]any)["used_percent"] != 32.0 || windows[1].(map[string]any)["name"] != "weekly" {
		t.Errorf("health shows %v", windows)
	}
	resp, err := http.Get(p.url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, _ := io.ReadAll(resp.Body)
	for _, want := range []string{
		`codex_proxy_requests_total{route="/chat/completions",model="gpt-5.5",status="200"} 1`,
		"codex_proxy_requests_open 0",
		`codex_proxy_window_used_percent{window="5-hour"} 32`,
		`codex_proxy_refreshes_total{result="ok"} 1`,
		`codex_proxy_tokens_total{kind="output",model="gpt-5.5"} 10`,
		"codex_proxy_first_token_seconds", "codex_proxy_sign_in_expires_seconds",
	} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("/metrics lacks %s:\n%s", want, raw)
		}
	}
	for _, path := range []string{"/api/codex/usage", "/backend-api/wham/usage"} {
		resp, err := http.Get(p.url + path)
		if err != nil {
			t.Fatal(err)
		}
		raw, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 200 || !strings.Contains(string(raw), `"limit_window_seconds":18000`) {
			t.Errorf("%s: %d %s", path, resp.StatusCode, raw)
		}
	}
}

func TestWorkspacesAreServedWhereTheyBelong(t *testing.T) {
	elsewhere, elsewhereURL := startBackend(t)
	b, url := startBackend(t)
	b.Accounts = []byte(`{"accounts":[{"id":"acct-demo","workspace_backend_origin":"` + elsewhereURL + `","account_routing_override":"us_cr"}]}`)
	home, _ := signedIn(t, b)
	p := start(t, home, at(url))
	p.imported()
	p.post("/v1/chat/completions", chat("hello")) // 401 there: that stand-in does not know the sign-in
	requests := elsewhere.Requests("/codex/responses")
	if len(requests) == 0 || requests[0].Header.Get("X-Openai-Account-Routing-Override") != "us_cr" {
		t.Errorf("%d requests went to the workspace's origin", len(requests))
	}

	for name, accounts := range map[string]string{
		"damaged":    `{"accounts":`,
		"a stranger": `{"accounts":[{"id":"acct-demo","workspace_backend_origin":"https://evil.example"}]}`,
		"plain http": `{"accounts":[{"id":"acct-demo","workspace_backend_origin":"http://chatgpt.com"}]}`,
	} {
		b, url := startBackend(t)
		b.Accounts = []byte(accounts)
		home, _ := signedIn(t, b)
		p := start(t, home, at(url))
		p.waitForState("signed_in")
		if status, _, body := p.post("/v1/chat/completions", chat("hello")); status != 200 {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
}

// TestASignInThatCantBeReadIsNamedAndCanBeDeleted: doctor says what status says, and logout does not deny it.
func TestASignInThatCantBeReadIsNamedAndCanBeDeleted(t *testing.T) {
	_, url := startBackend(t)
	home := t.TempDir()
	file := filepath.Join(home, ".config", "codex-proxy", "auth.json")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("garbage\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"status", "doctor"} {
		if out, _ := command(t, home, at(url), verb); !strings.Contains(out, "stored sign-in is damaged") || !strings.Contains(out, "Sign in again, or move the file away") {
			t.Errorf("%s: %s", verb, out)
		}
	}
	out, code := command(t, home, at(url), "logout")
	if code != 0 || !strings.Contains(out, file+" could not be read, and is deleted") || !strings.Contains(out, "OpenAI could not be told") {
		t.Errorf("logout: %d %s", code, out)
	}
	if out, code := command(t, home, at(url), "logout"); code == 0 || !strings.Contains(out, "nobody is signed in") {
		t.Errorf("logout again: %d %s", code, out)
	}
	if out, _ := command(t, home, at(url), "doctor"); strings.Contains(out, "damaged") {
		t.Errorf("doctor afterwards: %s", out)
	}

	other := filepath.Join(home, "other.toml")
	writeFile(t, other, []byte("key = 1\n"))
	out, code = command(t, home, at(url), "logout", "--creds-path", other)
	if raw, _ := os.ReadFile(other); code == 0 || string(raw) != "key = 1\n" || !strings.Contains(out, "Delete it yourself") {
		t.Errorf("another program's file: %d %s; it is %q now", code, out, raw)
	}
}

func TestARefreshOfATokenFromTheEnvironmentIsNoFailure(t *testing.T) {
	b, url := startBackend(t)
	env := append(at(url), "ACCESS_TOKEN="+b.SignIn(time.Hour).Access)
	out, code := command(t, t.TempDir(), env, "refresh", "--creds-store", "env")
	if code != 1 || !strings.Contains(out, "no refresh token, so there is nothing to refresh. Its access token is good until") {
		t.Errorf("%d %s", code, out)
	}
}
