package codex

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"codex-proxy/creds"
)

const (
	routesFresh = time.Hour
	routesRetry = 5 * time.Minute // after a look-up that failed
	routesWait  = 3 * time.Second // how long the first request waits for the look-up

	noConstraint = "NO_CONSTRAINT"
)

// Workspace is one account that the sign-in may use.
type Workspace struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Plan     string `json:"plan_type"`
	Kind     string `json:"structure"` // "personal" or "workspace"
	Origin   string `json:"workspace_backend_origin"`
	Override string `json:"account_routing_override"`
}

// WorkspaceRouter knows where the workspaces of a sign-in are served. Some are bound to another origin, or to a region.
// A failed look-up never stops requests: they then go where all do. Safe for concurrent use.
// Source: captured from Codex CLI 0.169.
type WorkspaceRouter struct {
	// URL is the endpoint; empty for an upstream without workspaces.
	URL string

	flight  singleflight.Group
	mu      sync.Mutex
	account string // account id of the sign-in that was asked with
	list    []Workspace
	asked   time.Time
	failed  bool
}

// route is where requests of one workspace go.
type route struct {
	origin   string // empty for the usual
	override string // header x-openai-account-routing-override, or empty
}

// find returns the route for t, and looks it up first when it is not known.
func (r *WorkspaceRouter) find(ctx context.Context, c *Client, t creds.Token) route {
	if r.URL == "" || t.Kind == creds.KindChatGPT || t.AccountID == "" {
		return route{}
	}
	known, fresh := r.state(t.AccountID)
	if !fresh {
		done := r.flight.DoChan("routes", func() (_ any, err error) {
			defer recoverInto(&err)
			return nil, r.lookUp(context.WithoutCancel(ctx), c, t)
		})
		if !known { // the first time
			timer := time.NewTimer(routesWait)
			defer timer.Stop()
			select {
			case <-done:
			case <-timer.C:
			case <-ctx.Done():
			}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.account != t.AccountID {
		return route{}
	}
	for _, w := range r.list {
		if w.ID == t.AccountID {
			return w.route(r.URL)
		}
	}
	return route{}
}

func (r *WorkspaceRouter) state(account string) (known, fresh bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known = r.account == account && !r.asked.IsZero()
	limit := routesFresh
	if r.failed {
		limit = routesRetry
	}
	return known, known && time.Since(r.asked) < limit
}

func (r *WorkspaceRouter) lookUp(ctx context.Context, c *Client, t creds.Token) error {
	list, err := r.fetch(ctx, c, t)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil || r.account != t.AccountID {
		r.list = list
	}
	r.account, r.asked, r.failed = t.AccountID, time.Now(), err != nil
	return err
}

func (r *WorkspaceRouter) fetch(ctx context.Context, c *Client, t creds.Token) ([]Workspace, error) {
	ctx, cancel := context.WithTimeout(ctx, modelsTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URL, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	c.upstream(t.Kind).Header(req.Header, t)
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var answer struct {
		Accounts []Workspace `json:"accounts"`
	}
	if resp.StatusCode != http.StatusOK {
		return nil, c.readError(resp)
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, errorMost))
	if err == nil {
		err = json.Unmarshal(raw, &answer)
	}
	return answer.Accounts, err
}

// Workspaces asks which accounts the sign-in may use. Errors are *Error, or ctx's.
func (c *Client) Workspaces(ctx context.Context) ([]Workspace, error) {
	t, err := c.Tokens.Token(ctx)
	if err != nil {
		return nil, signInError(ctx, err)
	}
	if c.Router == nil || c.Router.URL == "" || t.Kind == creds.KindChatGPT {
		return nil, nil
	}
	err = c.Router.lookUp(ctx, c, t)
	var known *Error
	if errors.As(err, &known) && known.Status == http.StatusUnauthorized {
		if t, err = c.Tokens.Rejected(ctx, t); err != nil {
			return nil, signInError(ctx, err)
		}
		err = c.Router.lookUp(ctx, c, t)
	}
	switch {
	case errors.As(err, &known):
		return nil, known
	case err != nil:
		return nil, c.transportError(ctx, err)
	}
	c.Router.mu.Lock()
	defer c.Router.mu.Unlock()
	return c.Router.list, nil
}

// route reads what the entry says. A sign-in is only ever sent to OpenAI's own hosts, whatever the entry says.
func (w Workspace) route(usual string) route {
	var out route
	if w.Override != noConstraint && printableHeader(w.Override) {
		out.override = w.Override
	}
	if w.Origin == "" || w.Origin == noConstraint {
		return out
	}
	u, err := url.Parse(w.Origin)
	if err != nil || u.User != nil || (u.Path != "" && u.Path != "/") || u.RawQuery != "" {
		return out
	}
	host := u.Hostname()
	ours := u.Scheme == "https" && u.Port() == "" && (host == "chatgpt.com" || strings.HasSuffix(host, ".chatgpt.com") || strings.HasSuffix(host, ".openai.com"))
	if base, err := url.Parse(usual); err == nil && loopback(base.Hostname()) && loopback(host) {
		ours = true // a stand-in routes to a stand-in
	}
	if ours {
		out.origin = u.Scheme + "://" + u.Host
	}
	return out
}

// apply moves an address of the usual origin.
func (r route) apply(address string) string {
	if r.origin == "" {
		return address
	}
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	return r.origin + u.RequestURI()
}

func loopback(host string) bool { return host == "127.0.0.1" || host == "localhost" || host == "::1" }

func printableHeader(s string) bool {
	for _, c := range s {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return s != "" && len(s) < 64
}
