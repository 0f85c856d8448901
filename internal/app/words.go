package app

import (
	"fmt"
	"time"
	"unicode"
	"unicode/utf8"

	"codex-proxy/creds"
	"codex-proxy/proxy/codex"
	"codex-proxy/tray"
)

// How says by which way the user signed in.
func (s SignInState) How() string {
	if s.Kind == creds.KindChatGPT {
		return "by Sign in with ChatGPT"
	}
	return "by a Codex sign-in"
}

// Sentence is the problem and what to do about it; empty when there is none.
func (s SignInState) Sentence() string {
	return creds.State{Problem: s.Problem, Advice: s.Advice}.Sentence()
}

// Life says how long the access token is good.
func (s SignInState) Life(now time.Time) string {
	switch {
	case s.ExpiresAt.IsZero():
		return "good for an unknown time"
	case now.After(s.ExpiresAt):
		return "ended " + tray.InWords(now.Sub(s.ExpiresAt)) + " ago"
	}
	return "good for " + tray.InWords(s.ExpiresAt.Sub(now)) + ", until " + s.ExpiresAt.Local().Format("Mon 2 Jan, 15:04")
}

// DescribeWindow says how much of a limit is used, and when it resets.
func DescribeWindow(w codex.Window, now time.Time) string {
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

// capital has a text begin with a capital letter.
func capital(text string) string {
	first, size := utf8.DecodeRuneInString(text)
	if size == 0 {
		return ""
	}
	return string(unicode.ToUpper(first)) + text[size:]
}
