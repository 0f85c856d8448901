package app

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"codex-proxy/creds"
	"codex-proxy/internal/systemproxy"
	"codex-proxy/proxy"
	"codex-proxy/proxy/codex"
	"codex-proxy/tray"
)

// Verdict is how good a finding is.
type Verdict string

// The verdicts.
const (
	Good Verdict = "good"
	Note Verdict = "note" // worth knowing; nothing need be done
	Bad  Verdict = "bad"
	More Verdict = "more" // goes on from the finding before
)

// Finding is one line of the doctor's report. It shows nothing secret, and of a person no more than an initial.
type Finding struct {
	Verdict Verdict `json:"verdict"`
	Subject string  `json:"subject,omitempty"`
	Text    string  `json:"text"`
	Advice  string  `json:"advice,omitempty"` // what to do, where something is to be done
}

const reachAdvice = "Check the network, the network's proxy (--https-proxy, HTTPS_PROXY) and, with a proxy that opens TLS, SSL_CERT_FILE"

// examination looks at everything, one subject after the other.
type examination struct {
	a    *App
	ctx  context.Context
	tell func(Finding)
}

// Examine looks at everything on this machine that the program needs, and tells each finding as it comes. state is how
// the running program is, nil when none runs. With probe set one tiny request goes to a model.
func (a *App) Examine(ctx context.Context, state *State, probe bool, tell func(Finding)) {
	e := &examination{a, ctx, tell}
	s := a.State()
	if state != nil {
		s = *state
	}
	e.port(s, state != nil)
	e.loopback(s, state != nil)
	e.detour()
	e.signIn(s.SignIn)
	e.authServer()
	if e.backend(s.SignIn) {
		e.models(s.Model)
	}
	e.keychain()
	e.files()
	switch text, advice := cutAdvice(errors.New(s.HistoryProblem)); {
	case advice != "":
		e.bad("History", advice, "%s", text)
	case text != "":
		e.note("History", "%s", text)
	}
	e.desktop()
	if probe {
		e.probe()
	}
}

// files tells folders that can't be written, and files that can't be read.
func (e *examination) files() {
	for _, folder := range []string{ConfigFolder(), StateFolder()} {
		if why := unwritable(folder); why != nil && !e.a.Settings.Demo && e.a.Settings.CredsStore != "env" {
			e.bad("Folder", "Make "+folder+" a folder that you can write, with room on its disk", "%s can't be written (%v)", folder, why)
		}
	}
	_, settings := ReadSaved()
	for _, file := range []struct {
		subject string
		problem error
	}{{"Settings", cmp.Or(settings, e.a.Settings.Wrong)}, {"API keys", e.a.KeysProblem()}} {
		if file.problem == nil {
			continue
		}
		text, advice := cutAdvice(file.problem)
		e.bad(file.subject, advice, "%s", text)
	}
}

// cutAdvice parts an error from its last sentence, which is what to do.
func cutAdvice(err error) (text, advice string) {
	text = err.Error()
	if end := strings.LastIndex(text, ". "); end >= 0 {
		text, advice = text[:end], text[end+2:]
	}
	return text, advice
}

// unwritable is why nothing can be written below a folder, which need not be there yet; nil when something can.
func unwritable(folder string) error {
	for {
		parent := filepath.Dir(folder)
		if _, err := os.Lstat(folder); err == nil || parent == folder {
			break
		}
		folder = parent
	}
	f, err := os.CreateTemp(folder, ".codex-proxy-*")
	if err == nil {
		_, err = f.Write(make([]byte, 4096)) // a full disk has names left
		f.Close()
		os.Remove(f.Name()) //nolint:errcheck // it was there to try
	}
	var why *os.PathError
	if errors.As(err, &why) {
		return why.Err
	}
	return err
}

func (e *examination) good(subject, format string, args ...any) {
	e.tell(Finding{Good, subject, fmt.Sprintf(format, args...), ""})
}

func (e *examination) note(subject, format string, args ...any) {
	e.tell(Finding{Note, subject, fmt.Sprintf(format, args...), ""})
}

func (e *examination) bad(subject, advice, format string, args ...any) {
	e.tell(Finding{Bad, subject, fmt.Sprintf(format, args...), advice})
}

func (e *examination) port(s State, up bool) {
	port := int(e.a.Settings.Port)
	switch {
	case up && s.Proxy.Running:
		e.good("Proxy", "running at %s (process %d)", s.Proxy.URL, s.Proxy.PID)
		return
	case up && s.Proxy.Problem != "":
		e.bad("Proxy", "Choose another port in the menu, or end the program that has it", "the program runs, the proxy does not: %s", s.Proxy.Problem)
		return
	case up && s.Proxy.Ending:
		e.note("Proxy", "the program is ending: answers under way end first")
		return
	case up:
		e.bad("Proxy", "Run `codex-proxy start`, or start it from the menu", "the program runs, the proxy is stopped")
		return
	}
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err == nil {
		l.Close()
		e.note("Proxy", "not running; port %d is free", port)
		return
	}
	holder, _ := whoListens(port)
	e.bad("Proxy", fmt.Sprintf("End %s, or start Codex Proxy with --port %d", holder, port+1), "not running; port %d is used by %s", port, holder)
}

func (e *examination) loopback(s State, up bool) {
	port := "0"
	if u, err := url.Parse(s.Proxy.URL); up && s.Proxy.Running && err == nil {
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

// detour tells that some tools would send what is for this proxy to the network's: curl, Python's and Node's libraries do.
func (e *examination) detour() {
	set := func(name string) bool { return os.Getenv(name) != "" }
	named := func(name string) bool {
		value := os.Getenv(name)
		return value == "*" || slices.ContainsFunc(strings.Split(value, ","), func(host string) bool { return strings.TrimSpace(host) == "localhost" })
	}
	proxies, exceptions := []string{"http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"}, []string{"no_proxy", "NO_PROXY"}
	i := slices.IndexFunc(proxies, set)
	if i < 0 || slices.ContainsFunc(exceptions, named) {
		return
	}
	e.tell(Finding{Note, "Tools", proxies[i] + " is set here, and some tools send even requests for localhost to it", "Add localhost,127.0.0.1 to the variable NO_PROXY, in lower case too"})
}

// get asks on this machine, without the system's proxy.
func (e *examination) get(address, host string) (int, error) {
	ctx, cancel := context.WithTimeout(e.ctx, 3*time.Second)
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

func (e *examination) signIn(s SignInState) {
	now := time.Now()
	switch s.Status {
	case creds.StatusNone:
		e.bad("Sign-in", cmp.Or(s.Advice, e.a.advice.signIn), "%s", cmp.Or(s.Problem, "none"))
		return
	case creds.StatusSignInAgain:
		e.bad("Sign-in", e.a.advice.signIn, "%s: %s", Name(redact(s.Email), ""), s.Problem)
	case creds.StatusRefreshFailing:
		e.bad("Sign-in", "See the line about the auth server; it is tried again by itself", "%s: %s", Name(redact(s.Email), ""), s.Problem)
	default:
		e.good("Sign-in", "%s, account %s, %s", Name(redact(s.Email), s.Plan), redact(s.AccountID), s.How())
	}
	e.tell(Finding{More, "", fmt.Sprintf("token %s; last refreshed %s; %s, stored in %s", s.Life(now), ago(s.LastRefresh, now), s.Ownership, s.Store), ""})
	if e.a.Settings.CredsStore != "env" && !e.a.Settings.Demo {
		if err := e.a.CanStore(e.ctx); err != nil {
			text, advice := cutAdvice(err)
			e.bad("Store", advice, "what comes by the next refresh could not be stored: %s", text)
		}
	}
	if s.Kind == creds.KindChatGPT {
		return
	}
	cli, err := creds.NewLegacyStore((&creds.Importer{CodexHome: e.a.Settings.CodexHome}).AuthFile()).Load(e.ctx)
	switch {
	case err != nil:
		e.good("Codex CLI", "holds no sign-in in its file")
	case e.a.manager.SharesChain(cli) && s.Ownership == creds.Own:
		e.tell(Finding{Note, "Codex CLI", "holds the same refresh token: whichever of the two refreshes first logs the other out", e.a.advice.signIn + ", so that each program has a sign-in of its own"})
	case e.a.manager.SharesChain(cli):
		e.note("Codex CLI", "holds the same refresh token; the proxy follows the CLI's file as long as the sign-in is shared")
	case s.Ownership == creds.Own && s.ImportedFrom != "" && e.a.manager.SameAccount(cli) && cli.LastRefresh.Before(s.LastRefresh):
		e.note("Codex CLI", "its sign-in was imported: it will one day ask you to sign in again (`codex login`), unless you have done so")
	default:
		e.good("Codex CLI", "has a sign-in of its own")
	}
}

func ago(t, now time.Time) string {
	if t.IsZero() {
		return "at an unknown time"
	}
	return tray.InWords(now.Sub(t)) + " ago"
}

func (e *examination) authServer() {
	address := e.a.Settings.AuthURL + "/.well-known/openid-configuration"
	resp, err := e.fetch(address)
	if u, bad := url.Parse(address); bad == nil && !proxy.Loopback(u.Hostname()) && e.a.asTheDesktop() {
		if _, why := e.a.systemProxy.For(u); errors.Is(why, systemproxy.ErrScript) {
			e.note("Network", "a script chooses this system's proxy, and Codex Proxy does not run it. Set --https-proxy where OpenAI is not reached without")
		}
	}
	if err != nil {
		e.bad("Auth server", reachAdvice, "%s is not reached: %s", e.a.Settings.AuthURL, codex.TransportReason(err))
		return
	}
	e.good("Auth server", "%s answers (%d)%s", e.a.Settings.AuthURL, resp.StatusCode, e.through(address))
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

func (e *examination) fetch(address string) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(e.ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", e.a.identity.UserAgent)
	resp, err := e.a.http.Do(req)
	if err == nil {
		resp.Body.Close()
	}
	return resp, err
}

// through says which of the network's proxies is used, without its password.
func (e *examination) through(address string) string {
	req, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		return ""
	}
	if p, err := e.a.networkProxy(req); err == nil && p != nil {
		return ", through the proxy " + p.Host
	}
	return ""
}

// backend reports whether the list of models is the sign-in's.
func (e *examination) backend(s SignInState) bool {
	address := e.a.Settings.BackendURL
	if s.Kind == creds.KindChatGPT {
		address = e.a.Settings.APIURL
	}
	if !s.Usable {
		resp, err := e.fetch(address)
		if err != nil {
			e.bad("Backend", reachAdvice, "%s is not reached: %s", address, codex.TransportReason(err))
			return false
		}
		e.good("Backend", "%s answers (%d)%s", address, resp.StatusCode, e.through(address))
		return false
	}
	models := e.a.client.Models
	models.Stale()
	if err := models.Fetch(e.ctx, e.a.client); err != nil {
		e.bad("Backend", "Check the network, switch off a VPN, and see the line about the sign-in", "%s gave no list of models (%v)", address, err)
		return false
	}
	e.good("Backend", "%s answers, %d models%s", address, len(models.All()), e.through(address))
	return true
}

// models tells which settings name a model that the account does not have. standard is the default one.
func (e *examination) models(standard string) {
	const advice = "Choose one of /v1/models instead, with the same flag or in Settings"
	if !e.a.client.Models.Offers(standard) {
		e.bad("Model", advice, "%s, for requests that name none (--model), is not offered to this account", standard)
	}
	for _, alias := range slices.Sorted(maps.Keys(e.a.Settings.ModelAlias)) {
		if model := e.a.Settings.ModelAlias[alias]; model != "" && !e.a.client.Models.Offers(alias) {
			e.bad("Model", advice, "%s, for %s (--model-alias), is not offered to this account", model, alias)
		}
	}
}

func (e *examination) keychain() {
	if err := creds.KeychainWorks(e.ctx); err != nil {
		why := err.Error()
		if strings.Contains(why, "dbus") || strings.Contains(why, "dial unix") {
			why = "no keychain service runs in this session"
		}
		e.note("Keychain", "not available (%s); needed only for --creds-store=keychain and for importing from it", why)
		return
	}
	e.good("Keychain", "available")
}

func (e *examination) desktop() {
	if there, why := tray.Host(); !there {
		e.note("Menu", "no icon can be shown: %s. The commands do all that the menu does", why)
		return
	}
	e.good("Menu", "this desktop shows tray icons")
}

func (e *examination) probe() {
	ctx, cancel := context.WithTimeout(e.ctx, time.Minute)
	defer cancel()
	start := time.Now()
	s, err := e.a.client.Stream(ctx, &codex.Request{Effort: "low", Input: []json.RawMessage{codex.Message("user", "Answer with the word yes.")}})
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
	e.bad("Probe", "See the line about the probe", "%v", err)
}

// redact shortens what identifies a person, for a report that is copied into an issue.
func redact(s string) string {
	if name, host, ok := strings.Cut(s, "@"); ok && name != "" {
		return string([]rune(name)[:1]) + "…@" + host
	}
	if letters := []rune(s); len(letters) > 8 {
		return string(letters[:6]) + "…"
	}
	return s
}
