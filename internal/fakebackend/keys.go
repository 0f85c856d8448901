package fakebackend

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"sync"

	"github.com/go-jose/go-jose/v4"
)

// signer signs the id tokens of Sign in with ChatGPT. Its key is made with the first one.
var signer = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

const signerName = "demo-key"

// keys is the public half, as OpenID Connect wants it.
func (b *Backend) keys(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, 200, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: signer().Public(), KeyID: signerName, Algorithm: "RS256", Use: "sig"}}})
}

// signed is a JSON web token with a signature that keys verify.
func signed(claims map[string]any) string {
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: signer(), KeyID: signerName}}, nil)
	if err != nil {
		panic(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	object, err := s.Sign(payload)
	if err != nil {
		panic(err)
	}
	token, err := object.CompactSerialize()
	if err != nil {
		panic(err)
	}
	return token
}
