//go:build e2e && unix

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestABrowserThatStaysInTheForegroundDoesNotHoldTheSignIn: some xdg-open return only when the browser ends.
func TestABrowserThatStaysInTheForegroundDoesNotHoldTheSignIn(t *testing.T) {
	_, url := startBackend(t)
	home := t.TempDir()
	ended := filepath.Join(home, "ended")
	browser := fakeBrowser(t, "while [ ! -e "+ended+" ]; do /bin/sleep 0.1; done")
	t.Cleanup(func() { writeFile(t, ended, nil) })
	p := launch(t, home, append(at(url), "PATH="+browser), "login")
	if page := inBrowser(t, p, "allow"); !strings.Contains(page, "You are signed in") {
		t.Errorf("the browser shows %s", page)
	}
	if out, code := p.end(); code != 0 || !strings.Contains(out, "✅ Signed in") {
		t.Errorf("%d %s", code, out)
	}
}

// TestShellsOwnENVDoesNotPreventTheStart: POSIX sh reads a file that the variable ENV names.
func TestShellsOwnENVDoesNotPreventTheStart(t *testing.T) {
	home := t.TempDir()
	if out, code := command(t, home, []string{"ENV=" + home + "/.shrc"}, "status"); code != 1 || !strings.Contains(out, "Sign-in") {
		t.Errorf("%d %s", code, out)
	}
	p := launch(t, home, []string{"ENV=" + home + "/.shrc"}, "--port", "0", "--demo")
	eventually(t, "it starts, with a warning", func() bool {
		return strings.Contains(p.log.String(), "listens at") && strings.Contains(p.log.String(), "The variable ENV is")
	})
	if out, code := command(t, home, nil, "status", "--env", "prod"); code != 2 || !strings.Contains(out, "development or production") {
		t.Errorf("the flag: %d %s", code, out)
	}
}

func TestTheDemoLeavesTheSettingsAlone(t *testing.T) {
	home := t.TempDir()
	start(t, home, nil, "--demo")
	if out, code := command(t, home, nil, "stop", "--demo"); code != 0 {
		t.Fatalf("%d %s", code, out)
	}
	if out, code := command(t, home, nil, "quit", "--demo"); code != 0 {
		t.Fatalf("%d %s", code, out)
	}
	if raw, err := os.ReadFile(filepath.Join(home, ".config", "codex-proxy", "settings.json")); err == nil {
		t.Errorf("it wrote %s", raw)
	}
}

func TestWhatIsTypedWrongIsAnsweredByASentence(t *testing.T) {
	for _, test := range []struct {
		env  []string
		args []string
		want string
	}{
		{nil, []string{"status", "--port", "abc"}, "a port is a number from 0 to 65535"},
		{nil, []string{"status", "--port", "70000"}, "a port is a number from 0 to 65535"},
		{[]string{"PORT=x"}, []string{"status"}, "a port is a number from 0 to 65535"},
		{nil, []string{"serve", "--api-key", ""}, "an empty key is no key"},
		{[]string{"PROXY_API_KEY="}, []string{"serve"}, "an empty key is no key"},
		{nil, []string{"lgoin"}, `did you mean "login"`},
		{nil, []string{"status", "--idle-timeout", "never"}, "--idle-timeout"},
	} {
		out, code := command(t, t.TempDir(), test.env, test.args...)
		if code != 2 || !strings.Contains(out, test.want) || strings.Contains(out, "bit int") {
			t.Errorf("%v %v: %d %s", test.env, test.args, code, out)
		}
	}
}

func TestVersionAndHelpAreCommandsToo(t *testing.T) {
	home := t.TempDir()
	if out, code := command(t, home, nil, "version"); code != 0 || out != "codex-proxy dev\n" {
		t.Errorf("%d %q", code, out)
	}
	if out, code := command(t, home, nil, "help", "login"); code != 0 || !strings.Contains(out, "--device") {
		t.Errorf("%d %s", code, out)
	}
	if out, code := command(t, home, nil, "help"); code != 0 || !strings.Contains(out, "workspace") {
		t.Errorf("%d %s", code, out)
	}
}
