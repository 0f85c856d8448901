//go:build e2e

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/godbus/dbus/v5"
	"github.com/zalando/go-keyring"

	"codex-proxy/internal/fakebackend"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares text with testdata/NAME.
func golden(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != text {
		t.Errorf("%s differs:\n%s", path, text)
	}
}

var (
	dated   = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d( \S+)?`)
	waits   = regexp.MustCompile(`in \d+ seconds?`)
	ports   = regexp.MustCompile(`localhost:\d+`)
	message = regexp.MustCompile(`msg="((?:[^"\\]|\\.)*)"`)
)

// steps is what the log says to people: no times, no ports, no paths of this machine.
func (p *program) steps() string {
	var b strings.Builder
	for line := range strings.Lines(p.log.String()) {
		if m := message.FindStringSubmatch(line); m != nil && !strings.Contains(line, "level=debug") {
			text := strings.NewReplacer(p.home, "~", `\"`, `"`).Replace(m[1])
			b.WriteString(ports.ReplaceAllString(waits.ReplaceAllString(dated.ReplaceAllString(text, "DATE"), "in a moment"), "localhost:PORT") + "\n")
		}
	}
	return b.String()
}

// TestACommandThatEndsPromisesNothing: it does not try again by itself.
func TestACommandThatEndsPromisesNothing(t *testing.T) {
	b, url := startBackend(t)
	home, _ := signedIn(t, b)
	offline := func(name string) {
		out, code := command(t, home, at(url), name, "--auth-url", "http://127.0.0.1:1")
		if code != 1 || strings.Contains(out, "by itself") || strings.Count(out, "was not reached") != 1 || !strings.Contains(out, ", and try again") {
			t.Errorf("%s: %d %s", name, code, out)
		}
	}
	offline("import")
	if out, code := command(t, home, at(url), "import"); code != 0 {
		t.Fatal(out)
	}
	offline("refresh")
}

// TestTheMigrationIsToldStepByStep compares what a first launch prints with testdata/migration.
func TestTheMigrationIsToldStepByStep(t *testing.T) {
	for _, test := range []struct {
		name  string
		until string
		args  []string
		setup func(t *testing.T, home string, b *fakebackend.Backend)
	}{
		{name: "imported", until: "✅ Imported"},
		{name: "left to the CLI", until: "✅ Imported", args: []string{"--disable-migrate-refresh"}},
		{name: "nothing there", until: "⚠️", setup: func(t *testing.T, home string, _ *fakebackend.Backend) {
			os.Remove(filepath.Join(home, ".codex", "auth.json"))
		}},
		{name: "damaged", until: "❌", setup: func(t *testing.T, home string, _ *fakebackend.Backend) {
			writeFile(t, filepath.Join(home, ".codex", "auth.json"), []byte(`{"tokens":`))
		}},
		{name: "an API key", until: "❌", setup: func(t *testing.T, home string, _ *fakebackend.Backend) {
			writeFile(t, filepath.Join(home, ".codex", "auth.json"), []byte(`{"auth_mode":"apikey","OPENAI_API_KEY":"sk-proj-123456789"}`))
		}},
		{name: "spent", until: "❌", setup: func(t *testing.T, _ string, b *fakebackend.Backend) { b.RefuseRefresh("refresh_token_reused") }},
		{name: "auth server down", until: "⚠️ ", setup: func(t *testing.T, _ string, b *fakebackend.Backend) { b.RefuseRefresh("500") }},
		{name: "second launch", until: "✅ Signed in", setup: func(t *testing.T, home string, b *fakebackend.Backend) {
			writeFile(t, filepath.Join(home, ".config", "codex-proxy", "auth.json"), b.SignIn(200*time.Hour).AuthJSON())
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b, url := startBackend(t)
			home, _ := signedIn(t, b)
			if test.setup != nil {
				test.setup(t, home, b)
			}
			p := launch(t, home, append(at(url), "CODEX_PROXY_LOG_LEVEL=info"), append([]string{"--port", "0"}, test.args...)...)
			eventually(t, "the log says "+test.until, func() bool { return strings.Contains(p.log.String(), test.until) })
			time.Sleep(100 * time.Millisecond) // for a line too many
			golden(t, filepath.Join("migration", strings.ReplaceAll(test.name, " ", "-")+".txt"), p.steps())
		})
	}
}

// startKeyring starts a session bus with a real, unlocked gnome-keyring for this process and returns its environment.
func startKeyring(t *testing.T) []string {
	t.Helper()
	for _, tool := range []string{"dbus-daemon", "gnome-keyring-daemon"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%s is missing: run test/tools", tool)
		}
	}
	dir, err := os.MkdirTemp("", "bus") // t.TempDir is too long for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	address := "unix:path=" + dir + "/bus"
	env := []string{"HOME=" + dir, "XDG_RUNTIME_DIR=" + dir, "DBUS_SESSION_BUS_ADDRESS=" + address, "PATH=" + os.Getenv("PATH")}
	run := func(input, name string, args ...string) {
		cmd := exec.Command(name, args...)
		cmd.Env = env
		cmd.Stdin = strings.NewReader(input)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			cmd.Process.Kill() //nolint:errcheck // it may have ended
			cmd.Wait()         //nolint:errcheck // killed
		})
	}
	run("", "dbus-daemon", "--session", "--nofork", "--address="+address)
	eventually(t, "the session bus listens", func() bool { _, err := os.Stat(dir + "/bus"); return err == nil })
	run("\n", "gnome-keyring-daemon", "--unlock", "--foreground", "--components=secrets", "--control-directory="+dir)
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", address)
	// Wait before asking: a question to a name without an owner makes the bus start a second, locked keyring.
	eventually(t, "the keyring is on the bus", func() bool {
		conn, err := dbus.Connect(address)
		if err != nil {
			return false
		}
		defer conn.Close()
		var there bool
		conn.BusObject().Call("org.freedesktop.DBus.NameHasOwner", 0, "org.freedesktop.secrets").Store(&there) //nolint:errcheck // it is asked again
		return there
	})
	eventually(t, "the keyring answers", func() bool { return keyring.Set("test", "test", "test") == nil })
	return env[1:3]
}

// cliAccount is the account name of the Codex CLI's keychain entries.
func cliAccount(home string) string {
	sum := sha256.Sum256([]byte(filepath.Join(home, ".codex")))
	return hex.EncodeToString(sum[:])[:16]
}

// TestKeychain runs the program against a real Secret Service.
func TestKeychain(t *testing.T) {
	env := startKeyring(t)
	t.Run("the Codex CLI's entry is imported and left as it is", func(t *testing.T) {
		b, url := startBackend(t)
		home := t.TempDir()
		os.Mkdir(filepath.Join(home, ".codex"), 0o700)
		value := string(b.SignIn(200 * time.Hour).AuthJSON())
		if err := keyring.Set("Codex Auth", "cli|"+cliAccount(home), value); err != nil {
			t.Fatal(err)
		}
		p := launch(t, home, append(at(url), env...), "--port", "0")
		eventually(t, "the import", func() bool { return strings.Contains(p.log.String(), "✅ Imported: signed in as demo@example.com") })
		golden(t, "migration/keychain.txt", p.steps())
		if now, _ := keyring.Get("Codex Auth", "cli|"+cliAccount(home)); now != value {
			t.Error("the import changed the CLI's entry")
		}
	})
	t.Run("the Codex CLI's encrypted file is imported", func(t *testing.T) {
		b, url := startBackend(t)
		home := t.TempDir()
		document := fmt.Sprintf(`{"version":1,"secrets":{"global/CODEX_AUTH":%q}}`, b.SignIn(200*time.Hour).AuthJSON())
		writeFile(t, filepath.Join(home, ".codex", "secrets", "codex_auth.age"), sealed(t, "a passphrase", document))
		if err := keyring.Set("codex", "secrets|"+cliAccount(home), "a passphrase"); err != nil {
			t.Fatal(err)
		}
		p := launch(t, home, append(at(url), env...), "--port", "0")
		eventually(t, "the import", func() bool { return strings.Contains(p.log.String(), "✅ Imported: signed in as demo@example.com") })
	})
	t.Run("the keychain store holds a sign-in over a restart", func(t *testing.T) {
		b, url := startBackend(t)
		home, tokens := signedIn(t, b)
		p := start(t, home, append(at(url), env...), "--creds-store", "keychain")
		p.waitForState("signed_in")
		eventually(t, "the import", func() bool { return strings.Contains(p.log.String(), "✅ Imported") })
		p.stop()
		os.RemoveAll(filepath.Join(home, ".codex"))
		raw, err := os.ReadFile(filepath.Join(home, ".config", "codex-proxy", "auth.enc"))
		if err != nil || strings.Contains(string(raw), b.Newest(tokens)) {
			t.Fatalf("not encrypted (%v)", err)
		}
		p = start(t, home, append(at(url), env...), "--creds-store", "keychain")
		p.waitForState("signed_in")
		if status, _, body := p.post("/v1/chat/completions", chat("hello")); status != 200 {
			t.Errorf("%d %s", status, body)
		}
	})
}

// TestALockedKeychain is asked for the key of a sign-in: the proxy listens meanwhile, says what is wrong once, and serves
// as soon as the keychain is unlocked, by whomever.
func TestALockedKeychain(t *testing.T) {
	env := startKeyring(t)
	b, url := startBackend(t)
	home, _ := signedIn(t, b)
	env = append(at(url), env...)
	if out, code := command(t, home, env, "import", "--creds-store", "keychain"); code != 0 {
		t.Fatal(out)
	}
	keychain := "/org/freedesktop/secrets/collection/login"
	bus, err := dbus.Connect(os.Getenv("DBUS_SESSION_BUS_ADDRESS"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bus.Close() })
	service := bus.Object("org.freedesktop.secrets", "/org/freedesktop/secrets")
	if err := service.Call("org.freedesktop.Secret.Service.Lock", 0, []dbus.ObjectPath{dbus.ObjectPath(keychain)}).Err; err != nil {
		t.Fatal(err)
	}
	p := start(t, home, env, "--creds-store", "keychain")
	eventually(t, "it says what is wrong", func() bool {
		return strings.Contains(p.log.String(), "can't be read (the keychain is locked). Unlock the keychain")
	})
	for range 5 {
		if status, _, body := p.post("/v1/chat/completions", chat("hello")); status != 401 || !strings.Contains(body, "Unlock the keychain") {
			t.Fatalf("%d %s", status, body)
		}
	}
	if n := strings.Count(p.log.String(), "(the keychain is locked)"); n > 2 {
		t.Errorf("it is said %d times", n)
	}
	for _, verb := range []string{"doctor", "logout", "import"} {
		if out, code := command(t, home, env, verb, "--creds-store", "keychain"); code != 1 || strings.Contains(out, "collection") {
			t.Errorf("%s: %d %s", verb, code, out)
		}
	}
	if out, code := command(t, home, env, "uninstall", "--purge", "--yes", "--creds-store", "keychain"); code != 1 || !strings.Contains(out, "❌ the keychain is locked\n") {
		t.Errorf("%d %s", code, out)
	}
	p = start(t, home, env, "--creds-store", "keychain") // that one has ended
	session := dbus.ObjectPath("")
	if err := service.Call("org.freedesktop.Secret.Service.OpenSession", 0, "plain", dbus.MakeVariant("")).Store(new(dbus.Variant), &session); err != nil {
		t.Fatal(err)
	}
	password := struct {
		Session     dbus.ObjectPath
		Parameters  []byte
		Value       []byte
		ContentType string
	}{session, []byte{}, []byte("\n"), "text/plain"}
	if err := service.Call("org.gnome.keyring.InternalUnsupportedGuiltRiddenInterface.UnlockWithMasterPassword", 0, dbus.ObjectPath(keychain), password).Err; err != nil {
		t.Fatal(err)
	}
	within(t, 20*time.Second, "it serves again", func() bool {
		status, _, _ := p.post("/v1/chat/completions", chat("hello"))
		return status == 200
	})
}

// sealed encrypts text as the Codex CLI does.
func sealed(t *testing.T, passphrase, text string) []byte {
	t.Helper()
	recipient, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		t.Fatal(err)
	}
	recipient.SetWorkFactor(10)
	var b strings.Builder
	w, err := age.Encrypt(&b, recipient)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(w, text)
	w.Close()
	return []byte(b.String())
}
