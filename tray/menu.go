package tray

import (
	"fmt"
	"slices"
	"time"
)

// Item is one line of the menu.
type Item struct {
	ID        string
	Title     string
	Action    Action // empty for a line that does nothing
	Disabled  bool
	Checkbox  bool
	Checked   bool
	Hidden    bool
	Separator bool
	Children  []Item
}

// Menu is the menu for a state: the state first, with what mends it right below; then what can be done. Its shape never
// changes: the same IDs in the same order, hidden where they say nothing, since a menu can't be rebuilt safely while it
// is open. Lines that only tell are enabled, to be readable, and open the page where more is said.
func Menu(s State, now time.Time) []Item {
	out := s.SignIn == SignedOut || s.SignIn == ""
	mend := mending(s, now)
	signIn := action("sign in", SignIn, "Sign in…", s, "Signing in…").hide(mend.Action == SignIn || s.SigningIn != nil || (!out && s.SignIn != SignInAgain))
	return []Item{
		{ID: "status", Title: statusLine(s, now), Action: Open("overview")},
		action("mend", mend.Action, mend.Button, s, busyWord(mend.Action)).hide(mend.Action == ""),
		{ID: "asked", Title: "A page at " + s.AskedOrigin + " wants to use your plan", Action: Open("settings"), Hidden: s.AskedOrigin == ""},
		action("allow", AllowPrefix+Action(s.AskedOrigin), "Allow it", s, "Allowing…").hide(s.AskedOrigin == ""),
		action("deny", DenyPrefix+Action(s.AskedOrigin), "Don't allow it", s, "Refusing…").hide(s.AskedOrigin == ""),
		{ID: "open", Title: "Open Codex Proxy…", Action: Open("overview")},
		{ID: "-1", Separator: true},

		line("account", accountLine(s, now), Open("sign-in")),
		line("limit 1", limitLine(s, 0, now), Open("usage")),
		line("limit 2", limitLine(s, 1, now), Open("usage")),
		line("last error", lastErrorLine(s, now), Open("activity")),
		{ID: "-2", Separator: true},

		toggle(s),
		action("pause", Pause, "Pause for an hour", s, "Pausing…").hide(!s.Running),
		action("refresh", Refresh, "Refresh tokens", s, "Refreshing…").disable(out || s.SignIn == Refreshing || s.SignIn == Starting),
		action("import", Import, "Re-import from Codex CLI", s, "Importing…").disable(!s.CanImport),
		signIn,
		action("cancel sign-in", CancelSignIn, "Cancel sign-in", s, "Cancelling…").hide(s.SigningIn == nil),
		action("copy sign-in link", CopySignInLink, "Copy sign-in link", s, "Copying…").hide(s.SigningIn == nil || s.SigningIn.Address == ""),
		{ID: "update", Title: "Version " + s.Newer + " is there…", Action: Update, Hidden: s.Newer == ""},
		{ID: "-3", Separator: true},

		{ID: "connect", Title: "Connect", Children: connectItems(s)},
		{ID: "more", Title: "More", Children: more(s, out)},
		{ID: "-4", Separator: true},
		{ID: "quit", Title: "Quit Codex Proxy", Action: Quit},
	}
}

func more(s State, out bool) []Item {
	signingIn := s.SigningIn != nil
	return []Item{
		action("sign in by code", SignInByCode, "Sign in by a code, on any device…", s, "Signing in…").disable(signingIn),
		action("sign in with chatgpt", SignInChatGPT, "Sign in with ChatGPT…", s, "Signing in…").disable(signingIn),
		action("sign out", SignOut, "Sign out", s, "Signing out…").disable(out),
		action("usual port", UsualPort, fmt.Sprintf("Use port %d again", s.UsualPort), s, "Starting…").hide(s.UsualPort == 0),
		{ID: "start at login", Title: "Start at login", Action: StartAtLogin, Checkbox: true, Checked: s.StartAtLogin},
		{ID: "meter", Title: "Show the fuller limit in the icon", Action: ShowMeter, Checkbox: true, Checked: s.Meter},
		{ID: "log", Title: "Open log", Action: OpenLog},
		{ID: "about", Title: "About Codex Proxy " + s.Version, Action: About},
	}
}

// mending is the one action that the user is offered first.
func mending(s State, now time.Time) Trouble {
	if s.SigningIn != nil {
		return Trouble{} // it is being mended; the menu has how to go on
	}
	for _, t := range Troubles(s, now) {
		if t.Action != "" && t.Level >= Info && !isOpen(t.Action) {
			return t
		}
	}
	return Trouble{}
}

func isOpen(a Action) bool { return len(a) > len(OpenPrefix) && a[:len(OpenPrefix)] == OpenPrefix }

// busyWord is what a mending line says while it is under way.
func busyWord(a Action) string {
	switch a {
	case SignIn:
		return "Signing in…"
	case Refresh:
		return "Trying…"
	}
	return "Starting…"
}

func toggle(s State) Item {
	switch {
	case s.Running || s.Busy[Stop]:
		return action("toggle", Stop, "Stop the proxy", s, "Stopping…")
	case !s.PausedUntil.IsZero():
		return action("toggle", Start, "Go on now", s, "Starting…")
	}
	return action("toggle", Start, "Start the proxy", s, "Starting…")
}

// line is one that only tells; a click opens the page where more is said.
func line(id, text string, a Action) Item {
	return Item{ID: id, Title: text, Action: a, Hidden: text == ""}
}

// action is a line that does something; while it is under way it says so and can't be clicked again.
func action(id string, a Action, title string, s State, busy string) Item {
	if a != "" && s.Busy[a] {
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

// statusLine is the state in a line that a person can act on.
func statusLine(s State, now time.Time) string {
	for _, t := range Troubles(s, now) {
		switch {
		case s.SigningIn != nil && t.Action == SignIn:
			return "Waiting for you to sign in"
		case t.Level >= Warn:
			return t.Title
		}
	}
	return proxyLine(s, now)
}

func proxyLine(s State, now time.Time) string {
	switch {
	case s.Running && s.Demo:
		return "Demo running at " + s.Root + "/v1"
	case s.Running && s.SignIn == SignedOut:
		return "Running, and nobody is signed in"
	case s.Running:
		return "Running at " + s.Root + "/v1"
	case !s.PausedUntil.IsZero():
		return "Paused until " + at(s.PausedUntil, now)
	}
	return "Stopped"
}

func who(s State) string {
	name := s.Email
	if name == "" {
		name = "an account without an address"
	}
	if s.Plan != "" {
		name += " (" + s.Plan + ")"
	}
	return name
}

// accountLine says who is signed in. The time at which the token ends is of interest only when it is not renewed.
func accountLine(s State, now time.Time) string {
	switch {
	case s.SigningIn != nil && s.SigningIn.Code != "":
		return "Type " + s.SigningIn.Code + " at " + s.SigningIn.Address
	case s.SigningIn != nil:
		return "Waiting for you to sign in in the browser"
	case s.SignIn == SignedOut || s.SignIn == "":
		return "Not signed in"
	case s.SignIn == Starting:
		return "Looking for a sign-in…"
	case s.SignIn == Refreshing:
		return "Signed in as " + who(s) + " · renewing…"
	case s.SignIn == SignInAgain && s.Usable && s.ExpiresAt.After(now):
		return "Signed in as " + who(s) + " · ends in " + InWords(s.ExpiresAt.Sub(now))
	case s.SignIn == SignInAgain:
		return "Was signed in as " + who(s)
	case s.SignIn == Failing && s.NextAttempt.After(now):
		return "Signed in as " + who(s) + " · next try in " + InWords(s.NextAttempt.Sub(now))
	}
	return "Signed in as " + who(s) + " · renews itself"
}

func limitLine(s State, i int, now time.Time) string {
	if i >= len(s.Windows) {
		return ""
	}
	w := s.Windows[i]
	text := fmt.Sprintf("%s  %s  %.0f%%", capital(w.Name), bar(w.UsedPercent), w.UsedPercent)
	if w.UsedPercent >= nearlyFull && w.UsedPercent < 100 {
		text += ", nearly full"
	}
	if w.ResetsAt.After(now) {
		text += ", resets " + at(w.ResetsAt, now)
	}
	return text
}

// errorAge is how long a failed request stays in the menu.
const errorAge = time.Hour

func lastErrorLine(s State, now time.Time) string {
	if s.LastError == "" || now.Sub(s.LastErrorAt) > errorAge {
		return ""
	}
	return short(s.LastErrorAt.Local().Format("15:04")+"  "+s.LastError, 70)
}

// Icon is which picture the panel shows.
type Icon string

// The icons, each a file in assets.
const (
	IconRunning   Icon = "running"
	IconStopped   Icon = "stopped"
	IconAttention Icon = "attention" // requests fail, or soon may
	IconBusy      Icon = "busy"
)

// IconFor is the icon for a state: it follows whether requests are served.
func IconFor(s State, now time.Time) Icon {
	switch {
	case slices.ContainsFunc(Troubles(s, now), func(t Trouble) bool {
		return t.Level >= Warn && (s.SigningIn == nil || t.Action != SignIn) // the user is at it
	}):
		return IconAttention
	case len(s.Busy) > 0 || s.SigningIn != nil || s.SignIn == Refreshing || s.SignIn == Starting:
		return IconBusy
	case !s.Running || s.SignIn == SignedOut:
		return IconStopped
	}
	return IconRunning
}

// MeterFor is the share that the icon shows, in percent; negative when it shows none.
func MeterFor(s State) float64 {
	w, ok := fullest(s)
	if !s.Meter || !ok {
		return -1
	}
	return min(max(w.UsedPercent, 0), 100)
}

// Tooltip says the state in a line of at most 120 characters.
func Tooltip(s State, now time.Time) string {
	text := "Codex Proxy: " + statusLine(s, now)
	for _, w := range s.Windows {
		text += fmt.Sprintf(", %s %.0f%%", w.Name, w.UsedPercent)
	}
	return short(text, 120)
}
