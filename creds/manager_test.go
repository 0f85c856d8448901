package creds

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"codex-proxy/internal/fakebackend"
)

// world is an auth server and a folder. In a bubble of testing/synctest its clock is the bubble's; no socket is used.
type world struct {
	t       *testing.T
	backend *fakebackend.Backend
	http    *direct
	dir     string
	mu      sync.Mutex
	steps   []string
}

// direct carries requests to a handler without a network.
type direct struct {
	mu      sync.Mutex
	handler http.Handler
}

func (d *direct) set(h http.Handler) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.handler = h
}

// Do sends a request.
func (d *direct) Do(r *http.Request) (*http.Response, error) {
	d.mu.Lock()
	handler := d.handler
	d.mu.Unlock()
	r.RequestURI = r.URL.RequestURI()
	w := httptest.NewRecorder()
	w.Header().Set("Date", time.Now().UTC().Format(http.TimeFormat))
	done := make(chan error, 1)
	go func() {
		defer func() {
			if crash := recover(); crash == http.ErrAbortHandler {
				done <- io.ErrUnexpectedEOF
			} else if crash != nil {
				panic(crash)
			}
		}()
		handler.ServeHTTP(w, r)
		done <- r.Context().Err()
	}()
	select {
	case err := <-done:
		if err != nil {
			return nil, err
		}
		return w.Result(), nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

const authURL = "http://auth.test"

func newWorld(t *testing.T) *world {
	b := fakebackend.New()
	return &world{t: t, backend: b, http: &direct{handler: b}, dir: t.TempDir()}
}

// bubble runs a test whose time is its own.
func bubble(t *testing.T, test func(*testing.T, *world)) {
	dir := t.TempDir() // outside: its removal must not wait for the bubble
	synctest.Test(t, func(t *testing.T) {
		b := fakebackend.New()
		test(t, &world{t: t, backend: b, http: &direct{handler: b}, dir: dir})
	})
}

func (w *world) told() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.steps, "\n")
}

func (w *world) refresher() *Refresher {
	return &Refresher{HTTP: w.http, AuthURL: authURL, UserAgent: "test"}
}

// path is the own file's.
func (w *world) path() string { return filepath.Join(w.dir, "own", "auth.json") }

// cli is the Codex CLI's file.
func (w *world) cli() string { return filepath.Join(w.dir, "codex", "auth.json") }

func (w *world) write(path string, raw []byte) {
	w.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) manager(store Store, set ...func(*Config)) *Manager {
	cfg := Config{
		Store:     store,
		Refresher: w.refresher(),
		TakeOver:  true, Advice: func(c Cause) string { return "advice about " + string(c) },
		Tell: func(s Step) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.steps = append(w.steps, s.String())
		},
	}
	for _, f := range set {
		f(&cfg)
	}
	m := NewManager(cfg)
	w.t.Cleanup(func() { m.Close() })
	m.Open(w.t.Context()) //nolint:errcheck // tests look at the state
	m.Ready()
	return m
}

// own stores a sign-in of our own whose access token lives for life.
func (w *world) own(life time.Duration) fakebackend.Tokens {
	t := w.backend.SignIn(life)
	c := FromTokens(t.Access, t.Refresh, t.ID, "")
	c.LastRefresh = time.Now().Add(-time.Hour)
	if err := NewFileStore(w.path()).Save(w.t.Context(), c); err != nil {
		w.t.Fatal(err)
	}
	return t
}

func (w *world) stored(path string) Credentials {
	w.t.Helper()
	c, err := NewFileStore(path).Load(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func mustToken(t *testing.T, m *Manager) Token {
	t.Helper()
	token, err := m.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func run(t *testing.T, m *Manager) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); m.Run(ctx) }()
	return func() { cancel(); <-done }
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatal("this did not happen: ", what)
}

func TestATokenThatLivesLongIsLeftAlone(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own(2 * time.Hour)
		m := w.manager(NewFileStore(w.path()))
		defer run(t, m)()
		mustToken(t, m)
		time.Sleep(50 * time.Millisecond)
		if n := w.backend.Counts().Refreshes; n != 0 || m.State().Status != StatusSignedIn {
			t.Errorf("%d refreshes, state %s", n, m.State().Status)
		}
	})
}

func TestATokenIsRefreshedAnHourAhead(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		before := w.own(59 * time.Minute)
		m := w.manager(NewFileStore(w.path()))
		if s := m.State(); s.Status != StatusExpiring || !s.Usable {
			t.Errorf("state before: %+v", s)
		}
		defer run(t, m)()
		eventually(t, "it is refreshed", func() bool { return w.backend.Counts().Refreshes == 1 && m.State().Status == StatusSignedIn })
		if got := w.stored(w.path()); got.RefreshToken != w.backend.Newest(before) || got.Ownership != Own {
			t.Errorf("stored: %v", got)
		}
	})
}

func TestSleepAndWakeRefresh(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own(100 * time.Hour)
		m := w.manager(NewFileStore(w.path()))
		defer run(t, m)()
		time.Sleep(20 * time.Millisecond)
		time.Sleep(101 * time.Hour) // the lid was closed
		mustToken(t, m)
		if w.backend.Counts().Refreshes != 1 {
			t.Error("the token had ended, and was not refreshed")
		}
	})
}

// TestASignInThatCantBeReadIsToldOnce: it is looked at every few seconds, and by each request.
func TestASignInThatCantBeReadIsToldOnce(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.write(w.path(), []byte("damaged"))
		m := w.manager(NewFileStore(w.path()))
		stop := run(t, m)
		for range 10 {
			if _, err := m.Token(t.Context()); !errors.Is(err, ErrCorrupt) {
				t.Error(err)
			}
			time.Sleep(time.Minute)
		}
		stop()
		if told := w.told(); strings.Count(told, "damaged") > 1 {
			t.Errorf("it is told again and again:\n%s", told)
		}
		w.own(time.Hour)
		defer run(t, m)()
		eventually(t, "it is there again", func() bool { return m.State().Usable })
	})
}

func TestManyCallersShareOneRefresh(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own(-time.Minute)
		m := w.manager(NewFileStore(w.path()))
		var wait sync.WaitGroup
		for range 100 {
			wait.Go(func() { mustToken(t, m) })
		}
		wait.Wait()
		if c := w.backend.Counts(); c.Refreshes != 1 || c.Reused != 0 {
			t.Errorf("%+v", c)
		}
	})
}

func TestTwoProcessesShareOneRefresh(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own(-time.Minute)
		var wait sync.WaitGroup
		for range 8 {
			m := w.manager(NewFileStore(w.path())) // a lock of its own, as another process has
			wait.Go(func() { mustToken(t, m) })
		}
		wait.Wait()
		if c := w.backend.Counts(); c.Refreshes != 1 || c.Reused != 0 {
			t.Errorf("%+v", c)
		}
	})
}

func TestACallerThatLeavesDoesNotEndTheRefresh(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		before := w.own(-time.Minute)
		m := w.manager(NewFileStore(w.path()))
		ctx, cancel := context.WithCancel(t.Context())
		w.http.set(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			cancel()
			time.Sleep(50 * time.Millisecond)
			w.backend.ServeHTTP(rw, r)
		}))
		if _, err := m.Token(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		eventually(t, "the refresh ends and is stored", func() bool {
			c, err := NewFileStore(w.path()).Load(t.Context())
			return err == nil && c.RefreshToken == w.backend.Newest(before) && c.RefreshToken != before.Refresh
		})
		m.Close()
	})
}

func TestRefusalsArePermanentOrPass(t *testing.T) {
	for answer, permanent := range map[string]bool{
		"refresh_token_expired": true, "refresh_token_reused": true, "refresh_token_invalidated": true, "invalid_grant": true,
		"app_session_expired": true, "a_word_that_we_do_not_know": true, // with 401
		"500": false, "429": false, "drop": false, "temporarily_unavailable": false,
	} {
		t.Run(answer, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.own(30 * time.Minute)
				w.backend.RefuseRefresh(answer)
				m := w.manager(NewFileStore(w.path()))
				if m.Refresh(t.Context()) == nil {
					t.Fatal("no error")
				}
				s := m.State()
				want := StatusRefreshFailing
				if permanent {
					want = StatusSignInAgain
				}
				if s.Status != want || s.Problem == "" || s.FailingSince.IsZero() || s.NextAttempt.IsZero() != permanent {
					t.Errorf("state: %+v", s)
				}
				if !s.Usable {
					t.Error("the token lives and can't be used")
				}
				mustToken(t, m)
				time.Sleep(time.Hour)
				if permanent {
					if _, err := m.Token(t.Context()); !errors.Is(err, ErrSignIn) {
						t.Errorf("after its end: %v", err)
					}
					if n := len(w.backend.Requests("/oauth/token")); n != 1 {
						t.Errorf("a refused token was sent %d times", n)
					}
				} else {
					mustToken(t, m)
					if s := m.State(); s.Status != StatusSignedIn || s.Problem != "" {
						t.Errorf("state at the end: %+v", s)
					}
				}
			})
		})
	}
}

// TestAFailedRefreshIsTriedAgainByItself: also one that was not due, since that is what is told.
func TestAFailedRefreshIsTriedAgainByItself(t *testing.T) {
	for name, refresh := range map[string]func(context.Context, *Manager) error{
		"a person wanted it": func(ctx context.Context, m *Manager) error { return m.Refresh(ctx) },
		"the backend refused the token": func(ctx context.Context, m *Manager) error {
			_, err := m.Rejected(ctx, token(m.now.Load().sign))
			return err
		},
		"the backend refused the token twice": func(ctx context.Context, m *Manager) error {
			for range 2 { // the second time comes too soon for another refresh
				if _, err := m.Rejected(ctx, token(m.now.Load().sign)); err == nil || m.State().Status == StatusSignInAgain {
					return nil
				}
			}
			return errLeft
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.own(200 * time.Hour)
				m := w.manager(NewFileStore(w.path()))
				defer run(t, m)()
				w.backend.RefuseRefresh("500", "drop")
				if refresh(t.Context(), m) == nil {
					t.Fatal("no error")
				}
				w.isTriedAgain(t, m)
			})
		})
	}
}

// isTriedAgain waits until a refresh that failed is tried again, and well.
func (w *world) isTriedAgain(t *testing.T, m *Manager) {
	t.Helper()
	time.Sleep(5 * time.Minute)
	if s := m.State(); s.Status != StatusSignedIn || !s.Usable || w.backend.Counts().Refreshes != 1 {
		t.Errorf("%d refreshes, %+v", w.backend.Counts().Refreshes, s)
	}
}

// TestARefusedTokenIsRefreshedOnceItMayBe: the answer to the refresh of an earlier process was lost a moment ago.
func TestARefusedTokenIsRefreshedOnceItMayBe(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own(200 * time.Hour)
		before := w.manager(NewFileStore(w.path()))
		w.backend.RefuseRefresh("drop")
		before.Refresh(t.Context()) //nolint:errcheck // it fails
		before.Close()
		m := w.manager(NewFileStore(w.path()))
		defer run(t, m)()
		if _, err := m.Rejected(t.Context(), mustToken(t, m)); err == nil || m.State().Status == StatusSignInAgain {
			t.Errorf("%v, %+v", err, m.State())
		}
		w.isTriedAgain(t, m)
	})
}

// TestASignInThatIsRefusedFreshIsStillRefreshedWhenItsTimeComes: also when the refresh before had failed.
func TestASignInThatIsRefusedFreshIsStillRefreshedWhenItsTimeComes(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own(200 * time.Hour)
		m := w.manager(NewFileStore(w.path()))
		fresh, err := m.Rejected(t.Context(), mustToken(t, m))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		w.backend.RefuseRefresh("500")
		m.Refresh(t.Context())         //nolint:errcheck // it fails
		m.Rejected(t.Context(), fresh) //nolint:errcheck // it is in the state
		if s := m.State(); s.Cause != CauseRejected || m.Due().IsZero() {
			t.Errorf("due %s, %+v", m.Due(), s)
		}
	})
}

func TestAFailingRefreshBacksOff(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own(-time.Minute)
		w.backend.RefuseRefresh("500", "500", "500")
		m := w.manager(NewFileStore(w.path()))
		for range 20 {
			var u *UnavailableError
			if _, err := m.Token(t.Context()); !errors.As(err, &u) || u.RetryAfter <= 0 {
				t.Fatalf("got %v", err)
			}
		}
		if n := len(w.backend.Requests("/oauth/token")); n != 1 {
			t.Errorf("%d calls in a row", n)
		}
	})
}

func TestWhatAnotherProgramStoredWins(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own(30 * time.Minute)
		m := w.manager(NewFileStore(w.path()))
		newer := w.own(5 * time.Hour)
		defer run(t, m)()
		eventually(t, "the newer one is in use", func() bool { return mustToken(t, m).Access == newer.Access })
		if w.backend.Counts().Refreshes != 0 {
			t.Error("it was refreshed all the same")
		}
	})
}

func TestLegacyStoreLivesBesideTheCLI(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		first := w.backend.SignIn(30 * time.Minute)
		doc := strings.Replace(string(first.AuthJSON()), `"OPENAI_API_KEY": null`, `"OPENAI_API_KEY": null, "future": {"a": [1, 2]}`, 1)
		w.write(w.cli(), []byte(doc))
		m := w.manager(NewLegacyStore(w.cli()))
		if err := m.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		raw, _ := os.ReadFile(w.cli())
		for _, kept := range []string{`"future": {`, `"login_owner_id": "owner-demo"`, `"auth_mode": "chatgpt"`, "\n  \"tokens\": {\n    \""} {
			if !strings.Contains(string(raw), kept) {
				t.Errorf("lost: %s in\n%s", kept, raw)
			}
		}
		if strings.Contains(string(raw), "codex_proxy") || m.State().Ownership != Shared {
			t.Errorf("the CLI's file has our own fields, or its sign-in counts as ours: %s", raw)
		}
		// The CLI refreshes; we find out by the 401 and take its tokens.
		c := w.stored(w.cli())
		cli, _, err := w.refresher().Refresh(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		doc = strings.NewReplacer(c.AccessToken, cli.AccessToken, c.RefreshToken, cli.RefreshToken).Replace(string(raw))
		w.write(w.cli(), []byte(doc))
		token, err := m.Rejected(t.Context(), mustToken(t, m))
		if err != nil || token.Access != cli.AccessToken || w.backend.Counts().Reused != 0 {
			t.Errorf("%v, reused %d", err, w.backend.Counts().Reused)
		}
		// The CLI signs out: nothing is written there any more.
		os.Remove(w.cli())
		if m.Refresh(t.Context()) == nil {
			t.Error("a sign-in that was taken away was refreshed")
		}
		if _, err := os.Stat(w.cli()); err == nil {
			t.Error("the CLI's file came back")
		}
	})
}

// imported returns a manager whose sign-in was imported from the CLI's file.
func imported(w *world, life time.Duration, takeOver bool) (*Manager, fakebackend.Tokens) {
	tokens := w.backend.SignIn(life)
	w.write(w.cli(), tokens.AuthJSON())
	importer := &Importer{CodexHome: filepath.Dir(w.cli()), Tell: func(Step) {}}
	m := w.manager(NewFileStore(w.path()), func(c *Config) { c.Source, c.TakeOver = importer.FromFile, takeOver })
	c, err := importer.Import(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	c.TakeOver = takeOver
	if err := m.Adopt(w.t.Context(), c); err != nil {
		w.t.Fatal(err)
	}
	return m, tokens
}

func TestAnImportBecomesOurOwnByARefresh(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		m, tokens := imported(w, 100*time.Hour, true)
		if s := m.State(); s.Ownership != Shared || s.ImportedFrom != w.cli() {
			t.Errorf("state: %+v", s)
		}
		defer run(t, m)()
		eventually(t, "it is taken over", func() bool { return m.State().Ownership == Own })
		if w.stored(w.path()).RefreshToken != w.backend.Newest(tokens) {
			t.Error("not stored")
		}
		if !strings.Contains(w.told(), "--disable-migrate-refresh") {
			t.Errorf("told: %s", w.told())
		}
	})
}

func TestABorrowedSignInIsLeftToTheCLI(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		m, tokens := imported(w, 30*time.Minute, false)
		defer run(t, m)()
		time.Sleep(50 * time.Millisecond)
		if w.backend.Counts().Refreshes != 0 {
			t.Fatal("the CLI's refresh token was spent")
		}
		// The CLI refreshes 5 minutes ahead. We take what it stored.
		c := w.stored(w.cli())
		if c.RefreshToken != tokens.Refresh {
			t.Fatal("the import changed the file")
		}
		cli, _, err := w.refresher().Refresh(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if err := NewLegacyStore(w.cli()).Save(t.Context(), cli); err != nil {
			t.Fatal(err)
		}
		time.Sleep(29*time.Minute + 30*time.Second)
		m.nudge()
		eventually(t, "the CLI's new token is in use", func() bool { return mustToken(t, m).Access == cli.AccessToken })
		if c := w.backend.Counts(); c.Refreshes != 1 || c.Reused != 0 {
			t.Errorf("%+v", c)
		}
	})
}

func TestAReusedTokenIsMendedFromTheSource(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		m, _ := imported(w, 100*time.Hour, true)
		// Between our import and our refresh the CLI refreshed.
		c := w.stored(w.cli())
		cli, _, err := w.refresher().Refresh(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		m.cfg.Source = func(context.Context) (Credentials, error) { // the CLI's write comes after our first look
			if w.backend.Counts().Reused == 0 && len(w.backend.Requests("/oauth/token")) < 2 {
				return c, nil
			}
			cli.ImportedFrom, cli.Ownership = w.cli(), Shared
			return cli, nil
		}
		if err := m.Refresh(t.Context()); err != nil {
			t.Fatalf("%v, told %s", err, w.told())
		}
		if mustToken(t, m).Access != cli.AccessToken {
			t.Error("the CLI's newer sign-in is not in use")
		}
	})
}

func TestALoginWithTheCLIIsNoticed(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own(time.Minute)
		w.backend.RefuseRefresh("refresh_token_invalidated")
		importer := &Importer{CodexHome: filepath.Dir(w.cli()), Tell: func(Step) {}}
		m := w.manager(NewFileStore(w.path()), func(c *Config) { c.Source = importer.FromFile })
		m.Refresh(t.Context()) //nolint:errcheck // it is refused
		if m.State().Status != StatusSignInAgain {
			t.Fatalf("state: %+v", m.State())
		}
		fresh := w.backend.SignIn(100 * time.Hour)
		w.write(w.cli(), fresh.AuthJSON())
		defer run(t, m)()
		m.nudge()
		eventually(t, "the new sign-in is in use", func() bool { m.nudge(); return m.State().Status == StatusSignedIn })
		mustToken(t, m)
	})
}

func TestNothingIsSpentThatCantBeStored(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		if os.Getuid() == 0 {
			t.Log("root may write anywhere: a file stands where the folder should be")
		}
		w.own(30 * time.Minute)
		m := w.manager(NewFileStore(w.path()))
		// The folder vanishes, and something else is in its place.
		if err := os.Rename(filepath.Dir(w.path()), filepath.Join(w.dir, "away")); err != nil {
			t.Fatal(err)
		}
		w.write(filepath.Dir(w.path()), []byte("not a folder"))
		if m.Refresh(t.Context()) == nil {
			t.Fatal("no error")
		}
		if n := len(w.backend.Requests("/oauth/token")); n != 0 {
			t.Fatalf("the refresh token was spent %d times", n)
		}
		if s := m.State(); s.Status != StatusRefreshFailing || !s.Usable || !strings.Contains(s.Problem, "can't be stored") {
			t.Errorf("state: %+v", s)
		}
		mustToken(t, m)
		// It comes back.
		os.Remove(filepath.Dir(w.path()))
		if err := m.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s := m.State(); s.Status != StatusSignedIn || s.Problem != "" {
			t.Errorf("state: %+v", s)
		}
		w.stored(w.path())
	})
}

// failingStore can't save for a while.
type failingStore struct {
	*MemoryStore
	fail bool
}

func (s *failingStore) Save(ctx context.Context, c Credentials) error {
	if s.fail {
		return errors.New("disk full")
	}
	return s.MemoryStore.Save(ctx, c)
}

func TestATokenThatCouldNotBeStoredIsKeptAndStoredLater(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		first := w.backend.SignIn(30 * time.Minute)
		c := FromTokens(first.Access, first.Refresh, first.ID, "")
		c.LastRefresh = time.Now().Add(-time.Hour)
		store := &failingStore{MemoryStore: NewMemoryStore(c), fail: true}
		m := w.manager(store)
		if m.Refresh(t.Context()) == nil {
			t.Fatal("no error")
		}
		if mustToken(t, m).Access == first.Access || m.State().Status != StatusRefreshFailing {
			t.Errorf("state: %+v", m.State())
		}
		store.fail = false
		time.Sleep(10 * time.Minute)
		defer run(t, m)()
		m.nudge()
		eventually(t, "it is stored", func() bool {
			c, _ := store.Load(t.Context())
			return c.RefreshToken == w.backend.Newest(first)
		})
		eventually(t, "the state is well", func() bool { return m.State().Status == StatusSignedIn })
		if w.backend.Counts().Refreshes != 1 {
			t.Error("it was refreshed again")
		}
	})
}

func TestEnvironmentStoreNeverRefreshes(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		tokens := w.backend.SignIn(30 * time.Minute)
		m := w.manager(NewEnvStore(tokens.Access, ""))
		defer run(t, m)()
		if got := mustToken(t, m); got.AccountID != fakebackend.AccountID {
			t.Errorf("account %q", got.AccountID)
		}
		if _, err := m.Rejected(t.Context(), mustToken(t, m)); err == nil || !strings.Contains(err.Error(), "ACCESS_TOKEN") {
			t.Errorf("got %v", err)
		}
		if m.State().Usable || len(w.backend.Requests("/oauth/token")) != 0 {
			t.Errorf("state: %+v", m.State())
		}
	})
}

func TestSubscribersSeeTheNewestState(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own(30 * time.Minute)
		m := w.manager(NewFileStore(w.path()))
		states, cancel := m.Subscribe()
		defer cancel()
		if s := <-states; s.Status != StatusExpiring {
			t.Errorf("first: %s", s.Status)
		}
		if err := m.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s := <-states; s.Status != StatusSignedIn {
			t.Errorf("last: %s", s.Status)
		}
	})
}

// TestTheEndOfTheProgramStoresWhatCouldNotBeStored: the disk has room again, and the next try was minutes away.
func TestTheEndOfTheProgramStoresWhatCouldNotBeStored(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		before := w.own(30 * time.Minute)
		store := &failingStore{MemoryStore: NewMemoryStore(w.stored(w.path())), fail: true}
		m := w.manager(store)
		m.Refresh(t.Context()) //nolint:errcheck // it is in the state
		if m.State().Cause != CauseStoreNotWritable {
			t.Fatalf("%+v", m.State())
		}
		store.fail = false
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		if c, err := store.Load(t.Context()); err != nil || c.RefreshToken != w.backend.Newest(before) {
			t.Errorf("the newest refresh token is lost: %v", err)
		}
	})
}

func TestATokenThatLivesShortIsNotRefreshedWithoutEnd(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.backend.AccessLife = 20 * time.Minute
		w.own(5 * time.Minute)
		m := w.manager(NewFileStore(w.path()))
		defer run(t, m)()
		eventually(t, "one refresh", func() bool { return w.backend.Counts().Refreshes == 1 })
		for range 5 {
			m.nudge()
			time.Sleep(10 * time.Millisecond)
		}
		if n := w.backend.Counts().Refreshes; n != 1 {
			t.Errorf("%d refreshes", n)
		}
	})
}

func TestUnreachableAuthServerIsTransient(t *testing.T) {
	w := newWorld(t)
	w.own(30 * time.Minute)
	m := w.manager(NewFileStore(w.path()), func(c *Config) {
		c.Refresher = &Refresher{HTTP: &http.Client{}, AuthURL: "http://127.0.0.1:1"}
	})
	var re *RefreshError
	if err := m.Refresh(t.Context()); !errors.As(err, &re) || re.Permanent || re.Unanswered {
		t.Errorf("%+v", re)
	}
	if s := m.State(); s.Status != StatusRefreshFailing || !strings.Contains(s.Problem, "not reached") {
		t.Errorf("%+v", s)
	}
}

// TestWhatIsInTheWayOfTheAuthServerGetsNoToken: the page of a hotel's network, or a proxy that is away or refuses.
func TestWhatIsInTheWayOfTheAuthServerGetsNoToken(t *testing.T) {
	inTheWay := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) }))
	defer inTheWay.Close()
	for name, test := range map[string]struct{ auth, proxy string }{
		"a page for signing in":  {strings.Replace(inTheWay.URL, "http:", "https:", 1), ""},
		"a proxy that refuses":   {"https://auth.test", inTheWay.URL},
		"a proxy that is away":   {"https://auth.test", "http://127.0.0.1:1"},
		"a proxy without a name": {"https://auth.test", "http://proxy.invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.own(30 * time.Minute)
			transport := &http.Transport{Proxy: func(*http.Request) (*url.URL, error) {
				if test.proxy == "" {
					return nil, nil //nolint:nilnil // net/http has it so
				}
				return url.Parse(test.proxy)
			}}
			defer transport.CloseIdleConnections()
			m := w.manager(NewFileStore(w.path()), func(c *Config) {
				c.Refresher = &Refresher{HTTP: &http.Client{Transport: transport}, AuthURL: test.auth}
			})
			var re *RefreshError
			if err := m.Refresh(t.Context()); !errors.As(err, &re) || re.Permanent || re.Unanswered {
				t.Errorf("%+v", re)
			}
			if s := m.State(); !strings.Contains(s.Problem, "not reached") {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestAnAnswerOfTheBackendDoesNotWaitForASlowRefresh: it has come, and the note that its token works can wait.
func TestAnAnswerOfTheBackendDoesNotWaitForASlowRefresh(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own(200 * time.Hour)
		m := w.manager(NewFileStore(w.path()))
		defer run(t, m)()
		w.backend.RefuseRefresh("500")
		refused := mustToken(t, m)
		m.Rejected(t.Context(), refused) //nolint:errcheck // it fails
		w.http.set(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			time.Sleep(95 * time.Second)
			w.backend.ServeHTTP(rw, r)
		}))
		time.Sleep(10 * time.Second) // it is tried again meanwhile
		began := time.Now()
		if m.Accepted(refused); time.Since(began) > time.Second {
			t.Errorf("it waited for %s", time.Since(began))
		}
		time.Sleep(2 * time.Minute) // the server is done
	})
}

// TestASlowAnswerIsWaitedFor: the token is spent by then, so that to give up is to lose the sign-in.
func TestASlowAnswerIsWaitedFor(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		before := w.own(30 * time.Minute)
		w.http.set(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			w.backend.ServeHTTP(rw, r)
			time.Sleep(95 * time.Second) // Cloudflare, before the auth server, gives up after 100
		}))
		m := w.manager(NewFileStore(w.path()))
		if err := m.Refresh(t.Context()); err != nil || w.stored(w.path()).RefreshToken != w.backend.Newest(before) {
			t.Errorf("the sign-in is lost: %v", err)
		}
	})
}

// refuser is a network on which nothing is reached, until it has a next.
type refuser struct {
	calls int
	next  Doer
}

func (r *refuser) Do(req *http.Request) (*http.Response, error) {
	if r.next != nil {
		return r.next.Do(req)
	}
	r.calls++
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
}

// slowly is the auth server with this much time before each answer.
func (w *world) slowly(d time.Duration) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		time.Sleep(d)
		w.backend.ServeHTTP(rw, r)
	})
}
