package proxy

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"codex-proxy/proxy/codex"
)

// limitHeader says in words that a limit of the plan is nearly reached.
const limitHeader = "X-Codex-Proxy-Limit"

// nearlyFull is the share of a window, in percent, from which the answers say so.
const nearlyFull = 90

// announceLimits tells how much of the plan is left in the headers by which OpenAI's clients pace themselves. The plan has
// windows and no numbers of requests, so what is told is percent of the tightest window: 100 is the limit, and 0 is left only
// once it is full. Nothing is told in tokens: a client that took percent for tokens would wait for hours before a request
// that needs more. Without a window that is known there are none.
// Source: OpenAI guide on rate limits, headers.
func announceLimits(h http.Header, u codex.Usage, now time.Time) {
	w, ok := u.Tightest(now)
	if !ok {
		return
	}
	used := min(max(w.UsedPercent, 0), 100)
	if u.ReachedAt(now) {
		used = 100
	}
	reset := time.Duration(0)
	if !w.ResetsAt.IsZero() {
		reset = (w.ResetsAt.Sub(now) + time.Second - 1).Truncate(time.Second)
	}
	h.Set("X-Ratelimit-Limit-Requests", "100")
	h.Set("X-Ratelimit-Remaining-Requests", strconv.Itoa(int(math.Ceil(100-used))))
	if reset > 0 {
		h.Set("X-Ratelimit-Reset-Requests", reset.String())
	}
	if used < nearlyFull {
		return
	}
	text := fmt.Sprintf("%d %% of the %s window is used", int(used), w.Name)
	if reset > 0 {
		text += "; it resets at " + codex.Clock(w.ResetsAt, now)
	}
	h.Set(limitHeader, text)
}
