package fakebackend

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// The clients of the auth server.
const (
	codexClient   = "app_EMoamEEZ73f0CkXaXp7hrann"
	dynamicClient = "dynamic_agent_client" // stands for a client that is yet to be registered
	siwcResource  = "https://api.openai.com/v1"
	siwcLife      = time.Hour
)

// SecondAccountID is a workspace that the same person may choose.
const SecondAccountID = "acct-team"

// grant is an authorization code that waits to be exchanged.
type grant struct {
	client, redirect, challenge, nonce, resource, account string
}

// device is a pending sign-in by device code.
type device struct {
	userCode string
	code     string // set once the user has agreed
	verifier string
	polls    int
	denied   bool
	expired  bool
}

func (b *Backend) loginRoutes() {
	b.mux.HandleFunc("GET /.well-known/openid-configuration", b.discovery)
	b.mux.HandleFunc("GET /.well-known/jwks.json", b.keys)
	b.mux.HandleFunc("GET /api/accounts/authorize", b.authorizePage)
	b.mux.HandleFunc("GET /oauth/authorize", b.authorizePage)
	b.mux.HandleFunc("POST /decide", b.decide)
	b.mux.HandleFunc("POST /api/accounts/oauth/token", b.siwcToken)
	b.mux.HandleFunc("POST /api/accounts/oauth/revoke", b.revoke)
	b.mux.HandleFunc("POST /api/accounts/deviceauth/usercode", b.deviceCode)
	b.mux.HandleFunc("POST /api/accounts/deviceauth/token", b.devicePoll)
	b.mux.HandleFunc("GET /codex/device", b.devicePage)
	b.mux.HandleFunc("POST /codex/device", b.deviceDecide)
}

func (b *Backend) discovery(w http.ResponseWriter, r *http.Request) {
	origin := "http://" + r.Host
	writeJSON(w, 200, map[string]any{
		"issuer":                 origin,
		"authorization_endpoint": origin + "/api/accounts/authorize",
		"token_endpoint":         origin + "/api/accounts/oauth/token",
		"revocation_endpoint":    origin + "/api/accounts/oauth/revoke",
		"jwks_uri":               origin + "/.well-known/jwks.json",

		"id_token_signing_alg_values_supported": []string{"RS256"},
	})
}

var authorizeTemplate = template.Must(template.New("").Parse(`<!DOCTYPE html><html><head><title>Sign in (demo)</title></head><body>
<h1>Sign in to {{.name}}</h1><form method="post" action="/decide"><input type="hidden" name="query" value="{{.query}}"><input type="hidden" name="path" value="{{.path}}">
<button id="allow" name="answer" value="allow">Allow</button> <button id="deny" name="answer" value="deny">Deny</button></form></body></html>`))

// authorizePage checks the request as the auth server does, and asks the user.
func (b *Backend) authorizePage(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if problem := b.checkAuthorize(r.URL.Path, q); problem != "" {
		http.Error(w, problem, http.StatusBadRequest)
		return
	}
	name := q.Get("agent_name_hint")
	if name == "" {
		name = "Codex"
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	authorizeTemplate.Execute(w, map[string]string{"name": name, "query": r.URL.RawQuery, "path": r.URL.Path}) //nolint:errcheck // gone
}

func (b *Backend) checkAuthorize(path string, q url.Values) string {
	redirect, err := url.Parse(q.Get("redirect_uri"))
	switch {
	case err != nil || redirect.Path != "/auth/callback" || redirect.Scheme != "http" || redirect.Port() == "":
		return "redirect_uri is not allowed"
	case q.Get("response_type") != "code" || q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43 || len(q.Get("state")) < 20:
		return "PKCE and state are required"
	}
	scopes := strings.Fields(q.Get("scope"))
	if path == "/oauth/authorize" {
		switch {
		case q.Get("client_id") != codexClient:
			return "unknown client"
		case redirect.Port() != "1455" && redirect.Port() != "1457", redirect.Hostname() != "127.0.0.1" && redirect.Hostname() != "localhost":
			return "redirect_uri is not registered"
		case !slices.Contains(scopes, "offline_access") || q.Get("originator") == "":
			return "scope and originator are required"
		}
		return ""
	}
	b.mu.Lock()
	known := q.Get("client_id") == dynamicClient || b.clients[q.Get("client_id")]
	b.mu.Unlock()
	switch {
	case !known:
		return "unknown client"
	case redirect.Hostname() != "127.0.0.1":
		return "redirect_uri must be on 127.0.0.1"
	case !slices.Contains(scopes, "chatgpt.tokens.use.direct") || !slices.Contains(scopes, "resource.invoke") || !slices.Contains(scopes, "openid"):
		return "scope is incomplete"
	case q.Get("resource") != siwcResource:
		return "resource is required"
	case q.Get("nonce") == "" || !strings.HasPrefix(q.Get("ext_agent_host_id"), "urn:uuid:"):
		return "nonce and ext_agent_host_id are required"
	case (q.Get("client_id") == dynamicClient) != (q.Get("agent_name_hint") != ""):
		return "agent_name_hint is for the first sign-in of an app"
	}
	return ""
}

// decide is the user's answer: it sends the browser back.
func (b *Backend) decide(w http.ResponseWriter, r *http.Request) {
	q, err := url.ParseQuery(r.FormValue("query"))
	if err != nil || b.checkAuthorize(r.FormValue("path"), q) != "" {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	back := url.Values{"state": {q.Get("state")}}
	if r.FormValue("answer") != "allow" {
		back.Set("error", "access_denied")
		back.Set("error_description", "The user denied the request.")
	} else {
		g := &grant{client: q.Get("client_id"), redirect: q.Get("redirect_uri"), challenge: q.Get("code_challenge"),
			nonce: q.Get("nonce"), resource: q.Get("resource"), account: AccountID}
		if workspace := q.Get("allowed_workspace_id"); workspace != "" {
			g.account = workspace
		}
		code := "ac_" + random()
		b.mu.Lock()
		if g.client == dynamicClient {
			g.client = "oaiapp_" + random()
			b.clients[g.client] = true
		}
		b.grants[code] = g
		b.mu.Unlock()
		back.Set("code", code)
		if g.client != codexClient {
			back.Set("client_id", g.client)
		}
	}
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+back.Encode(), http.StatusSeeOther)
}

// exchange redeems an authorization code, once.
func (b *Backend) exchange(form url.Values) (*grant, string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	g := b.grants[form.Get("code")]
	delete(b.grants, form.Get("code"))
	sum := sha256.Sum256([]byte(form.Get("code_verifier")))
	switch {
	case g == nil:
		return nil, "invalid_grant"
	case g.client != form.Get("client_id"):
		return nil, "invalid_client"
	case g.redirect != form.Get("redirect_uri") || base64.RawURLEncoding.EncodeToString(sum[:]) != g.challenge:
		return nil, "invalid_grant"
	}
	return g, ""
}

// codeExchange answers an authorization_code grant of the Codex client.
func (b *Backend) codeExchange(w http.ResponseWriter, form url.Values) {
	g, problem := b.exchange(form)
	if problem != "" {
		writeJSON(w, 400, map[string]any{"error": problem})
		return
	}
	b.mu.Lock()
	t := b.issueFor(&chain{account: g.account, noAccount: b.NoAccount}, b.AccessLife)
	b.mu.Unlock()
	writeJSON(w, 200, t)
}

// siwcToken is the token endpoint of Sign in with ChatGPT.
func (b *Backend) siwcToken(w http.ResponseWriter, r *http.Request) {
	body, err := b.record(r)
	if err != nil {
		return
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") || form.Get("resource") != siwcResource {
		writeJSON(w, 400, map[string]any{"error": "invalid_request"})
		return
	}
	w.Header().Set("Date", time.Now().Add(b.ClockAhead).UTC().Format(http.TimeFormat))
	switch form.Get("grant_type") {
	case "authorization_code":
		g, problem := b.exchange(form)
		if problem != "" {
			writeJSON(w, 400, map[string]any{"error": problem})
			return
		}
		b.mu.Lock()
		c := &chain{client: g.client, nonce: g.nonce, noAccount: b.NoAccount, issuer: "http://" + r.Host}
		t := b.issueFor(c, siwcLife)
		b.mu.Unlock()
		if b.SpoilIDToken != nil {
			t.ID = b.SpoilIDToken(t.ID)
		}
		answer := withLife(t, siwcLife)
		if b.Scope != "" {
			answer["scope"] = b.Scope
		}
		writeJSON(w, 200, answer)
	case "refresh_token":
		b.rotate(w, r, form.Get("refresh_token"), form.Get("client_id"), siwcLife)
	default:
		writeJSON(w, 400, map[string]any{"error": "unsupported_grant_type"})
	}
}

func withLife(t Tokens, life time.Duration) map[string]any {
	return map[string]any{"access_token": t.Access, "refresh_token": t.Refresh, "id_token": t.ID, "token_type": "Bearer", "expires_in": int(life.Seconds())}
}

func (b *Backend) deviceCode(w http.ResponseWriter, r *http.Request) {
	body, err := b.record(r)
	if err != nil {
		return
	}
	var in struct {
		ClientID string `json:"client_id"`
	}
	if json.Unmarshal(body, &in) != nil || in.ClientID != codexClient {
		writeJSON(w, 400, map[string]any{"error": "invalid_client"})
		return
	}
	id := "dev_" + random()
	d := &device{userCode: "ABCD-" + strings.ToUpper(random()[:5])}
	b.mu.Lock()
	b.devices[id] = d
	b.mu.Unlock()
	interval := "1"
	writeJSON(w, 200, map[string]any{"device_auth_id": id, "user_code": d.userCode, "interval": interval, "expires_at": time.Now().Add(15 * time.Minute).UTC().Format(time.RFC3339)})
}

func (b *Backend) devicePage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Write([]byte(`<!DOCTYPE html><html><body><form method="post"><input name="user_code" id="code"><button id="allow" name="answer" value="allow">Continue</button></form></body></html>`)) //nolint:errcheck // gone
}

func (b *Backend) deviceDecide(w http.ResponseWriter, r *http.Request) {
	if !b.AnswerDevice(r.FormValue("user_code"), r.FormValue("answer")) {
		http.Error(w, "That code is not known.", http.StatusNotFound)
		return
	}
	w.Write([]byte("Done.")) //nolint:errcheck // gone
}

// AnswerDevice is the user typing a device code: "allow", "deny" or "expire". It reports whether the code is known.
func (b *Backend) AnswerDevice(userCode, answer string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, d := range b.devices {
		if d.userCode != userCode {
			continue
		}
		switch answer {
		case "allow":
			d.verifier = random() + random() + random()
			sum := sha256.Sum256([]byte(d.verifier))
			d.code = "ac_" + random()
			b.grants[d.code] = &grant{client: codexClient, challenge: base64.RawURLEncoding.EncodeToString(sum[:]), account: AccountID}
		case "expire":
			d.expired = true
		default:
			d.denied = true
		}
		return true
	}
	return false
}

func (b *Backend) devicePoll(w http.ResponseWriter, r *http.Request) {
	body, err := b.record(r)
	if err != nil {
		return
	}
	var in struct {
		ID       string `json:"device_auth_id"`
		UserCode string `json:"user_code"`
	}
	json.Unmarshal(body, &in) //nolint:errcheck // then the id is unknown
	b.mu.Lock()
	defer b.mu.Unlock()
	d := b.devices[in.ID]
	switch {
	case d == nil || d.userCode != in.UserCode:
		writeJSON(w, 404, map[string]any{"error": map[string]any{"code": "deviceauth_not_found"}})
	case d.expired:
		writeJSON(w, 410, map[string]any{"error": map[string]any{"code": "deviceauth_expired"}})
	case d.denied:
		writeJSON(w, 400, map[string]any{"error": map[string]any{"code": "access_denied"}})
	case d.code == "":
		d.polls++
		writeJSON(w, 403, map[string]any{"error": map[string]any{"code": "deviceauth_authorization_pending"}})
	default:
		sum := sha256.Sum256([]byte(d.verifier))
		b.grants[d.code].redirect = "http://" + r.Host + "/deviceauth/callback"
		writeJSON(w, 200, map[string]any{"authorization_code": d.code, "code_challenge": base64.RawURLEncoding.EncodeToString(sum[:]), "code_verifier": d.verifier})
	}
}
