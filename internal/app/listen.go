package app

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"codex-proxy/internal/control"
	"codex-proxy/proxy"
)

// Start has the proxy listen, on another port unless that is 0, and keeps both over a restart. One that runs moves, with
// the answers under way ending where they began; when the other port can't be had it stays where it is.
func (a *App) Start(port int) error {
	return a.start(port, func(s Saved) {
		if port != 0 {
			s["port"] = port
		}
	})
}

func (a *App) start(port int, keep func(Saved)) error {
	a.power.Lock()
	defer a.power.Unlock()
	return a.powerOn(port, keep)
}

// errEnding is for who starts, stops or pauses the proxy of a program that was told to quit.
var errEnding = errors.New("Codex Proxy is ending. Start it again with: codex-proxy")

// ending reports whether the program was told to quit, and waits for answers and for what the sign-in is doing.
func (a *App) ending() bool { return a.lifetime.Err() != nil }

// powerOn is called with power held.
func (a *App) powerOn(port int, keep func(Saved)) error {
	if a.ending() {
		return errEnding
	}
	a.endPause()
	if err := a.listen(port); err != nil {
		return err
	}
	if port != 0 {
		a.updateTools()
	}
	return a.change(func(s Saved) {
		delete(s, "stopped")
		keep(s)
	})
}

// UseUsualPort goes back to the port that is used when none has been chosen.
func (a *App) UseUsualPort() error {
	return a.start(DefaultPort, func(s Saved) { delete(s, "port") })
}

// Stop ends the listening, also after a restart, until the proxy is started by hand. Answers under way have a few
// seconds to end.
func (a *App) Stop() error {
	a.power.Lock()
	defer a.power.Unlock()
	if a.ending() {
		return errEnding
	}
	a.endPause()
	err := a.change(func(s Saved) { s["stopped"] = true })
	a.shut()
	return err
}

// shut ends the listening. That is told at once, and again when no answer is under way any more.
func (a *App) shut() {
	a.stopping.Store(true)
	a.changed(false)
	a.page.Disconnect()
	a.service.Stop()
	a.stopping.Store(false)
	a.changed(false)
}

// Pause ends the listening for a while. A program that is started anew meanwhile listens again.
func (a *App) Pause(d time.Duration) error {
	a.power.Lock()
	defer a.power.Unlock()
	if a.ending() {
		return errEnding
	}
	a.endPause()
	a.mu.Lock()
	a.pausedUntil = time.Now().Add(d)
	a.pause = time.AfterFunc(d, a.resume)
	a.mu.Unlock()
	a.shut()
	return nil
}

// pauseOver reports whether there is a pause whose time is over: by the timers' clock, or by that on the wall, which goes
// on while the machine sleeps.
func (a *App) pauseOver() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	wall := a.http.Transport.(*wakefulTransport).clock()
	return a.pause != nil && !(time.Now().Before(a.pausedUntil) && wall.Round(0).Before(a.pausedUntil.Round(0)))
}

// resume ends a pause whose time is over, unless the user has ended it meanwhile.
func (a *App) resume() {
	a.power.Lock()
	defer a.power.Unlock()
	if a.pauseOver() {
		a.powerOn(0, func(Saved) {}) //nolint:errcheck // the state says why not
	}
}

func (a *App) endPause() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pausedUntil = time.Time{}
	if a.pause != nil {
		a.pause.Stop()
		a.pause = nil
	}
}

// listen starts the proxy, or moves it to a port that is not 0. What is in the way is kept, unless it runs already.
func (a *App) listen(port int) error {
	var err error
	running := a.service.Addr() != ""
	switch {
	case running && port != 0 && port != a.service.WantedPort():
		if err = a.service.Move(port); err != nil {
			return err
		}
	case port != 0:
		a.service.SetPort(port)
		fallthrough
	default:
		err = a.service.Start()
	}
	trouble, spare := "", 0
	if err != nil {
		trouble = err.Error()
		if port := a.service.WantedPort(); errors.Is(err, proxy.ErrPortTaken) {
			holder, ours := whoListens(port)
			if ours != 0 {
				err = fmt.Errorf("%w: Codex Proxy runs on port %d already (process %d). `codex-proxy quit` ends it", proxy.ErrPortTaken, port, ours)
			}
			trouble, spare = fmt.Sprintf("Port %d is used by %s", port, holder), sparePort(port)
		}
	}
	a.mu.Lock()
	a.trouble, a.spare = trouble, spare
	a.mu.Unlock()
	a.changed(false)
	if err != nil {
		return err
	}
	a.log.WithField("version", a.program.Version).Infof("🚀 Codex Proxy listens at http://%s/v1", display(a.service.Addr()))
	if a.Settings.Demo {
		a.log.Warn("⚠️ This is the demo: answers come from a built-in stand-in, not from ChatGPT")
	}
	return nil
}

// whoListens says who holds a port, such as "node (process 1234)". ours is the process when it is a Codex Proxy of this
// user, else 0.
func whoListens(port int) (holder string, ours int) {
	name, pid := portHolder(port)
	if slices.ContainsFunc(Programs(), func(p control.Program) bool { return p.PID == pid }) {
		name, ours = "another Codex Proxy", pid
	}
	holder = cmp.Or(name, "another program")
	if pid != 0 {
		holder += fmt.Sprintf(" (process %d)", pid)
	}
	return holder, ours
}

// sparePort is a free port near one that is taken.
func sparePort(taken int) int {
	for port := taken + 1; port < taken+20 && port <= 65535; port++ {
		if l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			l.Close()
			return port
		}
	}
	return 0
}

// display is an address as a person would type it.
func display(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	ip := net.ParseIP(host)
	if err == nil && ip != nil && (ip.IsUnspecified() || host == "127.0.0.1") {
		return "localhost:" + port
	}
	return addr
}
