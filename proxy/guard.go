package proxy

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"codex-proxy/proxy/codex"
)

// Guard decides who may use the proxy. Any web page the user opens can send requests to localhost, and any name can be
// made to resolve to it, so a request must name a host and, from a browser, an origin that are known. Its fields are
// set before use; what its functions say may change at any time. Safe for concurrent use.
type Guard struct {
	// Keys knows the local API keys; nil when there are none. A key that it knows gives the caller its name.
	Keys Keys
	// KeyRequired reports whether a caller must bring a key that Keys knows; nil for never.
	KeyRequired func() bool
	// KeyMissing, when set, lets nobody in and is what they are told: how to set a key.
	KeyMissing string

	// Hosts are allowed Host names besides this machine's own addresses.
	Hosts []string
	// AnyHost is for where the platform chooses the name: a Worker.
	AnyHost bool

	// Origins returns the allowed origins besides the proxy's own and the known apps'; nil for none.
	Origins func() []string
	// Asked is told of the origin of a page of this machine that was refused, each time: the user may want to allow it.
	// It must not block. May be nil.
	Asked func(origin string)

	// Advice words what a refused caller can do; nil for a terminal's.
	Advice codex.Advice
}

// Keys knows local API keys. It must be safe for concurrent use.
type Keys interface {
	// Lookup returns the name of a key, which may be empty, and whether it is known. The time that it takes must not
	// depend on how much of a key is right.
	Lookup(presented string) (name string, ok bool)
}

// KeyRoutes is what Keys may have, too: keys that are not good for every route.
type KeyRoutes interface {
	// Allows reports whether the key of a name is good for a route, such as /chat/completions.
	Allows(name, route string) bool
}

// KeyList is a plain list of keys without names. It must not be changed while in use.
type KeyList []string

// Lookup is Keys'.
func (l KeyList) Lookup(presented string) (name string, ok bool) {
	got, found := sha256.Sum256([]byte(presented)), 0
	for _, key := range l {
		want := sha256.Sum256([]byte(key))
		found |= subtle.ConstantTimeCompare(want[:], got[:])
	}
	return "", found == 1
}

// appOrigins are the origins of desktop apps: no web page can have them.
var appOrigins = []string{"app://obsidian.md", "capacitor://localhost", "ionic://localhost", "tauri://localhost", "http://tauri.localhost", "https://tauri.localhost"}

// appSchemes are the schemes whose origins belong to apps, whatever follows.
var appSchemes = []string{"vscode-webview", "vscode-file", "raycast-extension"}

// Check returns nil for a request that may go on. Nothing of its body has been read by then. It sets the headers that
// let a browser's page read the answer, also an error.
func (g *Guard) Check(w http.ResponseWriter, r *http.Request) *codex.Error {
	if e := stranger(r.Context()); e != nil {
		return e
	}
	if !g.AnyHost && !g.hostAllowed(r) {
		return &codex.Error{Status: http.StatusMisdirectedRequest, Type: "invalid_request_error", Code: "host_not_allowed",
			Message: "This proxy answers for localhost only. " + g.Advice.For(codex.RemedyAllowHost)}
	}
	origin := r.Header.Get("Origin")
	switch {
	case origin == "" && r.Header.Get("Sec-Fetch-Site") == "cross-site":
		return forbiddenOrigin("Another site's page may not use the proxy")
	case origin == "":
		return nil
	case g.originAllowed(origin, r):
		g.letRead(w, origin)
		return nil
	case isLoopbackOrigin(origin):
		if g.Asked != nil {
			g.Asked(origin)
		}
		g.letRead(w, origin) // so that it can show why
		return forbiddenOrigin("A page at " + origin + " wants to use your plan, and you have not allowed it. " + g.Advice.For(codex.RemedyAllowOrigin))
	}
	return forbiddenOrigin("This web page may not use the proxy. " + g.Advice.For(codex.RemedyAllowOrigin))
}

func forbiddenOrigin(message string) *codex.Error {
	return &codex.Error{Status: http.StatusForbidden, Type: "permission_error", Code: "origin_not_allowed", Message: message}
}

// exposed are the headers that a page may read beside those that it may always.
const exposed = "x-request-id, x-codex-proxy-dropped, x-codex-proxy-limit, x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, retry-after"

// letRead lets a page read the answer.
func (g *Guard) letRead(w http.ResponseWriter, origin string) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", origin)
	h.Add("Vary", "Origin")
	h.Set("Access-Control-Expose-Headers", exposed)
}

// Preflight answers a browser's question whether it may send the real request, and reports whether it was one. It is
// answered without a key. The headers asked for are echoed, since * does not cover Authorization.
// Source: WHATWG Fetch, CORS protocol; WICG Private Network Access.
func (g *Guard) Preflight(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodOptions {
		return false
	}
	const methods = "GET, HEAD, POST, DELETE, OPTIONS"
	h := w.Header()
	h.Set("Allow", methods)
	if r.Header.Get("Access-Control-Request-Method") != "" {
		h.Set("Access-Control-Allow-Methods", methods)
		if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" {
			h.Set("Access-Control-Allow-Headers", asked)
		}
		if r.Header.Get("Access-Control-Request-Private-Network") == "true" {
			h.Set("Access-Control-Allow-Private-Network", "true")
		}
		h.Set("Access-Control-Max-Age", "600")
		h.Add("Vary", "Access-Control-Request-Headers")
	}
	w.WriteHeader(http.StatusNoContent)
	return true
}

// Authorize returns the name of the key that a request brings, empty for none, and an error when it must bring one that
// is known and does not.
func (g *Guard) Authorize(r *http.Request) (name string, e *codex.Error) {
	if g.KeyMissing != "" {
		return "", &codex.Error{Status: http.StatusServiceUnavailable, Type: "server_error", Code: "api_key_missing", Message: g.KeyMissing}
	}
	if g.Keys != nil {
		for _, presented := range presentedKeys(r) {
			name, ok := g.Keys.Lookup(presented)
			if !ok {
				continue
			}
			if limited, isLimited := g.Keys.(KeyRoutes); isLimited && !limited.Allows(name, r.URL.Path) {
				return name, &codex.Error{Status: http.StatusForbidden, Type: "permission_error", Code: "route_not_allowed", Message: "This API key is not good for " + r.URL.Path + "."}
			}
			return name, nil
		}
	}
	if g.KeyRequired == nil || !g.KeyRequired() {
		return "", nil
	}
	return "", &codex.Error{Status: http.StatusUnauthorized, Type: "authentication_error", Code: "invalid_api_key",
		Message: "This proxy wants its own API key. " + g.Advice.For(codex.RemedyAPIKey)}
}

// presentedKeys are the keys that a request brings, in any of the places where clients put them.
func presentedKeys(r *http.Request) []string {
	h := r.Header
	var keys []string
	if scheme, rest, ok := strings.Cut(h.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		keys = append(keys, strings.TrimSpace(rest))
	}
	for _, name := range []string{"X-Api-Key", "Api-Key", "X-Goog-Api-Key"} {
		if v := h.Get(name); v != "" {
			keys = append(keys, v)
		}
	}
	if dialect(r.URL.Path) == "gemini" { // whose callers may put it into the address
		keys = append(keys, r.URL.Query().Get("key"))
	}
	return keys
}

// hostAllowed lets through localhost and the addresses of this machine: who names one of those has not been led here
// by a name that somebody else controls.
func (g *Guard) hostAllowed(r *http.Request) bool {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if Loopback(host) || slices.ContainsFunc(g.Hosts, func(h string) bool { return strings.EqualFold(h, host) }) {
		return true
	}
	ip := net.ParseIP(host)
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return ip != nil && ok && ip.Equal(local.IP) // the address on which this very connection came
}

// Loopback reports whether host, a name or an address without a port, is this machine only.
func Loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

func (g *Guard) originAllowed(origin string, r *http.Request) bool {
	if slices.Contains(appOrigins, origin) || origin == "http://"+r.Host { // the proxy's own page; Host has been checked
		return true
	}
	if g.Origins != nil && slices.ContainsFunc(g.Origins(), func(o string) bool { return strings.EqualFold(o, origin) }) {
		return true
	}
	scheme, _, ok := strings.Cut(origin, "://")
	return ok && slices.Contains(appSchemes, scheme)
}

// isLoopbackOrigin reports whether an origin is a page that some program on this machine serves.
func isLoopbackOrigin(origin string) bool {
	u, err := url.Parse(origin)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && Loopback(strings.ToLower(u.Hostname()))
}

// WebOrigin reports whether an origin is one that pages of the web can have, of whatever server: such pages must not
// be let in without a key.
func WebOrigin(origin string) bool {
	u, err := url.Parse(origin)
	if err != nil || slices.Contains(appOrigins, strings.ToLower(origin)) {
		return err != nil
	}
	switch strings.ToLower(u.Scheme) {
	case "http", "https", "ws", "wss", "ftp", "file", "null", "":
		return true
	}
	return false
}
