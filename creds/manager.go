package creds

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	// refreshAhead is how long before the access token's end it is refreshed.
	refreshAhead = 60 * time.Minute
	// borrowedAhead is the same for a sign-in that belongs to the Codex CLI, which refreshes 5 minutes ahead: it gets
	// the first try, and we take what it stored.
	borrowedAhead = time.Minute
	// hourlyAhead is the same for a "Sign in with ChatGPT", whose access tokens live for an hour.
	hourlyAhead = 10 * time.Minute
	// refreshUnknown is the age at which a token that does not tell its end is refreshed.
	// Source: openai/codex login/src/auth/manager.rs.
	refreshUnknown = 8 * 24 * time.Hour

	refreshTimeout = 30 * time.Second
	lockTimeout    = 45 * time.Second

	backoffFirst      = 5 * time.Second
	backoffMost       = 5 * time.Minute
	backoffUnanswered = time.Minute // the auth server may have spent the token: don't hurry
	expiredWaitMost   = 30 * time.Second

	tick     = time.Minute      // how often the clock is looked at, for sleep, wake and clock changes
	tickHelp = 10 * time.Second // the same while only the user can help, to notice that they did
)

// Config is what a Manager works with.
type Config struct {
	Store     Store
	Refresher *Refresher
	// SharedStore means that another program refreshes what is in the store, so it never becomes our own.
	SharedStore bool
	// Source reads the Codex CLI's sign-in again without asking the user anything; nil when there is none to read.
	Source func(context.Context) (Credentials, error)
	// TakeOver says whether a sign-in found by Source should become our own by a refresh at once.
	TakeOver bool
	Now      func() time.Time
	Tell     func(Step) // hears what happens to the sign-in, for the log; must not be nil
}

// Manager keeps one sign-in fresh and hands out its access token. It is the only thing that refreshes.
// All methods are safe for concurrent use.
type Manager struct {
	cfg    Config
	flight singleflight.Group
	one    sync.Mutex // held by whoever refreshes or stores
	work   sync.WaitGroup
	wake   chan struct{}

	mu          sync.Mutex
	current     Credentials
	ready       chan struct{} // closed once the first load is over
	readyOnce   sync.Once
	refreshing  bool
	signedOut   bool // by the user: nothing is imported by itself
	unsaved     bool // current is newer than what is stored
	problem     string
	cause       Cause
	permanent   string // the refresh token that was refused for good, with problem saying why
	refused     string // the access token that the backend answered with 401 and that could not be replaced
	failures    int    // in a row
	refreshes   int    // since the start
	missed      int    // refreshes that failed, since the start
	since, next time.Time
	received    time.Time // when this process got current's tokens from the auth server
	subs        subscribers
	told        State
}

// NewManager returns a Manager that has no sign-in yet: call Open, then Run.
func NewManager(cfg Config) *Manager {
	return &Manager{cfg: cfg, wake: make(chan struct{}, 1), ready: make(chan struct{}), subs: subscribers{}}
}

// Open loads the sign-in from the store. An error is kept as the state's problem, too.
func (m *Manager) Open(ctx context.Context) error {
	c, err := m.cfg.Store.Load(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	switch m.signedOut = errors.Is(err, ErrSignedOut); {
	case errors.Is(err, ErrMissing), m.signedOut: // the state says it better
	case err != nil:
		m.problem = err.Error()
	default:
		m.take(c)
	}
	m.changed()
	return err
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

// Adopt stores c and uses it from now on. When it can't be stored it is used all the same, the error says why, and
// storing is tried again with the next refresh.
func (m *Manager) Adopt(ctx context.Context, c Credentials) error {
	release, err := m.lock(ctx)
	if err == nil {
		err = m.cfg.Store.Save(ctx, c)
		release()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.take(c)
	if err != nil {
		m.unsaved, m.problem = true, err.Error()
	}
	m.changed()
	m.nudge()
	return err
}

// Reload takes what is in the store now, also nothing: another program changed it on the user's behalf.
func (m *Manager) Reload(ctx context.Context) error {
	c, err := m.cfg.Store.Load(ctx)
	if err != nil && !errors.Is(err, ErrMissing) && !errors.Is(err, ErrSignedOut) {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.take(c)
	m.signedOut = errors.Is(err, ErrSignedOut)
	m.changed()
	m.nudge()
	return nil
}

// Forget signs out: the sign-in is ended at the auth server, as far as that can be reached, and deleted from the
// store. What it was imported from stays as it is. ErrReadOnly when the store is not ours to delete from.
func (m *Manager) Forget(ctx context.Context) (revoked error, err error) {
	if m.cfg.SharedStore {
		return nil, &StoreError{Kind: ErrReadOnly, Where: m.cfg.Store.Name(), Hint: "It is the Codex CLI's own sign-in: use `codex logout`"}
	}
	release, err := m.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	c, err := m.cfg.Store.Load(ctx)
	if err != nil {
		return nil, err
	}
	if c.Ownership == Own { // a shared one is the Codex CLI's, too
		revoked = m.cfg.Refresher.Revoke(ctx, c)
	}
	if err := m.cfg.Store.Save(ctx, Credentials{}); err != nil {
		return revoked, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.take(Credentials{})
	m.signedOut = true
	m.changed()
	return revoked, nil
}

// ClientID is the OAuth client of the present sign-in; empty for the Codex client.
func (m *Manager) ClientID() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.current.ClientID
}

// SharesChain reports whether c holds the refresh token that is in use here.
func (m *Manager) SharesChain(c Credentials) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return c.RefreshToken != "" && c.RefreshToken == m.current.RefreshToken
}

// SetAccount uses another of the sign-in's workspaces from now on.
func (m *Manager) SetAccount(ctx context.Context, id string) error {
	release, err := m.lock(ctx)
	if err != nil {
		return err
	}
	defer release()
	c, err := m.cfg.Store.Load(ctx)
	if err != nil {
		return err
	}
	c.AccountID = id
	if err := m.cfg.Store.Save(ctx, c); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.take(c)
	m.changed()
	return nil
}

// Release returns the sign-in itself, to be given to another owner; GiveUp then deletes it here.
func (m *Manager) Release() Credentials {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.current
}

// GiveUp deletes the sign-in here without ending it: it belongs to another program now.
func (m *Manager) GiveUp(ctx context.Context) error {
	release, err := m.lock(ctx)
	if err != nil {
		return err
	}
	defer release()
	if err := m.cfg.Store.Save(ctx, Credentials{}); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.take(Credentials{})
	m.signedOut = true
	m.changed()
	return nil
}

// State returns what is to be known now.
func (m *Manager) State() State {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state()
}

// Subscribe returns a channel that gets each new state, the newest only when the reader is slow, and first the
// present one. Call cancel when done; the channel is not closed.
func (m *Manager) Subscribe() (states <-chan State, cancel func()) {
	ch := make(chan State, 1)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.subs[ch] = struct{}{}
	ch <- m.state()
	return ch, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.subs, ch)
	}
}

// Token returns the access token to use now. One that ends soon is refreshed in the background; for one that has
// ended Token waits for the refresh. Errors are *UnavailableError or ctx's.
func (m *Manager) Token(ctx context.Context) (Token, error) {
	c, due := m.look()
	if !c.ExpiredAt(m.cfg.Now()) {
		if due {
			m.nudge()
		}
		return token(c), nil
	}
	select {
	case <-m.ready:
	case <-ctx.Done():
		return Token{}, ctx.Err()
	}
	if err := m.refresh(ctx, refreshWhen{due: true}); err != nil && ctx.Err() != nil {
		return Token{}, ctx.Err()
	}
	if c, _ = m.look(); c.ExpiredAt(m.cfg.Now()) {
		return Token{}, m.unavailable()
	}
	return token(c), nil
}

// Rejected is called when the backend refused a token with 401. It returns another token: one that was stored
// meanwhile, or a refreshed one. Errors are *UnavailableError or ctx's.
func (m *Manager) Rejected(ctx context.Context, refused Token) (Token, error) {
	if c, _ := m.look(); c.AccessToken != "" && c.AccessToken != refused.Access {
		return token(c), nil
	}
	err := m.refresh(ctx, refreshWhen{rejected: refused.Access})
	if ctx.Err() != nil {
		return Token{}, ctx.Err()
	}
	c, _ := m.look()
	if err != nil || c.AccessToken == "" || c.AccessToken == refused.Access {
		m.mu.Lock()
		m.refused = refused.Access
		m.changed()
		m.mu.Unlock()
		return Token{}, m.unavailable()
	}
	return token(c), nil
}

// Refresh refreshes now, whatever the expiry.
func (m *Manager) Refresh(ctx context.Context) error {
	return m.refresh(ctx, refreshWhen{forced: true})
}

// Keep refreshes if it is time, and waits for it. What goes wrong is in the state.
func (m *Manager) Keep(ctx context.Context) {
	if _, due := m.look(); due {
		m.refresh(ctx, refreshWhen{due: true}) //nolint:errcheck // see above
	}
}

// Run keeps the sign-in fresh until ctx ends, then waits for a refresh that is under way, so that its answer is
// not lost.
func (m *Manager) Run(ctx context.Context) {
	defer m.work.Wait()
	for {
		m.mu.Lock()
		wait := m.wait()
		m.changed()
		m.mu.Unlock()
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-m.wake:
		case <-timer.C:
		}
		timer.Stop()
		m.mu.Lock()
		act := m.due() || m.unsaved || m.helpless()
		act = act && !m.cfg.Now().Before(m.next)
		m.mu.Unlock()
		if act {
			m.refresh(ctx, refreshWhen{due: true}) //nolint:errcheck // it is in the state
		}
	}
}

// take makes c the current sign-in. Called with mu held.
func (m *Manager) take(c Credentials) {
	m.current = c
	m.unsaved, m.problem, m.cause, m.permanent, m.refused, m.signedOut = false, "", CauseNone, "", "", false
	m.failures, m.since, m.next, m.received = 0, time.Time{}, time.Time{}, time.Time{}
}

func (m *Manager) look() (Credentials, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.current, m.due()
}

// wait is how long Run sleeps. Called with mu held.
func (m *Manager) wait() time.Duration {
	now := m.cfg.Now()
	if m.helpless() {
		return tickHelp
	}
	wait := tick
	if at := m.dueAt(); !at.IsZero() {
		wait = min(wait, at.Sub(now))
	}
	if !m.next.IsZero() {
		wait = max(wait, 0)
		wait = min(max(wait, m.next.Sub(now)), tick)
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

// lock keeps the rest of this process, and other processes where they can use the store, from refreshing.
func (m *Manager) lock(ctx context.Context) (release func(), err error) {
	m.one.Lock()
	l, ok := m.cfg.Store.(interface {
		acquire(context.Context) (func(), error)
	})
	if !ok {
		return m.one.Unlock, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	unlock, err := l.acquire(ctx)
	if err != nil {
		m.one.Unlock()
		return nil, err
	}
	return func() {
		unlock()
		m.one.Unlock()
	}, nil
}

// state is built, not kept, but for what can't be derived. Called with mu held.
func (m *Manager) state() State {
	c, now := m.current, m.cfg.Now()
	s := State{
		Status: StatusSignedIn, Usable: !c.ExpiredAt(now) && c.AccessToken != m.refused,
		Kind: c.Kind, Email: c.Email, Plan: c.Plan, AccountID: c.AccountID,
		ExpiresAt: c.ExpiresAt, LastRefresh: c.LastRefresh,
		Store: m.cfg.Store.Name(), ImportedFrom: c.ImportedFrom, Ownership: c.Ownership,
		Refreshes: m.refreshes, RefreshFailures: m.missed,
		Cause: m.cause, Problem: m.problem, FailingSince: m.since, NextAttempt: m.next,
	}
	switch {
	case m.refreshing:
		s.Status = StatusRefreshing
	case c.IsZero():
		s.Status = StatusNone
		if s.Problem == "" {
			s.Problem = "Nobody is signed in. Run `codex-proxy login`"
			if m.signedOut {
				s.Problem = "You signed out. Run `codex-proxy login`"
			}
		}
	case m.helpless():
		s.Status = StatusSignInAgain
	case !m.since.IsZero():
		s.Status = StatusRefreshFailing
	case c.ExpiredAt(now) && c.RefreshToken == "":
		s.Status = StatusSignInAgain
		s.Problem = "The access token has ended and there is no refresh token. Run `codex-proxy login`"
	case c.ExpiredAt(now.Add(margin(c))):
		s.Status = StatusExpiring
	}
	return s
}

// changed tells the subscribers if there is something new. Called with mu held.
func (m *Manager) changed() {
	if s := m.state(); s != m.told {
		m.told = s
		m.subs.publish(s)
	}
}

func (m *Manager) unavailable() error {
	s := m.State()
	e := &UnavailableError{Status: s.Status, Problem: s.Problem}
	if e.Problem == "" {
		e.Problem = "The sign-in could not be refreshed. Run `codex-proxy login`"
	}
	if s.Status == StatusRefreshFailing || s.Status == StatusRefreshing {
		e.RetryAfter = max(s.NextAttempt.Sub(m.cfg.Now()), time.Second)
	}
	return e
}

func token(c Credentials) Token {
	return Token{Access: c.AccessToken, AccountID: c.AccountID, FedRAMP: c.FedRAMP, Kind: c.Kind}
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "an unknown time"
	}
	return t.Local().Format("2006-01-02 15:04")
}
