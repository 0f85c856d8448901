package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
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
	entry   autostart.Entry // what is started at login
	quit    func()
	changes chan tray.Change
}

// Menu returns the program as the menu sees it, until ctx ends. entry is what can be started at login; quit ends the
// program.
func (a *App) Menu(ctx context.Context, entry autostart.Entry, quit func()) *Menu {
	m := &Menu{app: a, entry: entry, quit: quit, changes: make(chan tray.Change, 1)}
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
	t := m.app.State().tray(time.Now())
	t.StartAtLogin = m.entry.Enabled()
	t.Tools = m.app.trayTools()
	return t
}

// tray is the state in the words of the menu.
func (s State) tray(now time.Time) tray.State {
	in := s.SignIn
	t := tray.State{
		Version: s.Version, Demo: s.Demo, Model: s.Model, Meter: s.Meter,
		Running: s.Proxy.Running, Root: strings.TrimSuffix(s.Proxy.URL, "/v1"), Trouble: s.Proxy.Problem, Spare: s.Proxy.Spare,
		UsualPort: s.Proxy.UsualPort, PausedUntil: s.Proxy.PausedUntil,
		Usable: in.Usable, Email: in.Email, Plan: in.Plan, ExpiresAt: in.ExpiresAt,
		Cause: tray.Cause(in.Cause), Problem: in.Problem, FailingSince: in.FailingSince, NextAttempt: in.NextAttempt,
		Imported: in.Imported, CanImport: in.CanImport, LimitReached: s.Usage.ReachedAt(now),
	}
	t.SignIn = map[creds.Status]tray.Status{
		creds.StatusNone: tray.SignedOut, creds.StatusSignedIn: tray.SignedIn, creds.StatusExpiring: tray.SignedIn,
		creds.StatusRefreshing: tray.Refreshing, creds.StatusRefreshFailing: tray.Failing, creds.StatusSignInAgain: tray.SignInAgain,
	}[in.Status]
	t.ByUser = in.Cause == creds.CauseSignedOut
	if t.Unread = in.Cause == creds.CauseStoreUnreadable; t.Unread {
		t.Problem = in.Sentence()
	}
	t.Mute, t.Newer, t.PlanNotice = s.Mute, s.Newer, s.PlanNotice
	t.ClockOff, t.AskedOrigin = in.ClockOff, s.Asked
	if f := s.Failed; f != nil {
		t.LastError, t.LastErrorAt = f.Client+": "+f.Error, f.Time
	}
	if in.Starting {
		t.SignIn = tray.Starting
	}
	if p := s.SigningIn; p != nil {
		t.SigningIn = &tray.Prompt{Address: p.Address, Code: p.Code, Expires: p.Expires, NoBrowser: p.NoBrowser}
	}
	for _, w := range s.Usage.Windows {
		if !w.OverAt(now) { // else it is another one by now, and nobody has told of that
			t.Windows = append(t.Windows, tray.Window{Name: w.Name, UsedPercent: w.UsedPercent, ResetsAt: w.ResetsAt})
		}
	}
	return t
}

// Do carries out what was clicked. What the menu or the icon show by themselves is not told again.
func (m *Menu) Do(ctx context.Context, action tray.Action) (string, error) {
	a := m.app
	if id, ok := strings.CutPrefix(string(action), string(tray.ConnectPrefix)); ok {
		text, told, err := a.toggleTool(id)
		if err == nil && text != "" {
			err = m.copy(text, "tools")
		}
		return told, err
	}
	if section, ok := strings.CutPrefix(string(action), string(tray.OpenPrefix)); ok {
		return "", a.OpenPage(section)
	}
	if origin, ok := strings.CutPrefix(string(action), string(tray.AllowPrefix)); ok {
		return "", a.AllowOrigin(origin, true)
	}
	if origin, ok := strings.CutPrefix(string(action), string(tray.DenyPrefix)); ok {
		return "", a.AllowOrigin(origin, false)
	}
	switch action {
	case tray.Start:
		return "", a.Start(0)
	case tray.OtherPort:
		return "", a.Start(a.State().Proxy.Spare)
	case tray.UsualPort:
		return "", a.UseUsualPort()
	case tray.Stop:
		return "", a.Stop()
	case tray.Pause:
		return "", a.Pause(time.Hour)
	case tray.Refresh:
		return "", a.Refresh(ctx)
	case tray.Import:
		return "", a.Import(ctx, ImportOptions{From: "any"})
	case tray.SignIn:
		return "", m.signIn(ctx, ByBrowser)
	case tray.SignInByCode:
		return "", m.signIn(ctx, ByDevice)
	case tray.SignInChatGPT:
		return "", a.OpenPage("sign-in") // which tells first what that means
	case tray.CancelSignIn:
		a.CancelSignIn()
		return "", nil
	case tray.CopySignInLink:
		if p := a.SigningIn(); p != nil {
			return "", m.copy(p.Address, "sign-in")
		}
		return "", nil
	case tray.CopyBaseURL:
		return "The base URL is copied. Any text will do as the API key", m.copy(a.State().Target().Fill("{ROOT}/v1"), "tools")
	case tray.CopyModel:
		return "The model's id is copied", m.copy(a.State().Target().Fill("{MODEL}"), "tools")
	case tray.SignOut:
		_, err := a.SignOut(ctx)
		return "", err
	case tray.StartAtLogin:
		defer a.changed(false) // the page shows it, too
		if m.entry.Enabled() {
			return "", m.entry.Disable()
		}
		return "", m.entry.Enable()
	case tray.ShowMeter:
		return "", a.ShowMeter(!a.State().Meter)
	case tray.OpenLog:
		return "", OpenBrowser(LogFile())
	case tray.Update:
		return "", OpenBrowser(a.State().NewerPage)
	case tray.About:
		return "Version " + a.program.Version + ". Your ChatGPT plan for your editors, on this machine only.", nil
	case tray.Quit:
		m.quit()
	}
	return "", nil
}

// copy puts text into the clipboard. Where there is nothing to copy with, the page shows it.
func (m *Menu) copy(text, section string) error {
	if clipboard.WriteAll(text) == nil {
		return nil
	}
	if err := m.app.OpenPage(section); err != nil {
		return fmt.Errorf("nothing to copy with is installed (install wl-clipboard or xclip), and %w", err)
	}
	return errors.New("nothing to copy with is installed, so the page shows it. Install wl-clipboard or xclip to have it copied")
}

// signIn signs in by the browser. One that can't be opened is told at once, with a way on.
func (m *Menu) signIn(ctx context.Context, way Way) error {
	a := m.app
	if err := a.CanKeep(way); err != nil {
		return err
	}
	err := a.SignIn(ctx, SignInOptions{Way: way, Show: func(p Prompt) {
		if p.Code != "" {
			return // the menu, a notification and the page show it
		}
		if OpenBrowser(p.Address) != nil {
			a.noBrowser(p)
		}
	}})
	if errors.Is(err, errCancelled) {
		return nil // the user did it
	}
	return err
}

// quietBrowser keeps what the browser prints off this program's output.
var quietBrowser = sync.OnceFunc(func() { browser.Stdout, browser.Stderr = io.Discard, io.Discard })

// openPatience is how long it is waited for a browser that can't be opened to say so. One that is opened may stay
// in the foreground for as long as it runs.
const openPatience = 2 * time.Second

// OpenBrowser opens an address, or a file, by the user's own choice of program.
func OpenBrowser(address string) error {
	quietBrowser()
	failed := make(chan error, 1)
	go func() { failed <- browser.OpenURL(address) }() // ends with that program
	select {
	case err := <-failed:
		return err
	case <-time.After(openPatience):
		return nil
	}
}

// LoginEntry is what the desktop runs at login: this program with flags as it was started with.
func LoginEntry(args []string) autostart.Entry {
	program, err := os.Executable()
	if err != nil {
		program = os.Args[0]
	}
	return autostart.Entry{Program: program, Args: args, System: runtime.GOOS, Home: xdg.Home, Config: configHome()}
}
