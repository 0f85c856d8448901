package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/adrg/xdg"
	"github.com/atotto/clipboard"
	"github.com/pkg/browser"

	"codex-proxy/creds"
	"codex-proxy/internal/autostart"
	"codex-proxy/tray"
)

// Menu is the program as package tray sees it: a tray.App.
type Menu struct {
	app     *App
	args    []string // with which the program was started
	quit    func()
	changes chan tray.Change
}

// Menu returns the program as the menu sees it, until ctx ends. args are what the program was started with, to be
// started so at login; quit ends it.
func (a *App) Menu(ctx context.Context, args []string, quit func()) *Menu {
	m := &Menu{app: a, args: args, quit: quit, changes: make(chan tray.Change, 1)}
	changes, cancel := a.Watch()
	go func() {
		defer cancel()
		for {
			select {
			case <-ctx.Done():
				return
			case c := <-changes:
				select {
				case m.changes <- tray.Change{Show: c.Show}:
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	return m
}

// Changes tells when the state is another one.
func (m *Menu) Changes() <-chan tray.Change { return m.changes }

// State returns what the menu shows.
func (m *Menu) State() tray.State {
	s := m.app.State()
	t := tray.State{
		Version: s.Version, Demo: s.Demo, Model: s.Model,
		Running: s.Proxy.Running, Root: strings.TrimSuffix(s.Proxy.URL, "/v1"), Trouble: s.Proxy.Problem, Spare: s.Proxy.Spare,
		Email: s.SignIn.Email, Plan: s.SignIn.Plan, ExpiresAt: s.SignIn.ExpiresAt, FailingSince: s.SignIn.FailingSince,
		NextAttempt: s.SignIn.NextAttempt, Cause: tray.Cause(s.SignIn.Cause), Imported: s.SignIn.Imported, CanImport: s.SignIn.CanImport,
		LimitReached: s.Usage.ReachedAt(time.Now()), StartAtLogin: LoginEntry(m.args).Enabled(),
	}
	t.SignIn = map[creds.Status]tray.Status{
		creds.StatusNone: tray.SignedOut, creds.StatusSignedIn: tray.SignedIn, creds.StatusExpiring: tray.SignedIn,
		creds.StatusRefreshing: tray.Refreshing, creds.StatusRefreshFailing: tray.Failing, creds.StatusSignInAgain: tray.SignInAgain,
	}[s.SignIn.Status]
	if s.SignIn.Starting {
		t.SignIn = tray.Starting
	}
	for _, w := range s.Usage.Windows {
		t.Windows = append(t.Windows, tray.Window{Name: w.Name, UsedPercent: w.UsedPercent, ResetsAt: w.ResetsAt})
	}
	return t
}

// Do carries out what was clicked.
func (m *Menu) Do(ctx context.Context, action tray.Action) (string, error) {
	a := m.app
	if text, told, ok := tray.Snippet(action, m.State()); ok {
		if err := clipboard.WriteAll(text); err != nil {
			return "", fmt.Errorf("nothing to copy with is installed (%v). It is: %s", err, text) //nolint:errorlint // for people
		}
		return told, nil
	}
	switch action {
	case tray.Start:
		return m.start(0)
	case tray.OtherPort:
		return m.start(a.State().Proxy.Spare)
	case tray.Stop:
		return "The proxy is stopped", a.Stop()
	case tray.Refresh:
		return "Refreshed: the token is good for " + InWords(time.Until(a.State().SignIn.ExpiresAt)), a.Refresh(ctx)
	case tray.Import:
		return m.signedIn("Imported: signed in as ", a.Import(ctx, ImportOptions{From: "any"}))
	case tray.SignIn:
		if err := a.CanKeep(ByChatGPT); err != nil {
			return "", err
		}
		return m.signedIn("Signed in as ", a.SignIn(ctx, SignInOptions{Way: ByChatGPT, Show: func(p Prompt) { OpenBrowser(p.Address) }}))
	case tray.SignOut:
		out, err := a.SignOut(ctx)
		return "Signed out of " + Who(out.Before), err
	case tray.StartAtLogin:
		entry := LoginEntry(m.args)
		if entry.Enabled() {
			return "Codex Proxy no longer starts at login", entry.Disable()
		}
		return "Codex Proxy starts at login from now on", entry.Enable()
	case tray.OpenLog:
		return "", browser.OpenFile(LogFile())
	case tray.About:
		return "Version " + a.Version + ". Your ChatGPT plan for your editors, on this machine only.", nil
	case tray.Quit:
		m.quit()
	}
	return "", nil
}

func (m *Menu) start(port int) (string, error) {
	if err := m.app.Start(port); err != nil {
		return "", err
	}
	return "The proxy is running at " + m.State().Root, nil
}

func (m *Menu) signedIn(done string, err error) (string, error) {
	var said *SaidError
	if errors.As(err, &said) {
		err = said.Err
	}
	return done + Who(m.app.manager.State()), err
}

// OpenBrowser opens an address in the user's browser. It returns when the browser does, which may be never.
func OpenBrowser(address string) error {
	browser.Stdout, browser.Stderr = nil, nil
	return browser.OpenURL(address)
}

// LoginEntry is what the desktop runs at login: this program with flags as it was started with.
func LoginEntry(args []string) autostart.Entry {
	program, err := os.Executable()
	if err != nil {
		program = os.Args[0]
	}
	return autostart.Entry{Program: program, Args: args, System: runtime.GOOS, Home: xdg.Home, Config: configHome()}
}
