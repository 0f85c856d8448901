package proxy

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"codex-proxy/proxy/codex"
)

// ratelimits are the headers that say how much of the plan is left: limit, remaining and reset of requests, what is told of
// tokens, and the warning in words.
func ratelimits(h http.Header) (values []string) {
	for _, name := range []string{"Limit-Requests", "Remaining-Requests", "Reset-Requests", "Remaining-Tokens"} {
		values = append(values, h.Get("X-Ratelimit-"+name))
	}
	return append(values, h.Get("X-Codex-Proxy-Limit"))
}

func TestEveryAnswerSaysHowMuchOfThePlanIsLeft(t *testing.T) {
	r := newRig(t)
	if _, h, _, _ := r.do(http.MethodGet, "/v1/models", ""); strings.Join(ratelimits(h), "") != "" {
		t.Fatalf("nothing is known yet: %q", ratelimits(h))
	}
	r.backend.SetUsage(70.4)
	for name := range dialects {
		for _, stream := range []bool{false, true} {
			for say, want := range map[string]struct {
				remaining string
				status    int
			}{"Hello there": {"30", 200}, "[[failed context_length_exceeded]]": {"30", 400}, "[[limit]]": {"0", 402}} {
				path, body := question(name, say, stream)
				status, h, _, _ := r.do(http.MethodPost, path, body)
				got := ratelimits(h)
				reset, err := time.ParseDuration(got[2])
				if status != want.status || got[0] != "100" || got[1] != want.remaining || err != nil || reset <= 25*time.Minute || reset > 2*time.Hour+time.Second ||
					got[3] != "" || (got[4] != "") != (want.remaining == "0") {
					t.Errorf("%s %v %s: %d %q", name, stream, say, status, got)
				}
			}
		}
	}
	r.post("/v1/responses", `{"input":"Hello there"}`)
	for path, status := range map[string]int{"/v1/models": 200, "/v1/nothing": 404, "/api/tags": 200, "/v1beta/models": 200, "/v1/responses/resp_x": 404} {
		if got, h, _, _ := r.do(http.MethodGet, path, ""); got != status || h.Get("X-Ratelimit-Remaining-Requests") != "30" {
			t.Errorf("%s: %d %q", path, got, ratelimits(h))
		}
	}
	for _, path := range []string{"/", "/health", "/metrics"} {
		if _, h, _, _ := r.do(http.MethodGet, path, ""); strings.Join(ratelimits(h), "") != "" {
			t.Errorf("%s is no answer of the API: %q", path, ratelimits(h))
		}
	}
}

func TestWhoMayNotUseThePlanDoesNotHearHowMuchIsLeft(t *testing.T) {
	r := newRig(t, func(c *Config) {
		c.Guard.Keys = named{"secret": "VS Code"}
		c.Guard.KeyRequired = func() bool { return true }
	})
	r.post("/v1/responses", `{"input":"Hello there"}`, "X-Api-Key", "secret")
	for name, header := range map[string][]string{"no key": nil, "a page": {"Origin", "https://evil.example", "X-Api-Key", "secret"}, "another name": {"Host", "evil.example", "X-Api-Key", "secret"}} {
		if status, h, _, _ := r.do(http.MethodGet, "/v1/models", "", header...); status < 400 || strings.Join(ratelimits(h), "") != "" {
			t.Errorf("%s: %d %q", name, status, ratelimits(h))
		}
	}
	if _, h, _, _ := r.do(http.MethodGet, "/v1/models", "", "X-Api-Key", "secret"); h.Get("X-Ratelimit-Limit-Requests") != "100" {
		t.Errorf("with the key: %q", ratelimits(h))
	}
}

func TestTheTightestWindowCounts(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 400e6, time.Local)
	in := func(d time.Duration) time.Time { return now.Add(d) }
	for name, c := range map[string]struct {
		usage codex.Usage
		want  string // remaining, reset, warning
	}{
		"nothing known":         {codex.Usage{}, "||"},
		"the fuller":            {codex.Usage{Windows: []codex.Window{{Name: "5-hour", UsedPercent: 20, ResetsAt: in(time.Hour)}, {Name: "weekly", UsedPercent: 61, ResetsAt: in(70*time.Hour + 3*time.Second)}}}, "39|70h0m3s|"},
		"a part of a second":    {codex.Usage{Windows: []codex.Window{{UsedPercent: 1, ResetsAt: in(3722*time.Second + time.Millisecond)}}}, "99|1h2m3s|"},
		"a part of a percent":   {codex.Usage{Windows: []codex.Window{{Name: "5-hour", UsedPercent: 99.6, ResetsAt: in(time.Hour)}}}, "1|1h0m0s|99 % of the 5-hour window is used; it resets at 13:00"},
		"nearly full":           {codex.Usage{Windows: []codex.Window{{Name: "5-hour", UsedPercent: 90, ResetsAt: in(2 * time.Hour)}}}, "10|2h0m0s|90 % of the 5-hour window is used; it resets at 14:00"},
		"on another day":        {codex.Usage{Windows: []codex.Window{{Name: "weekly", UsedPercent: 95, ResetsAt: in(72 * time.Hour)}}}, "5|72h0m0s|95 % of the weekly window is used; it resets at Thu 26 Nov, 12:00"},
		"over":                  {codex.Usage{Windows: []codex.Window{{Name: "5-hour", UsedPercent: 104}}}, "0||100 % of the 5-hour window is used"},
		"refused":               {codex.Usage{Reached: true, Windows: []codex.Window{{Name: "5-hour", UsedPercent: 97, ResetsAt: in(time.Minute)}}}, "0|1m0s|100 % of the 5-hour window is used; it resets at 12:01"},
		"begun anew":            {codex.Usage{Reached: true, Windows: []codex.Window{{Name: "5-hour", UsedPercent: 100, ResetsAt: in(-time.Second)}}}, "||"},
		"the other goes on":     {codex.Usage{Windows: []codex.Window{{Name: "5-hour", UsedPercent: 99, ResetsAt: in(-time.Second)}, {Name: "weekly", UsedPercent: 61}}}, "39||"},
		"of one feature only":   {codex.Usage{Windows: []codex.Window{{Name: "Spark 5-hour", UsedPercent: 99, Extra: true}, {Name: "weekly", UsedPercent: 5}}}, "95||"},
		"nothing but a feature": {codex.Usage{Windows: []codex.Window{{Name: "Spark 5-hour", UsedPercent: 99, Extra: true}}}, "||"},
	} {
		h := http.Header{}
		announceLimits(h, c.usage, now)
		if got := h.Get("X-Ratelimit-Remaining-Requests") + "|" + h.Get("X-Ratelimit-Reset-Requests") + "|" + h.Get(limitHeader); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
