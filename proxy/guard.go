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
// made to resolve to it, so a request must name a host and, from a browser, an origin that are known.
type Guard struct {
	Keys    []string // local API keys; none means that programs on this machine need no key
	Hosts   []string // allowed Host names besides localhost's
	Origins []string // allowed origins besides loopback and the known apps

	AnyHost    bool   // the platform chooses the name: a Worker
	KeyMissing string // with this set a key is required: what to answer while there is none
}

// appOrigins are the origins of desktop apps: no web page can have them.
var appOrigins = []string{"app://obsidian.md", "capacitor://localhost", "ionic://localhost", "tauri://localhost", "http://tauri.localhost", "https://tauri.localhost"}

// appSchemes are the schemes whose origins belong to apps, whatever follows.
var appSchemes = []string{"vscode-webview", "vscode-file", "raycast-extension"}

// Check returns nil for a request that may go on. Nothing of its body has been read by then. It sets the headers that
// let a browser's page read the answer, also an error.
func (g *Guard) Check(w http.ResponseWriter, r *http.Request) *codex.Error {
	if !g.AnyHost && !g.hostAllowed(r.Host) {
		return &codex.Error{Status: http.StatusMisdirectedRequest, Type: "invalid_request_error", Code: "host_not_allowed",
			Message: "This proxy answers for localhost only. To use another name for it, start it with --allow-host"}
	}
	origin := r.Header.Get("Origin")
	switch {
	case origin != "" && !g.originAllowed(origin):
		return forbiddenOrigin("This web page may not use the proxy. To allow it, start the proxy with --allow-origin and --api-key")
	case origin == "" && r.Header.Get("Sec-Fetch-Site") == "cross-site":
		return forbiddenOrigin("Another site's page may not use the proxy")
	}
	if origin != "" {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", origin)
		h.Add("Vary", "Origin")
		h.Set("Access-Control-Expose-Headers", "x-request-id, x-codex-proxy-dropped, retry-after")
	}
	return nil
}

func forbiddenOrigin(message string) *codex.Error {
	return &codex.Error{Status: http.StatusForbidden, Type: "permission_error", Code: "origin_not_allowed", Message: message}
}

// Preflight answers a browser's question whether it may send the real request, and reports whether it was one. It is
// answered without a key. The headers asked for are echoed, since * does not cover Authorization.
// Source: WHATWG Fetch, CORS protocol; WICG Private Network Access.
func (g *Guard) Preflight(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodOptions {
		return false
	}
	h := w.Header()
	h.Set("Allow", "GET, HEAD, POST, DELETE, OPTIONS")
	if r.Header.Get("Access-Control-Request-Method") != "" {
		h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST, DELETE, OPTIONS")
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

// Authorize returns nil when no key is set, or when the request brings one of those that are.
func (g *Guard) Authorize(r *http.Request) *codex.Error {
	if len(g.Keys) == 0 && g.KeyMissing != "" {
		return &codex.Error{Status: http.StatusServiceUnavailable, Type: "server_error", Code: "api_key_missing", Message: g.KeyMissing}
	}
	if len(g.Keys) == 0 {
		return nil
	}
	given := presentedKeys(r.Header)
	for _, key := range g.Keys {
		want := sha256.Sum256([]byte(key))
		for _, k := range given {
			got := sha256.Sum256([]byte(k))
			if subtle.ConstantTimeCompare(want[:], got[:]) == 1 {
				return nil
			}
		}
	}
	e := &codex.Error{Status: http.StatusUnauthorized, Type: "authentication_error", Code: "invalid_api_key",
		Message: "This proxy wants its own API key (the one it was started with, not OpenAI's). Set it as the API key in your tool"}
	return e
}

// presentedKeys are the keys that a request brings, in any of the places where clients put them.
func presentedKeys(h http.Header) []string {
	var keys []string
	if scheme, rest, ok := strings.Cut(h.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		keys = append(keys, strings.TrimSpace(rest))
	}
	for _, name := range []string{"X-Api-Key", "Api-Key"} {
		if v := h.Get(name); v != "" {
			keys = append(keys, v)
		}
	}
	return keys
}

func (g *Guard) hostAllowed(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	return isLoopbackName(host) || slices.ContainsFunc(g.Hosts, func(h string) bool { return strings.EqualFold(h, host) })
}

func isLoopbackName(host string) bool {
	return host == "localhost" || host == "127.0.0.1" || host == "::1"
}

func (g *Guard) originAllowed(origin string) bool {
	if slices.Contains(appOrigins, origin) || slices.ContainsFunc(g.Origins, func(o string) bool { return strings.EqualFold(o, origin) }) {
		return true
	}
	u, err := url.Parse(origin)
	if err != nil {
		return false
	}
	if slices.Contains(appSchemes, u.Scheme) {
		return true
	}
	return (u.Scheme == "http" || u.Scheme == "https") && isLoopbackName(strings.ToLower(u.Hostname()))
}
