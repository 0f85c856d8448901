package creds

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// Config is what a Manager works with.
type Config struct {
	Store     Store
	Refresher *Refresher
	// Source reads the Codex CLI's sign-in again without asking the user anything; nil when there is none to read.
	Source func(context.Context) (Credentials, error)
	// TakeOver says that a sign-in of the Codex CLI becomes our own by a refresh; otherwise it is left to the CLI for
	// as long as that keeps it fresh.
	TakeOver bool
	// Taken reports whether a refresh token, known by its hash, was taken over from the Codex CLI before, wherever the
	// result is stored, and Took hears of each that is; nil for what this Store knows alone. One program at a time takes
	// over, between Taking and release; Taking's error is ErrBusy when ctx ends before its turn comes.
	Taken  func(hash string) bool
	Took   func(hash string)
	Taking func(ctx context.Context) (release func(), err error)
	// Advice says what to do about a cause, in the words of where it is read; nil for nothing to say.
	Advice func(Cause) string
	// Now is this machine's clock; nil for time.Now.
	Now func() time.Time
	// Tell hears what happens to the sign-in, for the log, from one goroutine at a time; nil for nobody.
	Tell func(Step)
}

// CloseLimit is how long Close waits at most: for as long as a refresh that was sent may still take then, and is stored.
const CloseLimit = callTimeout + 5*time.Second

var (
	// ErrClosed is the answer of a Manager after Close.
	ErrClosed = errors.New("the program is ending")
	// ErrUnfinished is what Close returns when a change was still under way at its limit.
	ErrUnfinished = errors.New("a change of the sign-in did not end in time")
)

// Manager keeps one sign-in fresh and hands out its access token. It is the only thing that refreshes.
//
// What is known is a snapshot that Token and State read without a lock. Whatever changes it is done by one goroutine,
// the owner, one change after the other, each under the store's lock: read again, decide, call, save, publish. The
// owner starts with the first change. All methods are safe for concurrent use.
//
// A change goes on when who asked for it leaves: a refresh that was sent is stored. A program that ends calls Close,
// which waits for it.
type Manager struct {
	cfg     Config
	now     atomic.Pointer[snapshot]
	subs    subscribers
	wake    chan struct{} // of one: Run looks again
	changes chan *change
	owner   owner // used by the owner's goroutine only

	start   sync.Once
	ended   chan struct{}   // closed when the owner has ended
	life    context.Context // ends with Close
	closing context.CancelFunc

	ready     chan struct{} // closed by Ready
	readyOnce sync.Once
}

// NewManager returns a Manager that has no sign-in yet: call Open. Nothing runs before that.
func NewManager(cfg Config) *Manager {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Tell == nil {
		cfg.Tell = func(Step) {}
	}
	if cfg.Taken == nil || cfg.Took == nil {
		cfg.Taken, cfg.Took = func(string) bool { return false }, func(string) {}
	}
	if cfg.Taking == nil {
		cfg.Taking = func(context.Context) (func(), error) { return func() {}, nil }
	}
	if cfg.Advice == nil {
		cfg.Advice = func(Cause) string { return "" }
	}
	m := &Manager{
		cfg: cfg, wake: make(chan struct{}, 1), changes: make(chan *change), ended: make(chan struct{}), ready: make(chan struct{}),
	}
	m.life, m.closing = context.WithCancel(context.Background())
	m.owner = owner{gates: map[string]gate{}, refused: map[string]trouble{}, snapshot: snapshot{status: StatusNone, trouble: troubled(CauseNeverSignedIn)}}
	m.owner.stamp.Store(new(string))
	first := m.owner.snapshot
	m.now.Store(&first)
	return m
}

// Open loads the sign-in from the store. An error is an *UnavailableError around the store's, and is in the state, too.
func (m *Manager) Open(ctx context.Context) error {
	return m.change(byUser(ctx), func(ctx context.Context) error {
		for token, cause := range m.cfg.Store.Attempt(ctx).Refused { // in an earlier process
			m.owner.refused[token] = troubled(cause)
		}
		if err := m.reread(ctx); err != nil {
			m.trouble(explain(err), err)
			return m.refusal()
		}
		if m.owner.sign.IsZero() {
			return m.refusal()
		}
		return nil
	})
}

// Ready ends the start: from now on a request without a sign-in is told so at once instead of waiting.
func (m *Manager) Ready() { m.readyOnce.Do(func() { close(m.ready) }) }

// Started reports whether Ready was called.
func (m *Manager) Started() bool {
	select {
	case <-m.ready:
		return true
	default:
		return false
	}
}

// Close ends the Manager: no change begins any more, one that is under way is waited for, CloseLimit at most. Tokens
// that are good are still given out. ErrUnfinished when the limit was reached. It may be called more than once.
func (m *Manager) Close() error {
	m.closing()
	m.start.Do(func() { close(m.ended) }) // nothing was ever changed
	timer := time.NewTimer(CloseLimit)
	defer timer.Stop()
	select {
	case <-m.ended:
		return nil
	case <-timer.C:
		return ErrUnfinished
	}
}

// State returns what is to be known now.
func (m *Manager) State() State { return m.stateOf(m.now.Load()) }

func (m *Manager) stateOf(s *snapshot) State {
	wall := m.cfg.Now()
	now := s.clock.at(wall)
	limits := m.cfg.Store.Limits()
	trouble, c := s.troubleAt(now, limits.ReadOnly), s.sign
	state := State{
		Status: s.statusAt(now), Usable: s.usable(now),
		Kind: c.Kind, UserID: c.UserID, Email: c.Email, Plan: c.Plan, AccountID: c.AccountID,
		ExpiresAt: c.ExpiresAt, LastRefresh: c.LastRefresh,
		Store: m.cfg.Store.Name(), ImportedFrom: c.ImportedFrom, Ownership: c.Ownership,
		Refreshes: s.refreshes, RefreshFailures: s.missed,
		Cause: trouble.cause, Problem: trouble.problem, FailingSince: s.since, NextAttempt: s.next,
		ClockOff: s.clock.off(wall),
	}
	if state.Cause == CauseNone && state.ClockOff != 0 {
		state.Cause, state.Problem = CauseClock, clockProblem(state.ClockOff)
	}
	if state.Advice = trouble.hint; state.Advice == "" && state.Cause != CauseNone {
		state.Advice = m.cfg.Advice(state.Cause)
	}
	return state
}

// Subscribe returns a channel that gets each new state, the newest only when the reader is slow, and first the
// present one. Call cancel when done; the channel is not closed.
func (m *Manager) Subscribe() (states <-chan State, cancel func()) { return m.subs.add(m.State) }

// ClientID is the OAuth client of the present sign-in; empty for the Codex client.
func (m *Manager) ClientID() string { return m.now.Load().sign.ClientID }

// SharesChain reports whether c holds the refresh token that is in use here.
func (m *Manager) SharesChain(c Credentials) bool {
	return c.RefreshToken != "" && c.RefreshToken == m.now.Load().sign.RefreshToken
}

// SameAccount reports whether c is of the person who is signed in here, and of the same workspace but for a choice that
// was made here (SelectWorkspace). Ask before another account's sign-in is imported.
func (m *Manager) SameAccount(c Credentials) bool { return m.now.Load().sign.sameAccount(c) }

// Token returns the access token to use now. One that ends soon is refreshed in the background, by Run; for one that
// has ended Token waits for the refresh. Errors are *UnavailableError, ErrClosed, or ctx's.
func (m *Manager) Token(ctx context.Context) (Token, error) {
	s := m.now.Load()
	now := s.clock.at(m.cfg.Now())
	if s.serves(now) {
		if s.due(now) && !s.waits(now) {
			m.nudge()
		}
		return token(s.sign), nil
	}
	select {
	case <-m.ready:
	case <-ctx.Done():
		return Token{}, ctx.Err()
	}
	err := m.change(ctx, m.refreshFor(request{why: whenEnded, seen: m.now.Load()}))
	if s = m.now.Load(); s.serves(s.clock.at(m.cfg.Now())) {
		return token(s.sign), nil
	}
	if err == nil {
		err = m.unavailable()
	}
	return Token{}, err
}

// Rejected is called when the backend refused a token with 401. It returns another token: one that was stored
// meanwhile, or a refreshed one. A fresh token that is refused, too, is not refreshed again: the sign-in is then known
// to be useless until it changes, or until a request with it goes well. Errors are *UnavailableError, ErrClosed, or
// ctx's.
func (m *Manager) Rejected(ctx context.Context, refused Token) (Token, error) {
	if s := m.now.Load(); s.sign.AccessToken == refused.Access {
		if err := m.change(ctx, m.refreshFor(request{why: whenRejected, seen: s, refused: refused.Access})); err != nil {
			return Token{}, err
		}
	}
	s := m.now.Load()
	if s.sign.AccessToken == refused.Access || !s.serves(s.clock.at(m.cfg.Now())) {
		return Token{}, m.unavailable()
	}
	return token(s.sign), nil
}

// acceptedWait is for how long an answer of the backend is held up by a refresh that is under way.
const acceptedWait = 100 * time.Millisecond

// Accepted is called when the backend took a token. It costs nothing as long as nothing was wrong.
func (m *Manager) Accepted(t Token) {
	if s := m.now.Load(); t.Access == "" || (s.trial != t.Access && s.rejected != t.Access) {
		return
	}
	soon, cancel := context.WithTimeout(context.Background(), acceptedWait)
	defer cancel()
	m.change(soon, func(context.Context) error { //nolint:errcheck // at worst it is told with the next answer
		o := &m.owner
		if o.trial == t.Access {
			o.trial = ""
		}
		if o.rejected == t.Access {
			o.rejected = ""
			m.happened(eventAccepted)
			o.clear()
		}
		return nil
	})
}

// Refresh refreshes now, whatever the expiry. Errors are *TooSoonError, *NoRefreshTokenError, *UnavailableError,
// ErrClosed, or ctx's; then the refresh may still be under way, and is stored.
func (m *Manager) Refresh(ctx context.Context) error {
	return m.change(byUser(ctx), m.refreshFor(request{why: whenAsked, seen: m.now.Load()}))
}

// RefreshIfDue refreshes if it is time, once the sign-in has been read (Ready), and waits for it. What goes wrong is in
// the state.
func (m *Manager) RefreshIfDue(ctx context.Context) {
	select {
	case <-m.ready:
	case <-ctx.Done():
		return
	}
	s := m.now.Load()
	if now := s.clock.at(m.cfg.Now()); (s.due(now) || s.unsaved) && !s.waits(now) {
		m.change(ctx, m.refreshFor(request{why: whenDue, seen: s})) //nolint:errcheck // see above
	}
}

// Due is when RefreshIfDue will have something to do, by this machine's clock: for where Run does not keep the sign-in
// fresh. Zero for never.
func (m *Manager) Due() time.Time {
	s := m.now.Load()
	at, wall := s.dueAt(), m.cfg.Now()
	if at.IsZero() && !s.unsaved {
		return time.Time{}
	}
	if s.unsaved || at.Before(s.next) {
		at = s.next
	}
	return wall.Add(at.Sub(s.clock.at(wall)))
}

// Run keeps the sign-in fresh, and notices what others change, until ctx or the Manager ends. It does not wait for a
// change that is under way: Close does.
func (m *Manager) Run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.life, cancel)()
	var looked time.Time // when it was last looked whether somebody has mended what only they can
	for {
		s := m.now.Load()
		timer := time.NewTimer(m.patience(s))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-m.wake:
		case <-timer.C:
		}
		timer.Stop()
		m.publish() // time alone may have changed the state
		s = m.now.Load()
		now := s.clock.at(m.cfg.Now())
		look := s.helpless() && time.Since(looked) >= tickHelp
		if (s.due(now) || s.unsaved || look) && !s.waits(now) {
			looked = time.Now()
			m.change(ctx, m.refreshFor(request{why: whenDue, seen: s})) //nolint:errcheck // it is in the state
		} else if stamp := m.cfg.Store.Stamp(); stamp != *m.owner.stamp.Load() {
			m.Reload(ctx) //nolint:errcheck // it is in the state
		}
	}
}

const (
	tick      = time.Minute      // how often the clock is looked at, for sleep, wake and clock changes
	tickHelp  = 10 * time.Second // the same while only the user can help, to notice that they did
	tickWatch = 3 * time.Second  // how often it is looked whether another program changed what is stored
)

// patience is how long Run sleeps.
func (m *Manager) patience(s *snapshot) time.Duration {
	now := s.clock.at(m.cfg.Now())
	wait := tick
	if m.cfg.Store.Stamp() != "" {
		wait = tickWatch
	}
	if s.helpless() {
		return min(wait, tickHelp)
	}
	if at := s.dueAt(); !at.IsZero() {
		wait = min(wait, max(at.Sub(now), s.next.Sub(now)))
	}
	return max(wait, 10*time.Millisecond)
}

// nudge makes Run look at once.
func (m *Manager) nudge() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// publish tells the subscribers if there is something new.
func (m *Manager) publish() { m.subs.publish(m.State) }

// unavailable says why there is no token.
func (m *Manager) unavailable() error { return m.unavailableOf(m.now.Load()) }

func (m *Manager) unavailableOf(s *snapshot) *UnavailableError {
	now := m.stateOf(s)
	e := &UnavailableError{Status: now.Status, Cause: now.Cause, Problem: now.Problem, Advice: now.Advice, Err: s.err}
	if s.troubleAt(s.clock.at(m.cfg.Now()), false).cause == CauseNone { // between two states
		e.Cause, e.Problem, e.Advice = CauseNetwork, "The sign-in is being refreshed", ""
	}
	if e.Cause.Passing() {
		e.RetryAfter = max(now.NextAttempt.Sub(s.clock.at(m.cfg.Now())), time.Second)
	}
	return e
}

func token(c Credentials) Token {
	return Token{Access: c.AccessToken, AccountID: c.AccountID, FedRAMP: c.FedRAMP, Kind: c.Kind}
}
