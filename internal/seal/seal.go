// Package seal locks small secrets into a box: AES-256-GCM with a random nonce for each, as JSON.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
)

// KeySize is the length of a key in bytes.
const KeySize = 32

// ErrNotSealed means that what should be opened is no box.
var ErrNotSealed = errors.New("it is not encrypted")

// ErrWrongKey means that the box was sealed with another key, or was changed.
var ErrWrongKey = errors.New("it was encrypted with another key, or is damaged")

// Key seals and opens boxes. The zero value is not usable. Safe for concurrent use.
type Key struct{ aead cipher.AEAD }

// NewKey returns the key of KeySize random bytes. It panics for another length.
func NewKey(raw []byte) Key {
	if len(raw) != KeySize {
		panic("seal: the key has the wrong length")
	}
	block, err := aes.NewCipher(raw)
	if err != nil {
		panic(err) // the length is right
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return Key{aead}
}

// FromSecret returns the key for a long random text, such as a variable of the environment: its SHA-256. A password
// that a person thought of is too weak for it.
func FromSecret(text string) Key {
	sum := sha256.Sum256([]byte(text))
	return NewKey(sum[:])
}

// box is what is stored. Version is for a format to come.
type box struct {
	Version    int    `json:"version"`
	Nonce      []byte `json:"nonce"`
	Ciphertext []byte `json:"ciphertext"`
}

// Seal returns the box that holds plain.
func (k Key) Seal(plain []byte) []byte {
	b := box{Version: 1, Nonce: make([]byte, k.aead.NonceSize())}
	rand.Read(b.Nonce)
	b.Ciphertext = k.aead.Seal(nil, b.Nonce, plain, nil)
	raw, err := json.Marshal(b)
	if err != nil {
		panic(err) // numbers and bytes only
	}
	return raw
}

// Open returns what is in the box. Errors are ErrNotSealed and ErrWrongKey.
func (k Key) Open(raw []byte) ([]byte, error) {
	b, ok := read(raw)
	if !ok {
		return nil, ErrNotSealed
	}
	if len(b.Nonce) != k.aead.NonceSize() {
		return nil, ErrWrongKey
	}
	plain, err := k.aead.Open(nil, b.Nonce, b.Ciphertext, nil)
	if err != nil {
		return nil, ErrWrongKey
	}
	return plain, nil
}

// Sealed reports whether raw is a box.
func Sealed(raw []byte) bool {
	_, ok := read(raw)
	return ok
}

// read takes the boxes of earlier versions, too: their number had another name.
func read(raw []byte) (box, bool) {
	var b box
	return b, json.Unmarshal(raw, &b) == nil && len(b.Ciphertext) > 0
}
