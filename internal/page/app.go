package page

import (
	"context"
	"encoding/json"
	"errors"
)

// App is the program as the page sees it. All methods may be called at the same time.
type App interface {
	// Snapshot tells how things are now. It is called often while a page is open, and must not wait. No token, no
	// prompt and no answer belongs in it; keys are told once, as the result of ActionKeyCreate.
	Snapshot() Snapshot

	// Subscribe returns a channel that gets something whenever Snapshot would tell something else. It has room for one,
	// and nobody waits for it to be taken. Cancel ends it.
	Subscribe() (changes <-chan struct{}, cancel func())

	// Do carries an action out and returns what the page shows of it: one of the result types below, or nil. An error
	// is a sentence for the user that ends in what to do. What takes long (a sign-in, the doctor) is only started: how it
	// goes is told by the snapshot. ctx does not end with the browser's connection.
	Do(ctx context.Context, action Action, args json.RawMessage) (result any, err error)
}

// ErrUnknownAction is what App.Do returns for an action that it doesn't have.
var ErrUnknownAction = errors.New("this version can't do that")

// Action is something that the page can ask for. The page shows a button only for those in Snapshot.Can.
type Action string

// The actions, each with its arguments and its result. Actions without arguments get {}.
const (
	ActionStart   Action = "start"   // listen again: nothing → Message
	ActionStop    Action = "stop"    // stop serving tools: nothing → Saved
	ActionRestart Action = "restart" // end and start again, so that settings take effect: nothing → Message
	ActionOpenLog Action = "open-log"

	ActionSignIn          Action = "sign-in"        // SignInArgs → nil; Snapshot.Pending tells on
	ActionCancelSignIn    Action = "cancel-sign-in" // nothing → nil
	ActionImport          Action = "import"         // from the Codex CLI: nothing → Message
	ActionRefresh         Action = "refresh"        // nothing → Message
	ActionSignOut         Action = "sign-out"       // nothing → nil
	ActionWorkspaces      Action = "workspaces"     // ask for the list: nothing → nil; SignIn.Workspaces tells
	ActionSelectWorkspace Action = "select-workspace"

	ActionAllowOrigin  Action = "allow-origin"  // OriginArgs → nil
	ActionDenyOrigin   Action = "deny-origin"   // OriginArgs → nil
	ActionForgetOrigin Action = "forget-origin" // ask again the next time: OriginArgs → nil

	ActionToolPreview    Action = "tool-preview"    // what connecting would change: IDArgs → Preview
	ActionToolConnect    Action = "tool-connect"    // IDArgs → Message
	ActionToolDisconnect Action = "tool-disconnect" // IDArgs → Message
	ActionTest           Action = "test"            // a request as a tool would send it: IDArgs, empty for none → TestResult

	ActionSet   Action = "set"   // SetArgs → Saved
	ActionReset Action = "reset" // back to the default: SetArgs without a value → Saved

	ActionDoctor Action = "doctor" // look again: nothing → nil; Snapshot.Doctor tells

	ActionKeyCreate Action = "key-create" // KeyArgs → NewKey
	ActionKeyRevoke Action = "key-revoke" // IDArgs → nil

	ActionFirstStartDone Action = "first-start-done" // hide the three steps for good: nothing → nil

	// These are done by the page itself: nothing → Message. They need no place in Can.
	ActionDeleteHistory  Action = "delete-history"
	ActionForgetBrowsers Action = "forget-browsers" // all but the one that asks
)

// SignInArgs say how to sign in.
type SignInArgs struct {
	Way       string `json:"way"`       // of Snapshot.Ways
	Confirmed bool   `json:"confirmed"` // the user has read Way.Warning and said yes
}

// IDArgs name a tool, a key or a workspace.
type IDArgs struct {
	ID string `json:"id"`
}

// OriginArgs name an origin, such as http://localhost:3000.
type OriginArgs struct {
	Origin string `json:"origin"`
}

// SetArgs change a setting. The value has the type of Setting.Value.
type SetArgs struct {
	Name  string          `json:"name"`
	Value json.RawMessage `json:"value,omitempty"`
}

// KeyArgs describe a new key.
type KeyArgs struct {
	Name string `json:"name"`
}

// Message is a result in a sentence.
type Message struct {
	Message string `json:"message"`
}

// Saved is the result of a change that is kept over a restart.
type Saved struct {
	Message string `json:"message"`        // what happened; may be empty
	Open    string `json:"open,omitempty"` // where the page is from now on, with a code, when the address has changed
}

// Preview shows what connecting a tool changes.
type Preview struct {
	Files []FileChange `json:"files"`
	Note  string       `json:"note,omitempty"` // what else is to be known
}

// FileChange is one file of a Preview.
type FileChange struct {
	Path string `json:"path"`
	Diff string `json:"diff"` // unified
}

// TestResult is what came back for a test request.
type TestResult struct {
	OK       bool   `json:"ok"`
	Request  string `json:"request"`                // what was sent: "POST /v1/messages, gpt-5.5"
	Status   int    `json:"status"`                 // of HTTP; 0 when there was no answer
	Answer   string `json:"answer"`                 // what the tool would show, or the error's sentence
	FirstMS  int64  `json:"first_token_ms"`         // 0 when none came
	Duration int64  `json:"duration_ms"`            // of all
	Advice   string `json:"advice,omitempty"`       // what to do about it
	Action   Action `json:"action,omitempty"`       // that mends it
	Label    string `json:"action_label,omitempty"` // of its button
}

// NewKey is told once: only its hash is stored.
type NewKey struct {
	Key string `json:"key"`
}
