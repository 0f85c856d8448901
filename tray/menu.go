package tray

import (
	"fmt"
	"strings"
	"time"
)

// Item is one line of the menu.
type Item struct {
	ID        string
	Title     string
	Action    Action // empty for a line that only tells
	Disabled  bool
	Checkbox  bool
	Checked   bool
	Hidden    bool
	Separator bool
	Children  []Item
}

// Menu is the menu for a state. Its shape never changes: the same IDs in the same order, hidden where they say
// nothing, since a menu can't be rebuilt safely while it is open.
func Menu(s State, now time.Time) []Item {
	out := s.SignIn == SignedOut || s.SignIn == ""
	items := []Item{
		action("sign in first", SignIn, "Sign in with ChatGPT…", s, "Waiting for the browser…").hide(!out),
		line("proxy", proxyLine(s)),
		line("account", accountLine(s)).hide(out || s.SignIn == Starting),
		line("token", tokenLine(s, now)).hide(out),
		line("limit 1", limitLine(s, 0, now)),
		line("limit 2", limitLine(s, 1, now)),
		{ID: "-1", Separator: true},
	}
	if s.Running {
		items = append(items, action("toggle", Stop, "Stop proxy", s, "Stopping…"))
	} else {
		items = append(items, action("toggle", Start, "Start proxy", s, "Starting…"))
	}
	items = append(items,
		action("port", OtherPort, fmt.Sprintf("Use port %d instead", s.Spare), s, "Starting…").hide(s.Spare == 0),
		action("refresh", Refresh, "Refresh tokens", s, "Refreshing…").disable(out || s.SignIn == Refreshing || s.SignIn == Starting),
		action("import", Import, "Re-import from Codex CLI", s, "Importing…").disable(!s.CanImport),
		action("sign in", SignIn, "Sign in with ChatGPT…", s, "Waiting for the browser…").hide(out),
		action("sign out", SignOut, "Sign out", s, "Signing out…").hide(out),
		Item{ID: "-2", Separator: true},
		Item{ID: "connect", Title: "Connect your tool", Children: connect(s)},
		Item{ID: "-3", Separator: true},
		Item{ID: "start at login", Title: "Start at login", Action: StartAtLogin, Checkbox: true, Checked: s.StartAtLogin},
		Item{ID: "log", Title: "Open log", Action: OpenLog},
		Item{ID: "about", Title: "About Codex Proxy " + s.Version, Action: About},
		Item{ID: "quit", Title: "Quit", Action: Quit},
	)
	return items
}

func line(id, text string) Item {
	return Item{ID: id, Title: text, Disabled: true, Hidden: text == ""}
}

// action is a line that does something; while it is under way it says so and can't be clicked again.
func action(id string, a Action, title string, s State, busy string) Item {
	if s.Busy[a] {
		return Item{ID: id, Title: busy, Action: a, Disabled: true}
	}
	return Item{ID: id, Title: title, Action: a}
}

func (i Item) hide(when bool) Item {
	i.Hidden = i.Hidden || when
	return i
}

func (i Item) disable(when bool) Item {
	i.Disabled = i.Disabled || when
	return i
}

func proxyLine(s State) string {
	switch {
	case s.Trouble != "":
		return s.Trouble
	case s.Running && s.Demo:
		return "Demo running at " + s.Root
	case s.Running:
		return "Proxy running at " + s.Root
	}
	return "Proxy stopped"
}

func accountLine(s State) string {
	who := s.Email
	if who == "" {
		who = "an account without an address"
	}
	if s.Plan != "" {
		who += " (" + s.Plan + ")"
	}
	return "Signed in as " + who
}

func tokenLine(s State, now time.Time) string {
	switch s.SignIn {
	case SignInAgain:
		switch s.Cause {
		case CauseSpent:
			return "Sign in again: another program used this sign-in"
		default:
			return "Sign in again: the sign-in has ended"
		}
	case Starting:
		return "Looking for a sign-in…"
	case Refreshing:
		return "Refreshing the sign-in…"
	case Failing:
		text := "Refresh failed"
		if s.Cause == CauseStore {
			text = "The sign-in can't be stored"
		}
		if s.NextAttempt.After(now) {
			text += ", will retry in " + inWords(s.NextAttempt.Sub(now))
		}
		return text
	}
	if s.ExpiresAt.IsZero() {
		return "Token is good"
	}
	if !s.ExpiresAt.After(now) {
		return "Token has expired"
	}
	return "Token expires in " + inWords(s.ExpiresAt.Sub(now))
}

func limitLine(s State, i int, now time.Time) string {
	if i >= len(s.Windows) {
		return ""
	}
	w := s.Windows[i]
	name := strings.ToUpper(w.Name[:1]) + w.Name[1:]
	text := fmt.Sprintf("%s limit %.0f%% used", name, w.UsedPercent)
	if w.ResetsAt.After(now) {
		text += ", resets " + at(w.ResetsAt, now)
	}
	return text
}

// at is a time as people say it: the clock within a day, else the day.
func at(t, now time.Time) string {
	t, now = t.Local(), now.Local()
	if t.Sub(now) < 20*time.Hour {
		return t.Format("15:04")
	}
	return t.Format("Mon 2 Jan")
}

// inWords is a duration in its largest unit: "9 days", "3 hours", "2 min".
func inWords(d time.Duration) string {
	unit := func(n int, name string) string {
		if n != 1 {
			name += "s"
		}
		return fmt.Sprintf("%d %s", n, name)
	}
	switch minutes := int((d + time.Minute/2) / time.Minute); {
	case minutes >= 48*60:
		return unit(minutes/(24*60), "day")
	case minutes >= 2*60:
		return unit(minutes/60, "hour")
	default:
		return fmt.Sprintf("%d min", max(minutes, 1))
	}
}

// Icon is which picture the panel shows.
type Icon string

// The icons, each a file in assets.
const (
	IconRunning   Icon = "running"
	IconStopped   Icon = "stopped"
	IconAttention Icon = "attention" // the user must do something
	IconBusy      Icon = "busy"
)

// IconFor is the icon for a state.
func IconFor(s State) Icon {
	switch {
	case s.Trouble != "" || s.SignIn == SignedOut || s.SignIn == SignInAgain || s.SignIn == "":
		return IconAttention
	case len(s.Busy) > 0 || s.SignIn == Refreshing || s.SignIn == Starting:
		return IconBusy
	case !s.Running:
		return IconStopped
	}
	return IconRunning
}

// Tooltip says the state in a line of at most 120 characters.
func Tooltip(s State, now time.Time) string {
	text := "Codex Proxy: " + proxyLine(s)
	switch s.SignIn {
	case SignedOut, "":
		text += ", nobody signed in"
	default:
		text += ", " + strings.ToLower(tokenLine(s, now)[:1]) + tokenLine(s, now)[1:]
	}
	if r := []rune(text); len(r) > 120 {
		text = string(r[:119]) + "…"
	}
	return text
}
