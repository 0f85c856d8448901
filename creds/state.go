package creds

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Step is one line of what is told the user.
type Step struct {
	Kind StepKind
	Text string
}

// StepKind says what a Step tells of.
type StepKind string

// The kinds of steps.
const (
	StepCheck   StepKind = "check" // looking whether there is something
	StepRead    StepKind = "read"
	StepWrite   StepKind = "write"
	StepRefresh StepKind = "refresh"
	StepDone    StepKind = "done"
	StepWarning StepKind = "warning"
	StepRetry   StepKind = "retry" // a warning, by a program that goes on and tries again
	StepFailure StepKind = "failure"
)

// Icon stands before the text where people read it.
func (k StepKind) Icon() string {
	return map[StepKind]string{
		StepCheck: "🔍", StepRead: "📄", StepWrite: "💾", StepRefresh: "🔄", StepDone: "✅", StepWarning: "⚠️", StepRetry: "⚠️", StepFailure: "❌",
	}[k]
}

// String is the step as people read it.
func (s Step) String() string { return s.Kind.Icon() + " " + s.Text }

// LogSteps writes steps into a log, such as logrus's, each at its level.
func LogSteps(log interface {
	Error(...any)
	Warn(...any)
	Info(...any)
}) func(Step) {
	return func(s Step) {
		switch s.Kind {
		case StepFailure:
			log.Error(s)
		case StepWarning, StepRetry:
			log.Warn(s)
		default:
			log.Info(s)
		}
	}
}

// State is what the Manager lets others see: no secrets. It is a value, comparable by ==.
type State struct {
	Status    Status
	Usable    bool // a request would be served now, as far as is known
	Kind      Kind
	UserID    string // who signed in, the same in all of their workspaces; may be empty
	Email     string
	Plan      string
	AccountID string

	ExpiresAt   time.Time // of the access token, by the auth server's clock; zero when unknown
	LastRefresh time.Time // zero when unknown

	Store        string // where it is stored, for people
	ImportedFrom string // where it was imported from, or empty
	Ownership    Ownership

	Refreshes       int // since the start
	RefreshFailures int

	Cause        Cause         // of the problem
	Problem      string        // what is wrong: a sentence without advice and without a full stop; empty when nothing is
	Advice       string        // what to do about it, from Config.Advice or from where it failed; may be empty
	FailingSince time.Time     // of the first failure in a row; zero when none
	NextAttempt  time.Time     // when a failed refresh is tried again; zero when not
	ClockOff     time.Duration // by how much this machine's clock is ahead of the auth server's; zero when they agree
}

// Sentence is the problem and what to do about it; empty when there is none.
func (s State) Sentence() string { return sentence(s.Problem, s.Advice) }

func sentence(problem, advice string) string {
	switch {
	case problem == "" || advice == "":
		return problem + advice
	case strings.HasSuffix(problem, "."):
		return problem + " " + advice
	}
	return problem + ". " + advice
}

// Token is what a request to the backend needs.
type Token struct {
	Access    string // bearer token
	AccountID string // may be empty
	FedRAMP   bool
	Kind      Kind // says which upstream takes it
}

// UnavailableError says why there is no token, or why a refresh did not come about.
type UnavailableError struct {
	Status     Status
	Cause      Cause
	Problem    string        // what is wrong: a sentence without advice
	Advice     string        // what to do about it; may be empty
	RetryAfter time.Duration // zero unless waiting helps
	Err        error         // what failed, such as a *RefreshError or *StoreError; may be nil
}

// Error is the problem and what to do about it.
func (e *UnavailableError) Error() string { return sentence(e.Problem, e.Advice) }

// Unwrap is what failed.
func (e *UnavailableError) Unwrap() error { return e.Err }

// ErrSignIn is what UnavailableError is when only the user can help.
var ErrSignIn = errors.New("sign-in needed")

// Is reports that e is ErrSignIn unless it will pass by itself.
func (e *UnavailableError) Is(target error) bool {
	return target == ErrSignIn && e.RetryAfter == 0
}

// TooSoonError says that the auth server was asked a moment ago: one sign-in is refreshed once a minute at most.
type TooSoonError struct {
	Wait      time.Duration // until it can be refreshed again
	Refreshed bool          // the last time it was: the tokens are fresh
}

func (e *TooSoonError) Error() string {
	if e.Refreshed {
		return fmt.Sprintf("The tokens were refreshed a moment ago. They can be refreshed again in %s", duration(e.Wait))
	}
	return fmt.Sprintf("A refresh was tried a moment ago. It can be tried again in %s", duration(e.Wait))
}

// NoRefreshTokenError says that there is nothing to refresh with, though the access token is good.
type NoRefreshTokenError struct {
	Until time.Time // when the access token ends; zero when unknown
}

func (e *NoRefreshTokenError) Error() string {
	return "This sign-in has no refresh token, so there is nothing to refresh. Its access token is good until " + stamp(e.Until)
}

// subscribers are told that the state changed. Each has a channel of one: it holds the newest state.
type subscribers struct {
	mu    sync.Mutex
	chans map[chan State]struct{}
	told  State
}

func (s *subscribers) publish(state func() State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := state() // under the lock, so that an older state never follows a newer one
	if now == s.told {
		return
	}
	s.told = now
	for ch := range s.chans {
		select {
		case <-ch:
		default:
		}
		ch <- now
	}
}

func (s *subscribers) add(state func() State) (<-chan State, func()) {
	ch := make(chan State, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	ch <- state() // under the lock, so that no change comes between
	if s.chans == nil {
		s.chans = map[chan State]struct{}{}
	}
	s.chans[ch] = struct{}{}
	return ch, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.chans, ch)
	}
}
