package creds

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Accepts returns nil when a sign-in of this kind can be stored here, and otherwise the error that Adopt would return:
// ask before the user is asked anything.
func (m *Manager) Accepts(kind Kind) error {
	if store := m.cfg.Store; store.Limits().Shared && kind == KindChatGPT {
		return &StoreError{Kind: ErrReadOnly, Where: store.Name(), Cause: errors.New("the Codex CLI's file can't hold a \"Sign in with ChatGPT\"")}
	}
	return m.writable()
}

// CanStore returns nil when a sign-in can be stored at this moment, and otherwise the *StoreError that Adopt would return:
// ask before the user signs in, where the sign-in would be lost with the program. Another program that changes the
// sign-in at this moment is nothing in the way.
func (m *Manager) CanStore(ctx context.Context) error {
	return m.change(byUser(ctx), func(ctx context.Context) error {
		soon, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		release, err := m.cfg.Store.Lock(soon)
		if errors.Is(err, ErrBusy) {
			return nil
		} else if err != nil {
			return err
		}
		defer release()
		return m.cfg.Store.Reserve(ctx)
	})
}

// Adopt stores c, a sign-in that was made just now, and uses it from now on. When it can't be stored at this moment it
// is used all the same, the error says why, and storing is tried again. A store that can never hold it (see Accepts)
// and tokens that are mixed (ErrMixed) are refused, and so is a sign-in whose refresh token was spent here while that in
// use works (ErrOlder); then nothing changes.
func (m *Manager) Adopt(ctx context.Context, c Credentials) error {
	return m.change(byUser(ctx), func(ctx context.Context) error {
		if err := m.Accepts(c.Kind); err != nil {
			return err
		}
		if err := c.Check(); err != nil {
			return err
		}
		if m.usedUp(ctx, c.RefreshToken) && m.owner.usable(m.time()) {
			return ErrOlder
		}
		if m.cfg.Store.Limits().Shared {
			c.Ownership, c.ImportedFrom = Shared, ""
		}
		release, err := m.lock()
		if err == nil {
			defer release()
			if err = m.cfg.Store.Reserve(ctx); err == nil {
				err = m.save(ctx, c)
			}
		} else if errors.Is(err, errLeft) {
			return err
		}
		m.take(c)
		if err != nil {
			m.notSaved(err)
		}
		return err
	})
}

// ImportError says why a candidate was not imported. Nothing was changed.
type ImportError struct {
	Cause Cause  // of the candidate's trouble; CauseNone when it is older than the present sign-in
	Text  string // a sentence without a full stop
	Err   error  // what failed, or nil
}

func (e *ImportError) Error() string { return e.Text }

// Unwrap is what failed.
func (e *ImportError) Unwrap() error { return e.Err }

// ErrOlder is what an ImportError is when the candidate is older than the sign-in that is in use.
var ErrOlder = errors.New("older than the sign-in in use")

// Is reports that e is ErrOlder.
func (e *ImportError) Is(target error) bool { return target == ErrOlder && e.Cause == CauseNone }

const older = "The Codex CLI's copy is older than yours; nothing was changed"

// Import uses candidate, a sign-in of the Codex CLI's, once it is proven: by a refresh, which makes it our own, or with
// Config.TakeOver off, where its refresh token is not ours to spend, by an access token that is good and newer than
// ours. Where nobody is signed in, and the auth server can't be asked for now, a candidate whose access token is good
// is used, and proven later.
//
// Errors are *ImportError, *TooSoonError, *StoreError, ErrMixed, ErrClosed, or ctx's; then nothing has changed, but
// that with ctx's the import goes on.
func (m *Manager) Import(ctx context.Context, candidate Credentials) error {
	return m.change(byUser(ctx), func(ctx context.Context) error {
		store := m.cfg.Store
		if limits := store.Limits(); limits.ReadOnly || limits.Shared {
			return &StoreError{Kind: ErrReadOnly, Where: store.Name(), Cause: errors.New("it keeps no sign-in of its own")}
		}
		if err := candidate.Check(); err != nil {
			return err
		}
		release, err := m.lock()
		if err != nil {
			return err
		}
		defer release()
		m.reread(ctx) //nolint:errcheck // what can't be read is replaced by what is proven
		return m.consider(ctx, candidate)
	})
}

// consider decides about a candidate, under the lock.
func (m *Manager) consider(ctx context.Context, c Credentials) error {
	o, now := &m.owner, m.time()
	c.Ownership, c.TakeOver = Shared, false
	same := c.RefreshToken != "" && c.RefreshToken == o.sign.RefreshToken
	spend := m.cfg.TakeOver || (c.ExpiredAt(now) && !o.usable(now))
	switch {
	case same && (o.sign.Ownership == Own || !spend):
		return nil // it is in use already
	case spend && c.RefreshToken != "":
		return m.takeOver(ctx, c)
	case c.ExpiredAt(now):
		return &ImportError{Cause: CauseNoRefreshToken, Text: "The Codex CLI's sign-in has ended; nothing was changed"}
	case o.usable(now) && !c.newerThan(o.sign):
		return &ImportError{Text: older, Err: ErrOlder}
	}
	if err := m.store(ctx, c); err != nil {
		return err
	}
	m.cfg.Tell(Step{StepDone, "Imported, and left to the Codex CLI: the proxy takes what the CLI refreshes. A refresh token can be used once; the proxy uses this one only if the CLI has not renewed it by the time it ends"})
	return nil
}

// store saves c and makes it the sign-in, or changes nothing.
func (m *Manager) store(ctx context.Context, c Credentials) error {
	err := m.cfg.Store.Reserve(ctx)
	if err == nil {
		m.cfg.Tell(Step{StepWrite, "Writing it to " + m.cfg.Store.Name()})
		err = m.save(ctx, c)
	}
	if err == nil {
		m.take(c)
	} else {
		m.notStored(err)
	}
	return err
}

// notStored notes why there is no sign-in although there could be one.
func (m *Manager) notStored(err error) {
	if m.owner.sign.IsZero() {
		m.trouble(explain(err), err)
	}
}

// usedUp reports whether this user's programs are known to have used up a refresh token: a second time ends all of its chain.
func (m *Manager) usedUp(ctx context.Context, refreshToken string) bool {
	name := hash(refreshToken)
	return slices.Contains(m.cfg.Store.Attempt(ctx).Spent, name) || m.cfg.Taken(name)
}

// takeOver proves a candidate by a refresh, which makes it our own, under the lock.
func (m *Manager) takeOver(ctx context.Context, c Credentials) error {
	o := &m.owner
	if t, known := o.refused[hash(c.RefreshToken)]; known {
		return m.notImported(t, nil)
	}
	release, err := m.turn(m.cfg.Taking)
	if err != nil {
		return err
	}
	defer release()
	if m.usedUp(ctx, c.RefreshToken) {
		return m.notImported(troubled(CauseSpent), nil)
	}
	if soon := m.gate(ctx, c.RefreshToken); soon != nil {
		return soon
	}
	if err := m.ending(); err != nil {
		return err
	}
	if err := m.cfg.Store.Reserve(ctx); err != nil { // as spend does, but before anything is told
		m.notStored(err)
		return m.notImported(explain(err), err)
	}
	m.cfg.Tell(Step{StepRefresh, "Refreshing it, so that the proxy has a sign-in of its own"})
	n, unsaved, err := m.spend(ctx, c)
	switch {
	case err == nil:
		err := m.renewed(c, n, unsaved, request{why: whenAsked})
		if o.sign.AccessToken == n.AccessToken && o.usable(m.time()) {
			return nil // at worst not stored yet, which is in the state
		}
		return err
	case permanent(err) || !o.sign.IsZero() || c.ExpiredAt(m.time()):
		return m.notImported(explain(err), err)
	}
	c.TakeOver = true
	if stored := m.store(ctx, c); stored != nil {
		return stored
	}
	m.failed(err) //nolint:errcheck // it is in the state; the sign-in is in use
	return nil
}

// notImported says why not.
func (m *Manager) notImported(t trouble, err error) error {
	o := &m.owner
	switch {
	case t.cause == CauseSpent && !o.sign.IsZero() && !o.dead, t.cause == CauseAnswerLost && !o.sign.IsZero() && !o.dead:
		return &ImportError{Text: older, Err: err}
	case t.cause == CauseSpent || t.cause == CauseAnswerLost:
		return &ImportError{Cause: t.cause, Text: "The refresh token of the Codex CLI's sign-in was used already; nothing was changed", Err: err}
	case t.cause == CauseEnded:
		return &ImportError{Cause: t.cause, Text: "The Codex CLI's sign-in was revoked or has expired; nothing was changed", Err: err}
	}
	return &ImportError{Cause: t.cause, Text: "The Codex CLI's sign-in could not be tried; nothing was changed. " + sentence(t.problem, t.hint), Err: err}
}

// Reload takes what is in the store now, also nothing: another program changed it on the user's behalf. A sign-in here
// that is newer and could not be stored yet stays, and is stored.
func (m *Manager) Reload(ctx context.Context) error {
	return m.change(byUser(ctx), func(ctx context.Context) error {
		release, err := m.lock()
		if err != nil {
			return err
		}
		defer release()
		if err := m.reread(ctx); err != nil {
			m.trouble(explain(err), err)
			return m.refusal()
		}
		return nil
	})
}

// SignOut deletes the sign-in from the store and ends it at the auth server, as far as that can be reached: revoked says
// why not. What can't be read is deleted, too, and then revoked is the *StoreError that says so. What it was imported
// from stays as it is. A store that is not ours to delete from is ErrReadOnly, before anything is done; nobody signed in
// is an *UnavailableError.
func (m *Manager) SignOut(ctx context.Context) (revoked, err error) {
	err = m.change(byUser(ctx), func(ctx context.Context) error {
		if err := m.removable(); err != nil {
			return err
		}
		release, err := m.lock()
		if err != nil {
			return err
		}
		defer release()
		unread := m.reread(ctx) // what is known can be ended all the same
		c := m.owner.sign
		if c.IsZero() {
			if !errors.Is(unread, ErrUnreadable) && !errors.Is(unread, ErrCorrupt) {
				return m.refusal()
			}
			revoked = unread
		}
		if err := m.save(ctx, Credentials{}); err != nil {
			return err
		}
		m.none(troubled(CauseSignedOut), nil)
		if c.Ownership == Own { // a shared one is the Codex CLI's, too
			m.show()
			call, cancel := context.WithTimeout(ctx, callTimeout)
			defer cancel()
			revoked = m.cfg.Refresher.Revoke(call, c)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return revoked, nil
}

// removable refuses stores whose sign-in is not ours to delete.
func (m *Manager) removable() error {
	if store := m.cfg.Store; store.Limits().Shared {
		return &StoreError{Kind: ErrReadOnly, Where: store.Name(), Cause: errors.New("it is the Codex CLI's own sign-in"), Hint: "Use `codex logout`"}
	}
	return m.writable()
}

// ErrOutcomeUnknown is wrapped by the give of a Transfer that can't tell whether the other side has the sign-in.
var ErrOutcomeUnknown = errors.New("it is not known whether the other side has it")

// TransferLimit is how long give of a Transfer may take: no longer than Close waits.
const TransferLimit = callTimeout

// Transfer moves the sign-in to another owner: give hands it over, and then it is deleted here, without ending it. Both
// happen under one lock, so that no refresh comes in between. When give fails nothing changes here; when its error is
// ErrOutcomeUnknown, so is Transfer's, and the sign-in stays here, too. give's context is not cancelled when ctx is,
// but ends after TransferLimit. It must not call the Manager.
func (m *Manager) Transfer(ctx context.Context, give func(context.Context, Credentials) error) error {
	return m.withSignIn(ctx, m.removable, func(ctx context.Context, c Credentials) error {
		if err := m.cfg.Store.Reserve(ctx); err != nil {
			return err // it could not be deleted afterwards
		}
		if err := m.ending(); err != nil {
			return err
		}
		call, cancel := context.WithTimeout(ctx, TransferLimit)
		defer cancel()
		if err := give(call, c); err != nil {
			if errors.Is(err, ErrOutcomeUnknown) {
				m.cfg.Tell(Step{StepWarning, "It is not known whether the sign-in has arrived. It is still here, too; use it in one place only"})
			}
			return err
		}
		if err := m.save(ctx, Credentials{}); err != nil {
			return fmt.Errorf("the sign-in is given away, but it could not be deleted here: %w", err)
		}
		m.none(troubled(CauseSignedOut), nil)
		return nil
	})
}

// SelectWorkspace uses another of the sign-in's workspaces from now on. When that can't be stored nothing changes.
func (m *Manager) SelectWorkspace(ctx context.Context, id string) error {
	return m.withSignIn(ctx, m.writable, func(ctx context.Context, c Credentials) error {
		c.AccountID = id
		if err := m.save(ctx, c); err != nil {
			return err
		}
		m.owner.sign = c
		return nil
	})
}

// writable refuses stores that can't be written.
func (m *Manager) writable() error {
	if m.cfg.Store.Limits().ReadOnly {
		return &StoreError{Kind: ErrReadOnly, Where: m.cfg.Store.Name()}
	}
	return nil
}

// withSignIn changes the sign-in that is stored now, under the lock, where the store allows it and somebody is signed in.
func (m *Manager) withSignIn(ctx context.Context, allowed func() error, act func(context.Context, Credentials) error) error {
	return m.change(byUser(ctx), func(ctx context.Context) error {
		if err := allowed(); err != nil {
			return err
		}
		release, err := m.lock()
		if err != nil {
			return err
		}
		defer release()
		if err := m.reread(ctx); err != nil {
			return err
		}
		if m.owner.sign.IsZero() {
			return m.refusal()
		}
		return act(ctx, m.owner.sign)
	})
}
