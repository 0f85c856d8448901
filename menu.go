package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/adrg/xdg"
	"github.com/atotto/clipboard"
	"github.com/gofrs/flock"
	"github.com/pkg/browser"
	"github.com/sirupsen/logrus"
	"gopkg.in/natefinch/lumberjack.v2"

	"codex-proxy/creds"
	"codex-proxy/internal/autostart"
	"codex-proxy/tray"
)

type menuCommand struct {
	Headless bool `help:"No icon: the same as the command serve."`
}

// Run shows the icon, if there can be one, and serves in any case.
func (m *menuCommand) Run(c *console) error {
	if why := noMenu(); m.Headless || why != "" {
		if !m.Headless {
			fmt.Fprintf(c.err, "Running without the icon: %s\n", why)
		}
		return (&serveCommand{}).Run(c)
	}
	log := newLogger(io.MultiWriter(c.err, logFile()), c.settings.Env, c.settings.LogLevel)
	a, err := newApp(c.settings, log)
	if err != nil {
		log.Errorf("❌ %v", err)
		return errSilent
	}
	if !c.settings.Demo {
		first, err := a.alone()
		if err != nil {
			log.Warnf("⚠️ %v", err)
		} else if first == nil {
			return c.showOther(a)
		} else {
			defer first.Unlock() //nolint:errcheck // the program ends
		}
	}
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	panel := tray.NewPanel()
	served, shown := make(chan error, 1), make(chan struct{})
	go func() { defer cancel(); served <- a.run(ctx, true) }()
	go func() {
		defer close(shown)
		tray.Run(ctx, &menuApp{app: a, args: c.args, quit: cancel}, panel, tray.NewDesktop(ctx), time.Now)
	}()
	go a.watchPanel(ctx, panel)
	showPanel(ctx, panel, cancel, log)
	<-shown
	return <-served
}

// showPanel keeps a failure of the icon from ending the proxy.
func showPanel(ctx context.Context, panel *tray.Panel, cancel func(), log *logrus.Logger) {
	defer func() {
		if crash := recover(); crash != nil {
			log.Errorf("❌ The icon failed (%v); the proxy goes on without it", crash)
			<-ctx.Done()
		}
	}()
	panel.Show(ctx, cancel)
}

// logFile is where "Open log" looks. It is bounded: two files of 5 MB.
func logFile() io.Writer {
	return &lumberjack.Logger{Filename: logPath(), MaxSize: 5, MaxBackups: 1}
}

func logPath() string { return filepath.Join(stateFolder(), "codex-proxy.log") }

// alone takes the lock of the one program that shows a menu for this sign-in. It returns nil when another holds it.
func (a *app) alone() (*flock.Flock, error) {
	path := strings.TrimSuffix(controlFile(a.manager.State().Store), ".json") + ".lock"
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	lock := flock.New(path)
	ok, err := lock.TryLock()
	if err != nil || !ok {
		return nil, err
	}
	return lock, nil
}

// showOther makes the program that runs already show itself, and says here where it is.
func (c *console) showOther(a *app) error {
	var r report
	for range 20 { // it may be starting
		if err := running(c.ctx, a.manager.State().Store, "POST", "/show", &r); err == nil {
			c.printf("Codex Proxy runs already. `codex-proxy quit` ends it.\n\n")
			r.write(c.out, time.Now())
			return nil
		}
		select {
		case <-time.After(250 * time.Millisecond):
		case <-c.ctx.Done():
			return nil
		}
	}
	return errors.New("another Codex Proxy holds this sign-in but does not answer. End it and start again")
}

// watchPanel says in the log and in status when nothing shows the icon.
func (a *app) watchPanel(ctx context.Context, panel *tray.Panel) {
	set := func(text string) {
		a.mu.Lock()
		before := a.menu
		a.menu = text
		a.mu.Unlock()
		if before != text && before != "" {
			a.log.Info("🖼️ " + text)
		}
	}
	set("starting")
	for wait := 10 * time.Second; ; wait = time.Minute {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		switch there, why := trayHost(); {
		case !there:
			set("not shown: " + why)
		default:
			select {
			case <-panel.Ready():
				set("shown in the panel")
			default:
				set("not shown: the system did not take the icon")
			}
		}
	}
}

// menuApp is the program as the menu sees it.
type menuApp struct {
	*app
	args []string // with which the program was started
	quit func()
}

// Changes tells when the state is another one.
func (m *menuApp) Changes() <-chan tray.Change { return m.changes }

// State returns what the menu shows.
func (m *menuApp) State() tray.State {
	s, u := m.manager.State(), m.client.Meter.Current()
	m.mu.Lock()
	t := tray.State{Trouble: m.trouble, Spare: m.spare, Imported: m.imported}
	m.mu.Unlock()
	t.Version, t.Demo, t.Model = version, m.settings.Demo, m.client.Models.Default()
	t.Root = fmt.Sprintf("http://localhost:%d", m.service.WantedPort())
	if addr := m.service.Addr(); addr != "" {
		t.Running, t.Root = true, "http://"+display(addr)
	}
	t.SignIn = map[creds.Status]tray.Status{
		creds.StatusNone: tray.SignedOut, creds.StatusSignedIn: tray.SignedIn, creds.StatusExpiring: tray.SignedIn,
		creds.StatusRefreshing: tray.Refreshing, creds.StatusRefreshFailing: tray.Failing, creds.StatusSignInAgain: tray.SignInAgain,
	}[s.Status]
	if !m.manager.Started() && s.Status == creds.StatusNone {
		t.SignIn = tray.Starting
	}
	t.Email, t.Plan, t.ExpiresAt, t.FailingSince, t.NextAttempt = s.Email, s.Plan, s.ExpiresAt, s.FailingSince, s.NextAttempt
	t.Cause = tray.Cause(s.Cause)
	for _, w := range u.Windows {
		t.Windows = append(t.Windows, tray.Window{Name: w.Name, UsedPercent: w.UsedPercent, ResetsAt: w.ResetsAt})
	}
	t.LimitReached = u.ReachedAt(time.Now())
	t.CanImport = m.migrate
	t.StartAtLogin = loginEntry(m.args).Enabled()
	return t
}

// Do carries out what was clicked.
func (m *menuApp) Do(ctx context.Context, a tray.Action) (string, error) {
	if text, told, ok := tray.Snippet(a, m.State()); ok {
		if err := clipboard.WriteAll(text); err != nil {
			return "", fmt.Errorf("nothing to copy with is installed (%v). It is: %s", err, text) //nolint:errorlint // for people
		}
		return told, nil
	}
	switch a {
	case tray.Start:
		return m.start(0)
	case tray.OtherPort:
		m.mu.Lock()
		spare := m.spare
		m.mu.Unlock()
		return m.start(spare)
	case tray.Stop:
		return "The proxy is stopped", m.stopProxy()
	case tray.Refresh:
		if m.manager.Refresh(ctx) != nil {
			return "", errors.New(m.manager.State().Problem)
		}
		return "Refreshed: the token is good for " + inWords(time.Until(m.manager.State().ExpiresAt)), nil
	case tray.Import:
		return m.importAgain(ctx)
	case tray.SignIn:
		return m.signIn(ctx)
	case tray.SignOut:
		before := m.manager.State()
		if _, err := m.manager.Forget(ctx); err != nil {
			return "", err
		}
		return "Signed out of " + who(before), nil
	case tray.StartAtLogin:
		entry := loginEntry(m.args)
		if entry.Enabled() {
			return "Codex Proxy no longer starts at login", entry.Disable()
		}
		return "Codex Proxy starts at login from now on", entry.Enable()
	case tray.OpenLog:
		return "", browser.OpenFile(logPath())
	case tray.About:
		return "Version " + version + ". Your ChatGPT plan for your editors, on this machine only.", nil
	case tray.Quit:
		m.quit()
	}
	return "", nil
}

func (m *menuApp) start(port int) (string, error) {
	if err := m.startProxy(port); err != nil {
		return "", err
	}
	return "The proxy is running at " + m.State().Root, nil
}

func (m *menuApp) importAgain(ctx context.Context) (string, error) {
	found, err := m.importer.Import(ctx)
	if err != nil {
		return "", err
	}
	if s := m.manager.State(); s.Status != creds.StatusNone && s.AccountID != "" && s.AccountID != found.AccountID {
		return "", fmt.Errorf("the Codex CLI is signed in as %s, another account than %s. Sign out first to replace it", found.Email, s.Email)
	}
	found.TakeOver = !m.settings.DisableMigrateRefresh
	if err := m.manager.Adopt(ctx, found); err != nil {
		return "", err
	}
	if found.TakeOver && m.manager.Refresh(ctx) != nil {
		return "", errors.New(m.manager.State().Problem)
	}
	return "Imported: signed in as " + who(m.manager.State()), nil
}

func (m *menuApp) signIn(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, loginPatience)
	defer cancel()
	c, err := m.newLogin("", openBrowser).ChatGPT(ctx)
	if err != nil {
		return "", err
	}
	if err := m.manager.Adopt(ctx, c); err != nil {
		return "", err
	}
	return "Signed in as " + who(m.manager.State()), nil
}

// loginEntry is what the desktop runs at login: this program with flags as it was started with.
func loginEntry(args []string) autostart.Entry {
	program, err := os.Executable()
	if err != nil {
		program = os.Args[0]
	}
	return autostart.Entry{Program: program, Args: args, System: runtime.GOOS, Home: xdg.Home, Config: configHome()}
}
