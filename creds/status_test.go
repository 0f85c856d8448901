package creds

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// TestTheStatusFollowsItsTable steps a sign-in through all that can happen to it, by the Manager's own verbs and a clock
// that is the test's, and compares each step with the table.
func TestTheStatusFollowsItsTable(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.backend.AccessLife = 3 * time.Hour
		m := w.manager(NewFileStore(w.path()))
		defer run(t, m)()
		is := func(what string, want Status, cause Cause, usable bool) {
			t.Helper()
			if s := m.State(); s.Status != want || s.Cause != cause || s.Usable != usable || (s.Problem == "") != (cause == CauseNone) {
				t.Errorf("%s: %s, %q %q, usable %v", what, s.Status, s.Cause, s.Problem, s.Usable)
			}
		}
		is("at first", StatusNone, CauseNeverSignedIn, false)
		tokens := w.backend.SignIn(70 * time.Minute)
		if err := m.Adopt(t.Context(), FromTokens(tokens.Access, tokens.Refresh, tokens.ID, "")); err != nil {
			t.Fatal(err)
		}
		is("after a login", StatusSignedIn, CauseNone, true)
		for range 40 {
			w.backend.RefuseRefresh("500")
		}
		time.Sleep(11 * time.Minute)
		is("an hour before the end, with a server that refuses", StatusRefreshFailing, CauseAuthServer, true)
		time.Sleep(time.Hour)
		is("after the end", StatusRefreshFailing, CauseAuthServer, false)
		w.backend.AllowRefresh()
		time.Sleep(6 * time.Minute)
		is("when the server is back", StatusSignedIn, CauseNone, true)
		w.backend.RefuseRefresh("refresh_token_expired")
		var u *UnavailableError
		if err := m.Refresh(t.Context()); !errors.As(err, &u) || !errors.Is(err, ErrSignIn) || u.Cause != CauseEnded || !strings.HasSuffix(u.Error(), ". advice about ended") {
			t.Errorf("got %v", err)
		}
		is("refused for good while the access token lives", StatusSignInAgain, CauseEnded, true)
		time.Sleep(4 * time.Hour)
		is("and after its end", StatusSignInAgain, CauseEnded, false)
		tokens = w.backend.SignIn(10 * 24 * time.Hour)
		if err := m.Adopt(t.Context(), FromTokens(tokens.Access, tokens.Refresh, tokens.ID, "")); err != nil {
			t.Fatal(err)
		}
		is("after another login", StatusSignedIn, CauseNone, true)
		if _, err := m.SignOut(t.Context()); err != nil {
			t.Fatal(err)
		}
		is("after a sign-out", StatusNone, CauseSignedOut, false)
		if err := m.Open(t.Context()); !errors.Is(err, ErrSignedOut) {
			t.Errorf("opened again: %v", err)
		}
		is("and when it is opened again", StatusNone, CauseSignedOut, false)
	})
}

func TestEachStatusCanBeReachedAndLeft(t *testing.T) {
	reached := map[Status]bool{StatusNone: true}
	for from, row := range transitions {
		if len(row) == 0 {
			t.Errorf("%s can't be left", from)
		}
		for e, to := range row {
			if to == from {
				t.Errorf("%s stays on %s: leave it out", from, e)
			}
			reached[to] = true
		}
	}
	for _, s := range []Status{StatusNone, StatusSignedIn, StatusExpiring, StatusRefreshing, StatusRefreshFailing, StatusSignInAgain} {
		if !reached[s] {
			t.Errorf("nothing leads to %s", s)
		}
	}
	if StatusNone.after(eventFailed) != StatusNone {
		t.Error("an event that is not in the table changes the status")
	}
}

func TestEachCauseHasASentenceAndIsToldWithAdvice(t *testing.T) {
	for _, c := range Causes() {
		if p := problems[c]; strings.HasSuffix(p, ".") || strings.Contains(p, "codex-proxy") {
			t.Errorf("%s: %q", c, p)
		}
	}
	bubble(t, func(t *testing.T, w *world) {
		for code, want := range map[string]Cause{
			"refresh_token_expired": CauseEnded, "refresh_token_invalidated": CauseEnded, "invalid_grant": CauseEnded, "token_expired": CauseEnded,
			"invalid_refresh_token": CauseEnded, "refresh_token_reused": CauseSpent, "invalid_client": CauseConfiguration,
			"500": CauseAuthServer, "429": CauseAuthServer, "drop": CauseNetwork, "hang": CauseNetwork,
		} {
			w.own(-time.Minute)
			w.backend.RefuseRefresh(code)
			m := w.manager(NewFileStore(w.path()))
			_, err := m.Token(t.Context())
			var u *UnavailableError
			if !errors.As(err, &u) || u.Cause != want || u.Problem == "" || u.Advice != "advice about "+string(want) || errors.Is(err, ErrSignIn) == want.Passing() {
				t.Errorf("%s: %+v", code, err)
			}
			if s := m.State(); s.Cause != want || s.Advice != u.Advice || s.Problem != u.Problem {
				t.Errorf("%s: %+v", code, s)
			}
			m.Close()
		}
	})
}

func TestASteadyTroubleDoesNotFlickerWhileItIsTriedAgain(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.own(30 * time.Minute)
		w.backend.RefuseRefresh("500", "hang")
		m := w.manager(NewFileStore(w.path()))
		m.Refresh(t.Context()) //nolint:errcheck // it is refused
		time.Sleep(2 * time.Second)
		go m.Refresh(t.Context()) //nolint:errcheck // it hangs
		time.Sleep(time.Second)
		if n := len(w.backend.Requests("/oauth/token")); n != 2 {
			t.Fatalf("%d calls", n)
		}
		if s := m.State(); s.Status != StatusRefreshFailing || s.Cause != CauseAuthServer {
			t.Errorf("meanwhile: %+v", s)
		}
	})
}
