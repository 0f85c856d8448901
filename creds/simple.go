package creds

import (
	"context"
	"errors"
)

// MemoryStore holds a sign-in in memory, for the demo and for tests. The zero value is empty.
type MemoryStore struct {
	Alone
	held locked[held]
}

type held struct {
	sign      Credentials
	signedOut bool
}

// NewMemoryStore returns a store that holds c.
func NewMemoryStore(c Credentials) *MemoryStore {
	s := &MemoryStore{}
	s.held.set(held{sign: c})
	return s
}

// Load returns what was saved last.
func (s *MemoryStore) Load(context.Context) (Credentials, error) {
	h := s.held.get()
	switch {
	case h.signedOut:
		return Credentials{}, &StoreError{Kind: ErrSignedOut, Where: s.Name()}
	case h.sign.IsZero():
		return Credentials{}, &StoreError{Kind: ErrMissing, Where: s.Name()}
	}
	return h.sign, nil
}

// Save keeps c.
func (s *MemoryStore) Save(_ context.Context, c Credentials) error {
	s.held.set(held{sign: c, signedOut: c.IsZero()})
	return nil
}

// Name says that this is memory.
func (s *MemoryStore) Name() string { return "memory" }

// EnvStore is a sign-in given in the environment: it can be read and never refreshed.
type EnvStore struct {
	Alone
	accessToken, accountID string
}

// NewEnvStore returns the store for the values of ACCESS_TOKEN and ACCOUNT_ID.
func NewEnvStore(accessToken, accountID string) *EnvStore {
	return &EnvStore{accessToken: accessToken, accountID: accountID}
}

// Load returns the environment's token. It must be an access token of the Codex kind: a JSON web token.
func (s *EnvStore) Load(context.Context) (Credentials, error) {
	if s.accessToken == "" {
		return Credentials{}, &StoreError{Kind: ErrMissing, Where: s.Name(), Hint: "Set ACCESS_TOKEN (and ACCOUNT_ID) and start again"}
	}
	if _, err := parseClaims(s.accessToken); err != nil {
		return Credentials{}, &StoreError{Kind: ErrNotChatGPT, Where: s.Name(), Cause: errors.New("it is not a JSON web token, as access tokens are"),
			Hint: "Put the access token of a Codex sign-in there and start again"}
	}
	c := FromTokens(s.accessToken, "", "", s.accountID)
	if c.Kind != KindCodex {
		return Credentials{}, &StoreError{Kind: ErrNotChatGPT, Where: s.Name(), Cause: errors.New("it belongs to a \"Sign in with ChatGPT\""),
			Hint: "Put the access token of a Codex sign-in there and start again"}
	}
	return c, nil
}

// Save always fails with ErrReadOnly.
func (s *EnvStore) Save(context.Context, Credentials) error {
	return &StoreError{Kind: ErrReadOnly, Where: s.Name()}
}

// Limits says that it can't be written.
func (s *EnvStore) Limits() Limits { return Limits{ReadOnly: true} }

// Name says that this is the environment.
func (s *EnvStore) Name() string { return "environment (ACCESS_TOKEN)" }
