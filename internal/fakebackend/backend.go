// Package fakebackend stands in for the ChatGPT Codex backend and its auth server. It is strict: it refuses what the
// real ones refuse, rotates refresh tokens and notices when one is used twice. The tests run against it, and
// codex-proxy --demo answers from it.
//
// What it does follows docs of the protocol: requests captured from Codex CLI 0.169 and public reports about the
// live backend. When a fact about the backend is learned, it belongs in check.go.
//
// An answer is what the conversation asks for (play.go), or what a script says: a user message that holds
// [[scenario]], see scenarios.go.
package fakebackend

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"github.com/tidwall/gjson"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
)

// The account of the sign-ins that are issued.
const (
	Email     = "demo@example.com"
	Plan      = "plus"
	AccountID = "acct-demo"
)

// Backend is both servers. The zero value is not usable; see New. Safe for concurrent use.
type Backend struct {
	// AccessLife is how long access tokens live. Set before use.
	AccessLife time.Duration
	// Models is the answer of the models endpoint. Set before use.
	Models []byte
	// Label starts each answer that no script decides, for the demo. Set before use.
	Label string
	// NoAccount makes sign-ins come without an account id. Set before use.
	NoAccount bool
	// ClockAhead is how far the auth server's clock is ahead of this machine's. Set before use.
	ClockAhead time.Duration
	// Scope is what a Sign in with ChatGPT is granted; empty for what it asks. Set before use.
	Scope string
	// SpoilIDToken changes the id token of a Sign in with ChatGPT; nil for not. Set before use.
	SpoilIDToken func(string) string
	// RefusalDelay is how long it takes to refuse an access token. Set before use.
	RefusalDelay time.Duration
	// RefuseZstd has packed bodies refused with 415. Set before use.
	RefuseZstd bool
	// RefuseSockets has the handshakes of WebSockets refused with 426. Set before use.
	RefuseSockets bool
	// SocketLife is how long a WebSocket may be used. Set before use.
	SocketLife time.Duration
	// Accounts is the answer of accounts/check; nil for one of two workspaces without constraints. Set before use.
	Accounts []byte

	mux *http.ServeMux

	mu       sync.Mutex
	access   map[string]access
	refresh  map[string]*chain // token -> the chain that it is of
	spent    map[string]*chain
	requests []Request
	refusals []string // what the next token requests get
	counts   Counts
	once     map[string]bool
	clients  map[string]bool // dynamically registered
	grants   map[string]*grant
	devices  map[string]*device
	gone     chan struct{}
	used     float64 // of the 5-hour limit, in percent
	down     bool    // every access token is refused
}

// SetUsage sets how much of the 5-hour limit is used, in percent.
func (b *Backend) SetUsage(percent float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used = percent
}

func (b *Backend) usedPercent() float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// RefuseAccess has every access token refused with 401, also fresh ones, until it is called with false.
func (b *Backend) RefuseAccess(on bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = on
}

// Counts is what happened so far.
type Counts struct {
	Responses  int // requests for an answer, also refused ones
	Refreshes  int // refreshes that were granted
	Revoked    int // sign-ins ended by a logout
	Reused     int // refresh tokens that came a second time
	Canceled   int // answers that the caller did not wait for
	Open       int // answers under way
	Sockets    int // WebSockets that are open
	Handshakes int // of WebSockets, also those that were refused
	Crossed    int // requests with a token of the other kind of sign-in
}

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

// Request is one that came in.
type Request struct {
	Path   string
	Header http.Header
	Body   []byte
}

// Tokens is one set of a chain.
type Tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	ID      string `json:"id_token"`
}

const requestsKept = 200

// New returns a backend with nobody signed in.
func New() *Backend {
	b := &Backend{
		AccessLife: 10 * 24 * time.Hour,
		SocketLife: socketLife,
		access:     map[string]access{},
		refresh:    map[string]*chain{},
		spent:      map[string]*chain{},
		once:       map[string]bool{},
		clients:    map[string]bool{},
		grants:     map[string]*grant{},
		devices:    map[string]*device{},
		mux:        http.NewServeMux(),
		gone:       make(chan struct{}, 1000),
		used:       32,
	}
	b.mux.HandleFunc("POST /backend-api/codex/responses", b.responses)
	b.mux.HandleFunc("GET /backend-api/codex/responses", b.responsesSocket)
	b.mux.HandleFunc("POST /backend-api/codex/responses/compact", b.compact)
	b.mux.HandleFunc("POST /backend-api/codex/alpha/search", b.search)
	for _, call := range []string{"history/v2/list_windows", "history/v2/list_items", "history/v2/read_item", "history/v2/search_contents",
		"notes/v2/thread_hint", "notes/v2/list_files_by_prefix", "notes/v2/read_file", "notes/v2/search_contents", "notes/v2/append_to_file", "notes/v2/write_file"} {
		b.mux.HandleFunc("POST /backend-api/codex/alpha/"+call, b.remembered)
	}
	b.mux.HandleFunc("GET /backend-api/codex/models", b.models)
	b.mux.HandleFunc("GET /backend-api/wham/usage", b.usage)
	b.mux.HandleFunc("GET /backend-api/wham/accounts/check", b.accounts)
	b.mux.HandleFunc("GET /backend-api/wham/rate-limit-reset-credits", b.resetCredits)
	b.mux.HandleFunc("POST /backend-api/codex/memories/trace_summarize", b.summarize)
	b.mux.HandleFunc("POST /oauth/token", b.token)
	b.mux.HandleFunc("POST /oauth/revoke", b.revoke)
	b.mux.HandleFunc("POST /v1/responses", b.publicResponses)
	b.mux.HandleFunc("GET /v1/models", b.publicModels)
	b.mux.HandleFunc("/v1/", b.publicElsewhere)
	b.loginRoutes()
	return b
}

// ServeHTTP serves the backend under /backend-api and the auth server beside it.
func (b *Backend) ServeHTTP(w http.ResponseWriter, r *http.Request) { b.mux.ServeHTTP(w, r) }

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

// Requests returns those that came to a path that ends in suffix, the oldest first.
func (b *Backend) Requests(suffix string) []Request {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []Request
	for _, r := range b.requests {
		if strings.HasSuffix(r.Path, suffix) {
			out = append(out, r)
		}
	}
	return out
}

// Counts returns what happened so far.
func (b *Backend) Counts() Counts {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.counts
}

// Gone receives once for each answer whose caller left.
func (b *Backend) Gone() <-chan struct{} { return b.gone }

func (b *Backend) count(f func(*Counts)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f(&b.counts)
}

// record reads and keeps the request, unpacked.
func (b *Backend) record(r *http.Request) ([]byte, error) {
	var in io.Reader = r.Body
	if r.Header.Get("Content-Encoding") == "zstd" {
		z, err := zstd.NewReader(r.Body)
		if err != nil {
			return nil, err
		}
		defer z.Close()
		in = z
	}
	body, err := io.ReadAll(in)
	if err != nil {
		return nil, err
	}
	b.keep(Request{Path: r.URL.Path, Header: r.Header.Clone(), Body: body})
	return body, nil
}

func (b *Backend) keep(r Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.requests) >= requestsKept {
		b.requests = b.requests[1:]
	}
	b.requests = append(b.requests, r)
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

func (b *Backend) models(w http.ResponseWriter, r *http.Request) {
	if _, err := b.record(r); err != nil || !b.authorize(w, r) {
		return
	}
	if r.URL.Query().Get("client_version") == "" {
		writeJSON(w, 400, map[string]any{"detail": "client_version is required"})
		return
	}
	const etag = `W/"demo-1"`
	w.Header().Set("Etag", etag)
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(b.Models) //nolint:errcheck // gone
}

// compact answers with the conversation made shorter.
func (b *Backend) compact(w http.ResponseWriter, r *http.Request) {
	if _, err := b.record(r); err != nil || !b.authorize(w, r) {
		return
	}
	writeJSON(w, 200, map[string]any{"output": []any{map[string]any{"type": "compaction", "encrypted_content": "gAAAA" + random()}}})
}

// search refuses what the real one does: the cache key of the request that it belongs to.
func (b *Backend) search(w http.ResponseWriter, r *http.Request) {
	raw, err := b.record(r)
	if err != nil || !b.authorize(w, r) {
		return
	}
	if gjson.GetBytes(raw, "prompt_cache_key").Exists() {
		writeJSON(w, 400, map[string]any{"error": map[string]any{"code": "unknown_parameter", "param": "prompt_cache_key", "message": "Unknown parameter: 'prompt_cache_key'."}})
		return
	}
	writeJSON(w, 200, map[string]any{"output": "one result"})
}

// remembered answers the calls of history and notes, which name the conversation that they are about.
func (b *Backend) remembered(w http.ResponseWriter, r *http.Request) {
	raw, err := b.record(r)
	if err != nil || !b.authorize(w, r) {
		return
	}
	if gjson.GetBytes(raw, "context.session_id").Str == "" {
		writeJSON(w, 400, map[string]any{"error": map[string]any{"code": "missing_required_parameter", "param": "context", "message": "Missing required parameter: 'context'."}})
		return
	}
	writeJSON(w, 200, map[string]any{"items": []any{}})
}

// summarize answers with what is worth remembering of earlier sessions.
// Source: codex-rs/codex-api/src/endpoint/memories.rs.
func (b *Backend) summarize(w http.ResponseWriter, r *http.Request) {
	raw, err := b.record(r)
	if err != nil || !b.authorize(w, r) {
		return
	}
	if _, ok := b.model(gjson.GetBytes(raw, "model").Str); !ok || !gjson.GetBytes(raw, "traces").IsArray() {
		writeJSON(w, 400, map[string]any{"error": map[string]any{"code": "missing_required_parameter", "param": "traces", "message": "Missing required parameter: 'traces'."}})
		return
	}
	output := []any{}
	for range gjson.GetBytes(raw, "traces").Array() {
		output = append(output, map[string]any{"trace_summary": "what was done", "memory_summary": "what was learned"})
	}
	writeJSON(w, 200, map[string]any{"output": output})
}

// resetCredits tells of limits that the user may reset early.
func (b *Backend) resetCredits(w http.ResponseWriter, r *http.Request) {
	if _, err := b.record(r); err != nil || !b.authorize(w, r) {
		return
	}
	writeJSON(w, 200, map[string]any{"credits": []any{}, "available_count": 0})
}

func (b *Backend) usage(w http.ResponseWriter, r *http.Request) {
	if _, err := b.record(r); err != nil || !b.authorize(w, r) {
		return
	}
	now := time.Now()
	window := func(percent float64, length, left time.Duration) map[string]any {
		return map[string]any{"used_percent": percent, "limit_window_seconds": int(length.Seconds()),
			"reset_after_seconds": int(left.Seconds()), "reset_at": now.Add(left).Unix()}
	}
	writeJSON(w, 200, map[string]any{
		"plan_type": Plan, "email": Email, "account_id": AccountID,
		"rate_limit": map[string]any{"allowed": true, "limit_reached": false,
			"primary_window": window(b.usedPercent(), 5*time.Hour, 2*time.Hour), "secondary_window": window(61, 7*24*time.Hour, 3*24*time.Hour)},
		"credits": map[string]any{"has_credits": false, "unlimited": false, "balance": "0"},
	})
}

func (b *Backend) accounts(w http.ResponseWriter, r *http.Request) {
	if _, err := b.record(r); err != nil || !b.authorize(w, r) {
		return
	}
	if b.Accounts != nil {
		w.Header().Set("Content-Type", "application/json")
		w.Write(b.Accounts) //nolint:errcheck // gone
		return
	}
	account := func(id, name, structure string) map[string]any {
		return map[string]any{"id": id, "plan_type": Plan, "name": name, "structure": structure, "can_access_with_session": true,
			"workspace_backend_origin": "NO_CONSTRAINT", "account_routing_override": "NO_CONSTRAINT"}
	}
	writeJSON(w, 200, map[string]any{
		"accounts":         []any{account(AccountID, "Personal", "personal"), account(SecondAccountID, "Team", "workspace")},
		"account_ordering": []string{AccountID, SecondAccountID}, "default_account_id": AccountID,
	})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v) //nolint:errcheck // gone
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

func bad(format string, args ...any) error { return fmt.Errorf(format, args...) }
