//go:build e2e

// Package e2e drives the built program as its users do: its commands, its port, its icon on a session bus, with a strict
// stand-in for OpenAI's hosts. Run it with: go test -tags e2e ./test/e2e
package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"codex-proxy/internal/fakebackend"
	"codex-proxy/proxy/codex"
)

// binary is the program that the tests drive, built once.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "codex-proxy-test")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "codex-proxy")
	build := exec.Command("go", "build", "-o", binary, root)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// root is the project's folder.
const root = "../.."

// noteSources looks at every source file, so that the cache of go test knows what the binary is made of: without this,
// it would answer from an earlier run for a program that has changed. It takes note only of what a running test looks
// at, not TestMain.
var noteSources = sync.OnceFunc(func() {
	for _, folder := range []string{"main.go", "go.mod", "go.sum", "internal", "creds", "proxy", "tray", "assets", "README.md", "test/clients"} {
		filepath.WalkDir(filepath.Join(root, folder), func(path string, d os.DirEntry, err error) error { //nolint:errcheck // it is looked at only
			if err == nil && d.Name() == "node_modules" {
				return filepath.SkipDir
			}
			os.Stat(path) //nolint:errcheck // see above
			return nil
		})
	}
})

// startBackend starts the stand-in and returns it with its address.
func startBackend(t testing.TB) (*fakebackend.Backend, string) {
	t.Helper()
	b := fakebackend.New()
	b.Models = codex.BundledModels()
	server := httptest.NewServer(b)
	t.Cleanup(server.CloseClientConnections)
	t.Cleanup(func() { go server.Close() })
	return b, server.URL
}

// program is a running codex-proxy.
type program struct {
	t    testing.TB
	cmd  *exec.Cmd
	home string
	url  string // http://127.0.0.1:PORT
	// backend is the stand-in's address, where startSignedIn started one.
	backend string
	log     *output
	stderr  io.Closer // where log comes from
	done    chan error
	key     string // that it asks for; empty for none
}

// output collects what a program prints.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) add(line string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf.WriteString(line)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// start runs the binary in a home of its own on a free port, and returns once it listens.
func start(t testing.TB, home string, env []string, args ...string) *program {
	t.Helper()
	p := launch(t, home, env, append([]string{"--port", "0", "--env", "production", "--log-level", "debug"}, args...)...)
	eventually(t, "the program listens\n"+p.log.String(), func() bool {
		for line := range strings.Lines(p.log.String()) {
			if _, rest, ok := strings.Cut(line, "listens at http://localhost:"); ok {
				port, _, _ := strings.Cut(rest, "/")
				p.url = "http://127.0.0.1:" + port
			}
		}
		return p.url != "" || p.exited()
	})
	if p.url == "" {
		t.Fatalf("the program ended:\n%s", p.log)
	}
	return p
}

func launch(t testing.TB, home string, env []string, args ...string) *program {
	t.Helper()
	noteSources()
	p := &program{t: t, home: home, log: &output{}, done: make(chan error, 1)}
	if i := slices.Index(args, "--api-key"); i >= 0 {
		p.key, _, _ = strings.Cut(args[i+1], ",")
	}
	p.cmd = exec.Command(binary, args...)
	runtime := filepath.Join(home, "run")
	if err := os.MkdirAll(runtime, 0o700); err != nil {
		t.Fatal(err)
	}
	p.cmd.Env = append([]string{"HOME=" + home, "XDG_RUNTIME_DIR=" + runtime, "PATH=" + os.Getenv("PATH"), "DBUS_SESSION_BUS_ADDRESS=unix:path=/nonexistent"}, env...)
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdout, p.stderr = p.cmd.Stderr, stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		lines := bufio.NewReader(stderr)
		for {
			line, err := lines.ReadString('\n')
			p.log.add(line)
			if err != nil {
				break
			}
		}
		p.done <- p.cmd.Wait()
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill() //nolint:errcheck // it may have ended
		if t.Failed() {
			t.Logf("log of the program:\n%s", p.log)
		}
	})
	return p
}

func (p *program) exited() bool {
	select {
	case err := <-p.done:
		p.done <- err
		return true
	default:
		return false
	}
}

// stop asks the program to end, and returns its error.
func (p *program) stop() error {
	p.cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it may have ended
	select {
	case err := <-p.done:
		p.done <- err
		return err
	case <-time.After(15 * time.Second):
		p.t.Fatal("the program did not end")
		return nil
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	within(t, 10*time.Second, what, ok)
}

func within(t testing.TB, most time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(most); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatal("this did not happen: ", what)
}

// signedIn is a home folder with the Codex CLI's sign-in of b.
func signedIn(t testing.TB, b *fakebackend.Backend) (home string, tokens fakebackend.Tokens) {
	t.Helper()
	home = t.TempDir()
	tokens = b.SignIn(10 * 24 * time.Hour)
	writeFile(t, filepath.Join(home, ".codex", "auth.json"), tokens.AuthJSON())
	return home, tokens
}

func writeFile(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func at(url string) []string {
	return []string{"CODEX_PROXY_BACKEND_URL=" + url + "/backend-api", "CODEX_PROXY_API_URL=" + url + "/v1", "CODEX_PROXY_AUTH_URL=" + url}
}

// startSignedIn is a proxy in front of a stand-in, with an own sign-in.
func startSignedIn(t testing.TB, args ...string) (*program, *fakebackend.Backend) {
	t.Helper()
	b, url := startBackend(t)
	home, _ := signedIn(t, b)
	p := start(t, home, at(url), args...)
	p.backend = url
	p.imported()
	return p, b
}

// imported waits for the end of a first launch.
func (p *program) imported() {
	p.t.Helper()
	eventually(p.t, "the import is over", func() bool { return strings.Contains(p.log.String(), "✅ Imported") })
	p.waitForState("signed_in")
}

func (p *program) waitForState(state string) {
	p.t.Helper()
	eventually(p.t, "state "+state, func() bool {
		h := p.health()
		return h["credentials"].(map[string]any)["state"] == state
	})
}

func (p *program) health() map[string]any {
	p.t.Helper()
	req, err := http.NewRequest(http.MethodGet, p.url+"/health", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	if p.key != "" {
		req.Header.Set("Authorization", "Bearer "+p.key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	var h map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&h); err != nil {
		p.t.Fatal(err)
	}
	return h
}

// post sends a body and returns the status and the answer.
func (p *program) post(path, body string, header ...string) (int, http.Header, string) {
	p.t.Helper()
	req, err := http.NewRequest(http.MethodPost, p.url+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	text := string(raw)
	if err != nil {
		text += "\n<" + err.Error() + ">"
	}
	return resp.StatusCode, resp.Header, text
}

func TestFirstLaunchImportsRefreshesAndAnswers(t *testing.T) {
	b, url := startBackend(t)
	home, tokens := signedIn(t, b)
	before, _ := os.ReadFile(filepath.Join(home, ".codex", "auth.json"))
	p := start(t, home, at(url))
	eventually(t, "the import is over", func() bool {
		return strings.Contains(p.log.String(), "✅ Imported: signed in as demo@example.com (plus)")
	})

	stored, err := os.ReadFile(filepath.Join(home, ".config", "codex-proxy", "auth.json"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(stored), b.Newest(tokens)) {
		t.Error("the newest refresh token is not stored")
	}
	if after, _ := os.ReadFile(filepath.Join(home, ".codex", "auth.json")); !bytes.Equal(before, after) {
		t.Error("the import changed the Codex CLI's file")
	}
	status, _, body := p.post("/v1/chat/completions", `{"messages":[{"role":"user","content":"hello"}]}`)
	if status != 200 || !strings.Contains(body, "You said: hello") {
		t.Errorf("chat answered %d %s", status, body)
	}
	for _, icon := range []string{"🔍", "📄", "💾", "🔄", "✅", "⚠️"} {
		if !strings.Contains(p.log.String(), icon) {
			t.Errorf("the migration's log has no %s", icon)
		}
	}
	if !strings.Contains(p.log.String(), "--disable-migrate-refresh") {
		t.Error("the log does not say how to let the Codex CLI keep its sign-in")
	}
	if err := p.stop(); err != nil {
		t.Errorf("the program ended with %v", err)
	}
}

func TestBothLoopbackFamiliesAnswer(t *testing.T) {
	p := start(t, t.TempDir(), nil, "--demo")
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(p.url, "http://"))
	for _, host := range []string{"127.0.0.1", "[::1]", "localhost"} {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+":"+port+"/health", nil)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		cancel()
		if resp.StatusCode != 200 {
			t.Errorf("%s answered %d", host, resp.StatusCode)
		}
	}
}
