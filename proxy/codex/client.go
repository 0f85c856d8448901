// Package codex is the only place that knows OpenAI's side of the proxy: which requests it takes, the headers, the
// events it answers with, its errors, its models. Translators turn a caller's dialect into a [Request] and the events
// of a [Stream] back into the dialect; which [Upstream] answers they do not know.
package codex

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"codex-proxy/creds"
	"codex-proxy/proxy/rawjson"
)

const (
	// shortWait is the longest retry-after that is waited for here, instead of being passed on.
	shortWait = 5 * time.Second
	errorMost = 1 << 20 // bytes of an error's body
	// packFrom is the size of a body, in bytes, from which it is packed: less is on its way at once. Source: RFC 6928, an
	// initial window of 10 segments.
	packFrom = 16 << 10
)

// TokenSource gives out access tokens. creds.Manager is one.
type TokenSource interface {
	Token(context.Context) (creds.Token, error)
	// Rejected returns another token after the backend refused one with 401.
	Rejected(context.Context, creds.Token) (creds.Token, error)
	// Accepted hears that the backend took a token.
	Accepted(creds.Token)
}

// Doer sends requests. *http.Client is one; the Worker has another, since http.Client doubles a WebAssembly program.
// It must not follow redirects: the sign-in goes with each request.
type Doer interface {
	Do(*http.Request) (*http.Response, error)
}

// Continuer sends turns that continue a conversation over a connection of its own. *Sockets is one; a Worker has none.
type Continuer interface {
	// Continue returns an answer that has begun, or nil when the turn must be posted. req has the address and the headers,
	// toolRan says that the conversation ends with what a tool answered, whole makes the request as a POST has it.
	Continue(ctx context.Context, req *http.Request, session string, toolRan bool, whole func() []byte) *http.Response
	// Close ends all connections.
	Close()
}

// Client sends requests to the upstream that takes the sign-in. Its fields are set before use and not changed. Safe
// for concurrent use.
type Client struct {
	Upstreams    map[creds.Kind]Upstream // one for creds.KindCodex is required
	HTTP         Doer
	Tokens       TokenSource
	Models       *Catalogue
	UsageTracker *UsageTracker           // hears how much of the plan is used; may be nil
	Router       *WorkspaceRouter        // may be nil
	IdleTimeout  time.Duration           // silence after which a stream is given up
	KeepAlive    time.Duration           // silence after which the caller is told that the answer is still coming
	Strict       bool                    // a parameter that would be dropped is an error that names it
	Advice       Advice                  // what errors tell people to do; nil for the words of a terminal
	Zstd         func([][]byte) [][]byte // packs a request's body, which comes in pieces; nil for bodies as they are
	// Sockets may send a turn over WebSocket; nil for POST only.
	Sockets Continuer
	// OnAnswer hears, before each answer, which kind of sign-in it came for. It must be fast and safe for concurrent
	// use; nil for nobody.
	OnAnswer func(creds.Kind)

	unpacked atomic.Bool // the upstream has refused a packed body
}

// upstream is the one that takes sign-ins of that kind.
func (c *Client) upstream(kind creds.Kind) Upstream {
	if u, ok := c.Upstreams[kind]; ok {
		return u
	}
	return c.Upstreams[creds.KindCodex]
}

// checkStrict returns an *Error that names what was dropped, if Strict says so.
func (c *Client) checkStrict(r *Request) error {
	if !c.Strict {
		return nil
	}
	counted := slices.DeleteFunc(slices.Clone(r.Dropped.Names), func(name string) bool { return slices.Contains(r.Expected, name) })
	if len(counted) == 0 {
		return nil
	}
	return &Error{Status: http.StatusBadRequest, Type: typeInvalid, Code: "unsupported_parameter", Param: counted[0],
		Message: "The ChatGPT backend does not take: " + Dropped{Names: counted, More: r.Dropped.More}.String() + ". " + c.Advice.For(RemedyStrict)}
}

// Stream sends r and returns when the answer has begun. Cancelling ctx ends the request at the backend. Errors are
// *Error, or ctx's when the caller went away.
func (c *Client) Stream(ctx context.Context, r *Request) (*Stream, error) {
	token, err := c.Tokens.Token(ctx)
	if err != nil {
		return nil, signInError(ctx, err)
	}
	c.Models.await(ctx, c)
	caller := ctx
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(caller)) // so that Close can outlive the caller
	leave := context.AfterFunc(caller, func() { cancel(context.Cause(caller)) })
	idle := newIdle(c.KeepAlive, c.IdleTimeout, cancel)
	resp, sent, err := c.deliver(ctx, token, r)
	if err != nil {
		leave()
		idle.stop()
		cancel(nil)
		if errors.Is(err, errIdle) {
			err = Silent(c.IdleTimeout, c.Advice)
		}
		return nil, err
	}
	return &Stream{Header: resp.Header, Model: sent.model, Effort: sent.effort,
		dec: NewDecoder(resp.Body), body: resp.Body, cancel: cancel, leave: leave, ctx: ctx, idle: idle, advice: c.Advice}, nil
}

// deliver makes the body and posts it. It makes another one, once for each reason, when the sign-in was replaced by one of
// the other kind meanwhile, and when the conversation holds reasoning that another service or account has encrypted.
func (c *Client) deliver(ctx context.Context, token creds.Token, r *Request) (*http.Response, encoded, error) {
	if !r.Native {
		if err := r.normalizeInput(); err != nil {
			return nil, encoded{}, err
		}
	}
	dropped := r.Dropped
	switched, forgot := false, false
	for {
		sent, err := r.encode(c.upstream(token.Kind), c.Models, c.Advice)
		if err == nil {
			err = c.checkStrict(r)
		}
		if err != nil {
			return nil, sent, err
		}
		resp, err := c.post(ctx, &token, r, sent)
		var failure *Error
		switch {
		case errors.Is(err, errOtherKind) && switched:
			return nil, sent, SignIn("Another sign-in is in use now. Send the request again", time.Second)
		case errors.Is(err, errOtherKind):
			switched, r.Dropped = true, dropped
		case errors.As(err, &failure) && failure.unreadable() && !forgot && r.forgetReasoning():
			forgot, dropped = true, r.Dropped
		default:
			return resp, sent, err
		}
	}
}

// errOtherKind says that a sign-in of the other kind has taken the place of the one that a body was made for.
var errOtherKind = errors.New("a sign-in of another kind is in use now")

// post sends the body, once more with another token after a 401, and once more after a short wait where the backend
// asks for one. Nothing has been sent to the caller by then. token is the one to use, and then the one that was used
// last; with errOtherKind, the one that the body is not for.
func (c *Client) post(ctx context.Context, token *creds.Token, r *Request, sent encoded) (*http.Response, error) {
	renewed, waited := false, false
	if resp := c.continued(ctx, r, sent, *token); resp != nil {
		return resp, nil
	}
	if c.Zstd != nil && c.upstream(token.Kind).TakesZstd && sent.body.size() >= packFrom && !c.unpacked.Load() {
		sent.packed = c.Zstd(sent.body)
	}
	for {
		resp, err := c.send(ctx, r, sent, *token)
		if err != nil {
			return nil, c.transportError(ctx, err)
		}
		if resp.StatusCode == http.StatusOK {
			c.accepted(*token, resp.Header)
			return resp, nil
		}
		failure := c.readError(resp)
		failure.nameModels(r.Model, sent.model, c.Models)
		c.observe(resp.Header, failure.Type == typeQuota)
		switch {
		case failure.Status == http.StatusUnauthorized && !renewed:
			renewed = true
			kind := token.Kind
			if *token, err = c.Tokens.Rejected(ctx, *token); err != nil {
				return nil, signInError(ctx, err)
			}
			if token.Kind != kind {
				return nil, errOtherKind
			}
		case failure.Status == http.StatusUnsupportedMediaType && sent.packed != nil:
			sent.packed = nil
			c.unpacked.Store(true) // and no other is packed
		case failure.RetryAfter > 0 && failure.RetryAfter <= shortWait && !waited:
			waited = true
			if err := sleep(ctx, failure.RetryAfter); err != nil {
				return nil, err
			}
		default:
			return nil, failure
		}
	}
}

// continued is the answer to a turn that went over the conversation's own connection; nil when it must be posted. What
// brings headers of the Codex CLI is posted: over WebSocket they would be the connection's, not the turn's.
func (c *Client) continued(ctx context.Context, r *Request, sent encoded, token creds.Token) *http.Response {
	if c.Sockets == nil || !c.upstream(token.Kind).TakesSockets || len(r.Header) > 0 {
		return nil
	}
	req, err := c.request(ctx, http.MethodGet, func(u Upstream) string { return u.ResponsesURL }, nil, token)
	if err != nil {
		return nil
	}
	req.Header.Set("Session-Id", sent.session)
	req.Header.Set("Thread-Id", sent.session)
	toolRan := strings.HasSuffix(rawjson.Get(r.Input[len(r.Input)-1], "type").Str, "_output")
	return c.Sockets.Continue(ctx, req, sent.session, toolRan, sent.body.join)
}

// accepted notes that the upstream took a token.
func (c *Client) accepted(token creds.Token, h http.Header) {
	c.Tokens.Accepted(token)
	c.observe(h, false)
	if c.OnAnswer != nil {
		c.OnAnswer(token.Kind)
	}
}

// forwarded are the addresses beside the responses endpoint to which a body may go as it is.
// Source: Codex CLI 0.169: captured, and for history and notes read from the program; for memories
// codex-rs/codex-api/src/endpoint/memories.rs.
var forwarded = []string{
	"/responses/compact", "/alpha/search", "/memories/trace_summarize",
	"/alpha/history/v2/list_windows", "/alpha/history/v2/list_items", "/alpha/history/v2/read_item", "/alpha/history/v2/search_contents",
	"/alpha/notes/v2/thread_hint", "/alpha/notes/v2/list_files_by_prefix", "/alpha/notes/v2/read_file", "/alpha/notes/v2/search_contents",
	"/alpha/notes/v2/append_to_file", "/alpha/notes/v2/write_file",
}

// forwardedHeaders are those of the Codex CLI that only forwarded bodies have.
var forwardedHeaders = []string{"X-Openai-Encrypted-Tool-Arguments", "X-Openai-Tool-Output-Truncation-Policy"}

// compactionParams are the fields of a turn's body that a compaction has: not what is about the answer.
// Source: codex-rs/codex-api/src/common.rs, CompactionInput.
var compactionParams = set("model", "instructions", "input", "tools", "parallel_tool_calls", "reasoning", "service_tier", "prompt_cache_key")

// Compaction is the body by which the backend is asked to make r's conversation shorter. Errors are *Error.
func (c *Client) Compaction(r *Request) ([]byte, error) {
	r.Text, r.ClientMetadata = nil, nil // what the answer looks like and who asks are left out without being named
	if err := r.normalizeInput(); err != nil {
		return nil, err
	}
	up := c.upstream(creds.KindCodex)
	up.Params = compactionParams
	sent, err := r.encode(up, c.Models, c.Advice)
	if err == nil {
		err = c.checkStrict(r)
	}
	if err != nil {
		return nil, err
	}
	return sent.body.join(), nil
}

// Forward posts a body as it is to an address beside the responses endpoint, such as /responses/compact, and returns the
// answer's header and body; addresses that are not known are refused. Of the caller's headers only the Codex CLI's own go up.
// Errors are *Error, also for every answer but a 200 and for one that takes longer than IdleTimeout, or ctx's when the
// caller went away.
func (c *Client) Forward(ctx context.Context, path string, body []byte, from http.Header) (header http.Header, answer []byte, err error) {
	if !slices.Contains(forwarded, path) {
		return nil, nil, &Error{Status: http.StatusNotFound, Type: typeInvalid, Code: "unknown_url", Message: "There is nothing at this address. Here are: " + strings.Join(forwarded, ", ")}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.IdleTimeout, Silent(c.IdleTimeout, c.Advice))
	defer cancel()
	token, err := c.Tokens.Token(ctx)
	if err != nil {
		return nil, nil, signInError(ctx, err)
	}
	for renewed := false; ; renewed = true {
		if !c.upstream(token.Kind).Forwards {
			return nil, nil, c.notOffered()
		}
		req, err := c.request(ctx, http.MethodPost, func(u Upstream) string { return strings.TrimSuffix(u.ResponsesURL, "/responses") + path }, pieces{body}, token)
		if err != nil {
			return nil, nil, err
		}
		for _, name := range slices.Concat(nativeHeaders, forwardedHeaders) {
			if v := from.Get(name); v != "" {
				req.Header.Set(name, v)
			}
		}
		c.upstream(token.Kind).Header(req.Header, token)
		resp, err := c.HTTP.Do(req)
		if err != nil {
			return nil, nil, c.transportError(ctx, err)
		}
		if resp.StatusCode != http.StatusOK {
			failure := c.readError(resp)
			c.observe(resp.Header, failure.Type == typeQuota)
			if resp.StatusCode == http.StatusUnauthorized && !renewed {
				if token, err = c.Tokens.Rejected(ctx, token); err != nil {
					return nil, nil, signInError(ctx, err)
				}
				continue
			}
			return nil, nil, failure
		}
		c.accepted(token, resp.Header)
		raw, err := io.ReadAll(io.LimitReader(resp.Body, maxEvent+1))
		resp.Body.Close()
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, nil, context.Cause(ctx)
		case err != nil, len(raw) > maxEvent:
			return nil, nil, Broken()
		}
		return resp.Header, raw, nil
	}
}

func (c *Client) observe(h http.Header, reached bool) {
	if c.UsageTracker != nil {
		c.UsageTracker.Observe(h, reached, time.Now())
	}
}

func (c *Client) send(ctx context.Context, r *Request, sent encoded, token creds.Token) (*http.Response, error) {
	body := sent.body
	if sent.packed != nil {
		body = sent.packed
	}
	req, err := c.request(ctx, http.MethodPost, func(u Upstream) string { return u.ResponsesURL }, body, token)
	if err != nil {
		return nil, err
	}
	if sent.packed != nil {
		req.Header.Set("Content-Encoding", "zstd")
	}
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Session-Id", sent.session)
	req.Header.Set("Thread-Id", sent.session)
	req.Header.Set("X-Client-Request-Id", newUUID())
	for name, values := range r.Header {
		req.Header[name] = values
	}
	c.upstream(token.Kind).Header(req.Header, token)
	return c.HTTP.Do(req)
}

// request is a request to an upstream's address with all that goes with every one: who asks, and where the workspace
// is served. body may be nil.
func (c *Client) request(ctx context.Context, method string, address func(Upstream) string, body pieces, token creds.Token) (*http.Request, error) {
	up, where := c.upstream(token.Kind), route{}
	if c.Router != nil {
		where = c.Router.find(ctx, c, token)
	}
	req, err := http.NewRequestWithContext(ctx, method, where.apply(address(up)), nil)
	if err != nil {
		return nil, err
	}
	if body != nil {
		body.bodyOf(req)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json")
	up.Header(req.Header, token)
	if where.override != "" {
		req.Header.Set("X-Openai-Account-Routing-Override", where.override)
	}
	return req, nil
}

// get fetches from the upstream with the sign-in. The caller closes the body.
func (c *Client) get(ctx context.Context, address func(Upstream) string, etag string) (*http.Response, error) {
	token, err := c.Tokens.Token(ctx)
	if err != nil {
		return nil, signInError(ctx, err)
	}
	if address(c.upstream(token.Kind)) == "" {
		return nil, c.notOffered()
	}
	req, err := c.request(ctx, http.MethodGet, address, nil, token)
	if err != nil {
		return nil, err
	}
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	return c.HTTP.Do(req)
}

func (c *Client) notOffered() *Error {
	return &Error{Status: http.StatusNotFound, Type: typeInvalid, Code: "not_available", Message: "Your kind of sign-in does not offer this. " + c.Advice.For(RemedySignInCodex)}
}

// readError makes an *Error of an answer that is not a 200, and closes its body.
func (c *Client) readError(resp *http.Response) *Error {
	defer resp.Body.Close()
	var body []byte
	if resp.StatusCode >= http.StatusBadRequest {
		body, _ = io.ReadAll(io.LimitReader(resp.Body, errorMost))
	}
	return fromAnswer(&Answer{Status: resp.StatusCode, Header: resp.Header, Body: body}, time.Now(), c.Advice)
}

// transportError is ctx's cause when that has ended, and else that nobody could be reached.
func (c *Client) transportError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return Unreachable(err, c.Advice)
}

func signInError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var u *creds.UnavailableError
	if errors.As(err, &u) {
		return SignIn(u.Error(), u.RetryAfter)
	}
	return SignIn(err.Error(), time.Second) // the program is ending
}

// recoverInto makes an error of a panic: what runs on a goroutine of its own must not end the program.
func recoverInto(err *error) {
	if cause := recover(); cause != nil {
		*err = Crashed(cause)
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// newUUID returns a random UUID, version 4. Source: RFC 9562, 5.4.
func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return formatUUID(b)
}

func formatUUID(b [16]byte) string {
	x := hex.EncodeToString(b[:])
	return strings.Join([]string{x[:8], x[8:12], x[12:16], x[16:20], x[20:]}, "-")
}
