//go:build e2e

package e2e

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"codex-proxy/test/chromium"
)

// openChromium starts a headless Chromium, for at most 90 seconds. It ends with the test.
func openChromium(t *testing.T) context.Context {
	t.Helper()
	return runChromium(t, chromium.Profile(t))
}

// openChromiumAs starts it for another user of the machine.
func openChromiumAs(t *testing.T, user uint32) context.Context {
	t.Helper()
	profile := chromium.Profile(t)
	if err := os.Chown(profile, int(user), -1); err != nil {
		t.Fatal(err)
	}
	return runChromium(t, profile, chromedp.Env("HOME="+profile, "XDG_RUNTIME_DIR="+profile), chromedp.ModifyCmdFunc(func(cmd *exec.Cmd) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	}))
}

func runChromium(t *testing.T, profile string, more ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	ctx := chromium.Open(t, profile, 3*time.Minute, more...)
	if err := chromedp.Run(ctx); err != nil { // the browser ends with the context that started it
		t.Fatal(err)
	}
	return ctx
}

// TestSignInInARealBrowser runs both sign-ins in headless Chromium, with a user who clicks.
func TestSignInInARealBrowser(t *testing.T) {
	ctx := openChromium(t)
	for kind, args := range map[string][]string{"": nil, "--chatgpt": {"--chatgpt", "--yes"}} {
		_, url := startBackend(t)
		home := t.TempDir()
		p := logIn(t, home, at(url), args...)
		eventually(t, "the login prints an address", func() bool { return signInPage.MatchString(p.log.String()) })
		var title, text string
		err := chromedp.Run(ctx,
			chromedp.Navigate(signInPage.FindString(p.log.String())),
			chromedp.Click("#allow", chromedp.ByID),
			chromedp.WaitVisible("p", chromedp.ByQuery),
			chromedp.Text("h1", &title, chromedp.ByQuery), chromedp.Text("p", &text, chromedp.ByQuery))
		if err != nil {
			t.Fatal(err)
		}
		if title != "You are signed in" || !strings.Contains(text, "close this page") {
			t.Errorf("login %s: the browser shows %q, %q", kind, title, text)
		}
		if out, code := p.end(); code != 0 || !strings.Contains(out, "✅ Signed in as") {
			t.Errorf("login %s: %d %s", kind, code, out)
		}
	}
}
