// Package chromium opens headless Chromium for tests.
package chromium

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// Profile is a folder for what a browser keeps, and for its temporary files. It goes with the test.
func Profile(t testing.TB) string {
	t.Helper()
	profile, err := os.MkdirTemp("", "chromium")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 40 { // its processes write for a moment after the end
			if err = os.RemoveAll(profile); err == nil {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Log(err)
	})
	return profile
}

// Open starts a browser with a profile. It ends with the test, or when patience is over.
func Open(t testing.TB, profile string, patience time.Duration, more ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("chromium is missing: run test/tools")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.UserDataDir(profile), chromedp.Env("TMPDIR="+profile),
		chromedp.Flag("disable-quic", true), chromedp.Flag("proxy-server", "direct://"))
	ctx, end := chromedp.NewExecAllocator(context.Background(), append(options, more...)...)
	t.Cleanup(end)
	ctx, cancel := chromedp.NewContext(ctx, chromedp.WithErrorf(func(format string, args ...any) {
		if !strings.Contains(format, "unhandled") { // events that the library is too old for
			t.Logf(format, args...)
		}
	}))
	t.Cleanup(func() { chromedp.Cancel(ctx); cancel() }) //nolint:errcheck // it may have ended
	ctx, timeout := context.WithTimeout(ctx, patience)
	t.Cleanup(timeout)
	return ctx
}
