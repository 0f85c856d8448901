package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"codex-proxy/internal/atomicfile"
	"codex-proxy/internal/page"
	"codex-proxy/proxy"
)

// withPage gives browsers the page, and everybody else the proxy.
func (a *App) withPage(others http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if page.Wants(r) && !proxy.Stranger(r.Context()) {
			a.page.ServeHTTP(w, r)
			return
		}
		others.ServeHTTP(w, r)
	})
}

// PageAddress is where the page can be opened once, within half a minute, at a section of it.
func (a *App) PageAddress(section string) (string, error) {
	root, err := a.pageRoot()
	if err != nil {
		return "", err
	}
	address := a.page.Open(root)
	if section != "" && section != "overview" {
		address += "#" + section
	}
	return address, nil
}

// pageRoot is where the page is. While the proxy does not listen, it has a port of its own, so that it can tell why.
func (a *App) pageRoot() (string, error) {
	root := a.service.Addr()
	if root == "" {
		var err error
		if root, err = a.spareDoor(); err != nil {
			return "", err
		}
	}
	return "http://" + display(root), nil
}

// OpenPage opens the page in the user's browser.
func (a *App) OpenPage(section string) error {
	address, err := a.PageAddress(section)
	if err != nil {
		return err
	}
	if err := OpenBrowser(address); err != nil {
		return fmt.Errorf("no browser could be opened. Open %s within half a minute", address)
	}
	return nil
}

// comeBack is how soon a page that is in sight comes back by itself after a restart; it tries every 4 seconds, see listen in
// page/src/api.js.
const comeBack = 8 * time.Second

// bringPageBack opens the page after a restart, if no page comes back.
func (a *App) bringPageBack(ctx context.Context) {
	select {
	case <-a.page.Visited():
		a.log.Debug("The page came back")
	case <-time.After(comeBack):
		if a.OpenPage("settings") != nil { // the error holds a link that lets a browser in, which is not for a log
			a.log.Warn("⚠️ The page could not be opened again after the restart. Open it with codex-proxy open")
		}
	case <-ctx.Done():
	}
}

// spareDoorNote is the file that says at which port the page was last while the proxy did not listen.
func spareDoorNote() string { return filepath.Join(StateFolder(), "page-port") }

// findSpareDoor opens the spare door again when one was open as the program ended: a page may be waiting there. The next
// program does so only if this one does not listen either.
func (a *App) findSpareDoor() {
	if _, err := os.Stat(spareDoorNote()); err != nil || a.Settings.Demo {
		return
	}
	if _, err := a.spareDoor(); err != nil {
		a.log.Warnf("⚠️ A page that is open while the proxy is stopped can't go on: %v", err)
	}
	if a.service.Addr() != "" {
		os.Remove(spareDoorNote()) //nolint:errcheck // then a port is open once more without need
	}
}

// listenAside listens on the loopback port where the page was the last time, else on a free one.
func (a *App) listenAside() (net.Listener, error) {
	if a.Settings.Demo {
		return net.Listen("tcp", "127.0.0.1:0")
	}
	if raw, _, err := atomicfile.Read(spareDoorNote(), 5); err == nil {
		var port Port
		if port.UnmarshalText(raw) == nil {
			if l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port)))); err == nil {
				return l, nil
			}
		}
	}
	return net.Listen("tcp", "127.0.0.1:0")
}

// spareDoor serves the page alone on a loopback port of its own, from the first call until the program ends, and notes it
// for the next. What is open there goes to the proxy's port when that listens.
func (a *App) spareDoor() (string, error) {
	addr, err := a.openSpareDoor()
	if err != nil || a.Settings.Demo {
		return addr, err
	}
	if _, port, err := net.SplitHostPort(addr); err == nil {
		atomicfile.Write(spareDoorNote(), []byte(port)) //nolint:errcheck // then a page is not found again after a restart
	}
	return addr, nil
}

func (a *App) openSpareDoor() (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.spareAddr != "" {
		return a.spareAddr, nil
	}
	if a.closed {
		return "", errors.New("the program is ending")
	}
	l, err := a.listenAside()
	if err != nil {
		return "", fmt.Errorf("no free loopback port for the page: %w", err)
	}
	server := &http.Server{Handler: page.Aside(a.withPage(http.NotFoundHandler())), ReadHeaderTimeout: 10 * time.Second, ErrorLog: standardLogger(a.log), ConnContext: a.service.LookAtPeer}
	go server.Serve(l) //nolint:errcheck // ends with Close
	a.atEnd = append(a.atEnd, func() { server.Close() })
	a.spareAddr = l.Addr().String()
	return a.spareAddr, nil
}
