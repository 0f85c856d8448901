package fakebackend

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// access is a token that opens the backend, or with public the API of Sign in with ChatGPT.
type access struct {
	end    time.Time
	public bool
}

// chain is the tokens that came from one sign-in.
type chain struct {
	newest    string
	revoked   bool
	client    string // of Sign in with ChatGPT; empty for the Codex client
	nonce     string
	issuer    string // of Sign in with ChatGPT
	account   string // workspace; empty for AccountID
	noAccount bool
}

// Tokens is one set of a chain.
type Tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	ID      string `json:"id_token"`
}

// SignIn starts a chain and returns its first tokens; the access token lives for life.
func (b *Backend) SignIn(life time.Duration) Tokens {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.issueFor(&chain{}, life)
}

// issueFor is called with mu held.
func (b *Backend) issueFor(c *chain, life time.Duration) Tokens {
	end := time.Now().Add(life)
	account := c.account
	if account == "" {
		account = AccountID
	}
	auth := map[string]any{"chatgpt_plan_type": Plan, "chatgpt_user_id": "user-demo"}
	if !c.noAccount {
		auth["chatgpt_account_id"] = account
	}
	id := map[string]any{"exp": end.Unix(), "email": Email, "https://api.openai.com/auth": auth}
	if c.nonce != "" {
		id["nonce"], id["aud"] = c.nonce, c.client
	}
	t := Tokens{
		Access:  jwt(map[string]any{"exp": end.Unix(), "jti": random(), "https://api.openai.com/auth": auth}),
		ID:      jwt(id),
		Refresh: "rt_" + random(),
	}
	if c.issuer != "" {
		id["iss"], id["iat"], id["sub"] = c.issuer, time.Now().Unix(), "user-demo"
		t.ID = signed(id)
	}
	if c.client != "" {
		t.Access = "oaiat_" + random() + random() // opaque
	}
	b.access[t.Access] = access{end: end, public: c.client != ""}
	b.refresh[t.Refresh] = c
	c.newest = t.Refresh
	return t
}

// AuthJSON is t as the Codex CLI stores it.
func (t Tokens) AuthJSON() []byte {
	doc, _ := json.MarshalIndent(map[string]any{
		"auth_mode": "chatgpt", "OPENAI_API_KEY": nil,
		"tokens": map[string]any{
			"id_token": t.ID, "access_token": t.Access, "refresh_token": t.Refresh, "account_id": AccountID,
			"login_owner_id": "owner-demo",
		},
		"last_refresh": time.Now().UTC().Format(time.RFC3339Nano),
	}, "", "  ")
	return doc
}

// Newest is the refresh token that would work now in the chain of t.
func (b *Backend) Newest(t Tokens) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.refresh[t.Refresh]; c != nil {
		return c.newest
	}
	if c := b.spent[t.Refresh]; c != nil {
		return c.newest
	}
	return ""
}

// EndAccess makes every access token issued so far invalid.
func (b *Backend) EndAccess() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.access)
}

// RefuseRefresh makes the next refreshes answer with these, in order: "500", "429", "hang", "drop", or an error code
// such as "refresh_token_invalidated".
func (b *Backend) RefuseRefresh(answers ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refusals = append(b.refusals, answers...)
}

// AllowRefresh forgets what RefuseRefresh has prepared.
func (b *Backend) AllowRefresh() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refusals = nil
}

// token is the auth server's token endpoint. A refresh token that was spent ends its whole chain.
func (b *Backend) token(w http.ResponseWriter, r *http.Request) {
	body, err := b.record(r)
	if err != nil {
		return
	}
	w.Header().Set("Date", time.Now().Add(b.ClockAhead).UTC().Format(http.TimeFormat))
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		if form, err := url.ParseQuery(string(body)); err == nil && form.Get("grant_type") == "authorization_code" {
			b.codeExchange(w, form)
			return
		}
	}
	var in struct {
		ClientID  string `json:"client_id"`
		GrantType string `json:"grant_type"`
		Refresh   string `json:"refresh_token"`
	}
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") || json.Unmarshal(body, &in) != nil ||
		in.GrantType != "refresh_token" || in.ClientID != codexClient || in.Refresh == "" {
		writeJSON(w, 400, map[string]any{"error": map[string]any{"code": "invalid_request", "message": "malformed token request"}})
		return
	}
	b.rotate(w, r, in.Refresh, "", b.AccessLife)
}

// rotate spends a refresh token of a client and answers with the next tokens.
func (b *Backend) rotate(w http.ResponseWriter, r *http.Request, token, client string, life time.Duration) {
	if b.refuse(w, r) {
		return
	}
	b.mu.Lock()
	c, ok := b.refresh[token]
	code := ""
	var t Tokens
	switch {
	case !ok && b.spent[token] != nil:
		b.counts.Reused++
		b.spent[token].revoked = true
		code = "refresh_token_reused"
	case !ok || c.revoked || c.client != client:
		code = "refresh_token_invalidated"
	default:
		delete(b.refresh, token)
		b.spent[token] = c
		t = b.issueFor(c, life)
		b.counts.Refreshes++
	}
	b.mu.Unlock()
	if code != "" {
		writeJSON(w, 401, map[string]any{"error": map[string]any{"code": code, "message": "Your refresh token can't be used."}})
		return
	}
	writeJSON(w, 200, withLife(t, life))
}

// refuse plays the next answer of RefuseRefresh, if there is one.
func (b *Backend) refuse(w http.ResponseWriter, r *http.Request) bool {
	b.mu.Lock()
	if len(b.refusals) == 0 {
		b.mu.Unlock()
		return false
	}
	answer := b.refusals[0]
	b.refusals = b.refusals[1:]
	b.mu.Unlock()
	switch answer {
	case "500":
		http.Error(w, "internal error", 500)
	case "429":
		w.Header().Set("Retry-After", "1")
		writeJSON(w, 429, map[string]any{"error": "rate_limited"})
	case "hang":
		<-r.Context().Done()
	case "slow": // granted after a while, whether or not the caller is still there
		time.Sleep(time.Second)
		return false
	case "drop":
		panic(http.ErrAbortHandler)
	case "invalid_grant":
		writeJSON(w, 400, map[string]any{"error": answer})
	default:
		writeJSON(w, 401, map[string]any{"error": map[string]any{"code": answer, "message": "no"}})
	}
	return true
}

func (b *Backend) revoke(w http.ResponseWriter, r *http.Request) {
	body, err := b.record(r)
	if err != nil {
		return
	}
	var in struct {
		Token string `json:"token"`
	}
	if json.Unmarshal(body, &in) != nil {
		form, _ := url.ParseQuery(string(body))
		in.Token = form.Get("token")
	}
	b.mu.Lock()
	if c := b.refresh[in.Token]; c != nil {
		b.counts.Revoked++
		c.revoked = true
	}
	b.mu.Unlock()
	writeJSON(w, 200, map[string]any{})
}

// authorize checks what every call to the backend must bring. It answers itself when something is missing.
func (b *Backend) authorize(w http.ResponseWriter, r *http.Request) bool {
	if ua := r.UserAgent(); ua == "" || strings.HasPrefix(ua, "Go-http-client") {
		b.challenge(w)
		return false
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	b.mu.Lock()
	a, known := b.access[token]
	refused := b.down
	b.mu.Unlock()
	end := a.end
	if a.public {
		b.count(func(c *Counts) { c.Crossed++ })
	}
	if !known {
		b.hesitate(r)
	}
	switch {
	case !ok || !known || a.public || refused:
		writeJSON(w, 401, map[string]any{"error": map[string]any{"code": "token_invalid", "message": "Provided authentication token is invalid."}})
	case time.Now().After(end):
		writeJSON(w, 401, map[string]any{"error": map[string]any{"code": "token_expired", "message": "Provided authentication token is expired. Please try signing in again."}})
	case r.Header.Get("Chatgpt-Account-Id") != AccountID && r.Header.Get("Chatgpt-Account-Id") != SecondAccountID:
		writeJSON(w, 401, map[string]any{"detail": "Unauthorized: account does not match"})
	case r.Header.Get("Cookie") != "" || r.Header.Get("X-Api-Key") != "":
		writeJSON(w, 400, map[string]any{"detail": "A client's own secrets were sent here"})
	default:
		return true
	}
	return false
}

// challenge is the page of a bot check.
func (b *Backend) challenge(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html; charset=UTF-8")
	w.Header().Set("Cf-Ray", "8f00000000000000-FRA")
	w.WriteHeader(403)
	io.WriteString(w, "<!DOCTYPE html><html><head><title>Just a moment...</title></head><body>cloudflare</body></html>") //nolint:errcheck // gone
}

// jwt is an unsigned token: nobody here verifies one.
func jwt(claims map[string]any) string {
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	enc := base64.RawURLEncoding.EncodeToString
	return enc([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + enc(payload) + "." + enc([]byte("unsigned"))
}

func random() string {
	var b [12]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
