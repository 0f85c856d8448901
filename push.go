package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"codex-proxy/creds"
	"codex-proxy/proxy"
)

type workerCommand struct {
	Push pushCommand `cmd:"" help:"Give this sign-in, or a fresh one, to a Worker."`
}

type pushCommand struct {
	URL      string `arg:"" help:"The Worker's address, such as https://codex-proxy.example.workers.dev."`
	AdminKey string `env:"ADMIN_API_KEY" placeholder:"KEY" help:"The Worker's ADMIN_API_KEY (${env})."`
	Fresh    bool   `help:"Sign in anew for the Worker, and keep the sign-in of this machine."`
	Codex    bool   `help:"With --fresh: sign in as the Codex CLI does."`
	Yes      bool   `short:"y" help:"Move the sign-in without asking."`
}

// Run moves a sign-in. A chain of tokens that rotate has one owner, so afterwards it is no longer here.
func (p *pushCommand) Run(c *console) error {
	u, err := url.Parse(strings.TrimRight(p.URL, "/"))
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http"):
		return errors.New("the address must look like https://codex-proxy.example.workers.dev")
	case u.Scheme == "http" && !proxy.Loopback(u.Hostname()):
		return errors.New("your sign-in would go over the network unencrypted. Use https")
	case p.AdminKey == "":
		return errors.New("the Worker's admin key is missing. Give it with --admin-key or ADMIN_API_KEY; set it there with: wrangler secret put ADMIN_API_KEY")
	}
	a, err := c.open()
	if err != nil {
		return err
	}
	if err := p.call(c, a, http.MethodGet, u.String()+"/admin/credentials/status", nil); err != nil {
		return err // before anything is asked or moved
	}
	if p.Fresh {
		return p.pushFresh(c, a, u.String())
	}
	s := a.manager.State()
	switch {
	case s.Status == creds.StatusNone:
		return errors.New("nobody is signed in here. Use --fresh to sign in for the Worker")
	case s.Ownership == creds.Shared:
		return errors.New("this sign-in is the Codex CLI's, too, and two programs that refresh it log each other out. Use --fresh to sign in for the Worker")
	}
	c.printf("The sign-in of %s will belong to the Worker: refresh tokens can be used once, so it can't stay here as well.\nTo keep it, stop here and use --fresh, which signs in anew for the Worker.\n", who(s))
	if !p.Yes && !c.ask("Move it?") {
		return errors.New("nothing was changed")
	}
	sign := a.manager.Release()
	if err := p.push(c, a, u.String(), sign); err != nil {
		return err
	}
	if err := a.manager.GiveUp(c.ctx); err != nil {
		return fmt.Errorf("the Worker has the sign-in now, but it could not be deleted here: %w", err)
	}
	c.reload(a)
	c.printf("✅ The Worker is signed in as %s; here nobody is any more\n", who(s))
	return nil
}

func (p *pushCommand) pushFresh(c *console, a *app, root string) error {
	login := a.newLogin("", func(address string) {
		c.printf("Open this address in your browser to sign in for the Worker:\n\n  %s\n\n", address)
		openBrowser(address)
	})
	ctx, cancel := context.WithTimeout(c.ctx, loginPatience)
	defer cancel()
	sign, err := creds.Credentials{}, error(nil)
	if p.Codex {
		sign, err = login.Codex(ctx)
	} else {
		sign, err = login.ChatGPT(ctx)
	}
	if err != nil {
		return err
	}
	if err := p.push(c, a, root, sign); err != nil {
		return err
	}
	c.printf("✅ The Worker is signed in as %s\n", who(creds.State{Email: sign.Email, Plan: sign.Plan}))
	return nil
}

func (p *pushCommand) push(c *console, a *app, root string, sign creds.Credentials) error {
	return p.call(c, a, http.MethodPost, root+"/admin/credentials", proxy.EncodeAdmin(sign))
}

// call sends a request to the admin API.
func (p *pushCommand) call(c *console, a *app, method, address string, body []byte) error {
	ctx, cancel := context.WithTimeout(c.ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+p.AdminKey)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", a.identity.UserAgent)
	resp, err := a.http.Do(req)
	if err != nil {
		return errors.New("the Worker is not reached. Check its address and the network; nothing was changed")
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the Worker answered %d: %s. Nothing was changed here", resp.StatusCode, gjson.GetBytes(raw, "error.message").String())
	}
	return nil
}
