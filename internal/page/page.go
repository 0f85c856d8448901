// Package page serves the page on which the user sees what the proxy does, and mends it. It is an http.Handler over an
// App, the program's own seam, and over the history.
//
// Loopback is not the user, and a page of another port is not this page. The program opens the page with a one-time
// code; that becomes a cookie and a token for this browser. Without them there is a plain page that says how to open it.
// Every call must come from this very origin and carry both.
//
// The page's sources are in the folder page; `make page` bundles them into dist, which is built in.
package page

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"html/template"
	"io"
	"net"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"

	"codex-proxy/internal/history"
)

//go:embed dist shell.html
var files embed.FS

// Config is what a Page needs.
type Config struct {
	App      App
	History  *history.Store   // nil hides Activity and Usage
	Hosts    []string         // names besides localhost's that it may be opened by
	Browsers string           // folder that keeps who was let in, as hashes; empty keeps that until the program ends
	Now      func() time.Time // time.Now when nil
}

// Page is the handler. Safe for concurrent use. Close ends it.
type Page struct {
	config   Config
	sessions *sessions
	bundle   func() bundle // made ready when somebody asks first
	mux      *http.ServeMux
	outlook  outlooks

	mu      sync.Mutex
	streams map[*stream]struct{}
	closed  bool
	seen    sync.Once
	visited chan struct{} // closed by seen, with the first stream
}

// bundle is what browsers load.
type bundle struct {
	shell   *template.Template
	assets  map[string]asset
	version string // of the assets
}

// asset is a file of the bundle, as it is sent.
type asset struct {
	kind         string
	plain, small []byte // small is gzipped
}

// New builds the page. Nothing runs until a browser asks.
func New(c Config) *Page {
	if c.Now == nil {
		c.Now = time.Now
	}
	p := &Page{config: c, sessions: newSessions(c.Now, c.Browsers), bundle: sync.OnceValue(load), streams: map[*stream]struct{}{}, visited: make(chan struct{})}
	p.mux = http.NewServeMux()
	p.mux.HandleFunc("GET /{$}", p.serveShell)
	p.mux.HandleFunc("GET /page/{file}", p.serveAsset)
	p.mux.HandleFunc("GET /page/api/events", p.guarded(p.serveEvents))
	p.mux.HandleFunc("GET /page/api/requests", p.guarded(p.withHistory(p.serveRequests)))
	p.mux.HandleFunc("GET /page/api/names", p.guarded(p.withHistory(p.serveNames)))
	p.mux.HandleFunc("GET /page/api/usage", p.guarded(p.withHistory(p.serveUsage)))
	p.mux.HandleFunc("GET /page/api/windows", p.guarded(p.withHistory(p.serveWindows)))
	p.mux.HandleFunc("GET /page/api/export", p.guarded(p.withHistory(p.serveExport)))
	p.mux.HandleFunc("POST /page/api/do/{action}", p.guarded(p.serveAction))
	return p
}

// Wants reports whether a request is one for the page: a browser that opens the root, or anything of the page's own.
// Whoever asks for / without wanting HTML is a program, and gets what it always got.
func Wants(r *http.Request) bool {
	if strings.HasPrefix(r.URL.Path, "/page/") {
		return true
	}
	return r.URL.Path == "/" && (r.Method == http.MethodGet || r.Method == http.MethodHead) && strings.Contains(r.Header.Get("Accept"), "text/html")
}

// Open is the address that the program opens in the browser. Its code lets one browser in, within 30 seconds, that no
// page has sent there. root is like http://localhost:9879.
func (p *Page) Open(root string) string { return root + "/?code=" + p.sessions.newCode(false) }

type asideKey struct{}

// Aside marks requests for the page at another address than the program's own, where it is while the program does not
// listen there. What is open at such an address goes to the own one, Snapshot.Root, as soon as the program is running.
func Aside(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), asideKey{}, true)))
	})
}

// Move is the address at which an open page goes on: as Open's, but the page itself may go there.
func (p *Page) Move(root string) string { return root + "/?code=" + p.sessions.newCode(true) }

// ServeHTTP answers what Wants reports.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	for _, name := range []string{"Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Access-Control-Expose-Headers"} {
		h.Del(name) // no other origin reads the page, whatever it may read elsewhere
	}
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'")
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	if !p.hostAllowed(r.Host) {
		http.Error(w, "The page answers for localhost only.", http.StatusMisdirectedRequest)
		return
	}
	p.mux.ServeHTTP(w, r)
}

func (p *Page) hostAllowed(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.ToLower(strings.Trim(name, "[]"))
	return name == "localhost" || name == "127.0.0.1" || name == "::1" || slices.ContainsFunc(p.config.Hosts, func(h string) bool { return strings.EqualFold(h, name) })
}

// cookieName has the port in it: browsers don't keep the cookies of ports apart.
func cookieName(r *http.Request) string {
	_, port, err := net.SplitHostPort(r.Host)
	if err != nil {
		port = "80"
	}
	return "codex-proxy-page-" + port
}

func cookie(r *http.Request) string {
	c, err := r.Cookie(cookieName(r))
	if err != nil {
		return ""
	}
	return c.Value
}

// keepCookie has the browser keep it for as long as its session is kept when it is not used.
func keepCookie(w http.ResponseWriter, r *http.Request, value string) {
	http.SetCookie(w, &http.Cookie{Name: cookieName(r), Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, MaxAge: int(sessionLife / time.Second)})
}

// serveShell answers with the page for who has a code or the cookie, and says to everybody else how to open it.
func (p *Page) serveShell(w http.ResponseWriter, r *http.Request) {
	b := p.bundle()
	view := struct {
		Version, Token string
		In, Spent      bool
	}{Version: b.version}
	// A code is for a window, not for a frame, and for one that the program sent here, unless this page moves.
	site, dest := r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Sec-Fetch-Dest")
	byPage := site != "" && site != "none" && site != "same-origin"
	code := r.URL.Query().Get("code")
	if code != "" && (dest == "" || dest == "document") && r.Method == http.MethodGet {
		cookie, token, ok := p.sessions.redeem(code, cookie(r), byPage)
		if ok {
			keepCookie(w, r, cookie)
			view.In, view.Token = true, token
		}
		view.Spent = !ok
	}
	if !view.In && p.sessions.known(cookie(r)) {
		view.In = true
		if code == "" {
			keepCookie(w, r, cookie(r))
		}
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if !view.In {
		w.WriteHeader(http.StatusForbidden)
	}
	b.shell.Execute(w, view) //nolint:errcheck // the browser has gone
}

// load reads the bundle and compresses it.
func load() bundle {
	b := bundle{shell: template.Must(template.ParseFS(files, "shell.html")), assets: map[string]asset{}}
	entries, err := files.ReadDir("dist")
	if err != nil {
		panic(err) // it is built in
	}
	all := sha256.New()
	for _, e := range entries {
		raw, err := files.ReadFile("dist/" + e.Name())
		if err != nil {
			panic(err)
		}
		all.Write(raw)
		var small bytes.Buffer
		z, err := gzip.NewWriterLevel(&small, gzip.BestCompression)
		if err == nil {
			z.Write(raw) //nolint:errcheck // to memory
			z.Close()    //nolint:errcheck // as above
		}
		kind := map[string]string{".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml", ".txt": "text/plain; charset=utf-8"}[path.Ext(e.Name())]
		b.assets[e.Name()] = asset{kind: kind, plain: raw, small: small.Bytes()}
	}
	b.version = hex.EncodeToString(all.Sum(nil))[:12]
	return b
}

// serveAsset answers with a file of the bundle. It is the same for everybody, so it needs no cookie.
func (p *Page) serveAsset(w http.ResponseWriter, r *http.Request) {
	b := p.bundle()
	a, ok := b.assets[r.PathValue("file")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", a.kind)
	h.Set("Vary", "Accept-Encoding")
	if r.URL.Query().Get("v") == b.version {
		h.Set("Cache-Control", "private, max-age=31536000, immutable")
	}
	body := a.plain
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		body = a.small
	}
	w.Write(body) //nolint:errcheck // the browser has gone
}

// guarded lets a call through that comes from the page itself: from this origin, with cookie and token.
func (p *Page) guarded(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		origin, site := r.Header.Get("Origin"), r.Header.Get("Sec-Fetch-Site")
		own := origin == "http://"+r.Host || origin == "https://"+r.Host
		switch {
		case origin != "" && !own, r.Method != http.MethodGet && !own, site != "" && site != "same-origin":
			fail(w, http.StatusForbidden, "Only the page itself may ask that.")
		case !p.sessions.check(cookie(r), r.Header.Get("X-Page-Token")):
			fail(w, http.StatusUnauthorized, "Open the page from the menu, or with `codex-proxy open`.")
		default:
			next(w, r)
		}
	}
}

// actionTime bounds an action. It goes on when the browser leaves: a refresh that was sent is waited for.
const actionTime = 3 * time.Minute

func (p *Page) serveAction(w http.ResponseWriter, r *http.Request) {
	if kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); kind != "application/json" {
		fail(w, http.StatusUnsupportedMediaType, "The body must be JSON.")
		return
	}
	args, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
	if err != nil || !json.Valid(args) {
		fail(w, http.StatusBadRequest, "The body must be JSON, and short.")
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), actionTime)
	defer cancel()
	result, err := p.do(ctx, Action(r.PathValue("action")), args, cookie(r))
	switch {
	case errors.Is(err, ErrUnknownAction):
		fail(w, http.StatusNotFound, err.Error())
	case err != nil:
		fail(w, http.StatusUnprocessableEntity, err.Error())
	default:
		answer(w, result)
	}
}

// do carries an action out: those of the page itself here, for the browser that has the cookie.
func (p *Page) do(ctx context.Context, action Action, args json.RawMessage, cookie string) (any, error) {
	switch action {
	case ActionDeleteHistory:
		if p.config.History == nil {
			return nil, ErrUnknownAction
		}
		if err := p.config.History.Delete(ctx); err != nil {
			return nil, err
		}
		return Message{"The history is deleted."}, nil
	case ActionForgetBrowsers:
		err := p.sessions.forgetOthers(cookie)
		p.Disconnect() // this browser comes back by itself
		if err != nil {
			return nil, err
		}
		return Message{"Only this browser is let in now."}, nil
	}
	return p.config.App.Do(ctx, action, args)
}

func answer(w http.ResponseWriter, result any) {
	if result == nil {
		result = struct{}{}
	}
	raw, err := json.Marshal(result)
	if err != nil {
		fail(w, http.StatusInternalServerError, "The answer can't be written down.")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(raw) //nolint:errcheck // the browser has gone
}

func fail(w http.ResponseWriter, status int, sentence string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"error": sentence}) //nolint:errcheck // the browser has gone
}
