package creds

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

const (
	// answerTimeout is how long the answer to a refresh is waited for: to give up is to lose it. Cloudflare, before the auth
	// server, gives up after 100 seconds. Source: https://developers.cloudflare.com/fundamentals/reference/connection-limits
	answerTimeout = 105 * time.Second
	callTimeout   = 30 * time.Second                            // of other calls, and how long the end of the program is held up for an answer
	saidAfter     = 2 * time.Second                             // a person who waits for a lock hears of it
	lockTimeout   = answerTimeout + 15*time.Second              // another program's refresh may be under way
	changeLimit   = lockTimeout + 2*answerTimeout + callTimeout // a change may read, call twice and save
)

// change is what the owner is asked to do.
type change struct {
	asker context.Context
	work  func(context.Context) error
	done  chan struct{}
	err   error // set before done is closed
}

// owner is what only the owner's goroutine touches. Its snapshot is the one to come: publish shows it.
type owner struct {
	snapshot
	asker   context.Context    // of the change under way
	stored  Credentials        // what the store is known to hold
	gates   map[string]gate    // by the hash of a refresh token
	refused map[string]trouble // refresh tokens that the auth server refused for good, by hash
	stamp   atomic.Pointer[string]
}

// byUser marks what a person asked for: where patience is needed, theirs is not.
func byUser(ctx context.Context) context.Context { return context.WithValue(ctx, userKey{}, true) }

func askedByUser(ctx context.Context) bool { return ctx.Value(userKey{}) != nil }

type userKey struct{}

// change has the owner do work, and waits for it or for ctx. Work that has begun goes on in any case.
func (m *Manager) change(ctx context.Context, work func(context.Context) error) error {
	m.start.Do(func() { go m.own() })
	c := &change{asker: ctx, work: work, done: make(chan struct{})}
	select {
	case m.changes <- c:
	case <-ctx.Done():
		return ctx.Err()
	case <-m.life.Done():
		return ErrClosed
	}
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// own is the owner's goroutine.
func (m *Manager) own() {
	defer close(m.ended)
	for {
		select {
		case <-m.life.Done():
			m.storeLast()
			return
		case c := <-m.changes:
			m.carryOut(c)
		}
	}
}

// storeLast tries once more to store what could not be stored, before it is lost with the program.
func (m *Manager) storeLast() {
	if !m.owner.unsaved {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	if release, err := m.cfg.Store.Lock(ctx); err == nil {
		defer release()
		m.reread(ctx) //nolint:errcheck // nobody hears it any more
	}
}

func (m *Manager) carryOut(c *change) {
	defer close(c.done)
	if c.err = c.asker.Err(); c.err != nil {
		return // nobody waits for it any more, and nothing has happened yet
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.asker), changeLimit)
	defer cancel()
	m.owner.asker = c.asker
	c.err = c.work(ctx)
	m.show()
}

// show publishes the owner's snapshot.
func (m *Manager) show() {
	s := m.owner.snapshot
	m.now.Store(&s)
	m.publish()
	m.nudge()
}

// lock takes the store's lock.
func (m *Manager) lock() (release func(), err error) { return m.turn(m.cfg.Store.Lock) }

// turn waits for what other programs may have locked. Meanwhile who asked may leave, and the program may end.
func (m *Manager) turn(lock func(context.Context) (release func(), err error)) (release func(), err error) {
	wait, cancel := context.WithTimeout(m.owner.asker, lockTimeout)
	defer cancel()
	defer context.AfterFunc(m.life, cancel)()
	soon, end := context.WithTimeout(wait, saidAfter)
	defer end()
	if release, err = lock(soon); errors.Is(err, ErrBusy) && wait.Err() == nil {
		if askedByUser(m.owner.asker) {
			m.cfg.Tell(Step{StepCheck, "Waiting for another program that is changing the sign-in, for " + duration(lockTimeout) + " at most"})
		}
		release, err = lock(wait)
	}
	switch {
	case err == nil:
		return release, nil
	case m.owner.asker.Err() != nil:
		return nil, fmt.Errorf("%w: %w", errLeft, m.owner.asker.Err())
	case m.ending() != nil:
		return nil, m.ending()
	}
	return nil, err
}

// ending is the error of a change that has not sent anything yet when Close is called: Close would not wait for all of it.
func (m *Manager) ending() error {
	if m.life.Err() != nil {
		return fmt.Errorf("%w: %w", errLeft, ErrClosed)
	}
	return nil
}

// errLeft means that nobody waits for the change any more, and that nothing has happened.
var errLeft = errors.New("given up before anything was changed")

// time is now, by the auth server's clock.
func (m *Manager) time() time.Time { return m.owner.clock.at(m.cfg.Now()) }

// reread takes over what another program stored meanwhile, and stores what could not be stored before. It returns an
// error when the store is in a state that must not be written over.
func (m *Manager) reread(ctx context.Context) error {
	o := &m.owner
	stamp := m.cfg.Store.Stamp()
	o.stamp.Store(&stamp)
	stored, err := m.cfg.Store.Load(ctx)
	switch {
	case err == nil:
		changed := !stored.sameTokens(o.stored)
		o.stored = stored
		switch {
		case o.unsaved && (!changed || !stored.newerThan(o.sign)):
			m.saveLate(ctx)
		case o.sign.IsZero(), !stored.sameTokens(o.sign), stored.AccountID != o.sign.AccountID, stored.Ownership != o.sign.Ownership:
			m.take(stored)
		case o.cause == CauseStoreUnreadable:
			m.take(stored) // it can be read again
		}
		return nil
	case errors.Is(err, ErrSignedOut):
		m.none(troubled(CauseSignedOut), err)
		return nil
	case o.sign.IsZero():
		if !errors.Is(err, ErrMissing) {
			m.none(explain(err), err)
			return err
		}
		if o.cause != CauseSignedOut && o.cause != CauseRemoved {
			t := troubled(CauseNeverSignedIn)
			var se *StoreError
			if errors.As(err, &se) {
				t.hint = se.Hint
			}
			m.none(t, err)
		}
		return nil
	case o.unsaved && (errors.Is(err, ErrMissing) || errors.Is(err, ErrCorrupt)):
		m.saveLate(ctx)
		return nil
	case errors.Is(err, ErrMissing) && !errors.Is(err, errNoFolder):
		m.none(troubled(CauseRemoved), err)
		return nil
	case errors.Is(err, ErrNotChatGPT) && m.cfg.Store.Limits().Shared:
		m.none(explain(err), err)
		return err
	case errors.Is(err, ErrMissing), errors.Is(err, ErrCorrupt):
		return nil // a disk that was taken out, or damage: the next save mends it
	}
	return err
}

// saveLate stores what could not be stored before.
func (m *Manager) saveLate(ctx context.Context) {
	o := &m.owner
	if err := m.save(ctx, o.sign); err != nil {
		return
	}
	o.unsaved = false
	m.happened(eventSaved)
	o.clear()
	m.cfg.Tell(Step{StepWrite, "The sign-in is stored now, in " + m.cfg.Store.Name()})
}

// save stores c. Called under the lock.
func (m *Manager) save(ctx context.Context, c Credentials) error {
	if err := m.cfg.Store.Save(ctx, c); err != nil {
		return err
	}
	m.owner.stored = c
	stamp := m.cfg.Store.Stamp()
	m.owner.stamp.Store(&stamp)
	return nil
}

// take makes c the sign-in.
func (m *Manager) take(c Credentials) {
	o := &m.owner
	o.sign, o.unsaved, o.dead, o.unfit, o.rejected, o.trial, o.received = c, false, false, false, "", "", time.Time{}
	m.happened(eventSignedIn)
	o.clear()
	refused, known := o.refused[hash(c.RefreshToken)]
	switch {
	case c.Check() != nil:
		o.unfit = true
		m.over(troubled(CauseMixed), ErrMixed)
	case c.IdentityOnly():
		o.unfit = true
		m.over(troubled(CauseIdentityOnly), nil)
	case known && c.RefreshToken != "":
		o.dead = true
		m.over(refused, nil)
	}
}

// none says that nobody is signed in, and why.
func (m *Manager) none(t trouble, err error) {
	o := &m.owner
	o.sign, o.stored, o.unsaved, o.dead, o.unfit, o.rejected, o.trial = Credentials{}, Credentials{}, false, false, false, "", ""
	m.happened(eventAbsent)
	o.clear()
	o.trouble, o.err = t, err
}

// over says that only the user can help.
func (m *Manager) over(t trouble, err error) {
	o := &m.owner
	m.happened(eventEnded)
	o.trouble, o.err, o.next = t, err, time.Time{}
	if o.since.IsZero() {
		o.since = m.time()
	}
}

// trouble notes what is wrong without a change of status.
func (m *Manager) trouble(t trouble, err error) { m.owner.trouble, m.owner.err = t, err }

func (m *Manager) happened(e event) { m.owner.status = m.owner.status.after(e) }

// clear forgets a trouble that has passed.
func (s *snapshot) clear() {
	s.trouble, s.err, s.since, s.tried, s.next, s.failures = trouble{}, nil, time.Time{}, time.Time{}, time.Time{}, 0
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "an unknown time"
	}
	return t.Local().Format("2006-01-02 15:04")
}

// gate keeps a refresh token from being sent too often.
type gate struct {
	until     time.Time     // with the monotonic clock
	refreshed bool          // it came by a refresh
	next      time.Duration // how long the gate is shut after one more refusal that spent nothing; zero for the first
}

const (
	gateRefreshed = time.Minute // after a refresh that was answered, or may have been
	gateRefused   = time.Second // after an answer that says that nothing was spent; doubled each time
	gateUnreached = time.Second // after a try that never reached the server
)

// gate says for how long a refresh token must not be sent; nil when it may be.
func (m *Manager) gate(ctx context.Context, refreshToken string) *TooSoonError {
	name := hash(refreshToken)
	if g, ok := m.owner.gates[name]; ok {
		if wait := time.Until(g.until); wait > 0 {
			return &TooSoonError{Wait: wait, Refreshed: g.refreshed}
		}
		return nil
	}
	a := m.cfg.Store.Attempt(ctx) // of an earlier process
	age := m.cfg.Now().Round(0).Sub(a.At.Round(0))
	if a.At.IsZero() || age < 0 || age >= gateRefreshed {
		return nil
	}
	switch {
	case a.Result == name:
		return &TooSoonError{Wait: gateRefreshed - age, Refreshed: true}
	case a.Token == name && a.Open:
		return &TooSoonError{Wait: gateRefreshed - age}
	}
	return nil
}

// shut closes the gate of a refresh token for a while.
func (m *Manager) shut(refreshToken string, wait time.Duration, refreshed bool) {
	for name, g := range m.owner.gates {
		if time.Until(g.until) < -time.Hour {
			delete(m.owner.gates, name)
		}
	}
	m.owner.gates[hash(refreshToken)] = gate{until: time.Now().Add(wait), refreshed: refreshed}
}

// shutAgain closes the gate after an answer that says that nothing was spent: a request that needs a token may try
// again soon, but less and less often.
func (m *Manager) shutAgain(refreshToken string, least time.Duration) {
	wait := max(m.owner.gates[hash(refreshToken)].next, gateRefused)
	m.shut(refreshToken, max(wait, min(least, gateRefreshed)), false)
	g := m.owner.gates[hash(refreshToken)]
	g.next = min(2*wait, gateRefreshed)
	m.owner.gates[hash(refreshToken)] = g
}
