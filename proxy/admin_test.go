package proxy

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
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

func TestTheAdminAPITakesNoSignInWithChatGPT(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Admin = &Admin{Key: "k", Manager: c.SignIn.(*signIn)} })
	tokens, client := r.backend.SignInWithChatGPT(time.Hour)
	codexTokens := r.backend.SignIn(time.Hour)
	for what, body := range map[string]map[string]any{
		"by its kind":         {"accessToken": codexTokens.Access, "refreshToken": "r", "expiresAt": 1795463816000, "kind": "chatgpt", "clientID": client},
		"by its id token":     {"accessToken": tokens.Access, "refreshToken": tokens.Refresh, "idToken": tokens.ID, "expiresAt": 1795463816000},
		"under the other":     {"accessToken": tokens.Access, "refreshToken": tokens.Refresh, "idToken": tokens.ID, "expiresAt": 1795463816000, "kind": "codex"},
		"by its access token": {"accessToken": tokens.Access, "refreshToken": tokens.Refresh, "expiresAt": 1795463816000, "kind": "codex"},
	} {
		raw, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		status, answer := r.post("/admin/credentials", string(raw), "X-Api-Key", "k")
		if status != 400 || !strings.Contains(answer, "Codex") {
			t.Errorf("%s: %d %s", what, status, answer)
		}
		if _, err := DecodeAdmin(raw); err == nil {
			t.Errorf("%s: it is read from where it is stored", what)
		}
	}
}
