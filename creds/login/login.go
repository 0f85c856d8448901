//go:build !js

// Package login brings a sign-in here: by the user's browser, or by a code that is typed into a browser anywhere.
package login

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"codex-proxy/creds"
)

// The names and scopes of "Sign in with ChatGPT" for apps on the user's own machine.
// Source: developers.openai.com/siwc/token-sharing-open-source.
const (
	siwcNewApp = "dynamic_agent_client" // the client id of an app that has none yet
	siwcName   = "Codex Proxy"

	callbackPath    = "/auth/callback"
	exchangeTimeout = 30 * time.Second
	clockMost       = 5 * time.Minute // by how much this machine's clock may differ from the auth server's
)

var (
	siwcScopes  = []string{"openid", "profile", "email", "offline_access", "resource.invoke", "chatgpt.tokens.use.direct"}
	codexScopes = []string{"openid", "profile", "email", "offline_access", "api.connectors.read", "api.connectors.invoke"}
	codexPorts  = []int{1455, 1457} // registered for the Codex client
)

// Error is a sign-in that did not come about. Nothing was stored.
type Error struct {
	Code string // denied, timeout, port, clock, no_account, device_expired, refused, unreachable
	Text string // a sentence that ends in what to do
}

func (e *Error) Error() string { return e.Text }

// Login signs the user in. Its fields are set before use.
type Login struct {
	HTTP       *http.Client
	AuthURL    string // the auth server's origin, without a slash at the end
	UserAgent  string
	Originator string // names this program to the auth server
	HostID     string // urn:uuid:…, the same at each sign-in of this installation
	ClientID   string // the app's id from an earlier sign-in with ChatGPT, or empty
	Workspace  string // account id to sign in to, or empty for the user's choice
	Now        func() time.Time
	// Registrations keep the app's ids of "Sign in with ChatGPT" for the next sign-in; nil to keep none.
	Registrations *Registrations
	AskAgain      bool // ask for leave that was not given before; only with ChatGPT
	// Show is called once, from a goroutine of its own, with the page that the user must open. It may take its time.
	Show func(address string)
}

// ChatGPT signs in by "Sign in with ChatGPT": the user's plan, through OpenAI's public API. The browser is told of
// success only after the id token has been verified. What the auth server granted is in the Scope: see
// creds.Credentials.IdentityOnly. Errors are *Error or ctx's.
func (l *Login) ChatGPT(ctx context.Context) (creds.Credentials, error) {
	nonce := randomText()
	known := Registration{ClientID: l.ClientID, HostID: l.HostID}
	if known.ClientID == "" {
		if r, ok := l.Registrations.last(); ok {
			known = r
		}
	}
	config := oauth2.Config{
		ClientID: first(known.ClientID, siwcNewApp),
		Endpoint: oauth2.Endpoint{AuthURL: l.AuthURL + "/api/accounts/authorize", TokenURL: l.AuthURL + "/api/accounts/oauth/token", AuthStyle: oauth2.AuthStyleInParams},
		Scopes:   siwcScopes,
	}
	authorize := []oauth2.AuthCodeOption{param("nonce", nonce), param("resource", creds.SharedResource), param("ext_agent_host_id", known.HostID)}
	if known.ClientID == "" {
		authorize = append(authorize, param("agent_name_hint", siwcName))
	}
	if l.AskAgain {
		authorize = append(authorize, param("prompt", "consent"))
	}
	var c creds.Credentials
	err := l.browser(ctx, config, []int{0}, authorize, []oauth2.AuthCodeOption{param("resource", creds.SharedResource)},
		func(token *oauth2.Token, clientID string) error {
			raw, _ := token.Extra("id_token").(string)
			id, err := l.verify(ctx, raw, clientID, nonce)
			if err != nil {
				return err
			}
			c = creds.FromTokens(token.AccessToken, token.RefreshToken, raw, "")
			c.Kind, c.ClientID, c.LastRefresh = creds.KindChatGPT, clientID, l.Now().UTC()
			c.Scope, _ = token.Extra("scope").(string)
			if c.ExpiresAt.IsZero() {
				c.ExpiresAt = token.Expiry
			}
			if err := c.Check(); err != nil {
				return &Error{"refused", "The tokens were issued to another program. Sign in again"}
			}
			l.Registrations.keep(Registration{ClientID: clientID, HostID: known.HostID, Subject: id.Subject})
			return nil
		})
	if err != nil {
		return creds.Credentials{}, err
	}
	return c, nil
}

// verify checks an id token: the signature by the keys that the auth server publishes, and its issuer, audience, expiry,
// nonce and subject. Source: OpenID Connect Core 1.0, 3.1.3.7.
func (l *Login) verify(ctx context.Context, raw, clientID, nonce string) (*oidc.IDToken, error) {
	client := *l.HTTP
	client.Transport, client.Timeout = &clockReader{next: l.HTTP.Transport, userAgent: l.UserAgent}, exchangeTimeout
	ctx = oidc.ClientContext(ctx, &client)
	refused := &Error{"refused", "The answer could not be verified: it may not come from OpenAI, or not belong to this sign-in. Sign in again"}
	provider, err := oidc.NewProvider(ctx, l.AuthURL)
	if err != nil {
		return nil, &Error{"unreachable", "The auth server's keys could not be read, so that its answer is not verified. Check the network, then sign in again"}
	}
	id, err := provider.Verifier(&oidc.Config{ClientID: clientID, Now: l.Now}).Verify(ctx, raw)
	if err != nil || id.Subject == "" || subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(nonce)) != 1 {
		return nil, refused
	}
	return id, nil
}

// Codex signs in as the Codex CLI does, for the Codex backend. Errors are *Error or ctx's.
// Source: captured from Codex CLI 0.169.
func (l *Login) Codex(ctx context.Context) (creds.Credentials, error) {
	authorize := []oauth2.AuthCodeOption{param("id_token_add_organizations", "true"), param("codex_cli_simplified_flow", "true"), param("originator", l.Originator)}
	if l.Workspace != "" {
		authorize = append(authorize, param("allowed_workspace_id", l.Workspace))
	}
	var c creds.Credentials
	err := l.browser(ctx, l.codexConfig(), codexPorts, authorize, nil, func(token *oauth2.Token, _ string) (err error) {
		c, err = l.codexSignIn(token)
		return err
	})
	return c, err
}

func (l *Login) codexConfig() oauth2.Config {
	return oauth2.Config{
		ClientID: creds.CodexClientID,
		Endpoint: oauth2.Endpoint{AuthURL: l.AuthURL + "/oauth/authorize", TokenURL: l.AuthURL + "/oauth/token", AuthStyle: oauth2.AuthStyleInParams},
		Scopes:   codexScopes,
	}
}

func (l *Login) codexSignIn(token *oauth2.Token) (creds.Credentials, error) {
	id, _ := token.Extra("id_token").(string)
	c := creds.FromTokens(token.AccessToken, token.RefreshToken, id, "")
	c.LastRefresh = l.Now().UTC()
	if c.ExpiresAt.IsZero() {
		c.ExpiresAt = token.Expiry
	}
	switch {
	case c.AccountID == "":
		return creds.Credentials{}, &Error{"no_account", "The sign-in came without a ChatGPT account. Open chatgpt.com once with this login, choose a workspace, then sign in again"}
	case l.Workspace != "" && c.AccountID != l.Workspace:
		return creds.Credentials{}, &Error{"no_account", "You signed in to another workspace than " + l.Workspace + ". Choose that one in the browser, or leave --workspace out"}
	}
	return c, nil
}

func param(name, value string) oauth2.AuthCodeOption { return oauth2.SetAuthURLParam(name, value) }

// browser runs an authorization code grant with PKCE through the user's browser. accept judges the tokens, which were
// issued to clientID, before the browser is told how it went.
// Source: RFC 8252 (loopback redirect), RFC 7636 (PKCE).
func (l *Login) browser(ctx context.Context, config oauth2.Config, ports []int, authorize, exchange []oauth2.AuthCodeOption, accept func(token *oauth2.Token, clientID string) error) error {
	listener, err := listenFirst(ports)
	if err != nil {
		return err
	}
	config.RedirectURL = "http://" + listener.Addr().String() + callbackPath
	verifier, state := oauth2.GenerateVerifier(), randomText()
	callback := newCallback(state, listener)
	defer callback.close()
	go l.Show(config.AuthCodeURL(state, append(authorize, oauth2.S256ChallengeOption(verifier))...)) // it may take its time

	select {
	case answer := <-callback.answer:
		err := l.answered(ctx, &config, answer, append(exchange, oauth2.VerifierOption(verifier)), accept)
		if err != nil && ctx.Err() != nil {
			err = ctx.Err()
		}
		callback.finish(err)
		return err
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return &Error{"timeout", "Nobody signed in in time. Sign in again, and open the address that is shown"}
		}
		return ctx.Err()
	}
}

// answered makes tokens of what the browser brought.
func (l *Login) answered(ctx context.Context, config *oauth2.Config, answer url.Values, exchange []oauth2.AuthCodeOption, accept func(*oauth2.Token, string) error) error {
	switch problem := answer.Get("error"); {
	case problem == "access_denied":
		return &Error{"denied", "The sign-in was denied in the browser. Sign in again and choose Allow"}
	case problem != "":
		return &Error{"refused", "The auth server refused the sign-in (" + first(printable(problem), "no reason") + "). Sign in again"}
	}
	if config.ClientID != creds.CodexClientID {
		issued := printable(answer.Get("client_id"))
		switch {
		case config.ClientID == siwcNewApp && (issued == "" || issued == siwcNewApp):
			return &Error{"refused", "The auth server did not register this program. Sign in again"}
		case config.ClientID != siwcNewApp && issued != "" && issued != config.ClientID:
			return &Error{"refused", "The answer is for another program. Sign in again"}
		case config.ClientID == siwcNewApp:
			config.ClientID = issued
		}
	}
	token, err := l.exchange(ctx, config, answer.Get("code"), exchange)
	if err != nil {
		return err
	}
	return accept(token, config.ClientID)
}

// exchange redeems a code, and makes sure that the two clocks agree: with one that is wrong, every token would look
// ended, or good for too long.
func (l *Login) exchange(ctx context.Context, config *oauth2.Config, code string, options []oauth2.AuthCodeOption) (*oauth2.Token, error) {
	clock := &clockReader{next: l.HTTP.Transport, userAgent: l.UserAgent}
	client := *l.HTTP
	client.Transport, client.Timeout = clock, exchangeTimeout
	token, err := config.Exchange(context.WithValue(ctx, oauth2.HTTPClient, &client), code, options...)
	var refused *oauth2.RetrieveError
	switch {
	case errors.As(err, &refused):
		return nil, &Error{"refused", fmt.Sprintf("The auth server refused the sign-in (%d %s). Sign in again", refused.Response.StatusCode, printable(refused.ErrorCode))}
	case err != nil && ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, &Error{"unreachable", "The auth server could not be reached. Check the network and the proxy settings, then sign in again"}
	case token.RefreshToken == "":
		return nil, &Error{"refused", "The auth server gave no refresh token. Sign in again"}
	}
	if off := clock.ahead(l.Now()); off > clockMost || off < -clockMost {
		way := "ahead of"
		if off < 0 {
			way, off = "behind", -off
		}
		return nil, &Error{"clock", fmt.Sprintf("This machine's clock is %s %s OpenAI's. Set the clock, then sign in again", off.Round(time.Minute), way)}
	}
	return token, nil
}

// clockReader remembers what time it is at the server.
type clockReader struct {
	next      http.RoundTripper
	userAgent string
	date      time.Time
}

func (c *clockReader) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("User-Agent", c.userAgent)
	next := c.next
	if next == nil {
		next = http.DefaultTransport
	}
	resp, err := next.RoundTrip(r)
	if err == nil {
		c.date, _ = http.ParseTime(resp.Header.Get("Date"))
	}
	return resp, err
}

// ahead is how far now is ahead of the server's clock.
func (c *clockReader) ahead(now time.Time) time.Duration {
	if c.date.IsZero() {
		return 0
	}
	return now.Sub(c.date)
}

func listenFirst(ports []int) (net.Listener, error) {
	for _, port := range ports {
		if l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			return l, nil
		}
	}
	return nil, &Error{"port", fmt.Sprintf("The ports for the browser's answer (%d and %d) are taken by another program, perhaps a sign-in that is still waiting. End it, or use --device", codexPorts[0], codexPorts[1])}
}

// callback is the page to which the auth server sends the browser back. It takes one answer.
type callback struct {
	state  string
	host   string
	server *http.Server
	answer chan url.Values
	once   sync.Once
	result chan error
}

func newCallback(state string, listener net.Listener) *callback {
	c := &callback{state: state, host: listener.Addr().String(), answer: make(chan url.Values, 1), result: make(chan error, 1)}
	c.server = &http.Server{Handler: c, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 64 << 10}
	go c.server.Serve(listener) //nolint:errcheck // ends with close
	return c
}

func (c *callback) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	if r.URL.Path != callbackPath {
		http.NotFound(w, r)
		return
	}
	q := r.URL.Query()
	if r.Method != http.MethodGet || r.Host != c.host || subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(c.state)) != 1 ||
		(q.Get("code") == "" && q.Get("error") == "") {
		page(w, http.StatusBadRequest, "This is not the answer that Codex Proxy waits for", "Go back to the page where you signed in, or sign in again.")
		return
	}
	taken := false
	c.once.Do(func() { taken = true; c.answer <- q })
	if !taken {
		page(w, http.StatusBadRequest, "This sign-in is over", "You can close this page.")
		return
	}
	if q.Get("error") != "" {
		page(w, http.StatusOK, "Not signed in", "Codex Proxy got no leave to use your plan. You can close this page.")
		return
	}
	select {
	case err := <-c.result:
		if errors.Is(err, context.Canceled) {
			page(w, http.StatusOK, "Not signed in", "The sign-in was cancelled. You can close this page.")
			return
		}
		if err != nil {
			page(w, http.StatusOK, "Not signed in", html.EscapeString(err.Error())+".")
			return
		}
		page(w, http.StatusOK, "You are signed in", "Codex Proxy has what it needs. You can close this page.")
	case <-r.Context().Done():
	}
}

func (c *callback) finish(err error) { c.result <- err }

// close lets the browser's page load, and ends the listener.
func (c *callback) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if c.server.Shutdown(ctx) != nil {
		c.server.Close()
	}
}

// page writes a page for people. text is HTML.
func page(w http.ResponseWriter, status int, title, text string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprintf(w, `<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>%[1]s</title><style>
body{font:16px/1.5 system-ui,sans-serif;max-width:32rem;margin:20vh auto;padding:0 1rem;color:#222;background:#fff}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}}</style></head><body><h1>%[1]s</h1><p>%[2]s</p></body></html>`, title, text)
}

func randomText() string {
	var b [32]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// DeviceCode is what the user types on another machine.
type DeviceCode struct {
	Address string // page to open
	Code    string
	Expires time.Time
}

// Device signs in by a code that the user types into a browser anywhere. show is called with it, from a goroutine of
// its own; waiting, once for
// each time that the answer is still out. Errors are *Error or ctx's. Source: captured from Codex CLI 0.169.
func (l *Login) Device(ctx context.Context, show func(DeviceCode), waiting func()) (creds.Credentials, error) {
	var code struct {
		ID       string          `json:"device_auth_id"`
		UserCode string          `json:"user_code"`
		Interval json.RawMessage `json:"interval"` // seconds, as a string
		Expires  time.Time       `json:"expires_at"`
	}
	status, err := l.postJSON(ctx, "/api/accounts/deviceauth/usercode", map[string]string{"client_id": creds.CodexClientID}, &code)
	switch {
	case err != nil:
		return creds.Credentials{}, err
	case status == http.StatusNotFound:
		return creds.Credentials{}, &Error{"refused", "Sign-in by device code is switched off for this account. Switch it on in ChatGPT's security settings, or sign in by the browser"}
	case status != http.StatusOK || code.ID == "" || code.UserCode == "":
		return creds.Credentials{}, &Error{"refused", fmt.Sprintf("The auth server gave no device code (status %d). Try again in a minute", status)}
	}
	interval, _ := strconv.Atoi(string(trimQuotes(code.Interval)))
	wait := time.Duration(min(max(interval, 1), 30)) * time.Second
	if code.Expires.IsZero() {
		code.Expires = l.Now().Add(15 * time.Minute)
	}
	go show(DeviceCode{Address: l.AuthURL + "/codex/device", Code: code.UserCode, Expires: code.Expires})
	for {
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return creds.Credentials{}, errDeviceExpired
			}
			return creds.Credentials{}, ctx.Err()
		case <-time.After(wait):
		}
		var granted struct {
			Code     string `json:"authorization_code"`
			Verifier string `json:"code_verifier"`
			Error    struct {
				Code string `json:"code"`
			} `json:"error"`
		}
		status, err := l.postJSON(ctx, "/api/accounts/deviceauth/token", map[string]string{"device_auth_id": code.ID, "user_code": code.UserCode}, &granted)
		var broken *Error
		switch {
		case errors.As(err, &broken) && broken.Code == "unreachable", status >= 500, status == http.StatusTooManyRequests:
			waiting() // the network may come back
			continue
		case err != nil:
			return creds.Credentials{}, err
		case status == http.StatusOK && granted.Code != "":
			config := l.codexConfig()
			config.RedirectURL = l.AuthURL + "/deviceauth/callback"
			token, err := l.exchange(ctx, &config, granted.Code, []oauth2.AuthCodeOption{oauth2.VerifierOption(granted.Verifier)})
			if err != nil {
				return creds.Credentials{}, err
			}
			return l.codexSignIn(token)
		case granted.Error.Code == "access_denied":
			return creds.Credentials{}, &Error{"denied", "The sign-in was denied in the browser. Sign in again and choose Continue"}
		case l.Now().After(code.Expires), status == http.StatusGone, granted.Error.Code == "deviceauth_expired", granted.Error.Code == "expired_token":
			return creds.Credentials{}, errDeviceExpired
		case status == http.StatusForbidden || status == http.StatusNotFound:
			waiting()
		default:
			return creds.Credentials{}, &Error{"refused", fmt.Sprintf("The auth server refused the device code (%d %s). Sign in again", status, printable(granted.Error.Code))}
		}
	}
}

var errDeviceExpired = &Error{"device_expired", "The code has expired. Sign in again for a new one"}

func trimQuotes(raw []byte) []byte {
	if len(raw) >= 2 && raw[0] == '"' {
		return raw[1 : len(raw)-1]
	}
	return raw
}

func (l *Login) postJSON(ctx context.Context, path string, in, out any) (int, error) {
	status, raw, err := l.post(ctx, path, in)
	if err != nil {
		if ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return 0, ctx.Err()
		}
		return 0, &Error{"unreachable", "The auth server could not be reached. Check the network and the proxy settings, then sign in again"}
	}
	json.Unmarshal(raw, out) //nolint:errcheck // what is missing is noticed
	return status, nil
}

func (l *Login) post(ctx context.Context, path string, in any) (status int, answer []byte, err error) {
	body, err := json.Marshal(in)
	if err != nil {
		return 0, nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.AuthURL+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", l.UserAgent)
	resp, err := l.HTTP.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, answer, err
}

// printable keeps a server's word for people: short, and nothing that could be a secret.
func printable(word string) string {
	odd := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-' && r != '.'
	}
	if len(word) > 64 || strings.IndexFunc(word, odd) >= 0 {
		return ""
	}
	return word
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
