package creds

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Store is a place that holds one sign-in. Implementations are safe for concurrent use.
type Store interface {
	// Name says in a few words, for people, where this is.
	Name() string
	// Limits says what this store can't do.
	Limits() Limits

	// Load reads the sign-in. Errors are *StoreError.
	Load(ctx context.Context) (Credentials, error)
	// Save replaces the sign-in durably: after it returns nil, a crash or a power cut does not lose it; when it
	// returns an error, what was stored before is still whole. ErrReadOnly when the store can't be written at all.
	// The zero Credentials mean that the user signed out: Load then says ErrSignedOut.
	Save(ctx context.Context, c Credentials) error

	// Lock keeps every other program that uses this store from changing it, until release is called. ErrBusy when
	// ctx ends before that.
	Lock(ctx context.Context) (release func(), err error)
	// Reserve makes sure that the next Save will work, and holds the room that it needs. It is called under the lock,
	// before a refresh token is spent.
	Reserve(ctx context.Context) error
	// Note keeps a, durably, in the place of the attempt before it. It is called under the lock.
	Note(ctx context.Context, a Attempt) error
	// Attempt is what Note kept last, also by an earlier process; the zero Attempt when nothing is known.
	Attempt(ctx context.Context) Attempt

	// Stamp changes when what is stored does, also by another program. It is cheap enough to be asked for every few
	// seconds. Empty where nobody else can change it.
	Stamp() string
}

// Limits says what a store can't do. The zero value is a store that can do everything.
type Limits struct {
	// ReadOnly means that Save always fails with ErrReadOnly.
	ReadOnly bool
	// Shared means that another program, the Codex CLI, refreshes what is stored here: it never becomes our own, is
	// not ours to end, and must be of the Codex kind.
	Shared bool
}

// Attempt is a refresh, as a store remembers it over the end of the program.
type Attempt struct {
	Token  string    `json:"token"`            // hash of the refresh token that was sent
	Result string    `json:"result,omitempty"` // hash of the one that came back, once it is stored
	At     time.Time `json:"at"`               // by this machine's clock
	Open   bool      `json:"open,omitempty"`   // its answer is not known: it is under way, or was lost
	Lost   bool      `json:"lost,omitempty"`   // an earlier attempt with this token was open, too
	Spent  []string  `json:"spent,omitempty"`  // hashes of refresh tokens that were used up here, the newest last

	// Refused says why the auth server refused refresh tokens for good, by their hashes.
	Refused map[string]Cause `json:"refused,omitempty"`
}

// refuse returns a with the note that its token was refused for good.
func (a Attempt) refuse(cause Cause) Attempt {
	refused := map[string]Cause{a.Token: cause}
	for token, cause := range a.Refused {
		if len(refused) < refusedMost {
			refused[token] = cause
		}
	}
	a.Refused = refused
	return a
}

const (
	// spentMost is how many hashes of tokens that were used up are kept: with a refresh each 10 days, those of two years.
	spentMost = 64
	// refusedMost is how many refusals are kept. There are more only where somebody tries one old sign-in after the other.
	refusedMost = 16
)

// hash names a token without telling it.
func hash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:12])
}

// The ways in which a store has no sign-in to give, and the ways in which it can't take one.
var (
	ErrMissing    = errors.New("no sign-in stored")
	ErrCorrupt    = errors.New("stored sign-in is damaged")
	ErrUnreadable = errors.New("stored sign-in can't be read")
	ErrNotChatGPT = errors.New("stored sign-in is not a ChatGPT sign-in")
	ErrSignedOut  = errors.New("signed out")
	ErrReadOnly   = errors.New("this store can't be written")
	ErrNotWritten = errors.New("it could not be written")
	ErrBusy       = errors.New("another program has locked the sign-in")
)

// errNoFolder is the cause of ErrMissing where the whole folder is gone, such as on a disk that was taken out.
var errNoFolder = errors.New("its folder is not there")

// StoreError says what is wrong with a store.
type StoreError struct {
	Kind  error  // one of the errors above
	Where string // the store's name or the file's path
	Hint  string // what mends it, where only the store knows: a sentence without a full stop; often empty
	Cause error  // may be nil
}

// Problem is what is wrong, without the hint.
func (e *StoreError) Problem() string {
	s := fmt.Sprintf("%s: %v", e.Where, e.Kind)
	if e.Cause != nil {
		s += fmt.Sprintf(" (%v)", e.Cause)
	}
	return s
}

func (e *StoreError) Error() string { return sentence(e.Problem(), e.Hint) }

// Unwrap makes errors.Is work for the kind and for the cause.
func (e *StoreError) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Cause}
}

// Alone is the part of a Store that is simple where only one process uses it. Its zero value is ready; embed it.
type Alone struct {
	turn    chan struct{}
	once    sync.Once
	attempt locked[Attempt]
}

// Lock waits for its turn.
func (a *Alone) Lock(ctx context.Context) (release func(), err error) {
	a.once.Do(func() { a.turn = make(chan struct{}, 1) })
	select {
	case a.turn <- struct{}{}:
		return func() { <-a.turn }, nil
	case <-ctx.Done():
		return nil, ErrBusy
	}
}

// Reserve has nothing to reserve.
func (*Alone) Reserve(context.Context) error { return nil }

// Note keeps a for as long as the process lives.
func (a *Alone) Note(_ context.Context, attempt Attempt) error {
	a.attempt.set(attempt)
	return nil
}

// Attempt is the last one of this process.
func (a *Alone) Attempt(context.Context) Attempt { return a.attempt.get() }

// Stamp is empty: nobody else changes what is stored.
func (*Alone) Stamp() string { return "" }

// Limits are none.
func (*Alone) Limits() Limits { return Limits{} }
