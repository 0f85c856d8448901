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
	"strings"
	"time"
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
	Now       func() time.Time
}

// RefreshError is a failed refresh.
type RefreshError struct {
	// Permanent means that this refresh token will never work again: the user must sign in.
	Permanent bool
	// Reused means that somebody else spent the refresh token first.
	Reused bool
	// Unanswered means that the request may have reached the auth server and its answer got lost.
	Unanswered bool
	// Code is the auth server's word for it, or empty.
	Code string
	// Status is the HTTP status, 0 without an answer.
	Status int
	// Cause is the transport's error, or nil.
	Cause error
}

func (e *RefreshError) Error() string {
	switch {
	case e.Cause != nil:
		return fmt.Sprintf("refresh: auth server not reached: %v", e.Cause)
	case e.Code != "":
		return fmt.Sprintf("refresh: auth server answered %d %s", e.Status, e.Code)
	default:
		return fmt.Sprintf("refresh: auth server answered %d", e.Status)
	}
}

func (e *RefreshError) Unwrap() error { return e.Cause }

// Refresh spends c's refresh token and returns the new sign-in. Errors are *RefreshError.
// Source: openai/codex login/src/auth/manager.rs; captured from Codex CLI 0.169.
func (r *Refresher) Refresh(ctx context.Context, c Credentials) (Credentials, error) {
	address, kind, body := r.AuthURL+"/oauth/token", "application/json", mustJSON(map[string]string{
		"client_id": CodexClientID, "grant_type": "refresh_token", "refresh_token": c.RefreshToken,
	})
	if c.Kind == KindChatGPT { // Source: developers.openai.com/siwc/token-reference
		address, kind = r.AuthURL+"/api/accounts/oauth/token", "application/x-www-form-urlencoded"
		body = []byte(url.Values{"grant_type": {"refresh_token"}, "client_id": {c.ClientID}, "refresh_token": {c.RefreshToken}, "resource": {SharedResource}}.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return c, &RefreshError{Cause: err}
	}
	req.Header.Set("Content-Type", kind)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", r.UserAgent)
	resp, err := r.HTTP.Do(req)
	if err != nil {
		return c, &RefreshError{Cause: err, Unanswered: !neverSent(err)}
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if resp.StatusCode != http.StatusOK {
		return c, refused(resp.StatusCode, raw)
	}
	var answer struct {
		IDToken      string `json:"id_token"`
		AccessToken  string `json:"access_token"`
		RefreshToken string `json:"refresh_token"`
		ExpiresIn    int64  `json:"expires_in"` // seconds
	}
	if err == nil {
		err = json.Unmarshal(raw, &answer)
	}
	if err != nil || (answer.AccessToken == "" && answer.RefreshToken == "") {
		return c, &RefreshError{Status: resp.StatusCode, Code: "unreadable_answer", Unanswered: true}
	}
	now := r.Now()
	n := c
	n.AccessToken = first(answer.AccessToken, c.AccessToken)
	n.RefreshToken = first(answer.RefreshToken, c.RefreshToken)
	n.IDToken = first(answer.IDToken, c.IDToken)
	n.LastRefresh = now.UTC()
	if answer.AccessToken != "" {
		n.ExpiresAt = time.Time{}
		if answer.ExpiresIn > 0 {
			n.ExpiresAt = now.Add(time.Duration(answer.ExpiresIn) * time.Second)
		}
	}
	return n.describe(), nil
}

// refused reads the auth server's error, which comes in three shapes: {"error":{"code"}}, {"error":"code"}, {"code"}.
func refused(status int, raw []byte) *RefreshError {
	var flat struct {
		Error json.RawMessage `json:"error"`
		Code  string          `json:"code"`
	}
	var nested struct {
		Code string `json:"code"`
	}
	var word string
	if json.Unmarshal(raw, &flat) == nil {
		if json.Unmarshal(flat.Error, &word) != nil && json.Unmarshal(flat.Error, &nested) == nil {
			word = nested.Code
		}
		word = first(word, flat.Code)
	}
	e := &RefreshError{Status: status, Code: printable(word)}
	e.Reused = e.Code == "refresh_token_reused"
	switch e.Code {
	case "refresh_token_expired", "refresh_token_reused", "refresh_token_invalidated", "invalid_grant":
		e.Permanent = status < 500
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
