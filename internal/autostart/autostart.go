// Package autostart has the system start this program when the user logs in: as a service without a menu, or as the
// menu-bar app. What is written where is a pure function of the system; Install and Uninstall write it.
package autostart

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"codex-proxy/internal/atomicfile"
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
	// Env is handed to a service in a file that only this user can read: keys do not belong into arguments, which
	// everybody can see. Windows has no way for it.
	Env map[string]string
}

// ErrNoEnv is what Service's error is on a system where a service can't be given variables.
var ErrNoEnv = errors.New("a task of Windows can't be given keys or variables. Set them for your user (setx), or leave them out")

// ErrKeyTyped is Enable's error when Env is not empty: what the desktop starts at login takes arguments only.
var ErrKeyTyped = errors.New("what starts at login can't be given a key or a password by an argument, which everybody on this machine can see. Set it in Settings on the page (codex-proxy open), or as a variable for your user, such as PROXY_API_KEY, and start Codex Proxy without it")

// A file is what a service needs to have written.
type file struct {
	path    string
	content []byte
}

// service is the files that make the entry a service, the one that the system knows it by last, and the commands that
// end what runs of an earlier one, start it and stop it. On Windows there is no file: a task does it.
type service struct {
	files            []file
	end, start, stop [][]string
}

func (e Entry) service() (service, error) {
	switch e.System {
	case "darwin":
		path := filepath.Join(e.Home, "Library", "LaunchAgents", label+".service.plist")
		return service{
			[]file{{path, e.plist(label+".service", true)}}, [][]string{{"launchctl", "unload", path}},
			[][]string{{"launchctl", "load", "-w", path}}, [][]string{{"launchctl", "unload", "-w", path}},
		}, nil
	case "windows":
		if len(e.Env) > 0 {
			return service{}, ErrNoEnv
		}
		end := []string{"schtasks", "/End", "/TN", Name}
		return service{nil, [][]string{end}, [][]string{
			{"schtasks", "/Create", "/F", "/SC", "ONLOGON", "/TN", Name, "/RL", "LIMITED", "/TR", commandLine(append([]string{e.Program}, e.Args...))},
			{"schtasks", "/Run", "/TN", Name},
		}, [][]string{end, {"schtasks", "/Delete", "/F", "/TN", Name}}}, nil
	case "linux", "freebsd", "openbsd":
		s := service{
			start: [][]string{{"systemctl", "--user", "daemon-reload"}, {"systemctl", "--user", "enable", Name + ".service"}, {"systemctl", "--user", "restart", Name + ".service"}},
			stop:  [][]string{{"systemctl", "--user", "disable", "--now", Name + ".service"}},
		}
		if len(e.Env) > 0 {
			s.files = append(s.files, file{e.envFile(), e.environment()})
		}
		s.files = append(s.files, file{filepath.Join(e.Config, "systemd", "user", Name+".service"), e.unit()})
		return s, nil
	}
	return service{}, fmt.Errorf("no way to start at login is known for %s", e.System)
}

func (e Entry) envFile() string { return filepath.Join(e.Config, "codex-proxy", "service.env") }

// environment is a file of variables. Source: systemd.exec(5), EnvironmentFile.
func (e Entry) environment() []byte {
	var b bytes.Buffer
	b.WriteString("# Written by codex-proxy serve --install-service\n")
	for _, name := range slices.Sorted(maps.Keys(e.Env)) {
		value := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`, "`", "\\`").Replace(e.Env[name])
		fmt.Fprintf(&b, "%s=\"%s\"\n", name, value)
	}
	return b.Bytes()
}

// unit is a systemd user unit. Source: systemd.service(5), systemd.unit(5).
func (e Entry) unit() []byte {
	words := []string{unitQuote(e.Program)}
	for _, a := range e.Args {
		words = append(words, unitQuote(a))
	}
	environment := ""
	if len(e.Env) > 0 {
		environment = "EnvironmentFile=" + strings.NewReplacer("%", "%%").Replace(e.envFile()) + "\n"
	}
	return []byte(`# Written by codex-proxy serve --install-service
[Unit]
Description=Codex Proxy
After=network-online.target

[Service]
ExecStart=` + strings.Join(words, " ") + `
Environment=ENV=production
` + environment + `Restart=on-failure
RestartSec=5
# Answers under way may end, and a refresh that was sent is waited for.
TimeoutStopSec=90

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
	b.WriteString("  </array>\n")
	if len(e.Env) > 0 {
		b.WriteString("  <key>EnvironmentVariables</key><dict>\n")
		for _, name := range slices.Sorted(maps.Keys(e.Env)) {
			b.WriteString("    <key>")
			xml.EscapeText(&b, []byte(name)) //nolint:errcheck // into memory
			b.WriteString("</key><string>")
			xml.EscapeText(&b, []byte(e.Env[name])) //nolint:errcheck // into memory
			b.WriteString("</string>\n")
		}
		b.WriteString("  </dict>\n")
	}
	b.WriteString("  <key>RunAtLoad</key><true/>\n")
	if keepAlive {
		b.WriteString("  <key>KeepAlive</key><dict><key>SuccessfulExit</key><false/></dict>\n")
	} else {
		b.WriteString("  <key>LimitLoadToSessionType</key><string>Aqua</string>\n")
	}
	b.WriteString("</dict></plist>\n")
	return b.Bytes()
}

// InstallService writes the service and starts it, in place of one that was installed before. written are the files that
// it wrote, also when starting failed.
func (e Entry) InstallService() (written []string, err error) {
	e.Env = maps.Clone(e.Env)
	maps.DeleteFunc(e.Env, setForUser) // it has those anyway
	s, err := e.service()
	if err != nil {
		return nil, err
	}
	for _, f := range s.files {
		if err := write(f.path, f.content); err != nil {
			return written, err
		}
		written = append(written, f.path)
	}
	if len(e.Env) == 0 { // what an earlier service was given
		if err := os.Remove(e.envFile()); err != nil && !errors.Is(err, os.ErrNotExist) {
			return written, err
		}
	}
	for _, command := range s.end {
		run([][]string{command}) //nolint:errcheck // none runs the first time
	}
	return written, run(s.start)
}

// UninstallService stops the service and removes it. removed are the files that are gone; an error wraps
// os.ErrNotExist when there was no service.
func (e Entry) UninstallService() (removed []string, err error) {
	e.Env = nil
	s, err := e.service()
	if err != nil {
		return nil, err
	}
	if len(s.files) == 0 {
		if run([][]string{{"schtasks", "/Query", "/TN", Name}}) != nil {
			return nil, fmt.Errorf("the task %s: %w", Name, os.ErrNotExist)
		}
		return nil, run(s.stop)
	}
	if _, err := os.Stat(s.files[0].path); err != nil {
		return nil, err
	}
	run(s.stop) //nolint:errcheck // a service that does not run is fine, and so is a system without its manager
	for _, f := range s.files {
		if err := os.Remove(f.path); err != nil {
			return removed, err
		}
		removed = append(removed, f.path)
	}
	if err := os.Remove(e.envFile()); err == nil {
		removed = append(removed, e.envFile())
	}
	return removed, nil // a service that did not run is fine
}

// write is for this user only: the content may hold a key.
func write(path string, content []byte) error { return atomicfile.Write(path, content) }

func run(commands [][]string) error {
	for _, c := range commands {
		out, err := exec.Command(c[0], c[1:]...).CombinedOutput() //nolint:gosec // the commands of Service
		if errors.Is(err, exec.ErrNotFound) {
			return fmt.Errorf("%s is not there to start it: run the proxy by another way of your system", c[0])
		}
		if err != nil && bytes.Contains(out, []byte("bus")) && bytes.HasPrefix(out, []byte("Failed to connect to ")) {
			return errors.New("your user has no systemd running here. Log in as that user, not by su or sudo, or have it always run with: sudo loginctl enable-linger USER. Then run this command again")
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
		return "", []byte(commandLine(append([]string{withIcon(e.Program)}, e.Args...))), nil
	case "linux", "freebsd", "openbsd":
		return filepath.Join(e.Config, "autostart", Name+".desktop"), e.desktopFile(), nil
	}
	return "", nil, fmt.Errorf("no way to start at login is known for %s", e.System)
}

// withIcon is the program for a desktop: on Windows the one that has no console, where it lies beside.
func withIcon(program string) string {
	folder, name := filepath.Split(program)
	if !strings.EqualFold(name, "codex-proxy.exe") {
		return program
	}
	other := filepath.Join(folder, "codex-proxy-tray.exe")
	if info, err := os.Stat(other); err != nil || !info.Mode().IsRegular() {
		return program
	}
	return other
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

// Enabled reports whether this program starts at login, with whatever flags.
func (e Entry) Enabled() bool {
	e.Args = nil
	path, content, err := e.Login()
	if err != nil {
		return false
	}
	if path == "" {
		line := readRun()
		return line == string(content) || strings.HasPrefix(line, string(content)+" ")
	}
	raw, err := os.ReadFile(path)
	if err != nil || bytes.Contains(raw, []byte("Hidden=true")) || bytes.Contains(raw, []byte("X-GNOME-Autostart-enabled=false")) {
		return false
	}
	if e.System == "darwin" {
		_, content, _ = bytes.Cut(content, []byte("<array>"))
		content, _, _ = bytes.Cut(content, []byte("  </array>"))
		return bytes.Contains(raw, content)
	}
	return bytes.Contains(raw, []byte("Exec="+desktopQuote(e.Program)))
}

// Enable has the program start at login, and Disable undoes it.
func (e Entry) Enable() error {
	if len(e.Env) > 0 {
		return ErrKeyTyped
	}
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
