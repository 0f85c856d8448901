//go:build e2e

package e2e

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"codex-proxy/internal/fakebackend"
)

// logInBy signs in by a command, and the user agrees in the browser.
func logInBy(t testing.TB, home string, env []string, args ...string) {
	t.Helper()
	p := logIn(t, home, env, args...)
	inBrowser(t, p, "allow")
	if out, code := p.end(); code != 0 {
		t.Fatalf("login %v: %d %s", args, code, out)
	}
}

// byChatGPT is a running proxy with a "Sign in with ChatGPT".
func byChatGPT(t testing.TB, args ...string) (*program, *fakebackend.Backend) {
	t.Helper()
	b, url := startBackend(t)
	home := t.TempDir()
	logInBy(t, home, at(url), "--chatgpt", "--yes")
	p := start(t, home, at(url), args...)
	p.backend = url
	p.waitForState("signed_in")
	return p, b
}

func TestTheFirstUseOfThePlanIsToldOnce(t *testing.T) {
	const notice = "You're using your ChatGPT plan. Manage usage: https://chatgpt.com/settings/usage"
	p, _ := byChatGPT(t)
	status := func() string {
		out, _ := command(t, p.home, at(p.backend), "status", "--json")
		return gjson.Get(out, "plan_notice").Str
	}
	if strings.Contains(p.log.String(), notice) || status() != "" {
		t.Error("it is told before the first use")
	}
	for range 3 {
		if code, _, body := p.post("/v1/chat/completions", chat("hello")); code != 200 {
			t.Fatalf("%d %s", code, body)
		}
	}
	eventually(t, "it is told", func() bool { return strings.Contains(p.log.String(), notice) })
	if n := strings.Count(p.log.String(), notice); n != 1 || status() != notice {
		t.Errorf("told %d times, status says %q", n, status())
	}
	p.stop()
	again := start(t, p.home, at(p.backend))
	again.waitForState("signed_in")
	if code, _, _ := again.post("/v1/chat/completions", chat("hello")); code != 200 || strings.Contains(again.log.String(), notice) {
		t.Error("it is told again after a restart")
	}
}

func TestASignInThatIsRefusedForGoodCostsOneRefresh(t *testing.T) {
	p, b := byChatGPT(t)
	b.RefuseAccess(true)
	ask := func() {
		var wait sync.WaitGroup
		for range 30 {
			wait.Go(func() {
				if code, _, body := p.post("/v1/responses", respond("hello")); code != 401 || !strings.Contains(body, "refuse") {
					t.Errorf("%d %s", code, body)
				}
			})
		}
		wait.Wait()
	}
	ask()
	ask()
	if n := b.Counts().Refreshes; n != 1 {
		t.Errorf("%d refreshes", n)
	}
	b.RefuseAccess(false)
	if code, _, body := p.post("/v1/responses", respond("hello")); code != 200 {
		t.Errorf("after it was let in again: %d %s", code, body)
	}
	p.waitForState("signed_in")
}

func TestAProgramKilledRightAfterARotationSaysThatTheAnswerWasLost(t *testing.T) {
	p, b := byChatGPT(t)
	p.stop()
	b.RefuseRefresh("slow") // granted a second later, whether or not somebody is there to hear
	killed := launch(t, p.home, at(p.backend), "refresh")
	eventually(t, "the refresh token is spent", func() bool { return len(b.Requests("/api/accounts/oauth/token")) >= 2 })
	killed.cmd.Process.Kill() //nolint:errcheck // it runs
	eventually(t, "the tokens are rotated", func() bool { return b.Counts().Refreshes == 1 })

	// A minute later:
	notes, err := filepath.Glob(filepath.Join(p.home, ".config", "codex-proxy", "*refresh*"))
	if err != nil || len(notes) != 1 {
		t.Fatalf("%v %v", notes, err)
	}
	raw, err := os.ReadFile(notes[0])
	if err != nil {
		t.Fatal(err)
	}
	raw, err = sjson.SetBytes(raw, "at", time.Now().Add(-2*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, notes[0], raw)

	out, code := command(t, p.home, at(p.backend), "refresh")
	if code == 0 || !strings.Contains(out, "answer to the last refresh was lost") || strings.Contains(out, "nother program") {
		t.Errorf("%d %s", code, out)
	}
}

func TestASignInWithChatGPTIsNotMovedElsewhere(t *testing.T) {
	p, b := byChatGPT(t)
	worker := start(t, t.TempDir(), append(at(p.backend), "ADMIN_API_KEY=admin")) // the same admin API
	stored := filepath.Join(p.home, ".config", "codex-proxy", "auth.json")
	before, err := os.ReadFile(stored)
	if err != nil {
		t.Fatal(err)
	}
	out, code := command(t, p.home, append(at(p.backend), "ADMIN_API_KEY=admin"), "worker", "push", worker.url, "--yes")
	if after, _ := os.ReadFile(stored); code != 1 || !strings.Contains(out, "stays on the machine") || !strings.Contains(out, "--fresh") || string(after) != string(before) {
		t.Errorf("push: %d %s", code, out)
	}
	tokens := gjson.GetBytes(before, "tokens")
	for _, kind := range []string{"chatgpt", "codex", ""} {
		body := fmt.Sprintf(`{"accessToken":%q,"refreshToken":%q,"idToken":%q,"expiresAt":%d,"kind":%q}`,
			tokens.Get("access_token").Str, tokens.Get("refresh_token").Str, tokens.Get("id_token").Str, time.Now().Add(time.Hour).UnixMilli(), kind)
		if status, answer := worker.admin("POST", "/admin/credentials", body, "admin"); status != 400 || !strings.Contains(answer, "stays on the machine") {
			t.Errorf("as %q: %d %s", kind, status, answer)
		}
	}
	worker.waitForState("none")
	if c := b.Counts(); c.Crossed > 0 || c.Refreshes > 0 {
		t.Errorf("%+v", c)
	}
}

func TestATokenOfASignInWithChatGPTInTheEnvironmentIsSentNowhere(t *testing.T) {
	b, url := startBackend(t)
	tokens, client := b.SignInWithChatGPT(time.Hour)
	claims := base64.RawURLEncoding.EncodeToString([]byte(fmt.Sprintf(`{"exp":%d,"aud":["https://api.openai.com/v1"],"client_id":%q}`, time.Now().Add(time.Hour).Unix(), client)))
	for _, token := range []string{tokens.Access, "e30." + claims + ".c2ln"} {
		p := start(t, t.TempDir(), append(at(url), "ACCESS_TOKEN="+token, "ACCOUNT_ID="+fakebackend.AccountID), "--creds-store", "env")
		if code, _, body := p.post("/v1/responses", respond("hello")); code != 401 || !strings.Contains(body, "Codex sign-in") {
			t.Errorf("%d %s", code, body)
		}
		p.stop()
	}
	if c := b.Counts(); c.Crossed > 0 || c.Responses > 0 {
		t.Errorf("%+v", c)
	}
}

func TestAnIdentityOnlySignInSendsNothing(t *testing.T) {
	b, url := startBackend(t)
	b.Scope = "openid profile email offline_access"
	home := t.TempDir()
	login := logIn(t, home, at(url), "--chatgpt", "--yes")
	inBrowser(t, login, "allow")
	login.end()
	p := start(t, home, at(url))
	for _, path := range []string{"/v1/responses", "/v1/chat/completions"} {
		body := respond("hello")
		if strings.Contains(path, "chat") {
			body = chat("hello")
		}
		if code, _, answer := p.post(path, body); code != 401 || !strings.Contains(answer, "no leave to use your plan") {
			t.Errorf("%d %s", code, answer)
		}
	}
	if sent := append(b.Requests("/v1/responses"), b.Requests("/codex/responses")...); len(sent) > 0 {
		t.Errorf("%d requests were sent", len(sent))
	}
}

func TestNothingStaysOfASignInOfTheOtherKind(t *testing.T) {
	b, url := startBackend(t)
	home := t.TempDir()
	p := start(t, home, at(url))
	logInBy(t, home, at(url), "--workspace", fakebackend.SecondAccountID)
	p.waitForState("signed_in")
	if code, _, body := p.post("/v1/responses", respond("hello")); code != 200 {
		t.Fatalf("%d %s", code, body)
	}
	if out, _ := command(t, home, at(url), "status"); !strings.Contains(out, fakebackend.SecondAccountID) || !strings.Contains(out, "32% used") {
		t.Fatalf("the account or its limits are not shown: %s", out)
	}
	logInBy(t, home, at(url), "--chatgpt", "--yes")
	eventually(t, "the other sign-in is used", func() bool {
		out, _ := command(t, home, at(url), "status", "--json")
		return gjson.Get(out, "sign_in.kind").Str == "chatgpt"
	})
	if code, _, body := p.post("/v1/responses", respond("hello")); code != 200 {
		t.Errorf("%d %s", code, body)
	}
	for _, verb := range []string{"status", "doctor"} {
		if out, _ := command(t, home, at(url), verb); strings.Contains(out, fakebackend.SecondAccountID) || strings.Contains(out, "32% used") {
			t.Errorf("%s still tells of the first: %s", verb, out)
		}
	}
	if raw, _ := os.ReadFile(filepath.Join(home, ".config", "codex-proxy", "auth.json")); strings.Contains(string(raw), fakebackend.SecondAccountID) {
		t.Errorf("the file still tells of the first: %s", raw)
	}
	sent := b.Requests("/v1/responses")
	for name := range sent[len(sent)-1].Header {
		if strings.HasPrefix(name, "Chatgpt-") || strings.HasPrefix(name, "X-Openai-") || name == "Originator" || name == "Version" {
			t.Errorf("the header %s went to the public API", name)
		}
	}
	logInBy(t, home, at(url))
	eventually(t, "the third sign-in is used", func() bool {
		_, _, body := p.post("/v1/responses", respond("hello"))
		sent := b.Requests("/codex/responses")
		return strings.Contains(body, "hello") && sent[len(sent)-1].Header.Get("Chatgpt-Account-Id") == fakebackend.AccountID
	})
	if n := b.Counts().Crossed; n > 0 {
		t.Errorf("%d requests went to the other service", n)
	}
}

func TestASwitchOfTheKindUnderLoadLosesAndCrossesNothing(t *testing.T) {
	const half = 120
	b, url := startBackend(t)
	b.RefusalDelay = time.Second // for that long, a request with an old token is on its way
	home, _ := signedIn(t, b)
	p := start(t, home, at(url))
	p.backend = url
	p.imported()
	p.post("/v1/responses", respond("hello"))
	transport := &http.Transport{MaxConnsPerHost: 2 * half, MaxIdleConnsPerHost: 2 * half}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: time.Minute}
	dialects := []struct{ path, body, end string }{
		{"/v1/responses", `{"model":"gpt-5.5","stream":true,"input":"[[text 20 40]]","tools":[{"type":"function","name":"f","parameters":{"type":"object"}}]}`, "response.completed"},
		{"/v1/chat/completions", `{"model":"gpt-5.5","stream":true,"messages":[{"role":"user","content":"[[text 20 40]]"}],"tools":[{"type":"function","function":{"name":"f"}}]}`, "[DONE]"},
		{"/v1/messages", `{"model":"gpt-5.5","stream":true,"max_tokens":1000,"messages":[{"role":"user","content":"[[text 20 40]]"}],"tools":[{"name":"f","input_schema":{"type":"object"}}]}`, "message_stop"},
		{"/api/chat", `{"model":"gpt-5.5","messages":[{"role":"user","content":"[[text 20 40]]"}]}`, `"done":true`},
	}
	for _, to := range [][]string{{"--chatgpt", "--yes"}, {}} {
		toChatGPT := len(to) > 0
		var wait sync.WaitGroup
		begun := make(chan struct{})
		for i := range half {
			wait.Go(func() {
				if i >= half/2 { // these begin while the sign-in is replaced, with an old token or a new one; the others before
					<-begun
					time.Sleep(time.Duration(i-half/2) * 10 * time.Millisecond)
				}
				d := dialects[i%len(dialects)]
				if status, text := ask(t, client, p.url+d.path, d.body); status != 200 || !strings.Contains(text, d.end) || strings.Count(text, "word") < 20 {
					t.Errorf("%s: %d %.500s", d.path, status, text)
				}
			})
		}
		eventually(t, "the first half is under way", func() bool { return b.Counts().Open >= half/4 })
		b.EndAccessOf(!toChatGPT)
		close(begun)
		logInBy(t, p.home, at(p.backend), to...)
		wait.Wait()
		path := "/backend-api/codex/responses"
		if toChatGPT {
			path = "/v1/responses"
		}
		if len(b.Requests(path)) == 0 {
			t.Error("no request went to " + path)
		}
		if code, _, body := p.post("/v1/responses", respond("hello")); code != 200 {
			t.Errorf("afterwards: %d %s", code, body)
		}
	}
	if c := b.Counts(); c.Crossed > 0 || c.Reused > 0 {
		t.Errorf("%+v", c)
	}
}

// ask sends a body and returns the status and the whole answer, also one that broke off.
func ask(t testing.TB, client *http.Client, url, body string) (int, string) {
	resp, err := client.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return resp.StatusCode, string(raw) + "<" + err.Error() + ">"
	}
	return resp.StatusCode, string(raw)
}
