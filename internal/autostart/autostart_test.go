//go:build unix

package autostart

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestEachSystemHasItsService(t *testing.T) {
	for _, test := range []struct {
		system string
		path   string
		want   []string
	}{
		{"linux", "/home/u/.config/systemd/user/codex-proxy.service", []string{`ExecStart="/opt/my programs/codex-proxy" "serve" "--model" "50%% \"x\""`, "WantedBy=default.target"}},
		{"darwin", "/home/u/Library/LaunchAgents/io.github.codex-proxy.service.plist", []string{"<string>/opt/my programs/codex-proxy</string>", "<string>50% &#34;x&#34;</string>", "RunAtLoad"}},
		{"windows", "", nil},
	} {
		e := Entry{Program: "/opt/my programs/codex-proxy", Args: []string{"serve", "--model", `50% "x"`}, System: test.system, Home: "/home/u", Config: "/home/u/.config"}
		service, err := e.service()
		if err != nil || len(service.start) == 0 || len(service.stop) == 0 || (test.path == "") != (len(service.files) == 0) {
			t.Errorf("%s: %+v %v", test.system, service, err)
			continue
		}
		if test.path == "" {
			continue
		}
		if service.files[0].path != test.path {
			t.Errorf("%s: %s", test.system, service.files[0].path)
		}
		for _, want := range test.want {
			if !strings.Contains(string(service.files[0].content), want) {
				t.Errorf("%s lacks %s:\n%s", test.system, want, service.files[0].content)
			}
		}
	}
	if _, err := (Entry{System: "plan9"}).service(); err == nil {
		t.Error("plan9 has a service")
	}
}

// TestKeysAreHandedOverInAPrivateFile: arguments can be seen by everybody on the machine.
func TestKeysAreHandedOverInAPrivateFile(t *testing.T) {
	t.Setenv("PATH", t.TempDir()) // no systemctl: it is written and not started
	home := t.TempDir()
	e := Entry{Program: "/opt/codex-proxy", Args: []string{"serve"}, System: "linux", Home: home, Config: filepath.Join(home, ".config"), Env: map[string]string{"PROXY_API_KEY": `a"b$c`, "CODEX_HOME": "/x"}}
	written, err := e.InstallService()
	if err == nil || len(written) != 2 {
		t.Fatalf("%v %v", written, err)
	}
	raw, err := os.ReadFile(written[0])
	if err != nil || !strings.Contains(string(raw), "CODEX_HOME=\"/x\"\nPROXY_API_KEY=\"a\\\"b\\$c\"\n") {
		t.Errorf("%s %v", raw, err)
	}
	if info, err := os.Stat(written[0]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	unit, _ := os.ReadFile(written[1])
	if !strings.Contains(string(unit), "EnvironmentFile="+written[0]) || strings.Contains(string(unit), `a"b`) {
		t.Errorf("%s", unit)
	}
	removed, err := e.UninstallService()
	if err != nil || len(removed) != 2 {
		t.Errorf("%v %v", removed, err)
	}
	e.System = "darwin"
	if plist := string(e.plist("x", true)); !strings.Contains(plist, "<key>PROXY_API_KEY</key><string>a&#34;b$c</string>") {
		t.Errorf("%s", plist)
	}
	e.System = "windows"
	if _, err := e.InstallService(); !errors.Is(err, ErrNoEnv) {
		t.Error(err)
	}
}

// TestAnotherInstallIsTheOneThatRuns: the manager starts nothing that runs already, and a key of before is not kept.
func TestAnotherInstallIsTheOneThatRuns(t *testing.T) {
	bin, home := t.TempDir(), t.TempDir()
	t.Setenv("PATH", bin)
	asked := filepath.Join(home, "asked")
	for _, manager := range []string{"systemctl", "launchctl"} {
		script := "#!/bin/sh\necho \"$@\" >>'" + asked + "'\n[ \"$1\" != unload ]\n" // none is loaded the first time
		if err := os.WriteFile(filepath.Join(bin, manager), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	e := Entry{Program: "/opt/codex-proxy", Args: []string{"serve"}, System: "linux", Home: home, Config: filepath.Join(home, ".config"), Env: map[string]string{"PROXY_API_KEY": "old"}}
	for _, test := range []struct{ system, want string }{
		{"linux", "--user restart codex-proxy.service"},
		{"darwin", "unload " + filepath.Join(home, "Library/LaunchAgents/io.github.codex-proxy.service.plist")},
	} {
		e.System = test.system
		if _, err := e.InstallService(); err != nil {
			t.Fatalf("%s: %v", test.system, err)
		}
		if lines, _ := os.ReadFile(asked); !strings.Contains(string(lines), test.want+"\n") {
			t.Errorf("%s: %s", test.system, lines)
		}
	}
	e.System, e.Env = "linux", nil
	if _, err := e.InstallService(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(e.envFile()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the key of the first install: %v", err)
	}
}

// TestWhatStartsAtLoginIsSaid: whatever flags it is started with, and not when the desktop has switched it off.
func TestWhatStartsAtLoginIsSaid(t *testing.T) {
	for _, system := range []string{"linux", "darwin"} {
		home := t.TempDir()
		e := Entry{Program: "/opt/my & programs/codex-proxy", Args: []string{"--port", "1"}, System: system, Home: home, Config: filepath.Join(home, ".config")}
		if e.Enabled() {
			t.Errorf("%s: on before it was", system)
		}
		if err := e.Enable(); err != nil || !e.Enabled() {
			t.Fatalf("%s: %v", system, err)
		}
		e.Args = nil
		if !e.Enabled() {
			t.Errorf("%s: off with other flags", system)
		}
		e.Program = "/opt/my & programs/codex"
		if e.Enabled() {
			t.Errorf("%s: on for another program", system)
		}
	}
	home := t.TempDir()
	e := Entry{Program: "/opt/codex-proxy", System: "linux", Home: home, Config: home}
	path, content, err := e.Login()
	if err != nil {
		t.Fatal(err)
	}
	for _, off := range []string{
		string(content) + "Hidden=true\n",
		strings.Replace(string(content), "X-GNOME-Autostart-enabled=true", "X-GNOME-Autostart-enabled=false", 1),
	} {
		if err := write(path, []byte(off)); err != nil {
			t.Fatal(err)
		}
		if e.Enabled() {
			t.Errorf("on with %s", off)
		}
	}
}

func TestWhatCouldNotBeWrittenIsNotSaidToBe(t *testing.T) {
	home := t.TempDir()
	blocked := filepath.Join(home, "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	written, err := Entry{Program: "/opt/codex-proxy", System: "linux", Config: blocked}.InstallService()
	if err == nil || len(written) > 0 {
		t.Errorf("%v %v", written, err)
	}
}

func TestSystemdTakesTheUnit(t *testing.T) {
	verify, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("no systemd-analyze here")
	}
	path := filepath.Join(t.TempDir(), "codex-proxy.service")
	service, err := Entry{Program: "/bin/true", Args: []string{"serve"}, System: "linux"}.service()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, service.files[0].content, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(verify, "--user", "verify", path)
	cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
