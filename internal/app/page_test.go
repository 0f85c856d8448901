package app

import (
	"context"
	"io"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/adrg/xdg"
)

// TestThePageOfAStoppedProxyIsWhereItWasAfterARestart: the menu's program stays stopped over a restart, and a page that
// is open beside it must find it again.
func TestThePageOfAStoppedProxyIsWhereItWasAfterARestart(t *testing.T) {
	home := t.TempDir()
	t.Setenv("XDG_STATE_HOME", filepath.Join(home, "state"))
	t.Setenv("XDG_RUNTIME_DIR", filepath.Join(home, "run"))
	xdg.Reload()
	t.Cleanup(xdg.Reload)
	life := func(work func(*App)) {
		t.Helper()
		p := openIn(t, home)
		p.program.Icon, p.Settings.CodexHome = true, filepath.Join(home, "codex")
		p.service.SetPort(0)
		ctx, cancel := context.WithCancel(t.Context())
		p.Prepare(ctx, Life{Quit: cancel})
		ended := make(chan error, 1)
		entered := make(chan struct{})
		p.App.life.Entered = func() { close(entered) }
		go func() { ended <- p.Run(ctx) }()
		<-entered
		work(p.App)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		p.Close()
	}
	answers := func(addr string) bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/page/icon.svg", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, resp.Body)
		return err == nil && resp.StatusCode == http.StatusOK
	}

	var aside string
	life(func(a *App) {
		if a.spareAddr != "" {
			t.Error("there is a second port without need")
		}
		if err := a.Stop(); err != nil {
			t.Error(err)
		}
		addr, err := a.spareDoor()
		if err != nil || !answers(addr) {
			t.Errorf("at %s: %v", addr, err)
		}
		aside = addr
	})
	if answers(aside) {
		t.Error("somebody answers when the program has ended")
	}
	for range 2 { // as often as it is started
		life(func(a *App) {
			if a.service.Addr() != "" || !answers(aside) {
				t.Errorf("the proxy is at %q, and the page not where it was", a.service.Addr())
			}
		})
	}
	life(func(a *App) {
		if err := a.Start(0); err != nil {
			t.Error(err)
		}
	})
	life(func(a *App) {
		if !answers(aside) {
			t.Error("a page that was not looked at meanwhile does not find the way home")
		}
	})
	life(func(a *App) {
		if a.spareAddr != "" {
			t.Error("the second port stays open though nobody needs it")
		}
	})
}
