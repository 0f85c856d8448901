package tray

import (
	"context"
	"errors"
	"sync"
	"time"
)

// UI is a panel's icon and menu. One goroutine calls Render.
type UI interface {
	// Render shows the menu, the icon and the tooltip; it changes only what differs.
	Render(View)
	// Clicks receives the action of each line that was clicked.
	Clicks() <-chan Action
	// Ready is closed when the system can show the icon; Render before that shows nothing.
	Ready() <-chan struct{}
}

// View is what a UI shows.
type View struct {
	Items   []Item
	Icon    Icon
	Meter   float64 // a share to show in the icon, in percent; negative for none
	Tooltip string
}

// Notifier shows notifications. Its methods return at once, whatever the desktop's service does.
type Notifier interface {
	Notify(n Notice)
	// Withdraw takes the notification about a problem away, where the system can.
	Withdraw(problem string)
	// Clicked receives the action of a notification that was clicked, where the system tells.
	Clicked() <-chan Action
}

// every is how often texts that tell a time are looked at.
const every = 30 * time.Second

// Run shows the app's state and carries out what is clicked, until ctx ends. It waits for the actions under way.
func Run(ctx context.Context, app App, ui UI, notify Notifier, now func() time.Time) {
	l := &loop{app: app, ui: ui, notify: notify, now: now, busy: map[Action]bool{}, done: make(chan result)}
	l.show()
	ready := ui.Ready()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			l.work.Wait()
			return
		case <-ready:
			ready = nil
		case c := <-app.Changes():
			if c.Show {
				notify.Notify(Shown(l.state(), now()))
			}
		case a := <-ui.Clicks():
			l.start(ctx, a)
		case a := <-notify.Clicked():
			l.start(ctx, a)
		case r := <-l.done:
			l.end(r)
		case <-ticker.C:
		}
		l.show()
	}
}

type loop struct {
	app     App
	ui      UI
	notify  Notifier
	now     func() time.Time
	notices Notices
	told    int // notifications about problems so far
	busy    map[Action]bool
	done    chan result
	work    sync.WaitGroup
}

type result struct {
	action Action
	text   string
	err    error
	told   int // loop.told when it began
}

func (l *loop) state() State {
	s := l.app.State()
	s.Busy = map[Action]bool{}
	for a := range l.busy {
		if !isOpen(a) {
			s.Busy[a] = true
		}
	}
	return s
}

func (l *loop) show() {
	s, now := l.state(), l.now()
	l.ui.Render(View{Menu(s, now), IconFor(s, now), MeterFor(s), Tooltip(s, now)})
	tell, ended := l.notices.Next(s, now)
	for _, problem := range ended {
		l.notify.Withdraw(problem)
	}
	for _, n := range tell {
		if n.Problem != "" {
			l.told++
		}
		l.notify.Notify(n)
	}
}

// start runs an action in a goroutine of its own, unless it runs already.
func (l *loop) start(ctx context.Context, a Action) {
	if a == "" || l.busy[a] {
		return
	}
	l.busy[a] = true
	told := l.told
	l.work.Go(func() {
		text, err := l.app.Do(ctx, a)
		select {
		case l.done <- result{a, text, err, told}:
		case <-ctx.Done():
		}
	})
}

// end tells how an action went, where neither the menu nor a notification about the same event does. That it failed is
// told until it works.
func (l *loop) end(r result) {
	delete(l.busy, r.action)
	l.show() // what came of it, first
	failure := "failed: " + string(r.action)
	if r.err == nil {
		l.notify.Withdraw(failure)
	}
	switch {
	case errors.Is(r.err, context.Canceled):
	case r.err != nil && l.told == r.told:
		l.notify.Notify(Notice{Problem: failure, Title: "That did not work", Body: capital(r.err.Error()) + ".", Action: Open("overview")})
	case r.err == nil && r.text != "":
		l.notify.Notify(Notice{Title: "Codex Proxy", Body: r.text, Quiet: true})
	}
}
