package app

import (
	"testing"
	"time"
)

// TestTheEndOfAPauseDoesNotUndoAStop that came while it waited for its turn.
func TestTheEndOfAPauseDoesNotUndoAStop(t *testing.T) {
	home := ownHome(t)
	p := openIn(t, home)
	p.Prepare(t.Context(), Life{Quit: func() {}})
	defer p.Close()
	p.service.SetPort(0)
	listens := func() bool { return p.service.Addr() != "" }
	if err := p.Start(0); err != nil || !listens() {
		t.Fatal(err)
	}
	defer p.service.Stop()
	if err := p.Pause(time.Millisecond); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); !listens(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the pause does not end")
		}
	}
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	if p.resume(); listens() {
		t.Error("the proxy runs though the user has stopped it")
	}
	if err := p.Pause(time.Hour); err != nil {
		t.Fatal(err)
	}
	if p.resume(); listens() {
		t.Error("an earlier pause has ended this one")
	}
}
