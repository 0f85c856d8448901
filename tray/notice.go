package tray

import (
	"slices"
	"time"
)

// Notice is a notification: it names the cause and the one right action.
type Notice struct {
	Problem string // what it is about, the same as long as the problem lasts; empty for one that stands alone
	Title   string
	Body    string
	Action  Action // what a click does
	Button  string // empty for a notice that has no button
	Quiet   bool   // good news: it may pass by itself
	Press   Action // what the button does, where that is not what a click does
}

// icon is the picture beside the notification.
func (n Notice) icon() Icon {
	if n.Quiet {
		return IconRunning
	}
	return IconAttention
}

// Notices decides what to tell: once a problem, not again before it has ended, and never for a retry that worked.
// The zero value has told nothing. One goroutine uses it.
type Notices struct {
	told     map[string]bool
	imported bool
}

// Next returns what is to be told now, and which problems have ended, so that their notifications can be taken away.
// While a refresh is under way nothing about the sign-in begins or ends: its outcome decides.
func (n *Notices) Next(s State, now time.Time) (tell []Notice, ended []string) {
	if n.told == nil {
		n.told = map[string]bool{}
	}
	present := notices(s, now)
	undecided := s.SignIn == Refreshing || s.SignIn == Starting
	for _, p := range present {
		if n.told[p.Problem] || (undecided && aboutSignIn(p.Problem)) {
			continue
		}
		n.told[p.Problem] = true
		tell = append(tell, p)
	}
	for problem := range n.told {
		if slices.ContainsFunc(present, func(p Notice) bool { return p.Problem == problem }) || (undecided && aboutSignIn(problem)) {
			continue
		}
		delete(n.told, problem)
		ended = append(ended, problem)
	}
	if s.Imported && s.SignIn == SignedIn && s.Running && !n.imported { // where it listens is known
		n.imported = true
		tell = append(tell, Notice{Title: "Signed in as " + s.Email, Body: "Imported from the Codex CLI. Point your tools at " + s.Root + "/v1.", Action: Open("overview"), Quiet: true})
	}
	slices.Sort(ended)
	return tell, ended
}

func aboutSignIn(problem string) bool {
	switch problem {
	case "nobody", "unread", "sign-in", "unusable", "refresh":
		return true
	}
	return false
}

// notices are the troubles that are worth a notification, and what the user is asked or told to do.
func notices(s State, now time.Time) []Notice {
	var out []Notice
	for _, t := range Troubles(s, now) {
		if t.Level < Warn && t.Key != "clock" && !isNearly(t.Key) {
			continue
		}
		if s.SigningIn != nil && t.Action == SignIn {
			continue // the user is at it
		}
		if (slices.Contains(s.Mute, "limits") && (t.Key == "limit" || isNearly(t.Key))) || (slices.Contains(s.Mute, "sign-in") && aboutSignIn(t.Key)) {
			continue
		}
		out = append(out, Notice{Problem: t.Key, Title: t.Title, Body: t.Detail, Action: t.Action, Button: t.Button})
	}
	if s.PlanNotice != "" {
		out = append(out, Notice{Problem: "plan", Title: "You're using your ChatGPT plan", Body: s.PlanNotice, Action: Open("usage"), Quiet: true})
	}
	if p := s.SigningIn; p != nil && p.Code != "" {
		out = append(out, Notice{Problem: "code", Title: "Type " + p.Code, Body: "Open " + p.Address + " on any device and type this code. It is good until " + at(p.Expires, now) + ".", Action: Open("sign-in"), Button: "Show", Quiet: true})
	}
	if p := s.SigningIn; p != nil && p.NoBrowser {
		out = append(out, Notice{Problem: "no browser", Title: "No browser could be opened", Body: "Open this address to sign in: " + p.Address, Action: CopySignInLink, Button: "Copy the link"})
	}
	if s.AskedOrigin != "" && !slices.Contains(s.Mute, "pages") {
		out = append(out, Notice{
			Problem: "origin " + s.AskedOrigin, Title: "A page wants to use your plan", Body: "A page at " + s.AskedOrigin + " asks for answers. Allow it only if you know it.",
			Action: Open("settings"), Button: "Allow", Press: AllowPrefix + Action(s.AskedOrigin),
		})
	}
	return out
}

func isNearly(key string) bool { return len(key) > 7 && key[:7] == "nearly " }

// Shown is what a second start makes the first one say.
func Shown(s State, now time.Time) Notice {
	n := Notice{Title: "Codex Proxy runs already", Body: statusLine(s, now) + ".", Action: Open("overview"), Quiet: IconFor(s, now) != IconAttention}
	if account := accountLine(s, now); account != "" {
		n.Body += " " + account + "."
	}
	return n
}
