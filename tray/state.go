// Package tray is the icon and the menu. What they show is a pure function of a State (menu.go, notice.go); a thin
// renderer on fyne.io/systray applies it (render.go); Run is the one goroutine in between. Nothing here knows tokens or
// proxies: the program behind it is an App.
package tray

import (
	"context"
	"time"
)

// Status is how the sign-in is.
type Status string

// What a sign-in can be, from the menu's point of view.
const (
	SignedIn    Status = "signed in"
	Refreshing  Status = "refreshing"
	Failing     Status = "failing" // a refresh failed and will be tried again
	SignInAgain Status = "sign in again"
	SignedOut   Status = "signed out"
	Starting    Status = "starting" // it is not known yet
)

// Cause is why a sign-in is in trouble, and so which action mends it.
type Cause string

// The causes of trouble.
const (
	CauseNone    Cause = ""
	CauseSpent   Cause = "spent"   // another program used the refresh token
	CauseEnded   Cause = "ended"   // revoked or expired
	CauseNetwork Cause = "network" // the auth server is not reached
	CauseStore   Cause = "store"   // it can't be stored
)

// Action is something that a click does.
type Action string

// The actions. ConnectPrefix is followed by the name of a tool.
const (
	Start        Action = "start"
	Stop         Action = "stop"
	OtherPort    Action = "other port"
	Refresh      Action = "refresh"
	Import       Action = "import"
	SignIn       Action = "sign in"
	SignOut      Action = "sign out"
	StartAtLogin Action = "start at login"
	OpenLog      Action = "open log"
	About        Action = "about"
	Quit         Action = "quit"

	ConnectPrefix Action = "connect "
)

// Window is one limit of the plan.
type Window struct {
	Name        string // "5-hour", "weekly", …
	UsedPercent float64
	ResetsAt    time.Time // zero when unknown
}

// State is all that the icon and the menu show. The zero value is a stopped proxy without a sign-in.
type State struct {
	Version string
	Demo    bool

	Running bool
	Root    string // http://localhost:9879, also while stopped
	Trouble string // why the proxy can't run: "Port 9879 is used by node"; empty when it can
	Spare   int    // a port that is free while the usual one is taken; 0 when none is needed

	SignIn       Status
	Email, Plan  string
	ExpiresAt    time.Time // of the access token
	Cause        Cause
	FailingSince time.Time
	NextAttempt  time.Time

	Windows      []Window
	LimitReached bool
	Model        string // id that tools may use

	Imported     bool // a first launch imported the sign-in a moment ago
	CanImport    bool
	StartAtLogin bool
	Busy         map[Action]bool // actions under way
}

// App is the program behind the menu. Its methods are safe for concurrent use.
type App interface {
	// State returns what is to be shown now.
	State() State
	// Changes receives after each change of State.
	Changes() <-chan Change
	// Do carries out an action and returns what to tell the user: a short result, or an error that says what to do.
	Do(ctx context.Context, a Action) (result string, err error)
}

// Change says that the state is another one.
type Change struct {
	// Show means that the user started the program again, to see where it is.
	Show bool
}
