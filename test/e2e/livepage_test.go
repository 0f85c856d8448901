//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// tab is the page of a running program in a real browser.
type tab struct {
	t   *testing.T
	ctx context.Context
}

// openPage opens the page of p as `codex-proxy open` does, past the three steps of a first start.
func openPage(t *testing.T, p *program) *tab {
	t.Helper()
	writeFile(t, filepath.Join(p.home, ".config", "codex-proxy", "settings.json"), []byte(`{"first-start-done":true}`))
	out, code := command(t, p.home, at(p.backend), "open", "--print")
	if code != 0 {
		t.Fatalf("open: %d %s", code, out)
	}
	b := &tab{t, openChromium(t)}
	b.run(chromedp.Navigate(strings.TrimSpace(out)))
	b.shows("Running at")
	return b
}

func (b *tab) run(actions ...chromedp.Action) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 20*time.Second)
	defer cancel()
	if err := chromedp.Run(ctx, actions...); err != nil {
		var text string
		chromedp.Run(b.ctx, chromedp.Evaluate("location.href + '\\n' + (document.body?.innerText ?? '')", &text)) //nolint:errcheck // for the message only
		b.t.Fatalf("%v; the page is %s", err, text)
	}
}

// shows waits until the page has a text.
func (b *tab) shows(text string) {
	b.t.Helper()
	b.until(fmt.Sprintf("(document.querySelector('main')?.innerText ?? '').includes(%q)", text))
}

// until waits until an expression is true, in whatever page the tab goes to meanwhile.
func (b *tab) until(expression string) {
	b.t.Helper()
	for end := time.Now().Add(15 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		var done bool
		err := chromedp.Run(b.ctx, chromedp.Evaluate("Boolean("+expression+")", &done))
		if err == nil && done {
			return
		}
		if time.Now().After(end) {
			b.run(chromedp.ActionFunc(func(context.Context) error { return fmt.Errorf("never true: %s (%v)", expression, err) }))
		}
	}
}

// click clicks the last button with this text: that of a dialog comes after those below it.
func (b *tab) click(text string) {
	b.t.Helper()
	b.until(fmt.Sprintf("(() => { const all = [...document.querySelectorAll('button')].filter((b) => b.innerText === %q && !b.disabled); all.at(-1)?.click(); return all.length > 0 })()", text))
}

// clickLabel clicks the button that is named so for who can't see it.
func (b *tab) clickLabel(label string) {
	b.t.Helper()
	b.until(fmt.Sprintf("(() => { const one = document.querySelector('button[aria-label=' + JSON.stringify(%q) + ']'); one?.click(); return one })()", label))
}

func (b *tab) section(id string) {
	b.t.Helper()
	b.run(chromedp.Click(`nav a[href="#`+id+`"]`, chromedp.ByQuery))
}

func (b *tab) host() (host string) {
	b.t.Helper()
	b.run(chromedp.Evaluate("location.host", &host))
	return host
}

// freePort is a loopback port that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

func answers(root string) bool {
	resp, err := http.Get(root + "/health")
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == 200
}

func TestThePageStopsTheProxyAndStartsItAgain(t *testing.T) {
	p, _ := startSignedIn(t, "--port", freePort(t))
	b := openPage(t, p)
	before := b.host()
	status := func() string {
		out, _ := command(t, p.home, at(p.backend), "status")
		return out
	}

	b.click("Stop")
	b.until("document.querySelector('dialog')?.innerText.includes('codex-proxy start')")
	if !answers(p.url) {
		t.Error("it was stopped before the user said yes")
	}
	b.click("Stop")
	b.shows("Stopped")
	b.shows("codex-proxy start")
	if b.host() == before {
		t.Error("the page is where nobody listens")
	}
	eventually(t, "the port is closed", func() bool { return !answers(p.url) })
	if out := status(); !strings.Contains(out, "stopped") {
		t.Errorf("status says %s", out)
	}

	b.click("Start")
	b.shows("Running at")
	if host := b.host(); host != before || !answers(p.url) {
		t.Errorf("the page is at %s, it was at %s", host, before)
	}

	// Stopped by a command, the page says so, and it comes back by itself.
	if out, code := command(t, p.home, at(p.backend), "stop"); code != 0 {
		t.Fatalf("%d %s", code, out)
	}
	b.shows("does not answer")
	b.shows("codex-proxy start")
	if out, code := command(t, p.home, at(p.backend), "start"); code != 0 {
		t.Fatalf("%d %s", code, out)
	}
	b.until("!document.querySelector('main').innerText.includes('does not answer')")
	if err := p.stop(); err != nil {
		t.Error(err)
	}
}

func TestThePageGoesOnAtAnotherPort(t *testing.T) {
	b, backend := startBackend(t)
	home, _ := signedIn(t, b)
	port, other := freePort(t), freePort(t)
	writeFile(t, filepath.Join(home, ".config", "codex-proxy", "settings.json"), []byte(`{"port":`+port+`}`))
	p := launch(t, home, at(backend), "--env", "production")
	p.backend, p.url = backend, "http://127.0.0.1:"+port
	p.imported()
	writeFile(t, filepath.Join(home, ".config", "codex-proxy", "settings.json"), []byte(`{"port":`+port+`,"first-start-done":true}`))
	out, _ := command(t, home, at(backend), "open", "--print", "settings")
	page := &tab{t, openChromium(t)}
	page.run(chromedp.Navigate(strings.TrimSpace(out)), chromedp.WaitVisible("#set-port", chromedp.ByQuery),
		chromedp.Focus("#set-port", chromedp.ByQuery), chromedp.Evaluate("document.querySelector('#set-port').select()", nil), chromedp.KeyEvent(other+"\r"))
	page.until("location.port === '" + other + "'")
	page.until("document.querySelector('#set-port')?.value === '" + other + "'")
	if err := p.stop(); err != nil {
		t.Error(err)
	}
}

// TestAPageBesideTheProxyIsFoundAgain: while the proxy is stopped the page is at a port of its own. It goes home when the
// proxy is started elsewhere, and outlives a restart of the program.
func TestAPageBesideTheProxyIsFoundAgain(t *testing.T) {
	port := freePort(t)
	p, _ := startSignedIn(t, "--port", port)
	b := openPage(t, p)
	stop := func() (aside string) {
		t.Helper()
		b.click("Stop")
		b.until("document.querySelector('dialog')")
		b.click("Stop")
		b.shows("Stopped")
		b.until("location.port !== '" + port + "'")
		return b.host()
	}
	stop()
	b.section("doctor")
	if out, code := command(t, p.home, at(p.backend), "start"); code != 0 {
		t.Fatalf("%d %s", code, out)
	}
	b.until("location.port === '" + port + "'")
	b.until("document.querySelector('h1')?.innerText === 'Doctor'") // at the section where it was
	b.section("overview")
	b.shows("Running at")

	stop()
	backend := p.backend
	if err := p.stop(); err != nil {
		t.Error(err)
	}
	b.shows("does not answer")
	p = start(t, p.home, at(backend), "--port", port)
	p.backend = backend
	b.until("location.port === '" + port + "'")
	b.shows("Running at")
	if err := p.stop(); err != nil {
		t.Error(err)
	}
}

func TestAnOpenPageComesBackAfterARestartUntilItIsForgotten(t *testing.T) {
	port := freePort(t)
	p, _ := startSignedIn(t, "--port", port)
	b := openPage(t, p)
	restart := func() {
		t.Helper()
		if err := p.stop(); err != nil {
			t.Error(err)
		}
		backend := p.backend
		p = start(t, p.home, at(backend), "--port", port)
		p.backend = backend
	}
	restart()
	if status, _, body := p.post("/v1/chat/completions", chat("hello"), "User-Agent", "afterwards/1.0"); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	b.shows("afterwards") // it hears of what comes now
	if host := b.host(); host != "localhost:"+port {
		t.Errorf("it is at %s", host)
	}

	// Another browser forgets this one.
	out, _ := command(t, p.home, at(p.backend), "open", "--print", "settings")
	other := &tab{t, openChromium(t)}
	other.run(chromedp.Navigate(strings.TrimSpace(out)))
	other.click("Forget the others")
	other.until("document.querySelector('.notice').innerText.includes('Only this browser is let in now')")
	b.shows("Open this page again")
	b.shows("codex-proxy open")
	restart()
	other.until("document.querySelector('main')?.innerText.includes('Forget the others')")
	b.run(chromedp.Reload())
	b.shows("codex-proxy open")
	if err := p.stop(); err != nil {
		t.Error(err)
	}
}

// TestARestartFromThePageOpensItOnlyWhereItDoesNotComeBack: the page that asked for the restart is there again by itself. Where
// none is, one is opened.
func TestARestartFromThePageOpensItOnlyWhereItDoesNotComeBack(t *testing.T) {
	standIn, url := startBackend(t)
	home, _ := signedIn(t, standIn)
	opened, broken := filepath.Join(home, "opened"), filepath.Join(home, "broken")
	p := start(t, home, append(at(url), "PATH="+fakeBrowser(t, `[ ! -e `+broken+` ] && echo "$1" >> `+opened)), "--port", freePort(t))
	p.backend = url
	p.imported()
	began := func() int { return strings.Count(p.log.String(), "listens at http://localhost:") }
	b := openPage(t, p)
	b.section("settings")
	toggle := func(to bool) {
		t.Helper()
		b.until(fmt.Sprintf(`(() => { const s = document.querySelector('#set-strict'); if (s.checked !== %t) s.click(); return s.checked === %[1]t })()`, to))
	}
	n := began()
	toggle(true)
	b.until("[...document.querySelectorAll('button')].some((b) => b.innerText === 'Restart now')")
	settings := filepath.Join(home, ".config", "codex-proxy", "settings.json")
	good, err := os.ReadFile(settings)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, settings, []byte(`{"strict": true, "history": "forever"}`))
	b.click("Restart now")
	b.until("document.body.innerText.includes('would not start again: In ')")
	if began() != n || p.exited() {
		t.Error("it ended, and can't start again")
	}
	writeFile(t, settings, good)
	b.click("Restart now")
	eventually(t, "the program starts again", func() bool { return began() > n })
	b.until("document.querySelector('#set-strict')?.checked && ![...document.querySelectorAll('button')].some((b) => b.innerText === 'Restart now')")
	eventually(t, "it is known that it came back", func() bool { return strings.Contains(p.log.String(), "The page came back") })
	if raw, err := os.ReadFile(opened); err == nil {
		t.Errorf("beside the page that came back there is %s", raw)
	}

	restartAndLeave := func(to bool) {
		t.Helper()
		n = began()
		toggle(to)
		b.until("[...document.querySelectorAll('button')].some((b) => b.innerText === 'Restart now')")
		b.run(chromedp.Evaluate(`{ const before = window.fetch; window.fetch = (to, how) => String(to).includes('/events') ? Promise.reject(new TypeError('gone')) : before(to, how) }`, nil)) // so it can't come back
		b.click("Restart now")
		eventually(t, "the program starts again", func() bool { return began() > n })
	}
	restartAndLeave(false)
	within(t, 30*time.Second, "the page is opened", func() bool {
		raw, _ := os.ReadFile(opened)
		return strings.Contains(string(raw), "/?code=") && strings.Contains(string(raw), "#settings")
	})

	writeFile(t, broken, nil)
	b = openPage(t, p)
	b.section("settings")
	restartAndLeave(true)
	within(t, 30*time.Second, "it is told how to open it", func() bool { return strings.Contains(p.log.String(), "Open it with codex-proxy open") })
	if strings.Contains(p.log.String(), "?code=") {
		t.Error("the log has the link that lets a browser in")
	}
	if err := p.stop(); err != nil {
		t.Error(err)
	}
}

// TestAUserGoesThroughThePage does what a user does on the page of the real program: from a first start without anything
// to a tested tool, then through the sections, with a refresh that fails and is mended.
func TestAUserGoesThroughThePage(t *testing.T) {
	backend, url := startBackend(t)
	home := t.TempDir()
	config := filepath.Join(home, ".codex", "config.toml")
	writeFile(t, config, []byte("model = \"kept\"\n"))
	p := start(t, home, at(url))
	p.backend = url
	out, _ := command(t, home, at(url), "open", "--print")
	b := &tab{t, openChromium(t)}
	b.run(chromedp.Navigate(strings.TrimSpace(out)))

	b.shows("Three steps")
	b.clickLabel("By a code: sign in")
	b.shows("Type this code")
	var code string
	b.run(chromedp.Text(".device", &code, chromedp.ByQuery))
	backend.AnswerDevice(code, "allow")
	b.shows("Signed in as demo@example.com (plus)")
	b.clickLabel("Connect Codex CLI")
	b.shows("config.toml")
	b.click("Connect")
	b.shows("Codex CLI connected")
	eventually(t, "the tool's settings have the address", func() bool { // they are written after the note of how to undo it
		raw, _ := os.ReadFile(config)
		return strings.Contains(string(raw), strings.TrimPrefix(p.url, "http://127.0.0.1:"))
	})
	b.click("Send")
	b.shows("Answered in")
	b.click("Show the overview")
	b.shows("Running at")

	b.section("activity")
	b.shows("codex-proxy-test")
	if status, _, _ := p.post("/v1/chat/completions", `{"model":"gpt-9","messages":[{"role":"user","content":"a secret prompt"}]}`, "User-Agent", "watched/1.0"); status != 404 {
		t.Errorf("an unknown model gets %d", status)
	}
	b.shows("watched")
	b.shows("404 ")
	b.section("usage")
	b.until("document.querySelectorAll('canvas').length === 5")

	b.section("sign-in")
	b.until("document.querySelector('select[aria-label=Workspace]')?.options.length === 2")
	backend.RefuseRefresh("500")
	b.click("Refresh now")
	b.until("document.querySelector('.notice.bad')")
	b.section("overview")
	b.shows("Refresh failed")
	// A refresh may be tried again a second after the one that failed.
	b.until("[...document.querySelectorAll('button')].filter((b) => b.innerText === 'Retry now').map((b) => b.click()).length === 0")
	b.until("!document.querySelector('main').innerText.includes('Refresh failed')")

	b.section("doctor")
	b.shows("What was found")
	b.shows("Loopback")
	b.section("tools")
	b.clickLabel("Disconnect Codex CLI")
	b.until("document.querySelector('[aria-label=\"Connect Codex CLI\"]')")
	if raw, _ := os.ReadFile(config); string(raw) != "model = \"kept\"\n" {
		t.Errorf("disconnected, the tool's settings are %s", raw)
	}
	b.section("sign-in")
	b.click("Sign out…")
	b.click("Sign out")
	b.until("!document.body.innerText.includes('demo@example.com') && !document.querySelector('select[aria-label=Workspace]')")
	b.section("overview")
	b.shows("You are signed out")
	b.until("document.querySelector('main .alert button')?.innerText === 'Sign in…' && !document.querySelector('main').innerText.includes('can use your plan')")
	if err := p.stop(); err != nil {
		t.Error(err)
	}
}

func TestWhatACommandChangesIsShownOnAnOpenPage(t *testing.T) {
	p, _ := startSignedIn(t)
	b := openPage(t, p)
	b.section("settings")
	b.shows("No keys yet")
	for _, step := range []struct{ command, shown string }{{"add", "laptop"}, {"revoke", "No keys yet"}} {
		if out, code := command(t, p.home, at(p.backend), "keys", step.command, "laptop"); code != 0 {
			t.Fatal(out)
		}
		b.shows(step.shown)
	}
}

// TestAnotherUserOfTheMachineGetsNothing, not even with the code of a link: that stays good for the user it was made for.
func TestAnotherUserOfTheMachineGetsNothing(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can be another user")
	}
	p, _ := startSignedIn(t)
	writeFile(t, filepath.Join(p.home, ".config", "codex-proxy", "settings.json"), []byte(`{"first-start-done":true}`))
	out, code := command(t, p.home, at(p.backend), "open", "--print")
	if code != 0 {
		t.Fatalf("open: %d %s", code, out)
	}
	address := strings.TrimSpace(out)
	const somebody = 65534
	other := &tab{t, openChromiumAs(t, somebody)}
	other.run(chromedp.Navigate(address))
	var text string
	other.run(chromedp.Evaluate("document.documentElement.innerText", &text))
	if !strings.Contains(text, "another user") || strings.Contains(text, "demo@example.com") {
		t.Errorf("another user's browser shows %q", text)
	}
	b := &tab{t, openChromium(t)}
	b.run(chromedp.Navigate(address))
	b.shows("Running at")
	if err := p.stop(); err != nil {
		t.Error(err)
	}
}
