package app

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
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

// TestAStopIsToldAtOnce: the menu said for seconds that it runs, while answers under way had their time to end.
func TestAStopIsToldAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(*App) error
		told func(ProxyState) bool
	}{
		"stop":  {(*App).Stop, func(s ProxyState) bool { return s.Stopped }},
		"pause": {func(p *App) error { return p.Pause(time.Hour) }, func(s ProxyState) bool { return !s.PausedUntil.IsZero() }},
	} {
		p := openIn(t, ownHome(t))
		p.Prepare(t.Context(), Life{Quit: func() {}})
		defer p.Close()
		p.service.SetPort(0)
		if err := p.Start(0); err != nil {
			t.Fatal(err)
		}
		request, err := net.Dial("tcp", p.service.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer request.Close()
		fmt.Fprint(request, "POST /v1/responses HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n")
		if said, err := bufio.NewReader(request).ReadString('\n'); err != nil || !strings.Contains(said, "100") {
			t.Fatalf("%s: it says %q (%v)", name, said, err) // now it is read, and waited for
		}
		changes, cancel := p.Watch()
		defer cancel()
		ended := make(chan error)
		go func() { ended <- c.end(p.App) }()
		select {
		case <-changes:
			if s := p.State().Proxy; s.Running || !c.told(s) {
				t.Errorf("%s: first it says %+v", name, s)
			}
		case <-time.After(3 * time.Second): // the request is waited for longer
			t.Errorf("%s: nothing is told while the request is waited for", name)
		}
		request.Close()
		if err := <-ended; err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAPauseEndsWhenTheClockSaysSo: timers stand still while the machine sleeps.
func TestAPauseEndsWhenTheClockSaysSo(t *testing.T) {
	p := openIn(t, ownHome(t))
	p.Prepare(t.Context(), Life{Quit: func() {}})
	defer p.Close()
	p.service.SetPort(0)
	m := newMachine(p.http.Transport.(*wakefulTransport))
	if err := p.Pause(time.Hour); err != nil {
		t.Fatal(err)
	}
	defer p.service.Stop()
	ctx, end := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() { p.watchAccount(ctx) })
	watching.Go(func() { p.keepConnected(ctx, time.Millisecond) })
	defer watching.Wait()
	defer end()
	m.pass(59 * time.Minute)
	if p.pauseOver() {
		t.Fatal("it ends too early")
	}
	m.pass(time.Minute + time.Second)
	for limit := time.Now().Add(10 * time.Second); p.service.Addr() == ""; time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("the machine slept through the end of the pause, and it goes on")
		}
	}
	if !p.State().Proxy.PausedUntil.IsZero() {
		t.Error("it is still said to be paused")
	}
}

// TestAProgramThatEndsIsNotStopped: it would not listen when it is started again.
func TestAProgramThatEndsIsNotStopped(t *testing.T) {
	p := openIn(t, ownHome(t))
	ctx, quit := context.WithCancel(t.Context())
	p.Prepare(ctx, Life{Quit: quit})
	defer p.Close()
	quit()
	if err := p.Stop(); !errors.Is(err, errEnding) {
		t.Errorf("stopping it says %v", err)
	}
	if err := p.Pause(time.Minute); !errors.Is(err, errEnding) {
		t.Errorf("pausing it says %v", err)
	}
	if saved, err := ReadSaved(); err != nil || saved.Stopped() {
		t.Errorf("it stays stopped (%v)", err)
	}
}
