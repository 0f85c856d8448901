package creds

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// refreshWhen says what a refresh is for.
type refreshWhen struct {
	due      bool   // only when it is time
	rejected string // when this access token is still the one in use
	forced   bool   // always
}

// refresh runs one refresh for all who ask at the same time, and does not stop when one of them goes away.
func (m *Manager) refresh(ctx context.Context, when refreshWhen) error {
	key := "due"
	switch {
	case when.forced:
		key = "forced"
	case when.rejected != "":
		key = "rejected" // those that come with another token find that it has changed
	}
	result := m.flight.DoChan(key, func() (any, error) {
		m.work.Add(1)
		defer m.work.Done()
		return nil, m.refreshNow(context.WithoutCancel(ctx), when)
	})
	select {
	case r := <-result:
		return r.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *Manager) refreshNow(ctx context.Context, when refreshWhen) error {
	ctx, cancel := context.WithTimeout(ctx, lockTimeout+2*refreshTimeout)
	defer cancel()
	release, err := m.lock(ctx)
	if err != nil {
		return m.failed(err)
	}
	defer release()

	if err := m.reread(ctx); err != nil {
		return m.failed(err)
	}
	c, due := m.look()
	switch {
	case c.IsZero():
		return m.unavailable()
	case when.due && !due, when.rejected != "" && when.rejected != c.AccessToken:
		return nil
	case c.RefreshToken == "":
		return m.failed(&RefreshError{Permanent: true, Code: "no_refresh_token"})
	case m.refusedForGood(c):
		return m.unavailable()
	case !when.forced && m.cfg.Now().Before(m.nextAttempt()):
		return m.unavailable()
	}
	if r, ok := m.cfg.Store.(reserver); ok {
		if err := r.reserve(ctx); err != nil {
			return m.failed(err)
		}
	}
	m.setRefreshing(true)
	defer m.setRefreshing(false)

	call, cancelCall := context.WithTimeout(ctx, refreshTimeout)
	n, err := m.cfg.Refresher.Refresh(call, c)
	cancelCall()
	if err != nil {
		var re *RefreshError
		if errors.As(err, &re) && re.Permanent {
			m.reread(ctx) //nolint:errcheck // the refresh's error is the one that counts
			if now, _ := m.look(); now.RefreshToken != c.RefreshToken && !now.ExpiredAt(m.cfg.Now()) {
				m.cfg.Tell(Step{"✅", "The sign-in had been renewed by another program: using that one"})
				return nil
			}
		}
		return m.failed(err)
	}
	return m.store(ctx, c, n)
}

// store saves what the auth server handed out, then lets it be seen.
func (m *Manager) store(ctx context.Context, old, n Credentials) error {
	n.TakeOver = false
	n.Ownership = Own
	if m.cfg.SharedStore {
		n.Ownership = Shared
	}
	err := m.cfg.Store.Save(ctx, n)
	m.mu.Lock()
	m.take(n)
	m.refreshes++
	m.received = m.cfg.Now()
	if err != nil {
		m.unsaved = true
		m.problem, m.cause = "The new sign-in is in use but could not be stored: "+err.Error(), CauseStore
		m.backOff(false)
	}
	m.changed()
	m.mu.Unlock()
	if err != nil {
		m.cfg.Tell(Step{"❌", "Refreshed, but not stored: " + err.Error()})
		return err
	}
	m.cfg.Tell(Step{"✅", "Refreshed, good until " + stamp(n.ExpiresAt) + ", stored in " + m.cfg.Store.Name()})
	if old.Ownership == Shared && n.Ownership == Own && old.ImportedFrom != "" {
		m.cfg.Tell(Step{"⚠️", "Refresh tokens can be used once, and this proxy has now used the one it imported: the Codex CLI will one day ask you to sign in again (`codex login`)." +
			" To let the CLI keep its sign-in, import with --disable-migrate-refresh"})
	}
	return nil
}

// reread takes over what another program stored meanwhile, and stores what could not be stored before. It returns
// an error when the store is in a state that must not be written over. Called under the lock.
func (m *Manager) reread(ctx context.Context) error {
	before, _ := m.look()
	stored, err := m.cfg.Store.Load(ctx)
	m.mu.Lock()
	unsaved := m.unsaved
	m.mu.Unlock()
	switch {
	case err == nil && !stored.sameTokens(before) && (!unsaved || stored.newerThan(before)):
		m.mu.Lock()
		m.take(stored)
		m.changed()
		m.mu.Unlock()
	case unsaved:
		if m.cfg.Store.Save(ctx, before) == nil {
			m.mu.Lock()
			m.unsaved, m.problem, m.cause = false, "", CauseNone
			m.failures, m.since, m.next = 0, time.Time{}, time.Time{}
			m.changed()
			m.mu.Unlock()
			m.cfg.Tell(Step{"💾", "The sign-in is stored now, in " + m.cfg.Store.Name()})
		}
	case err != nil && before.IsZero() && !errors.Is(err, ErrMissing) && !errors.Is(err, ErrSignedOut):
		m.mu.Lock()
		m.problem = err.Error()
		m.changed()
		m.mu.Unlock()
	}
	m.rereadSource(ctx)
	after, _ := m.look()
	switch {
	case err == nil || after.IsZero():
		return nil
	case errors.Is(err, ErrNotChatGPT), errors.Is(err, ErrUnreadable), m.cfg.SharedStore && errors.Is(err, ErrMissing):
		return err // another program, or the user, put something else there
	}
	return nil // missing or damaged: the next save mends it
}

// rereadSource looks where the sign-in was imported from, as long as it is not our own, or refused for good.
func (m *Manager) rereadSource(ctx context.Context) {
	m.mu.Lock()
	c := m.current
	borrowed := c.Ownership == Shared && c.ImportedFrom != "" && c.ImportedFrom != "keychain"
	look := m.cfg.Source != nil && !m.signedOut && (borrowed || m.helpless())
	m.mu.Unlock()
	if !look {
		return
	}
	found, err := m.cfg.Source(ctx)
	if err != nil || found.sameTokens(c) || (!c.IsZero() && !found.newerThan(c)) {
		return
	}
	if c.AccountID != "" && found.AccountID != c.AccountID {
		return // another account: only the user may decide that
	}
	found.TakeOver = m.cfg.TakeOver && c.IsZero()
	if err := m.cfg.Store.Save(ctx, found); err != nil {
		return
	}
	m.cfg.Tell(Step{"📄", "Took a newer sign-in from " + found.ImportedFrom})
	m.mu.Lock()
	m.take(found)
	m.changed()
	m.mu.Unlock()
}

// failed notes a failed refresh and returns it.
func (m *Manager) failed(err error) error {
	var re *RefreshError
	permanent := errors.As(err, &re) && re.Permanent
	m.mu.Lock()
	m.missed++
	m.problem, m.cause = refreshProblem(err, m.current, m.cfg.Store), causeOf(err)
	if permanent {
		m.permanent = m.current.RefreshToken
		if m.permanent == "" {
			m.permanent = m.current.AccessToken
		}
		if m.since.IsZero() {
			m.since = m.cfg.Now()
		}
		m.next = time.Time{}
	} else {
		m.backOff(re != nil && re.Unanswered)
	}
	m.changed()
	next, problem := m.next, m.problem
	m.mu.Unlock()
	if permanent {
		m.cfg.Tell(Step{"❌", problem + " (" + err.Error() + ")"})
	} else {
		m.cfg.Tell(Step{"⚠️", fmt.Sprintf("%s (in %s)", problem, next.Sub(m.cfg.Now()).Round(time.Second))})
	}
	return err
}

// backOff sets the time of the next attempt. Called with mu held.
func (m *Manager) backOff(unanswered bool) {
	now := m.cfg.Now()
	if m.since.IsZero() {
		m.since = now
	}
	wait := min(backoffFirst<<min(m.failures, 10), backoffMost)
	m.failures++
	if unanswered {
		wait = max(wait, backoffUnanswered)
	} else if m.current.ExpiredAt(now) {
		wait = min(wait, expiredWaitMost)
	}
	m.next = now.Add(wait + time.Duration(rand.Int64N(int64(wait)/5)))
}

// due reports whether it is time to refresh. Called with mu held.
func (m *Manager) due() bool {
	at := m.dueAt()
	return !at.IsZero() && !m.cfg.Now().Before(at)
}

// dueAt is when to refresh; zero for never. Called with mu held.
func (m *Manager) dueAt() time.Time {
	c := m.current
	switch {
	case c.RefreshToken == "" || m.helpless():
		return time.Time{}
	case c.AccessToken == "" || c.TakeOver:
		return time.Unix(0, 0)
	case c.ExpiresAt.IsZero():
		if c.LastRefresh.IsZero() {
			return time.Time{}
		}
		return c.LastRefresh.Add(refreshUnknown)
	}
	ahead := margin(c)
	if c.Ownership == Shared && c.ImportedFrom != "" {
		ahead = borrowedAhead
	}
	if !m.received.IsZero() { // a token that lives for less than the margin is not refreshed without end
		ahead = min(ahead, c.ExpiresAt.Sub(m.received)/2)
	}
	return c.ExpiresAt.Add(-ahead)
}

// margin is how long before its end a sign-in of our own is refreshed.
func margin(c Credentials) time.Duration {
	if c.Kind == KindChatGPT {
		return hourlyAhead
	}
	return refreshAhead
}

// helpless reports that only the user, or another program, can bring a sign-in that works. Called with mu held.
func (m *Manager) helpless() bool {
	return m.current.IsZero() || (m.permanent != "" && (m.permanent == m.current.RefreshToken || m.permanent == m.current.AccessToken))
}

func (m *Manager) refusedForGood(c Credentials) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.permanent != "" && m.permanent == c.RefreshToken
}

func (m *Manager) nextAttempt() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.next
}

func (m *Manager) setRefreshing(on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refreshing = on
	m.changed()
}

func causeOf(err error) Cause {
	var re *RefreshError
	switch {
	case !errors.As(err, &re):
		return CauseStore
	case re.Reused:
		return CauseSpent
	case re.Permanent:
		return CauseEnded
	}
	return CauseNetwork
}

// refreshProblem says what a failed refresh means and what to do.
func refreshProblem(err error, c Credentials, store Store) string {
	var re *RefreshError
	if !errors.As(err, &re) {
		return "The sign-in was not refreshed, because the new one could not be stored: " + err.Error()
	}
	switch {
	case re.Code == "no_refresh_token":
		if _, ok := store.(*EnvStore); ok {
			return "The access token in ACCESS_TOKEN can't be refreshed. Put a new one there and start again"
		}
		return "The sign-in has no refresh token. Run `codex-proxy login`"
	case re.Reused:
		return "Another program used this sign-in's refresh token first. Run `codex-proxy login` to sign in again"
	case re.Permanent:
		return "The sign-in was revoked or has expired. Run `codex-proxy login` to sign in again"
	case re.Cause != nil:
		return "The auth server was not reached (" + re.Cause.Error() + "). Check the network and the proxy settings; it is tried again by itself"
	default:
		return fmt.Sprintf("The auth server refused the refresh with status %d. It is tried again by itself", re.Status)
	}
}
