package creds

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestWhateverRefreshTokenCameIsKept plays every odd answer of the auth server.
func TestWhateverRefreshTokenCameIsKept(t *testing.T) {
	access := fakeJWT(fmt.Sprintf(`{"exp":%d}`, time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC).Unix()))
	for name, test := range map[string]struct {
		body         string
		kept, usable bool
	}{
		"expires_in is text":        {`{"access_token":"` + access + `","refresh_token":"rt_new","expires_in":"3600"}`, true, true},
		"expires_in has a fraction": {`{"access_token":"` + access + `","refresh_token":"rt_new","expires_in":1.5}`, true, true},
		"expires_in is nonsense":    {`{"access_token":"` + access + `","refresh_token":"rt_new","expires_in":[1e400]}`, true, true},
		"id_token is a number":      {`{"access_token":"` + access + `","refresh_token":"rt_new","id_token":5}`, true, true},
		"id_token is null":          {`{"access_token":"` + access + `","refresh_token":"rt_new","id_token":null}`, true, true},
		"access_token is a number":  {`{"access_token":5,"refresh_token":"rt_new"}`, true, false},
		"only a refresh token":      {`{"refresh_token":"rt_new"}`, true, false},
		"cut off":                   {`{"refresh_token":"rt_new","access_token":"eyJ`, true, false},
		"only an access token":      {`{"access_token":"` + access + `"}`, false, true},
		"nothing":                   {`{}`, false, false},
		"HTML":                      {`<html><body>hello</body></html>`, false, false},
		"a line break in a token":   {`{"access_token":"a\nb","refresh_token":"rt_new"}`, true, false},
		"not an object":             {`["rt_new"]`, false, false},
		"huge":                      {`{"refresh_token":"rt_new","access_token":"` + access + `","x":"` + strings.Repeat("x", 2<<20) + `"}`, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				before := w.own(-time.Minute)
				w.http.set(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.Write([]byte(test.body)) })) //nolint:errcheck // a recorder
				m := w.manager(NewFileStore(w.path()))
				_, err := m.Token(t.Context())
				want := before.Refresh
				if test.kept {
					want = "rt_new"
				}
				if got := w.stored(w.path()).RefreshToken; got != want {
					t.Errorf("kept %q", got)
				}
				if (err == nil) != test.usable || m.State().Usable != test.usable || (err != nil && m.State().Problem == "") {
					t.Errorf("%v, %+v", err, m.State())
				}
			})
		})
	}
}

// TestAnAnswerThatIsCutOffBeforeItsRefreshTokenIsLost: the one that was sent is spent, so that all is not well.
func TestAnAnswerThatIsCutOffBeforeItsRefreshTokenIsLost(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		before := w.own(30 * time.Minute)
		w.http.set(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			answer := httptest.NewRecorder()
			w.backend.ServeHTTP(answer, r)
			raw, _, _ := bytes.Cut(answer.Body.Bytes(), []byte(`,"refresh_token"`))
			rw.Write(raw) //nolint:errcheck // a recorder
		}))
		m := w.manager(NewFileStore(w.path()))
		if m.Refresh(t.Context()) == nil {
			t.Error("it is said to have gone well")
		}
		if s := m.State(); s.Status != StatusRefreshFailing || s.Cause != CauseNetwork || !strings.Contains(s.Problem, "did not arrive") {
			t.Errorf("%+v", s)
		}
		if mustToken(t, m).Access != before.Access {
			t.Error("another token is in use")
		}
		w.http.set(w.backend)
		time.Sleep(2 * time.Minute)
		m.Refresh(t.Context()) //nolint:errcheck // it is in the state
		if s := m.State(); s.Cause != CauseAnswerLost {
			t.Errorf("%+v", s)
		}
	})
}

// TestATokenThatMayBeSpentIsNotSentAgainAtOnce: what stands before the auth server answers so when it has sent the request
// on and heard nothing, or nothing that it understands.
func TestATokenThatMayBeSpentIsNotSentAgainAtOnce(t *testing.T) {
	for _, status := range []int{502, 504, 520, 524} {
		bubble(t, func(t *testing.T, w *world) {
			w.own(-time.Minute)
			sent := 0
			w.http.set(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				sent++
				w.backend.ServeHTTP(httptest.NewRecorder(), r)
				rw.WriteHeader(status)
			}))
			m := w.manager(NewFileStore(w.path()))
			for range 50 {
				m.Token(t.Context()) //nolint:errcheck // it is refused
				time.Sleep(time.Second)
			}
			if sent != 1 {
				t.Errorf("%d: sent %d times", status, sent)
			}
		})
	}
}

// TestWhoLostTheTokenIsNotBlamedOnOthers: the auth server had used it up, and then said that something went wrong there.
func TestWhoLostTheTokenIsNotBlamedOnOthers(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own(30 * time.Minute)
		w.http.set(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			w.backend.ServeHTTP(httptest.NewRecorder(), r)
			rw.WriteHeader(500)
		}))
		m := w.manager(NewFileStore(w.path()))
		m.Refresh(t.Context()) //nolint:errcheck // it fails
		w.http.set(w.backend)
		time.Sleep(2 * time.Minute)
		m.Refresh(t.Context()) //nolint:errcheck // it fails, too
		if s := m.State(); s.Cause != CauseAnswerLost {
			t.Errorf("%+v", s)
		}
	})
}

// TestTheAuthServersPauseIsKept: and told. It may be a date, of a clock that differs from this machine's.
func TestTheAuthServersPauseIsKept(t *testing.T) {
	const ahead = time.Hour
	date := func(after time.Duration) string {
		return time.Now().Add(ahead + after).UTC().Format(http.TimeFormat)
	}
	for name, pause := range map[string]func(http.Header){
		"seconds": func(h http.Header) { h.Set("Retry-After", "600") },
		"a date":  func(h http.Header) { h.Set("Date", date(0)); h.Set("Retry-After", date(10*time.Minute)) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.own(50*time.Minute + ahead)
				sent := 0
				w.http.set(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
					sent++
					pause(rw.Header())
					rw.WriteHeader(429)
				}))
				m := w.manager(NewFileStore(w.path()))
				defer run(t, m)()
				m.Refresh(t.Context()) //nolint:errcheck // it is refused
				time.Sleep(9 * time.Minute)
				if next := m.State().NextAttempt.Sub(m.now.Load().clock.at(time.Now())); sent != 1 || next < 30*time.Second {
					t.Errorf("sent %d times, again in %s", sent, next)
				}
			})
		})
	}
}

func TestWhatIsNotAFileDoesNotHangTheStart(t *testing.T) {
	dir := t.TempDir()
	for _, store := range []*FileStore{NewFileStore(dir), NewFileStore(os.DevNull), NewLegacyStore(dir)} {
		m := NewManager(Config{Store: store, Refresher: &Refresher{}})
		done := make(chan error, 1)
		go func() { done <- m.Open(t.Context()) }()
		select {
		case err := <-done:
			if !errors.Is(err, ErrUnreadable) || m.State().Cause != CauseStoreUnreadable {
				t.Errorf("%s: %v", store.Name(), err)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s: the start hangs", store.Name())
		}
		m.Close()
	}
	large := filepath.Join(dir, "auth.json")
	if err := os.WriteFile(large, make([]byte, fileMost+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := NewLegacyStore(large).Load(t.Context()); !errors.Is(err, ErrUnreadable) {
		t.Errorf("a large file: %v", err)
	}
}

func TestTheTokensOwnAudienceDecides(t *testing.T) {
	codexID := fakeJWT(`{"aud":["` + CodexClientID + `"],"sub":"u1"}`)
	siwcID := fakeJWT(`{"aud":"oaiapp_1","sub":"u1"}`)
	codexAccess := fakeJWT(`{"aud":["https://api.openai.com/v1"],"client_id":"` + CodexClientID + `","exp":4102444800}`)
	siwcAccess := fakeJWT(`{"aud":["https://api.openai.com/v1"],"client_id":"oaiapp_1","exp":4102444800}`)
	if c := FromTokens(siwcAccess, "r", "", ""); c.Kind != KindChatGPT || c.ClientID != "oaiapp_1" || c.Check() != nil {
		t.Errorf("%s %s %v", c.Kind, c.ClientID, c.Check())
	}
	if c := FromTokens("opaque", "r", siwcID, ""); c.Kind != KindChatGPT || c.ClientID != "oaiapp_1" {
		t.Errorf("%s %s", c.Kind, c.ClientID)
	}
	if c := FromTokens(codexAccess, "r", codexID, ""); c.Kind != KindCodex || c.ClientID != "" || c.Check() != nil || c.UserID != "u1" {
		t.Errorf("%s %s %v", c.Kind, c.ClientID, c.Check())
	}
	for name, c := range map[string]Credentials{
		"two tokens":               FromTokens(codexAccess, "r", siwcID, ""),
		"a Codex token as ChatGPT": {AccessToken: codexAccess, RefreshToken: "r", Kind: KindChatGPT, ClientID: "oaiapp_1"},
		"a ChatGPT token as Codex": {AccessToken: siwcAccess, RefreshToken: "r", Kind: KindCodex},
		"another app's":            {AccessToken: siwcAccess, RefreshToken: "r", Kind: KindChatGPT, ClientID: "oaiapp_2"},
	} {
		bubble(t, func(t *testing.T, w *world) {
			if !errors.Is(c.Check(), ErrMixed) {
				t.Errorf("%s: %v", name, c.Check())
			}
			m := w.manager(NewMemoryStore(Credentials{}))
			if !errors.Is(m.Adopt(t.Context(), c), ErrMixed) || !errors.Is(m.Import(t.Context(), c), ErrMixed) {
				t.Errorf("%s is taken", name)
			}
			m = w.manager(NewMemoryStore(c)) // as something else left it
			if _, err := m.Token(t.Context()); !errors.Is(err, ErrSignIn) || m.State().Cause != CauseMixed || m.State().Usable {
				t.Errorf("%s: %v, %+v", name, err, m.State())
			}
			if n := len(w.backend.Requests("token")); n != 0 {
				t.Errorf("%s was sent", name)
			}
		})
	}
	for token, says := range map[string]string{"foo": "not a JSON web token", siwcAccess: "Sign in with ChatGPT"} {
		m := NewManager(Config{Store: NewEnvStore(token, ""), Refresher: &Refresher{}})
		if err := m.Open(t.Context()); err == nil || !strings.Contains(err.Error(), says) || m.State().Usable {
			t.Errorf("ACCESS_TOKEN: %v", err)
		}
		m.Close()
	}
}

func TestASignInWithoutLeaveToUseThePlanIsKeptAndNotUsed(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		m := w.manager(NewFileStore(w.path()))
		c := Credentials{AccessToken: "opaque", RefreshToken: "r", Kind: KindChatGPT, ClientID: "oaiapp_1", Ownership: Own,
			Scope: "openid profile", ExpiresAt: time.Now().Add(time.Hour), LastRefresh: time.Now()}
		if err := m.Adopt(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		m = w.manager(NewFileStore(w.path()))
		m.Ready()
		if _, err := m.Token(t.Context()); !errors.Is(err, ErrSignIn) {
			t.Errorf("got %v", err)
		}
		if s := m.State(); s.Cause != CauseIdentityOnly || s.Usable || s.Status != StatusSignInAgain || s.Kind != KindChatGPT {
			t.Errorf("%+v", s)
		}
	})
}

func TestNothingOfAnEarlierKindOfSignInStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "own", "auth.json")
	s := NewFileStore(path)
	if err := s.Save(t.Context(), FromTokens(fakeJWT(`{"email":"me@example.com"}`), "rt_codex", "", "acct-codex")); err != nil {
		t.Fatal(err)
	}
	c := Credentials{AccessToken: "opaque", RefreshToken: "rt_siwc", Kind: KindChatGPT, ClientID: "oaiapp_1", Ownership: Own}
	if err := s.Save(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if raw, _ := os.ReadFile(path); strings.Contains(string(raw), "acct-codex") || strings.Contains(string(raw), "rt_codex") {
		t.Errorf("%s", raw)
	}
	if got, err := s.Load(t.Context()); err != nil || got.AccountID != "" || got.Email != "" {
		t.Errorf("%v %v", got, err)
	}
}
