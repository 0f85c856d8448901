package creds

import (
	"errors"
	"fmt"
	"time"
)

// Cause is why there is no sign-in, or why it is in trouble. What to do about it depends on where it is read:
// Config.Advice says it in the words of a menu, a terminal or a Worker.
type Cause string

// The causes of trouble.
const (
	CauseNone Cause = ""

	// Nobody is signed in.
	CauseNeverSignedIn Cause = "never_signed_in" // nobody ever was
	CauseSignedOut     Cause = "signed_out"      // the user signed out, or moved the sign-in elsewhere
	CauseRemoved       Cause = "removed"         // what was stored was deleted by something else

	// The refresh token will never work again.
	CauseSpent          Cause = "spent"            // another program used it first
	CauseAnswerLost     Cause = "answer_lost"      // we used it, and were killed or cut off before its answer was stored
	CauseEnded          Cause = "ended"            // revoked or expired
	CauseNoRefreshToken Cause = "no_refresh_token" // there is none, and the access token has ended
	CauseEnvironment    Cause = "environment"      // the access token in the environment has ended, or is none

	// The sign-in can't be used as it is.
	CauseRejected      Cause = "rejected"      // the backend refuses it, refreshed or not
	CauseIdentityOnly  Cause = "identity_only" // a "Sign in with ChatGPT" without leave to use the plan
	CauseMixed         Cause = "mixed"         // tokens of one kind of sign-in under the name of another
	CauseConfiguration Cause = "configuration" // the auth server does not know the OAuth client

	// It will be tried again.
	CauseNetwork          Cause = "network"            // the auth server was not reached, or its answer got lost
	CauseAuthServer       Cause = "auth_server"        // it refuses for now, or answers what makes no sense
	CauseStoreBusy        Cause = "store_busy"         // another program has held the store's lock for too long
	CauseStoreNotWritable Cause = "store_not_writable" // what is new could not be stored
	CauseStoreUnreadable  Cause = "store_unreadable"   // what is stored can't be read

	CauseClock Cause = "clock" // this machine's clock is off; the rest may be well
)

// Causes returns all of them but CauseNone, for those who have something to say about each.
func Causes() []Cause {
	return []Cause{
		CauseNeverSignedIn, CauseSignedOut, CauseRemoved, CauseSpent, CauseAnswerLost, CauseEnded, CauseNoRefreshToken, CauseEnvironment,
		CauseRejected, CauseIdentityOnly, CauseMixed, CauseConfiguration,
		CauseNetwork, CauseAuthServer, CauseStoreBusy, CauseStoreNotWritable, CauseStoreUnreadable, CauseClock,
	}
}

// Passing reports whether the trouble may pass without the user: what failed is tried again.
func (c Cause) Passing() bool {
	switch c {
	case CauseNetwork, CauseAuthServer, CauseStoreBusy, CauseStoreNotWritable, CauseClock:
		return true
	}
	return false
}

// problems says what each cause means, where nothing more is known than the cause.
var problems = map[Cause]string{
	CauseNeverSignedIn:  "Nobody is signed in",
	CauseSignedOut:      "You are signed out",
	CauseRemoved:        "The stored sign-in was deleted",
	CauseSpent:          "Another program used this sign-in's refresh token first",
	CauseAnswerLost:     "The answer to the last refresh was lost on its way, and the new tokens with it",
	CauseEnded:          "The sign-in was revoked or has expired",
	CauseNoRefreshToken: "The access token has ended and there is no refresh token",
	CauseEnvironment:    "The access token in ACCESS_TOKEN has ended or was refused, and one from there can't be refreshed",
	CauseRejected:       "ChatGPT refuses this sign-in, also with fresh tokens",
	CauseIdentityOnly:   "This sign-in says who you are but gives no leave to use your plan",
	CauseMixed:          "The stored tokens belong to two different kinds of sign-in",
}

// trouble is a cause with its sentence.
type trouble struct {
	cause   Cause
	problem string // a sentence without advice and without a full stop
	hint    string // advice that only the place of the failure knows, or empty
}

func troubled(c Cause) trouble { return trouble{cause: c, problem: problems[c]} }

// explain turns the error of a change into trouble.
func explain(err error) trouble {
	var re *RefreshError
	var se *StoreError
	switch {
	case errors.As(err, &re):
		return re.explain()
	case errors.Is(err, ErrBusy):
		return trouble{cause: CauseStoreBusy, problem: "The sign-in could not be refreshed, because another program has locked it"}
	case errors.As(err, &se) && !errors.Is(se, ErrReadOnly) && !errors.Is(se, ErrNotWritten):
		return trouble{CauseStoreUnreadable, se.Problem(), se.Hint}
	case errors.As(err, &se):
		return trouble{CauseStoreNotWritable, "The sign-in can't be stored: " + se.Problem(), se.Hint}
	}
	return trouble{cause: CauseStoreNotWritable, problem: "The sign-in could not be stored: " + err.Error()}
}

func (e *RefreshError) explain() trouble {
	switch {
	case e.Code == "invalid_client":
		return trouble{cause: CauseConfiguration, problem: "The auth server does not know the OAuth client of this sign-in (invalid_client)"}
	case e.Lost:
		return troubled(CauseAnswerLost)
	case e.Reused:
		return troubled(CauseSpent)
	case e.Permanent:
		return troubled(CauseEnded)
	case e.Cause != nil && e.Unanswered:
		return trouble{cause: CauseNetwork, problem: "The auth server's answer did not arrive (" + e.Cause.Error() + ")"}
	case e.Cause != nil:
		return trouble{cause: CauseNetwork, problem: "The auth server was not reached (" + e.Cause.Error() + ")"}
	case e.Status == 200:
		return trouble{cause: CauseAuthServer, problem: "The auth server's answer held no tokens"}
	}
	return trouble{cause: CauseAuthServer, problem: fmt.Sprintf("The auth server refused the refresh for now (status %d)", e.Status)}
}

// clockProblem names a clock that is off.
func clockProblem(off time.Duration) string {
	way := "ahead of"
	if off < 0 {
		way, off = "behind", -off
	}
	return fmt.Sprintf("This machine's clock is %s %s the auth server's", duration(off), way)
}

// duration is d in its largest unit, for people.
func duration(d time.Duration) string {
	switch {
	case d < time.Minute:
		return plural(int(d.Round(time.Second)/time.Second), "second")
	case d < 2*time.Hour:
		return plural(int(d.Round(time.Minute)/time.Minute), "minute")
	case d < 48*time.Hour:
		return plural(int(d.Round(time.Hour)/time.Hour), "hour")
	}
	return plural(int(d/(24*time.Hour)), "day")
}

func plural(n int, unit string) string {
	if n != 1 {
		unit += "s"
	}
	return fmt.Sprintf("%d %s", n, unit)
}
