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
	"encoding/json"
	"fmt"
	"io"
	"net/http"
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

// Request is one that came in.
type Request struct {
	Path   string
	Header http.Header
	Body   []byte
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

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v) //nolint:errcheck // gone
}

func bad(format string, args ...any) error { return fmt.Errorf(format, args...) }
