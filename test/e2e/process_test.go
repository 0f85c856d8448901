//go:build e2e && unix

package e2e

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/gofrs/flock"
)

// TestABrowserThatStaysInTheForegroundDoesNotHoldTheSignIn: some xdg-open return only when the browser ends.
func TestABrowserThatStaysInTheForegroundDoesNotHoldTheSignIn(t *testing.T) {
	_, url := startBackend(t)
	home := t.TempDir()
	ended := filepath.Join(home, "ended")
	browser := fakeBrowser(t, "for i in $(/usr/bin/seq 300); do [ -e "+home+" ] || exit; [ ! -e "+ended+" ] || exit; /bin/sleep 0.1; done")
	defer func() { writeFile(t, ended, nil) }()
	p := launch(t, home, append(at(url), "PATH="+browser), "login")
	if page := inBrowser(t, p, "allow"); !strings.Contains(page, "You are signed in") {
		t.Errorf("the browser shows %s", page)
	}
	if out, code := p.end(); code != 0 || !strings.Contains(out, "✅ Signed in") {
		t.Errorf("%d %s", code, out)
	}
}

// TestAKeychainThatDoesNotAnswerHoldsUpNothing but the sign-in: its question may stand on the screen for long.
func TestAKeychainThatDoesNotAnswerHoldsUpNothing(t *testing.T) {
	env := startKeyring(t)
	b, url := startBackend(t)
	home, _ := signedIn(t, b)
	env = append(at(url), env...)
	if out, code := command(t, home, env, "import", "--creds-store", "keychain"); code != 0 {
		t.Fatal(out)
	}
	halt := keyringProcess(t)
	if err := halt.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { halt.Signal(syscall.SIGCONT) }) //nolint:errcheck // it may have ended
	start(t, home, env, "--creds-store", "keychain")   // it listens
	if out, _ := command(t, home, append(env, "CODEX_PROXY_CREDS_STORE=xdg"), "status"); !strings.Contains(out, "What runs has another sign-in") {
		t.Errorf("commands don't find it: %s", out)
	}
}

// keyringProcess is the keyring that startKeyring started.
func keyringProcess(t *testing.T) *os.Process {
	t.Helper()
	bus, err := dbus.Connect(os.Getenv("DBUS_SESSION_BUS_ADDRESS"))
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	var pid uint32
	if err := bus.BusObject().Call("org.freedesktop.DBus.GetConnectionUnixProcessID", 0, "org.freedesktop.secrets").Store(&pid); err != nil {
		t.Fatal(err)
	}
	process, err := os.FindProcess(int(pid))
	if err != nil {
		t.Fatal(err)
	}
	return process
}

// TestNobodySignsInWhereItCantBeStored: the command would end, and the sign-in with it.
func TestNobodySignsInWhereItCantBeStored(t *testing.T) {
	for want, spoil := range map[string]func(t *testing.T, config string){
		"auth.json: this store can't be written (it is a symbolic link). Put the file itself there": func(t *testing.T, config string) {
			writeFile(t, filepath.Join(config, "elsewhere"), nil)
			if err := os.Symlink("elsewhere", filepath.Join(config, "auth.json")); err != nil {
				t.Fatal(err)
			}
		},
		"auth.json.lock: it could not be written (is a directory). Make it a file that your user can write": func(t *testing.T, config string) {
			writeFile(t, filepath.Join(config, "auth.json.lock", "x"), nil)
		},
		"Make room on the disk, or make its folder writable, and try again": func(t *testing.T, config string) {
			writeFile(t, filepath.Join(config, ".auth.json.codex-proxy.new", "x"), nil)
		},
	} {
		_, url := startBackend(t)
		home := t.TempDir()
		spoil(t, filepath.Join(home, ".config", "codex-proxy"))
		if out, code := command(t, home, at(url), "login", "--device"); code != 1 || strings.Contains(out, "/codex/device") || !strings.Contains(out, want) {
			t.Errorf("%d %s", code, out)
		}
	}
}

// TestTheDoctorNamesAStoreThatWouldNotTakeTheNextRefresh: its tokens are good until then.
func TestTheDoctorNamesAStoreThatWouldNotTakeTheNextRefresh(t *testing.T) {
	b, url := startBackend(t)
	home, _ := signedIn(t, b)
	if out, code := command(t, home, at(url), "import"); code != 0 {
		t.Fatal(out)
	}
	stored := filepath.Join(home, ".config", "codex-proxy", "auth.json")
	if out, _ := command(t, home, at(url), "doctor"); strings.Contains(out, "Store ") {
		t.Errorf("when all is well: %s", out)
	}
	if err := os.Rename(stored, stored+".moved"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(stored+".moved", stored); err != nil {
		t.Fatal(err)
	}
	if out, code := command(t, home, at(url), "doctor"); code != 1 || !strings.Contains(out, "❌ Store        what comes by the next refresh could not be stored: ") ||
		!strings.Contains(out, "Put the file itself there, or name the link's target with --creds-path.\n") {
		t.Errorf("%d %s", code, out)
	}
}

// TestACommandThatWaitsForAnotherProgramSaysSo: a refresh may take two minutes.
func TestACommandThatWaitsForAnotherProgramSaysSo(t *testing.T) {
	b, url := startBackend(t)
	home, _ := signedIn(t, b)
	if out, code := command(t, home, at(url), "import"); code != 0 {
		t.Fatal(out)
	}
	other := flock.New(filepath.Join(home, ".config", "codex-proxy", "auth.json.lock"))
	if err := other.Lock(); err != nil {
		t.Fatal(err)
	}
	p := launch(t, home, at(url), "logout")
	eventually(t, "it says why it waits", func() bool { return strings.Contains(p.log.String(), "Waiting for another program") })
	other.Unlock() //nolint:errcheck // the command waits on else
	if out, code := p.end(); code != 0 || !strings.Contains(out, "✅ Signed out") {
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
	if out, _ := command(t, home, nil, "status"); !strings.Contains(out, "not running") || !strings.Contains(out, "(--demo)") {
		t.Errorf("status is silent about the demo: %s", out)
	}
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

// TestStatusOfAProgramThatHangsSaysSo: it is not the same as none that runs.
func TestStatusOfAProgramThatHangsSaysSo(t *testing.T) {
	p := start(t, t.TempDir(), nil, "--demo")
	p.reached()
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	pid := strconv.Itoa(p.cmd.Process.Pid)
	words, json := launch(t, p.home, nil, "status", "--demo"), launch(t, p.home, nil, "status", "--demo", "--json")
	if out, _ := words.end(); !regexp.MustCompile(`(?m)^Proxy +does not answer \(process `+pid+`\)$`).MatchString(out) || strings.Contains(out, "not running") {
		t.Error(out)
	}
	if out, _ := json.end(); !strings.Contains(out, `"silent": true`) || !strings.Contains(out, `"pid": `+pid) {
		t.Error(out)
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
		{nil, []string{"run", "foo"}, `❌ there is no recipe for "foo". These can be run: claude, codex, `},
		{nil, []string{"run", "cluade"}, `❌ there is no recipe for "cluade"; did you mean "claude"? These can be run: claude, `},
		{nil, []string{"connect", "foo"}, `❌ there is no recipe for "foo". Most tools want the base URL`},
		{nil, []string{"status", "--idle-timeout", "never"}, "--idle-timeout"},
	} {
		out, code := command(t, t.TempDir(), test.env, test.args...)
		wrong := 2 // unless it is for the command itself to say
		if strings.HasPrefix(test.want, "❌") {
			wrong = 1
		}
		if code != wrong || !strings.Contains(out, test.want) || strings.Contains(out, "bit int") {
			t.Errorf("%v %v: %d %s", test.env, test.args, code, out)
		}
	}
}

// TestAWrongValueIsBlamedOnWhereItStands: not on a flag that nobody typed.
func TestAWrongValueIsBlamedOnWhereItStands(t *testing.T) {
	for _, test := range []struct{ file, env, flag, want string }{
		{`{"history":-3}`, "", "", "In ~/.config/codex-proxy/settings.json: history is a number of days"},
		{`{"port":"abc"}`, "", "", "In ~/.config/codex-proxy/settings.json: port: a port is a number"},
		{`{"listen":"0.0.0.0"}`, "", "", "In ~/.config/codex-proxy/settings.json: listen 0.0.0.0 lets other machines"},
		{`{"creds-store":"cloud"}`, "", "", "In ~/.config/codex-proxy/settings.json: creds-store must be one of"},
		{`{"history":-3}`, "CODEX_PROXY_HISTORY=-4", "", "In the variable CODEX_PROXY_HISTORY: history is a number of days"},
		{"{}", "CODEX_PROXY_KEEP_ALIVE=soon", "", "In the variable CODEX_PROXY_KEEP_ALIVE: keep-alive has a wrong value"},
		{`{"history":-3}`, "CODEX_PROXY_HISTORY=-4", "--history=-5", "codex-proxy: --history is a number of days"},
		{"{}", "", "--keep-alive=soon", "codex-proxy: --keep-alive has a wrong value"},
	} {
		home, args := t.TempDir(), []string{"status"}
		writeFile(t, filepath.Join(home, ".config", "codex-proxy", "settings.json"), []byte(test.file))
		if test.flag != "" {
			args = append(args, test.flag)
		}
		if out, code := command(t, home, []string{test.env}, args...); code != 2 || !strings.Contains(strings.ReplaceAll(out, home, "~"), test.want) {
			t.Errorf("%+v: %d %s", test, code, out)
		}
	}
}

func TestABrokenSettingsFileIsToldOnce(t *testing.T) {
	home := t.TempDir()
	writeFile(t, filepath.Join(home, ".config", "codex-proxy", "settings.json"), []byte(`{"port":`))
	p := start(t, home, nil)
	eventually(t, "it has looked for a sign-in", func() bool { return strings.Contains(p.log.String(), "codex-proxy login") })
	if err := p.stop(); err != nil {
		t.Error(err)
	}
	if n := strings.Count(p.log.String(), "can't be read"); n != 1 {
		t.Errorf("it is told %d times", n)
	}
	if out, code := command(t, home, nil, "doctor"); code != 1 || !strings.Contains(out, "settings.json can't be read") || !strings.Contains(out, "Mend that file") {
		t.Errorf("doctor: %d %s", code, out)
	}
	if out, _ := command(t, home, nil, "status"); !strings.Contains(out, "settings.json can't be read") {
		t.Errorf("status: %s", out)
	}
}

// TestAWrongSettingLeavesTheHelpers: what helps to put it right, or takes everything away, works all the same.
func TestAWrongSettingLeavesTheHelpers(t *testing.T) {
	home := t.TempDir()
	for _, wrong := range []string{`{"history": 99999, "log-level": "loud"}`, `{"history": "many", "mute": 5}`, `{"history":`} {
		writeFile(t, filepath.Join(home, ".config", "codex-proxy", "settings.json"), []byte(wrong))
		for _, test := range []struct {
			args string
			code int
			want string
		}{
			{"version", 0, "codex-proxy "}, {"help serve", 0, "Usage: "}, {"man", 0, ".TH"}, {"completion bash", 0, "complete "}, {"uninstall", 0, "are kept in "},
			{"doctor", 1, "Mend that file"},
		} {
			if out, code := command(t, home, nil, strings.Fields(test.args)...); code != test.code || !strings.Contains(out, test.want) {
				t.Errorf("%s, %s: %d %s", wrong, test.args, code, out)
			}
		}
	}
}

// TestAKeyOfAToolsNameIsTheTools: connecting the tool would take the place of one that was made for something else.
func TestAKeyOfAToolsNameIsTheTools(t *testing.T) {
	home := t.TempDir()
	if out, code := command(t, home, nil, "keys", "add", "claude"); code != 1 || !strings.Contains(out, "another name") {
		t.Errorf("%d %s", code, out)
	}
	for _, name := range []string{"claude on the laptop", "gemini"} { // of which the second has no settings to put a key into
		if out, code := command(t, home, nil, "keys", "add", name); code != 0 {
			t.Errorf("%d %s", code, out)
		}
	}
}

// TestKeysThatCantBeReadAreTold: else tools are refused whose keys were good, and nobody knows why.
func TestKeysThatCantBeReadAreTold(t *testing.T) {
	home := t.TempDir()
	writeFile(t, filepath.Join(home, ".config", "codex-proxy", "keys.json"), []byte(`[{"name":`))
	const want = "keys.json can't be read"
	if out, code := command(t, home, nil, "keys"); code != 1 || !strings.Contains(out, want) {
		t.Errorf("keys: %d %s", code, out)
	}
	if out, code := command(t, home, nil, "doctor"); code != 1 || !strings.Contains(out, want) {
		t.Errorf("doctor: %d %s", code, out)
	}
	p := start(t, home, nil, "--require-key")
	eventually(t, "it is in the log", func() bool { return strings.Contains(p.log.String(), want) })
}

// TestALogOfAnySizeIsPrinted: without taking it into memory.
func TestALogOfAnySizeIsPrinted(t *testing.T) {
	home := t.TempDir()
	path := filepath.Join(home, ".local", "state", "codex-proxy", "codex-proxy.log")
	writeFile(t, path, []byte("the first line\n"))
	if err := os.Truncate(path, 1<<40); err != nil {
		t.Skip(err) // the file system has no such files
	}
	p := launch(t, home, nil, "log")
	eventually(t, "it begins", func() bool { return strings.Contains(p.log.String(), "the first line") || p.exited() })
	if p.exited() {
		t.Error(p.log)
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

// TestCtrlCLosesNoRefreshThatWasSent: the auth server has spent the old refresh token by then, so that its answer is
// waited for and stored, however often the user asks for the end.
func TestCtrlCLosesNoRefreshThatWasSent(t *testing.T) {
	for name, test := range map[string]struct {
		args    []string
		signals []os.Signal
	}{
		"refresh, Ctrl-C":           {[]string{"refresh"}, []os.Signal{os.Interrupt}},
		"refresh, Ctrl-C twice":     {[]string{"refresh"}, []os.Signal{os.Interrupt, os.Interrupt}},
		"refresh, SIGTERM":          {[]string{"refresh"}, []os.Signal{syscall.SIGTERM}},
		"import, Ctrl-C":            {[]string{"import"}, []os.Signal{os.Interrupt}},
		"the first launch, SIGHUP":  {[]string{"serve", "--port", "0"}, []os.Signal{syscall.SIGHUP}},
		"the first launch, SIGTERM": {[]string{"serve", "--port", "0"}, []os.Signal{syscall.SIGTERM, syscall.SIGTERM}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, url := startBackend(t)
			home, tokens := signedIn(t, b)
			stored := filepath.Join(home, ".config", "codex-proxy", "auth.json")
			if test.args[0] == "refresh" {
				writeFile(t, stored, tokens.AuthJSON())
			}
			b.RefuseRefresh("slow")
			p := launch(t, home, at(url), test.args...)
			eventually(t, "the refresh is sent", func() bool { return len(b.Requests("/oauth/token")) == 1 })
			for _, s := range test.signals {
				p.cmd.Process.Signal(s) //nolint:errcheck // it is there
			}
			eventually(t, "the program ends", p.exited)
			if strings.Contains(p.log.String(), "context canceled") || strings.Contains(p.log.String(), "Nothing imported") {
				t.Errorf("it says:\n%s", p.log)
			}
			raw, _ := os.ReadFile(stored)
			if b.Newest(tokens) == tokens.Refresh || !strings.Contains(string(raw), b.Newest(tokens)) {
				t.Errorf("the newest refresh token is not stored: %s", raw)
			}
			if out, code := command(t, home, at(url), "status"); code != 0 {
				t.Errorf("afterwards: %d %s", code, out)
			}
		})
	}
}

// TestASecondCtrlCEndsAtOnce: an answer that is under way is cut then.
func TestASecondCtrlCEndsAtOnce(t *testing.T) {
	p, b := startSignedIn(t)
	done := make(chan string, 1)
	go func() {
		_, _, body := p.post("/v1/chat/completions", chat("[[stall]]", `"stream":true`))
		done <- body
	}()
	eventually(t, "an answer is under way", func() bool { return b.Counts().Open == 1 })
	begin := time.Now()
	p.cmd.Process.Signal(os.Interrupt) //nolint:errcheck // it is there
	eventually(t, "it drains", func() bool { return strings.Contains(p.log.String(), "Stopping") })
	if p.exited() {
		t.Fatal("it did not wait for the answer")
	}
	p.cmd.Process.Signal(os.Interrupt) //nolint:errcheck // it is there
	eventually(t, "it ends", p.exited)
	if took := time.Since(begin); took > 4500*time.Millisecond {
		t.Errorf("it took %s", took)
	}
	if body := <-done; !strings.Contains(body, "proxy_stopping") {
		t.Errorf("the caller got %s", body)
	}
}

// TestTheRunningProgramIsFoundHoweverItsFileIsSpelled: by another spelling of the path, and through a link.
func TestTheRunningProgramIsFoundHoweverItsFileIsSpelled(t *testing.T) {
	b, url := startBackend(t)
	home := t.TempDir()
	file := filepath.Join(home, "place", "auth.json")
	writeFile(t, file, b.SignIn(200*time.Hour).AuthJSON())
	if err := os.Symlink(filepath.Join(home, "place"), filepath.Join(home, "link")); err != nil {
		t.Fatal(err)
	}
	p := start(t, home, at(url), "--creds-path", home+"/place/../place/auth.json")
	p.waitForState("signed_in")
	for _, spelled := range []string{file, filepath.Join(home, "link", "auth.json"), "~/place/auth.json", home + "//place/./auth.json"} {
		if out, code := command(t, home, at(url), "status", "--creds-path", spelled); code != 0 || !strings.Contains(out, "running at") {
			t.Errorf("%s: %d %s", spelled, code, out)
		}
	}
	// Another sign-in has no program that runs; the programs are listed all the same.
	if out, _ := command(t, home, at(url), "status"); strings.Contains(out, "running at") {
		t.Errorf("another sign-in: %s", out)
	}
}

// TestASecondProgramOnOneSignInSaysSoAndHearsOfALogout: whatever their flags, a logout is told to all.
func TestASecondProgramOnOneSignInSaysSoAndHearsOfALogout(t *testing.T) {
	b, url := startBackend(t)
	home, _ := signedIn(t, b)
	first := start(t, home, at(url))
	first.imported()
	second := start(t, home, at(url))
	second.waitForState("signed_in")
	eventually(t, "the second program says that there is a first", func() bool { return strings.Contains(second.log.String(), "Another Codex Proxy (process") })
	if out, code := command(t, home, at(url), "logout"); code != 0 {
		t.Fatal(out)
	}
	for _, p := range []*program{first, second} {
		p.waitForState("none")
	}
}

// TestTwoProgramsThatStartAtOnceImportOnce: the second finds the sign-in that the first has made its own meanwhile.
func TestTwoProgramsThatStartAtOnceImportOnce(t *testing.T) {
	b, url := startBackend(t)
	home, tokens := signedIn(t, b)
	b.RefuseRefresh("slow")
	first := start(t, home, at(url))
	eventually(t, "the first program refreshes", func() bool { return len(b.Requests("/oauth/token")) == 1 })
	second := start(t, home, at(url))
	first.imported()
	second.waitForState("signed_in")
	eventually(t, "the second program is done", func() bool { return strings.Contains(second.log.String(), "✅ Signed in as demo@example.com") })
	if raw, _ := os.ReadFile(filepath.Join(home, ".config", "codex-proxy", "auth.json")); b.Counts().Reused != 0 || !strings.Contains(string(raw), b.Newest(tokens)) {
		t.Errorf("a token was used twice: %+v", b.Counts())
	}
	if strings.Contains(second.log.String(), "Nothing imported") {
		t.Error("the second program tells of a failure")
	}
}

// TestAnotherFileDoesNotCostTheFirstItsSignIn: the Codex CLI's sign-in can be taken over once, wherever it then is.
func TestAnotherFileDoesNotCostTheFirstItsSignIn(t *testing.T) {
	b, url := startBackend(t)
	home, _ := signedIn(t, b)
	if out, code := command(t, home, at(url), "import"); code != 0 {
		t.Fatal(out)
	}
	if out, code := command(t, home, at(url), "import", "--creds-path", filepath.Join(home, "second.json")); code != 1 || !strings.Contains(out, "used already") || b.Counts().Reused != 0 {
		t.Errorf("%d %s, %+v", code, out, b.Counts())
	}
	for _, verb := range []string{"workspace", "refresh"} {
		if out, code := command(t, home, at(url), verb, "--creds-path", filepath.Join(home, "second.json")); code != 1 ||
			!strings.Contains(out, "Nobody is signed in, and the refresh token of the Codex CLI's sign-in was used already. Run `codex-proxy login`") {
			t.Errorf("%s: %d %s", verb, code, out)
		}
	}
	if out, code := command(t, home, at(url), "refresh", "--creds-store", "legacy"); code != 1 || b.Counts().Reused != 0 { // the CLI's own file still has it
		t.Errorf("%d %s, %+v", code, out, b.Counts())
	}
}

// TestTwoProgramsWithTwoFilesThatStartAtOnceImportOnce: the second waits until it is known what has become of the token.
func TestTwoProgramsWithTwoFilesThatStartAtOnceImportOnce(t *testing.T) {
	b, url := startBackend(t)
	home, tokens := signedIn(t, b)
	b.RefuseRefresh("slow")
	first := start(t, home, at(url))
	eventually(t, "the first program refreshes", func() bool { return len(b.Requests("/oauth/token")) == 1 })
	second := start(t, home, at(url), "--creds-path", filepath.Join(home, "second.json"))
	first.imported()
	eventually(t, "the second program is done", func() bool { return strings.Contains(second.log.String(), "Nothing imported: ") })
	if raw, _ := os.ReadFile(filepath.Join(home, ".config", "codex-proxy", "auth.json")); b.Counts().Reused != 0 || !strings.Contains(string(raw), b.Newest(tokens)) {
		t.Errorf("a token was used twice: %+v", b.Counts())
	}
}

func TestAPortThatWeHoldIsNamedAsOurs(t *testing.T) {
	b, url := startBackend(t)
	home, _ := signedIn(t, b)
	first := start(t, home, at(url))
	first.imported()
	port := first.url[strings.LastIndexByte(first.url, ':')+1:]
	out, code := command(t, home, at(url), "serve", "--port", port)
	if code != 1 || !strings.Contains(out, "Codex Proxy runs on port "+port+" already") || !strings.Contains(out, "codex-proxy quit") {
		t.Errorf("%d %s", code, out)
	}
}

// TestALogThatNobodyReadsHoldsNothingUp: of a program in a terminal that is halted, or started by one that never reads
// what it prints, or has ended.
func TestALogThatNobodyReadsHoldsNothingUp(t *testing.T) {
	client := &http.Client{Timeout: 10 * time.Second}
	ask := func(t *testing.T, p *program) {
		t.Helper()
		resp, err := client.Post(p.url+"/v1/chat/completions", "application/json", strings.NewReader(chat("hello")))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%d %v %s", resp.StatusCode, err, body)
		}
	}
	t.Run("not read", func(t *testing.T) {
		p, _ := startSignedIn(t)
		p.log.mu.Lock()
		defer p.log.mu.Unlock()
		for range 600 { // more than a pipe holds
			ask(t, p)
		}
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { _, err := p.cmd.Process.Wait(); ended <- err }()
		select {
		case <-ended:
		case <-time.After(15 * time.Second):
			t.Error("it does not end")
		}
	})
	t.Run("closed", func(t *testing.T) {
		p, _ := startSignedIn(t)
		p.stderr.Close()
		for range 3 {
			ask(t, p)
		}
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

// reached waits until commands reach a demo, which is after it listens.
func (p *program) reached() {
	p.t.Helper()
	eventually(p.t, "commands reach it", func() bool {
		out, _ := command(p.t, p.home, nil, "status", "--demo")
		return strings.Contains(out, "running at")
	})
}

// TestAToolThatIsRunGetsAKeyOfTheProxyThatRuns: whether a key is needed is that program's setting, not the command's.
func TestAToolThatIsRunGetsAKeyOfTheProxyThatRuns(t *testing.T) {
	for _, flags := range [][]string{nil, {"--require-key"}, {"--api-key", "secretkey"}} {
		p := start(t, t.TempDir(), nil, append([]string{"--demo"}, flags...)...)
		p.reached()
		told, done := filepath.Join(p.home, "told"), filepath.Join(p.home, "done")
		tool := filepath.Join(p.home, "bin", "claude")
		writeFile(t, tool, []byte("#!/bin/sh\necho \"$ANTHROPIC_AUTH_TOKEN\" > "+told+"\nfor i in $(/usr/bin/seq 300); do [ ! -e "+done+" ] || exit; /bin/sleep 0.1; done\n"))
		if err := os.Chmod(tool, 0o700); err != nil {
			t.Fatal(err)
		}
		run := launch(t, p.home, []string{"PATH=" + filepath.Dir(tool)}, "--demo", "run", "claude", "hello")
		var key string
		eventually(t, "the tool has its key", func() bool {
			raw, _ := os.ReadFile(told)
			key = strings.TrimSpace(string(raw))
			return key != "" || run.exited()
		})
		ask := func() int {
			status, _, _ := p.post("/v1/chat/completions", chat("hello"), "Authorization", "Bearer "+key)
			return status
		}
		if status := ask(); status != 200 {
			t.Errorf("%v: with the key %q: %d %s", flags, key, status, run.log)
		}
		writeFile(t, done, nil)
		run.end()
		if flags != nil {
			eventually(t, "the key is forgotten", func() bool { return ask() == 401 })
		}
	}
}

// TestAKernelThatTellsNoPressureIsNothingToSay: a part that reads it told so on the error stream of each command.
func TestAKernelThatTellsNoPressureIsNothingToSay(t *testing.T) {
	const without = `mount -t tmpfs none /sys/fs/cgroup && `
	if err := exec.Command("unshare", "-rm", "sh", "-c", without+"true").Run(); err != nil {
		t.Skip("there can't be another view of the files here:", err)
	}
	out, err := exec.Command("unshare", "-rm", "sh", "-c", without+`exec "$0" version`, binary).CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "codex-proxy ") {
		t.Errorf("%s %v", out, err)
	}
}
