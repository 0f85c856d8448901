package codex

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/gjson"
	"golang.org/x/sync/singleflight"
)

// Window is one limit of the plan: so much in so long.
type Window struct {
	Name        string        `json:"name"`         // "5-hour", "weekly", or the extra limit's own name
	UsedPercent float64       `json:"used_percent"` // 0 to 100
	Length      time.Duration `json:"-"`
	ResetsAt    time.Time     `json:"resets_at,omitzero"`
	Extra       bool          `json:"extra,omitempty"` // an extra limit, of one model or feature
}

// OverAt reports whether the window has ended by t, and another has begun.
func (w Window) OverAt(t time.Time) bool { return !w.ResetsAt.IsZero() && !t.Before(w.ResetsAt) }

// Usage is how much of the plan has been used, as far as the upstream has said.
type Usage struct {
	Windows   []Window  `json:"windows"`
	Credits   *Credits  `json:"credits,omitempty"`
	Reached   bool      `json:"limit_reached"`
	UpdatedAt time.Time `json:"updated_at,omitzero"` // zero when nothing is known
}

// ReachedAt reports whether a limit is reached at t: it ends with the fullest window, whether or not anybody asked since.
func (u Usage) ReachedAt(t time.Time) bool {
	var fullest Window
	for _, w := range u.Windows {
		if w.UsedPercent >= fullest.UsedPercent {
			fullest = w
		}
	}
	return u.Reached && (fullest.ResetsAt.IsZero() || t.Before(fullest.ResetsAt))
}

// Tightest is the window of the plan's own of which the most is used at t. Extra limits don't count, since most requests are
// not about them, nor do windows that have begun anew since they were told.
func (u Usage) Tightest(t time.Time) (tightest Window, ok bool) {
	for _, w := range u.Windows {
		if !w.Extra && !w.OverAt(t) && (!ok || w.UsedPercent > tightest.UsedPercent) {
			tightest, ok = w, true
		}
	}
	return tightest, ok
}

// Credits are what was bought beyond the plan.
type Credits struct {
	Has       bool   `json:"has_credits"`
	Unlimited bool   `json:"unlimited"`
	Balance   string `json:"balance,omitempty"`
}

// usageFresh is how long a number is shown without asking again.
const usageFresh = 5 * time.Minute

// UsageTracker knows the newest Usage: each answer's headers bring it, and the usage endpoint when asked. Safe for concurrent
// use. The zero value is ready.
type UsageTracker struct {
	flight singleflight.Group

	mu      sync.Mutex
	usage   Usage
	changed []func(Usage)
}

// Current returns what is known.
func (m *UsageTracker) Current() Usage {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.usage
}

// OnChange has f called with each new Usage, from the goroutine that brought it; f must not block.
func (m *UsageTracker) OnChange(f func(Usage)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.changed = append(m.changed, f)
}

// Clear forgets everything: another account has signed in.
func (m *UsageTracker) Clear() { m.set(Usage{}) }

func (m *UsageTracker) set(u Usage) {
	m.mu.Lock()
	m.usage = u
	listeners := m.changed
	m.mu.Unlock()
	for _, f := range listeners {
		f(u)
	}
}

// Observe reads the headers that the Codex backend sends with each answer.
// Source: codex-rs/codex-api/src/rate_limits.rs.
func (m *UsageTracker) Observe(h http.Header, reached bool, now time.Time) {
	u := Usage{UpdatedAt: now, Reached: reached}
	for _, window := range []string{"Primary", "Secondary"} {
		if w, ok := windowFromHeader(h, "X-Codex-"+window, "", now); ok {
			u.Windows = append(u.Windows, w)
		}
	}
	for name, values := range h { // x-<limit>-primary-used-percent with x-<limit>-limit-name
		limit, ok := strings.CutSuffix(name, "-Primary-Used-Percent")
		if !ok || limit == "X-Codex" || len(values) == 0 {
			continue
		}
		if w, ok := windowFromHeader(h, limit+"-Primary", h.Get(limit+"-Limit-Name"), now); ok {
			w.Extra = true
			u.Windows = append(u.Windows, w)
		}
	}
	if has := h.Get("X-Codex-Credits-Has-Credits"); has != "" {
		u.Credits = &Credits{Has: isTrue(has), Unlimited: isTrue(h.Get("X-Codex-Credits-Unlimited")), Balance: h.Get("X-Codex-Credits-Balance")}
	}
	if len(u.Windows) == 0 && u.Credits == nil && !reached {
		if known := m.Current(); known.Reached { // an upstream that tells no numbers answers again
			known.Reached, known.UpdatedAt = false, now
			m.set(known)
		}
		return
	}
	if len(u.Windows) == 0 {
		u.Windows = m.Current().Windows
	}
	m.set(u)
}

func isTrue(s string) bool { return strings.EqualFold(s, "true") || s == "1" }

func windowFromHeader(h http.Header, prefix, name string, now time.Time) (Window, bool) {
	used, err := strconv.ParseFloat(h.Get(prefix+"-Used-Percent"), 64)
	if err != nil {
		return Window{}, false
	}
	number := func(field string) int64 {
		n, _ := strconv.ParseInt(h.Get(prefix+field), 10, 64)
		return n
	}
	return windowOf(name, used, min(number("-Window-Minutes"), farthest)*60, number("-Reset-At"), number("-Reset-After-Seconds"), now)
}

// farthest is how many seconds a window may last, or last on. What is more is told in another unit, or makes no sense.
const farthest = 366 * 24 * 3600

// windowOf is a window as the upstream tells it: its length, when it resets and after how long, in seconds, and zero for
// what is not told. What can't be is left out; false where that is all of it.
func windowOf(name string, used float64, length, at, after int64, now time.Time) (Window, bool) {
	if math.IsNaN(used) {
		return Window{}, false
	}
	w := Window{UsedPercent: min(max(used, 0), 100)}
	if length > 0 && length <= farthest {
		w.Length = time.Duration(length) * time.Second
	}
	if at > 0 && at <= now.Unix()+farthest {
		w.ResetsAt = time.Unix(at, 0)
	} else if after > 0 && after <= farthest {
		w.ResetsAt = now.Add(time.Duration(after) * time.Second)
	}
	w.Name = windowName(name, w.Length)
	return w, true
}

func windowName(name string, length time.Duration) string {
	kind := ""
	switch hours := int(length.Hours()); {
	case length == 0:
	case hours == 7*24:
		kind = "weekly"
	case hours >= 24 && hours%24 == 0:
		kind = strconv.Itoa(hours/24) + "-day"
	default:
		kind = strconv.Itoa(hours) + "-hour"
	}
	switch {
	case name == "" && kind == "":
		return "limit"
	case name == "":
		return kind
	case kind == "":
		return name
	}
	return name + " " + kind
}

var errNoUsage = errors.New("the upstream tells no usage")

// Fetch asks the usage endpoint unless what is known is fresh, or force is set. Callers at the same time share one
// request. The upstream of "Sign in with ChatGPT" has none.
func (m *UsageTracker) Fetch(ctx context.Context, c *Client, force bool) (Usage, error) {
	if u := m.Current(); !force && time.Since(u.UpdatedAt) < usageFresh {
		return u, nil
	}
	ctx, cancel := context.WithTimeout(ctx, modelsTimeout)
	defer cancel()
	done := m.flight.DoChan("usage", func() (_ any, err error) {
		defer recoverInto(&err)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), modelsTimeout)
		defer cancel()
		resp, err := c.Account(ctx, usageCall)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		raw, err := io.ReadAll(io.LimitReader(resp.Body, errorMost))
		if err != nil || !gjson.ValidBytes(raw) { // such as the page of a network that wants its user to log in
			return nil, errNoUsage
		}
		m.set(parseUsage(raw, time.Now()))
		return nil, nil
	})
	select {
	case r := <-done:
		return m.Current(), r.Err
	case <-ctx.Done():
		return m.Current(), ctx.Err()
	}
}

const usageCall = "/usage"

// AccountCalls are what Account can ask: all of it only reads. Source: Codex CLI 0.169, captured.
var AccountCalls = []string{usageCall, "/rate-limit-reset-credits"}

// Account asks the upstream something about the account, one of AccountCalls, and returns its answer when that is a 200.
// The caller closes the body. Errors are *Error, or ctx's.
func (c *Client) Account(ctx context.Context, call string) (*http.Response, error) {
	resp, err := c.get(ctx, func(u Upstream) string {
		if u.AccountURL == "" {
			return ""
		}
		return u.AccountURL + call
	}, "")
	var known *Error
	switch {
	case errors.As(err, &known):
		return nil, err
	case err != nil:
		return nil, c.transportError(ctx, err)
	case resp.StatusCode != http.StatusOK:
		return nil, c.readError(resp)
	}
	return resp, nil
}

// parseUsage reads the answer of the usage endpoint.
func parseUsage(raw []byte, now time.Time) Usage {
	doc := gjson.ParseBytes(raw)
	u := Usage{UpdatedAt: now, Reached: doc.Get("rate_limit.limit_reached").Bool()}
	add := func(name string, limit gjson.Result, extra bool) {
		for _, key := range []string{"primary_window", "secondary_window"} {
			w := limit.Get(key)
			if !w.IsObject() {
				continue
			}
			if window, ok := windowOf(name, w.Get("used_percent").Float(), w.Get("limit_window_seconds").Int(), w.Get("reset_at").Int(), w.Get("reset_after_seconds").Int(), now); ok {
				window.Extra = extra
				u.Windows = append(u.Windows, window)
			}
		}
	}
	add("", doc.Get("rate_limit"), false)
	for _, extra := range doc.Get("additional_rate_limits").Array() {
		add(extra.Get("limit_name").String(), extra.Get("rate_limit"), true)
	}
	if c := doc.Get("credits"); c.IsObject() {
		u.Credits = &Credits{Has: c.Get("has_credits").Bool(), Unlimited: c.Get("unlimited").Bool(), Balance: c.Get("balance").String()}
	}
	return u
}
