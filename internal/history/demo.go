package history

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// FillDemo fills a history with a believable week that ends now: the same one for the same time.
func FillDemo(s *Store, now time.Time) error {
	random := rand.New(rand.NewPCG(9879, uint64(now.Unix()/3600)))
	programs := []struct {
		client, route, dialect, model, effort string
		share, input                          float64
		cached, tokens                        float64 // share of the input; tokens a second
	}{
		{"Claude Code", "/v1/messages", "anthropic", "gpt-5.5", "high", 0.36, 34_000, 0.93, 74},
		{"Codex CLI", "/v1/responses", "openai", "gpt-5.5-codex", "medium", 0.28, 52_000, 0.95, 88},
		{"Zed", "/v1/chat/completions", "openai", "gpt-5.5", "", 0.16, 4_200, 0.42, 81},
		{"Continue", "/v1/chat/completions", "openai", "gpt-5.5-mini", "low", 0.12, 1_900, 0.2, 128},
		{"OpenAI Python", "/v1/chat/completions", "openai", "gpt-5.5-mini", "", 0.08, 700, 0, 121},
	}
	var batch []Record
	var windows []Window
	five, week := 0.0, 4.0
	weekReset := now.Truncate(time.Hour).Add(43 * time.Hour)
	fiveReset := time.Time{}
	first := now.Add(-7 * 24 * time.Hour)
	for at := first; at.Before(now); at = at.Add(5 * time.Minute) {
		local := at.Local()
		busy := math.Exp(-math.Pow((float64(local.Hour())+float64(local.Minute())/60-11)/2.4, 2)) + 0.9*math.Exp(-math.Pow((float64(local.Hour())+float64(local.Minute())/60-16.5)/2.6, 2))
		if now.Sub(at) < 4*time.Hour { // a demo is looked at by day
			busy = max(busy, 0.7)
		}
		if local.Weekday() == time.Saturday || local.Weekday() == time.Sunday {
			busy *= 0.25
		}
		if !at.Before(fiveReset) {
			five, fiveReset = 0, at.Add(5*time.Hour)
		}
		for range poisson(random, busy*2.6) {
			pick, p := random.Float64(), programs[0]
			for _, p = range programs {
				if pick -= p.share; pick < 0 {
					break
				}
			}
			input := int64(p.input * math.Exp(random.NormFloat64()*0.5))
			output := int64(60 + 520*random.ExpFloat64())
			r := Record{
				Time: at.Add(time.Duration(random.Int64N(int64(5 * time.Minute)))), Client: p.client, Route: p.route, Dialect: p.dialect, Model: p.model, Effort: p.effort,
				Status: 200, FirstWord: time.Duration(420+float64(input)/90+260*random.ExpFloat64()) * time.Millisecond,
				InputTokens: input, CachedTokens: int64(float64(input) * p.cached * (0.85 + 0.15*random.Float64())), OutputTokens: output, Transport: "POST",
			}
			if p.effort == "high" || p.effort == "medium" {
				r.ReasoningTokens = output / 3
			}
			if p.client == "Codex CLI" {
				r.Transport, r.Turns = "WebSocket", 1+random.IntN(7)
			}
			if p.client == "OpenAI Python" {
				r.Dropped = []string{"temperature"}
			}
			r.Duration = r.FirstWord + time.Duration(float64(output)/p.tokens*float64(time.Second))
			switch n := random.IntN(220); {
			case n == 0:
				r = failed(r, 429, "rate_limit_exceeded", "Too many requests at once. Try again in 3 seconds.")
			case n == 1:
				r = failed(r, 502, "upstream_cut", "The answer broke off. Try again.")
			case n == 2 && p.client == "OpenAI Python":
				r.Model = "gpt-9"
				r = failed(r, 404, "model_not_found", "There is no model gpt-9 for this plan. There are gpt-5.5, gpt-5.5-codex and gpt-5.5-mini.")
			}
			if r.Time.After(now.Add(-time.Minute)) {
				continue
			}
			batch = append(batch, r)
			five = min(98, five+float64(r.InputTokens-r.CachedTokens+4*r.OutputTokens)/9_000)
			week = min(96, week+float64(r.InputTokens-r.CachedTokens+4*r.OutputTokens)/150_000)
		}
		windows = append(windows, Window{"5-hour", at, math.Round(five), fiveReset}, Window{"weekly", at, math.Round(week), weekReset})
	}
	slices.SortFunc(batch, func(a, b Record) int { return a.Time.Add(a.Duration).Compare(b.Time.Add(b.Duration)) })
	return s.do(context.Background(), func() error {
		if _, err := s.w.write(batch, windows); err != nil {
			return fmt.Errorf("fill the demo: %w", err)
		}
		s.tell(int64(len(batch)))
		return nil
	})
}

func failed(r Record, status int, code, sentence string) Record {
	r.Status, r.Code, r.Error = status, code, sentence
	r.FirstWord, r.OutputTokens, r.ReasoningTokens, r.CachedTokens, r.InputTokens = 0, 0, 0, 0, 0
	r.Duration = 210 * time.Millisecond
	return r
}

// poisson is how many events happen when so many are expected.
func poisson(random *rand.Rand, expected float64) int {
	n, p, limit := 0, random.Float64(), math.Exp(-expected)
	for p > limit {
		n++
		p *= random.Float64()
	}
	return n
}
