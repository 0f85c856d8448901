package creds

import (
	"context"
	"errors"
	"fmt"
)

// Store is a place that holds one sign-in. Implementations are safe for concurrent use.
type Store interface {
	// Load reads the sign-in. Errors are *StoreError.
	Load(ctx context.Context) (Credentials, error)
	// Save replaces the sign-in durably: after it returns nil, a crash or a power cut does not lose it; when it
	// returns an error, what was stored before is still whole. ErrReadOnly when the store can't be written at all.
	// The zero Credentials mean that the user signed out: Load then says ErrSignedOut.
	Save(ctx context.Context, c Credentials) error
	// Name says in a few words, for people, where this is.
	Name() string
}

// reserver is a Store that can tell beforehand whether Save will work, and hold the room it needs. The Manager
// asks before it spends a refresh token.
type reserver interface {
	reserve(ctx context.Context) error
}

// The ways in which a store has no sign-in to give, and the way in which it can't take one.
var (
	ErrMissing    = errors.New("no sign-in stored")
	ErrCorrupt    = errors.New("stored sign-in is damaged")
	ErrUnreadable = errors.New("stored sign-in can't be read")
	ErrNotChatGPT = errors.New("stored sign-in is not a ChatGPT sign-in")
	ErrSignedOut  = errors.New("signed out")
	ErrReadOnly   = errors.New("this store can't be written")
)

// StoreError says what is wrong with a store and what to do about it.
type StoreError struct {
	Kind  error  // ErrMissing, ErrCorrupt, ErrUnreadable, ErrNotChatGPT, ErrSignedOut or ErrReadOnly
	Where string // the store's name or the file's path
	Hint  string // what the user does next: a sentence without a full stop
	Cause error  // may be nil
}

func (e *StoreError) Error() string {
	s := fmt.Sprintf("%s: %v", e.Where, e.Kind)
	if e.Cause != nil {
		s += fmt.Sprintf(" (%v)", e.Cause)
	}
	if e.Hint != "" {
		s += ". " + e.Hint
	}
	return s
}

// Unwrap makes errors.Is work for the kind and for the cause.
func (e *StoreError) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Cause}
}

// MemoryStore holds a sign-in in memory, for the demo and for tests. The zero value is empty; it forgets a sign-out.
type MemoryStore struct {
	locked[Credentials]
}

// NewMemoryStore returns a store that holds c.
func NewMemoryStore(c Credentials) *MemoryStore {
	s := &MemoryStore{}
	s.set(c)
	return s
}

// Load returns what was saved last.
func (s *MemoryStore) Load(context.Context) (Credentials, error) {
	c := s.get()
	if c.IsZero() {
		return c, &StoreError{Kind: ErrMissing, Where: s.Name()}
	}
	return c, nil
}

// Save keeps c.
func (s *MemoryStore) Save(_ context.Context, c Credentials) error {
	s.set(c)
	return nil
}

// Name says that this is memory.
func (s *MemoryStore) Name() string { return "memory" }

// EnvStore is a sign-in given in the environment: it can be read and never refreshed.
type EnvStore struct {
	accessToken, accountID string
}

// NewEnvStore returns the store for the values of ACCESS_TOKEN and ACCOUNT_ID.
func NewEnvStore(accessToken, accountID string) *EnvStore {
	return &EnvStore{accessToken: accessToken, accountID: accountID}
}

// Load returns the environment's tokens.
func (s *EnvStore) Load(context.Context) (Credentials, error) {
	if s.accessToken == "" {
		return Credentials{}, &StoreError{Kind: ErrMissing, Where: s.Name(), Hint: "Set ACCESS_TOKEN (and ACCOUNT_ID) and start again"}
	}
	return FromTokens(s.accessToken, "", "", s.accountID), nil
}

// Save always fails with ErrReadOnly.
func (s *EnvStore) Save(context.Context, Credentials) error {
	return &StoreError{Kind: ErrReadOnly, Where: s.Name()}
}

// Name says that this is the environment.
func (s *EnvStore) Name() string { return "environment (ACCESS_TOKEN)" }
