package creds

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"codex-proxy/internal/fakebackend"
)

// endless hands out tokens whose access token has ended when they arrive, and counts.
type endless struct {
	mu    sync.Mutex
	times []time.Time
	life  time.Duration
	date  func() time.Time // nil for no Date header
}

func (e *endless) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.times = append(e.times, time.Now())
	w.Header().Del("Date")
	if e.date != nil {
		w.Header().Set("Date", e.date().UTC().Format(http.TimeFormat))
	}
	json.NewEncoder(w).Encode(map[string]any{ //nolint:errcheck // a recorder
		"access_token": fakeJWT(fmt.Sprintf(`{"exp":%d,"n":%d}`, time.Now().Add(e.life).Unix(), len(e.times))), "refresh_token": fmt.Sprintf("rt_%d", len(e.times)),
	})
}

func (e *endless) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.times)
}

// closest is the shortest time between two refreshes.
func (e *endless) closest() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	least := time.Hour
	for i := 1; i < len(e.times); i++ {
		least = min(least, e.times[i].Sub(e.times[i-1]))
	}
	return least
}

func TestOneRefreshAMinuteWhateverArrives(t *testing.T) {
	for name, test := range map[string]struct {
		life time.Duration // of the tokens that arrive
		wall time.Duration // by how much this machine's clock is ahead
		date bool          // the answers have the server's time
	}{
		"tokens that have ended": {-time.Hour, 0, true}, "tokens that end at once": {time.Second, 0, true}, "tokens that end in half a minute": {30 * time.Second, 0, true},
		"a clock ten days ahead, and the server's time": {240 * time.Hour, 241 * time.Hour, true}, "a clock ten days ahead, and no time": {240 * time.Hour, 241 * time.Hour, false},
		"a clock ten days behind": {-time.Hour, -240 * time.Hour, true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				e := &endless{life: test.life}
				if test.date {
					e.date = time.Now
				}
				w.http.set(e)
				w.own(-300 * time.Hour)
				m := w.manager(NewFileStore(w.path()), func(c *Config) { c.Now = func() time.Time { return time.Now().Add(test.wall) } })
				defer run(t, m)()
				for range 600 { // ten minutes of somebody who tries everything each second
					token, err := m.Token(t.Context())
					var u *UnavailableError
					if errors.As(err, &u) && (u.Problem == "" || u.RetryAfter <= 0) {
						t.Fatalf("unavailable without a reason or a time: %+v", u)
					}
					m.Rejected(t.Context(), token) //nolint:errcheck // counted
					m.Refresh(t.Context())         //nolint:errcheck // counted
					m.Reload(t.Context())          //nolint:errcheck // counted
					m.RefreshIfDue(t.Context())
					time.Sleep(time.Second)
				}
				if n, closest := e.count(), e.closest(); n < 1 || n > 11 || closest < time.Minute {
					t.Errorf("%d refreshes in 10 minutes, the closest %s apart", n, closest)
				}
				if off := m.State().ClockOff; test.date && (off-test.wall).Abs() > time.Minute || !test.date && test.wall == 0 && off != 0 {
					t.Errorf("the clock is said to be off by %s", off)
				}
			})
		})
	}
}

func TestAProcessKnowsOfTheRefreshOfTheOneBefore(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own(100 * time.Hour)
		for round, want := range []bool{true, false, false} {
			m := w.manager(NewFileStore(w.path()))
			err := m.Refresh(t.Context())
			var soon *TooSoonError
			if (err == nil) != want || (err != nil && (!errors.As(err, &soon) || !soon.Refreshed || soon.Wait > time.Minute || !strings.Contains(err.Error(), "seconds"))) {
				t.Errorf("round %d: %v", round, err)
			}
			m.Close()
			time.Sleep(20 * time.Second)
		}
		if n := w.backend.Counts().Refreshes; n != 1 {
			t.Errorf("%d refreshes", n)
		}
	})
}

func TestARequestTriesAgainAfterOneRefusalWithoutWaitingForTheBackOff(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own(-time.Minute)
		w.backend.RefuseRefresh("500")
		m := w.manager(NewFileStore(w.path()))
		if _, err := m.Token(t.Context()); err == nil {
			t.Fatal("no error")
		}
		time.Sleep(500 * time.Millisecond)
		var u *UnavailableError
		if _, err := m.Token(t.Context()); !errors.As(err, &u) || u.RetryAfter <= 0 {
			t.Errorf("within the second: %v", err)
		}
		time.Sleep(600 * time.Millisecond)
		mustToken(t, m)
	})
}

func TestAnOutageIsNotHammered(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own(-time.Minute)
		for range 100 {
			w.backend.RefuseRefresh("500")
		}
		m := w.manager(NewFileStore(w.path()))
		for range 600 {
			m.Token(t.Context()) //nolint:errcheck // it is refused
			time.Sleep(time.Second)
		}
		if n := len(w.backend.Requests("/oauth/token")); n < 10 || n > 17 {
			t.Errorf("%d tries in 10 minutes", n)
		}
	})
}

// TestAClockThatIsSetBackDoesNotPutOffTheNextTry: a machine starts with a clock that is ahead, and without a network.
func TestAClockThatIsSetBackDoesNotPutOffTheNextTry(t *testing.T) {
	for name, refuse := range map[string]bool{"the server was not reached": false, "the server failed": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				var ahead atomic.Int64
				ahead.Store(int64(240 * time.Hour))
				w.own(100 * time.Hour)
				away := &refuser{}
				if refuse {
					away.next = w.http
					w.backend.RefuseRefresh("500")
					ahead.Store(0) // what the server's clock tells is overtaken by this one's later
				}
				m := w.manager(NewFileStore(w.path()), func(c *Config) {
					c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
					c.Refresher = &Refresher{HTTP: away, AuthURL: authURL}
				})
				if refuse {
					m.Refresh(t.Context()) //nolint:errcheck // it is refused
					away.next = nil
					ahead.Store(int64(240 * time.Hour))
				}
				defer run(t, m)()
				time.Sleep(time.Minute)
				if s := m.State(); s.Usable || s.Cause != CauseNetwork {
					t.Fatalf("%+v", s)
				}
				away.next = w.http
				ahead.Store(0)
				time.Sleep(2 * tick)
				if s := m.State(); s.Cause != CauseNone || !s.Usable {
					t.Errorf("it is still failing since %s, and tried again at %s: %s", s.FailingSince, s.NextAttempt, s.Problem)
				}
			})
		})
	}
}

func TestAServerThatIsNotReachedIsTriedEachSecondThatSomebodyAsks(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own(-time.Minute)
		away := &refuser{}
		m := w.manager(NewFileStore(w.path()), func(c *Config) { c.Refresher = &Refresher{HTTP: away, AuthURL: authURL} })
		for range 10 {
			m.Token(t.Context()) //nolint:errcheck // it is away
			m.Token(t.Context()) //nolint:errcheck // it is away
			time.Sleep(1100 * time.Millisecond)
		}
		if n := away.calls; n != 10 {
			t.Errorf("%d tries", n)
		}
		away.next = w.http
		mustToken(t, m)
	})
}

// TestAPermanent401CostsOneRefreshInAll: a request follows on a request, and the backend refuses each token.
func TestAPermanent401CostsOneRefreshInAll(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own(100 * time.Hour)
		m := w.manager(NewFileStore(w.path()))
		defer run(t, m)()
		for range 50 {
			token := mustToken(t, m)
			if next, err := m.Rejected(t.Context(), token); err == nil {
				if _, err = m.Rejected(t.Context(), next); err == nil {
					t.Fatal("a third token")
				}
			}
			time.Sleep(2 * time.Minute)
		}
		if n := w.backend.Counts().Refreshes; n != 1 {
			t.Errorf("%d refreshes", n)
		}
		s := m.State()
		if s.Usable || s.Cause != CauseRejected || s.Status != StatusSignInAgain {
			t.Errorf("state: %+v", s)
		}
		// The backend thinks better of it.
		m.Accepted(mustToken(t, m))
		if s := m.State(); !s.Usable || s.Status != StatusSignedIn || s.Problem != "" {
			t.Errorf("state at the end: %+v", s)
		}
		if _, err := m.Rejected(t.Context(), mustToken(t, m)); err != nil || w.backend.Counts().Refreshes != 2 {
			t.Errorf("a later refusal is not mended: %v", err)
		}
	})
}

func TestAClockThatIsOffIsNamedAndDoesNotEndTokens(t *testing.T) {
	for _, wall := range []time.Duration{time.Hour, -time.Hour, 240 * time.Hour, -240 * time.Hour} {
		bubble(t, func(t *testing.T, w *world) {
			w.own(30 * time.Minute)
			m := w.manager(NewFileStore(w.path()), func(c *Config) { c.Now = func() time.Time { return time.Now().Add(wall) } })
			if _, err := m.Token(t.Context()); err != nil {
				t.Fatal(err)
			}
			if m.State().ClockOff == 0 {
				if err := m.Refresh(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			s := m.State()
			if (s.ClockOff-wall).Abs() > time.Minute || s.Cause != CauseClock || !strings.Contains(s.Problem, "clock") || !s.Usable || s.Status != StatusSignedIn {
				t.Errorf("%s: %+v", wall, s)
			}
			time.Sleep(9 * 24 * time.Hour)
			mustToken(t, m)
			if n := w.backend.Counts().Refreshes; n != 1 {
				t.Errorf("%s: %d refreshes", wall, n)
			}
		})
	}
}

// TestAClockThatIsSetWhileTheProgramRuns: the tokens go on, and at most one refresh is spent on it.
func TestAClockThatIsSetWhileTheProgramRuns(t *testing.T) {
	for _, jump := range []time.Duration{time.Hour, -time.Hour, 240 * time.Hour, -240 * time.Hour} {
		bubble(t, func(t *testing.T, w *world) {
			var mu sync.Mutex
			wall := time.Duration(0)
			w.own(30 * time.Minute)
			m := w.manager(NewFileStore(w.path()), func(c *Config) {
				c.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return time.Now().Add(wall) }
			})
			defer run(t, m)()
			synctest.Wait()
			time.Sleep(5 * time.Minute)
			mu.Lock()
			wall = jump
			mu.Unlock()
			for range 20 {
				mustToken(t, m)
				time.Sleep(time.Minute)
			}
			if n := w.backend.Counts().Refreshes; n > 2 {
				t.Errorf("%s: %d refreshes", jump, n)
			}
			if s := m.State(); !s.Usable || s.ClockOff == 0 && jump < 0 {
				t.Errorf("%s: %+v", jump, s)
			}
		})
	}
}

func TestASignInThatSleptIsRefreshedWhenItWakes(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		// The monotonic clock stands still during sleep; only the wall clock goes on.
		var mu sync.Mutex
		wall := time.Duration(0)
		w.backend = fakebackend.New()
		w.backend.AccessLife = 2 * time.Hour
		slept := func() time.Time { mu.Lock(); defer mu.Unlock(); return time.Now().Add(wall) }
		w.http.set(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Date", slept().UTC().Format(http.TimeFormat))
			w.backend.ServeHTTP(rw, r)
		}))
		w.own(-time.Minute)
		m := w.manager(NewFileStore(w.path()), func(c *Config) { c.Now = slept })
		mustToken(t, m)
		time.Sleep(2 * time.Minute)
		mu.Lock()
		wall = 3 * time.Hour
		mu.Unlock()
		m.Token(t.Context()) //nolint:errcheck // the stand-in's own clock has not slept
		if n := w.backend.Counts().Refreshes; n != 2 {
			t.Errorf("%d refreshes", n)
		}
	})
}

// TestARestartForgetsNoRefusal: who is told to sign in again, and starts the program again instead, is told so again, and
// the token is not sent once more.
func TestARestartForgetsNoRefusal(t *testing.T) {
	for code, want := range map[string]Cause{"refresh_token_reused": CauseSpent, "refresh_token_invalidated": CauseEnded, "a_word_that_we_do_not_know": CauseNone, "invalid_client": CauseNone} {
		t.Run(code, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.own(200 * time.Hour)
				w.backend.RefuseRefresh(code)
				m := w.manager(NewFileStore(w.path()))
				m.Refresh(t.Context()) //nolint:errcheck // it is refused
				m.Close()
				time.Sleep(2 * time.Minute)
				again := w.manager(NewFileStore(w.path()))
				if s := again.State(); s.Cause != want || !s.Usable {
					t.Errorf("after a restart: %+v", s)
				}
				again.Refresh(t.Context()) //nolint:errcheck // seen below
				if n := len(w.backend.Requests("/oauth/token")); (n == 1) != (want != CauseNone) {
					t.Errorf("sent %d times", n)
				}
				w.own(100 * time.Hour) // the user has signed in
				if err := again.Reload(t.Context()); err != nil || again.State().Status != StatusSignedIn {
					t.Errorf("%v, %+v", err, again.State())
				}
			})
		})
	}
}

// TestASignInThatTheCLIStoresDuringARefreshStays: some of its versions know no lock, and what the user has just signed in
// with must not be written over by what came for the sign-in before.
func TestASignInThatTheCLIStoresDuringARefreshStays(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.write(w.cli(), w.backend.SignIn(30*time.Minute).AuthJSON())
		newer := w.backend.SignIn(100 * time.Hour)
		w.http.set(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Second)
			w.write(w.cli(), newer.AuthJSON())
			w.backend.ServeHTTP(rw, r)
		}))
		m := w.manager(NewLegacyStore(w.cli()))
		if err := m.Refresh(t.Context()); err != nil {
			t.Error(err)
		}
		raw, _ := os.ReadFile(w.cli())
		if !strings.Contains(string(raw), newer.Refresh) || mustToken(t, m).Access != newer.Access || m.State().Problem != "" {
			t.Errorf("the newer sign-in is gone: %+v", m.State())
		}
	})
}

// TestWhatTheCLIWritesWithTheTokenThatIsSpentIsWrittenOver: it is no new sign-in, and the newest tokens must not be lost to it.
func TestWhatTheCLIWritesWithTheTokenThatIsSpentIsWrittenOver(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		before := w.backend.SignIn(30 * time.Minute)
		w.write(w.cli(), before.AuthJSON())
		w.http.set(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Second)
			w.write(w.cli(), bytes.Replace(before.AuthJSON(), []byte(before.Access), []byte(w.backend.SignIn(time.Hour).Access), 1))
			w.backend.ServeHTTP(rw, r)
		}))
		m := w.manager(NewLegacyStore(w.cli()))
		if err := m.Refresh(t.Context()); err != nil || w.stored(w.cli()).RefreshToken != w.backend.Newest(before) {
			t.Errorf("the newest refresh token is lost: %v", err)
		}
	})
}
