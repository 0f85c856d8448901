package tray

import (
	"fmt"
	"time"
)

// Level is how bad a trouble is.
type Level int

// The levels.
const (
	Fine Level = iota
	Info       // worth knowing: the icon stays as it is
	Warn       // requests work, and soon may not: the icon turns orange
	Fail       // requests fail: the icon turns orange
)

// Trouble is what is wrong, and the one thing that mends it. The menu, the notifications and the page use its words.
type Trouble struct {
	Key    string // the same for as long as it is the same trouble
	Level  Level
	Title  string // a line
	Detail string // a sentence or two: what happened, and what is the case meanwhile
	Action Action // mends it; empty when only waiting does
	Button string // what the action is called
}

// Troubles lists what is wrong in s, the worst first.
func Troubles(s State, now time.Time) []Trouble {
	var out []Trouble
	for _, find := range []func(State, time.Time) *Trouble{proxyTrouble, signInTrouble, clockTrouble, limitTrouble} {
		if t := find(s, now); t != nil {
			out = append(out, *t)
		}
	}
	return out
}

func proxyTrouble(s State, _ time.Time) *Trouble {
	if s.Trouble == "" {
		return nil
	}
	t := Trouble{"proxy: " + s.Trouble, Fail, s.Trouble, "The proxy could not start. " + s.Trouble + ".", Start, "Retry now"}
	if s.Spare != 0 {
		t.Action, t.Button = OtherPort, fmt.Sprintf("Use port %d", s.Spare)
	}
	return &t
}

const (
	failingLong = 15 * time.Minute // a refresh that fails for this long is told
	endingSoon  = 20 * time.Minute // and so is one that fails when the sign-in is good for no longer than this
)

// signInTrouble follows whether a request would be served now, and not the time at which the token ends: a token that
// is refused is of no use however long it is good.
func signInTrouble(s State, now time.Time) *Trouble {
	switch {
	case s.SignIn == Starting || (s.SignIn == Refreshing && s.Usable):
		return nil
	case s.SignIn == SignedOut && s.ByUser:
		return &Trouble{"signed out", Info, "You are signed out", "You signed out. Your tools get an error until you sign in.", SignIn, "Sign in…"}
	case s.SignIn == SignedOut && s.Unread:
		return &Trouble{"unread", Fail, "The sign-in can't be read", sentence(s.Problem, "What is stored can't be read"), Refresh, "Try again"}
	case s.SignIn == SignedOut:
		return &Trouble{"nobody", Fail, "Nobody is signed in", "Sign in, so that your tools can use your ChatGPT plan.", SignIn, "Sign in…"}
	case s.SignIn == SignInAgain:
		t := Trouble{"sign-in", Fail, "Sign in again", sentence(s.Problem, "The sign-in has ended") + " Requests fail until you sign in.", SignIn, "Sign in again…"}
		if s.Usable {
			t.Level, t.Detail = Warn, sentence(s.Problem, "The sign-in has ended")+" Requests still work"+forSpan(s, now)+"."
		}
		return &t
	case !s.Usable && s.SignIn == Refreshing:
		return nil // it is being mended
	case !s.Usable:
		return &Trouble{"unusable", Fail, "Requests fail", sentence(s.Problem, "The sign-in is not accepted") + " It is tried again by itself.", Refresh, "Retry now"}
	case s.SignIn == Failing:
		t := Trouble{"refresh", Info, "Refresh failed", sentence(s.Problem, "The sign-in could not be refreshed") + " Requests still work" + forSpan(s, now) + ".", Refresh, "Retry now"}
		long := !s.FailingSince.IsZero() && now.Sub(s.FailingSince) >= failingLong
		soon := !s.ExpiresAt.IsZero() && s.ExpiresAt.Sub(now) < endingSoon
		switch {
		case soon:
			t.Level, t.Title = Warn, "The sign-in is about to end"
		case long:
			t.Level, t.Title = Warn, "The sign-in can't be refreshed"
		}
		return &t
	}
	return nil
}

// clockMost is by how much the machine's clock may be off.
const clockMost = 2 * time.Minute

func clockTrouble(s State, _ time.Time) *Trouble {
	switch off := s.ClockOff; {
	case off > clockMost:
		return &Trouble{"clock", Info, "This machine's clock is " + InWords(off) + " ahead", "Set the clock of this machine: it is " + InWords(off) + " ahead of OpenAI's.", Open("doctor"), "Show"}
	case off < -clockMost:
		return &Trouble{"clock", Info, "This machine's clock is " + InWords(-off) + " behind", "Set the clock of this machine: it is " + InWords(-off) + " behind OpenAI's.", Open("doctor"), "Show"}
	}
	return nil
}

// nearlyFull is the share of a limit, in percent, at which it is told.
const nearlyFull = 90

func limitTrouble(s State, now time.Time) *Trouble {
	w, ok := fullest(s)
	reset := ""
	if ok && w.ResetsAt.After(now) {
		reset = " It resets at " + at(w.ResetsAt, now) + "."
	}
	switch {
	case s.LimitReached:
		t := Trouble{"limit", Fail, "Plan limit reached", "ChatGPT refuses requests until your plan's limit resets." + reset, Open("usage"), "Show usage"}
		if ok && w.ResetsAt.After(now) {
			t.Title += ", resets " + at(w.ResetsAt, now)
		}
		return &t
	case ok && w.UsedPercent >= nearlyFull:
		return &Trouble{"nearly " + w.Name, Info, fmt.Sprintf("%.0f%% of the %s limit is used", w.UsedPercent, w.Name), fmt.Sprintf("%.0f%% of your plan's %s limit is used.%s", w.UsedPercent, w.Name, reset), Open("usage"), "Show usage"}
	}
	return nil
}

// fullest is the window of which the most is used.
func fullest(s State) (w Window, ok bool) {
	for _, candidate := range s.Windows {
		if !ok || candidate.UsedPercent > w.UsedPercent {
			w, ok = candidate, true
		}
	}
	return w, ok
}

func forSpan(s State, now time.Time) string {
	if s.ExpiresAt.After(now) {
		return " for " + InWords(s.ExpiresAt.Sub(now))
	}
	return ""
}

// sentence is text as a sentence, or otherwise when it is empty.
func sentence(text, otherwise string) string {
	if text == "" {
		text = otherwise
	}
	return capital(text) + "."
}
