package proxy

import (
	"encoding/json"
	"testing"
)

// FuzzAdmin reads any body of the admin API: an error, or a sign-in that survives being stored.
func FuzzAdmin(f *testing.F) {
	f.Add([]byte(`{"accessToken":"a","refreshToken":"r","expiresAt":1795463816000,"userID":"u"}`))
	f.Add([]byte(`{"accessToken":"a.e30.c","refreshToken":"r","expiresAt":-1,"kind":"chatgpt","clientID":"x"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var in AdminCredentials
		if json.Unmarshal(body, &in) != nil || in.check() != nil {
			return
		}
		c := in.credentials()
		again, err := DecodeAdmin(EncodeAdmin(c))
		if err != nil || again.AccessToken != c.AccessToken || again.RefreshToken != c.RefreshToken || again.Kind != c.Kind {
			t.Errorf("%s became %v (%v)", body, again, err)
		}
	})
}
