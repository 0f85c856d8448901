// Package autostart has the system start this program when the user logs in: as a service without a menu, or as the
// menu-bar app. What is written where is a pure function of the system; Install and Uninstall write it.
package autostart

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// Name is under which the system knows the program.
const Name = "codex-proxy"

// label is the name on macOS.
const label = "io.github.codex-proxy"

// Entry is one way of starting.
type Entry struct {
	Program string   // absolute path
	Args    []string // after the program
	System  string   // runtime.GOOS
	Home    string
	Config  string // XDG config folder
}

// Service returns the file that makes the entry a service, and the commands that start and stop it.
// On Windows there is no file: a task does it.
func (e Entry) Service() (path string, content []byte, start, stop [][]string, err error) {
	switch e.System {
	case "darwin":
		path = filepath.Join(e.Home, "Library", "LaunchAgents", label+".service.plist")
		return path, e.plist(label+".service", true), [][]string{{"launchctl", "load", "-w", path}}, [][]string{{"launchctl", "unload", "-w", path}}, nil
	case "windows":
		return "", nil, [][]string{
			{"schtasks", "/Create", "/F", "/SC", "ONLOGON", "/TN", Name, "/RL", "LIMITED", "/TR", windowsLine(e.Program, e.Args)},
			{"schtasks", "/Run", "/TN", Name},
		}, [][]string{{"schtasks", "/End", "/TN", Name}, {"schtasks", "/Delete", "/F", "/TN", Name}}, nil
	case "linux", "freebsd", "openbsd":
		path = filepath.Join(e.Config, "systemd", "user", Name+".service")
		return path, e.unit(), [][]string{{"systemctl", "--user", "daemon-reload"}, {"systemctl", "--user", "enable", "--now", Name + ".service"}},
			[][]string{{"systemctl", "--user", "disable", "--now", Name + ".service"}}, nil
	}
	return "", nil, nil, nil, fmt.Errorf("no way to start at login is known for %s", e.System)
}

// unit is a systemd user unit. Source: systemd.service(5), systemd.unit(5).
func (e Entry) unit() []byte {
	words := []string{unitQuote(e.Program)}
	for _, a := range e.Args {
		words = append(words, unitQuote(a))
	}
	return []byte(`# Written by codex-proxy serve --install-service
[Unit]
Description=Codex Proxy
After=network-online.target

[Service]
ExecStart=` + strings.Join(words, " ") + `
Environment=ENV=production
Restart=on-failure
RestartSec=5
TimeoutStopSec=15

[Install]
WantedBy=default.target
`)
}

func unitQuote(s string) string {
	s = strings.NewReplacer(`\`, `\\`, `"`, `\"`, `%`, `%%`, `$`, `$$`).Replace(s)
	return `"` + s + `"`
}

// plist is a LaunchAgent. Source: launchd.plist(5).
func (e Entry) plist(name string, keepAlive bool) []byte {
	var b bytes.Buffer
	b.WriteString(xml.Header + `<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0"><dict>
  <key>Label</key><string>` + name + `</string>
  <key>ProgramArguments</key><array>
`)
	for _, word := range append([]string{e.Program}, e.Args...) {
		b.WriteString("    <string>")
		xml.EscapeText(&b, []byte(word)) //nolint:errcheck // into memory
		b.WriteString("</string>\n")
	}
	b.WriteString("  </array>\n  <key>RunAtLoad</key><true/>\n")
	if keepAlive {
		b.WriteString("  <key>KeepAlive</key><dict><key>SuccessfulExit</key><false/></dict>\n")
	} else {
		b.WriteString("  <key>LimitLoadToSessionType</key><string>Aqua</string>\n")
	}
	b.WriteString("</dict></plist>\n")
	return b.Bytes()
}

// windowsLine is a command line for CommandLineToArgvW.
func windowsLine(program string, args []string) string {
	words := []string{`"` + program + `"`}
	for _, a := range args {
		if a == "" || strings.ContainsAny(a, " \t\"") {
			a = strconv.Quote(a)
		}
		words = append(words, a)
	}
	return strings.Join(words, " ")
}

// InstallService writes the service and starts it.
func (e Entry) InstallService() (path string, err error) {
	path, content, start, _, err := e.Service()
	if err != nil {
		return "", err
	}
	if path != "" {
		if err := write(path, content); err != nil {
			return path, err
		}
	}
	return path, run(start)
}

// UninstallService stops the service and removes it.
func (e Entry) UninstallService() (path string, err error) {
	path, _, _, stop, err := e.Service()
	if err != nil {
		return "", err
	}
	stopped := run(stop)
	if path == "" {
		return path, stopped
	}
	if err := os.Remove(path); err != nil {
		return path, err
	}
	return path, nil // a service that did not run is fine
}

// write is for this user only: the arguments may hold a key.
func write(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o600)
}

func run(commands [][]string) error {
	for _, c := range commands {
		out, err := exec.Command(c[0], c[1:]...).CombinedOutput() //nolint:gosec // the commands of Service
		if errors.Is(err, exec.ErrNotFound) {
			return fmt.Errorf("%s is not there to start it: run the proxy by another way of your system", c[0])
		}
		if err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(c[:2], " "), err, bytes.TrimSpace(out))
		}
	}
	return nil
}

// Login returns the file that has the desktop start the entry at login; on Windows there is none, the registry does.
func (e Entry) Login() (path string, content []byte, err error) {
	switch e.System {
	case "darwin":
		path = filepath.Join(e.Home, "Library", "LaunchAgents", label+".plist")
		return path, e.plist(label, false), nil
	case "windows":
		return "", []byte(windowsLine(e.Program, e.Args)), nil
	case "linux", "freebsd", "openbsd":
		return filepath.Join(e.Config, "autostart", Name+".desktop"), e.desktopFile(), nil
	}
	return "", nil, fmt.Errorf("no way to start at login is known for %s", e.System)
}

// desktopFile is an autostart entry. Source: Desktop Application Autostart Specification, Desktop Entry Specification.
func (e Entry) desktopFile() []byte {
	words := []string{desktopQuote(e.Program)}
	for _, a := range e.Args {
		words = append(words, desktopQuote(a))
	}
	return []byte("[Desktop Entry]\nType=Application\nName=Codex Proxy\nComment=Your ChatGPT plan for your editors\nExec=" +
		strings.Join(words, " ") + "\nTerminal=false\nX-GNOME-Autostart-enabled=true\n")
}

func desktopQuote(s string) string {
	s = strings.NewReplacer(`\`, `\\\\`, `"`, `\\"`, "`", "\\\\`", `$`, `\\$`, `%`, `%%`).Replace(s)
	return `"` + s + `"`
}

// Enabled reports whether this very program starts at login.
func (e Entry) Enabled() bool {
	path, content, err := e.Login()
	if err != nil {
		return false
	}
	if path == "" {
		return readRun() == string(content)
	}
	raw, err := os.ReadFile(path)
	return err == nil && bytes.Equal(raw, content) && !bytes.Contains(raw, []byte("Hidden=true"))
}

// Enable has the program start at login, and Disable undoes it.
func (e Entry) Enable() error {
	path, content, err := e.Login()
	if err != nil {
		return err
	}
	if path == "" {
		return writeRun(string(content))
	}
	return write(path, content)
}

// Disable ends what Enable began. An entry that is not there is fine.
func (e Entry) Disable() error {
	path, _, err := e.Login()
	if err != nil {
		return err
	}
	if path == "" {
		return writeRun("")
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
