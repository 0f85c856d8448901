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
)

// openChromium starts a headless Chromium, for at most 90 seconds. It ends with the test.
func openChromium(t *testing.T) context.Context {
	t.Helper()
	return openChromiumAs(t, uint32(os.Getuid()))
}

// openChromiumAs starts it for another user of the machine.
func openChromiumAs(t *testing.T, user uint32) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("chromium is missing: run test/tools")
	}
	profile, err := os.MkdirTemp("", "chromium") // t.TempDir can't be removed while Chromium still writes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(profile) })
	another := chromedp.ModifyCmdFunc(func(cmd *exec.Cmd) {
		if user != uint32(os.Getuid()) {
			cmd.Env = append(os.Environ(), "HOME="+profile, "XDG_RUNTIME_DIR="+profile)
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
		}
	})
	if err := os.Chown(profile, int(user), -1); err != nil {
		t.Fatal(err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], another, chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.UserDataDir(profile),
		chromedp.Flag("disable-quic", true), chromedp.Flag("proxy-server", "direct://"))
	ctx, end := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(end)
	quiet := chromedp.WithErrorf(func(format string, args ...any) {
		if !strings.Contains(format, "unhandled") { // events that the library is too old for
			t.Logf(format, args...)
		}
	})
	ctx, cancel := chromedp.NewContext(ctx, quiet)
	t.Cleanup(func() { chromedp.Cancel(ctx); cancel() }) //nolint:errcheck // it may have ended
	ctx, timeout := context.WithTimeout(ctx, 90*time.Second)
	t.Cleanup(timeout)
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
