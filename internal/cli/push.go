package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"codex-proxy/creds"
	"codex-proxy/internal/app"
	"codex-proxy/proxy"
)

type workerCommand struct {
	Deploy deployCommand       `cmd:"" help:"Set up a Worker in your Cloudflare account, or bring it up to date: all of it, step by step. Safe to run again."`
	Status workerStatusCommand `cmd:"" help:"Say how the Worker is."`
	Push   pushCommand         `cmd:"" help:"Give this sign-in, or a fresh one, to a Worker."`
	Remove removeCommand       `cmd:"" help:"End the Worker's sign-in and delete the Worker."`
}

type pushCommand struct {
	URL      string `arg:"" help:"The Worker's address, such as https://codex-proxy.example.workers.dev."`
	AdminKey string `env:"ADMIN_API_KEY" placeholder:"KEY" help:"The Worker's ADMIN_API_KEY (${env})."`
	Fresh    bool   `help:"Sign in anew for the Worker, and keep the sign-in of this machine."`
	Codex    bool   `hidden:"" help:"It is the only way."`
	Yes      bool   `short:"y" help:"Move the sign-in without asking."`
}

// workerAddress reads the address of a Worker, to which a sign-in may be sent.
func workerAddress(text string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimRight(text, "/"))
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http"):
		return nil, errors.New("the address must look like https://codex-proxy.example.workers.dev")
	case u.Scheme == "http" && !proxy.Loopback(u.Hostname()):
		return nil, errors.New("your sign-in would go over the network unencrypted. Use https")
	}
	return u, nil
}

// Run moves a sign-in. A chain of tokens that rotate has one owner, so afterwards it is no longer here.
func (p *pushCommand) Run(c *console) error {
	u, err := workerAddress(p.URL)
	if err != nil {
		return err
	}
	if p.AdminKey == "" {
		return errors.New("the Worker's admin key is missing. Give it with --admin-key or ADMIN_API_KEY; set it there with: wrangler secret put ADMIN_API_KEY")
	}
	a, err := c.open()
	if err != nil {
		return err
	}
	defer a.Close()
	s := a.State().SignIn
	if s.Kind == creds.KindChatGPT && !p.Fresh {
		return fmt.Errorf("%w: codex-proxy worker push --fresh %s", proxy.ErrStaysLocal, p.URL)
	}
	if err := p.call(c.ctx, a, http.MethodGet, u.String()+"/admin/credentials/status", nil); err != nil {
		return err // before anything is asked or moved
	}
	give := func(ctx context.Context, sign creds.Credentials) error {
		return p.call(ctx, a, http.MethodPost, u.String()+"/admin/credentials", proxy.EncodeAdmin(sign))
	}
	if p.Fresh {
		return p.fresh(c, a, give)
	}
	if err := a.CanTransfer(); err != nil {
		return err
	}
	c.printf("The sign-in of %s will belong to the Worker: refresh tokens can be used once, so it can't stay here as well.\nTo keep it, stop here and use --fresh, which signs in anew for the Worker.\n", app.Name(s.Email, s.Plan))
	if !p.Yes && !c.ask("Move it?") {
		return errors.New("nothing was changed")
	}
	if err := a.Transfer(c.ctx, give); err != nil {
		return err
	}
	c.printf("✅ The Worker is signed in as %s; here nobody is any more\n", app.Name(s.Email, s.Plan))
	return nil
}

func (p *pushCommand) fresh(c *console, a *app.App, give func(context.Context, creds.Credentials) error) error {
	sign, err := a.Obtain(c.ctx, app.SignInOptions{Way: app.ByBrowser, Show: func(prompt app.Prompt) { c.showPrompt(prompt, false, "to sign in for the Worker") }})
	if err != nil {
		return err
	}
	if err := give(c.ctx, sign); err != nil {
		return err
	}
	c.printf("✅ The Worker is signed in as %s\n", app.Name(sign.Email, sign.Plan))
	return nil
}

// call sends a request to the admin API.
func (p *pushCommand) call(ctx context.Context, a *app.App, method, address string, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+p.AdminKey)
	req.Header.Set("Content-Type", "application/json")
	resp, err := a.Do(req)
	if err != nil && method == http.MethodPost && !neverSent(err) {
		return fmt.Errorf("%w: the Worker's answer did not arrive. Look there: GET %s/status", creds.ErrOutcomeUnknown, address)
	}
	if err != nil {
		return errors.New("the Worker is not reached. Check its address and the network; nothing was changed")
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	said := cmp.Or(gjson.GetBytes(raw, "error.message").String(), "no reason was given")
	has := gjson.GetBytes(raw, "hasCredentials") // as the admin API answers, and no other page does
	ours := err == nil && resp.StatusCode == http.StatusOK && gjson.ValidBytes(raw) && has.IsBool()
	switch {
	case ours && (method != http.MethodPost || has.Bool()):
		return nil
	case method == http.MethodPost && (resp.StatusCode >= 500 || resp.StatusCode == http.StatusOK):
		return fmt.Errorf("%w: the Worker answered %d (%s). Look there: GET %s/status", creds.ErrOutcomeUnknown, resp.StatusCode, said, address)
	case err == nil && resp.StatusCode == http.StatusOK:
		return errors.New("what answers there is no Worker of Codex Proxy. Check its address; nothing was changed")
	}
	return fmt.Errorf("the Worker answered %d: %s. Nothing was changed here", resp.StatusCode, said)
}

// neverSent reports whether the request surely did not reach the Worker.
func neverSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}
