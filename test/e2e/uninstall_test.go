//go:build e2e && linux

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func left(t *testing.T, home string, names ...string) (there []string) {
	t.Helper()
	for _, name := range names {
		if _, err := os.Lstat(filepath.Join(home, name)); err == nil {
			there = append(there, name)
		}
	}
	return there
}

// TestUninstallTakesTheUsersPartAwayAndKeepsTheSignIn is what a package can't do for its user.
func TestUninstallTakesTheUsersPartAwayAndKeepsTheSignIn(t *testing.T) {
	b, url := startBackend(t)
	home, _ := signedIn(t, b)
	p := start(t, home, at(url))
	p.imported()
	text := func(path string) string {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	const before = `{"model": "opus"}`
	tool := filepath.Join(home, ".claude", "settings.json")
	writeFile(t, tool, []byte(before))
	if out, code := command(t, home, at(url), "connect", "claude", "--yes"); code != 0 || text(tool) == before {
		t.Fatalf("connect: %d %s", code, out)
	}
	command(t, home, at(url), "autostart", "on")
	command(t, home, at(url), "serve", "--install-service") // systemd is not there to start it: its file is
	parts := []string{".config/autostart/codex-proxy.desktop", ".config/systemd/user/codex-proxy.service"}
	if there := left(t, home, parts...); len(there) != len(parts) {
		t.Fatalf("only %v were set up", there)
	}
	if out, _ := command(t, home, at(url), "stop"); !strings.Contains(out, "Still pointed at it: Claude Code") {
		t.Errorf("stop says %s", out)
	}
	out, code := command(t, home, at(url), "uninstall")
	if code != 0 || !strings.Contains(out, "kept in") {
		t.Errorf("%d %s", code, out)
	}
	if there := left(t, home, parts...); there != nil {
		t.Errorf("%v are left", there)
	}
	if after := text(tool); after != before {
		t.Errorf("Claude Code is left with %s", after)
	}
	eventually(t, "the program that ran has ended", p.exited)
	if left(t, home, ".config/codex-proxy/auth.json") == nil {
		t.Error("the sign-in is gone")
	}
	if out, code := command(t, home, at(url), "uninstall"); code != 0 {
		t.Errorf("again: %d %s", code, out)
	}
}

func TestPurgeEndsTheSignInAndLeavesNothing(t *testing.T) {
	b, url := startBackend(t)
	home, _ := signedIn(t, b)
	p := start(t, home, at(url))
	p.imported()
	if out, code := command(t, home, at(url), "uninstall", "--purge"); code != 1 || !strings.Contains(out, "nothing was changed") {
		t.Errorf("without an answer: %d %s", code, out)
	}
	if p.exited() || left(t, home, ".config/codex-proxy/auth.json") == nil {
		t.Error("something was changed")
	}
	out, code := command(t, home, at(url), "uninstall", "--purge", "--yes")
	if code != 0 || !strings.Contains(out, "Signed out of demo@example.com") {
		t.Errorf("%d %s", code, out)
	}
	if n := b.Counts().Revoked; n != 1 {
		t.Errorf("%d sign-ins were ended at OpenAI", n)
	}
	if there := left(t, home, ".config/codex-proxy", ".local/state/codex-proxy", "run/codex-proxy", ".cache/codex-proxy"); there != nil {
		t.Errorf("%v are left", there)
	}
	if left(t, home, ".codex/auth.json") == nil {
		t.Error("the Codex CLI's own file is gone")
	}
}

// TestAServiceWithoutASessionSaysWhatToDo: as by su or ssh where the user has no systemd.
func TestAServiceWithoutASessionSaysWhatToDo(t *testing.T) {
	if _, err := exec.LookPath("systemctl"); err != nil {
		t.Skip("no systemctl here")
	}
	out, code := command(t, t.TempDir(), []string{"DBUS_SESSION_BUS_ADDRESS="}, "serve", "--install-service")
	if code != 1 || !strings.Contains(out, "loginctl enable-linger") {
		t.Errorf("%d %s", code, out)
	}
}

// TestWhatStartsAtLoginKnowsItsFilesFromAnywhere: a path is meant from where it was typed, not from where the system
// starts programs.
func TestWhatStartsAtLoginKnowsItsFilesFromAnywhere(t *testing.T) {
	home := t.TempDir()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	texts := func(names ...string) (all string) {
		for _, name := range names {
			raw, _ := os.ReadFile(filepath.Join(home, ".config", name))
			all += string(raw)
		}
		return all
	}
	for _, args := range [][]string{{"--creds-path", "mine/auth.json", "--codex-home=codex"}, {"--creds-path=./mine/auth.json", "--codex-home", "codex"}} {
		command(t, home, nil, append([]string{"serve", "--install-service"}, args...)...) // systemd is not there to start it
		command(t, home, nil, append([]string{"autostart", "on"}, args...)...)
		for _, name := range []string{"systemd/user/codex-proxy.service", "autostart/codex-proxy.desktop"} {
			if text := texts(name); !strings.Contains(text, filepath.Join(here, "mine", "auth.json")) || !strings.Contains(text, filepath.Join(here, "codex")) {
				t.Errorf("%v: %s has\n%s", args, name, text)
			}
		}
	}
	command(t, home, []string{"CODEX_PROXY_CREDS_PATH=mine/auth.json", "CODEX_HOME=~/codex"}, "serve", "--install-service")
	if text := texts("codex-proxy/service.env"); !strings.Contains(text, filepath.Join(here, "mine", "auth.json")) || !strings.Contains(text, `"~/codex"`) {
		t.Errorf("the service is given\n%s", text)
	}
}

// TestAutostartKeepsTheFlagsThatAreGiven: what starts at login is given them, and never a key, which others could see.
func TestAutostartKeepsTheFlagsThatAreGiven(t *testing.T) {
	home := t.TempDir()
	entry := filepath.Join(home, ".config", "autostart", "codex-proxy.desktop")
	for _, args := range [][]string{{"autostart", "on", "--port", "9976"}, {"--port", "9976", "autostart", "on"}, {"--port=9976", "autostart", "on"}} {
		out, code := command(t, home, nil, args...)
		raw, _ := os.ReadFile(entry)
		if _, flags, _ := strings.Cut(string(raw), "Exec=\""+binary+"\""); code != 0 || !strings.HasPrefix(flags, ` "--port" "9976"`+"\n") && !strings.HasPrefix(flags, ` "--port=9976"`+"\n") {
			t.Errorf("%v: %d %s\n%s", args, code, out, raw)
		}
	}
	if out, code := command(t, home, nil, "autostart", "off"); code != 0 {
		t.Errorf("off: %d %s", code, out)
	}
	for _, flag := range []string{"--api-key", "--admin-api-key"} {
		if out, code := command(t, home, nil, "autostart", "on", flag, "secret"); code != 1 || !strings.Contains(out, "codex-proxy open") || left(t, home, ".config/autostart/codex-proxy.desktop") != nil {
			t.Errorf("%s: %d %s", flag, code, out)
		}
	}
}

// TestPurgingSaysThatASignInCouldNotBeEnded where it can't be read: OpenAI is not told then.
func TestPurgingSaysThatASignInCouldNotBeEnded(t *testing.T) {
	b, url := startBackend(t)
	home, _ := signedIn(t, b)
	if out, code := command(t, home, at(url), "import"); code != 0 {
		t.Fatal(out)
	}
	if err := os.Chmod(filepath.Join(home, ".config", "codex-proxy", "auth.json"), 0o666); err != nil {
		t.Fatal(err)
	}
	out, code := command(t, home, at(url), "uninstall", "--purge", "--yes")
	if code != 0 || !strings.Contains(out, "could not be read, and is deleted. So OpenAI could not be told") {
		t.Errorf("%d %s", code, out)
	}
	if there := left(t, home, ".config/codex-proxy"); there != nil {
		t.Errorf("%v are left", there)
	}
}

// TestPurgingLeavesNoUnreadableFileUnnamed: one that was named with --creds-path is not ours to delete unread, and does
// not go with our folders.
func TestPurgingLeavesNoUnreadableFileUnnamed(t *testing.T) {
	b, url := startBackend(t)
	home, _ := signedIn(t, b)
	path := filepath.Join(home, "elsewhere", "auth.json")
	if out, code := command(t, home, at(url), "import", "--creds-path", path); code != 0 {
		t.Fatal(out)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	out, code := command(t, home, at(url), "uninstall", "--purge", "--yes", "--creds-path", path)
	if code != 1 || !strings.Contains(out, "Delete it yourself") || strings.Contains(out, "the sign-in ends there by itself") {
		t.Errorf("%d %s", code, out)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if out, code := command(t, home, at(url), "uninstall", "--purge", "--yes", "--creds-path", path); code != 0 {
		t.Errorf("%d %s", code, out)
	}
}
