//go:build e2e

package e2e

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"codex-proxy/internal/fakebackend"
)

// account is a Cloudflare account, whose wrangler is testdata/wrangler. The Worker in it is a codex-proxy, which has the
// same admin API, behind the keys that were set as secrets.
type account struct {
	t      *testing.T
	folder string // of the account
	files  string // of the Worker
	home   string
	env    []string
	back   *fakebackend.Backend
	worker *program
}

func newAccount(t *testing.T) *account {
	t.Helper()
	b, backend := startBackend(t)
	a := &account{t: t, folder: t.TempDir(), files: t.TempDir(), home: t.TempDir(), back: b}
	a.worker = start(t, t.TempDir(), append(at(backend), "ADMIN_API_KEY=admin"), "--api-key", "key")
	target, err := url.Parse(a.worker.url)
	if err != nil {
		t.Fatal(err)
	}
	forward := httputil.NewSingleHostReverseProxy(target)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := os.Stat(filepath.Join(a.folder, "deployed")); err != nil {
			http.Error(w, "<h1>There is nothing here yet</h1>", http.StatusNotFound)
			return
		}
		_, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		known := "none"
		switch {
		case key == "":
		case key == a.secret("ADMIN_API_KEY"):
			known = "admin"
		case key == a.secret("PROXY_API_KEY"):
			known = "key"
		}
		r.Header.Set("Authorization", "Bearer "+known)
		r.Host = target.Host
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	config, err := os.ReadFile(root + "/worker/wrangler.toml")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(a.files, "wrangler.toml"), config)
	writeFile(t, filepath.Join(a.folder, "namespaces"), []byte("[]"))
	writeFile(t, filepath.Join(a.folder, "token"), nil)
	programs := t.TempDir()
	wrangler, err := filepath.Abs("testdata/wrangler")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(wrangler, filepath.Join(programs, "wrangler")); err != nil {
		t.Fatal(err)
	}
	for name, script := range map[string]string{"node": "#!/bin/sh\necho v24.0.0\n", "go": "#!/bin/sh\nexit 0\n"} {
		if err := os.WriteFile(filepath.Join(programs, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(a.folder, "secrets"), 0o700); err != nil {
		t.Fatal(err)
	}
	a.env = append(at(backend), "PATH="+programs+":"+os.Getenv("PATH"), "ACCOUNT="+a.folder, "WORKER="+front.URL)
	return a
}

func (a *account) secret(name string) string {
	raw, _ := os.ReadFile(filepath.Join(a.folder, "secrets", name)) //nolint:errcheck // there is none
	return string(raw)
}

// commands are those that wrangler got since they were asked for last.
func (a *account) commands() []string {
	a.t.Helper()
	path := filepath.Join(a.folder, "commands")
	raw, _ := os.ReadFile(path) //nolint:errcheck // there were none
	os.Remove(path)             //nolint:errcheck // likewise
	return strings.Split(strings.TrimSpace(string(raw)), "\n")
}

func (a *account) run(args ...string) (string, int) {
	a.t.Helper()
	return command(a.t, a.home, a.env, append([]string{"worker"}, args...)...)
}

func TestAWorkerIsDeployedInOneStepLookedAtAndRemoved(t *testing.T) {
	a := newAccount(t)
	p := launch(t, a.home, a.env, "worker", "deploy", "--dir", a.files)
	eventually(t, "it asks for a sign-in", func() bool { return signInPage.MatchString(p.log.String()) || p.exited() })
	inBrowser(t, p, "allow")
	out, code := p.end()
	if code != 0 || !strings.Contains(out, "✅ A test request was answered: You said: Say hello") || !strings.Contains(out, "API key   "+a.secret("PROXY_API_KEY")) {
		t.Fatalf("%d %s", code, out)
	}
	if strings.Contains(out, a.secret("ADMIN_API_KEY")) || strings.Contains(out, a.secret("CREDENTIALS_KEY")) {
		t.Error("it shows a key that no tool needs")
	}
	keys := []string{a.secret("ADMIN_API_KEY"), a.secret("PROXY_API_KEY"), a.secret("CREDENTIALS_KEY")}
	for i, key := range keys {
		if len(key) < 40 || slices.Contains(keys[:i], key) {
			t.Errorf("key %d is %q", i, key)
		}
	}
	info, err := os.Stat(filepath.Join(a.home, ".config", "codex-proxy", "worker.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("where the keys are: %v %v", info, err)
	}
	a.commands()

	out, code = a.run("deploy", "--dir", a.files)
	if code != 0 || !strings.Contains(out, "that stays") {
		t.Errorf("again: %d %s", code, out)
	}
	if again := a.commands(); slices.ContainsFunc(again, func(c string) bool { return strings.HasPrefix(c, "secret put") || strings.Contains(c, "create") }) {
		t.Errorf("again it ran %q", again)
	}
	if !slices.Equal(keys, []string{a.secret("ADMIN_API_KEY"), a.secret("PROXY_API_KEY"), a.secret("CREDENTIALS_KEY")}) {
		t.Error("keys were replaced without being asked for")
	}
	out, code = a.run("deploy", "--dir", a.files, "--new-keys")
	if code != 0 || a.secret("ADMIN_API_KEY") == keys[0] || a.secret("PROXY_API_KEY") == keys[1] || a.secret("CREDENTIALS_KEY") != keys[2] {
		t.Errorf("with new keys: %d %s", code, out)
	}

	out, code = a.run("status")
	if code != 0 || !strings.Contains(out, "3 answered") || !strings.Contains(out, "@example.com (plus)") || !strings.Contains(out, "% used") {
		t.Errorf("status: %d %s", code, out)
	}

	if out, code = a.run("remove", "--dir", a.files); code != 1 || !strings.Contains(out, "nothing was changed") {
		t.Errorf("without a yes: %d %s", code, out)
	}
	out, code = a.run("remove", "--dir", a.files, "--yes")
	raw, _ := os.ReadFile(filepath.Join(a.files, "wrangler.toml"))
	if original, _ := os.ReadFile(root + "/worker/wrangler.toml"); code != 0 || a.back.Counts().Revoked != 1 || string(raw) != string(original) || a.secret("ADMIN_API_KEY") != "" {
		t.Errorf("remove: %d, %+v\n%s\n%s", code, a.back.Counts(), raw, out)
	}
	if namespaces, _ := os.ReadFile(filepath.Join(a.folder, "namespaces")); strings.TrimSpace(string(namespaces)) != "[]" {
		t.Errorf("left: %s", namespaces)
	}
	if out, code = a.run("status"); code != 1 || !strings.Contains(out, "worker deploy") {
		t.Errorf("afterwards: %d %s", code, out)
	}
}

func TestARemovalIsFinishedWhereTheWorkerIsGone(t *testing.T) {
	a := newAccount(t)
	if out, code := a.run("deploy", "--dir", a.files, "--no-sign-in"); code != 0 {
		t.Fatal(out)
	}
	// In another account there is none of that name. This one still answers, and its keys are here only.
	other := t.TempDir()
	writeFile(t, filepath.Join(other, "token"), nil)
	env := append(slices.Clone(a.env), "ACCOUNT="+other)
	if out, code := command(t, a.home, env, "worker", "remove", "--dir", a.files, "--yes"); code != 1 || !strings.Contains(out, "CLOUDFLARE_ACCOUNT_ID") {
		t.Errorf("of another account: %d %s", code, out)
	}
	// Nor is that known where its address is not reached.
	file := filepath.Join(a.home, ".config", "codex-proxy", "worker.json")
	known, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	front := a.env[len(a.env)-1] // WORKER=its address
	writeFile(t, file, bytes.ReplaceAll(known, []byte(strings.TrimPrefix(front, "WORKER=")), []byte("http://127.0.0.1:1")))
	if out, code := command(t, a.home, env, "worker", "remove", "--dir", a.files, "--yes"); code != 1 || !strings.Contains(out, "delete "+file) {
		t.Errorf("of another account, and out of reach: %d %s", code, out)
	}
	writeFile(t, file, known)
	if out, code := a.run("status"); code != 0 {
		t.Errorf("it is not known any more: %s", out)
	}
	os.Remove(filepath.Join(a.folder, "deployed")) //nolint:errcheck // the next line notices
	if out, code := a.run("status"); code != 1 || !strings.Contains(out, "worker remove") {
		t.Errorf("of one that is gone: %d %s", code, out)
	}
	out, code := a.run("remove", "--dir", a.files, "--yes")
	if namespaces, _ := os.ReadFile(filepath.Join(a.folder, "namespaces")); code != 0 || strings.TrimSpace(string(namespaces)) != "[]" {
		t.Errorf("deleted in the dashboard: %d %s %s", code, namespaces, out)
	}
	if out, code := a.run("status"); code != 1 || !strings.Contains(out, "worker deploy") {
		t.Errorf("afterwards: %d %s", code, out)
	}
}

func TestAKeyThatTheWorkerRefusesTakesNoPlaceOfTheOneThatWorks(t *testing.T) {
	a := newAccount(t)
	if out, code := a.run("deploy", "--dir", a.files, "--no-sign-in"); code != 0 {
		t.Fatal(out)
	}
	for flag, name := range map[string]string{"--admin-key": "ADMIN_API_KEY", "--worker-api-key": "PROXY_API_KEY"} {
		if out, code := a.run("deploy", "--dir", a.files, "--no-sign-in", flag, "wrong"); code != 1 || !strings.Contains(out, "another "+name) || !strings.Contains(out, flag) {
			t.Errorf("%s: %d %s", flag, code, out)
		}
		if out, code := a.run("deploy", "--dir", a.files, "--no-sign-in"); code != 0 {
			t.Errorf("after a wrong %s: %s", flag, out)
		}
	}
}

func TestTheFolderOfTheSourceIsTakenForTheWorkersFiles(t *testing.T) {
	a := newAccount(t)
	source := t.TempDir()
	button, err := os.ReadFile(root + "/wrangler.toml")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(source, "wrangler.toml"), button)
	if err := os.Symlink(a.files, filepath.Join(source, "worker")); err != nil {
		t.Fatal(err)
	}
	if out, code := a.run("deploy", "--dir", source, "--no-sign-in"); code != 0 || !strings.Contains(out, "files: "+filepath.Join(source, "worker")+"\n") {
		t.Errorf("%d %s", code, out)
	}
}

func TestADeploymentThatFailsIsNotSaidToBeAtTheGivenAddress(t *testing.T) {
	a := newAccount(t)
	path := filepath.Join(a.files, "wrangler.toml")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, []byte(strings.ReplaceAll(string(raw), strings.Repeat("0", 32), strings.Repeat("f", 32))))
	out, code := a.run("deploy", "--dir", a.files, "--no-sign-in", "--url", "https://worker.example")
	if code != 1 || strings.Contains(out, "Deployed at") || !strings.Contains(out, "[code: 10042]") {
		t.Errorf("%d %s", code, out)
	}
}

func TestADeploymentSaysWhatIsMissing(t *testing.T) {
	a := newAccount(t)
	if out, code := a.run("deploy", "--dir", t.TempDir()); code != 1 || !strings.Contains(out, "give it with --dir") {
		t.Errorf("no files: %d %s", code, out)
	}
	for url, want := range map[string]string{"http://0.0.0.0:1": "Use https", "worker.example": "must look like"} {
		if out, code := a.run("deploy", "--dir", a.files, "--no-sign-in", "--url", url); code != 1 || !strings.Contains(out, want) {
			t.Errorf("at %s: %d %s", url, code, out)
		}
	}
	os.Remove(filepath.Join(a.folder, "token")) //nolint:errcheck // the next line notices
	if out, code := a.run("deploy", "--dir", a.files); code != 1 || !strings.Contains(out, "npx wrangler login") {
		t.Errorf("not logged in: %d %s", code, out)
	}
	writeFile(t, filepath.Join(a.folder, "token"), nil)
	writeFile(t, filepath.Join(a.folder, "expired"), nil)
	if out, code := a.run("deploy", "--dir", a.files); code != 1 || !strings.Contains(out, "npx wrangler login") {
		t.Errorf("a login that has expired: %d %s", code, out)
	}
	os.Remove(filepath.Join(a.folder, "expired")) //nolint:errcheck // the next line notices
	writeFile(t, filepath.Join(a.folder, "offline"), nil)
	if out, code := a.run("deploy", "--dir", a.files); code != 1 || !strings.Contains(out, "fetch failed") || strings.Contains(out, "not logged in") {
		t.Errorf("no network: %d %s", code, out)
	}
	os.Remove(filepath.Join(a.folder, "offline")) //nolint:errcheck // the next line notices
	writeFile(t, filepath.Join(a.folder, "several"), nil)
	if out, code := a.run("deploy", "--dir", a.files); code != 1 || !strings.Contains(out, "available: Mine, Work") {
		t.Errorf("several accounts: %d %s", code, out)
	}
	os.Remove(filepath.Join(a.folder, "several")) //nolint:errcheck // the next line notices
	writeFile(t, filepath.Join(a.folder, "namespaces"), []byte(`[{"id":"0123456789abcdef0123456789abcdef","title":"GEMINI_CLI_KV"}]`))
	writeFile(t, filepath.Join(a.folder, "secrets", "ADMIN_API_KEY"), []byte("theirs"))
	out, code := a.run("deploy", "--dir", a.files, "--no-sign-in")
	if code != 1 || !strings.Contains(out, "found in your account") || !strings.Contains(out, "--new-keys") || a.secret("ADMIN_API_KEY") != "theirs" {
		t.Errorf("keys that were set elsewhere: %d %s", code, out)
	}
	out, code = a.run("deploy", "--dir", a.files, "--no-sign-in", "--admin-key", "theirs")
	if code != 0 || a.secret("ADMIN_API_KEY") != "theirs" || !strings.Contains(out, "Not signed in yet") {
		t.Errorf("and were given: %d %s", code, out)
	}
	out, code = a.run("remove", "--dir", a.files, "--yes")
	if namespaces, _ := os.ReadFile(filepath.Join(a.folder, "namespaces")); code != 0 || !strings.Contains(string(namespaces), "0123") {
		t.Errorf("a namespace that was there before: %d %s %s", code, namespaces, out)
	}
	for version, want := range map[string]string{"v18.1.0": "Node 20 or newer, and node is v18.1.0"} {
		programs := t.TempDir()
		if err := os.WriteFile(filepath.Join(programs, "node"), []byte("#!/bin/sh\necho "+version+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		env := append(slices.Clone(a.env), "PATH="+programs)
		if out, code := command(t, a.home, env, "worker", "deploy", "--dir", a.files); code != 1 || !strings.Contains(out, want) {
			t.Errorf("node %s: %d %s", version, code, out)
		}
	}
}
