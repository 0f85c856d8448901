package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"codex-proxy/creds"
	"codex-proxy/proxy/codex"
)

// report is everything that can be told of the program: what `status` prints and the menu shows. No secrets.
type report struct {
	Version string       `json:"version"`
	Proxy   proxyReport  `json:"proxy"`
	SignIn  signInReport `json:"sign_in"`
	Usage   codex.Usage  `json:"usage"`
	Menu    string       `json:"menu,omitempty"` // how the icon is; empty without a menu
}

type proxyReport struct {
	Running bool   `json:"running"`
	URL     string `json:"url,omitempty"` // base URL for OpenAI clients
	PID     int    `json:"pid,omitempty"`
	Problem string `json:"problem,omitempty"` // why it is not running
}

type signInReport struct {
	Status       creds.Status    `json:"status"`
	Usable       bool            `json:"usable"`
	Kind         creds.Kind      `json:"kind,omitempty"`
	Email        string          `json:"email,omitempty"`
	Plan         string          `json:"plan,omitempty"`
	AccountID    string          `json:"account_id,omitempty"`
	ExpiresAt    time.Time       `json:"expires_at,omitzero"` // of the access token
	LastRefresh  time.Time       `json:"last_refresh,omitzero"`
	Store        string          `json:"store"`
	ImportedFrom string          `json:"imported_from,omitempty"`
	Ownership    creds.Ownership `json:"ownership,omitempty"`
	Problem      string          `json:"problem,omitempty"`
	FailingSince time.Time       `json:"failing_since,omitzero"`
	NextAttempt  time.Time       `json:"next_attempt,omitzero"`
}

// report describes the program as it is now.
func (a *app) report() report {
	s := a.manager.State()
	r := report{
		Version: version,
		SignIn: signInReport{
			Status: s.Status, Usable: s.Usable, Kind: s.Kind, Email: s.Email, Plan: s.Plan, AccountID: s.AccountID,
			ExpiresAt: s.ExpiresAt, LastRefresh: s.LastRefresh, Store: s.Store, ImportedFrom: s.ImportedFrom,
			Ownership: s.Ownership, Problem: s.Problem, FailingSince: s.FailingSince, NextAttempt: s.NextAttempt,
		},
		Usage: a.client.Meter.Current(),
	}
	a.mu.Lock()
	r.Menu, r.Proxy.Problem = a.menu, a.trouble
	a.mu.Unlock()
	if addr := a.service.Addr(); addr != "" {
		r.Proxy = proxyReport{Running: true, URL: "http://" + display(addr) + "/v1", PID: os.Getpid()}
	}
	return r
}

// write prints the report for people.
func (r report) write(w io.Writer, now time.Time) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) { fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	switch {
	case r.Proxy.Running:
		line("Proxy", "running at %s", r.Proxy.URL)
	case r.Proxy.Problem != "":
		line("Proxy", "not running: %s", r.Proxy.Problem)
	default:
		line("Proxy", "not running")
	}
	s := r.SignIn
	if s.Status == creds.StatusNone {
		line("Sign-in", "none")
	} else {
		line("Sign-in", "%s, %s", s.who(), s.kind())
		if s.AccountID != "" {
			line("Account", "%s", s.AccountID)
		}
		line("Token", "%s", s.token(now))
		line("Stored in", "%s", s.Store)
		if s.ImportedFrom != "" && s.Ownership == creds.Shared {
			line("Belongs to", "the Codex CLI (%s)", s.ImportedFrom)
		}
	}
	for i, window := range r.Usage.Windows {
		name := "Limits"
		if i > 0 {
			name = ""
		}
		line(name, "%s", describeWindow(window, now))
	}
	if r.Menu != "" {
		line("Menu", "%s", r.Menu)
	}
	if s.Problem != "" {
		line("Problem", "%s", s.Problem)
	}
	t.Flush() //nolint:errcheck // the terminal has gone
}

func (s signInReport) who() string {
	return who(creds.State{Email: s.Email, Plan: s.Plan})
}

func (s signInReport) kind() string {
	if s.Kind == creds.KindChatGPT {
		return "by Sign in with ChatGPT"
	}
	return "by a Codex sign-in"
}

func (s signInReport) token(now time.Time) string {
	switch {
	case s.ExpiresAt.IsZero():
		return "good for an unknown time"
	case now.After(s.ExpiresAt):
		return "ended " + inWords(now.Sub(s.ExpiresAt)) + " ago"
	}
	return "good for " + inWords(s.ExpiresAt.Sub(now)) + ", until " + s.ExpiresAt.Local().Format("Mon 2 Jan, 15:04")
}

func describeWindow(w codex.Window, now time.Time) string {
	text := fmt.Sprintf("%s %.0f%% used", w.Name, w.UsedPercent)
	if w.ResetsAt.After(now) {
		text += ", resets " + when(w.ResetsAt, now)
	}
	return text
}

// when is a time as people say it: the clock today, the day otherwise.
func when(t, now time.Time) string {
	t, now = t.Local(), now.Local()
	if t.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return t.Format("15:04")
	}
	return t.Format("Mon 2 Jan, 15:04")
}

// inWords is a duration in its largest unit: "9 days", "3 hours", "2 minutes".
func inWords(d time.Duration) string {
	plural := func(n int, unit string) string {
		if n != 1 {
			unit += "s"
		}
		return fmt.Sprintf("%d %s", n, unit)
	}
	switch minutes := int(d.Round(time.Minute) / time.Minute); {
	case minutes >= 2*24*60:
		return plural(minutes/(24*60), "day")
	case minutes >= 2*60:
		return plural(minutes/60, "hour")
	default:
		return plural(max(minutes, 1), "minute")
	}
}

// redact shortens what identifies a person, for a report that is copied into an issue.
func redact(s string) string {
	if name, host, ok := strings.Cut(s, "@"); ok && name != "" {
		return name[:1] + "…@" + host
	}
	if len(s) > 8 {
		return s[:6] + "…"
	}
	return s
}
