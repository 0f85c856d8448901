//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/godbus/dbus/v5/prop"

	"codex-proxy/internal/app"
)

// desktop is a session bus with a panel and a notification service that only take note.
type desktop struct {
	t       *testing.T
	address string
	dir     string

	mu      sync.Mutex
	items   []dbus.Sender // registered icons
	hang    chan struct{} // notifications hang until this is closed; nil for none
	bus     *exec.Cmd
	notices []notice
	closed  int
}

type notice struct {
	id          uint32
	title, body string
	actions     []string
	picture     string
	sender      dbus.Sender
}

func startDesktop(t *testing.T) *desktop {
	t.Helper()
	dir, err := os.MkdirTemp("", "bus") // t.TempDir is too long for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	d := &desktop{t: t, dir: dir, address: "unix:path=" + dir + "/bus"}
	cmd := exec.Command("dbus-daemon", "--session", "--nofork", "--nopidfile", "--address="+d.address)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal("dbus-daemon is missing: run test/tools")
	}
	d.bus = cmd
	t.Cleanup(func() {
		cmd.Process.Kill() //nolint:errcheck // it may have ended
		cmd.Wait()         //nolint:errcheck // killed
	})
	eventually(t, "the session bus listens", func() bool {
		c, err := dbus.Connect(d.address)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return d
}

func (d *desktop) connect() *dbus.Conn {
	c, err := dbus.Connect(d.address)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { c.Close() })
	return c
}

const watcherName = "org.kde.StatusNotifierWatcher"

// RegisterStatusNotifierItem is called by programs that have an icon.
func (d *desktop) RegisterStatusNotifierItem(sender dbus.Sender, _ string) *dbus.Error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.items = append(d.items, sender)
	return nil
}

// startPanel returns the connection whose end ends the panel.
func (d *desktop) startPanel() *dbus.Conn {
	d.t.Helper()
	c := d.connect()
	c.Export(d, "/StatusNotifierWatcher", watcherName)
	prop.Export(c, "/StatusNotifierWatcher", prop.Map{watcherName: {"IsStatusNotifierHostRegistered": {Value: true}}}) //nolint:errcheck // fails the test later
	if r, err := c.RequestName(watcherName, dbus.NameFlagDoNotQueue); err != nil || r != dbus.RequestNameReplyPrimaryOwner {
		d.t.Fatal(r, err)
	}
	return c
}

type notifications struct{ *desktop }

func (n notifications) Notify(sender dbus.Sender, _ string, replaces uint32, _, title, body string, actions []string, hints map[string]dbus.Variant, _ int32) (uint32, *dbus.Error) {
	if n.hang != nil {
		<-n.hang
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	id := replaces
	if id == 0 {
		id = uint32(len(n.notices) + 1)
	}
	n.notices = append(n.notices, notice{id, title, body, actions, fmt.Sprint(hints["image-data"]), sender})
	return id, nil
}

func (n notifications) CloseNotification(uint32) *dbus.Error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed++
	return nil
}

func (d *desktop) startNotifications() *dbus.Conn {
	c := d.connect()
	c.Export(notifications{d}, "/org/freedesktop/Notifications", "org.freedesktop.Notifications")
	if _, err := c.RequestName("org.freedesktop.Notifications", dbus.NameFlagDoNotQueue); err != nil {
		d.t.Fatal(err)
	}
	return c
}

func (d *desktop) told(title string) (found []notice) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range d.notices {
		if strings.Contains(n.title, title) {
			found = append(found, n)
		}
	}
	return found
}

func (d *desktop) registered() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.items)
}

// menuOf reads the menu of the icon that registered last: title -> id of its lines.
func (d *desktop) menuOf(c *dbus.Conn) map[string]int32 {
	d.mu.Lock()
	if len(d.items) == 0 {
		d.mu.Unlock()
		return nil
	}
	item := string(d.items[len(d.items)-1])
	d.mu.Unlock()
	type node struct {
		ID       int32
		Props    map[string]dbus.Variant
		Children []dbus.Variant
	}
	var revision uint32
	var root node
	if c.Object(item, "/StatusNotifierItem/menu").Call("com.canonical.dbusmenu.GetLayout", 0, int32(0), int32(-1), []string{}).Store(&revision, &root) != nil {
		return nil
	}
	lines := map[string]int32{}
	var walk func(n node)
	walk = func(n node) {
		title, _ := n.Props["label"].Value().(string)
		if visible, ok := n.Props["visible"].Value().(bool); title != "" && (!ok || visible) {
			lines[title] = n.ID
		}
		for _, v := range n.Children {
			var child node
			if dbus.Store([]any{v.Value()}, &child) == nil {
				walk(child)
			}
		}
	}
	walk(root)
	return lines
}

func (d *desktop) click(c *dbus.Conn, title string) {
	d.t.Helper()
	var id int32
	eventually(d.t, "the menu has "+title, func() bool {
		var ok bool
		id, ok = d.menuOf(c)[title]
		return ok
	})
	d.mu.Lock()
	item := string(d.items[len(d.items)-1])
	d.mu.Unlock()
	if err := c.Object(item, "/StatusNotifierItem/menu").Call("com.canonical.dbusmenu.Event", 0, id, "clicked", dbus.MakeVariant(""), uint32(0)).Err; err != nil {
		d.t.Fatal(err)
	}
}

func (d *desktop) has(c *dbus.Conn, part string) bool {
	for title := range d.menuOf(c) {
		if strings.Contains(title, part) {
			return true
		}
	}
	return false
}

// checked reports whether the line of a title has a tick, and whether it can have one.
func (d *desktop) checked(c *dbus.Conn, title string) (tick, box bool) {
	id := d.menuOf(c)[title]
	d.mu.Lock()
	item := string(d.items[len(d.items)-1])
	d.mu.Unlock()
	var lines []struct {
		ID    int32
		Props map[string]dbus.Variant
	}
	if c.Object(item, "/StatusNotifierItem/menu").Call("com.canonical.dbusmenu.GetGroupProperties", 0, []int32{id}, []string{}).Store(&lines) != nil || len(lines) != 1 {
		return false, false
	}
	return lines[0].Props["toggle-state"].Value() == int32(1), lines[0].Props["toggle-type"].Value() == "checkmark"
}

func (d *desktop) property(c *dbus.Conn, name string) dbus.Variant {
	d.mu.Lock()
	item := string(d.items[len(d.items)-1])
	d.mu.Unlock()
	v, err := c.Object(item, "/StatusNotifierItem").GetProperty("org.kde.StatusNotifierItem." + name)
	if err != nil {
		d.t.Fatal(err)
	}
	return v
}

// startMenu runs the program with its icon on the desktop.
func (d *desktop) startMenu(home string, env []string, args ...string) *program {
	d.t.Helper()
	return start(d.t, home, append(env, "DBUS_SESSION_BUS_ADDRESS="+d.address), args...)
}

func TestTheIconAndItsMenu(t *testing.T) {
	d := startDesktop(t)
	panel := d.startPanel()
	d.startNotifications()
	eye := d.connect()
	b, url := startBackend(t)
	home, _ := signedIn(t, b)
	p := d.startMenu(home, at(url))
	eventually(t, "the icon registers", func() bool { return d.registered() > 0 })
	eventually(t, "the menu says who is signed in", func() bool { return d.has(eye, "Signed in as demo@example.com (plus)") })
	eventually(t, "the limits are shown", func() bool {
		return d.has(eye, "5-hour  ▓░░░░  32%") && d.has(eye, "Weekly  ▓▓▓░░  61%")
	})
	if title := d.property(eye, "ToolTip"); !strings.Contains(fmt.Sprint(title.Value()), "Running at") {
		t.Errorf("the tooltip is %v", title)
	}
	if pixels := d.property(eye, "IconPixmap"); len(fmt.Sprint(pixels.Value())) < 1000 {
		t.Error("there is no picture")
	}
	eventually(t, "the import is told, once", func() bool { return len(d.told("Signed in as demo@example.com")) == 1 })

	before := b.Counts().Refreshes
	d.click(eye, "Refresh tokens")
	eventually(t, "a refresh", func() bool { return b.Counts().Refreshes == before+1 && d.has(eye, "renews itself") })

	d.click(eye, "Stop the proxy")
	eventually(t, "the proxy stops", func() bool { return d.has(eye, "Stopped") && d.has(eye, "Start the proxy") })
	if _, err := http.Get(p.url + "/health"); err == nil {
		t.Error("it still answers")
	}
	d.click(eye, "Start the proxy")
	eventually(t, "the proxy runs again", func() bool { return d.has(eye, "Stop the proxy") })
	d.click(eye, "Pause for an hour")
	eventually(t, "it is paused", func() bool { return d.has(eye, "Paused until") && d.has(eye, "Go on now") })
	d.click(eye, "Go on now")
	eventually(t, "it goes on", func() bool { return d.has(eye, "Running at") })

	if out, code := command(t, home, at(url), "stop"); code != 0 {
		t.Errorf("the command stop: %d %s", code, out)
	}
	eventually(t, "the menu says so", func() bool { return d.has(eye, "Stopped") })
	if out, code := command(t, home, at(url), "start"); code != 0 {
		t.Errorf("the command start: %d %s", code, out)
	}
	eventually(t, "the menu says so", func() bool { return d.has(eye, "Running at") })
	if out, code := command(t, home, at(url), "connect", "--print", "claude code"); code != 0 || !strings.Contains(out, `"ANTHROPIC_BASE_URL": "http://localhost:`) {
		t.Errorf("the command connect: %d %s", code, out)
	}
	if out, code := command(t, home, at(url), "log"); code != 0 || !strings.Contains(out, "First launch") {
		t.Errorf("the command log: %d %s", code, out)
	}

	d.click(eye, "Start at login")
	entry := filepath.Join(home, ".config", "autostart", "codex-proxy.desktop")
	eventually(t, "the autostart entry", func() bool { raw, _ := os.ReadFile(entry); return strings.Contains(string(raw), binary) })
	eventually(t, "it has a tick", func() bool { tick, box := d.checked(eye, "Start at login"); return tick && box })
	if tick, box := d.checked(eye, "Claude Code"); tick || !box {
		t.Errorf("a tool that is not connected: tick %v, box %v", tick, box)
	}
	d.click(eye, "Start at login")
	eventually(t, "the autostart entry goes", func() bool { _, err := os.Stat(entry); return err != nil })

	// The panel is restarted, after a signal that makes systray's own watch end.
	count := d.registered()
	panel.Close()
	d.startPanel()
	eventually(t, "the icon comes back", func() bool { return d.registered() > count })
	if !d.has(eye, "Signed in as") {
		t.Error("it came back without its menu")
	}

	// A second start shows where the first one is, and ends.
	out, code := command(t, home, append(at(url), "DBUS_SESSION_BUS_ADDRESS="+d.address), "--port", "0")
	if code != 0 || !strings.Contains(out, "runs already") || !strings.Contains(out, "demo@example.com") {
		t.Errorf("a second start: %d %s", code, out)
	}
	eventually(t, "the first one shows itself", func() bool { return len(d.told("runs already")) == 1 })

	d.click(eye, "Sign out")
	eventually(t, "the menu offers to sign in", func() bool { return d.has(eye, "Sign in…") && !d.has(eye, "Signed in as") })
	d.click(eye, "Quit Codex Proxy")
	eventually(t, "the program ends", p.exited)
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	// One import and one second start were told, and nothing that a click's own result shows.
	if n := d.told(""); len(n) != 2 {
		t.Errorf("%d notifications: %+v", len(n), n)
	}
}

// fakeBrowser is a folder with an xdg-open that does what script says.
func fakeBrowser(t *testing.T, script string) (path string) {
	t.Helper()
	path = t.TempDir()
	if err := os.WriteFile(filepath.Join(path, "xdg-open"), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestTheMenuShowsTheLimitsOfWhoeverSignsIn: not only after their first request.
func TestTheMenuShowsTheLimitsOfWhoeverSignsIn(t *testing.T) {
	d := startDesktop(t)
	d.startPanel()
	eye := d.connect()
	b, url := startBackend(t)
	home, _ := signedIn(t, b)
	d.startMenu(home, at(url)).imported()
	eventually(t, "the limits are shown", func() bool { return d.has(eye, "5-hour  ▓░░░░  32%") })
	d.click(eye, "Sign out")
	eventually(t, "they are not", func() bool { return d.has(eye, "Not signed in") && !d.has(eye, "5-hour") })
	writeFile(t, filepath.Join(home, ".codex", "auth.json"), b.SignIn(200*time.Hour).AuthJSON())
	d.click(eye, "Re-import from Codex CLI")
	eventually(t, "somebody is signed in", func() bool { return d.has(eye, "Signed in as") })
	eventually(t, "the limits are shown again", func() bool { return d.has(eye, "5-hour  ▓░░░░  32%") })
}

func TestTheMenuOpensTheLog(t *testing.T) {
	d := startDesktop(t)
	d.startPanel()
	eye := d.connect()
	b, url := startBackend(t)
	home, _ := signedIn(t, b)
	opened := filepath.Join(home, "opened")
	d.startMenu(home, append(at(url), "PATH="+fakeBrowser(t, `cat "$1" >`+opened)+":"+os.Getenv("PATH"))).imported()
	d.click(eye, "Open log")
	eventually(t, "the log is opened", func() bool { raw, _ := os.ReadFile(opened); return strings.Contains(string(raw), "First launch") })
}

func TestASignInFromTheMenuCanBeCancelledAndFoundAgain(t *testing.T) {
	d := startDesktop(t)
	d.startPanel()
	d.startNotifications()
	eye := d.connect()
	_, url := startBackend(t)
	p := d.startMenu(t.TempDir(), append(at(url), "PATH="+fakeBrowser(t, "exit 3"))) // a browser that can't be opened
	eventually(t, "the menu offers to sign in", func() bool { return d.has(eye, "Sign in…") })
	d.click(eye, "Sign in…")
	eventually(t, "that no browser opened is told, with the link", func() bool {
		n := d.told("No browser could be opened")
		return len(n) == 1 && strings.Contains(n[0].body, url+"/oauth/authorize?") && strings.Contains(strings.Join(n[0].actions, " "), "Copy the link")
	})
	eventually(t, "the menu has both ways on", func() bool {
		return d.has(eye, "Cancel sign-in") && d.has(eye, "Copy sign-in link") && d.has(eye, "Waiting for you to sign in")
	})
	d.click(eye, "Cancel sign-in")
	eventually(t, "it is as before", func() bool { return d.has(eye, "Sign in…") && !d.has(eye, "Cancel sign-in") })
	d.click(eye, "Sign in by a code, on any device…")
	eventually(t, "the code is in the menu and told", func() bool { return d.has(eye, "Type ABCD-") && len(d.told("Type ABCD-")) == 1 })
	if n := d.told("did not work"); len(n) > 0 {
		t.Errorf("cancelling is told as a failure: %+v", n)
	}
	p.cmd.Process.Signal(syscall.SIGHUP) //nolint:errcheck // it ends or the test does
	eventually(t, "the end of the session ends it, in the middle of a sign-in", p.exited)
}

// TestWhatIsToldGoesWithTheProgram: a button of a program that has ended does nothing, and the trouble may have, too.
func TestWhatIsToldGoesWithTheProgram(t *testing.T) {
	d := startDesktop(t)
	d.startPanel()
	d.startNotifications()
	_, url := startBackend(t)
	p := d.startMenu(t.TempDir(), at(url))
	eventually(t, "the trouble is told", func() bool { return len(d.told("Nobody is signed in")) == 1 })
	p.cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it ends or the test does
	eventually(t, "it ends", p.exited)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed != 1 {
		t.Errorf("%d notifications were taken away", d.closed)
	}
}

// TestANotificationCanBeClickedForAsLongAsItIsShown: some services leave it there after a click.
func TestANotificationCanBeClickedForAsLongAsItIsShown(t *testing.T) {
	d := startDesktop(t)
	d.startPanel()
	service := d.startNotifications()
	b, url := startBackend(t)
	b.SetUsage(92)
	home, _ := signedIn(t, b)
	opened := filepath.Join(home, "opened")
	p := d.startMenu(home, append(at(url), "PATH="+fakeBrowser(t, "echo >>"+opened)+":"+os.Getenv("PATH")))
	p.imported()
	eventually(t, "the limit is told", func() bool { return len(d.told("92% of the 5-hour limit")) == 1 })
	id, sender := d.told("92% of the 5-hour limit")[0].id, d.told("92% of the 5-hour limit")[0].sender
	signal := func(name string, what any) {
		err := service.Send(&dbus.Message{Type: dbus.TypeSignal, Headers: map[dbus.HeaderField]dbus.Variant{ // to the program alone, as some services do
			dbus.FieldDestination: dbus.MakeVariant(string(sender)), dbus.FieldPath: dbus.MakeVariant(dbus.ObjectPath("/org/freedesktop/Notifications")),
			dbus.FieldInterface: dbus.MakeVariant("org.freedesktop.Notifications"), dbus.FieldMember: dbus.MakeVariant(name),
			dbus.FieldSignature: dbus.MakeVariant(dbus.SignatureOf(id, what)),
		}, Body: []any{id, what}}, nil).Err
		if err != nil {
			t.Fatal(err)
		}
	}
	times := func() int { raw, _ := os.ReadFile(opened); return len(raw) }
	for range 2 {
		before := times()
		eventually(t, "the page is opened", func() bool {
			signal("ActivationToken", "token")
			signal("ActionInvoked", "do") // again, while the page is being opened: that is no click
			return times() > before
		})
	}
}

// TestARestartedNotificationServiceNumbersAnew: what had a number of ours is another program's notification then.
func TestARestartedNotificationServiceNumbersAnew(t *testing.T) {
	d := startDesktop(t)
	d.startPanel()
	service := d.startNotifications()
	eye := d.connect()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	_, url := startBackend(t)
	trouble := "Port " + port + " is used by e2e.test"
	p := launch(t, t.TempDir(), append(at(url), "DBUS_SESSION_BUS_ADDRESS="+d.address), "--port", port)
	eventually(t, "the taken port is told", func() bool { return len(d.told(trouble)) == 1 })
	eventually(t, "that nobody is signed in is told", func() bool { return len(d.told("Nobody is signed in")) == 1 })
	service.Close()
	service = d.startNotifications()
	// As services do that tell every program.
	if err := service.Emit("/org/freedesktop/Notifications", "org.freedesktop.Notifications.ActionInvoked", d.told(trouble)[0].id, "default"); err != nil {
		t.Fatal(err)
	}
	d.click(eye, "About Codex Proxy dev")
	eventually(t, "what comes later is told", func() bool { return len(d.told("Codex Proxy")) == 1 })
	if !d.has(eye, trouble) {
		t.Error("a click on another program's notification took the other port")
	}
	taken.Close()
	d.click(eye, "Start the proxy")
	eventually(t, "it runs", func() bool { return d.has(eye, "Stop the proxy") })
	p.cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it ends or the test does
	eventually(t, "it ends", p.exited)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed != 0 {
		t.Errorf("%d notifications were taken away", d.closed)
	}
}

// TestWhatIsOnAtTheStartHasATick: a tool that is connected, before the menu is there.
func TestWhatIsOnAtTheStartHasATick(t *testing.T) {
	d := startDesktop(t)
	d.startPanel()
	eye := d.connect()
	b, url := startBackend(t)
	home, _ := signedIn(t, b)
	if out, code := command(t, home, at(url), "connect", "claude", "--yes"); code != 0 {
		t.Fatal(out)
	}
	d.startMenu(home, at(url)).imported()
	eventually(t, "the tool has a tick", func() bool { tick, box := d.checked(eye, "Claude Code"); return tick && box })
	if out, code := command(t, home, at(url), "connect", "claude", "--undo"); code != 0 {
		t.Fatal(out)
	}
	eventually(t, "what a command has put back has none", func() bool { tick, box := d.checked(eye, "Claude Code"); return !tick && box })
}

func TestANotificationServiceThatHangsDoesNotFreezeTheMenu(t *testing.T) {
	d := startDesktop(t)
	d.startPanel()
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	d.hang = hang
	d.startNotifications()
	eye := d.connect()
	b, url := startBackend(t)
	home, _ := signedIn(t, b)
	p := d.startMenu(home, at(url))
	p.imported() // which is told
	d.click(eye, "Stop the proxy")
	eventually(t, "a click works", func() bool { return d.has(eye, "Stopped") })
	p.cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it ends or the test does
	eventually(t, "it ends", p.exited)
}

func TestTheProgramEndsWithItsSession(t *testing.T) {
	d := startDesktop(t)
	d.startPanel()
	b, url := startBackend(t)
	home, _ := signedIn(t, b)
	p := d.startMenu(home, at(url))
	p.imported()
	eventually(t, "the icon registers", func() bool { return d.registered() > 0 })
	d.bus.Process.Kill() //nolint:errcheck // it is there
	eventually(t, "the program ends", p.exited)
	if code := p.cmd.ProcessState.ExitCode(); code != 0 || strings.Contains(p.log.String(), "panic") {
		t.Errorf("it ended with %d", code)
	}
}

func TestAStoppedProgramDelaysASecondStartByFiveSecondsAtMost(t *testing.T) {
	d := startDesktop(t)
	d.startPanel()
	b, url := startBackend(t)
	home, _ := signedIn(t, b)
	p := d.startMenu(home, at(url))
	p.imported()
	p.cmd.Process.Signal(syscall.SIGSTOP)                       //nolint:errcheck // it is there
	t.Cleanup(func() { p.cmd.Process.Signal(syscall.SIGCONT) }) //nolint:errcheck // or has gone
	eventually(t, "it stands still", func() bool {
		raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
		_, state, _ := strings.Cut(string(raw), ") ")
		return strings.HasPrefix(state, "T")
	})
	begin := time.Now()
	out, code := command(t, home, append(at(url), "DBUS_SESSION_BUS_ADDRESS="+d.address), "--port", "0")
	if took := time.Since(begin); code != 1 || !strings.Contains(out, "does not answer") || took > 8*time.Second {
		t.Errorf("after %s: %d %s", took, code, out)
	}
}

// TestWhoStartsItAgainWhileItEndsHasItRunning: an answer under way keeps a program for some seconds after Quit.
func TestWhoStartsItAgainWhileItEndsHasItRunning(t *testing.T) {
	d := startDesktop(t)
	d.startPanel()
	eye := d.connect()
	b, url := startBackend(t)
	home, _ := signedIn(t, b)
	p := d.startMenu(home, at(url))
	p.imported()
	under, err := http.Post(p.url+"/v1/chat/completions", "application/json", strings.NewReader(`{"stream":true,"messages":[{"role":"user","content":"[[text 600 100]]"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	defer under.Body.Close()
	d.click(eye, "Quit Codex Proxy")
	eventually(t, "it ends", func() bool { return strings.Contains(p.log.String(), "Stopping") })
	if out, code := command(t, home, at(url), "start"); code != 1 || !strings.Contains(out, "is ending") {
		t.Errorf("the command start: %d %s", code, out)
	}
	if out, _ := command(t, home, at(url), "status"); !strings.Contains(out, "Proxy      ending") {
		t.Errorf("the command status: %s", out)
	}
	tool := t.TempDir()
	writeFile(t, filepath.Join(tool, "claude"), []byte("#!/bin/sh\nexec curl -sS $ANTHROPIC_BASE_URL/health\n"))
	if err := os.Chmod(filepath.Join(tool, "claude"), 0o700); err != nil {
		t.Fatal(err)
	}
	if out, code := command(t, home, append(at(url), "PATH="+tool+":"+os.Getenv("PATH")), "--port", "0", "run", "claude"); code != 0 || !strings.Contains(out, "signed_in") {
		t.Errorf("the command run: %d %s", code, out)
	}
	again := d.startMenu(home, at(url))
	eventually(t, "the first one has ended", p.exited)
	if again.exited() {
		t.Error("the second one does not take the place of the first")
	}
	eventually(t, "it has its icon", func() bool { return d.has(eye, "Running at") })
}

func TestTroubleIsToldOnceAndMendedByAClick(t *testing.T) {
	d := startDesktop(t)
	d.startPanel()
	service := d.startNotifications()
	eye := d.connect()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	b, url := startBackend(t)
	home, _ := signedIn(t, b)
	p := launch(t, home, append(at(url), "DBUS_SESSION_BUS_ADDRESS="+d.address), "--port", port)
	eventually(t, "the import is over", func() bool { return strings.Contains(p.log.String(), "✅ Imported") })
	eventually(t, "the taken port is told", func() bool { return len(d.told("Port "+port+" is used by e2e.test")) == 1 })
	eventually(t, "the menu names the program", func() bool { return d.has(eye, "Port "+port+" is used by e2e.test") })
	n := d.told("Port " + port + " is used")[0]
	if !strings.Contains(strings.Join(n.actions, " "), "Use port") {
		t.Errorf("the notification offers %v", n.actions)
	}
	// A click on the notification takes the other port.
	if err := service.Emit("/org/freedesktop/Notifications", "org.freedesktop.Notifications.ActionInvoked", n.id, "default"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it runs on another port", func() bool { return d.has(eye, "Running at") })
	eventually(t, "the port is kept", func() bool {
		raw, _ := os.ReadFile(filepath.Join(home, ".config", "codex-proxy", "settings.json"))
		var chosen app.Saved
		return json.Unmarshal(raw, &chosen) == nil && chosen["port"] != nil
	})

	// The refresh token is spent elsewhere: said once, however often it is tried.
	b.RefuseRefresh("refresh_token_reused", "refresh_token_reused", "refresh_token_reused")
	d.click(eye, "Refresh tokens")
	eventually(t, "the trouble is told", func() bool { return len(d.told("Sign in again")) == 1 })
	d.click(eye, "Refresh tokens")
	eventually(t, "the second attempt fails", func() bool { return len(d.told("did not work")) == 1 })
	if len(d.told("Sign in again")) != 1 {
		t.Error("the same problem was told twice")
	}
	// The CLI signs in anew; a click on Re-import mends it.
	writeFile(t, filepath.Join(home, ".codex", "auth.json"), b.SignIn(200*time.Hour).AuthJSON())
	b.AllowRefresh()
	d.click(eye, "Re-import from Codex CLI")
	eventually(t, "it is signed in again", func() bool { return d.has(eye, "renews itself") })
	if d.told("Signed in as")[0].picture == d.told("Sign in again")[0].picture {
		t.Error("a trouble is told with the green light")
	}
	p.cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it ends or the test does
	eventually(t, "SIGTERM ends it", p.exited)
}

func TestTheProxyDoesNotDependOnAPanel(t *testing.T) {
	d := startDesktop(t) // a session bus, and nothing on it
	b, url := startBackend(t)
	home, _ := signedIn(t, b)
	p := d.startMenu(home, at(url))
	p.imported()
	if status, _, body := p.post("/v1/chat/completions", chat("hello")); status != 200 {
		t.Errorf("%d %s", status, body)
	}
	// The panel comes late.
	time.Sleep(500 * time.Millisecond)
	d.startPanel()
	eventually(t, "the icon registers", func() bool { return d.registered() > 0 })
	if out, code := command(t, home, at(url), "quit"); code != 0 {
		t.Errorf("quit: %d %s", code, out)
	}
	eventually(t, "the program ends", p.exited)
}
