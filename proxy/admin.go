package proxy

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"codex-proxy/creds"
	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/openai"
	"codex-proxy/proxy/reply"
)

// Admin is the API by which a sign-in is put into a proxy that runs elsewhere. It never says anything secret, and takes
// no "Sign in with ChatGPT": see ErrStaysLocal.
type Admin struct {
	Key        string // asked for as bearer token or X-API-Key
	KeyMissing string // what to answer while there is no key: a sentence that says how to set one
	Manager    AdminManager
}

// AdminManager is what Admin needs of creds.Manager.
type AdminManager interface {
	State() creds.State
	Adopt(context.Context, creds.Credentials) error
	Refresh(context.Context) error
	SignOut(context.Context) (revoked, err error)
}

// ErrStaysLocal is why a "Sign in with ChatGPT" is given to no proxy elsewhere: its terms want it stored on the user's own
// machine. Source: OpenAI's terms of Sign in with ChatGPT, section 1, as of 2026-09-29.
var ErrStaysLocal = errors.New("a \"Sign in with ChatGPT\" stays on the machine where it was made, as OpenAI's terms for it want. For a proxy elsewhere, sign in the Codex way")

// AdminCredentials is a sign-in as the admin API takes it and as the Worker stores it.
type AdminCredentials struct {
	AccessToken  string `json:"accessToken"`
	RefreshToken string `json:"refreshToken"`
	ExpiresAt    int64  `json:"expiresAt"`           // milliseconds since 1970
	UserID       string `json:"userID,omitempty"`    // the account of the token
	Workspace    string `json:"workspace,omitempty"` // the account in use, where another one than the token's was chosen

	IDToken string `json:"idToken,omitempty"`
	Kind    string `json:"kind,omitempty"` // "codex", which it also is when this is empty; others are refused
	Refresh int64  `json:"lastRefresh,omitempty"`
}

// EncodeAdmin writes c as the Worker stores it. The zero Credentials become {}.
func EncodeAdmin(c creds.Credentials) []byte {
	a := AdminCredentials{AccessToken: c.AccessToken, RefreshToken: c.RefreshToken, UserID: c.AccountID, IDToken: c.IDToken, Kind: string(c.Kind)}
	if own := a.ownAccount(); own != "" && own != c.AccountID {
		a.UserID, a.Workspace = own, c.AccountID
	}
	if !c.ExpiresAt.IsZero() {
		a.ExpiresAt = c.ExpiresAt.UnixMilli()
	}
	if !c.LastRefresh.IsZero() {
		a.Refresh = c.LastRefresh.UnixMilli()
	}
	raw, err := json.Marshal(a)
	if err != nil {
		panic(err) // strings and numbers only
	}
	return raw
}

// DecodeAdmin reads what EncodeAdmin wrote. A "Sign in with ChatGPT" is ErrStaysLocal.
func DecodeAdmin(raw []byte) (creds.Credentials, error) {
	var a AdminCredentials
	if err := json.Unmarshal(raw, &a); err != nil {
		return creds.Credentials{}, errors.New("not the JSON of a sign-in")
	}
	if (a.AccessToken != "" && !headerWord(a.AccessToken)) || (a.UserID != "" && !headerWord(a.UserID)) || (a.Workspace != "" && !headerWord(a.Workspace)) {
		return creds.Credentials{}, errors.New("a token, the userID or the workspace has characters that can't be sent")
	}
	if c := a.credentials(); !a.local(c) {
		return c, nil
	}
	return creds.Credentials{}, ErrStaysLocal
}

// local reports whether c, which a holds, is a "Sign in with ChatGPT". Whatever kind says, the tokens decide where they
// tell; the Codex kind's access token always does, since it is a JSON web token.
func (a AdminCredentials) local(c creds.Credentials) bool {
	return a.Kind == string(creds.KindChatGPT) || c.Kind == creds.KindChatGPT || (a.AccessToken != "" && strings.Count(a.AccessToken, ".") != 2)
}

func (a AdminCredentials) credentials() creds.Credentials {
	c := creds.FromTokens(a.AccessToken, a.RefreshToken, a.IDToken, cmp.Or(a.Workspace, a.UserID))
	if a.AccessToken == "" && a.RefreshToken == "" {
		return creds.Credentials{}
	}
	if a.ExpiresAt > 0 && c.ExpiresAt.IsZero() {
		c.ExpiresAt = time.UnixMilli(a.ExpiresAt)
	}
	if a.Refresh > 0 {
		c.LastRefresh = time.UnixMilli(a.Refresh)
	}
	return c
}

// ownAccount is the account that the tokens were made for; empty when they don't say.
func (a AdminCredentials) ownAccount() string {
	return creds.FromTokens(a.AccessToken, a.RefreshToken, a.IDToken, "").AccountID
}

// check names the first field that is missing or wrong.
func (a AdminCredentials) check() *codex.Error {
	const (
		anHourAgoInSeconds      = 100_000_000_000     // what is smaller is not in milliseconds
		longAfterInMilliseconds = 100_000_000_000_000 // nor is what is larger
	)
	switch {
	case a.AccessToken == "":
		return codex.Invalid("accessToken", "accessToken is missing")
	case a.RefreshToken == "":
		return codex.Invalid("refreshToken", "refreshToken is missing: without it the sign-in ends with the access token")
	case a.ExpiresAt == 0 && a.credentials().ExpiresAt.IsZero():
		return codex.Invalid("expiresAt", "expiresAt is missing, and the access token does not tell: send it in milliseconds since 1970")
	case !headerWord(a.AccessToken):
		return codex.Invalid("accessToken", "accessToken is no token: it has characters that none has, or is longer than 64 KB")
	case !headerWord(a.RefreshToken):
		return codex.Invalid("refreshToken", "refreshToken is no token: it has characters that none has, or is longer than 64 KB")
	case a.UserID != "" && !headerWord(a.UserID):
		return codex.Invalid("userID", "userID has characters that no account id has, or is longer than 64 KB")
	case a.Workspace != "" && !headerWord(a.Workspace):
		return codex.Invalid("workspace", "workspace has characters that no account id has, or is longer than 64 KB")
	case a.ExpiresAt < 0 || (a.ExpiresAt > 0 && (a.ExpiresAt < anHourAgoInSeconds || a.ExpiresAt > longAfterInMilliseconds)):
		return codex.Invalid("expiresAt", "expiresAt must be in milliseconds since 1970")
	case a.local(a.credentials()):
		return codex.Invalid("accessToken", "This is no access token of a Codex sign-in, and %s", ErrStaysLocal)
	case a.Kind != "" && a.Kind != string(creds.KindCodex):
		return codex.Invalid("kind", "kind must be codex")
	}
	return nil
}

// headerWord reports whether s can be a part of a header's value: visible ASCII without spaces, 64 KB at most.
func headerWord(s string) bool {
	return s != "" && len(s) <= 64<<10 && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f }) < 0
}

// adminStatus is the answer of GET /admin/credentials/status, and of what changes the sign-in.
type adminStatus struct {
	Type             string `json:"type"`
	HasCredentials   bool   `json:"hasCredentials"`
	UserID           string `json:"userID"`
	ExpiresAt        int64  `json:"expiresAt"` // milliseconds since 1970
	MinutesToExpiry  int64  `json:"minutesUntilExpiry"`
	IsExpired        bool   `json:"isExpired"`
	NeedsRefreshSoon bool   `json:"needsRefreshSoon"`
	Warning          string `json:"warning,omitempty"` // what else to know about the change that was made
}

func newAdminStatus(s creds.State, now time.Time) adminStatus {
	a := adminStatus{Type: "oauth", HasCredentials: s.Status != creds.StatusNone, UserID: s.AccountID}
	if !s.ExpiresAt.IsZero() {
		left := s.ExpiresAt.Sub(now)
		a.ExpiresAt, a.MinutesToExpiry = s.ExpiresAt.UnixMilli(), int64(max(left, 0)/time.Minute)
		a.IsExpired, a.NeedsRefreshSoon = left <= 0, left < creds.RefreshAhead(s.Kind)
	}
	return a
}

const whatAdminHas = "Here are: POST and DELETE /admin/credentials, GET /admin/credentials/status, POST /admin/credentials/refresh, GET /admin/status"

// adminRoutes registers what lies below /admin/: after the guard, with a key of its own.
func (s *Server) adminRoutes() {
	if s.cfg.Admin == nil {
		return
	}
	for pattern, act := range map[string]func(http.ResponseWriter, *http.Request) (warning string, e *codex.Error){
		"GET /admin/credentials/status":   func(http.ResponseWriter, *http.Request) (string, *codex.Error) { return "", nil },
		"POST /admin/credentials":         s.adoptCredentials,
		"DELETE /admin/credentials":       s.deleteCredentials,
		"POST /admin/credentials/refresh": s.refreshCredentials,
	} {
		s.open(pattern, s.admin(func(w http.ResponseWriter, r *http.Request) *codex.Error {
			warning, e := act(w, r)
			if e != nil {
				return e
			}
			status := newAdminStatus(s.cfg.Admin.Manager.State(), time.Now())
			status.Warning = warning
			w.Header().Set("Content-Type", "application/json")
			json.NewEncoder(w).Encode(status) //nolint:errcheck // the caller has gone
			return nil
		}))
	}
	s.open("GET /admin/status", s.admin(s.writeOverview))
	for _, pattern := range []string{"/admin", "/admin/"} {
		s.open(pattern, s.admin(func(http.ResponseWriter, *http.Request) *codex.Error {
			return unknownURL("There is nothing at this address. " + whatAdminHas)
		}))
	}
}

// admin asks for the key of the admin API first.
func (s *Server) admin(answer func(http.ResponseWriter, *http.Request) *codex.Error) handler {
	return func(w http.ResponseWriter, r *http.Request) (out reply.Outcome) {
		s.begin(&w.(*exchange).start)
		w.Header().Set("Cache-Control", "no-store")
		if out.Err = s.cfg.Admin.authorize(r); out.Err == nil {
			out.Err = answer(w, r)
		}
		if out.Err != nil {
			openai.WriteError(w, out.Err)
		}
		return out
	}
}

func (a *Admin) authorize(r *http.Request) *codex.Error {
	if a.Key == "" {
		return &codex.Error{Status: http.StatusServiceUnavailable, Type: "server_error", Code: "admin_key_missing", Message: a.KeyMissing}
	}
	for _, presented := range presentedKeys(r) {
		if _, ok := (KeyList{a.Key}).Lookup(presented); ok {
			return nil
		}
	}
	return &codex.Error{Status: http.StatusUnauthorized, Type: "authentication_error", Code: "invalid_admin_key", Message: "The admin API wants its key: Authorization: Bearer KEY, or X-API-Key: KEY"}
}

func (s *Server) adoptCredentials(w http.ResponseWriter, r *http.Request) (warning string, e *codex.Error) {
	body, err := s.readBody(w, r, &w.(*exchange).claim)
	if err != nil {
		return "", s.asError(err)
	}
	var in AdminCredentials
	if err := json.Unmarshal(body, &in); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) && wrong.Field != "" {
			return "", codex.Invalid(wrong.Field, "%s must be a %s", wrong.Field, strings.NewReplacer("int64", "whole number").Replace(wrong.Type.String()))
		}
		return "", codex.Invalid("", "The body must be a JSON object with accessToken, refreshToken and expiresAt")
	}
	if e := in.check(); e != nil {
		return "", e
	}
	if own := in.ownAccount(); own != "" && in.UserID != "" && in.UserID != own {
		warning = fmt.Sprintf("userID is %.80s, but the token was made for the account %s, which is used. To use another of its workspaces, send its id as workspace", in.UserID, own)
		in.UserID = own
	}
	c := in.credentials()
	c.LastRefresh = time.Now().UTC()
	err = s.cfg.Admin.Manager.Adopt(r.Context(), c)
	if errors.Is(err, creds.ErrMixed) {
		return "", codex.Invalid("kind", "These tokens were issued to another program than the Codex CLI")
	}
	if errors.Is(err, creds.ErrOlder) {
		return "", &codex.Error{Status: http.StatusConflict, Type: "invalid_request_error", Code: "older", Message: "Nothing was changed: this refreshToken was used here already, and the sign-in in use came of it. Send a newer one, or none"}
	}
	if errors.Is(err, creds.ErrReadOnly) {
		return "", &codex.Error{Status: http.StatusConflict, Type: "invalid_request_error", Code: "read_only", Message: "Nothing was changed: " + err.Error()}
	}
	var notStored *creds.StoreError
	if err != nil && !errors.As(err, &notStored) && !errors.Is(err, creds.ErrBusy) {
		return "", &codex.Error{Status: http.StatusServiceUnavailable, Type: "server_error", Code: "not_adopted", Message: "Nothing was changed: " + err.Error()}
	}
	if err != nil {
		return "", &codex.Error{Status: http.StatusInternalServerError, Type: "server_error", Code: "not_stored", Message: "The sign-in is in use but could not be stored: " + err.Error()}
	}
	return warning, nil
}

func (s *Server) deleteCredentials(_ http.ResponseWriter, r *http.Request) (warning string, e *codex.Error) {
	revoked, err := s.cfg.Admin.Manager.SignOut(r.Context())
	if err != nil && !errors.Is(err, creds.ErrMissing) && !errors.Is(err, creds.ErrSignedOut) {
		return "", &codex.Error{Status: http.StatusInternalServerError, Type: "server_error", Code: "not_deleted", Message: err.Error()}
	}
	var unread *creds.StoreError
	switch {
	case errors.As(revoked, &unread):
		warning = "The sign-in is deleted, but OpenAI could not be told, since it could not be read (" + unread.Problem() + "): there it ends by itself"
	case revoked != nil:
		warning = fmt.Sprintf("The sign-in is deleted here, but OpenAI could not be told (%v): there it ends by itself", revoked)
	}
	if warning != "" {
		s.cfg.Log.Warn("⚠️ " + warning)
	}
	return warning, nil
}

// refreshCredentials refreshes now.
func (s *Server) refreshCredentials(_ http.ResponseWriter, r *http.Request) (warning string, e *codex.Error) {
	if err := s.cfg.Admin.Manager.Refresh(r.Context()); err != nil {
		return "", notRefreshed(err)
	}
	return "", nil
}

// notRefreshed says why a refresh did not come about: 401 when somebody must sign in, 409 when there is nothing to
// refresh with, 429 when it was asked for too soon, 503 when it may work later.
func notRefreshed(err error) *codex.Error {
	var u *creds.UnavailableError
	var soon *creds.TooSoonError
	var no *creds.NoRefreshTokenError
	switch {
	case errors.As(err, &no):
		return &codex.Error{Status: http.StatusConflict, Type: "invalid_request_error", Code: "no_refresh_token", Message: err.Error()}
	case errors.As(err, &soon):
		return &codex.Error{Status: http.StatusTooManyRequests, Type: "rate_limit_error", Code: "refreshed_too_soon", Message: err.Error(), RetryAfter: soon.Wait}
	case errors.As(err, &u):
		return codex.SignIn(u.Error(), u.RetryAfter)
	}
	return codex.SignIn(err.Error(), time.Second)
}
