//go:build js

package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"syscall/js"

	"codex-proxy/creds"
	"codex-proxy/proxy"
)

// kvStore keeps the sign-in in the Durable Object's storage, which is consistent, and a copy in KV, where the user of
// the binding expects it. With CREDENTIALS_KEY both are encrypted.
type kvStore struct {
	load, save js.Value // functions of worker.mjs: () -> Promise of text or null, (text) -> Promise
	key        string
}

// sealed is an encrypted value: AES-256-GCM, the key is the SHA-256 of CREDENTIALS_KEY.
type sealed struct {
	Version    int    `json:"v"`
	Nonce      []byte `json:"nonce"`
	Ciphertext []byte `json:"ciphertext"`
}

func (s *kvStore) aead() (cipher.AEAD, error) {
	sum := sha256.Sum256([]byte(s.key))
	block, err := aes.NewCipher(sum[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func (s *kvStore) problem(kind error, hint string) error {
	return &creds.StoreError{Kind: kind, Where: s.Name(), Hint: hint}
}

const fill = "Fill it: codex-proxy worker push, or POST /admin/credentials"

// Load reads the sign-in, also one that was written before CREDENTIALS_KEY was set.
func (s *kvStore) Load(context.Context) (creds.Credentials, error) {
	v, err := await(s.load.Invoke())
	switch {
	case err != nil:
		return creds.Credentials{}, &creds.StoreError{Kind: creds.ErrUnreadable, Where: s.Name(), Cause: err, Hint: "Try again in a minute"}
	case v.Type() != js.TypeString || v.String() == "":
		return creds.Credentials{}, s.problem(creds.ErrMissing, fill)
	}
	raw := []byte(v.String())
	var box sealed
	if json.Unmarshal(raw, &box) == nil && box.Ciphertext != nil {
		if s.key == "" {
			return creds.Credentials{}, s.problem(creds.ErrUnreadable, "It is encrypted: wrangler secret put CREDENTIALS_KEY")
		}
		aead, err := s.aead()
		if err == nil && len(box.Nonce) != aead.NonceSize() {
			err = errors.New("bad nonce")
		}
		if err == nil {
			raw, err = aead.Open(nil, box.Nonce, box.Ciphertext, nil)
		}
		if err != nil {
			return creds.Credentials{}, s.problem(creds.ErrUnreadable, "CREDENTIALS_KEY is not the one that it was encrypted with. "+fill)
		}
	}
	c, err := proxy.DecodeAdmin(raw)
	if err != nil {
		return creds.Credentials{}, s.problem(creds.ErrCorrupt, fill)
	}
	if c.IsZero() {
		return c, s.problem(creds.ErrSignedOut, fill)
	}
	return c, nil
}

// Save writes the sign-in to both places.
func (s *kvStore) Save(_ context.Context, c creds.Credentials) error {
	raw := proxy.EncodeAdmin(c)
	if s.key != "" {
		aead, err := s.aead()
		if err != nil {
			return err
		}
		box := sealed{Version: 1, Nonce: make([]byte, aead.NonceSize())}
		rand.Read(box.Nonce)
		box.Ciphertext = aead.Seal(nil, box.Nonce, raw, nil)
		if raw, err = json.Marshal(box); err != nil {
			return err
		}
	}
	_, err := await(s.save.Invoke(string(raw)))
	return err
}

// Name says where this is.
func (s *kvStore) Name() string { return "the Worker's storage" }
