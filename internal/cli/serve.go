package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	"gopkg.in/natefinch/lumberjack.v2"

	"codex-proxy/internal/app"
	"codex-proxy/internal/control"
	"codex-proxy/tray"
)

type serveCommand struct {
	InstallService   bool `xor:"service" help:"Have the system start the proxy whenever you log in, and start it now. For people without the menu."`
	UninstallService bool `xor:"service" help:"Undo --install-service."`
	OpenPage         bool `hidden:"" help:"Open the page once the program runs, unless one comes back; a restart from the page does."`
	// UntilEOF ties a proxy to the program that started it, however that one ends.
	UntilEOF bool `name:"until-eof" hidden:"" help:"End when the standard input does."`
}

func (s *serveCommand) Run(c *console) error {
	if s.InstallService || s.UninstallService {
		return c.service(s.InstallService)
	}
	log, end := c.logger()
	defer end()
	a, err := app.New(c.settings, app.Program{Version: c.process.Version, Log: log, UpdateAddress: c.process.UpdateAddress, UpdateKey: c.process.UpdateKey})
	if err == nil {
		a.Waiting = c.waiting
		defer a.Close()
		ctx, cancel := context.WithCancel(c.ctx)
		defer cancel()
		if s.UntilEOF {
			go func() {
				io.Copy(io.Discard, c.process.In) //nolint:errcheck // its end is all that counts
				cancel()
			}()
		}
		a.Prepare(ctx, app.Life{Quit: cancel, Hurry: c.process.Hurry, OpenPage: s.OpenPage, StartsAgain: c.startsAgain})
		err = a.Run(ctx)
		if err == nil && a.Restarting() {
			return errRestart
		}
	}
	if err != nil {
		log.Errorf("❌ %v", err)
		return errSilent
	}
	return nil
}

// service installs or removes the service that runs `codex-proxy serve` at login.
func (c *console) service(install bool) error {
	args, env := c.forService()
	entry := app.LoginEntry(args)
	entry.Env = env
	if !install {
		removed, err := entry.UninstallService()
		if errors.Is(err, os.ErrNotExist) {
			return errors.New("there is no service to remove")
		}
		if err != nil {
			return err
		}
		c.printf("✅ The service is removed%s\n", listed(removed))
		return nil
	}
	written, err := entry.InstallService()
	for _, path := range written {
		c.printf("💾 Wrote %s\n", path)
	}
	if err != nil {
		return fmt.Errorf("the service could not be started: %w", err)
	}
	c.printf("✅ Codex Proxy starts at login from now on, and runs already. Undo it with: codex-proxy serve --uninstall-service\n")
	return nil
}

func listed(paths []string) string {
	if len(paths) == 0 {
		return ""
	}
	return " (" + strings.Join(paths, ", ") + ")"
}

// secretFlags are not for arguments, which everybody on the machine can see.
var secretFlags = []string{"--api-key", "--admin-api-key", "--access-token", "--https-proxy"}

// forService is what was typed, and the variables that the service needs: those that were set here, and the keys.
func (c *console) forService() (args []string, env map[string]string) {
	env = map[string]string{}
	for _, flag := range c.parser.Model.Flags {
		if len(flag.Envs) > 0 && c.settings.From[flag.Name] == app.FromEnv {
			env[flag.Envs[0]] = fromAnywhere("--"+flag.Name, os.Getenv(flag.Envs[0]))
		}
	}
	for _, name := range app.NetworkVariables {
		if value := os.Getenv(name); value != "" {
			env[name] = fromAnywhere(name, value)
		}
	}
	args, keys := c.typed()
	maps.Copy(env, keys)
	return args, env
}

// pathFlags name files: what starts at login starts in another folder than this command. One is a variable only.
var pathFlags = []string{"--creds-path", "--codex-home", "SSL_CERT_FILE"}

// fromAnywhere is the value of a flag, or of a variable, as it is meant from every folder.
func fromAnywhere(name, value string) string {
	if value == "" || strings.HasPrefix(value, "~") || !slices.Contains(pathFlags, name) {
		return value
	}
	if path, err := filepath.Abs(value); err == nil {
		return path
	}
	return value
}

// typed is what was typed, without what is only for now and without keys, and the keys as variables.
func (c *console) typed() (args []string, keys map[string]string) {
	keys = map[string]string{}
	typed := withoutOpenPage(c.process.Args)
	for i := 0; i < len(typed); i++ {
		name, value, whole := strings.Cut(typed[i], "=")
		switch {
		case name == "--install-service" || name == "--uninstall-service":
		case slices.Contains(secretFlags, name):
			if !whole && i+1 < len(typed) {
				i++
				value = typed[i]
			}
			variable := c.variable(strings.TrimPrefix(name, "--"))
			if keys[variable] != "" && name == "--api-key" {
				value = keys[variable] + "," + value // one flag a key
			}
			keys[variable] = value
		case whole:
			args = append(args, name+"="+fromAnywhere(name, value))
		case slices.Contains(pathFlags, name) && i+1 < len(typed):
			i++
			args = append(args, name, fromAnywhere(name, typed[i]))
		default:
			args = append(args, name)
		}
	}
	return args, keys
}

// variable is the environment variable of a flag.
func (c *console) variable(flag string) string {
	for _, f := range c.parser.Model.Flags {
		if f.Name == flag && len(f.Envs) > 0 {
			return f.Envs[0]
		}
	}
	return ""
}

type menuCommand struct {
	Headless bool `help:"No icon: the same as the command serve."`
	OpenPage bool `hidden:"" help:"Open the page once the program runs, unless one comes back; a restart from the page does."`
}

// Run shows the icon, if there can be one, and serves in any case.
func (m *menuCommand) Run(c *console) error {
	if why := tray.Unavailable(); m.Headless || why != "" {
		if !m.Headless {
			c.warnf("Running without the icon: %s\n", why)
		}
		return (&serveCommand{OpenPage: m.OpenPage}).Run(c)
	}
	log, end := c.logger(logFile())
	defer end()
	a, err := app.New(c.settings, app.Program{Version: c.process.Version, Log: log, Icon: true, UpdateAddress: c.process.UpdateAddress, UpdateKey: c.process.UpdateKey})
	if err != nil {
		log.Errorf("❌ %v", err)
		return errSilent
	}
	a.Waiting = c.waiting
	defer a.Close()
	entered, shown, err := c.alone(a)
	switch {
	case err != nil:
		return err
	case shown:
		return nil
	}
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	args, keys := c.typed()
	entry := app.LoginEntry(args)
	entry.Env = keys
	a.Prepare(ctx, app.Life{Quit: cancel, Entered: entered, Hurry: c.process.Hurry, Login: &entry, OpenPage: m.OpenPage, StartsAgain: c.startsAgain})
	panel := tray.NewPanel()
	served, closed := make(chan error, 1), make(chan struct{})
	go func() {
		defer cancel()
		served <- a.Run(ctx)
	}()
	go func() {
		defer close(closed)
		desktop := tray.NewDesktop(ctx)
		defer desktop.Close()
		tray.Run(ctx, a.Menu(ctx, entry, cancel), panel, desktop, time.Now)
	}()
	go watchPanel(ctx, a, panel)
	showPanel(ctx, panel, cancel, log)
	<-closed
	if err := <-served; err != nil || !a.Restarting() {
		return err
	}
	return errRestart
}

// logger logs to the standard error, and to others; what else is said there goes the same way. The caller ends it.
func (c *console) logger(others ...io.Writer) (log *logrus.Logger, end func()) {
	queue := app.NewLogQueue(c.process.Err)
	c.process.Err = queue
	log = app.NewLogger(io.MultiWriter(append([]io.Writer{queue}, others...)...), c.settings.Env, c.settings.LogLevel, c.process.Plain)
	queue.Lost = func(lines int) { log.Warnf("⚠️ %d lines of this log were left out: nobody read it", lines) }
	return log, queue.Close
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
	return &lumberjack.Logger{Filename: app.LogFile(), MaxSize: 5, MaxBackups: 1}
}

// startPatience is how long a program that runs already may take to show itself.
const startPatience = 5 * time.Second

// alone makes sure that one program shows the icon for a sign-in. When another one does, that one shows itself, and
// shown is true; one that was told to quit is waited for. Else entered must be called once this program is on the list
// of those that run.
func (c *console) alone(a *app.App) (entered func(), shown bool, err error) {
	if c.settings.Demo {
		return func() {}, false, nil
	}
	release, err := app.Starting(c.ctx, startPatience)
	if err != nil {
		return func() {}, false, err
	}
	other, ok := a.Mine()
	if !ok || !other.Icon {
		return release, false, nil
	}
	release()
	var s app.State
	if err := other.Call(c.ctx, startPatience, "show", nil, &s); err != nil {
		return nil, false, fmt.Errorf("another Codex Proxy (process %d) holds this sign-in but does not answer. End it and start again", other.PID)
	}
	if s.Proxy.Ending {
		c.printf("The Codex Proxy that was told to quit is still ending. This one starts then.\n")
		ctx, cancel := context.WithTimeout(c.ctx, endPatience)
		defer cancel()
		same := func(p control.Program) bool { return p.PID == other.PID && p.Started.Equal(other.Started) } // one that starts itself again keeps its process
		if err := ended(ctx, same); err != nil {
			return nil, false, err
		}
		return c.alone(a)
	}
	c.printf("Codex Proxy runs already. `codex-proxy quit` ends it.\n\n")
	writeState(c.process.Out, s, time.Now())
	return nil, true, nil
}

// watchPanel says in the log and in status when nothing shows the icon.
func watchPanel(ctx context.Context, a *app.App, panel *tray.Panel) {
	a.SetIcon("starting")
	for wait := 10 * time.Second; ; wait = time.Minute {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		switch there, why := tray.Host(); {
		case !there:
			a.SetIcon("not shown: " + why)
		default:
			select {
			case <-panel.Ready():
				a.SetIcon("shown in the panel")
			default:
				a.SetIcon("not shown: the system did not take the icon")
			}
		}
	}
}

type autostartCommand struct {
	What string `arg:"" enum:"on,off" help:"on, with the flags that you give beside it, or off."`
}

func (s *autostartCommand) Run(c *console) error {
	args, keys := c.typed()
	for _, word := range []string{"autostart", s.What} {
		if i := slices.Index(args, word); i >= 0 {
			args = slices.Delete(args, i, i+1)
		}
	}
	entry := app.LoginEntry(args)
	entry.Env = keys
	defer app.TellOthers(c.ctx, "look", time.Second) //nolint:errcheck // a running program shows it later
	if s.What == "on" {
		if err := entry.Enable(); err != nil {
			return err
		}
		c.printf("✅ Codex Proxy starts at login from now on\n")
		return nil
	}
	if err := entry.Disable(); err != nil {
		return err
	}
	c.printf("✅ Codex Proxy no longer starts at login\n")
	return nil
}

type logCommand struct{}

func (logCommand) Run(c *console) error {
	f, err := os.Open(app.LogFile())
	if err != nil {
		return fmt.Errorf("there is no log yet: the program writes %s while it shows its icon", app.LogFile())
	}
	defer f.Close()
	_, err = io.Copy(c.process.Out, f)
	return err
}
