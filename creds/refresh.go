package creds

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

const (
	backoffFirst      = 5 * time.Second
	backoffMost       = 5 * time.Minute
	backoffUnanswered = time.Minute // the auth server may have spent the token: don't hurry
	expiredWaitMost   = 30 * time.Second
)

// why is what a refresh is for.
type why int

const (
	whenDue      why = iota // it is time, or there is something else to put right
	whenEnded               // a request waits, and the access token has ended
	whenRejected            // a request waits, and the backend refused the access token
	whenAsked               // a person wants it
)

// request is one wish for a refresh. Many may come at a time: what happened since each was made answers it.
type request struct {
	why     why
	seen    *snapshot // when it was made
	refused string    // whenRejected: the access token
}

// refreshFor is the change that answers r.
func (m *Manager) refreshFor(r request) func(context.Context) error {
	return func(ctx context.Context) error {
		o := &m.owner
		if m.settled(r) {
			return nil
		}
		if r.why != whenDue && o.missed > r.seen.missed {
			return m.refusal() // the refresh that it would have been has just failed
		}
		release, err := m.turnToRefresh(m.cfg.Store.Lock)
		if err != nil {
			return err
		}
		defer release()
		return m.refresh(ctx, r)
	}
}

// turnToRefresh is turn, and notes that the refresh failed where it never comes.
func (m *Manager) turnToRefresh(lock func(context.Context) (release func(), err error)) (release func(), err error) {
	if release, err = m.turn(lock); err != nil && !errors.Is(err, errLeft) {
		err = m.failed(err)
	}
	return release, err
}

// settled reports whether there is nothing to do for r any more.
func (m *Manager) settled(r request) bool {
	o, now := &m.owner, m.time()
	switch r.why {
	case whenAsked:
		return o.refreshes > r.seen.refreshes
	case whenRejected:
		return o.sign.AccessToken != r.refused && !o.sign.IsZero()
	case whenEnded:
		return o.serves(now)
	}
	return !(o.due(now) || o.unsaved || o.helpless()) || o.waits(now)
}

// refresh decides under the lock, and refreshes if that is what it comes to.
func (m *Manager) refresh(ctx context.Context, r request) error {
	o := &m.owner
	if err := m.reread(ctx); err != nil {
		return m.failed(err)
	}
	m.rereadSource(ctx)
	if m.settled(r) {
		return nil
	}
	c := o.sign
	switch {
	case c.IsZero() || o.unfit || o.dead:
		return m.refusal()
	case r.why == whenDue && !o.due(m.time()): // it is unsaved, and still can't be saved
		m.backOff(0)
		return m.refusal()
	case r.why == whenRejected && o.trial == r.refused:
		m.reject(r.refused)
		return m.refusal()
	case c.RefreshToken == "" && r.why == whenAsked && o.usable(m.time()):
		return &NoRefreshTokenError{Until: c.ExpiresAt}
	case c.RefreshToken == "":
		if r.why == whenRejected {
			o.rejected = r.refused
		}
		t := troubled(CauseNoRefreshToken)
		if m.cfg.Store.Limits().ReadOnly {
			t = troubled(CauseEnvironment)
		}
		o.missed++
		m.over(t, nil)
		return m.refusal()
	}
	if c.Ownership == Shared {
		release, err := m.turnToRefresh(m.cfg.Taking)
		if err != nil {
			return err
		}
		defer release()
		if m.cfg.Taken(hash(c.RefreshToken)) { // once more would end what it became there
			return m.takenElsewhere(r, c)
		}
	}
	if soon := m.gate(ctx, c.RefreshToken); soon != nil {
		return m.notYet(r, soon)
	}
	if err := m.ending(); err != nil {
		return err
	}
	m.happened(eventBegan)
	m.show()
	n, unsaved, err := m.spend(ctx, c)
	if err == nil {
		return m.renewed(c, n, unsaved, r)
	}
	if permanent(err) {
		if m.reread(ctx) == nil { // the refresh's error is the one that counts
			m.rereadSource(ctx)
		}
		if o.sign.RefreshToken != c.RefreshToken && o.usable(m.time()) {
			m.cfg.Tell(Step{StepDone, "The sign-in had been renewed by another program: using that one"})
			return nil
		}
	}
	if r.why == whenRejected {
		o.rejected = r.refused
	}
	return m.failed(err)
}

// takenElsewhere notes that another program of this user has used up the refresh token of a borrowed sign-in.
func (m *Manager) takenElsewhere(r request, c Credentials) error {
	o := &m.owner
	if r.why == whenRejected {
		o.rejected = r.refused
	}
	o.missed++
	o.dead, o.refused[hash(c.RefreshToken)] = true, troubled(CauseSpent)
	m.over(troubled(CauseSpent), nil)
	m.cfg.Tell(Step{StepFailure, o.problem})
	return m.refusal()
}

// notYet answers a request that comes too soon after the last refresh.
func (m *Manager) notYet(r request, soon *TooSoonError) error {
	o := &m.owner
	switch r.why {
	case whenAsked:
		return soon
	case whenDue:
		o.tried = m.time()
		o.next = o.tried.Add(soon.Wait)
		return nil
	case whenRejected:
		if soon.Refreshed { // a fresh token
			m.reject(r.refused)
			return m.refusal()
		}
		if o.rejected = r.refused; o.failures == 0 { // what failed was a refresh of an earlier process
			m.backOff(soon.Wait)
		}
	}
	e := m.refusal()
	e.RetryAfter = max(soon.Wait, time.Second)
	return e
}

// reject notes that the backend refuses the sign-in although it was refreshed.
func (m *Manager) reject(access string) {
	m.owner.rejected = access
	m.over(troubled(CauseRejected), nil)
}

// refusal is unavailable as of the owner's snapshot.
func (m *Manager) refusal() *UnavailableError { return m.unavailableOf(&m.owner.snapshot) }

// spend sends the refresh token of c, which is the sign-in or may become it, and stores what comes back. From here on
// a token is never sent twice within a minute unless the first time surely did not use it. unsaved is why the new
// sign-in, which is valid all the same, could not be stored.
func (m *Manager) spend(ctx context.Context, c Credentials) (n Credentials, unsaved, err error) {
	o, store := &m.owner, m.cfg.Store
	if err := store.Reserve(ctx); err != nil {
		return c, nil, err
	}
	before := store.Attempt(ctx)
	note := Attempt{Token: hash(c.RefreshToken), At: m.cfg.Now().UTC().Round(0), Open: true, Spent: before.Spent, Refused: before.Refused}
	note.Lost = before.Token == note.Token && (before.Open || before.Lost)
	if err := store.Note(ctx, note); err != nil {
		return c, nil, err
	}
	call, cancel := context.WithTimeout(ctx, answerTimeout)
	stop := context.AfterFunc(m.life, func() { time.AfterFunc(callTimeout, cancel) }) // the program ends
	n, server, err := m.cfg.Refresher.Refresh(call, c)
	stop()
	cancel()
	if !server.IsZero() {
		o.clock = setClock(server, m.cfg.Now())
	}
	if err != nil {
		err = m.notSpent(ctx, c, note, err)
		return c, nil, err
	}
	n.TakeOver, n.Ownership = false, Own
	if store.Limits().Shared {
		n.Ownership = Shared
	}
	if !c.sameTokens(o.sign) {
		m.cfg.Tell(Step{StepWrite, "Writing it to " + store.Name()})
	}
	if meanwhile, stored := m.storedMeanwhile(ctx); stored {
		n = meanwhile
	} else {
		unsaved = m.save(ctx, n)
	}
	begins := c.Ownership == Shared && n.Ownership == Own // of a chain of our own, as a sign-in is: not a refresh of it
	if !begins {
		m.shut(n.RefreshToken, gateRefreshed, true)
		note.Result = hash(n.RefreshToken)
	}
	if n.RefreshToken != c.RefreshToken {
		note.Spent = append(slices.Clone(note.Spent), note.Token)
		note.Spent = note.Spent[max(0, len(note.Spent)-spentMost):]
		if begins {
			m.cfg.Took(note.Token)
		}
	}
	if unsaved == nil {
		note.Open, note.Lost = false, false
		store.Note(ctx, note) //nolint:errcheck // at worst the token is sent again when it is imported again
	}
	return n, unsaved, nil
}

// storedMeanwhile returns the sign-in that the Codex CLI has stored since reread. Some of its versions know no lock, and
// what the user has just signed in with is not written over.
func (m *Manager) storedMeanwhile(ctx context.Context) (Credentials, bool) {
	if !m.cfg.Store.Limits().Shared {
		return Credentials{}, false
	}
	now, err := m.cfg.Store.Load(ctx)
	if err != nil || now.RefreshToken == m.owner.stored.RefreshToken { // that one is spent
		return Credentials{}, false
	}
	m.owner.stored = now
	return now, true
}

// notSpent notes how a refresh failed, and so when the token may be sent again.
func (m *Manager) notSpent(ctx context.Context, c Credentials, note Attempt, err error) error {
	var re *RefreshError
	if !errors.As(err, &re) {
		return err
	}
	if re.Unanswered {
		m.shut(c.RefreshToken, gateRefreshed, false)
		return err // and the note stays open
	}
	note.Open, note.Lost = false, note.Lost || re.Status >= 500 // a server that fails may have spent it before
	if permanent(err) {
		re.Lost = note.Lost && (re.Reused || re.Code == "invalid_grant")
		t := explain(err)
		m.owner.refused[note.Token] = t
		if !re.guessed && t.cause != CauseConfiguration { // else a restart may try again
			note = note.refuse(t.cause)
		}
	}
	m.cfg.Store.Note(ctx, note) //nolint:errcheck // at worst a later refusal is said to be our own fault
	if permanent(err) {
		return err
	}
	if re.Cause != nil {
		m.shut(c.RefreshToken, gateUnreached, false)
		return err
	}
	m.shutAgain(c.RefreshToken, re.RetryAfter)
	return err
}

func permanent(err error) bool {
	var re *RefreshError
	return errors.As(err, &re) && re.Permanent
}

// renewed makes n, which came for old, the sign-in.
func (m *Manager) renewed(old, n Credentials, unsaved error, r request) error {
	o := &m.owner
	m.take(n)
	o.refreshes++
	o.received = m.time()
	if r.why == whenRejected {
		o.trial = n.AccessToken
	}
	switch {
	case unsaved != nil:
		m.notSaved(unsaved)
		return m.refusal()
	case o.unfit:
		return m.refusal()
	case n.ExpiredAt(m.time()):
		o.missed++
		m.happened(eventFailed)
		m.trouble(trouble{cause: CauseAuthServer, problem: "The auth server's new access token has ended already"}, nil)
		m.backOff(gateRefreshed)
		m.cfg.Tell(Step{StepWarning, o.problem})
		return m.refusal()
	}
	m.cfg.Tell(Step{StepDone, "Refreshed, good until " + stamp(n.ExpiresAt) + ", stored in " + m.cfg.Store.Name()})
	m.tellOfCLI(old, n)
	return nil
}

// notSaved notes that the sign-in is in memory only.
func (m *Manager) notSaved(err error) {
	o := &m.owner
	o.unsaved = true
	m.happened(eventUnsaved)
	t := explain(err)
	t.problem = "The new sign-in is in use but could not be stored: " + err.Error()
	t.cause = CauseStoreNotWritable
	m.trouble(t, err)
	m.backOff(0)
	m.cfg.Tell(Step{StepFailure, o.problem})
}

// tellOfCLI says what a refresh of an imported sign-in means for the program that it came from.
func (m *Manager) tellOfCLI(old, n Credentials) {
	if old.Ownership == Shared && n.Ownership == Own && old.ImportedFrom != "" {
		m.cfg.Tell(Step{StepWarning, "Refresh tokens can be used once, and this proxy has now used the one it imported: the Codex CLI will one day ask you to sign in again (`codex login`)." +
			" To let the CLI keep its sign-in, import with --disable-migrate-refresh"})
	}
}

// rereadSource looks where the sign-in was imported from, as long as it is not our own, or can't be used. What is found
// is taken only if that can't lose anything: see consider.
func (m *Manager) rereadSource(ctx context.Context) {
	o := &m.owner
	c := o.sign
	borrowed := c.Ownership == Shared && c.ImportedFrom != "" && c.ImportedFrom != importedFromKeychain
	gone := o.cause == CauseSignedOut || o.cause == CauseRemoved // by the user's will
	if m.cfg.Source == nil || (c.IsZero() && gone) || (!borrowed && !o.helpless()) {
		return
	}
	found, err := m.cfg.Source(ctx)
	now := m.time()
	switch {
	case err != nil || found.Check() != nil || found.sameTokens(c):
		return
	case found.RefreshToken != "" && m.owner.refused[hash(found.RefreshToken)].cause != CauseNone:
		m.notTaken(m.owner.refused[hash(found.RefreshToken)].cause)
		return
	case c.IsZero() && m.cfg.TakeOver:
		var refused *ImportError
		if errors.As(m.consider(ctx, found), &refused) {
			m.notTaken(refused.Cause)
		}
		m.tellNotStored()
		return
	case !c.IsZero() && (!found.newerThan(c) || found.AccountID != c.AccountID):
		return // older, or another account: only the user may decide that
	case o.usable(now) && found.ExpiredAt(now):
		return
	}
	found.TakeOver = false
	if err := m.save(ctx, found); err != nil {
		m.notStored(err)
		m.tellNotStored()
		return
	}
	m.take(found)
	m.cfg.Tell(Step{StepRead, "Took a newer sign-in from " + found.ImportedFrom})
}

// notTaken notes why nobody is signed in although the Codex CLI is.
func (m *Manager) notTaken(why Cause) {
	if o := &m.owner; o.sign.IsZero() && o.cause == CauseNeverSignedIn {
		switch why {
		case CauseSpent, CauseAnswerLost:
			o.problem = problems[o.cause] + ", and the refresh token of the Codex CLI's sign-in was used already"
		case CauseEnded:
			o.problem = problems[o.cause] + ", and the Codex CLI's sign-in was revoked or has expired"
		}
	}
}

// tellNotStored says once why what was found can't be used.
func (m *Manager) tellNotStored() {
	if o := &m.owner; o.sign.IsZero() && o.cause == CauseStoreNotWritable && m.now.Load().cause != o.cause {
		m.cfg.Tell(Step{StepFailure, sentence(o.problem, o.hint)})
	}
}

// failed notes a failed refresh and says so.
func (m *Manager) failed(err error) error {
	o := &m.owner
	o.missed++
	t := explain(err)
	if permanent(err) {
		o.dead = true
		m.over(t, err)
		m.cfg.Tell(Step{StepFailure, fmt.Sprintf("%s (%v)", t.problem, err)})
		return m.refusal()
	}
	known := o.sign.IsZero() && m.now.Load().problem == t.problem // it is looked again every few seconds
	m.happened(eventFailed)
	m.trouble(t, err)
	var re *RefreshError
	least := time.Duration(0)
	if errors.As(err, &re) {
		least = re.RetryAfter
		if re.Unanswered {
			least = max(least, backoffUnanswered)
		}
	}
	m.backOff(least)
	if !known {
		m.cfg.Tell(Step{StepRetry, fmt.Sprintf("%s. It is tried again by itself, in %s", t.problem, duration(o.next.Sub(m.time())))})
	}
	return m.refusal()
}

// backOff sets the time of the next attempt that nobody asks for.
func (m *Manager) backOff(least time.Duration) {
	o, now := &m.owner, m.time()
	if o.since.IsZero() || now.Before(o.since) {
		o.since = now
	}
	wait := min(backoffFirst<<min(o.failures, 10), backoffMost)
	o.failures++
	if o.sign.ExpiredAt(now) {
		wait = min(wait, expiredWaitMost)
	}
	wait = max(wait, least)
	o.tried, o.next = now, now.Add(wait+rand.N(wait/5))
}
