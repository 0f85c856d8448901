package creds

import (
	"errors"
	"time"
)

// Status is the sign-in's state in a word.
type Status string

// What a sign-in can be.
const (
	StatusNone           Status = "none"            // nobody has signed in
	StatusSignedIn       Status = "signed_in"       // all is well
	StatusExpiring       Status = "expiring"        // the access token ends soon
	StatusRefreshing     Status = "refreshing"      // a refresh is under way
	StatusRefreshFailing Status = "refresh_failing" // the last refresh failed and will be tried again
	StatusSignInAgain    Status = "sign_in_again"   // refreshing will never work again
)

// Cause is why a sign-in is in trouble.
type Cause string

// The causes of trouble.
const (
	CauseNone    Cause = ""
	CauseSpent   Cause = "spent"   // another program used the refresh token
	CauseEnded   Cause = "ended"   // revoked or expired
	CauseNetwork Cause = "network" // the auth server is not reached, or refuses for now
	CauseStore   Cause = "store"   // it can't be read or stored
)

// Step is one line of what is told the user.
type Step struct {
	Icon string // 🔍 checking, 📄 reading, 💾 writing, 🔄 refreshing, ✅ done, ⚠️ warning, ❌ error
	Text string
}

// State is what the Manager lets others see: no secrets.
type State struct {
	Status    Status
	Usable    bool // requests can be sent now
	Kind      Kind
	Email     string
	Plan      string
	AccountID string

	ExpiresAt   time.Time // of the access token; zero when unknown
	LastRefresh time.Time // zero when unknown

	Store        string // where it is stored, for people
	ImportedFrom string // where it was imported from, or empty
	Ownership    Ownership

	Refreshes       int // since the start
	RefreshFailures int

	Cause        Cause     // of the problem
	Problem      string    // what is wrong and what to do, in a sentence; empty when nothing is
	FailingSince time.Time // of the first failure in a row; zero when none
	NextAttempt  time.Time // when a failed refresh is tried again; zero when not
}

// Token is what a request to the backend needs.
type Token struct {
	Access    string // bearer token
	AccountID string // may be empty
	FedRAMP   bool
	Kind      Kind // says which upstream takes it
}

// UnavailableError says why there is no token.
type UnavailableError struct {
	Status     Status
	Problem    string        // a sentence that ends in what to do
	RetryAfter time.Duration // zero unless waiting helps
}

func (e *UnavailableError) Error() string { return e.Problem }

// ErrSignIn is what UnavailableError is when only the user can help.
var ErrSignIn = errors.New("sign-in needed")

// Is reports that e is ErrSignIn unless it will pass by itself.
func (e *UnavailableError) Is(target error) bool {
	return target == ErrSignIn && e.RetryAfter == 0
}

// subscribers are told that the state changed. Each has a channel of one: it holds the newest state.
type subscribers map[chan State]struct{}

func (s subscribers) publish(state State) {
	for ch := range s {
		select {
		case <-ch:
		default:
		}
		ch <- state
	}
}
