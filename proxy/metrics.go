package proxy

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"codex-proxy/creds"
	"codex-proxy/proxy/codex"
)

// serverMetrics are the numbers of GET /metrics, in Prometheus' text format. Labels are bounded: paths and models that are
// not known count as "other".
type serverMetrics struct {
	set    *metrics.Set
	models *codex.Catalogue
	open   atomic.Int64 // requests, and turns of sockets, that have begun and not ended
}

func newServerMetrics(state func() creds.State, client *codex.Client) *serverMetrics {
	m := &serverMetrics{set: metrics.NewSet(), models: client.Models}
	m.set.NewGauge("codex_proxy_sign_in_usable", func() float64 {
		if state().Usable {
			return 1
		}
		return 0
	})
	m.set.NewGauge("codex_proxy_sign_in_expires_seconds", func() float64 {
		if end := state().ExpiresAt; !end.IsZero() {
			return time.Until(end).Seconds()
		}
		return 0
	})
	m.set.NewGauge(`codex_proxy_refreshes_total{result="ok"}`, func() float64 { return float64(state().Refreshes) })
	m.set.NewGauge(`codex_proxy_refreshes_total{result="failed"}`, func() float64 { return float64(state().RefreshFailures) })
	m.set.NewGauge("codex_proxy_requests_open", func() float64 { return float64(m.open.Load()) })
	m.set.RegisterMetricsWriter(func(w io.Writer) { writeWindows(w, client.UsageTracker.Current()) })
	return m
}

// knownRoutes are those that have a label of their own.
var knownRoutes = []string{"/chat/completions", "/completions", "/responses", "/models", "/messages", "/api/chat", "/api/generate", "/images/generations"}

// firstTokenBuckets are upper bounds in seconds, for quick answers as well as for long thinking.
var firstTokenBuckets = []float64{0.1, 0.25, 0.5, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 60}

// begun counts one request that is not answered yet.
func (m *serverMetrics) begun(s Start) {
	if s.Dialect != "" {
		m.open.Add(1)
	}
}

// add counts one request that has ended. Those to the proxy's own addresses are not counted.
func (m *serverMetrics) add(r Record, failure *codex.Error) {
	if r.Dialect == "" {
		return
	}
	m.open.Add(-1)
	label := "other"
	for _, known := range knownRoutes {
		if r.Route == known || strings.HasPrefix(r.Route, known+"/") {
			label = known
		}
	}
	model := m.model(r.Model)
	m.set.GetOrCreateCounter(fmt.Sprintf(`codex_proxy_requests_total{route=%q,model=%q,status="%d"}`, label, model, r.Status)).Inc()
	for _, tokens := range []struct {
		kind  string
		count int64
	}{{"input", r.Input}, {"cached", r.Cached}, {"output", r.Output}, {"reasoning", r.Reasoning}} {
		if tokens.count > 0 {
			m.set.GetOrCreateCounter(fmt.Sprintf(`codex_proxy_tokens_total{kind=%q,model=%q}`, tokens.kind, model)).AddInt64(tokens.count)
		}
	}
	if r.FirstToken > 0 {
		m.set.GetOrCreatePrometheusHistogramExt("codex_proxy_first_token_seconds", firstTokenBuckets).Update(r.FirstToken.Seconds())
	}
	if failure != nil && failure.Status >= 500 {
		m.set.GetOrCreateCounter(fmt.Sprintf(`codex_proxy_upstream_errors_total{code=%q}`, printable(failure.Code))).Inc()
	}
}

func (m *serverMetrics) model(name string) string {
	if name == "" {
		return ""
	}
	id, _ := m.models.Resolve(name, "")
	if _, ok := m.models.Find(id); ok {
		return id
	}
	return "other"
}

// printable bounds a label that the upstream chose.
func printable(code string) string {
	if len(code) > 60 || strings.ContainsFunc(code, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_'
	}) {
		return "other"
	}
	return code
}

func (m *serverMetrics) write(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	m.set.WritePrometheus(w)
}

// writeWindows says how much of each of the plan's limits is used.
func writeWindows(w io.Writer, u codex.Usage) {
	windows := slices.Clone(u.Windows)
	slices.SortFunc(windows, func(a, b codex.Window) int { return strings.Compare(a.Name, b.Name) })
	for _, window := range windows {
		fmt.Fprintf(w, "codex_proxy_window_used_percent{window=%q} %g\n", window.Name, window.UsedPercent)
	}
}
