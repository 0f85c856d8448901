// Package codex is the only place that knows OpenAI's side of the proxy: which requests it takes, the headers, the
// events it answers with, its errors, its models. Translators turn a caller's dialect into a [Request] and the events
// of a [Stream] back into the dialect; which [Upstream] answers they do not know.
package codex

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"codex-proxy/creds"
)

const (
	// shortWait is the longest retry-after that is waited for here, instead of being passed on.
	shortWait = 5 * time.Second
	errorMost = 1 << 20 // bytes of an error's body
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
type Doer interface {
	Do(*http.Request) (*http.Response, error)
}

// Client sends requests to the upstream that takes the sign-in. Its fields are set before use and not changed. Safe
// for concurrent use.
type Client struct {
	Upstreams    map[creds.Kind]Upstream // one for creds.KindCodex is required
	HTTP         Doer
	Tokens       TokenSource
	Models       *Catalogue
	UsageTracker *UsageTracker    // hears how much of the plan is used; may be nil
	Router       *WorkspaceRouter // may be nil
	IdleTimeout  time.Duration    // silence after which a stream is given up
	KeepAlive    time.Duration    // silence after which the caller is told that the answer is still coming
}

// Stream is an answer that is coming. One goroutine uses it; it must be closed.
type Stream struct {
	Header http.Header // of the backend's answer

	dec    *Decoder
	body   io.ReadCloser
	cancel context.CancelCauseFunc
	ctx    context.Context
	done   bool // the last event was handed out
	idle   *idle
}

// upstream is the one that takes sign-ins of that kind.
func (c *Client) upstream(kind creds.Kind) Upstream {
	if u, ok := c.Upstreams[kind]; ok {
		return u
	}
	return c.Upstreams[creds.KindCodex]
}

// Stream sends r and returns when the answer has begun. Cancelling ctx ends the request at the backend. Errors are
// *Error, or ctx's when the caller went away.
func (c *Client) Stream(ctx context.Context, r *Request) (*Stream, error) {
	token, err := c.Tokens.Token(ctx)
	if err != nil {
		return nil, signInError(ctx, err)
	}
	body, session, err := r.encode(c.upstream(token.Kind), c.Models)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	idle := newIdle(c.KeepAlive, c.IdleTimeout, cancel)
	resp, err := c.post(ctx, token, r, body, session)
	if err != nil {
		idle.stop()
		cancel(nil)
		if errors.Is(err, errIdle) {
			err = Silent(c.IdleTimeout)
		}
		return nil, err
	}
	return &Stream{Header: resp.Header, dec: NewDecoder(resp.Body), body: resp.Body, cancel: cancel, ctx: ctx, idle: idle}, nil
}

// post sends the body, once more with another token after a 401, and once more after a short wait where the backend
// asks for one. Nothing has been sent to the caller by then.
func (c *Client) post(ctx context.Context, token creds.Token, r *Request, body []byte, session string) (*http.Response, error) {
	renewed, waited := false, false
	for {
		resp, err := c.send(ctx, r, body, session, token)
		if err != nil {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			return nil, Unreachable(err)
		}
		if resp.StatusCode == http.StatusOK {
			c.Tokens.Accepted(token)
			c.observe(resp.Header, false)
			return resp, nil
		}
		failure := readError(resp)
		c.observe(resp.Header, failure.Type == typeQuota)
		switch {
		case resp.StatusCode == http.StatusUnauthorized && !renewed:
			renewed = true
			kind := token.Kind
			if token, err = c.Tokens.Rejected(ctx, token); err != nil {
				return nil, signInError(ctx, err)
			}
			if token.Kind != kind { // the user signed in another way, and the body is not for that
				return nil, SignIn("Another sign-in is in use now. Send the request again", time.Second)
			}
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

// Forward posts a body as it is to a path under the responses endpoint and returns the answer. Of the caller's headers
// only the Codex CLI's own go up. Errors are *Error, or ctx's when the caller went away.
func (c *Client) Forward(ctx context.Context, path string, body []byte, from http.Header) (status int, header http.Header, answer []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.IdleTimeout)
	defer cancel()
	token, err := c.Tokens.Token(ctx)
	if err != nil {
		return 0, nil, nil, signInError(ctx, err)
	}
	for renewed := false; ; renewed = true {
		up, where := c.upstream(token.Kind), c.route(ctx, token)
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, where.apply(up.ResponsesURL+path), bytes.NewReader(body))
		if err != nil {
			return 0, nil, nil, Invalid("", "There is nothing at this address")
		}
		for _, name := range nativeHeaders {
			if v := from.Get(name); v != "" {
				req.Header.Set(name, v)
			}
		}
		req.Header.Set("Content-Type", "application/json")
		up.Header(req.Header, token)
		resp, err := c.HTTP.Do(req)
		if err != nil {
			return 0, nil, nil, Unreachable(err)
		}
		raw, err := io.ReadAll(io.LimitReader(resp.Body, maxEvent))
		resp.Body.Close()
		if err != nil {
			return 0, nil, nil, Broken()
		}
		if resp.StatusCode == http.StatusUnauthorized && !renewed {
			if token, err = c.Tokens.Rejected(ctx, token); err != nil {
				return 0, nil, nil, signInError(ctx, err)
			}
			continue
		}
		c.observe(resp.Header, false)
		if resp.StatusCode == http.StatusOK {
			c.Tokens.Accepted(token)
		}
		if resp.StatusCode >= http.StatusBadRequest {
			return 0, nil, nil, fromAnswer(&Answer{Status: resp.StatusCode, Header: resp.Header, Body: raw}, time.Now())
		}
		return resp.StatusCode, resp.Header, raw, nil
	}
}

func (c *Client) observe(h http.Header, reached bool) {
	if c.UsageTracker != nil {
		c.UsageTracker.Observe(h, reached, time.Now())
	}
}

func (c *Client) send(ctx context.Context, r *Request, body []byte, session string, token creds.Token) (*http.Response, error) {
	up, where := c.upstream(token.Kind), c.route(ctx, token)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, where.apply(up.ResponsesURL), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Session-Id", session)
	req.Header.Set("Thread-Id", session)
	req.Header.Set("X-Client-Request-Id", newUUID())
	for name, values := range r.Header {
		req.Header[name] = values
	}
	up.Header(req.Header, token)
	if where.override != "" {
		req.Header.Set("X-Openai-Account-Routing-Override", where.override)
	}
	return c.HTTP.Do(req)
}

func (c *Client) route(ctx context.Context, t creds.Token) route {
	if c.Router == nil {
		return route{}
	}
	return c.Router.find(ctx, c, t)
}

// get fetches from the upstream with the sign-in. The caller closes the body.
func (c *Client) get(ctx context.Context, address func(Upstream) string, etag string) (*http.Response, error) {
	token, err := c.Tokens.Token(ctx)
	if err != nil {
		return nil, signInError(ctx, err)
	}
	up := c.upstream(token.Kind)
	if address(up) == "" {
		return nil, &Error{Status: http.StatusNotFound, Type: typeInvalid, Code: "not_available", Message: "Your kind of sign-in does not offer this. Run `codex-proxy login --codex` for one that does"}
	}
	where := c.route(ctx, token)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where.apply(address(up)), nil)
	if err != nil {
		return nil, err
	}
	if where.override != "" {
		req.Header.Set("X-Openai-Account-Routing-Override", where.override)
	}
	req.Header.Set("Accept", "application/json")
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	up.Header(req.Header, token)
	return c.HTTP.Do(req)
}

// OnQuiet has f called, from another goroutine, each time the backend has been silent for the keep-alive time. It is
// not called after Close has returned.
func (s *Stream) OnQuiet(f func()) { s.idle.onQuiet(f) }

// Buffered reports whether a further event has come already, at least in part.
func (s *Stream) Buffered() bool { return s.dec.Buffered() }

// Next returns the next event, valid until the following call. After the one that ends an answer the error is io.EOF;
// when the stream ends before that it is an *Error, or ctx's error when the caller went away.
func (s *Stream) Next() (Event, error) {
	if s.done {
		return Event{}, io.EOF
	}
	ev, err := s.dec.Next()
	s.idle.alive()
	if err != nil {
		return Event{}, s.broken(err)
	}
	switch ev.Type {
	case TypeCompleted, TypeIncomplete, TypeFailed, TypeError:
		s.done = true
	}
	return ev, nil
}

func (s *Stream) broken(err error) error {
	switch cause := context.Cause(s.ctx); {
	case errors.Is(cause, errIdle):
		return Silent(s.idle.timeout)
	case cause != nil:
		return cause
	case errors.Is(err, errEventTooLarge):
		e := Broken()
		e.Message = "ChatGPT sent an event that is too large to pass on"
		return e
	}
	return Broken()
}

// Done reports whether the answer has come to its end.
func (s *Stream) Done() bool { return s.done }

// Close ends the request at the backend.
func (s *Stream) Close() {
	s.idle.stop()
	s.cancel(nil)
	s.body.Close()
	s.dec.Release()
}

var errIdle = errors.New("the backend is silent")

// idle watches for silence with one timer and no work on the way of an event but a flag.
type idle struct {
	every, timeout time.Duration
	cancel         context.CancelCauseFunc
	heard          atomic.Bool
	quiet          atomic.Pointer[func()]
	timer          *time.Timer
	silence        time.Duration // used by the timer only
	mu             sync.Mutex    // held while the timer acts
	stopped        bool
}

func newIdle(every, timeout time.Duration, cancel context.CancelCauseFunc) *idle {
	if every <= 0 || every > timeout {
		every = timeout
	}
	i := &idle{every: every, timeout: timeout, cancel: cancel}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.timer = time.AfterFunc(every, i.look)
	return i
}

func (i *idle) alive() {
	if !i.heard.Load() {
		i.heard.Store(true)
	}
}

func (i *idle) onQuiet(f func()) { i.quiet.Store(&f) }

func (i *idle) look() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.stopped {
		return
	}
	if i.heard.Swap(false) {
		i.silence = 0
	} else if i.silence += i.every; i.silence >= i.timeout {
		i.cancel(errIdle)
		return
	} else if f := i.quiet.Load(); f != nil {
		(*f)()
	}
	i.timer.Reset(i.every)
}

func (i *idle) stop() {
	i.timer.Stop()
	i.mu.Lock()
	defer i.mu.Unlock()
	i.stopped = true
}

func readError(resp *http.Response) *Error {
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, errorMost))
	return fromAnswer(&Answer{Status: resp.StatusCode, Header: resp.Header, Body: body}, time.Now())
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
	x := hex.EncodeToString(b[:])
	return x[:8] + "-" + x[8:12] + "-" + x[12:16] + "-" + x[16:20] + "-" + x[20:]
}
