//go:build !js

package creds

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/zalando/go-keyring"

	"codex-proxy/internal/seal"
)

const (
	keychainService = "codex-proxy"
	keychainAccount = "encryption-key"
	// keychainTimeout bounds one call. A locked keychain asks the user, and nobody may be there.
	keychainTimeout = 20 * time.Second
)

// KeychainStore keeps the sign-in encrypted in a file whose key is in the system's keychain.
//
// A sign-in takes 4 to 6 KB, more than a keychain entry holds on Windows (2,560 bytes) and macOS (about 3 KB through
// the security command). So the entry is a random key, written once and never changed, and the sign-in is a file that
// is useless without it; saving has the guarantees of FileStore, and no save ever touches the entry's access list.
type KeychainStore struct {
	*FileStore
	key     locked[*seal.Key]                            // nil until it was read
	refused locked[refusal]                              // the keychain's last
	ask     func(ctx context.Context, create bool) error // readKey, but in tests
	open    func() bool                                  // keychainOpen, but in tests
}

// refusal is a keychain that did not give the key. A locked one asks the user each time: it is not asked again before
// after, unless a person does, or somebody has unlocked it.
type refusal struct {
	err    error
	after  time.Time
	wait   time.Duration
	locked bool
}

const (
	keychainFirstWait = 30 * time.Second
	keychainMostWait  = 10 * time.Minute
)

// NewKeychainStore returns the store whose encrypted file is at path.
func NewKeychainStore(path string) *KeychainStore {
	s := &KeychainStore{}
	s.ask, s.open = s.readKey, keychainOpen
	s.FileStore = newFileStore(path, filepath.Base(path)+".lock", "keychain (encrypted in %s)", fileCodec{
		decode: func(raw []byte) (Credentials, error) {
			plain, err := s.key.get().Open(raw)
			if err != nil {
				return Credentials{}, fmt.Errorf("%w (%w)", ErrCorrupt, err)
			}
			return decodeAuthFile(plain)
		},
		encode: func(c Credentials, _ []byte) ([]byte, error) {
			plain, err := encodeAuthFile(c, nil, true)
			if err != nil {
				return nil, err
			}
			return s.key.get().Seal(plain), nil
		},
		refused: 0o022,
	})
	return s
}

// Load reads the key and then the file. Without a file no key is asked for: a locked keychain would ask the user.
func (s *KeychainStore) Load(ctx context.Context) (Credentials, error) {
	if _, err := s.read(); errors.Is(err, ErrMissing) {
		if _, err := os.Lstat(s.second()); errors.Is(err, fs.ErrNotExist) {
			return s.FileStore.Load(ctx)
		}
	}
	if err := s.unlock(ctx, false); err != nil {
		return Credentials{}, err
	}
	return s.FileStore.Load(ctx)
}

// Save makes the key if there is none yet, and writes the file.
func (s *KeychainStore) Save(ctx context.Context, c Credentials) error {
	if err := s.unlock(ctx, true); err != nil {
		return err
	}
	return s.FileStore.Save(ctx, c)
}

// Reserve makes the key if there is none yet, and reserves room for the file.
func (s *KeychainStore) Reserve(ctx context.Context) error {
	if err := s.unlock(ctx, true); err != nil {
		return err
	}
	return s.FileStore.Reserve(ctx)
}

// unlock reads the key, once a process. With create it makes one when the keychain has none, and reads it back.
func (s *KeychainStore) unlock(ctx context.Context, create bool) error {
	if s.key.get() != nil {
		return nil
	}
	last := s.refused.get()
	wait := time.Now().Before(last.after) || len(hanging) > 0 // its question is on the screen still
	if last.err != nil && wait && !askedByUser(ctx) && !(last.locked && s.open()) {
		return last.err
	}
	err := s.ask(ctx, create)
	if err != nil && !errors.Is(err, ErrMissing) {
		wait := min(max(2*last.wait, keychainFirstWait), keychainMostWait)
		s.refused.set(refusal{err, time.Now().Add(wait), wait, !s.open()})
	}
	return err
}

func (s *KeychainStore) readKey(ctx context.Context, create bool) error {
	value, err := keychainGet(ctx, keychainService, keychainAccount)
	if errors.Is(err, keyring.ErrNotFound) {
		if _, fileErr := s.read(); fileErr == nil {
			return &StoreError{Kind: ErrUnreadable, Where: s.Name(), Cause: errors.New("its key is gone from the keychain"), Hint: "Move the file away and start again to sign in anew"}
		}
		if !create {
			return &StoreError{Kind: ErrMissing, Where: "keychain"}
		}
		fresh := make([]byte, seal.KeySize)
		rand.Read(fresh)
		value = base64.StdEncoding.EncodeToString(fresh)
		if err = keychainSet(ctx, keychainService, keychainAccount, value); err == nil {
			var back string
			if back, err = keychainGet(ctx, keychainService, keychainAccount); err == nil && back != value {
				err = errors.New("what was written is not what is read")
			}
		}
	}
	if err != nil {
		return &StoreError{Kind: ErrUnreadable, Where: "keychain", Cause: err, Hint: "Unlock the keychain, and it is read by itself; or use --creds-store=xdg"}
	}
	key, err := base64.StdEncoding.DecodeString(value)
	if err != nil || len(key) != seal.KeySize {
		return &StoreError{Kind: ErrCorrupt, Where: "keychain", Hint: fmt.Sprintf("Delete the entry %q of %q and %s, then start again", keychainAccount, keychainService, s.Path())}
	}
	k := seal.NewKey(key)
	s.key.set(&k)
	return nil
}

// KeychainWorks asks the keychain for an entry that is not there. The error says why it does not answer.
func KeychainWorks(ctx context.Context) error {
	_, err := keychainGet(ctx, keychainService, "no such entry")
	if errors.Is(err, keyring.ErrNotFound) {
		return nil
	}
	return err
}

var (
	errKeychainTimeout = errors.New("no answer from the keychain")
	errKeychainLocked  = errors.New("the keychain is locked")
)

func keychainGet(ctx context.Context, service, account string) (string, error) {
	return withTimeout(ctx, func() (string, error) { return keyring.Get(service, account) })
}

func keychainSet(ctx context.Context, service, account, value string) error {
	_, err := withTimeout(ctx, func() (string, error) { return "", keyring.Set(service, account, value) })
	return err
}

// hanging holds a place for each keychain call that the system has not answered. There are few, so that a keychain that
// never answers does not pile up goroutines, and its question is not shown again and again.
var hanging = make(chan struct{}, 2)

// withTimeout runs a keychain call, which can't be cancelled: one that hangs keeps its goroutine until the system
// answers, and its result is thrown away. A library that crashes there gives an error, and does not end the program.
func withTimeout(ctx context.Context, call func() (string, error)) (string, error) {
	select {
	case hanging <- struct{}{}:
	default:
		return "", errKeychainTimeout
	}
	type result struct {
		value string
		err   error
	}
	done := make(chan result, 1)
	go func() {
		defer func() { <-hanging }()
		defer func() {
			if crash := recover(); crash != nil {
				done <- result{err: fmt.Errorf("the keychain's library crashed: %v", crash)}
			}
		}()
		v, err := call()
		done <- result{v, err}
	}()
	timer := time.NewTimer(keychainTimeout)
	defer timer.Stop()
	select {
	case r := <-done:
		if r.err != nil && strings.HasPrefix(r.err.Error(), "failed to unlock") { // go-keyring's, with a path of D-Bus
			r.err = errKeychainLocked
		}
		return r.value, r.err
	case <-timer.C:
		return "", errKeychainTimeout
	case <-ctx.Done():
		return "", ctx.Err()
	}
}
