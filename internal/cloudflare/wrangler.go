// Package cloudflare deploys the Worker by wrangler, Cloudflare's own tool: one method for each thing that is asked of
// it. What is answered is read from JSON wherever wrangler writes that.
package cloudflare

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// Namespace is the name of the KV namespace, and of its binding.
const Namespace = "GEMINI_CLI_KV"

// nodeLeast is the oldest Node that the wrangler of package.json runs on.
const nodeLeast = 20

// ErrNoFiles means that the Worker's files are not where they were looked for.
var ErrNoFiles = errors.New("the Worker's files are not here. They are in the folder worker of the source: go there, or give it with --dir")

// Wrangler runs wrangler in the folder of the Worker's files.
type Wrangler struct {
	dir     string
	program string
	// Tell hears each command before it runs; a secret is never in it.
	Tell func(command string)
	// Out gets what wrangler says for people.
	Out io.Writer
}

// Files finds the folder of the Worker's files: dir, or the folder worker in it; without dir the same of the current
// folder, or the folder worker beside the program or beside the folder that it is in. Without one it returns ErrNoFiles.
func Files(dir string) (string, error) {
	places := []string{filepath.Join(dir, "worker"), dir} // in this order: the source has a wrangler.toml, too
	if dir == "" {
		if program, err := os.Executable(); err == nil {
			places = append(places, filepath.Join(filepath.Dir(program), "worker"), filepath.Join(filepath.Dir(program), "..", "worker"))
		}
	}
	for _, place := range places {
		if raw, err := os.ReadFile(filepath.Join(place, config)); err == nil && bytes.Contains(raw, []byte(Namespace)) {
			return filepath.Abs(place)
		}
	}
	return "", ErrNoFiles
}

const config = "wrangler.toml"

// New finds Node and wrangler: the one that is installed beside the files, else the one in PATH, else the one that it
// installs beside the files with npm. Errors are sentences.
func New(ctx context.Context, dir string, out io.Writer, tell func(string)) (*Wrangler, error) {
	w := &Wrangler{dir: dir, Tell: tell, Out: out}
	version, err := exec.CommandContext(ctx, "node", "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("the Worker needs Node %d or newer, and there is no node in PATH. Install it from nodejs.org", nodeLeast)
	}
	number, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(string(version)), "v"), ".")
	if n, err := strconv.Atoi(number); err != nil || n < nodeLeast {
		return nil, fmt.Errorf("the Worker needs Node %d or newer, and node is %s. Install it from nodejs.org", nodeLeast, strings.TrimSpace(string(version)))
	}
	if _, err := exec.LookPath("go"); err != nil {
		return nil, errors.New("the Worker is built with Go, and there is no go in PATH. Install it from go.dev")
	}
	local := filepath.Join(dir, "node_modules", ".bin", "wrangler")
	if _, err := os.Stat(local); err == nil {
		w.program = local
		return w, nil
	}
	if w.program, err = exec.LookPath("wrangler"); err == nil {
		return w, nil
	}
	tell("npm ci")
	install := exec.CommandContext(ctx, "npm", "ci", "--no-audit", "--no-fund")
	install.Dir, install.Stdout, install.Stderr = dir, out, out
	if err := install.Run(); err != nil {
		return nil, fmt.Errorf("wrangler could not be installed: npm ci in %s: %w", dir, err)
	}
	w.program = local
	return w, nil
}

// run runs wrangler, which asks nothing without a terminal, and returns what it wrote to standard output. What it wrote to
// standard error is in the error.
func (w *Wrangler) run(ctx context.Context, in string, env []string, args ...string) (string, error) {
	w.Tell("wrangler " + strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, w.program, args...)
	var out, problem bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.Stdin = w.dir, &out, &problem, strings.NewReader(in)
	cmd.Env = append(append(os.Environ(), "WRANGLER_HIDE_BANNER=true", "WRANGLER_SEND_METRICS=false"), env...)
	if err := cmd.Run(); err != nil {
		said := strings.TrimSpace(problem.String() + "\n" + out.String())
		return out.String(), fmt.Errorf("wrangler %s: %w\n%s", strings.Join(args, " "), err, said)
	}
	return out.String(), nil
}

// Account says whether wrangler may deploy; the error says what to do when it may not.
func (w *Wrangler) Account(ctx context.Context) error {
	_, err := w.run(ctx, "", nil, "whoami", "--json")
	if err != nil && notLoggedIn.MatchString(err.Error()) {
		return fmt.Errorf("wrangler is not logged in to Cloudflare. Run this, then deploy again: cd \"%s\" && npx wrangler login", w.dir)
	}
	return err
}

// unset is the id in wrangler.toml that means that there is none yet.
const unset = "00000000000000000000000000000000"

var (
	idLine      = regexp.MustCompile(`(?m)^id = "([0-9a-f]{32})"$`)
	deployedAt  = regexp.MustCompile(`https?://[^\s"]+\.workers\.dev`)
	notLoggedIn = regexp.MustCompile(`"loggedIn":\s*false|Failed to fetch auth token: 40[01]`) // never, or no longer
)

// BindNamespace sees that wrangler.toml names the KV namespace: the one that it names, else the account's, else a new
// one. what says which, and created whether it is new.
func (w *Wrangler) BindNamespace(ctx context.Context) (what string, created bool, err error) {
	path := filepath.Join(w.dir, config)
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", false, err
	}
	found := idLine.FindSubmatch(raw)
	if found == nil {
		return "", created, fmt.Errorf("%s has no line id = \"…\" for the KV namespace", path)
	}
	if string(found[1]) != unset {
		return "the one that " + config + " names", false, nil
	}
	id, err := w.namespace(ctx)
	if what = "found in your account"; err == nil && id == "" {
		what, created = "created", true
		if _, err = w.run(ctx, "", nil, "kv", "namespace", "create", Namespace); err == nil {
			id, err = w.namespace(ctx)
		}
	}
	switch {
	case err != nil:
		return "", created, err
	case id == "":
		return "", created, fmt.Errorf("the KV namespace %s was created, but wrangler does not list it. Deploy again in a minute", Namespace)
	}
	return what, created, w.name(id)
}

// name writes the id of the KV namespace into wrangler.toml.
func (w *Wrangler) name(id string) error {
	path := filepath.Join(w.dir, config)
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path, idLine.ReplaceAll(raw, []byte(`id = "`+id+`"`)), info.Mode())
}

// namespace is the id of the account's namespace; empty when there is none.
func (w *Wrangler) namespace(ctx context.Context) (string, error) {
	out, err := w.run(ctx, "", nil, "kv", "namespace", "list")
	if err != nil {
		return "", err
	}
	var all []struct{ ID, Title string }
	if err := json.Unmarshal(list(out), &all); err != nil {
		return "", fmt.Errorf("wrangler kv namespace list did not answer with JSON: %.200s", out)
	}
	for _, one := range all {
		if one.Title == Namespace && len(one.ID) == len(unset) {
			return one.ID, nil
		}
	}
	return "", nil
}

// list is the JSON list in what wrangler wrote, which may have notes before it.
func list(out string) []byte {
	if i := strings.Index(out, "["); i >= 0 {
		return []byte(out[i:])
	}
	return []byte(out)
}

// Deploy builds and uploads the Worker and returns its address; empty when wrangler does not say it.
func (w *Wrangler) Deploy(ctx context.Context) (string, error) {
	folder, err := os.MkdirTemp("", "codex-proxy-deploy-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(folder)
	report := filepath.Join(folder, "report")
	out, err := w.run(ctx, "", []string{"WRANGLER_OUTPUT_FILE_PATH=" + report}, "deploy")
	if err != nil {
		return "", err
	}
	raw, _ := os.ReadFile(report) //nolint:errcheck // then its words have to do
	for line := range strings.Lines(string(raw)) {
		var entry struct {
			Type    string
			Targets []string
		}
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Type == "deploy" && len(entry.Targets) > 0 && strings.HasPrefix(entry.Targets[0], "http") {
			return strings.TrimRight(entry.Targets[0], "/"), nil
		}
	}
	return deployedAt.FindString(out), nil
}

// Secrets are the names of those that the Worker has.
func (w *Wrangler) Secrets(ctx context.Context) (map[string]bool, error) {
	out, err := w.run(ctx, "", nil, "secret", "list", "--format", "json")
	if err != nil {
		return nil, err
	}
	var all []struct{ Name string }
	if err := json.Unmarshal(list(out), &all); err != nil {
		return nil, fmt.Errorf("wrangler secret list did not answer with JSON: %.200s", out)
	}
	names := map[string]bool{}
	for _, one := range all {
		names[one.Name] = true
	}
	return names, nil
}

// PutSecret sets a secret, which goes over standard input.
func (w *Wrangler) PutSecret(ctx context.Context, name, value string) error {
	_, err := w.run(ctx, value, nil, "secret", "put", name)
	return err
}

// ErrNoWorker means that the account has no Worker of this name.
var ErrNoWorker = errors.New("wrangler finds no such Worker in your Cloudflare account")

// What wrangler says of what is not there. The first two are constants of its source; the third is of Cloudflare's KV.
var (
	noWorker    = regexp.MustCompile(`\[code: (10007|10090)\]`)
	noNamespace = regexp.MustCompile(`\[code: 10013\]`)
)

// Remove deletes the Worker; ErrNoWorker when there is none.
func (w *Wrangler) Remove(ctx context.Context) error {
	_, err := w.run(ctx, "", nil, "delete", "--force")
	if err != nil && noWorker.MatchString(err.Error()) {
		return ErrNoWorker
	}
	return err
}

// RemoveNamespace deletes the KV namespace that wrangler.toml names, unless it is gone already, and takes it out of
// wrangler.toml.
func (w *Wrangler) RemoveNamespace(ctx context.Context) error {
	raw, err := os.ReadFile(filepath.Join(w.dir, config))
	if err != nil {
		return err
	}
	found := idLine.FindSubmatch(raw)
	if found == nil || string(found[1]) == unset {
		return nil
	}
	_, err = w.run(ctx, "", nil, "kv", "namespace", "delete", "--namespace-id", string(found[1]), "--skip-confirmation")
	if err != nil && !noNamespace.MatchString(err.Error()) {
		return err
	}
	return w.name(unset)
}
