// Package tray is the icon and the menu. What they show is a pure function of a State: trouble.go says what is wrong
// and what mends it, menu.go draws the menu, notice.go decides what to tell. A thin renderer on fyne.io/systray applies
// it (render.go); Run is the one goroutine in between. Nothing here knows tokens or proxies: the program behind it is
// an App.
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
	SignedOut   Status = "signed out" // nobody has signed in, or the user signed out
	Starting    Status = "starting"   // it is not known yet
)

// Cause is why a sign-in is in trouble, in the words of package creds.
type Cause string

// Action is something that a click does.
type Action string

// The actions. ConnectPrefix is followed by the id of a tool, OpenPrefix by a section of the page, AllowPrefix and
// DenyPrefix by the origin that the user was asked about.
const (
	Start          Action = "start"
	Stop           Action = "stop"
	Pause          Action = "pause" // stop for an hour
	OtherPort      Action = "other port"
	UsualPort      Action = "usual port"
	Refresh        Action = "refresh"
	Import         Action = "import"
	SignIn         Action = "sign in"
	SignInByCode   Action = "sign in by code"
	SignInChatGPT  Action = "sign in with chatgpt"
	CancelSignIn   Action = "cancel sign-in"
	CopySignInLink Action = "copy sign-in link"
	SignOut        Action = "sign out"
	CopyBaseURL    Action = "copy base URL"
	CopyModel      Action = "copy model"
	StartAtLogin   Action = "start at login"
	ShowMeter      Action = "show meter"
	OpenLog        Action = "show log" // not one of OpenPrefix
	Update         Action = "update"   // shows where a newer version is
	About          Action = "about"
	Quit           Action = "quit"

	ConnectPrefix Action = "connect "
	OpenPrefix    Action = "open "
	AllowPrefix   Action = "allow "
	DenyPrefix    Action = "deny "
)

// Open is the action that opens the page at a section: "overview", "activity", "usage", "tools", "sign-in", "settings"
// or "doctor".
func Open(section string) Action { return OpenPrefix + Action(section) }

// Window is one limit of the plan.
type Window struct {
	Name        string // "5-hour", "weekly", …
	UsedPercent float64
	ResetsAt    time.Time // zero when unknown
}

// Tool is a program that can be pointed at the proxy.
type Tool struct {
	ID        string
	Name      string
	Connected bool
}

// Prompt is what the user must do to finish a sign-in that is under way.
type Prompt struct {
	Address string // page to open; empty while it is being asked for
	Code    string // to type there, of a sign-in by code
	Expires time.Time
	// NoBrowser means that no browser could be opened: the user must open the address by hand.
	NoBrowser bool
}

// State is all that the icon and the menu show. The zero value is a stopped proxy without a sign-in.
type State struct {
	Version string
	Demo    bool

	Running     bool
	Root        string    // http://localhost:9879, also while stopped
	Trouble     string    // why the proxy can't run: "Port 9879 is used by node"; empty when it can
	Spare       int       // a port that is free while the usual one is taken; 0 when none is needed
	UsualPort   int       // the port that the proxy would use if another had not been chosen; 0 when it does
	PausedUntil time.Time // zero when it is not paused

	SignIn       Status
	ByUser       bool // the user signed out: that is no trouble
	Unread       bool // there is a sign-in, which can't be read; Problem says what to do, too
	Usable       bool // a request would be served now
	Email, Plan  string
	ExpiresAt    time.Time // of the access token
	Cause        Cause
	Problem      string // what is wrong with the sign-in, in a sentence that ends without a full stop
	FailingSince time.Time
	NextAttempt  time.Time
	ClockOff     time.Duration // by which this machine's clock is ahead of OpenAI's; 0 when it is right
	SigningIn    *Prompt

	Windows      []Window
	LimitReached bool
	LastError    string // the last request that failed, in a few words; empty when that is long ago
	LastErrorAt  time.Time

	AskedOrigin string // a page of this origin wants to use the plan, and nobody has said yes or no

	Model     string // id that tools may use
	Imported  bool   // the first launch imported the sign-in
	CanImport bool
	Tools     []Tool

	PlanNotice   string   // what the first use of a "Sign in with ChatGPT" must say, once; empty otherwise
	Newer        string   // a version that has been released; empty while this is the newest
	Mute         []string // what is not to be notified about: limits, sign-in, pages
	StartAtLogin bool
	Meter        bool            // the icon shows the fuller window
	Busy         map[Action]bool // actions under way
}

// App is the program behind the menu. Its methods are safe for concurrent use.
type App interface {
	// State returns what is to be shown now.
	State() State
	// Changes receives after each change of State.
	Changes() <-chan Change
	// Do carries out an action. The result is for what the menu and the icon don't show by themselves; empty when they
	// do. The error is a sentence that says what to do.
	Do(ctx context.Context, a Action) (result string, err error)
}

// Change says that the state is another one.
type Change struct {
	// Show means that the user started the program again, to see where it is.
	Show bool
}
