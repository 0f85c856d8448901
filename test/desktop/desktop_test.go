//go:build desktop

// Package desktop looks at the program on a real desktop: the icon in a real panel, its menu, and the notifications
// that a real service shows. It runs inside test/desktop/session; see test/desktop/run.
package desktop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/zalando/go-keyring"

	"codex-proxy/internal/fakebackend"
	"codex-proxy/proxy/codex"
)

const (
	watcher = "org.kde.StatusNotifierWatcher"
	root    = "../.."
)

var theme = os.Getenv("DESKTOP_THEME")

// screen is the desktop, the stand-in for OpenAI's hosts, and the program on it.
type screen struct {
	t       *testing.T
	bus     *dbus.Conn
	backend *fakebackend.Backend
	env     []string
	program *exec.Cmd
	log     *bytes.Buffer
	done    chan error
	panel   *exec.Cmd
	seen    int // notifications that shown has looked at
}

func open(t *testing.T) *screen {
	t.Helper()
	bus, err := dbus.ConnectSessionBus()
	if err != nil {
		t.Fatal("this runs inside test/desktop/session: ", err)
	}
	t.Cleanup(func() { bus.Close() })
	b := fakebackend.New()
	b.Models = codex.BundledModels()
	server := httptest.NewServer(b)
	t.Cleanup(server.Close)
	home := os.Getenv("HOME")
	for _, folder := range []string{".config/codex-proxy", ".codex", ".local/state/codex-proxy", ".cache/codex-proxy"} {
		if err := os.RemoveAll(filepath.Join(home, folder)); err != nil {
			t.Fatal(err)
		}
	}
	s := &screen{t: t, bus: bus, backend: b, env: append(os.Environ(),
		"CODEX_PROXY_BACKEND_URL="+server.URL+"/backend-api", "CODEX_PROXY_API_URL="+server.URL+"/v1", "CODEX_PROXY_AUTH_URL="+server.URL,
		"PATH="+t.TempDir()+":"+os.Getenv("PATH"))}
	s.startPanel()
	exec.Command("dunstctl", "close-all").Run() //nolint:errcheck // what is closed is in the history
	s.seen = len(s.told())
	return s
}

func (s *screen) startPanel() {
	s.t.Helper()
	s.panel = exec.Command("xfce4-panel", "--disable-wm-check")
	s.panel.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.panel.Start(); err != nil {
		s.t.Fatal("xfce4-panel is missing: run make tools")
	}
	s.t.Cleanup(s.stopPanel)
	s.until("the panel is there", func() bool { return s.owned(watcher) })
	s.until("the panel is drawn", func() bool { return s.drawn() })
}

func (s *screen) stopPanel() {
	if s.panel == nil {
		return
	}
	s.panel.Process.Kill() //nolint:errcheck // it may have ended
	s.panel.Wait()         //nolint:errcheck // killed
	s.panel = nil
	s.until("the panel has gone", func() bool { return !s.owned(watcher) })
}

func (s *screen) owned(name string) bool {
	var there bool
	s.bus.BusObject().Call("org.freedesktop.DBus.NameHasOwner", 0, name).Store(&there) //nolint:errcheck // asked again
	return there
}

// start runs the program with its icon.
func (s *screen) start(args ...string) {
	s.t.Helper()
	s.log = &bytes.Buffer{}
	s.program = exec.Command(filepath.Join(root, "build", "codex-proxy"), args...)
	s.program.Env, s.program.Stdout, s.program.Stderr = s.env, s.log, s.log
	s.program.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	s.done = make(chan error, 1)
	if err := s.program.Start(); err != nil {
		s.t.Fatal("make build: ", err)
	}
	program, done := s.program, s.done
	go func() { done <- program.Wait() }()
	s.t.Cleanup(s.stop)
	s.until("the icon is registered", func() bool { return len(s.items()) == 1 })
}

func (s *screen) stop() {
	if s.program == nil {
		return
	}
	s.program.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it may have ended
	select {
	case <-s.done:
	case <-time.After(20 * time.Second):
		s.program.Process.Kill() //nolint:errcheck // it hangs
		s.t.Error("the program did not end")
	}
	if s.t.Failed() {
		s.t.Logf("the program's log:\n%s", s.log)
	}
	s.program = nil
	s.until("the icon has gone", func() bool { return len(s.items()) == 0 })
}

// signedIn gives the Codex CLI a sign-in, which the first launch imports.
func (s *screen) signedIn() {
	s.write(".codex/auth.json", s.backend.SignIn(200*time.Hour).AuthJSON())
}

func (s *screen) write(name string, data []byte) {
	s.t.Helper()
	path := filepath.Join(os.Getenv("HOME"), name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *screen) until(what string, ok func() bool) {
	s.t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			s.picture(strings.ReplaceAll(s.t.Name(), "/", "-") + "-failed")
			s.t.Fatalf("this did not happen: %s\nicon: %s\nmenu:\n%s\nnotifications: %+v\n%s", what, s.badge(), strings.Join(s.labels(), "\n"), s.told(), s.log)
		}
	}
}

// items are the icons that the panel knows.
func (s *screen) items() []string {
	v, err := s.bus.Object(watcher, "/StatusNotifierWatcher").GetProperty(watcher + ".RegisteredStatusNotifierItems")
	if err != nil {
		return nil
	}
	list, _ := v.Value().([]string)
	return list
}

// line is one of the menu.
type line struct {
	id      int32
	title   string
	enabled bool
	depth   int
}

// menu reads the menu of the icon as the panel does.
func (s *screen) menu() []line {
	items := s.items()
	if len(items) != 1 {
		return nil
	}
	owner, _, _ := strings.Cut(items[0], "/")
	type node struct {
		ID       int32
		Props    map[string]dbus.Variant
		Children []dbus.Variant
	}
	var revision uint32
	var top node
	if s.bus.Object(owner, "/StatusNotifierItem/menu").Call("com.canonical.dbusmenu.GetLayout", 0, int32(0), int32(-1), []string{}).Store(&revision, &top) != nil {
		return nil
	}
	var lines []line
	var walk func(n node, depth int)
	walk = func(n node, depth int) {
		title, _ := n.Props["label"].Value().(string)
		visible, set := n.Props["visible"].Value().(bool)
		enabled, told := n.Props["enabled"].Value().(bool)
		if title != "" && (visible || !set) {
			lines = append(lines, line{n.ID, strings.ReplaceAll(title, "__", "_"), enabled || !told, depth})
		}
		for _, v := range n.Children {
			var child node
			if dbus.Store([]any{v.Value()}, &child) == nil {
				walk(child, depth+1)
			}
		}
	}
	walk(top, 0)
	return lines
}

// labels are the titles of the menu's first level.
func (s *screen) labels() (out []string) {
	for _, l := range s.menu() {
		if l.depth == 1 {
			out = append(out, l.title)
		}
	}
	return out
}

func (s *screen) click(title string) {
	s.t.Helper()
	var found line
	s.until("the menu has "+title, func() bool {
		for _, l := range s.menu() {
			if l.title == title && l.enabled {
				found = l
				return true
			}
		}
		return false
	})
	owner, _, _ := strings.Cut(s.items()[0], "/")
	if err := s.bus.Object(owner, "/StatusNotifierItem/menu").Call("com.canonical.dbusmenu.Event", 0, found.id, "clicked", dbus.MakeVariant(""), uint32(0)).Err; err != nil {
		s.t.Fatal(err)
	}
}

// notice is a notification as the service shows it.
type notice struct{ title, body, app, icon string }

// told lists the notifications so far, the oldest first: those that are shown, and the history.
func (s *screen) told() (out []notice) {
	s.t.Helper()
	var history struct {
		Data [][]map[string]struct {
			Data any `json:"data"`
		} `json:"data"`
	}
	s.until("dunst tells its history", func() bool {
		raw, err := exec.Command("dunstctl", "history").Output()
		return err == nil && json.Unmarshal(raw, &history) == nil
	})
	for _, list := range history.Data {
		for _, n := range list {
			text := func(key string) string { return fmt.Sprint(n[key].Data) }
			out = append(out, notice{text("summary"), text("body"), text("appname"), text("icon_path")})
		}
	}
	slices.Reverse(out)
	return out
}

// shown waits for exactly these notifications since the last call, by their titles, and closes them.
func (s *screen) shown(titles ...string) {
	s.t.Helper()
	news := func() []notice {
		exec.Command("dunstctl", "close-all").Run() //nolint:errcheck // what is closed is in the history
		return s.told()[s.seen:]
	}
	s.until("these notifications come: "+strings.Join(titles, ", "), func() bool { return len(news()) >= len(titles) })
	s.settle()
	var got []string
	for _, n := range news() {
		got = append(got, n.title)
		if n.app != "Codex Proxy" || n.body == "" {
			s.t.Errorf("a notification without name or text: %+v", n)
		}
	}
	if !slices.Equal(got, titles) {
		s.t.Errorf("notifications: %q, want %q", got, titles)
	}
	s.seen += len(got)
}

// settle waits until the program and the desktop have nothing to do: a message that came would have been answered, since
// the bus and the program's goroutines handle them in order.
func (s *screen) settle() {
	for range 3 {
		s.menu()
		s.badge()
	}
}

// see is a picture of the screen.
func (s *screen) see() image.Image {
	raw, err := exec.Command("import", "-window", "root", "png:-").Output()
	if err != nil {
		return image.NewGray(image.Rect(0, 0, 1, 1))
	}
	picture, err := png.Decode(bytes.NewReader(raw))
	if err != nil {
		return image.NewGray(image.Rect(0, 0, 1, 1))
	}
	return picture
}

// picture keeps what is on the screen, for people.
func (s *screen) picture(name string) {
	folder := filepath.Join(root, "build", "screenshots")
	os.MkdirAll(folder, 0o755) //nolint:errcheck // seen next
	var b bytes.Buffer
	if png.Encode(&b, s.see()) == nil {
		os.WriteFile(filepath.Join(folder, name+"-"+theme+".png"), b.Bytes(), 0o644) //nolint:errcheck // for people
	}
}

func near(c color.Color, r, g, b uint8) bool {
	x, y, z, _ := c.RGBA()
	d := func(v uint32, w uint8) float64 { return math.Abs(float64(v>>8) - float64(w)) }
	return d(x, r)+d(y, g)+d(z, b) < 90
}

const panelHeight = 32

// drawn reports whether the panel has its colour.
func (s *screen) drawn() bool {
	c := s.see().At(20, panelHeight/2)
	if theme == "dark" {
		return near(c, 31, 31, 33)
	}
	return near(c, 242, 242, 240)
}

// icons counts the program's icons in the panel, by the blue of their body.
func (s *screen) icons() (count int, box image.Rectangle) {
	picture := s.see()
	last := -100
	for x := 0; x < picture.Bounds().Dx(); x++ {
		blue := 0
		for y := range panelHeight {
			if near(picture.At(x, y), 0x3b, 0x6e, 0xa8) {
				blue++
				box = box.Union(image.Rect(x, y, x+1, y+1))
			}
		}
		if blue > 2 {
			if x-last > 12 {
				count++
			}
			last = x
		}
	}
	return count, box
}

// badge is the state that the icon in the panel shows, by its pixels.
func (s *screen) badge() string {
	picture := s.see()
	_, box := s.icons()
	counts := map[string]int{}
	area := image.Rect(box.Min.X, max(box.Min.Y-4, 0), box.Max.X+6, box.Min.Y+box.Dy()/2+2)
	for x := area.Min.X; x < area.Max.X; x++ {
		for y := area.Min.Y; y < area.Max.Y; y++ {
			c := picture.At(x, y)
			switch {
			case near(c, 0x4c, 0xaf, 0x50):
				counts["running"]++
			case near(c, 0xff, 0x98, 0x00):
				counts["attention"]++
			case near(c, 0x9e, 0x9e, 0x9e):
				counts["stopped"]++
			}
		}
	}
	for _, state := range []string{"attention", "running", "stopped"} { // grey is also what colours blend into
		if counts[state] > 6 {
			return state
		}
	}
	return "none"
}

// is waits for a state: the badge of the icon, and the lines that the menu begins with; those that it must not have
// are marked by a leading !.
func (s *screen) is(badge string, lines ...string) {
	s.t.Helper()
	s.until("the icon is "+badge+", the menu says "+strings.Join(lines, " | "), func() bool {
		labels := s.labels()
		for _, want := range lines {
			part, not := strings.CutPrefix(want, "!")
			if slices.ContainsFunc(labels, func(l string) bool { return strings.Contains(l, part) }) == not {
				return false
			}
		}
		first, _ := strings.CutPrefix(lines[0], "!")
		return len(labels) > 3 && strings.Contains(labels[0], first) && s.badge() == badge
	})
	s.until("one icon is drawn and registered", func() bool { n, _ := s.icons(); return n == 1 && len(s.items()) == 1 })
	s.picture(strings.ReplaceAll(strings.ToLower(strings.SplitN(lines[0], " at ", 2)[0]), " ", "-"))
}

func (s *screen) post(model, text string) {
	s.t.Helper()
	url := ""
	for _, l := range s.labels() {
		if _, rest, ok := strings.Cut(l, " at http://"); ok {
			url = "http://" + rest
		}
	}
	resp, err := http.Post(url+"/chat/completions", "application/json", strings.NewReader(fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":%q}]}`, model, text)))
	if err != nil {
		s.t.Fatal(err)
	}
	resp.Body.Close()
}

func TestTheFirstLaunchOnARealDesktop(t *testing.T) {
	s := open(t)
	s.signedIn()
	s.start("--port", "0")
	s.is("running", "Running at http://localhost:", "Open Codex Proxy…", "Signed in as demo@example.com (plus) · renews itself", "5-hour  ▓░░░░  32%", "Weekly  ▓▓▓░░  61%", "Refresh tokens", "Re-import from Codex CLI", "!Sign in")
	s.shown("Signed in as demo@example.com")
	for _, l := range s.menu() {
		if l.depth == 1 && !l.enabled {
			t.Errorf("%q can't be read: it is grey", l.title)
		}
	}
	owner, _, _ := strings.Cut(s.items()[0], "/")
	for property, want := range map[string]string{"Title": "Codex Proxy", "Id": "Codex Proxy", "Category": "ApplicationStatus"} {
		if v, err := s.bus.Object(owner, "/StatusNotifierItem").GetProperty("org.kde.StatusNotifierItem." + property); err != nil || v.Value() != want {
			t.Errorf("%s of the icon: %v %v", property, v, err)
		}
	}

	s.openMenu()
	s.picture("menu")
	exec.Command("xdotool", "key", "Escape").Run() //nolint:errcheck // seen by the next test

	s.click("Stop the proxy")
	s.is("stopped", "Stopped", "Start the proxy", "!Pause")
	s.click("Start the proxy")
	s.is("running", "Running at")
	s.click("Refresh tokens")
	s.is("running", "Running at")
	s.click("Pause for an hour")
	s.is("stopped", "Paused until", "Go on now")
	s.click("Go on now")
	s.is("running", "Running at")
	s.click("Show the fuller limit in the icon")
	s.until("the icon has a meter", func() bool {
		_, box := s.icons()
		return near(s.see().At(box.Min.X+2, box.Max.Y), 0x4c, 0xaf, 0x50) || s.meter()
	})
	s.picture("meter")
	s.click("Show the fuller limit in the icon")
	s.shown() // what a click does shows by itself
	// The Codex CLI's copy was spent by the first launch.
	s.click("Re-import from Codex CLI")
	s.shown("That did not work")
	if told := s.told(); !strings.Contains(told[len(told)-1].body, "older than yours") || !strings.Contains(told[len(told)-1].body, "nothing was changed") {
		t.Errorf("told: %+v", told[len(told)-1])
	}
	s.is("running", "Running at", "renews itself")
	s.post("gpt-5.5", "hello")
	s.is("running", "Running at", "renews itself", "!ChatGPT")

	s.click("Sign out")
	s.is("stopped", "Running, and nobody is signed in", "Sign in…", "!Signed in as")
	s.shown() // the user knows
}

// meter reports whether a green bar lies along the icon's lower edge.
func (s *screen) meter() bool {
	picture := s.see()
	_, box := s.icons()
	green := 0
	for x := box.Min.X; x < box.Max.X; x++ {
		for y := box.Max.Y - 5; y < box.Max.Y+4; y++ {
			if near(picture.At(x, y), 0x4c, 0xaf, 0x50) {
				green++
			}
		}
	}
	return green > 12
}

// openMenu clicks on the icon, as a person does, and waits for the menu.
func (s *screen) openMenu() {
	s.t.Helper()
	_, box := s.icons()
	before := s.see()
	s.until("the menu opens", func() bool {
		exec.Command("xdotool", "mousemove", fmt.Sprint(box.Min.X+8), fmt.Sprint(box.Min.Y+8), "click", "1").Run() //nolint:errcheck // seen next
		for range 20 {
			after := s.see()
			differ := 0
			for y := panelHeight; y < 300; y += 4 {
				for x := 500; x < 1000; x += 4 {
					if before.At(x, y) != after.At(x, y) {
						differ++
					}
				}
			}
			if differ > 1500 {
				return true
			}
			time.Sleep(50 * time.Millisecond)
		}
		exec.Command("xdotool", "key", "Escape").Run() //nolint:errcheck // tried again
		return false
	})
}

func TestTheIconComesBackAfterAPanelWasRestarted(t *testing.T) {
	s := open(t)
	s.signedIn()
	s.start("--port", "0")
	s.is("running", "Running at")
	s.shown("Signed in as demo@example.com")
	// A signal with two arguments that is sent to the program, as keyrings and notification services send them, ends
	// systray's own watch of the panel.
	owner, _, _ := strings.Cut(s.items()[0], "/")
	err := s.bus.Send(&dbus.Message{Type: dbus.TypeSignal, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldDestination: dbus.MakeVariant(owner), dbus.FieldPath: dbus.MakeVariant(dbus.ObjectPath("/org/freedesktop/Notifications")),
		dbus.FieldInterface: dbus.MakeVariant("org.freedesktop.Notifications"), dbus.FieldMember: dbus.MakeVariant("NotificationClosed"),
		dbus.FieldSignature: dbus.MakeVariant(dbus.SignatureOf(uint32(0), uint32(0))),
	}, Body: []any{uint32(1), uint32(1)}}, nil).Err
	if err != nil {
		t.Fatal(err)
	}
	s.menu() // answered after the signal: the bus keeps the order
	s.stopPanel()
	s.startPanel()
	s.is("running", "Running at", "Signed in as")
}

func TestAPortThatIsTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	s := open(t)
	s.signedIn()
	s.start("--port", port)
	holder := fmt.Sprintf("desktop.test (process %d)", os.Getpid())
	s.is("attention", "Port "+port+" is used by "+holder, "Use port ", "!Pause")
	s.picture("notification")
	for _, l := range s.labels() {
		if strings.HasPrefix(l, "Use port ") {
			s.click(l)
		}
	}
	s.is("running", "Running at", "Signed in as")
	s.shown("Port "+port+" is used by "+holder, "Signed in as demo@example.com")
}

func TestASignInThatAnotherProgramUsed(t *testing.T) {
	s := open(t)
	s.signedIn()
	s.start("--port", "0")
	s.is("running", "Running at")
	s.shown("Signed in as demo@example.com")
	s.backend.RefuseRefresh("refresh_token_reused", "refresh_token_reused", "refresh_token_reused")
	s.backend.RefuseAccess(true)
	s.post("gpt-5.5", "hello")
	s.is("attention", "Sign in again", "Sign in again…", "Was signed in as", "!renews itself")
	s.shown("Sign in again")
	s.click("Refresh tokens")
	s.is("attention", "Sign in again")
	// The Codex CLI has signed in anew.
	s.backend.AllowRefresh()
	s.backend.RefuseAccess(false)
	s.signedIn()
	s.click("Re-import from Codex CLI")
	s.is("running", "Running at", "renews itself")
}

func TestALimit(t *testing.T) {
	s := open(t)
	s.signedIn()
	s.start("--port", "0")
	s.is("running", "Running at")
	s.shown("Signed in as demo@example.com")
	s.backend.SetUsage(92)
	s.post("gpt-5.5", "hello")
	s.is("running", "Running at", "5-hour  ▓▓▓▓░  92%")
	s.shown("92% of the 5-hour limit is used")
	const limit = 30 * time.Minute // as the stand-in says
	first := time.Now().Add(limit)
	s.post("gpt-5.5", "[[limit]]")
	last := time.Now().Add(limit) // a minute, or a day, may end in between
	s.is("attention", "Plan limit reached, resets ", "5-hour  ▓▓▓▓▓  100%")
	title := s.labels()[0]
	if !slices.ContainsFunc([]time.Time{first, last}, func(t time.Time) bool { return title == "Plan limit reached, resets "+codex.Clock(t, time.Now()) }) {
		t.Errorf("the menu says %q, and the limit resets between %s and %s", title, first, last)
	}
	s.shown(title)
}

func TestNobodyIsSignedIn(t *testing.T) {
	s := open(t)
	s.start("--port", "0")
	s.is("attention", "Nobody is signed in", "Sign in…", "Not signed in")
	s.shown("Nobody is signed in")
	s.click("Stop the proxy") // each change looks at the troubles anew
	s.is("attention", "Nobody is signed in", "Start the proxy")
	s.click("Start the proxy")
	s.is("attention", "Nobody is signed in", "Stop the proxy")
	s.shown() // once is enough
	s.click("Sign in by a code, on any device…")
	s.until("the menu shows the code", func() bool {
		return slices.ContainsFunc(s.labels(), func(l string) bool { return strings.HasPrefix(l, "Type ABCD-") })
	})
	s.picture("code")
	s.click("Cancel sign-in")
	s.is("attention", "Nobody is signed in", "Sign in…")
}

func TestTheDemo(t *testing.T) {
	s := open(t)
	s.start("--port", "0", "--demo")
	s.is("running", "Demo running at http://localhost:", "Signed in as demo@example.com")
	s.shown()
}

func TestASignInFromTheKeyring(t *testing.T) {
	s := open(t)
	var compact bytes.Buffer
	if err := json.Compact(&compact, s.backend.SignIn(200*time.Hour).AuthJSON()); err != nil {
		t.Fatal(err)
	}
	account := cliAccount(filepath.Join(os.Getenv("HOME"), ".codex"))
	if err := keyring.Set("Codex Auth", account, compact.String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keyring.Delete("Codex Auth", account) }) //nolint:errcheck // the keyring ends, too
	s.start("--port", "0")
	s.is("running", "Running at", "Signed in as demo@example.com (plus)")
	s.shown("Signed in as demo@example.com")
}
