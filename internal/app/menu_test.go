package app

import (
	"testing"
	"time"

	"codex-proxy/creds"
)

func TestASignInThatCantBeReadIsNotNobodysInTheMenu(t *testing.T) {
	s := State{SignIn: SignInState{Status: creds.StatusNone, Cause: creds.CauseStoreUnreadable, Problem: "It can't be read", Advice: "Mend it"}}
	if got := s.tray(time.Now()); !got.Unread || got.Problem != "It can't be read. Mend it" {
		t.Errorf("%+v", got)
	}
}
