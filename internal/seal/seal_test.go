package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/json"
	"errors"
	"testing"
)

func TestWhatWasSealedOpensWithTheSameKeyOnly(t *testing.T) {
	k := FromSecret("a secret")
	raw := k.Seal([]byte("tokens"))
	if bytes.Contains(raw, []byte("tokens")) || !Sealed(raw) {
		t.Errorf("sealed: %s", raw)
	}
	if plain, err := k.Open(raw); err != nil || string(plain) != "tokens" {
		t.Errorf("%q, %v", plain, err)
	}
	if _, err := FromSecret("another").Open(raw); !errors.Is(err, ErrWrongKey) {
		t.Errorf("with another key: %v", err)
	}
	if bytes.Equal(raw, k.Seal([]byte("tokens"))) {
		t.Error("the same box twice")
	}
	for _, plain := range []string{"", "{}", `{"accessToken":"a"}`, "no JSON", `[1]`} {
		if _, err := k.Open([]byte(plain)); !errors.Is(err, ErrNotSealed) || Sealed([]byte(plain)) {
			t.Errorf("%s: %v", plain, err)
		}
	}
}

func TestBoxesOfEarlierVersionsOpen(t *testing.T) {
	key := bytes.Repeat([]byte{7}, KeySize)
	block, _ := aes.NewCipher(key)
	aead, _ := cipher.NewGCM(block)
	nonce := make([]byte, aead.NonceSize())
	for _, name := range []string{"v", "version"} {
		raw, _ := json.Marshal(map[string]any{name: 1, "nonce": nonce, "ciphertext": aead.Seal(nil, nonce, []byte("old"), nil)})
		if plain, err := NewKey(key).Open(raw); err != nil || string(plain) != "old" {
			t.Errorf("%s: %q, %v", name, plain, err)
		}
	}
}

func TestAChangedBoxDoesNotOpen(t *testing.T) {
	k := FromSecret("a secret")
	var b box
	if err := json.Unmarshal(k.Seal([]byte("tokens")), &b); err != nil {
		t.Fatal(err)
	}
	for _, change := range []func(){func() { b.Ciphertext[0] ^= 1 }, func() { b.Nonce = b.Nonce[1:] }} {
		change()
		raw, _ := json.Marshal(b)
		if _, err := k.Open(raw); !errors.Is(err, ErrWrongKey) {
			t.Errorf("got %v", err)
		}
	}
}
