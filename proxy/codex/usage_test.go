package codex

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"codex-proxy/creds"
)

// TestExtraLimitsAreKnownAsSuch, whichever way they are told: they must not be taken for the plan's own.
func TestExtraLimitsAreKnownAsSuch(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	var tracker UsageTracker
	h := http.Header{}
	for name, value := range map[string]string{
		"x-codex-primary-used-percent": "10", "x-codex-primary-window-minutes": "300",
		"x-spark-primary-used-percent": "99", "x-spark-primary-window-minutes": "300", "x-spark-limit-name": "Spark",
	} {
		h.Set(name, value)
	}
	tracker.Observe(h, false, now)
	asked := parseUsage([]byte(`{"rate_limit":{"primary_window":{"used_percent":10,"limit_window_seconds":18000}},
		"additional_rate_limits":[{"limit_name":"Spark","rate_limit":{"primary_window":{"used_percent":99,"limit_window_seconds":18000}}}]}`), now)
	for way, u := range map[string]Usage{"headers": tracker.Current(), "asked": asked} {
		if w, ok := u.Tightest(now); len(u.Windows) != 2 || !ok || w.Name != "5-hour" || w.UsedPercent != 10 {
			t.Errorf("%s: %+v of %+v", way, w, u.Windows)
		}
	}
}

// TestNumbersThatCantBeAreNotTold: what comes of them goes into JSON, which has none of them, and into the history.
func TestNumbersThatCantBeAreNotTold(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for _, odd := range []struct{ used, minutes, at, after string }{
		{used: "NaN"}, {used: "Inf"}, {used: "-1"}, {used: "1e999"}, {used: "250"},
		{used: "10", at: "1800003600000"}, // milliseconds
		{used: "10", after: "9223372036854775807"},
		{used: "10", minutes: "9223372036854775807"}, {used: "10", minutes: "-300"},
	} {
		h := http.Header{}
		window := ""
		for name, value := range map[string]string{"used-percent": odd.used, "window-minutes": odd.minutes, "reset-at": odd.at, "reset-after-seconds": odd.after} {
			if value == "" {
				continue
			}
			h.Set("x-codex-primary-"+name, value)
			window += `,"` + map[string]string{"used-percent": "used_percent", "window-minutes": "limit_window_seconds", "reset-at": "reset_at", "reset-after-seconds": "reset_after_seconds"}[name] + `":` + value
		}
		var tracker UsageTracker
		tracker.Observe(h, false, now)
		asked := parseUsage([]byte(`{"rate_limit":{"primary_window":{`+window[1:]+`}}}`), now)
		for way, u := range map[string]Usage{"headers": tracker.Current(), "asked": asked} {
			if _, err := json.Marshal(u); err != nil {
				t.Errorf("%+v, %s: %v", odd, way, err)
			}
			for _, w := range u.Windows {
				if !(w.UsedPercent >= 0 && w.UsedPercent <= 100) || w.Length < 0 || w.Length > farthest*time.Second || !w.ResetsAt.IsZero() {
					t.Errorf("%+v, %s: %+v", odd, way, w)
				}
			}
		}
	}
}

// page answers every request with a web page, as a network does that wants its user to log in first.
type page struct{}

func (page) Do(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("<html>Log in")), Request: r}, nil
}

func (page) Token(context.Context) (creds.Token, error) { return creds.Token{Access: "a"}, nil }

func (page) Rejected(context.Context, creds.Token) (creds.Token, error) { return creds.Token{}, io.EOF }

func (page) Accepted(creds.Token) {}

func TestAWebPageIsNoUsage(t *testing.T) {
	var tracker UsageTracker
	tracker.set(parseUsage([]byte(`{"rate_limit":{"primary_window":{"used_percent":10}}}`), time.Now()))
	c := &Client{Upstreams: map[creds.Kind]Upstream{creds.KindCodex: {AccountURL: "http://localhost", Header: func(http.Header, creds.Token) {}}}, HTTP: page{}, Tokens: page{}, UsageTracker: &tracker}
	if u, err := tracker.Fetch(t.Context(), c, true); err == nil || len(u.Windows) != 1 {
		t.Errorf("%+v, %v", u, err)
	}
}
