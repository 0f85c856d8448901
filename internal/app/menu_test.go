package app

import (
	"slices"
	"testing"
	"time"

	"codex-proxy/creds"
	"codex-proxy/proxy/codex"
	"codex-proxy/tray"
)

func TestASignInThatCantBeReadIsNotNobodysInTheMenu(t *testing.T) {
	s := State{SignIn: SignInState{Status: creds.StatusNone, Cause: creds.CauseStoreUnreadable, Problem: "It can't be read", Advice: "Mend it"}}
	if got := s.tray(time.Now()); !got.Unread || got.Problem != "It can't be read. Mend it" {
		t.Errorf("%+v", got)
	}
}

// TestALimitThatHasResetIsNotNearlyFullInTheMenu: nobody has asked anything since it was told.
func TestALimitThatHasResetIsNotNearlyFullInTheMenu(t *testing.T) {
	now := time.Now()
	s := State{Meter: true, Usage: codex.Usage{Windows: []codex.Window{
		{Name: "5-hour", UsedPercent: 92, ResetsAt: now.Add(time.Minute)},
		{Name: "weekly", UsedPercent: 61, ResetsAt: now.Add(70 * time.Hour)},
	}}}
	near := func(at time.Time) bool {
		return slices.ContainsFunc(tray.Troubles(s.tray(at), at), func(t tray.Trouble) bool { return t.Title == "92% of the 5-hour limit is used" })
	}
	if !near(now) || tray.MeterFor(s.tray(now)) != 92 {
		t.Fatal("it is not told before")
	}
	if at := now.Add(time.Minute); near(at) || tray.MeterFor(s.tray(at)) != 61 {
		t.Errorf("%+v", s.tray(at))
	}
}
