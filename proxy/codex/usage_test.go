package codex

import (
	"net/http"
	"testing"
	"time"
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
