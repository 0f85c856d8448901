package tray

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"
)

// fake is an app, a panel and a desktop in one.
type fake struct {
	mu      sync.Mutex
	state   State
	changes chan Change
	clicks  chan Action
	clicked chan Action
	ready   chan struct{}
	release chan error
	did     []Action
	items   []Item
	notices []Notice
	ended   []string
}

func (f *fake) State() State           { f.mu.Lock(); defer f.mu.Unlock(); return f.state }
func (f *fake) Changes() <-chan Change { return f.changes }
func (f *fake) Clicks() <-chan Action  { return f.clicks }
func (f *fake) Clicked() <-chan Action { return f.clicked }
func (f *fake) Ready() <-chan struct{} { return f.ready }
func (f *fake) Withdraw(p string)      { f.mu.Lock(); defer f.mu.Unlock(); f.ended = append(f.ended, p) }
func (f *fake) Notify(n Notice)        { f.mu.Lock(); defer f.mu.Unlock(); f.notices = append(f.notices, n) }
func (f *fake) Render(v View) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.items = v.Items
}

func (f *fake) Do(ctx context.Context, a Action) (string, error) {
	f.mu.Lock()
	f.did = append(f.did, a)
	f.mu.Unlock()
	select {
	case err := <-f.release:
		return "done", err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func (f *fake) title(id string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, it := range f.items {
		if it.ID == id {
			return it.Title
		}
	}
	return ""
}

func (f *fake) count() (did, notices int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.did), len(f.notices)
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("this did not happen: ", what)
		}
	}
}

func TestAnActionShowsItselfRunsOnceAndEndsInAResult(t *testing.T) {
	f := &fake{state: good(), changes: make(chan Change), clicks: make(chan Action), clicked: make(chan Action), ready: make(chan struct{}), release: make(chan error)}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); Run(ctx, f, f, f, time.Now) }()
	f.clicks <- Refresh
	until(t, "the line says so and it runs", func() bool { did, _ := f.count(); return did == 1 && f.title("refresh") == "Refreshing…" })
	f.clicks <- Refresh
	f.clicked <- Refresh
	if did, _ := f.count(); did != 1 {
		t.Errorf("it runs %d times", did)
	}
	f.release <- nil
	until(t, "a result is told", func() bool { _, n := f.count(); return n == 1 && f.title("refresh") == "Refresh tokens" })
	f.clicked <- Refresh
	f.release <- errors.New("no")
	until(t, "the failure is told", func() bool { _, n := f.count(); return n == 2 })
	f.mu.Lock()
	if failure := f.notices[1].Problem; failure == "" || !slices.Equal(f.ended, []string{failure}) { // what worked before had none to take away
		t.Errorf("the failure is %q, and %q were taken away", failure, f.ended)
	}
	f.mu.Unlock()
	f.mu.Lock()
	f.state.Trouble = "Port 9879 is used by node"
	f.mu.Unlock()
	f.changes <- Change{}
	until(t, "the trouble is shown and told", func() bool { _, n := f.count(); return n == 3 && f.title("status") == "Port 9879 is used by node" })
	f.changes <- Change{Show: true}
	until(t, "it shows itself", func() bool { _, n := f.count(); return n == 4 })
	f.mu.Lock()
	f.state.Trouble = ""
	f.mu.Unlock()
	f.changes <- Change{}
	until(t, "the notification is taken away", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return slices.Contains(f.ended, "proxy: Port 9879 is used by node")
	})
	f.clicks <- Pause
	until(t, "the line says so", func() bool { return f.title("pause") == "Pausing…" })
	f.mu.Lock()
	f.state.Trouble = "Port 9879 is used by node"
	f.mu.Unlock()
	f.release <- errors.New("port 9879 is used by node")
	until(t, "it ends", func() bool { return f.title("pause") != "Pausing…" })
	f.changes <- Change{} // is heard after the result was told
	if _, n := f.count(); n != 5 {
		t.Errorf("a failure that is a problem, too, is told %d times", n-4)
	}
	f.clicks <- SignIn
	until(t, "the next action runs", func() bool { did, _ := f.count(); return did == 4 })
	cancel()
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Fatal("it does not end while an action runs")
	}
}
