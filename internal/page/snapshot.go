package page

import "time"

// Snapshot is everything about the program that the page shows, but for the history. The zero value of each field means
// that there is nothing to show.
type Snapshot struct {
	Version string `json:"version"`
	Update  string `json:"update,omitempty"` // "1.4.0 is out"
	Demo    bool   `json:"demo,omitempty"`   // answers come from the built-in stand-in

	Running bool      `json:"running"`
	Paused  time.Time `json:"paused_until,omitzero"` // it starts again then; zero when it does not
	Root    string    `json:"root"`                  // "http://localhost:9879"; tools get this with /v1
	Problem *Problem  `json:"problem,omitempty"`     // the one thing to mend first, in the words of the menu
	Notes   []string  `json:"notes,omitempty"`       // sentences worth knowing that need no button

	SignIn  SignIn   `json:"sign_in"`
	Ways    []Way    `json:"ways"`              // to sign in, the first one first
	Pending *Pending `json:"pending,omitempty"` // a sign-in under way

	Windows []Window  `json:"windows"`
	Active  []Request `json:"active"` // requests under way, the newest first; at most a few

	Origins  []Origin  `json:"origins"`
	Tools    []Tool    `json:"tools"`
	Settings []Setting `json:"settings"`
	Keys     []Key     `json:"keys"`
	Doctor   *Doctor   `json:"doctor,omitempty"`

	FirstStart bool     `json:"first_start"`    // show the three steps
	Tested     bool     `json:"tested"`         // a test request or a tool's request has been answered
	Busy       []Action `json:"busy,omitempty"` // under way
	Can        []Action `json:"can"`            // the page shows these and no others
}

// Problem is what is wrong, and the button that mends it.
type Problem struct {
	Title  string `json:"title"`            // "Sign in again"
	Detail string `json:"detail"`           // a sentence or two
	Action Action `json:"action,omitempty"` // empty when waiting is all that helps
	Label  string `json:"label,omitempty"`  // of the button
	Args   any    `json:"args,omitempty"`   // for the action
	Mild   bool   `json:"mild,omitempty"`   // requests are still answered
}

// Status is how a sign-in is.
type Status string

// The states of a sign-in.
const (
	SignedOut   Status = "signed-out"
	Starting    Status = "starting" // looking for one
	Good        Status = "good"
	Refreshing  Status = "refreshing"
	Failing     Status = "failing" // the refresh fails; requests are answered while the token lives
	SignInAgain Status = "sign-in-again"
)

// SignIn is who is signed in, and how.
type SignIn struct {
	Status      Status      `json:"status"`
	Email       string      `json:"email,omitempty"`
	Plan        string      `json:"plan,omitempty"`
	Way         string      `json:"way,omitempty"` // "Codex sign-in"
	ExpiresAt   time.Time   `json:"expires_at,omitzero"`
	LastRefresh time.Time   `json:"last_refresh,omitzero"`
	NextAttempt time.Time   `json:"next_attempt,omitzero"` // of a failing refresh
	Store       string      `json:"store,omitempty"`       // where it is kept
	SharedWith  string      `json:"shared_with,omitempty"` // the program that it belongs to as well
	Note        string      `json:"note,omitempty"`        // a sentence on what that means
	Workspaces  []Workspace `json:"workspaces,omitempty"`
	CanImport   string      `json:"can_import,omitempty"` // what could be imported: "demo@example.com from the Codex CLI"
}

// Workspace is an account that this sign-in may use.
type Workspace struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Plan     string `json:"plan,omitempty"`
	Selected bool   `json:"selected,omitempty"`
}

// Way is a way to sign in.
type Way struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Detail  string `json:"detail"`            // when to choose it
	Warning string `json:"warning,omitempty"` // must be confirmed first
}

// Pending is a sign-in under way.
type Pending struct {
	Way       string    `json:"way"`
	Steps     []string  `json:"steps"`          // what has been done, the newest last
	URL       string    `json:"url,omitempty"`  // where the user goes
	Code      string    `json:"code,omitempty"` // what the user types there
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	Failed    string    `json:"failed,omitempty"` // why it ended without a sign-in; shown until the next action
}

// Window is a limit of the plan.
type Window struct {
	Name     string        `json:"name"` // "5-hour", "weekly"
	Used     float64       `json:"used"` // percent
	Length   time.Duration `json:"-"`
	ResetsAt time.Time     `json:"resets_at,omitzero"`
	Outlook  string        `json:"outlook,omitempty"` // filled in by the page from the history when empty
	Short    bool          `json:"short,omitempty"`   // it will be full before it resets; filled in with Outlook
}

// Request is one under way.
type Request struct {
	ID     string    `json:"id"`
	Since  time.Time `json:"since"`
	Client string    `json:"client"`
	Route  string    `json:"route"`
	Model  string    `json:"model"` // as it was asked for, perhaps with an effort behind it
}

// Origin is a web page that asked to use the plan.
type Origin struct {
	Origin string `json:"origin"`
	State  string `json:"state"` // "asks", "allowed" or "denied"
}

// Tool is a program that can be pointed at the proxy.
type Tool struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Found     bool   `json:"found"`               // on this machine
	Connected bool   `json:"connected"`           // by us
	Trouble   string `json:"trouble,omitempty"`   // "connected to an older port"
	HasFile   bool   `json:"has_file"`            // it has settings that can be written; else there is only the recipe
	Recipe    string `json:"recipe,omitempty"`    // what to copy
	Where     string `json:"where,omitempty"`     // where to paste it
	Run       string `json:"run,omitempty"`       // the command that starts it pointed at the proxy: "codex-proxy run claude"
	LastUsed  string `json:"last_used,omitempty"` // RFC 3339
}

// Setting is one thing that can be set.
type Setting struct {
	Name    string   `json:"name"` // for ActionSet
	Label   string   `json:"label"`
	Help    string   `json:"help,omitempty"`
	Group   string   `json:"group"`
	Kind    string   `json:"kind"`  // "switch", "text", "number", "choice" or "list"
	Value   any      `json:"value"` // bool, string, number, string, []string
	Source  string   `json:"source"`
	Default any      `json:"default"`
	Choices []string `json:"choices,omitempty"`
	Flag    string   `json:"flag,omitempty"`    // "--port"
	Env     string   `json:"env,omitempty"`     // "CODEX_PROXY_PORT"
	Restart bool     `json:"restart,omitempty"` // a change takes effect after a restart
	Waiting bool     `json:"waiting,omitempty"` // a change waits for the restart
	Secret  bool     `json:"secret,omitempty"`  // Value and Default only tell whether there is one
}

// Where the value of a setting comes from. Those from a flag or the environment can't be changed here.
const (
	FromFlag        = "flag"
	FromEnvironment = "environment"
	FromFile        = "file"
	FromDefault     = "default"
)

// Key is a key that a tool may use.
type Key struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Routes   []string  `json:"routes,omitempty"` // that it is good for; all when empty
	Created  time.Time `json:"created,omitzero"`
	LastUsed time.Time `json:"last_used,omitzero"`
}

// Doctor is what was found out.
type Doctor struct {
	Running bool      `json:"running"`
	At      time.Time `json:"at,omitzero"`
	Lines   []Finding `json:"lines"`
	Advice  []string  `json:"advice"`
	Text    string    `json:"text"` // all of it, to copy; names of people shortened
}

// Finding is a line of the doctor's report.
type Finding struct {
	Level string `json:"level"` // "good", "note" or "bad"
	What  string `json:"what"`
	Text  string `json:"text"`
}
