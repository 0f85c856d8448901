package creds

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestAKeychainThatCrashesOrHangsIsAnErrorOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if _, err := withTimeout(t.Context(), func() (string, error) { panic("nil map") }); err == nil || !strings.Contains(err.Error(), "crashed") {
			t.Errorf("a crash: %v", err)
		}
		release, calls := make(chan struct{}), atomic.Int32{}
		for range 10 {
			start := time.Now()
			_, err := withTimeout(t.Context(), func() (string, error) { calls.Add(1); <-release; return "", nil })
			if !errors.Is(err, errKeychainTimeout) || time.Since(start) > keychainTimeout {
				t.Errorf("a hang: %v after %s", err, time.Since(start))
			}
		}
		if n := int(calls.Load()); n != cap(hanging) {
			t.Errorf("%d calls hang", n)
		}
		close(release)
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := withTimeout(ctx, func() (string, error) { time.Sleep(time.Second); return "", nil }); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		time.Sleep(2 * time.Second)
		if v, err := withTimeout(t.Context(), func() (string, error) { return "key", nil }); v != "key" || err != nil {
			t.Errorf("afterwards: %q %v", v, err)
		}
	})
}

// TestALockedKeychainIsAskedLessAndLessOften: it shows its question each time.
func TestALockedKeychainIsAskedLessAndLessOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewKeychainStore(t.TempDir() + "/auth.enc")
		locked := &StoreError{Kind: ErrUnreadable, Where: "keychain", Cause: errors.New("locked")}
		asked := 0
		s.ask, s.open = func(context.Context, bool) error { asked++; return locked }, func() bool { return false }
		for range 360 { // an hour
			if err := s.unlock(t.Context(), false); !errors.Is(err, ErrUnreadable) {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second)
		}
		if asked > 12 {
			t.Errorf("asked %d times in an hour", asked)
		}
		before := asked
		s.unlock(byUser(t.Context()), false) //nolint:errcheck // counted
		if asked != before+1 {
			t.Error("a person's wish is not passed on")
		}
	})
}

// TestAKeychainThatWasUnlockedIsAskedAtOnce: it is the user's, and others may unlock it. One that is open and refuses is
// not asked more often for that.
func TestAKeychainThatWasUnlockedIsAskedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewKeychainStore(t.TempDir() + "/auth.enc")
		open, asked := false, 0
		s.ask = func(context.Context, bool) error { asked++; return &StoreError{Kind: ErrUnreadable, Where: "keychain"} }
		s.open = func() bool { return open }
		look := func() { s.unlock(t.Context(), false) } //nolint:errcheck // counted
		look()
		look()
		if asked != 1 {
			t.Fatalf("asked %d times while it was locked", asked)
		}
		open = true
		look()
		if asked != 2 {
			t.Error("not asked when it was unlocked")
		}
		for range 5 {
			look()
		}
		if asked != 2 {
			t.Errorf("asked %d times though it refuses", asked)
		}
	})
}

// TestAQuestionThatStandsOnTheScreenIsNotAskedAgain, unless by a person.
func TestAQuestionThatStandsOnTheScreenIsNotAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewKeychainStore(t.TempDir() + "/auth.enc")
		answer, asked := make(chan struct{}), 0
		s.open = func() bool { return false }
		s.ask = func(ctx context.Context, _ bool) error {
			asked++
			_, err := withTimeout(ctx, func() (string, error) { <-answer; return "", nil })
			return err
		}
		for range 60 {
			if err := s.unlock(t.Context(), false); err == nil {
				t.Fatal("no error")
			}
			time.Sleep(10 * time.Second)
		}
		if asked != 1 {
			t.Errorf("asked %d times", asked)
		}
		close(answer)
		synctest.Wait()
		time.Sleep(keychainMostWait)
		if err := s.unlock(t.Context(), false); err != nil || asked != 2 {
			t.Errorf("afterwards: %v, asked %d times", err, asked)
		}
	})
}
