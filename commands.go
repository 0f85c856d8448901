package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pkg/browser"

	"codex-proxy/creds"
	"codex-proxy/proxy/codex"
	"codex-proxy/tray"
)

const loginPatience = 5 * time.Minute

// console is what a command works with.
type console struct {
	ctx      context.Context
	settings settings
	args     []string // as they were typed
	in       io.Reader
	out, err io.Writer
}

func (c *console) printf(format string, args ...any) { fmt.Fprintf(c.out, format, args...) }

// errSilent ends a command with exit code 1 when everything has been said.
var errSilent = errors.New("")

// open builds the program without running it, and loads the sign-in. Steps of the sign-in's life are printed.
func (c *console) open() (*app, error) {
	if c.settings.Demo {
		return nil, errors.New("the demo has no sign-in. Leave --demo out")
	}
	log := newLogger(io.Discard, c.settings.Env, "error")
	a, err := newApp(c.settings, log)
	if err != nil {
		return nil, err
	}
	a.tell = func(s creds.Step) { c.printf("%s %s\n", s.Icon, s.Text) }
	a.manager.Open(c.ctx) //nolint:errcheck // the state says it, and each command decides
	a.manager.Ready()
	return a, nil
}

// reload tells the running program that the stored sign-in has changed.
func (c *console) reload(a *app) {
	if err := running(c.ctx, a.manager.State().Store, "POST", "/reload", nil); err != nil && !errors.Is(err, errNotRunning) {
		fmt.Fprintf(c.err, "⚠️ The running proxy did not take it over: %v\n", err)
	}
}

// ask puts a question that is answered with yes or no. Without anybody to answer it is no.
func (c *console) ask(question string) bool {
	c.printf("%s [y/N] ", question)
	line, _ := bufio.NewReader(c.in).ReadString('\n')
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return true
	}
	return false
}

type loginCommand struct {
	Codex     bool   `help:"Sign in as the Codex CLI does, for the Codex backend."`
	Device    bool   `help:"By a code that you type into a browser anywhere (with --codex)."`
	Workspace string `placeholder:"ID" help:"Sign in to this workspace (with --codex)."`
	NoBrowser bool   `help:"Print the address, and don't open a browser."`
}

func (l *loginCommand) Run(c *console) error {
	if (l.Device || l.Workspace != "") && !l.Codex {
		return errors.New("--device and --workspace work with the Codex sign-in only. Add --codex")
	}
	switch {
	case c.settings.CredsStore == "env":
		return errors.New("--creds-store=env can't keep a sign-in. Leave it out")
	case c.settings.CredsStore == "legacy" && !l.Codex:
		return errors.New("the Codex CLI's file can't hold a sign-in of this kind. Add --codex, or leave --creds-store=legacy out")
	}
	a, err := c.open()
	if err != nil {
		return err
	}
	before := a.manager.State()
	login := a.newLogin(l.Workspace, func(address string) {
		c.printf("Open this address in your browser to sign in:\n\n  %s\n\nWaiting for the browser, for 5 minutes. Ctrl-C ends it.\n", address)
		if !l.NoBrowser {
			openBrowser(address)
		}
	})
	ctx, cancel := context.WithTimeout(c.ctx, loginPatience)
	defer cancel()
	var sign creds.Credentials
	switch {
	case l.Device:
		ctx, cancel := context.WithTimeout(c.ctx, 16*time.Minute)
		defer cancel()
		sign, err = login.Device(ctx, c.showDevice, func() { c.printf(".") })
		c.printf("\n")
	case l.Codex:
		sign, err = login.Codex(ctx)
	default:
		sign, err = login.ChatGPT(ctx)
	}
	if c.ctx.Err() != nil {
		return errors.New("stopped. You are signed in as before")
	}
	if err != nil {
		return err
	}
	if err := a.manager.Adopt(c.ctx, sign); err != nil {
		return fmt.Errorf("signed in, but it could not be stored: %w", err)
	}
	c.reload(a)
	now := a.manager.State()
	c.printf("✅ Signed in as %s, stored in %s\n", who(now), now.Store)
	if before.Email != "" && before.Email != now.Email {
		c.printf("⚠️ Before, it was %s\n", who(before))
	}
	return nil
}

func (a *app) newLogin(workspace string, show func(address string)) *creds.Login {
	return &creds.Login{
		HTTP: a.http, AuthURL: a.settings.AuthURL, UserAgent: a.identity.UserAgent, Originator: a.identity.Originator,
		HostID: installID(), ClientID: a.manager.ClientID(), Workspace: workspace, Now: time.Now, Show: show,
	}
}

func (c *console) showDevice(d creds.DeviceCode) {
	c.printf("On any device, open\n\n      %s\n\nand type this code:\n\n      %s\n\nIt is good until %s. Type it only if you started this yourself.\nWaiting ", d.Address, d.Code, d.Expires.Local().Format("15:04"))
}

// openBrowser opens an address, quietly: the address is on the screen, too.
func openBrowser(address string) {
	browser.Stdout, browser.Stderr = io.Discard, io.Discard
	browser.OpenURL(address) //nolint:errcheck // see above
}

// installID names this installation to the auth server: a random UUID, made once.
func installID() string {
	path := filepath.Join(stateFolder(), "install-id")
	if raw, err := os.ReadFile(path); err == nil && strings.HasPrefix(string(raw), "urn:uuid:") && len(raw) == 45 {
		return string(raw)
	}
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80 // version 4. Source: RFC 9562, 5.4.
	id := fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
	writePrivate(path, []byte(id)) //nolint:errcheck // then the next sign-in counts as another installation
	return id
}

type logoutCommand struct{}

func (logoutCommand) Run(c *console) error {
	a, err := c.open()
	if err != nil {
		return err
	}
	before := a.manager.State()
	if before.Status == creds.StatusNone {
		return errors.New("nobody is signed in. Nothing was changed")
	}
	revoked, err := a.manager.Forget(c.ctx)
	if err != nil {
		return err
	}
	c.reload(a)
	c.printf("✅ Signed out of %s; the sign-in is deleted from %s\n", who(before), before.Store)
	switch {
	case before.Ownership == creds.Shared:
		c.printf("It was imported from the Codex CLI, which stays signed in.\n")
	case revoked != nil:
		c.printf("⚠️ OpenAI could not be told (%v). The sign-in ends there by itself.\n", revoked)
	}
	return nil
}

type statusCommand struct {
	JSON bool `name:"json" help:"Print JSON."`
}

func (s *statusCommand) Run(c *console) error {
	a, err := c.open()
	if err != nil {
		return err
	}
	r := a.report()
	if err := running(c.ctx, r.SignIn.Store, "GET", "/report?usage=stale", &r); err != nil && r.SignIn.Usable && c.settings.CredsStore != "env" {
		a.client.Meter.Fetch(c.ctx, a.client, false) //nolint:errcheck // what is known is shown
		r = a.report()
	}
	if s.JSON {
		enc := json.NewEncoder(c.out)
		enc.SetIndent("", "  ")
		if err := enc.Encode(r); err != nil {
			return err
		}
	} else {
		r.write(c.out, time.Now())
		c.writeWorkspaces(a, r)
	}
	if !r.SignIn.Usable {
		return errSilent
	}
	return nil
}

// writeWorkspaces says which others there are, when there is a choice.
func (c *console) writeWorkspaces(a *app, r report) {
	if !r.SignIn.Usable || r.SignIn.Kind != creds.KindCodex {
		return
	}
	list, err := a.client.Workspaces(c.ctx)
	if err != nil || len(list) < 2 {
		return
	}
	c.printf("\nThis sign-in has %d workspaces; `codex-proxy workspace ID` chooses another:\n", len(list))
	c.listWorkspaces(list, r.SignIn.AccountID)
}

func (c *console) listWorkspaces(list []codex.Workspace, chosen string) {
	for _, w := range list {
		mark := " "
		if w.ID == chosen {
			mark = "*"
		}
		c.printf("%s %s  %s (%s)\n", mark, w.ID, w.Name, w.Plan)
	}
}

type workspaceCommand struct {
	ID string `arg:"" optional:"" help:"The workspace to use from now on."`
}

func (w *workspaceCommand) Run(c *console) error {
	a, err := c.open()
	if err != nil {
		return err
	}
	list, err := a.client.Workspaces(c.ctx)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return errors.New("this sign-in tells of no workspaces. Sign in with `codex-proxy login --codex` to have them")
	}
	if w.ID == "" {
		c.listWorkspaces(list, a.manager.State().AccountID)
		return nil
	}
	for _, known := range list {
		if known.ID == w.ID {
			if err := a.manager.SetAccount(c.ctx, w.ID); err != nil {
				return err
			}
			c.reload(a)
			c.printf("✅ Using %s (%s) from now on\n", known.Name, known.ID)
			return nil
		}
	}
	return fmt.Errorf("there is no workspace %q in this sign-in. `codex-proxy workspace` lists them", w.ID)
}

type refreshCommand struct{}

func (refreshCommand) Run(c *console) error {
	a, err := c.open()
	if err != nil {
		return err
	}
	if s := a.manager.State(); s.Status == creds.StatusNone {
		return errors.New(s.Problem)
	}
	if err := a.manager.Refresh(c.ctx); err != nil {
		return errSilent // the steps said it
	}
	c.reload(a)
	return nil
}

type importCommand struct {
	From string `enum:"any,file,keychain" default:"any" placeholder:"PLACE" help:"file or keychain; by default the file, else the keychain."`
	Yes  bool   `short:"y" help:"Replace the sign-in of another account without asking."`
}

func (i *importCommand) Run(c *console) error {
	if c.settings.CredsStore == "legacy" || c.settings.CredsStore == "env" {
		return fmt.Errorf("--creds-store=%s keeps nothing of its own to import into. Leave it out", c.settings.CredsStore)
	}
	a, err := c.open()
	if err != nil {
		return err
	}
	read := map[string]func(context.Context) (creds.Credentials, error){"any": a.importer.Import, "file": a.importer.FromFile, "keychain": a.importer.FromKeychain}[i.From]
	found, err := read(c.ctx)
	if err != nil {
		return err
	}
	if s := a.manager.State(); s.Status != creds.StatusNone && s.AccountID != found.AccountID && !i.Yes &&
		!c.ask(fmt.Sprintf("Replace the sign-in of %s by that of %s?", who(s), who(creds.State{Email: found.Email, Plan: found.Plan}))) {
		return errors.New("nothing was changed")
	}
	found.TakeOver = !c.settings.DisableMigrateRefresh
	if err := a.manager.Adopt(c.ctx, found); err != nil {
		return fmt.Errorf("imported, but it could not be stored: %w", err)
	}
	if found.TakeOver && a.manager.Refresh(c.ctx) != nil {
		c.reload(a)
		return errSilent // the steps said it
	}
	c.reload(a)
	c.printf("✅ Imported: signed in as %s, stored in %s\n", who(a.manager.State()), a.manager.State().Store)
	return nil
}

type startCommand struct{}

func (startCommand) Run(c *console) error { return c.tell("/start", "✅ The proxy is running") }

type stopCommand struct{}

func (stopCommand) Run(c *console) error {
	return c.tell("/stop", "✅ The proxy is stopped; the program stays. `codex-proxy start` starts it")
}

// tell has the running program do something.
func (c *console) tell(path, done string) error {
	a, err := c.open()
	if err != nil {
		return err
	}
	if err := running(c.ctx, a.manager.State().Store, "POST", path, nil); err != nil {
		return err
	}
	c.printf("%s\n", done)
	return nil
}

type connectCommand struct {
	Tool string `arg:"" optional:"" help:"Such as \"VS Code\"; without one they are listed."`
}

func (t *connectCommand) Run(c *console) error {
	a, err := c.open()
	if err != nil {
		return err
	}
	s := (&menuApp{app: a}).State()
	var r report
	if running(c.ctx, a.manager.State().Store, "GET", "/report", &r) == nil && r.Proxy.Running {
		s.Root = strings.TrimSuffix(r.Proxy.URL, "/v1")
	}
	if text, told, ok := tray.Snippet(tray.ConnectPrefix+tray.Action(tray.ToolNamed(t.Tool)), s); ok {
		c.printf("%s\n", strings.TrimRight(text, "\n"))
		fmt.Fprintf(c.err, "%s.\n", strings.Replace(told, "Copied: ", "For: ", 1))
		return nil
	}
	if t.Tool != "" {
		return fmt.Errorf("there is no recipe for %q. Most tools want the base URL %s/v1 and any API key", t.Tool, s.Root)
	}
	for _, name := range tray.Tools() {
		c.printf("%s\n", name)
	}
	return nil
}

type autostartCommand struct {
	What string `arg:"" enum:"on,off" help:"on or off."`
}

func (s *autostartCommand) Run(c *console) error {
	entry := loginEntry(nil)
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
	raw, err := os.ReadFile(logPath())
	if err != nil {
		return fmt.Errorf("there is no log yet: the program writes %s while it shows its icon", logPath())
	}
	_, err = c.out.Write(raw)
	return err
}

type quitCommand struct{}

func (quitCommand) Run(c *console) error { return c.tell("/quit", "✅ Codex Proxy is stopping") }
