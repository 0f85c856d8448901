package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/adrg/xdg"

	"codex-proxy/creds"
	"codex-proxy/internal/autostart"
	"codex-proxy/proxy/codex"
)

// service installs or removes the service that runs `codex-proxy serve` at login.
func (c *console) service(install bool) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	args := slices.DeleteFunc(slices.Clone(c.args), func(a string) bool { return a == "--install-service" || a == "--uninstall-service" })
	entry := autostart.Entry{Program: program, Args: args, System: runtime.GOOS, Home: xdg.Home, Config: configHome()}
	if !install {
		path, err := entry.UninstallService()
		if errors.Is(err, os.ErrNotExist) {
			return errors.New("there is no service to remove")
		}
		if err != nil {
			return err
		}
		c.printf("✅ The service is removed (%s)\n", path)
		return nil
	}
	path, err := entry.InstallService()
	if err != nil {
		if path != "" {
			c.printf("💾 Wrote %s\n", path)
		}
		return fmt.Errorf("the service could not be started: %w", err)
	}
	c.printf("✅ Codex Proxy starts at login from now on, and runs already. Undo it with: codex-proxy serve --uninstall-service\n")
	return nil
}

type doctorCommand struct {
	Probe bool `help:"Also send one tiny request to a model, which uses a little of your plan."`
}

const reachAdvice = "Check the network, the proxy settings (HTTPS_PROXY) and, with a proxy that opens TLS, SSL_CERT_FILE"

// examination collects what was found.
type examination struct {
	c      *console
	advice []string
}

func (e *examination) line(icon, what, format string, args ...any) {
	e.c.printf("%s %-12s %s\n", icon, what, fmt.Sprintf(format, args...))
}

func (e *examination) good(what, format string, args ...any) { e.line("✅", what, format, args...) }

// bad also says what to do.
func (e *examination) bad(what, advice, format string, args ...any) {
	e.line("❌", what, format, args...)
	if !slices.Contains(e.advice, advice) {
		e.advice = append(e.advice, advice)
	}
}

func (e *examination) note(what, format string, args ...any) { e.line("⚠️", what, format, args...) }

// Run prints a report without secrets, and ends in what to do.
func (d *doctorCommand) Run(c *console) error {
	a, err := c.open()
	if err != nil {
		return err
	}
	e := &examination{c: c}
	c.printf("Codex Proxy %s, %s, %s/%s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	r := a.report()
	up := running(c.ctx, r.SignIn.Store, "GET", "/report", &r) == nil
	e.port(a, r, up)
	e.loopback(r, up)
	e.signIn(a, r.SignIn)
	e.authServer(a)
	e.backend(a, r.SignIn)
	e.keychain()
	e.desktop()
	if d.Probe {
		e.probe(a)
	}
	c.printf("\n")
	if len(e.advice) == 0 {
		c.printf("Nothing to do: all is well.\n")
		return nil
	}
	c.printf("What to do:\n")
	for i, advice := range e.advice {
		c.printf("%d. %s.\n", i+1, advice)
	}
	return errSilent
}

func (e *examination) port(a *app, r report, up bool) {
	port := e.c.settings.port
	switch {
	case up && r.Proxy.Running:
		e.good("Proxy", "running at %s (process %d)", r.Proxy.URL, r.Proxy.PID)
		return
	case up:
		e.bad("Proxy", "Start the proxy from the menu", "the program runs (process %d), the proxy is stopped", r.Proxy.PID)
		return
	}
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err == nil {
		l.Close()
		e.note("Proxy", "not running; port %d is free", port)
		return
	}
	holder := portHolder(port)
	if holder == "" {
		holder = "another program"
	}
	e.bad("Proxy", fmt.Sprintf("End %s, or start Codex Proxy with --port %d", holder, port+1), "not running; port %d is used by %s", port, holder)
}

func (e *examination) loopback(r report, up bool) {
	port := "0"
	if u, err := url.Parse(r.Proxy.URL); up && err == nil {
		port = u.Port()
	}
	for _, host := range []string{"127.0.0.1", "::1"} {
		address := net.JoinHostPort(host, port)
		if port == "0" {
			l, err := net.Listen("tcp", address)
			if err != nil {
				e.note("Loopback", "%s is not available on this machine", host)
				continue
			}
			l.Close()
			e.good("Loopback", "%s is available", host)
			continue
		}
		status, err := e.get("http://"+address+"/health", "")
		if err != nil {
			e.note("Loopback", "%s does not answer: use the other in your tools", host)
			continue
		}
		e.good("Loopback", "%s answers (%d)", host, status)
	}
	if port == "0" {
		return
	}
	if status, err := e.get("http://127.0.0.1:"+port+"/health", "rebind.example"); err == nil && status != http.StatusMisdirectedRequest {
		e.bad("Host guard", "Report this: a foreign Host name was served", "a foreign Host name got %d", status)
	} else if err == nil {
		e.good("Host guard", "foreign Host names are refused")
	}
}

// get asks on this machine, without the system's proxy.
func (e *examination) get(address, host string) (int, error) {
	ctx, cancel := context.WithTimeout(e.c.ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, err
	}
	req.Host = host
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	resp.Body.Close()
	return resp.StatusCode, nil
}

func (e *examination) signIn(a *app, s signInReport) {
	now := time.Now()
	switch s.Status {
	case creds.StatusNone:
		e.bad("Sign-in", "Run `codex-proxy login`", "none")
		return
	case creds.StatusSignInAgain:
		e.bad("Sign-in", "Run `codex-proxy login`", "%s: %s", redact(s.Email), s.Problem)
	case creds.StatusRefreshFailing:
		e.bad("Sign-in", "Look at the lines about the auth server below; it is tried again by itself", "%s: %s", redact(s.Email), s.Problem)
	default:
		e.good("Sign-in", "%s (%s), account %s, %s", redact(s.Email), s.Plan, redact(s.AccountID), s.kind())
	}
	e.line("  ", "", "token %s; last refreshed %s; %s, stored in %s", s.token(now), ago(s.LastRefresh, now), s.Ownership, s.Store)
	if s.Kind == creds.KindChatGPT {
		return
	}
	cli, err := creds.NewLegacyStore((&creds.Importer{CodexHome: e.c.settings.CodexHome}).AuthFile()).Load(e.c.ctx)
	switch {
	case err != nil:
		e.good("Codex CLI", "holds no sign-in in its file")
	case a.manager.SharesChain(cli):
		e.note("Codex CLI", "holds the same refresh token: whichever of the two refreshes first logs the other out, unless the proxy follows the CLI's file (it does while the sign-in is shared)")
		if s.Ownership == creds.Own {
			e.advice = append(e.advice, "Run `codex-proxy login` so that each program has a sign-in of its own")
		}
	default:
		e.good("Codex CLI", "has a sign-in of its own")
	}
}

func ago(t, now time.Time) string {
	if t.IsZero() {
		return "at an unknown time"
	}
	return inWords(now.Sub(t)) + " ago"
}

func (e *examination) authServer(a *app) {
	address := a.settings.AuthURL + "/.well-known/openid-configuration"
	resp, err := e.fetch(a, address)
	if err != nil {
		e.bad("Auth server", reachAdvice, "%s is not reached: %s", a.settings.AuthURL, codex.TransportReason(err))
		return
	}
	e.good("Auth server", "%s answers (%d)%s", a.settings.AuthURL, resp.StatusCode, through(address))
	date, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return
	}
	if off := time.Since(date); off > 2*time.Minute || off < -2*time.Minute {
		e.bad("Clock", "Set this machine's clock", "it is off by %s", off.Round(time.Minute))
	} else {
		e.good("Clock", "right")
	}
}

func (e *examination) fetch(a *app, address string) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(e.c.ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", a.identity.UserAgent)
	resp, err := a.http.Do(req)
	if err == nil {
		resp.Body.Close()
	}
	return resp, err
}

// through says which of the system's proxies is used, without its password.
func through(address string) string {
	req, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		return ""
	}
	if p, err := http.ProxyFromEnvironment(req); err == nil && p != nil {
		return ", through the proxy " + p.Host
	}
	return ""
}

func (e *examination) backend(a *app, s signInReport) {
	address := a.settings.BackendURL
	if s.Kind == creds.KindChatGPT {
		address = a.settings.APIURL
	}
	if !s.Usable {
		resp, err := e.fetch(a, address)
		if err != nil {
			e.bad("Backend", reachAdvice, "%s is not reached: %s", address, codex.TransportReason(err))
			return
		}
		e.good("Backend", "%s answers (%d)%s", address, resp.StatusCode, through(address))
		return
	}
	a.client.Models.Stale()
	if err := a.client.Models.Fetch(e.c.ctx, a.client); err != nil {
		e.bad("Backend", "Check the network, switch off a VPN, and see the line about the sign-in", "%s gave no list of models (%v)", address, err)
		return
	}
	e.good("Backend", "%s answers, %d models%s", address, len(a.client.Models.All()), through(address))
}

func (e *examination) keychain() {
	if err := creds.KeychainWorks(e.c.ctx); err != nil {
		e.note("Keychain", "not available (%v); needed only for --creds-store=keychain and for importing from it", err)
		return
	}
	e.good("Keychain", "available")
}

func (e *examination) probe(a *app) {
	ctx, cancel := context.WithTimeout(e.c.ctx, time.Minute)
	defer cancel()
	start := time.Now()
	s, err := a.client.Stream(ctx, &codex.Request{Effort: "low", Input: []json.RawMessage{codex.Message("user", "Answer with the word yes.")}})
	if err == nil {
		defer s.Close()
		for err == nil {
			_, err = s.Next()
		}
		if !s.Done() {
			e.bad("Probe", "Try again in a minute; then report this", "the answer broke (%v)", err)
			return
		}
		e.good("Probe", "a model answered in %s", time.Since(start).Round(10*time.Millisecond))
		return
	}
	var known *codex.Error
	if errors.As(err, &known) {
		e.bad("Probe", "See the line about the probe", "%s", known.Message)
		return
	}
	e.bad("Probe", "Try again", "%v", err)
}

func (e *examination) desktop() {
	if there, why := trayHost(); !there {
		e.note("Menu", "no icon can be shown: %s. The commands do all that the menu does", why)
		return
	}
	e.good("Menu", "this desktop shows tray icons")
}
