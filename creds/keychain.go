//go:build !js

package creds

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/zalando/go-keyring"
)

const (
	keychainService = "codex-proxy"
	keychainAccount = "encryption-key"
	keychainKeySize = 32 // bytes, AES-256

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
	key locked[[]byte]
}

// NewKeychainStore returns the store whose encrypted file is at path.
func NewKeychainStore(path string) *KeychainStore {
	s := &KeychainStore{}
	s.FileStore = newFileStore(path, path+".lock", "keychain (encrypted in "+path+")", fileCodec{
		decode: func(raw []byte) (Credentials, error) {
			plain, err := s.unseal(raw)
			if err != nil {
				return Credentials{}, err
			}
			return decodeAuthFile(plain)
		},
		encode: func(c Credentials, previous []byte) ([]byte, error) {
			plain, _ := s.unseal(previous)
			plain, err := encodeAuthFile(c, plain, true)
			if err != nil {
				return nil, err
			}
			return s.seal(plain)
		},
		refused: 0o022,
	})
	return s
}

// Load reads the key and then the file.
func (s *KeychainStore) Load(ctx context.Context) (Credentials, error) {
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

func (s *KeychainStore) reserve(ctx context.Context) error {
	if err := s.unlock(ctx, true); err != nil {
		return err
	}
	return s.FileStore.reserve(ctx)
}

// unlock reads the key, once a process. With create it makes one when the keychain has none, and reads it back.
func (s *KeychainStore) unlock(ctx context.Context, create bool) error {
	if s.key.get() != nil {
		return nil
	}
	value, err := keychainGet(ctx, keychainService, keychainAccount)
	if errors.Is(err, keyring.ErrNotFound) {
		if _, fileErr := s.read(); fileErr == nil {
			return &StoreError{Kind: ErrUnreadable, Where: s.Name(), Cause: errors.New("its key is gone from the keychain"), Hint: "Move the file away and start again to sign in anew"}
		}
		if !create {
			return &StoreError{Kind: ErrMissing, Where: "keychain", Hint: s.hint}
		}
		fresh := make([]byte, keychainKeySize)
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
		return &StoreError{Kind: ErrUnreadable, Where: "keychain", Cause: err, Hint: "Unlock the keychain and start again, or use --creds-store=xdg"}
	}
	key, err := base64.StdEncoding.DecodeString(value)
	if err != nil || len(key) != keychainKeySize {
		return &StoreError{Kind: ErrCorrupt, Where: "keychain", Hint: fmt.Sprintf("Delete the entry %q of %q and %s, then start again", keychainAccount, keychainService, s.Path())}
	}
	s.key.set(key)
	return nil
}

// sealed is the file: AES-256-GCM with a random nonce a save.
type sealed struct {
	Version    int    `json:"version"`
	Nonce      []byte `json:"nonce"`
	Ciphertext []byte `json:"ciphertext"`
}

func (s *KeychainStore) seal(plain []byte) ([]byte, error) {
	aead, err := newAEAD(s.key.get())
	if err != nil {
		return nil, err
	}
	box := sealed{Version: 1, Nonce: make([]byte, aead.NonceSize())}
	rand.Read(box.Nonce)
	box.Ciphertext = aead.Seal(nil, box.Nonce, plain, nil)
	return json.Marshal(box)
}

func (s *KeychainStore) unseal(raw []byte) ([]byte, error) {
	aead, err := newAEAD(s.key.get())
	if err != nil {
		return nil, err
	}
	var box sealed
	if json.Unmarshal(raw, &box) != nil || len(box.Nonce) != aead.NonceSize() {
		return nil, ErrCorrupt
	}
	plain, err := aead.Open(nil, box.Nonce, box.Ciphertext, nil)
	if err != nil {
		return nil, fmt.Errorf("%w (the keychain's key does not fit)", ErrCorrupt)
	}
	return plain, nil
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// KeychainWorks asks the keychain for an entry that is not there. The error says why it does not answer.
func KeychainWorks(ctx context.Context) error {
	_, err := keychainGet(ctx, keychainService, "no such entry")
	if errors.Is(err, keyring.ErrNotFound) {
		return nil
	}
	return err
}

var errKeychainTimeout = errors.New("no answer from the keychain")

func keychainGet(ctx context.Context, service, account string) (string, error) {
	return withTimeout(ctx, func() (string, error) { return keyring.Get(service, account) })
}

func keychainSet(ctx context.Context, service, account, value string) error {
	_, err := withTimeout(ctx, func() (string, error) { return "", keyring.Set(service, account, value) })
	return err
}

// withTimeout runs a keychain call, which can't be cancelled: one that hangs keeps its goroutine until the system
// answers, and its result is thrown away.
func withTimeout(ctx context.Context, call func() (string, error)) (string, error) {
	type result struct {
		value string
		err   error
	}
	done := make(chan result, 1)
	go func() {
		v, err := call()
		done <- result{v, err}
	}()
	timer := time.NewTimer(keychainTimeout)
	defer timer.Stop()
	select {
	case r := <-done:
		return r.value, r.err
	case <-timer.C:
		return "", errKeychainTimeout
	case <-ctx.Done():
		return "", ctx.Err()
	}
}
