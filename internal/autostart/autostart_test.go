package autostart

import (
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
		path, content, start, stop, err := e.Service()
		if err != nil || path != test.path || len(start) == 0 || len(stop) == 0 {
			t.Errorf("%s: %q %v %v %v", test.system, path, start, stop, err)
		}
		for _, want := range test.want {
			if !strings.Contains(string(content), want) {
				t.Errorf("%s lacks %s:\n%s", test.system, want, content)
			}
		}
		if test.system == "windows" && !strings.Contains(strings.Join(start[0], "|"), `"/opt/my programs/codex-proxy" serve --model "50% \"x\""`) {
			t.Errorf("windows: %q", start[0])
		}
	}
	if _, _, _, _, err := (Entry{System: "plan9"}).Service(); err == nil {
		t.Error("plan9 has a service")
	}
}

func TestSystemdTakesTheUnit(t *testing.T) {
	verify, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("no systemd-analyze here")
	}
	path := filepath.Join(t.TempDir(), "codex-proxy.service")
	_, content, _, _, _ := Entry{Program: "/bin/true", Args: []string{"serve"}, System: "linux"}.Service()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(verify, "--user", "verify", path)
	cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
