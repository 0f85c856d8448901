package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"codex-proxy/creds"
	"codex-proxy/internal/fakebackend"
	"codex-proxy/proxy/codex"
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

// filled is a store that holds what nobody can read.
type filled struct{ creds.MemoryStore }

func (s *filled) Load(ctx context.Context) (creds.Credentials, error) {
	c, err := s.MemoryStore.Load(ctx)
	if errors.Is(err, creds.ErrMissing) {
		return c, &creds.StoreError{Kind: creds.ErrUnreadable, Where: s.Name(), Hint: "Set the right key"}
	}
	return c, err
}

// admin sends a request to the admin API of a proxy with this store, and returns its status and answer.
func admin(t *testing.T, store creds.Store) (*fakebackend.Backend, func(method, path, body string) (int, gjson.Result)) {
	t.Helper()
	r := newRig(t, func(c *Config) {
		auth := strings.TrimSuffix(c.BackendURL, "/backend-api")
		m := creds.NewManager(creds.Config{Store: store, Refresher: &creds.Refresher{HTTP: c.HTTP, AuthURL: auth}, Tell: func(creds.Step) {}})
		t.Cleanup(func() { m.Close() }) //nolint:errcheck // nothing is under way
		m.Open(t.Context())             //nolint:errcheck // it is in the state
		c.SignIn, c.Admin = m, &Admin{Key: "k", Manager: m}
	})
	return r.backend, func(method, path, body string) (int, gjson.Result) {
		status, _, answer, err := r.do(method, path, body, "X-Api-Key", "k")
		if err != nil {
			t.Fatal(err)
		}
		return status, gjson.Parse(answer)
	}
}

func TestTheAdminAPIDeletesASignInThatItCantRead(t *testing.T) {
	store := &filled{}
	_, ask := admin(t, store)
	status, answer := ask("DELETE", "/admin/credentials", "")
	if status != 200 || answer.Get("hasCredentials").Bool() || !strings.Contains(answer.Get("warning").Str, "can't be read") {
		t.Errorf("%d %s", status, answer)
	}
	if _, err := store.Load(t.Context()); !errors.Is(err, creds.ErrSignedOut) {
		t.Errorf("stored: %v", err)
	}
	if status, answer = ask("DELETE", "/admin/credentials", ""); status != 200 || answer.Get("warning").Exists() {
		t.Errorf("again: %d %s", status, answer)
	}
}

// Who sends the same body twice, as a script does, must not lose the sign-in that came of it.
func TestASignInWhoseTokenWasSpentHereReplacesNothing(t *testing.T) {
	backend, ask := admin(t, &creds.MemoryStore{})
	body := func(tokens fakebackend.Tokens) string {
		return `{"accessToken":"` + tokens.Access + `","refreshToken":"` + tokens.Refresh + `","expiresAt":1795463816000}`
	}
	first := backend.SignIn(-time.Hour)
	if status, answer := ask("POST", "/admin/credentials", body(first)); status != 200 {
		t.Fatalf("%d %s", status, answer)
	}
	if status, answer := ask("POST", "/admin/credentials/refresh", ""); status != 200 || backend.Counts().Refreshes != 1 {
		t.Fatalf("%d %s, %+v", status, answer, backend.Counts())
	}
	status, answer := ask("POST", "/admin/credentials", body(first))
	if status != 409 || answer.Get("error.code").Str != "older" || !strings.Contains(answer.Get("error.message").Str, "Nothing was changed") {
		t.Errorf("the same again: %d %s", status, answer)
	}
	if _, answer := ask("GET", "/admin/credentials/status", ""); answer.Get("isExpired").Bool() {
		t.Errorf("afterwards: %s", answer)
	}
	if status, answer := ask("POST", "/admin/credentials", body(backend.SignIn(time.Hour))); status != 200 {
		t.Errorf("another: %d %s", status, answer)
	}
}

func TestTheAccountOfTheTokenWinsOverAUserID(t *testing.T) {
	backend, ask := admin(t, &creds.MemoryStore{})
	tokens := backend.SignIn(100 * time.Hour)
	body := func(more string) string {
		return `{"accessToken":"` + tokens.Access + `","refreshToken":"` + tokens.Refresh + `","expiresAt":1795463816000` + more + `}`
	}
	for _, test := range []struct{ more, account, warning string }{
		{`,"userID":"acct-other"`, fakebackend.AccountID, `acct-other`},
		{`,"userID":"` + fakebackend.AccountID + `"`, fakebackend.AccountID, ""},
		{``, fakebackend.AccountID, ""},
		{`,"userID":"` + fakebackend.AccountID + `","workspace":"acct-team"`, "acct-team", ""},
	} {
		status, answer := ask("POST", "/admin/credentials", body(test.more))
		if warning := answer.Get("warning").Str; status != 200 || answer.Get("userID").Str != test.account || !strings.Contains(warning, test.warning) || (test.warning == "") != (warning == "") {
			t.Errorf("%s: %d %s", test.more, status, answer)
		}
	}
	if status, answer := ask("POST", "/admin/credentials", body(`,"workspace":"a b"`)); status != 400 || answer.Get("error.param").Str != "workspace" {
		t.Errorf("%d %s", status, answer)
	}
	c := creds.FromTokens(tokens.Access, tokens.Refresh, tokens.ID, "acct-team")
	if status, answer := ask("POST", "/admin/credentials", string(EncodeAdmin(c))); status != 200 || answer.Get("userID").Str != "acct-team" || answer.Get("warning").Exists() {
		t.Errorf("a workspace that was chosen before it was pushed: %d %s", status, answer)
	}
}

func TestTheAdminStatusTellsWhatThePageShowsWithoutSecrets(t *testing.T) {
	backend, ask := admin(t, &creds.MemoryStore{})
	if status, answer := ask("GET", "/admin/status", ""); status != 200 || answer.Get("status").Str != "unavailable" || answer.Get("sign_in.cause").Str != "never_signed_in" || answer.Get("versions.go").Str == "" {
		t.Errorf("nobody is signed in: %d %s", status, answer)
	}
	tokens := backend.SignIn(100 * time.Hour)
	ask("POST", "/admin/credentials", `{"accessToken":"`+tokens.Access+`","refreshToken":"`+tokens.Refresh+`","idToken":"`+tokens.ID+`","expiresAt":1795463816000}`)
	for _, say := range []string{"hello", "[[http500]]"} {
		ask("POST", "/v1/chat/completions", `{"messages":[{"role":"user","content":"`+say+`"}]}`)
	}
	status, answer := ask("GET", "/admin/status", "")
	for path, want := range map[string]string{
		"status": "ok", "version": "test", "versions.proxy": "test", "versions.protocol": codex.ProtocolVersion, "credentials.state": "signed_in", "credentials.plan": "plus",
		"sign_in.account_id": fakebackend.AccountID, "sign_in.kind": "codex", "usage.windows.#": "2",
		"requests.answered": "1", "requests.failed": "1", "requests.left": "0", "requests.open": "0",
	} {
		if got := answer.Get(path).String(); got != want {
			t.Errorf("%s is %q, not %q", path, got, want)
		}
	}
	if status != 200 || answer.Get("requests.output_tokens").Int() == 0 || answer.Get("sign_in.email").Str == "" {
		t.Errorf("%d %s", status, answer)
	}
	for _, secret := range []string{tokens.Access, tokens.Refresh, tokens.ID, "hello", "eyJ"} {
		if strings.Contains(answer.Raw, secret) {
			t.Errorf("it tells %.20s", secret)
		}
	}
}

// TestANumberThatIsNotWholeIsNotCalledNone: Python's time.time() * 1000 is such a number.
func TestANumberThatIsNotWholeIsNotCalledNone(t *testing.T) {
	_, call := admin(t, &creds.MemoryStore{})
	for _, expires := range []string{"1796038364349.5", `"1796038364349"`} {
		code, answer := call("POST", "/admin/credentials", `{"accessToken":"a.b.c","refreshToken":"r","expiresAt":`+expires+`}`)
		if got := answer.Get("error.message").Str; code != 400 || got != "expiresAt must be a whole number" {
			t.Errorf("%s: %d %s", expires, code, got)
		}
	}
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
