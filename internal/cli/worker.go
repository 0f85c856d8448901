package cli

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"codex-proxy/creds"
	"codex-proxy/internal/app"
	"codex-proxy/internal/atomicfile"
	"codex-proxy/internal/cloudflare"
	"codex-proxy/proxy"
)

// deployment is what is remembered of the Worker, in a private file: Cloudflare tells nobody what a secret is.
type deployment struct {
	URL       string `json:"url"`
	AdminKey  string `json:"admin_key"`
	APIKey    string `json:"api_key"`
	Namespace bool   `json:"namespace_created"` // the KV namespace was made for it, and goes with it
}

func deploymentFile() string { return filepath.Join(app.ConfigFolder(), "worker.json") }

func loadDeployment() (d deployment) {
	if raw, err := os.ReadFile(deploymentFile()); err == nil {
		json.Unmarshal(raw, &d) //nolint:errcheck // what can't be read is not known
	}
	return d
}

func (d deployment) save() error {
	raw, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(deploymentFile(), append(raw, '\n'))
}

// workerFlags are those of commands that need wrangler.
type workerFlags struct {
	Dir string `type:"path" placeholder:"FOLDER" help:"The folder worker of the source; by default ./worker, or the one beside this program."`
}

func (f workerFlags) wrangler(c *console) (*cloudflare.Wrangler, error) {
	dir, err := cloudflare.Files(f.Dir)
	if err != nil {
		return nil, err
	}
	c.printf("✅ The Worker's files: %s\n", dir)
	return cloudflare.New(c.ctx, dir, c.process.Err, func(command string) { c.printf("   $ %s\n", command) })
}

type deployCommand struct {
	workerFlags
	URL      string `placeholder:"ADDRESS" help:"The Worker's address, where it has another one than wrangler says."`
	AdminKey string `env:"ADMIN_API_KEY" placeholder:"KEY" help:"The ADMIN_API_KEY of a Worker that was set up elsewhere (${env})."`
	APIKey   string `name:"worker-api-key" placeholder:"KEY" help:"One PROXY_API_KEY of such a Worker."`
	NewKeys  bool   `help:"Replace ADMIN_API_KEY and PROXY_API_KEY by new ones."`
	NoSignIn bool   `help:"Leave the sign-in to a later codex-proxy worker push."`
}

// Run does what README's section on the Worker says, and leaves alone what is done already.
func (d *deployCommand) Run(c *console) error {
	if d.URL != "" {
		if _, err := workerAddress(d.URL); err != nil {
			return err
		}
	}
	w, err := d.wrangler(c)
	if err != nil {
		return err
	}
	if err := w.Account(c.ctx); err != nil {
		return err
	}
	c.printf("✅ Logged in to Cloudflare\n")
	known := loadDeployment()
	what, created, err := w.BindNamespace(c.ctx)
	if known.Namespace = known.Namespace || created; created {
		if err := known.save(); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	c.printf("✅ KV namespace %s: %s\n", cloudflare.Namespace, what)
	address, err := w.Deploy(c.ctx)
	if err != nil {
		return err
	}
	if address = cmp.Or(strings.TrimRight(d.URL, "/"), address); address == "" {
		return errors.New("the Worker is deployed, but wrangler did not say where. Look at your dashboard, and give the address with --url")
	}
	known.URL = address
	c.printf("✅ Deployed at %s\n", address)
	patience, err := d.setKeys(c, w, &known)
	if err != nil {
		return err
	}
	a, err := c.open()
	if err != nil {
		return err
	}
	defer a.Close()
	known.AdminKey, known.APIKey = cmp.Or(d.AdminKey, known.AdminKey), cmp.Or(d.APIKey, known.APIKey)
	remote := remote{known, a}
	if err := remote.wait(c.ctx, patience); err != nil {
		return err
	}
	if err := known.save(); err != nil { // now that they are known to be right
		return err
	}
	if err := d.signIn(c, remote); err != nil {
		return err
	}
	tried := true
	if !d.NoSignIn {
		tried = remote.try(c)
	}
	c.printf("\nBase URL  %s/v1\nAPI key   %s\n\nBoth keys are in %s.\n", known.URL, known.APIKey, deploymentFile())
	if !tried {
		return errSilent
	}
	return nil
}

// setKeys sets the secrets that are missing, or those that are asked for anew, and remembers them. It returns for how
// long the Worker may not know them yet.
func (d *deployCommand) setKeys(c *console, w *cloudflare.Wrangler, known *deployment) (patience time.Duration, err error) {
	there, err := w.Secrets(c.ctx)
	if err != nil {
		return 0, err
	}
	for _, key := range []struct {
		name  string
		value *string
		given string
	}{{"ADMIN_API_KEY", &known.AdminKey, d.AdminKey}, {"PROXY_API_KEY", &known.APIKey, d.APIKey}} {
		if there[key.name] && !d.NewKeys {
			if cmp.Or(key.given, *key.value) == "" {
				return 0, fmt.Errorf("the Worker has its %s already, and it is not known here. Give it with --admin-key and --worker-api-key, or replace both with --new-keys", key.name)
			}
			c.printf("✅ %s stays\n", key.name)
			continue
		}
		if d.NewKeys {
			*key.value = ""
		}
		*key.value, patience = cmp.Or(key.given, *key.value, newSecret()), secretsArrive
		if err := known.save(); err != nil { // first: nobody could read it afterwards
			return 0, err
		}
		if err := w.PutSecret(c.ctx, key.name, *key.value); err != nil {
			return 0, err
		}
		c.printf("✅ %s set\n", key.name)
	}
	// Never replaced: what is stored could not be read any more.
	if there["CREDENTIALS_KEY"] {
		c.printf("✅ CREDENTIALS_KEY stays\n")
		return patience, known.save()
	}
	if err := w.PutSecret(c.ctx, "CREDENTIALS_KEY", newSecret()); err != nil {
		return 0, err
	}
	c.printf("✅ CREDENTIALS_KEY set\n")
	return patience, known.save()
}

// newSecret is 256 random bits as text.
func newSecret() string {
	raw := make([]byte, 32)
	rand.Read(raw)
	return base64.RawURLEncoding.EncodeToString(raw)
}

// signIn gives the Worker a sign-in of its own, unless it has one that works.
func (d *deployCommand) signIn(c *console, r remote) error {
	status, answer, err := r.call(c.ctx, http.MethodGet, "/admin/status", r.AdminKey, "")
	switch {
	case err != nil:
		return err
	case status != http.StatusOK:
		return r.refused(status, answer)
	case answer.Get("credentials.usable").Bool():
		c.printf("✅ Signed in as %s; that stays\n", app.Name(answer.Get("sign_in.email").Str, answer.Get("credentials.plan").Str))
		return nil
	case d.NoSignIn:
		c.printf("   Not signed in yet: codex-proxy worker push %s --fresh --admin-key …\n", r.URL)
		return nil
	}
	push := pushCommand{URL: r.URL, AdminKey: r.AdminKey}
	return push.fresh(c, r.app, func(ctx context.Context, sign creds.Credentials) error {
		return push.call(ctx, r.app, http.MethodPost, r.URL+"/admin/credentials", proxy.EncodeAdmin(sign))
	})
}

// remote is a Worker that was deployed.
type remote struct {
	deployment
	app *app.App
}

const (
	workerPatience = 30 * time.Second // with one request
	secretsArrive  = time.Minute      // until a secret that was set is known everywhere
)

// call sends a request with a key and returns the status and the JSON that came back.
func (r remote) call(ctx context.Context, method, path, key, body string) (int, gjson.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, workerPatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, r.URL+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return 0, gjson.Result{}, err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := r.app.Do(req)
	if err != nil {
		return 0, gjson.Result{}, fmt.Errorf("the Worker at %s is not reached. Look at the address and the network", r.URL)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return 0, gjson.Result{}, fmt.Errorf("the Worker's answer broke off: %w", err)
	}
	return resp.StatusCode, gjson.ParseBytes(raw), nil
}

func (r remote) refused(status int, answer gjson.Result) error {
	return fmt.Errorf("the Worker answered %d: %s", status, cmp.Or(answer.Get("error.message").Str, "no reason was given"))
}

// wait waits until the Worker knows its keys, for so long at most where they were set just now.
func (r remote) wait(ctx context.Context, patience time.Duration) error {
	end := time.Now().Add(secretsArrive)
	refused := time.Now().Add(patience)
	for _, key := range []struct{ name, value, path, flag string }{
		{"ADMIN_API_KEY", r.AdminKey, "/admin/credentials/status", "--admin-key"},
		{"PROXY_API_KEY", r.APIKey, "/metrics", "--worker-api-key"},
	} {
		for {
			status, answer, err := r.call(ctx, http.MethodGet, key.path, key.value, "")
			if err == nil && status == http.StatusOK {
				break
			}
			until := end
			switch {
			case err == nil && status == http.StatusUnauthorized:
				err, until = fmt.Errorf("the Worker has another %s than the one that is known here or was given. Give its own with %s, or replace both keys with --new-keys", key.name, key.flag), refused
			case err == nil:
				err = r.refused(status, answer)
			}
			if ctx.Err() != nil || time.Now().After(until) {
				return err
			}
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		}
	}
	return nil
}

// try sends a request as a tool does, and says how it went.
func (r remote) try(c *console) bool {
	status, answer, err := r.call(c.ctx, http.MethodPost, "/v1/chat/completions", r.APIKey, `{"messages":[{"role":"user","content":"Say hello in one word."}]}`)
	if err == nil && status != http.StatusOK {
		err = r.refused(status, answer)
	}
	if err != nil {
		c.printf("⚠️ A test request failed: %v\n", err)
		return false
	}
	c.printf("✅ A test request was answered: %.80s\n", answer.Get("choices.0.message.content").Str)
	return true
}

// errNoDeployment means that this machine knows of no Worker.
var errNoDeployment = errors.New("no Worker is known here. Set one up with: codex-proxy worker deploy")

type workerStatusCommand struct{}

// Run prints what the Worker says of itself.
func (workerStatusCommand) Run(c *console) error {
	known := loadDeployment()
	if known.URL == "" || known.AdminKey == "" {
		return errNoDeployment
	}
	a, err := c.open()
	if err != nil {
		return err
	}
	defer a.Close()
	r := remote{known, a}
	status, answer, err := r.call(c.ctx, http.MethodGet, "/admin/status", r.AdminKey, "")
	if err != nil {
		return err
	}
	if status == http.StatusNotFound && !answer.IsObject() {
		return fmt.Errorf("there is no Worker at %s any more. `codex-proxy worker deploy` sets one up, `codex-proxy worker remove` forgets it", r.URL)
	}
	if status != http.StatusOK {
		return r.refused(status, answer)
	}
	c.printf("Worker     %s/v1, %s\n", r.URL, answer.Get("versions.proxy").Str)
	if problem := answer.Get("credentials.problem").Str; problem != "" {
		c.printf("Sign-in    %s. %s\n", problem, answer.Get("sign_in.advice").Str)
	} else {
		c.printf("Sign-in    %s, good until %s\n", app.Name(answer.Get("sign_in.email").Str, answer.Get("credentials.plan").Str), answer.Get("credentials.expires_at").Str)
	}
	n := answer.Get("requests")
	c.printf("Requests   %d answered, %d failed, %d open\n", n.Get("answered").Int(), n.Get("failed").Int(), n.Get("open").Int())
	for _, window := range answer.Get("usage.windows").Array() {
		c.printf("Limit      %s %.0f%% used\n", window.Get("name").Str, window.Get("used_percent").Float())
	}
	return nil
}

type removeCommand struct {
	workerFlags
	Yes bool `short:"y" help:"Remove it without asking."`
}

// Run ends the Worker's sign-in, then deletes the Worker, and what was made for it.
func (r *removeCommand) Run(c *console) error {
	known := loadDeployment()
	if known.URL == "" {
		return errNoDeployment
	}
	w, err := r.wrangler(c)
	if err != nil {
		return err
	}
	if err := w.Account(c.ctx); err != nil {
		return err
	}
	if !r.Yes && !c.ask("Delete the Worker at "+known.URL+", with its sign-in?") {
		return errors.New("nothing was changed")
	}
	a, err := c.open()
	if err != nil {
		return err
	}
	defer a.Close()
	status, answer, err := remote{known, a}.call(c.ctx, http.MethodDelete, "/admin/credentials", known.AdminKey, "")
	switch warning := answer.Get("warning").Str; {
	case err != nil || status != http.StatusOK:
		c.printf("⚠️ The Worker's sign-in could not be ended (%d). It ends by itself\n", status)
	case warning != "":
		c.printf("⚠️ %s\n", warning)
	default:
		c.printf("✅ The Worker's sign-in is ended\n")
	}
	unreached := err != nil
	switch err := w.Remove(c.ctx); {
	case errors.Is(err, cloudflare.ErrNoWorker) && answer.IsObject(): // it answers
		return fmt.Errorf("%w, but it answers at %s. Choose its account with CLOUDFLARE_ACCOUNT_ID, or with: npx wrangler login", err, known.URL)
	case errors.Is(err, cloudflare.ErrNoWorker) && unreached: // it may be in another
		return fmt.Errorf("%w, and %s is not reached. Choose its account with CLOUDFLARE_ACCOUNT_ID, or, if it is gone, delete %s, which has its keys", err, known.URL, deploymentFile())
	case err != nil && !errors.Is(err, cloudflare.ErrNoWorker):
		return err
	}
	if known.Namespace {
		if err := w.RemoveNamespace(c.ctx); err != nil {
			return err
		}
	}
	if err := os.Remove(deploymentFile()); err != nil {
		return err
	}
	c.printf("✅ The Worker is deleted\n")
	return nil
}
