package creds

import "time"

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
)

// snapshot is all that is known of the sign-in at one moment. A published one is never changed, so that anybody may
// read it; what depends on the time is worked out when it is asked for.
type snapshot struct {
	sign   Credentials
	status Status // but for what time alone brings: see statusAt
	trouble
	err         error     // what failed last; nil without trouble
	since       time.Time // of the first failure in a row
	tried, next time.Time // of the last one, and of the try that follows by itself
	failures    int       // in a row
	refreshes   int       // since the start
	missed      int       // refreshes that failed, since the start

	unsaved  bool      // sign is newer than what is stored
	unfit    bool      // sign must not be sent anywhere: see Credentials.Check and IdentityOnly
	dead     bool      // sign's refresh token was refused for good
	rejected string    // the access token that the backend refused and that could not be replaced
	trial    string    // the access token that came by a refresh after a refusal, until it is known to work
	received time.Time // when this process got sign's tokens from the auth server; zero when it did not
	clock    clock
}

// usable reports whether a request would be served at t.
func (s *snapshot) usable(t time.Time) bool {
	return s.serves(t) && s.sign.AccessToken != s.rejected
}

// serves reports whether the access token may be sent at t. One that was refused may: the backend may take it again.
func (s *snapshot) serves(t time.Time) bool {
	return !s.unfit && !s.sign.ExpiredAt(t)
}

// helpless reports that only the user, or another program, can bring a sign-in that works.
func (s *snapshot) helpless() bool { return s.sign.IsZero() || s.dead }

// statusAt is the status at t.
func (s *snapshot) statusAt(t time.Time) Status {
	status := s.status
	if s.sign.IsZero() {
		return status
	}
	if s.sign.ExpiredAt(t.Add(RefreshAhead(s.sign.Kind))) {
		status = status.after(eventAging)
	}
	if s.sign.ExpiredAt(t) && s.sign.RefreshToken == "" {
		status = status.after(eventOutOfTokens)
	}
	return status
}

// due reports whether it is time to refresh.
func (s *snapshot) due(t time.Time) bool {
	at := s.dueAt()
	return !at.IsZero() && (!t.Before(at) || at.Equal(s.next) && !s.waits(t))
}

// waits reports whether the next try is still to be waited for at t. A clock that was set back to before the last one
// puts it off no further.
func (s *snapshot) waits(t time.Time) bool { return t.Before(s.next) && !t.Before(s.tried) }

// dueAt is when to refresh; zero for never.
func (s *snapshot) dueAt() time.Time {
	c := s.sign
	switch {
	case c.RefreshToken == "" || s.helpless() || s.unfit:
		return time.Time{}
	case s.failures > 0 && !s.unsaved && !s.next.IsZero(): // the last try failed, due or not
		return s.next
	case c.AccessToken == "" || c.TakeOver:
		return time.Unix(0, 0)
	case c.ExpiresAt.IsZero():
		if c.LastRefresh.IsZero() {
			return time.Time{}
		}
		return c.LastRefresh.Add(refreshUnknown)
	}
	ahead := RefreshAhead(c.Kind)
	if c.Ownership == Shared && c.ImportedFrom != "" {
		ahead = borrowedAhead
	}
	if !s.received.IsZero() { // a token that lives for less than the margin is not refreshed without end
		ahead = min(ahead, max(c.ExpiresAt.Sub(s.received)/2, 0))
	}
	return c.ExpiresAt.Add(-ahead)
}

// RefreshAhead is how long before its end the access token of a sign-in of our own is refreshed.
func RefreshAhead(kind Kind) time.Duration {
	if kind == KindChatGPT {
		return hourlyAhead
	}
	return refreshAhead
}

// troubleAt is what is wrong at t, also by time alone.
func (s *snapshot) troubleAt(t time.Time, readOnly bool) trouble {
	switch {
	case s.cause != CauseNone:
		return s.trouble
	case s.sign.IsZero() || !s.sign.ExpiredAt(t) || s.sign.RefreshToken != "":
		return trouble{}
	case readOnly:
		return troubled(CauseEnvironment)
	}
	return troubled(CauseNoRefreshToken)
}
