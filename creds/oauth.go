package creds

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"
)

// CodexClientID is the OAuth client of the sign-ins that the Codex CLI makes; a refresh must name the client that
// the tokens were issued to. Source: openai/codex login/src/auth/manager.rs.
const CodexClientID = "app_EMoamEEZ73f0CkXaXp7hrann"

// SharedResource is what a "Sign in with ChatGPT" asks leave for: OpenAI's public API.
const SharedResource = "https://api.openai.com/v1"

// Doer sends requests. *http.Client is one; the Worker has another, since http.Client doubles a WebAssembly program.
type Doer interface {
	Do(*http.Request) (*http.Response, error)
}

// A Refresher spends a refresh token at the auth server. Safe for concurrent use.
type Refresher struct {
	HTTP      Doer
	AuthURL   string // the auth server's origin, without a slash at the end
	UserAgent string
	Now       func() time.Time // this machine's clock; nil for time.Now
}

// RefreshError is a failed refresh.
type RefreshError struct {
	// Permanent means that this refresh token will never work again: the user must sign in.
	Permanent bool
	// Reused means that the refresh token was spent before.
	Reused bool
	// Lost means that it was this program that spent it, and that the answer was lost.
	Lost bool
	// Unanswered means that the request may have been carried out and its answer got lost.
	Unanswered bool
	// Code is the auth server's word for it, or empty.
	Code string
	// Status is the HTTP status, 0 without an answer.
	Status int
	// RetryAfter is how long the auth server asks to wait, or zero.
	RetryAfter time.Duration
	// Cause is the transport's error, or nil.
	Cause error

	guessed bool // Permanent, by a word that is not known
}

func (e *RefreshError) Error() string {
	switch {
	case e.Cause != nil && e.Unanswered:
		return fmt.Sprintf("refresh: the auth server's answer did not arrive: %v", e.Cause)
	case e.Cause != nil:
		return fmt.Sprintf("refresh: auth server not reached: %v", e.Cause)
	case e.Code != "":
		return fmt.Sprintf("refresh: auth server answered %d %s", e.Status, e.Code)
	default:
		return fmt.Sprintf("refresh: auth server answered %d", e.Status)
	}
}

func (e *RefreshError) Unwrap() error { return e.Cause }

// Refresh spends c's refresh token and returns the new sign-in. A field that is missing in the answer, or is not what it
// should be, keeps its old value; whatever refresh token came is in the result. server is the auth server's time, zero
// when it did not say, also with an error. Errors are *RefreshError.
// Source: openai/codex login/src/auth/manager.rs; captured from Codex CLI 0.169.
func (r *Refresher) Refresh(ctx context.Context, c Credentials) (n Credentials, server time.Time, err error) {
	address, kind, body := r.AuthURL+"/oauth/token", "application/json", mustJSON(map[string]string{
		"client_id": CodexClientID, "grant_type": "refresh_token", "refresh_token": c.RefreshToken,
	})
	if c.Kind == KindChatGPT { // Source: developers.openai.com/siwc/token-reference
		address, kind = r.AuthURL+"/api/accounts/oauth/token", "application/x-www-form-urlencoded"
		body = []byte(url.Values{"grant_type": {"refresh_token"}, "client_id": {c.ClientID}, "refresh_token": {c.RefreshToken}, "resource": {SharedResource}}.Encode())
	}
	ctx, unconnected := watchConnection(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return c, server, &RefreshError{Cause: err}
	}
	req.Header.Set("Content-Type", kind)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", r.UserAgent)
	resp, err := r.HTTP.Do(req)
	if err != nil {
		return c, server, &RefreshError{Cause: err, Unanswered: !neverSent(err) && !unconnected()}
	}
	defer resp.Body.Close()
	server, _ = http.ParseTime(resp.Header.Get("Date"))
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20)) // after an error, what came may hold the token
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		e := refused(resp.StatusCode, raw)
		e.RetryAfter = retryAfter(resp.Header.Get("Retry-After"), server)
		return c, server, e
	}
	access, refresh := text(raw, "access_token"), text(raw, "refresh_token")
	cut := !gjson.ValidBytes(raw)
	if err == nil && cut && access != "" {
		err = io.ErrUnexpectedEOF
	}
	if refresh == "" && (cut || access == "") { // without a refresh token, whole answers only mean that the old one stays
		return c, server, &RefreshError{Status: resp.StatusCode, Code: "unreadable_answer", Unanswered: true, Cause: err}
	}
	if server.IsZero() { // a token that was made for this answer tells the time, too
		if made, err := parseClaims(access); err == nil {
			server = made.issued()
		}
	}
	n, now := c, r.now()
	if !server.IsZero() && now.Sub(server).Abs() > clockTolerance {
		now = server // which tells whole seconds only
	}
	n.AccessToken = first(access, c.AccessToken)
	n.RefreshToken = first(refresh, c.RefreshToken)
	n.IDToken = first(text(raw, "id_token"), c.IDToken)
	n.Scope = first(text(raw, "scope"), c.Scope)
	n.LastRefresh = now.UTC()
	if access != "" {
		n.ExpiresAt = time.Time{}
		if life := gjson.GetBytes(raw, "expires_in").Float(); life > 0 && life < 1e9 { // seconds, also as text
			n.ExpiresAt = now.Add(time.Duration(life * float64(time.Second)))
		}
	}
	return n.describe(), server, nil
}

// retryAfter reads the header, in seconds or as a date of the server's; an hour at most. Source: RFC 9110, 10.2.3.
func retryAfter(value string, server time.Time) time.Duration {
	wait := time.Duration(0)
	if seconds, err := strconv.Atoi(value); err == nil {
		wait = time.Duration(min(seconds, 3600)) * time.Second
	} else if until, err := http.ParseTime(value); err == nil && !server.IsZero() {
		wait = until.Sub(server)
	}
	return max(0, min(wait, time.Hour))
}

func (r *Refresher) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now()
}

// text is a field that is text which can be sent in a header, or empty. The document may be cut off.
func text(raw []byte, field string) string {
	value := gjson.GetBytes(raw, field)
	if value.Type != gjson.String || strings.IndexFunc(value.Str, func(r rune) bool { return r < ' ' || r > '~' }) >= 0 {
		return ""
	}
	return value.Str
}

// refused reads the auth server's error, which comes in three shapes: {"error":{"code"}}, {"error":"code"}, {"code"}.
func refused(status int, raw []byte) *RefreshError {
	doc := gjson.ParseBytes(raw)
	word := first(doc.Get("error.code").String(), doc.Get("code").String())
	if flat := doc.Get("error"); flat.Type == gjson.String {
		word = flat.Str
	}
	e := &RefreshError{Status: status, Code: printable(word)}
	e.Reused = e.Code == "refresh_token_reused"
	switch e.Code {
	case "invalid_grant", "invalid_refresh_token", "token_expired", "refresh_token_expired", "refresh_token_invalidated", "refresh_token_reused", "invalid_client", "app_session_expired":
		e.Permanent = status < 500
	case "", "temporarily_unavailable", "server_error":
	default: // Source: openai/codex login/src/auth/manager.rs, request_chatgpt_token_refresh
		e.Permanent, e.guessed = status == http.StatusUnauthorized, true
	}
	switch {
	case status < 400, status == http.StatusBadGateway, status == http.StatusGatewayTimeout, status == 520, status == 524:
		e.Unanswered = !e.Permanent // something in between answered, and the auth server may have spent the token
	}
	return e
}

// neverSent reports whether the request surely did not reach the server.
func neverSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial" || badCertificate(err)
}

// printable keeps a server's word for our logs: short, and nothing that could be a secret.
func printable(word string) string {
	if len(word) > 64 {
		return ""
	}
	for _, r := range word {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-' && r != '.' {
			return ""
		}
	}
	return word
}

// Revoke ends a sign-in at the auth server. Errors may be ignored: the tokens then end by themselves.
// Source: captured from Codex CLI 0.169; OpenID Connect Discovery 1.0.
func (r *Refresher) Revoke(ctx context.Context, c Credentials) error {
	token := first(c.RefreshToken, c.AccessToken)
	if c.Kind != KindChatGPT {
		status, _, err := postJSON(ctx, r.HTTP, r.AuthURL+"/oauth/revoke", r.UserAgent,
			map[string]string{"token": token, "token_type_hint": "refresh_token", "client_id": CodexClientID})
		return revoked(status, err)
	}
	var found struct {
		Revocation string `json:"revocation_endpoint"`
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.AuthURL+"/.well-known/openid-configuration", nil)
	if err != nil {
		return err
	}
	status, raw, err := send(r.HTTP, req, r.UserAgent)
	if err := revoked(status, err); err != nil {
		return err
	}
	if json.Unmarshal(raw, &found) != nil || !strings.HasPrefix(found.Revocation, r.AuthURL+"/") {
		return errors.New("the auth server names no place to revoke a sign-in")
	}
	form := url.Values{"token": {token}, "token_type_hint": {"refresh_token"}, "client_id": {c.ClientID}}
	req, err = http.NewRequestWithContext(ctx, http.MethodPost, found.Revocation, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	status, _, err = send(r.HTTP, req, r.UserAgent)
	return revoked(status, err)
}

func revoked(status int, err error) error {
	if err == nil && status != http.StatusOK && status != http.StatusNoContent {
		err = fmt.Errorf("the auth server answered %d", status)
	}
	return err
}

// postJSON sends a small request to the auth server and returns its answer.
func postJSON(ctx context.Context, client Doer, address, userAgent string, in any) (status int, answer []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(mustJSON(in)))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	return send(client, req, userAgent)
}

func send(client Doer, req *http.Request, userAgent string) (status int, answer []byte, err error) {
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", userAgent)
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, answer, err
}

func mustJSON(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings only
	}
	return raw
}
