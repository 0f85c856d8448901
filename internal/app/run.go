package app

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"codex-proxy/creds"
	"codex-proxy/internal/autostart"
	"codex-proxy/internal/control"
	"codex-proxy/internal/update"
)

// Life is how a running program is to live.
type Life struct {
	// Quit ends the program: it cancels the context that Run was given.
	Quit func()
	// Entered is called once this program is on the list of those that run; may be nil.
	Entered func()
	// Login is what starts the program at login; nil where the user has no say in that.
	Login *autostart.Entry
	// StartsAgain is why the program would not start again as it was started; may be nil.
	StartsAgain func() error
	// OpenPage opens the page in the browser once the program runs, unless one that was open comes back.
	OpenPage bool
	// Hurry is closed when the user wants the end at once; nil for never.
	Hurry <-chan struct{}
}

// Prepare makes what the menu, the page and commands may use from their first moment. Run follows, with the same ctx.
func (a *App) Prepare(ctx context.Context, life Life) {
	a.life, a.lifetime, a.advice.stays = life, ctx, true
	a.service.Hurry = life.Hurry
	a.newPage()
}

// Run serves until ctx ends, then lets the answers under way end, and then waits for what the sign-in is doing. A port
// that can't be listened on is an error without the icon.
func (a *App) Run(ctx context.Context) error {
	life := a.life
	defer a.history.Close()
	defer a.page.Close()
	for _, warning := range a.Settings.Warnings {
		a.log.Warn("⚠️ " + warning)
	}
	if err := a.KeysProblem(); err != nil {
		a.log.Warnf("⚠️ No named API key is good: %v", err)
	}
	opened := make(chan error, 1)
	opening, done := context.WithTimeout(ctx, signInPatience)
	go func() {
		defer done()
		opened <- a.manager.Open(ctx)
	}()
	<-opening.Done()
	saved, _ := ReadSaved() // that it can't be read is one of the warnings
	if a.Settings.Demo || !a.program.Icon || !saved.Stopped() {
		if err := a.listen(0); err != nil && !a.program.Icon {
			return err
		}
	}
	a.findSpareDoor()
	a.warnOfTwins()
	door, err := control.Open(RunFolder(), a.about(), a.verbs(life.Quit), standardLogger(a.log))
	if err != nil {
		a.log.Warnf("⚠️ The commands can't reach this program while it runs: %v", err)
	} else {
		defer door.Close()
	}
	if life.Entered != nil {
		life.Entered()
	}
	a.client.UsageTracker.OnChange(a.onUsage)

	// The Manager outlives the answers under way: one of them may still need a fresh token.
	keep, stopKeeping := context.WithCancel(context.WithoutCancel(ctx))
	defer stopKeeping()
	var wait sync.WaitGroup
	if life.OpenPage {
		wait.Go(func() { a.bringPageBack(ctx) })
	}
	wait.Go(func() { a.watchAccount(ctx) })
	if a.Settings.UpdateNotice && !a.Settings.Demo {
		wait.Go(func() { a.watchReleases(ctx) })
	}
	wait.Go(func() {
		if err := <-opened; ctx.Err() == nil {
			a.firstSteps(ctx, err)
		}
		a.manager.Ready()
		a.changed(false)
		wait.Go(func() { a.keepConnected(ctx, lookEvery) })
		a.manager.Run(keep)
	})
	collectOften() // not before: its floor makes the first collection due, which cost the start 4 ms of 44
	<-ctx.Done()
	a.power.Lock() // who is starting the proxy gets done first, and who comes later is refused
	a.endPause()
	a.power.Unlock()
	a.log.Info("👋 Stopping: answers under way have a few seconds to end")
	a.page.Disconnect() // its streams would hold up the stop
	a.service.Stop()
	stopKeeping()
	wait.Wait()
	return nil
}

// signInPatience is for how long the start waits for what is stored: a keychain may be asking its user.
const signInPatience = time.Second

func (a *App) about() control.About {
	return control.About{PID: os.Getpid(), Version: a.program.Version, Store: a.manager.State().Store, Demo: a.Settings.Demo, Icon: a.program.Icon, Started: time.Now()}
}

// verbs are what commands can have the running program do.
func (a *App) verbs(quit func()) map[string]control.Verb {
	do := func(f func(context.Context) error) control.Verb {
		return func(ctx context.Context, _ url.Values) (any, error) { return nil, f(ctx) }
	}
	return map[string]control.Verb{
		"state": func(ctx context.Context, args url.Values) (any, error) {
			a.askUsage(ctx, args.Get("usage") == "now")
			return a.State(), nil
		},
		"reload": do(a.manager.Reload),
		"look":   do(func(context.Context) error { a.changed(false); return nil }), // at what a command has changed
		"write": do(func(ctx context.Context) error { // into the history what was asked just now
			if a.history == nil {
				return nil
			}
			return a.history.Flush(ctx)
		}),
		"show": func(context.Context, url.Values) (any, error) {
			a.changed(true)
			return a.State(), nil
		},
		"open":  func(_ context.Context, args url.Values) (any, error) { return a.PageAddress(args.Get("section")) },
		"start": do(func(context.Context) error { return a.Start(0) }),
		"stop":  do(func(context.Context) error { return a.Stop() }),
		"quit":  do(func(context.Context) error { quit(); return nil }),
	}
}

// Starting holds off other programs of this user that start at the same moment; see control.Starting.
func Starting(ctx context.Context, wait time.Duration) (release func(), err error) {
	return control.Starting(ctx, RunFolder(), wait)
}

// Programs lists the running programs of this user.
func Programs() []control.Program { return control.Programs(RunFolder()) }

// patience is how long another program may take to answer.
const patience = 10 * time.Second

// TellOthers has the other running programs carry out a verb, each within wait. The error names one that did not.
func TellOthers(ctx context.Context, verb string, wait time.Duration) (err error) {
	for _, p := range Programs() {
		if p.PID == os.Getpid() || p.Demo {
			continue
		}
		if e := p.Call(ctx, wait, verb, nil, nil); e != nil {
			err = e
		}
	}
	return err
}

// Mine is the running program that uses the same sign-in as this command; ok is false when there is none.
func (a *App) Mine() (p control.Program, ok bool) {
	store := a.manager.State().Store
	for _, p := range Programs() {
		if p.PID != os.Getpid() && p.Demo == a.Settings.Demo && (p.Demo || p.Store == store) {
			return p, true
		}
	}
	return control.Program{}, false
}

// warnOfTwins says when another program uses the same sign-in.
func (a *App) warnOfTwins() {
	if p, ok := a.Mine(); ok {
		a.log.Warnf("⚠️ Another Codex Proxy (process %d) uses this sign-in, too. Both work; end one with `codex-proxy quit` if you did not mean it", p.PID)
	}
}

// watchReleases looks once a day whether there is a newer version, and says so in the menu and on the page.
func (a *App) watchReleases(ctx context.Context) {
	update.Watch(ctx, update.Config{
		Address: a.program.UpdateAddress, Key: a.program.UpdateKey, Version: a.program.Version, File: filepath.Join(StateFolder(), "update.json"),
		Client: a.http, Getenv: os.Getenv,
		Found: func(r update.Release) {
			a.mu.Lock()
			a.newer = r
			a.mu.Unlock()
			a.changed(false)
		},
		Warn: func(err error) { a.log.Warnf("⚠️ No notice of new versions: %v", err) },
	})
}

// whose says whose sign-in a state tells of.
func whose(s creds.State) string { return string(s.Kind) + " " + s.AccountID + " " + s.Email }

// watchAccount forgets what belonged to another account when somebody else signs in.
func (a *App) watchAccount(ctx context.Context) {
	states, cancel := a.manager.Subscribe()
	defer cancel()
	before := whose(a.manager.State())
	note := func(account string) {
		select {
		case <-a.accounts: // nobody has looked at it
		default:
		}
		a.accounts <- account // there is room: only this sends
	}
	note(before)
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-states:
			a.changed(false)
			if now := whose(s); now != before {
				before = now
				a.client.UsageTracker.Clear()
				a.client.Models.Stale()
				if a.client.Sockets != nil {
					a.client.Sockets.Close()
				}
				note(now)
			}
		}
	}
}

// firstSteps finishes the start of the sign-in: what was stored, or else what the Codex CLI has. Whatever goes wrong,
// the proxy runs and says what is wrong.
func (a *App) firstSteps(ctx context.Context, opened error) {
	if opened == nil {
		a.sayWho()
		return
	}
	if !a.imports || !isMissing(opened) {
		a.Steps(creds.Step{Kind: creds.StepFailure, Text: opened.Error()})
		return
	}
	a.firstImport(ctx)
}

func (a *App) sayWho() {
	s := a.manager.State()
	a.Steps(creds.Step{Kind: creds.StepDone, Text: "Signed in as " + Who(s) + ", stored in " + s.Store})
}
