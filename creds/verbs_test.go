package creds

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"codex-proxy/internal/fakebackend"
)

// candidate is a sign-in of the Codex CLI's, read from its file.
func (w *world) candidate(life time.Duration) (Credentials, fakebackend.Tokens) {
	tokens := w.backend.SignIn(life)
	w.write(w.cli(), tokens.AuthJSON())
	c, err := (&Importer{CodexHome: filepath.Dir(w.cli()), Tell: func(Step) {}}).FromFile(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return c, tokens
}

func TestAnImportNeverReplacesAWorkingSignInByOneThatIsNotProven(t *testing.T) {
	for name, test := range map[string]struct {
		spent    bool
		refusals []string
		leave    bool // to the CLI
		life     time.Duration
		want     string
	}{
		"spent":                         {true, nil, false, time.Hour, "older than yours; nothing was changed"},
		"revoked":                       {false, []string{"refresh_token_invalidated"}, false, time.Hour, "revoked or has expired; nothing was changed"},
		"not to be proven now":          {false, []string{"500"}, false, 5 * time.Hour, "could not be tried; nothing was changed"},
		"the answer is lost":            {false, []string{"drop"}, false, 5 * time.Hour, "could not be tried; nothing was changed"},
		"left to the CLI, and ended":    {false, nil, true, -time.Minute, "has ended; nothing was changed"},
		"left to the CLI, and is older": {false, nil, true, time.Hour, "older than yours; nothing was changed"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				c, _ := w.candidate(test.life)
				if test.spent {
					if _, _, err := w.refresher().Refresh(t.Context(), c); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(2 * time.Hour)
				if test.life > 0 && test.leave {
					c.ExpiresAt = time.Now().Add(time.Hour)
				}
				own := w.own(100 * time.Hour)
				before, _ := os.ReadFile(w.path())
				m := w.manager(NewFileStore(w.path()), func(c *Config) { c.TakeOver = !test.leave })
				w.backend.RefuseRefresh(test.refusals...)
				for range 3 { // whoever clicks again gets no further
					if err := m.Import(t.Context(), c); err == nil || (!strings.Contains(err.Error(), test.want) && !strings.Contains(err.Error(), "moment ago")) {
						t.Errorf("got %v", err)
					}
				}
				after, _ := os.ReadFile(w.path())
				if string(before) != string(after) || mustToken(t, m).Access != own.Access || !m.State().Usable || m.State().Problem != "" {
					t.Errorf("something was changed: %+v", m.State())
				}
				if n := len(w.backend.Requests("/oauth/token")); n > 2 {
					t.Errorf("it was tried %d times", n)
				}
			})
		})
	}
}

func TestAProvenImportReplacesWhatIsThere(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own(100 * time.Hour)
		m := w.manager(NewFileStore(w.path()))
		c, tokens := w.candidate(time.Hour)
		if err := m.Import(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if got := w.stored(w.path()); got.RefreshToken != w.backend.Newest(tokens) || got.Ownership != Own || got.ImportedFrom != w.cli() {
			t.Errorf("stored: %v", got)
		}
		if raw, _ := os.ReadFile(w.cli()); string(raw) != string(tokens.AuthJSON()) {
			t.Log("the time in it differs") // AuthJSON tells the present
		}
	})
}

// TestATokenThatWasUsedUpHereIsNeverSentAgain: the auth server ends all tokens of a sign-in, also those in use here, when
// one of them comes a second time. What the Codex CLI still has is such a token after an import.
func TestATokenThatWasUsedUpHereIsNeverSentAgain(t *testing.T) {
	for name, again := range map[string]func(t *testing.T, w *world, m *Manager, c Credentials) *Manager{
		"imported again": func(_ *testing.T, _ *world, m *Manager, _ Credentials) *Manager { return m },
		"after a restart, and a refresh": func(t *testing.T, w *world, m *Manager, _ Credentials) *Manager {
			if err := m.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			return w.manager(NewFileStore(w.path()))
		},
		"by a program that starts at the same time": func(_ *testing.T, w *world, _ *Manager, _ Credentials) *Manager {
			return w.manager(NewFileStore(w.path()))
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				m := w.manager(NewFileStore(w.path()))
				c, tokens := w.candidate(200 * time.Hour)
				if err := m.Import(t.Context(), c); err != nil {
					t.Fatal(err)
				}
				m = again(t, w, m, c)
				time.Sleep(2 * time.Minute)
				if err := m.Import(t.Context(), c); !errors.Is(err, ErrOlder) {
					t.Errorf("got %v", err)
				}
				if n := w.backend.Counts().Reused; n != 0 {
					t.Errorf("a token was sent %d times too often", n)
				}
				if err := m.Refresh(t.Context()); err != nil || w.stored(w.path()).RefreshToken != w.backend.Newest(tokens) {
					t.Errorf("the sign-in in use is lost: %v", err)
				}
			})
		})
	}
}

// TestWhatWasTakenOverElsewhereIsNotTakenOverAgain: by the same user's program with another file, or another store.
func TestWhatWasTakenOverElsewhereIsNotTakenOverAgain(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		taken := map[string]bool{}
		remember := func(c *Config) {
			c.Taken, c.Took = func(hash string) bool { return taken[hash] }, func(hash string) { taken[hash] = true }
		}
		first := w.manager(NewFileStore(w.path()), remember)
		c, tokens := w.candidate(200 * time.Hour)
		if err := first.Import(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		second := w.manager(NewFileStore(filepath.Join(w.dir, "second", "auth.json")), remember)
		var refused *ImportError
		if err := second.Import(t.Context(), c); !errors.As(err, &refused) || refused.Cause != CauseSpent {
			t.Errorf("got %v", err)
		}
		time.Sleep(2 * time.Minute)
		if err := first.Refresh(t.Context()); err != nil || w.backend.Counts().Reused != 0 || w.stored(w.path()).RefreshToken != w.backend.Newest(tokens) {
			t.Errorf("the first sign-in is lost: %v, %+v", err, w.backend.Counts())
		}
	})
}

// TestTwoThatTakeOverAtOnceSendTheTokenOnce: the same user's programs, with two files.
func TestTwoThatTakeOverAtOnceSendTheTokenOnce(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		taken, turn := map[string]bool{}, &Alone{}
		remember := func(c *Config) {
			c.Taking = turn.Lock
			c.Taken, c.Took = func(hash string) bool { return taken[hash] }, func(hash string) { taken[hash] = true }
		}
		w.http.set(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Second)
			w.backend.ServeHTTP(rw, r)
		}))
		c, _ := w.candidate(200 * time.Hour)
		var errs [2]error
		var both sync.WaitGroup
		for i := range errs {
			m := w.manager(NewFileStore(filepath.Join(w.dir, fmt.Sprint(i), "auth.json")), remember)
			both.Go(func() { errs[i] = m.Import(t.Context(), c) })
		}
		both.Wait()
		if w.backend.Counts().Reused != 0 || (errs[0] == nil) == (errs[1] == nil) {
			t.Errorf("%v, %+v", errs, w.backend.Counts())
		}
	})
}

// TestABorrowedTokenThatWasTakenOverElsewhereIsNotSent: two places have borrowed it, and it ended.
func TestABorrowedTokenThatWasTakenOverElsewhereIsNotSent(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		taken := map[string]bool{}
		remember := func(c *Config) {
			c.TakeOver = false
			c.Taken, c.Took = func(hash string) bool { return taken[hash] }, func(hash string) { taken[hash] = true }
		}
		c, tokens := w.candidate(time.Hour)
		first := w.manager(NewFileStore(w.path()), remember)
		second := w.manager(NewFileStore(filepath.Join(w.dir, "second", "auth.json")), remember)
		for _, m := range []*Manager{first, second} {
			if err := m.Import(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Hour)
		mustToken(t, first)
		if _, err := second.Token(t.Context()); !errors.Is(err, ErrSignIn) || second.State().Cause != CauseSpent {
			t.Errorf("%v, %+v", err, second.State())
		}
		if w.backend.Counts().Reused != 0 || w.stored(w.path()).RefreshToken != w.backend.Newest(tokens) {
			t.Errorf("the first sign-in is lost: %+v", w.backend.Counts())
		}
	})
}

func TestAnImportWithNobodySignedInIsUsedWhileTheServerIsAway(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		c, tokens := w.candidate(2 * time.Hour)
		w.backend.RefuseRefresh("500")
		m := w.manager(NewFileStore(w.path()))
		if err := m.Import(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if s := m.State(); s.Status != StatusRefreshFailing || !s.Usable || s.Ownership != Shared {
			t.Errorf("%+v", s)
		}
		defer run(t, m)()
		time.Sleep(time.Minute)
		if s := m.State(); s.Status != StatusSignedIn || s.Ownership != Own || w.stored(w.path()).RefreshToken != w.backend.Newest(tokens) {
			t.Errorf("it is not taken over: %+v", s)
		}
	})
}

// TestNothingOfASignInStaysAfterASignOut: also not what an earlier crash left beside it.
func TestNothingOfASignInStaysAfterASignOut(t *testing.T) {
	w := newWorld(t)
	own := w.own(time.Hour)
	store := NewFileStore(w.path())
	c := w.stored(w.path())
	c.LastRefresh, c.RefreshToken = c.LastRefresh.Add(time.Minute), "rt_written"
	raw, err := encodeAuthFile(c, nil, true)
	if err != nil {
		t.Fatal(err)
	}
	w.write(store.second(), raw)
	m := w.manager(store)
	if _, err := m.SignOut(t.Context()); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(filepath.Dir(w.path()), "*"))
	hidden, _ := filepath.Glob(filepath.Join(filepath.Dir(w.path()), ".*"))
	for _, file := range append(files, hidden...) {
		if raw, _ := os.ReadFile(file); strings.Contains(string(raw), "rt_written") || strings.Contains(string(raw), own.Refresh) {
			t.Errorf("%s still holds a sign-in", file)
		}
	}
}

func TestATransferHappensUnderOneLock(t *testing.T) {
	fails := errors.New("no such Worker")
	for name, result := range map[string]error{"given": nil, "refused": fails, "unknown": ErrOutcomeUnknown} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				own := w.own(-time.Minute)
				here := w.manager(NewFileStore(w.path())) // the running proxy
				command := w.manager(NewFileStore(w.path()))
				var given Credentials
				err := command.Transfer(t.Context(), func(_ context.Context, c Credentials) error {
					given = c
					go here.Token(t.Context()) //nolint:errcheck // a request that needs a refresh comes in between
					time.Sleep(10 * time.Second)
					return result
				})
				if !errors.Is(err, result) {
					t.Errorf("got %v", err)
				}
				if given.RefreshToken != own.Refresh {
					t.Error("another sign-in was given")
				}
				synctest.Wait()
				time.Sleep(time.Second)
				refreshes := w.backend.Counts().Refreshes
				_, stored := NewFileStore(w.path()).Load(t.Context())
				if result == nil && (!errors.Is(stored, ErrSignedOut) || refreshes != 0 || here.State().Cause != CauseSignedOut) {
					t.Errorf("after it was given: %v, %d refreshes, %+v", stored, refreshes, here.State())
				}
				if result != nil && (stored != nil || refreshes != 1 || !here.State().Usable) {
					t.Errorf("after a failure: %v, %d refreshes, %+v", stored, refreshes, here.State())
				}
				if w.backend.Counts().Revoked != 0 {
					t.Error("it was revoked")
				}
			})
		})
	}
}

func TestReloadKeepsWhatIsNewerAndNotYetStored(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		first := w.backend.SignIn(30 * time.Minute)
		c := FromTokens(first.Access, first.Refresh, first.ID, "")
		c.LastRefresh = time.Now().Add(-time.Hour)
		store := &failingStore{MemoryStore: NewMemoryStore(c), fail: true}
		m := w.manager(store)
		m.Refresh(t.Context()) //nolint:errcheck // it is not stored
		newest := mustToken(t, m).Access
		for _, full := range []bool{true, false} {
			store.fail = full
			m.Reload(t.Context()) //nolint:errcheck // see below
			if mustToken(t, m).Access != newest || newest == first.Access {
				t.Fatal("the spent token is back")
			}
		}
		if c, _ := store.Load(t.Context()); c.AccessToken != newest || m.State().Problem != "" {
			t.Errorf("not stored: %+v", m.State())
		}
	})
}

func TestWhatAnotherProcessDoesIsNoticedWithinSeconds(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own(100 * time.Hour)
		m := w.manager(NewFileStore(w.path()))
		defer run(t, m)()
		synctest.Wait()
		other := w.manager(NewFileStore(w.path()))
		if err := other.SelectWorkspace(t.Context(), "acct-team"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if got := mustToken(t, m).AccountID; got != "acct-team" {
			t.Errorf("workspace %q", got)
		}
		if _, err := other.SignOut(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if _, err := m.Token(t.Context()); !errors.Is(err, ErrSignIn) || m.State().Cause != CauseSignedOut {
			t.Errorf("after a sign-out: %v, %+v", err, m.State())
		}
		w.own(100 * time.Hour)
		time.Sleep(15 * time.Second)
		mustToken(t, m)
		if err := os.Remove(w.path()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if _, err := m.Token(t.Context()); !errors.Is(err, ErrSignIn) || m.State().Cause != CauseRemoved {
			t.Errorf("after it was deleted: %v, %+v", err, m.State())
		}
	})
}

func TestSignOutAndSignInAreRefusedBeforeAnythingIsDone(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		tokens := w.backend.SignIn(time.Hour)
		env := w.manager(NewEnvStore(tokens.Access, ""))
		if _, err := env.SignOut(t.Context()); !errors.Is(err, ErrReadOnly) {
			t.Errorf("signing out: %v", err)
		}
		if n := len(w.backend.Requests("/oauth/revoke")); n != 0 || !env.State().Usable {
			t.Errorf("revoked %d times, %+v", n, env.State())
		}
		for _, kind := range []Kind{KindCodex, KindChatGPT} {
			if !errors.Is(env.Accepts(kind), ErrReadOnly) {
				t.Errorf("a %s sign-in would be asked for", kind)
			}
		}
		if err := env.Adopt(t.Context(), FromTokens(tokens.Access, tokens.Refresh, tokens.ID, "")); !errors.Is(err, ErrReadOnly) {
			t.Errorf("adopted: %v", err)
		}
		legacy := w.manager(NewLegacyStore(w.cli()))
		if legacy.Accepts(KindCodex) != nil || legacy.Accepts(KindChatGPT) == nil {
			t.Error("the Codex CLI's file takes its own kind only")
		}
	})
}

func TestSignOutDeletesWhatCantBeReadAndSaysThatItWasNotEnded(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.write(w.path(), []byte(`{"tokens":{"access_tok`))
		store := NewFileStore(w.path())
		m := w.manager(store)
		revoked, err := m.SignOut(t.Context())
		if err != nil || !errors.Is(revoked, ErrCorrupt) {
			t.Errorf("not ended because of %v; %v", revoked, err)
		}
		if _, err := store.Load(t.Context()); !errors.Is(err, ErrSignedOut) || m.State().Cause != CauseSignedOut {
			t.Errorf("afterwards: %v, %+v", err, m.State())
		}
		w.write(w.path(), []byte(`{"auth_mode":"apikey","OPENAI_API_KEY":"sk-x"}`))
		if _, err := w.manager(store).SignOut(t.Context()); err == nil {
			t.Error("another program's API key was deleted")
		}
	})
}

func TestASignInToTheLegacyStoreIsStoredAsTheCLIDoes(t *testing.T) {
	for name, before := range map[string]string{"empty": "", "an API key": `{"auth_mode":"apikey","OPENAI_API_KEY":"sk-x","future":1}`} {
		bubble(t, func(t *testing.T, w *world) {
			os.Mkdir(filepath.Dir(w.cli()), 0o700) //nolint:errcheck // the next line notices
			if before != "" {
				w.write(w.cli(), []byte(before))
			}
			tokens := w.backend.SignIn(100 * time.Hour)
			c := FromTokens(tokens.Access, tokens.Refresh, tokens.ID, "")
			c.LastRefresh = time.Now()
			m := w.manager(NewLegacyStore(w.cli()))
			if err := m.Adopt(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			m.Close()
			raw, _ := os.ReadFile(w.cli())
			if strings.Contains(string(raw), "codex_proxy") || !strings.Contains(string(raw), `"auth_mode": "chatgpt"`) || (before != "" && !strings.Contains(string(raw), "future")) {
				t.Errorf("%s: %s", name, raw)
			}
			if got, err := NewLegacyStore(w.cli()).Load(t.Context()); err != nil || got.RefreshToken != tokens.Refresh || got.AccountID != fakebackend.AccountID {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

func TestCloseWaitsForTheRefreshThatWasSentAndForNothingElse(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		before := w.own(-time.Minute)
		slow := w.slowly(10 * time.Second)
		w.http.set(slow)
		m := w.manager(NewFileStore(w.path()))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		start := time.Now()
		if _, err := m.Token(ctx); !errors.Is(err, context.Canceled) || time.Since(start) != time.Second {
			t.Errorf("the caller got %v after %s", err, time.Since(start))
		}
		if err := m.Close(); err != nil || time.Since(start) != 10*time.Second {
			t.Errorf("closed after %s: %v", time.Since(start), err)
		}
		if w.stored(w.path()).RefreshToken != w.backend.Newest(before) || w.backend.Counts().Refreshes != 1 {
			t.Error("the new token is lost")
		}
		mustToken(t, m) // the answers under way may go on
		if err := m.Refresh(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
	bubble(t, func(t *testing.T, w *world) { // another program has the lock
		w.own(-time.Minute)
		release, err := NewFileStore(w.path()).Lock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		m := w.manager(NewFileStore(w.path()))
		go m.Token(t.Context()) //nolint:errcheck // it waits for the lock
		time.Sleep(time.Second)
		start := time.Now()
		if err := m.Close(); err != nil || time.Since(start) > time.Second {
			t.Errorf("closed after %s: %v", time.Since(start), err)
		}
	})
	bubble(t, func(t *testing.T, w *world) { // the auth server hangs
		w.own(-time.Minute)
		w.backend.RefuseRefresh("hang")
		m := w.manager(NewFileStore(w.path()))
		go m.Token(t.Context()) //nolint:errcheck // it hangs
		time.Sleep(time.Second)
		start := time.Now()
		if m.Close(); time.Since(start) > CloseLimit {
			t.Errorf("closed after %s", time.Since(start))
		}
	})
}

func TestALostAnswerIsNotBlamedOnAnotherProgram(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own(-time.Minute)
		c := w.stored(w.path())
		// An earlier process sent the token and was killed before the answer was stored.
		if _, _, err := w.refresher().Refresh(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		store := NewFileStore(w.path())
		if err := store.Note(t.Context(), Attempt{Token: hash(c.RefreshToken), At: time.Now(), Open: true}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		m := w.manager(store)
		var u *UnavailableError
		if _, err := m.Token(t.Context()); !errors.As(err, &u) || u.Cause != CauseAnswerLost || strings.Contains(u.Problem, "nother program") {
			t.Errorf("got %v", err)
		}
	})
}

func TestWhatIsLeftOfASaveIsNotLostToAClockThatWasSetBack(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "own", "auth.json")
	s := NewFileStore(path)
	old := Credentials{AccessToken: "a1", RefreshToken: "r1", Ownership: Own, LastRefresh: time.Now()}
	newer := Credentials{AccessToken: "a2", RefreshToken: "r2", Ownership: Own, LastRefresh: time.Now().Add(-240 * time.Hour)}
	if err := s.Save(ctx, old); err != nil {
		t.Fatal(err)
	}
	doc, err := encodeAuthFile(newer, nil, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.second(), doc, 0o600); err != nil {
		t.Fatal(err)
	}
	// Nothing is known of it: it stays, whatever is written.
	if got, err := s.Load(ctx); err != nil || got.RefreshToken != "r1" {
		t.Errorf("%v %v", got, err)
	}
	if err := s.Reserve(ctx); err != nil {
		t.Fatal(err)
	}
	if raw, err := os.ReadFile(s.beside("old")); err != nil || string(raw) != string(doc) {
		t.Errorf("it is gone: %v", err)
	}
	// It came for the very token that is there: it is the newer one.
	s = NewFileStore(path)
	if err := os.Rename(s.beside("old"), s.second()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if err := s.Note(ctx, Attempt{Token: hash("r1"), At: time.Now(), Open: true}); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Load(ctx); err != nil || got.RefreshToken != "r2" {
		t.Errorf("%v %v", got, err)
	}
	if err := s.Reserve(ctx); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Load(ctx); err != nil || got.RefreshToken != "r2" {
		t.Errorf("after the next write: %v %v", got, err)
	}
}

// slowStore is one whose reading takes long, as a keychain's may.
type slowStore struct {
	*MemoryStore
	load, lock func() error
}

func (s *slowStore) Load(ctx context.Context) (Credentials, error) {
	if s.load != nil {
		s.load() //nolint:errcheck // it only waits
	}
	return s.MemoryStore.Load(ctx)
}

func (s *slowStore) Lock(ctx context.Context) (func(), error) {
	if s.lock != nil {
		if err := s.lock(); err != nil {
			return nil, err
		}
	}
	return s.MemoryStore.Lock(ctx)
}

// TestNothingIsSentAnyMoreOnceTheProgramEnds: its answer would come after Close has given up.
func TestNothingIsSentAnyMoreOnceTheProgramEnds(t *testing.T) {
	for name, act := range map[string]func(context.Context, *Manager) error{
		"refresh": func(ctx context.Context, m *Manager) error { return m.Refresh(ctx) },
		"transfer": func(ctx context.Context, m *Manager) error {
			return m.Transfer(ctx, func(context.Context, Credentials) error { t.Error("it is given away"); return nil })
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				tokens := w.backend.SignIn(time.Hour)
				store := &slowStore{MemoryStore: &MemoryStore{}}
				if err := store.Save(t.Context(), FromTokens(tokens.Access, tokens.Refresh, tokens.ID, "")); err != nil {
					t.Fatal(err)
				}
				m := w.manager(store)
				store.load = func() error { time.Sleep(20 * time.Second); return nil }
				done := make(chan error, 1)
				go func() { done <- act(t.Context(), m) }()
				time.Sleep(10 * time.Second)
				if err := m.Close(); err != nil {
					t.Error(err)
				}
				if err := <-done; !errors.Is(err, ErrClosed) {
					t.Errorf("%v", err)
				}
				if n := len(w.backend.Requests("/oauth/token")); n != 0 {
					t.Errorf("%d refreshes were sent", n)
				}
			})
		})
	}
}

// TestWhetherASignInCanBeStoredIsAskedWithoutATrace: before the user makes one.
func TestWhetherASignInCanBeStoredIsAskedWithoutATrace(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own(time.Hour)
		store := NewFileStore(w.path())
		m := w.manager(store)
		before, _ := os.ReadFile(w.path())
		if err := m.CanStore(t.Context()); err != nil {
			t.Error(err)
		}
		if files, _ := os.ReadDir(filepath.Dir(w.path())); len(files) != 2 { // the sign-in and the lock
			t.Errorf("left behind: %v", files)
		}
		if after, _ := os.ReadFile(w.path()); !bytes.Equal(after, before) {
			t.Error("what is stored has changed")
		}
		release, err := NewFileStore(w.path()).Lock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := m.CanStore(t.Context()); err != nil {
			t.Errorf("while another program is at work: %v", err)
		}
		release()
		if err := os.Chmod(filepath.Dir(w.path()), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := m.CanStore(t.Context()); !errors.Is(err, ErrUnreadable) {
			t.Errorf("in a folder of everybody's: %v", err)
		}
	})
}

// TestAnImportThatCanNotBeStoredSaysWhatToDo: what the store knows of it.
func TestAnImportThatCanNotBeStoredSaysWhatToDo(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		if err := os.MkdirAll(filepath.Dir(w.path()), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("elsewhere", w.path()); err != nil {
			t.Skip(err)
		}
		c, _ := w.candidate(time.Hour)
		err := w.manager(NewFileStore(w.path())).Import(t.Context(), c)
		if !errors.Is(err, ErrReadOnly) || !strings.Contains(err.Error(), "Put the file itself there") {
			t.Error(err)
		}
	})
}

// TestASignInThatCanNotBeLockedIsUsedAllTheSame: it was made just now, and can't be made again by itself.
func TestASignInThatCanNotBeLockedIsUsedAllTheSame(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		store := &slowStore{MemoryStore: &MemoryStore{}}
		m := w.manager(store)
		store.lock = func() error { return &StoreError{Kind: ErrNotWritten, Where: "here"} }
		tokens := w.backend.SignIn(time.Hour)
		if err := m.Adopt(t.Context(), FromTokens(tokens.Access, tokens.Refresh, tokens.ID, "")); !errors.Is(err, ErrNotWritten) {
			t.Errorf("%v", err)
		}
		if token := mustToken(t, m); token.Access != tokens.Access {
			t.Error("the sign-in is lost")
		}
	})
}

// TestADueRefreshWaitsUntilTheSignInIsRead: a Worker that an alarm wakes has nothing else to keep it alive.
func TestADueRefreshWaitsUntilTheSignInIsRead(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		tokens := w.backend.SignIn(5 * time.Minute)
		store := &slowStore{MemoryStore: &MemoryStore{}}
		if err := store.Save(t.Context(), FromTokens(tokens.Access, tokens.Refresh, tokens.ID, "")); err != nil {
			t.Fatal(err)
		}
		store.load = func() error { time.Sleep(time.Second); return nil }
		m := NewManager(Config{Store: store, Refresher: w.refresher()})
		defer m.Close()
		go func() {
			m.Open(t.Context()) //nolint:errcheck // seen below
			m.Ready()
		}()
		m.RefreshIfDue(t.Context())
		if n := len(w.backend.Requests("/oauth/token")); n != 1 {
			t.Errorf("%d refreshes", n)
		}
	})
}

// TestAlarmsAtTheDueTimesKeepASignInFresh: a Worker has no Run, only Due and RefreshIfDue.
func TestAlarmsAtTheDueTimesKeepASignInFresh(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own(100 * time.Hour)
		m := w.manager(NewFileStore(w.path()))
		refreshes := func() int { return len(w.backend.Requests("/oauth/token")) }
		alarm := func() (waited time.Duration) {
			t.Helper()
			due := m.Due()
			if due.IsZero() {
				t.Fatal("it is never due")
			}
			waited = max(time.Until(due), 0)
			time.Sleep(waited + time.Second)
			m.RefreshIfDue(t.Context())
			return waited
		}
		if waited := alarm(); waited != 99*time.Hour || refreshes() != 1 {
			t.Errorf("after %s there are %d refreshes", waited, refreshes())
		}
		w.backend.RefuseRefresh("500")
		alarm()
		if waited := alarm(); waited < time.Second || refreshes() != 3 {
			t.Errorf("a failed one is tried again after %s, %d refreshes", waited, refreshes())
		}
		w.backend.RefuseRefresh("invalid_grant")
		alarm()
		if due := m.Due(); !due.IsZero() {
			t.Errorf("a sign-in that has ended is due at %s", due)
		}
	})
}

// TestAnAccessTokenAloneIsTaken: the Codex CLI's file may hold no refresh token.
func TestAnAccessTokenAloneIsTaken(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		tokens := w.backend.SignIn(time.Hour)
		found := FromTokens(tokens.Access, "", tokens.ID, "")
		found.ImportedFrom = "the Codex CLI"
		m := w.manager(&MemoryStore{}, func(c *Config) {
			c.Source = func(context.Context) (Credentials, error) { return found, nil }
		})
		if token := mustToken(t, m); token.Access != tokens.Access {
			t.Error("it is not used")
		}
		if n := len(w.backend.Requests("/oauth/token")); n != 0 {
			t.Errorf("%d refreshes were sent with nothing", n)
		}
	})
}

// TestARefreshWithoutARefreshTokenChangesNothing: the access token is as good as before.
func TestARefreshWithoutARefreshTokenChangesNothing(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		tokens := w.backend.SignIn(time.Hour)
		file := NewFileStore(w.path())
		if err := file.Save(t.Context(), FromTokens(tokens.Access, "", tokens.ID, "")); err != nil {
			t.Fatal(err)
		}
		for name, store := range map[string]Store{"environment": NewEnvStore(tokens.Access, ""), "file": file} {
			m := w.manager(store)
			before := m.State()
			var no *NoRefreshTokenError
			if err := m.Refresh(t.Context()); !errors.As(err, &no) || !strings.Contains(err.Error(), "good until 2000-01-01 ") {
				t.Errorf("%s: %v", name, err)
			}
			if m.State() != before || !before.Usable {
				t.Errorf("%s: %+v, before %+v", name, m.State(), before)
			}
			mustToken(t, m)
		}
		refused := w.manager(NewEnvStore(tokens.Access, ""))
		refused.Rejected(t.Context(), mustToken(t, refused)) //nolint:errcheck // it is in the state
		if err := refused.Refresh(t.Context()); !errors.Is(err, ErrSignIn) || refused.State().Cause != CauseEnvironment {
			t.Errorf("when the backend has refused it: %v, %+v", err, refused.State())
		}
		time.Sleep(2 * time.Hour)
		m := w.manager(file)
		if err := m.Refresh(t.Context()); !errors.Is(err, ErrSignIn) || m.State().Cause != CauseNoRefreshToken {
			t.Errorf("when the access token has ended: %v, %+v", err, m.State())
		}
	})
}

// fullStore is one on a disk that is full.
type fullStore struct {
	*MemoryStore
	roomy atomic.Bool
}

func (s *fullStore) Reserve(ctx context.Context) error {
	if !s.roomy.Load() {
		return &StoreError{Kind: ErrNotWritten, Where: "disk", Cause: syscall.ENOSPC, Hint: "Make room on it"}
	}
	return s.MemoryStore.Reserve(ctx)
}

// TestAnImportThatCantBeStoredSaysWhy, once, and is made up for when there is room.
func TestAnImportThatCantBeStoredSaysWhy(t *testing.T) {
	for name, life := range map[string]time.Duration{"good": time.Hour, "ended": -time.Hour, "without a refresh token": time.Hour} {
		bubble(t, func(t *testing.T, w *world) {
			tokens := w.backend.SignIn(life)
			found := FromTokens(tokens.Access, tokens.Refresh, tokens.ID, "")
			if name == "without a refresh token" {
				found = FromTokens(tokens.Access, "", tokens.ID, "")
			}
			found.ImportedFrom = "the Codex CLI's file"
			store := &fullStore{MemoryStore: &MemoryStore{}}
			m := w.manager(store, func(c *Config) {
				c.Source = func(context.Context) (Credentials, error) { return found, nil }
			})
			defer run(t, m)()
			why := func(when string) {
				t.Helper()
				_, err := m.Token(t.Context())
				if s := m.State(); errors.Is(err, ErrSignIn) || s.Cause != CauseStoreNotWritable || !strings.Contains(s.Sentence(), "Make room on it") {
					t.Errorf("%s, %s: %v, %q", name, when, err, s.Sentence())
				}
			}
			if err := m.Import(t.Context(), found); err == nil {
				t.Errorf("%s: imported", name)
			}
			why("after the import")
			time.Sleep(time.Minute)
			why("a minute later")
			if told := w.told(); strings.Count(told, "Refreshing it") > 0 || strings.Count(told, "Writing it") > 0 || strings.Count(told, "can't be stored") > 1 || w.backend.Counts().Refreshes > 0 {
				t.Errorf("%s: %d refreshes, and it is said:\n%s", name, w.backend.Counts().Refreshes, told)
			}
			store.roomy.Store(true)
			time.Sleep(time.Minute)
			if s := m.State(); !s.Usable || s.Cause != CauseNone || s.Ownership != Own && found.RefreshToken != "" {
				t.Errorf("%s, with room: %+v", name, s)
			}
		})
	}
}
