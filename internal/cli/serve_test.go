package cli

import (
	"bytes"
	"context"
	"io"
	"log"
	"net/url"
	"testing"
	"time"

	"codex-proxy/internal/app"
	"codex-proxy/internal/control"
)

// TestAProgramThatStartsItselfAgainHasEnded: elsewhere than on Windows it has the process that it had before.
func TestAProgramThatStartsItselfAgainHasEnded(t *testing.T) {
	for _, name := range []string{"HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "TMPDIR"} {
		t.Setenv(name, t.TempDir())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var out bytes.Buffer
	c := &console{ctx: ctx, process: Process{Out: &out, Err: io.Discard}}
	c.settings.CredsStore = "xdg"
	a, err := c.openDemoToo()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	open := func(show func() app.State) *control.Door {
		about := control.About{PID: 1, Store: a.State().SignIn.Store, Icon: true, Started: time.Now()}
		door, err := control.Open(app.RunFolder(), about, map[string]control.Verb{
			"show": func(context.Context, url.Values) (any, error) { return show(), nil },
		}, log.New(io.Discard, "", 0))
		if err != nil {
			t.Fatal(err)
		}
		return door
	}
	asked := make(chan struct{})
	first := open(func() app.State {
		close(asked)
		return app.State{Proxy: app.ProxyState{Ending: true}}
	})
	again := make(chan *control.Door)
	go func() {
		<-asked
		second := open(func() app.State { return app.State{Proxy: app.ProxyState{Running: true}} })
		first.Close()
		again <- second
	}()
	_, shown, err := c.alone(a)
	(<-again).Close()
	if err != nil || !shown || !bytes.Contains(out.Bytes(), []byte("runs already")) {
		t.Errorf("%v, shown: %v, %s", err, shown, &out)
	}
}
