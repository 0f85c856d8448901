//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
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
