package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"codex-proxy/creds"
	"codex-proxy/creds/login"
	"codex-proxy/internal/atomicfile"
	"codex-proxy/proxy/codex"
)

// Way is a way to sign in.
type Way string

// The ways to sign in.
const (
	ByBrowser Way = "browser" // as the Codex CLI does, in the browser
	ByDevice  Way = "device"  // as the Codex CLI does, by a code that is typed into a browser anywhere
	ByChatGPT Way = "chatgpt" // "Sign in with ChatGPT"
)

const (
	browserPatience = 5 * time.Minute
	devicePatience  = 16 * time.Minute // the code is good for 15
)

// Prompt is what the user must do to sign in.
type Prompt struct {
	Way     Way       `json:"way"`
	Address string    `json:"address"`        // page to open
	Code    string    `json:"code,omitempty"` // to type there, of ByDevice
	Expires time.Time `json:"expires,omitzero"`
	// NoBrowser means that no browser could be opened: the user must open the address by hand.
	NoBrowser bool `json:"no_browser,omitempty"`
}

// SignInOptions say how to sign in.
type SignInOptions struct {
	Way       Way
	Workspace string // id of the workspace to sign in to, or empty for the user's choice; not with ByChatGPT
	// Show is called once, from a goroutine of its own, with what the user must do. It may take its time.
	Show func(Prompt)
	// Waiting is called each time that the answer is still out; may be nil.
	Waiting func()
}

// attempt is a sign-in under way.
type attempt struct {
	prompt Prompt
	cancel context.CancelCauseFunc
}

// errSigningIn is for who begins a sign-in while another one waits.
var errSigningIn = errors.New("a sign-in is waiting for the browser already. Finish or cancel that one first")

// SignIn signs in and stores the sign-in. It returns when the user has done their part, or after a few minutes. Errors
// are sentences; nothing has changed then, but for one that could not be stored and is used all the same.
func (a *App) SignIn(ctx context.Context, o SignInOptions) error {
	c, err := a.Obtain(ctx, o)
	if err != nil {
		return err
	}
	if err := a.manager.Adopt(ctx, c); err != nil {
		return fmt.Errorf("signed in, but it could not be stored: %w", withAdvice(err))
	}
	a.spread(ctx)
	return nil
}

// CanStore says why a sign-in could not be stored at this moment; nil when it could. A command, which ends, asks before
// the user signs in.
func (a *App) CanStore(ctx context.Context) error { return withAdvice(a.manager.CanStore(ctx)) }

// withAdvice adds what to do to the error of a store that does not say it.
func withAdvice(err error) error {
	var store *creds.StoreError
	switch {
	case errors.Is(err, creds.ErrBusy):
		return fmt.Errorf("%w. %s", err, advice{}.cause(creds.CauseStoreBusy))
	case errors.As(err, &store) && store.Hint == "" && errors.Is(err, creds.ErrNotWritten):
		return fmt.Errorf("%w. %s", err, advice{}.cause(creds.CauseStoreNotWritable))
	}
	return err
}

// spread has the other running programs take over what this one stored.
func (a *App) spread(ctx context.Context) {
	if err := TellOthers(context.WithoutCancel(ctx), "reload", patience); err != nil {
		a.Steps(creds.Step{Kind: creds.StepWarning, Text: "Another running Codex Proxy did not take it over: " + err.Error()})
	}
}

// CanKeep says why a sign-in of that way can't be kept where the settings say; nil when it can.
func (a *App) CanKeep(way Way) error {
	kind := creds.KindCodex
	if way == ByChatGPT {
		kind = creds.KindChatGPT
	}
	switch err := a.manager.Accepts(kind); {
	case a.Settings.Demo:
		return errors.New("the demo has no sign-in. Start Codex Proxy without --demo")
	case err == nil:
		return nil
	case a.manager.Accepts(creds.KindCodex) == nil:
		return fmt.Errorf("%w. Sign in the Codex way, or leave --creds-store=%s out", err, a.Settings.CredsStore)
	default:
		return fmt.Errorf("%w. Leave --creds-store=%s out", err, a.Settings.CredsStore)
	}
}

// Obtain signs in and returns the sign-in without storing it, for who gives it to somebody else. One at a time.
func (a *App) Obtain(ctx context.Context, o SignInOptions) (creds.Credentials, error) {
	if o.Way == ByChatGPT && o.Workspace != "" {
		return creds.Credentials{}, errors.New("a workspace can be chosen with the Codex sign-in only")
	}
	patience := browserPatience
	if o.Way == ByDevice {
		patience = devicePatience
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if err := a.begin(o.Way, cancel); err != nil {
		return creds.Credentials{}, err
	}
	defer a.end()
	limited, done := context.WithTimeout(ctx, patience)
	defer done()
	c, err := a.obtain(limited, o)
	if err != nil && errors.Is(context.Cause(ctx), errCancelled) {
		err = errCancelled
	}
	return c, err
}

func (a *App) obtain(ctx context.Context, o SignInOptions) (creds.Credentials, error) {
	show := func(p Prompt) {
		p.Way = o.Way
		a.mu.Lock()
		if a.attempt != nil {
			a.attempt.prompt = p
		}
		a.mu.Unlock()
		a.changed(false)
		go o.Show(p)
	}
	flow := &login.Login{
		HTTP: a.http, AuthURL: a.Settings.AuthURL, UserAgent: a.identity.UserAgent, Originator: a.identity.Originator,
		HostID: installID(), AskAgain: o.Way == ByChatGPT && a.manager.State().Cause == creds.CauseIdentityOnly, Registrations: &login.Registrations{Path: filepath.Join(StateFolder(), "registrations.json")}, Workspace: o.Workspace, Now: time.Now,
		Show: func(address string) { show(Prompt{Address: address}) },
	}
	switch o.Way {
	case ByDevice:
		waiting := o.Waiting
		if waiting == nil {
			waiting = func() {}
		}
		return flow.Device(ctx, func(d login.DeviceCode) { show(Prompt{Address: d.Address, Code: d.Code, Expires: d.Expires}) }, waiting)
	case ByChatGPT:
		return flow.ChatGPT(ctx)
	}
	return flow.Codex(ctx)
}

func (a *App) begin(way Way, cancel context.CancelCauseFunc) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.attempt != nil {
		return errSigningIn
	}
	a.attempt = &attempt{prompt: Prompt{Way: way}, cancel: cancel}
	return nil
}

func (a *App) end() {
	a.mu.Lock()
	a.attempt = nil
	a.mu.Unlock()
	a.changed(false)
}

// SigningIn returns what the user must do to finish the sign-in that is under way; nil when none is.
func (a *App) SigningIn() *Prompt {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.attempt == nil {
		return nil
	}
	p := a.attempt.prompt
	return &p
}

// CancelSignIn ends the sign-in that is under way; everything stays as it is.
func (a *App) CancelSignIn() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.attempt != nil {
		a.attempt.cancel(errCancelled)
	}
}

// errCancelled is the error of a sign-in that the user ended by CancelSignIn.
var errCancelled = errors.New("the sign-in was cancelled. Nothing was changed")

// noBrowser notes that no browser could be opened for the sign-in under way.
func (a *App) noBrowser(p Prompt) {
	a.mu.Lock()
	if a.attempt != nil {
		a.attempt.prompt.NoBrowser = true
	}
	a.mu.Unlock()
	a.changed(false)
}

// installID names this installation to the auth server: a random UUID, made once.
func installID() string {
	path := filepath.Join(StateFolder(), "install-id")
	if raw, err := os.ReadFile(path); err == nil && strings.HasPrefix(string(raw), "urn:uuid:") && len(raw) == 45 {
		return string(raw)
	}
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80 // version 4. Source: RFC 9562, 5.4.
	id := fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
	atomicfile.Write(path, []byte(id)) //nolint:errcheck // then the next sign-in counts as another installation
	return id
}

// SignedOut is what a sign-out did.
type SignedOut struct {
	Before creds.State
	// Revoked is why the auth server could not be told; nil when it was, or need not be.
	Revoked error
}

// SignOut ends the sign-in, deletes it here, and has every running program know. What it was imported from stays.
func (a *App) SignOut(ctx context.Context) (SignedOut, error) {
	out := SignedOut{Before: a.manager.State()}
	if out.Before.Cause == creds.CauseStoreUnreadable && a.Settings.CredsPath != "" {
		return out, fmt.Errorf("%s can't be read, and may be something else than a sign-in. Delete it yourself if it is one", a.Settings.CredsPath)
	}
	var err error
	var nobody *creds.UnavailableError
	switch out.Revoked, err = a.manager.SignOut(ctx); {
	case errors.As(err, &nobody):
		return out, errors.New("nobody is signed in. Nothing was changed")
	case err != nil:
		return out, withAdvice(err)
	}
	a.spread(ctx)
	return out, nil
}

// Refresh refreshes the tokens now, or says that they are fresh. The error is a sentence.
func (a *App) Refresh(ctx context.Context) error {
	var soon *creds.TooSoonError
	switch err := a.manager.Refresh(ctx); {
	case errors.As(err, &soon) && soon.Refreshed:
		a.Steps(creds.Step{Kind: creds.StepDone, Text: err.Error()})
	case err != nil:
		return err
	}
	a.spread(ctx)
	return nil
}

// ImportOptions say what to import from the Codex CLI.
type ImportOptions struct {
	From string // "file", "keychain", or "any" for the file and else the keychain
	// Replace is asked before the sign-in of another account is replaced; nil means no.
	Replace func(before, found creds.State) bool
}

// Import takes over the Codex CLI's sign-in, if it works. One that works here is not given up for one that does not.
func (a *App) Import(ctx context.Context, o ImportOptions) error {
	if !a.imports {
		return fmt.Errorf("--creds-store=%s imports nothing. Leave it out", a.Settings.CredsStore)
	}
	read := map[string]func(context.Context) (creds.Credentials, error){"any": a.importer.Import, "file": a.importer.FromFile, "keychain": a.importer.FromKeychain}[o.From]
	found, err := read(ctx)
	if isMissing(err) {
		where := map[string]string{"any": "on this machine", "file": "in its file", "keychain": "in the keychain of this machine"}[o.From]
		return fmt.Errorf("the Codex CLI has no sign-in %s. %s", where, a.advice.signIn)
	}
	if err != nil {
		return err
	}
	s := a.manager.State()
	if s.Status != creds.StatusNone && !a.manager.SameAccount(found) {
		if o.Replace == nil {
			return fmt.Errorf("the Codex CLI is signed in as %s, another account than %s. Sign out first to replace it", Who(creds.State{Email: found.Email, Plan: found.Plan}), Who(s))
		}
		if !o.Replace(s, creds.State{Email: found.Email, Plan: found.Plan}) {
			return errors.New("nothing was changed")
		}
	}
	if err := a.manager.Import(ctx, found); err != nil {
		return withAdvice(err)
	}
	a.spread(ctx)
	if s := a.manager.State(); s.Cause != creds.CauseNone && s.Cause != creds.CauseClock {
		return errors.New(s.Sentence())
	}
	return nil
}

// firstImport looks for a sign-in of the Codex CLI on the first launch.
func (a *App) firstImport(ctx context.Context) {
	say := a.Steps
	say(creds.Step{Kind: creds.StepCheck, Text: "First launch: looking for a sign-in of the Codex CLI"})
	c, err := a.importer.Import(ctx)
	if isMissing(err) {
		say(creds.Step{Kind: creds.StepWarning, Text: "The Codex CLI has no sign-in on this machine. " + a.advice.signIn})
		return
	}
	if err != nil {
		say(creds.Step{Kind: creds.StepFailure, Text: "Nothing imported: " + err.Error()})
		return
	}
	switch err := a.manager.Import(ctx, c); {
	case errors.Is(err, creds.ErrOlder): // another program has imported it meanwhile
		a.sayWho()
		return
	case err != nil && ctx.Err() != nil: // the program ends, and the import goes on
		return
	case err != nil:
		say(creds.Step{Kind: creds.StepFailure, Text: "Nothing imported: " + err.Error()})
		return
	}
	if s := a.manager.State(); s.Usable && (s.Cause == creds.CauseNone || s.Cause == creds.CauseClock) {
		say(creds.Step{Kind: creds.StepDone, Text: "Imported: signed in as " + Who(s)})
		a.mu.Lock()
		a.imported = s.Ownership == creds.Own
		a.mu.Unlock()
		a.changed(false)
	}
}

func isMissing(err error) bool { return errors.Is(err, creds.ErrMissing) }

// CanTransfer says why the sign-in can't be given to another owner; nil when it can.
func (a *App) CanTransfer() error {
	switch s := a.manager.State(); {
	case s.Status == creds.StatusNone:
		return errors.New("nobody is signed in here. Use --fresh to sign in for the Worker")
	case s.Ownership == creds.Shared:
		return errors.New("this sign-in is the Codex CLI's, too, and two programs that refresh it log each other out. Use --fresh to sign in for the Worker")
	}
	return nil
}

// Transfer gives the sign-in to another owner: give sends it there, and then it is deleted here. When give fails
// nothing has changed.
func (a *App) Transfer(ctx context.Context, give func(context.Context, creds.Credentials) error) error {
	if err := a.CanTransfer(); err != nil {
		return err
	}
	if err := a.manager.Transfer(ctx, give); err != nil {
		return withAdvice(err)
	}
	a.spread(ctx)
	return nil
}

// Workspaces lists the workspaces of the sign-in.
func (a *App) Workspaces(ctx context.Context) ([]codex.Workspace, error) {
	list, err := a.client.Workspaces(ctx)
	if err == nil && len(list) == 0 {
		err = errors.New("this sign-in tells of no workspaces. Sign in the Codex way to have them")
	}
	return list, err
}

// SelectWorkspace uses another workspace of the sign-in from now on.
func (a *App) SelectWorkspace(ctx context.Context, id string) (codex.Workspace, error) {
	list, err := a.Workspaces(ctx)
	if err != nil {
		return codex.Workspace{}, err
	}
	for _, w := range list {
		if w.ID == id {
			if err := a.manager.SelectWorkspace(ctx, id); err != nil {
				return w, withAdvice(err)
			}
			a.spread(ctx)
			return w, nil
		}
	}
	return codex.Workspace{}, fmt.Errorf("there is no workspace %q in this sign-in. `codex-proxy workspace` lists them", id)
}
