package tray

import (
	"fmt"
	"slices"
	"time"
)

// Notice is a notification: it names the cause and the one right action.
type Notice struct {
	Problem string // what it is about, the same as long as the problem lasts; empty for one that stands alone
	Title   string
	Body    string
	Action  Action // what a click does; empty for nothing
	Button  string
}

const (
	failingLong = 15 * time.Minute // a refresh that fails for this long is told
	endingSoon  = time.Hour        // how long a sign-in in trouble must still be good to be left alone
)

// Notices decides what to tell: once a problem, not again before it has ended, and never for a retry that worked.
// The zero value has told nothing. One goroutine uses it.
type Notices struct {
	told map[string]bool
}

// Next returns what is to be told now, and which problems have ended, so that their notifications can be taken away.
func (n *Notices) Next(s State, now time.Time) (tell []Notice, ended []string) {
	if n.told == nil {
		n.told = map[string]bool{}
	}
	present := problems(s, now)
	for _, p := range present {
		if !n.told[p.Problem] {
			n.told[p.Problem] = true
			tell = append(tell, p)
		}
	}
	for problem := range n.told {
		if !slices.ContainsFunc(present, func(p Notice) bool { return p.Problem == problem }) {
			delete(n.told, problem)
			ended = append(ended, problem)
		}
	}
	slices.Sort(ended)
	return tell, ended
}

func problems(s State, now time.Time) []Notice {
	var out []Notice
	add := func(n Notice) { out = append(out, n) }
	still := ""
	if s.ExpiresAt.After(now) {
		still = " Requests still work for " + inWords(s.ExpiresAt.Sub(now)) + "."
	}
	switch s.SignIn {
	case SignInAgain:
		if s.Cause == CauseSpent {
			add(Notice{"sign-in", "Sign in again", "Another program used this sign-in's refresh token first." + still + " Re-import it from the Codex CLI, or sign in.", Import, "Re-import"})
		} else {
			add(Notice{"sign-in", "Sign in again", "The sign-in was revoked or has expired." + still, SignIn, "Sign in"})
		}
	case Failing:
		why := "The auth server is not reached. Check the network and the proxy settings."
		if s.Cause == CauseStore {
			why = "The sign-in can't be stored. Make room on the disk, and see the log."
		}
		switch {
		case s.ExpiresAt.After(now) && s.ExpiresAt.Sub(now) < endingSoon:
			add(Notice{"ending", "The sign-in is about to end", why + still, Refresh, "Retry"})
		case !s.FailingSince.IsZero() && now.Sub(s.FailingSince) > failingLong:
			add(Notice{"refresh", "The sign-in can't be refreshed", why + still, Refresh, "Retry"})
		}
	case SignedOut:
		add(Notice{"signed out", "Nobody is signed in", "Sign in with ChatGPT, so that your tools can use your plan.", SignIn, "Sign in"})
	}
	if s.LimitReached {
		body := "Your plan's limit is reached."
		if t := resetTime(s); t.After(now) {
			body += " It resets at " + at(t, now) + "."
		}
		add(Notice{"limit", "Plan limit reached", body, "", ""})
	}
	if s.Trouble != "" {
		n := Notice{"proxy", "The proxy could not start", s.Trouble + ".", Start, "Retry"}
		if s.Spare != 0 {
			n.Action, n.Button = OtherPort, fmt.Sprintf("Use port %d", s.Spare)
		}
		add(n)
	}
	if s.Imported && s.SignIn == SignedIn {
		add(Notice{"imported", "Signed in as " + s.Email, "Imported from the Codex CLI. Point your tools at " + s.Root + "/v1.", "", ""})
	}
	return out
}

// resetTime is when the fullest limit ends.
func resetTime(s State) time.Time {
	var fullest Window
	for _, w := range s.Windows {
		if w.UsedPercent >= fullest.UsedPercent {
			fullest = w
		}
	}
	return fullest.ResetsAt
}

// Shown is what a second start makes the first one say.
func Shown(s State, now time.Time) Notice {
	body := proxyLine(s) + "."
	if s.SignIn == SignedOut || s.SignIn == "" {
		return Notice{"", "Codex Proxy runs already", body + " Nobody is signed in.", SignIn, "Sign in"}
	}
	return Notice{"", "Codex Proxy runs already", body + " " + accountLine(s) + ". " + tokenLine(s, now) + ".", "", ""}
}
