//go:build e2e

package e2e

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// TestSignInInARealBrowser runs both sign-ins in headless Chromium, with a user who clicks.
func TestSignInInARealBrowser(t *testing.T) {
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("chromium is missing: run test/tools")
	}
	profile, err := os.MkdirTemp("", "chromium") // t.TempDir can't be removed while Chromium still writes
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(profile)
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.UserDataDir(profile),
		chromedp.Flag("disable-quic", true), chromedp.Flag("proxy-server", "direct://"))
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	defer cancel()
	ctx, cancel = chromedp.NewContext(ctx)
	defer cancel()
	ctx, cancel = context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
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
