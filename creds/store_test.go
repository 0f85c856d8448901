package creds

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"codex-proxy/internal/atomicfile"
	"codex-proxy/internal/fakebackend"
)

func TestEachWayOfHavingNoSignInIsItsOwnErrorAndSaysWhatToDo(t *testing.T) {
	for name, c := range map[string]struct {
		content string
		mode    os.FileMode
		kind    error
		says    string
	}{
		"missing":        {"", 0, ErrMissing, "no sign-in"},
		"empty":          {" ", 0o600, ErrCorrupt, "Sign in again"},
		"cut":            {`{"tokens":{"access_tok`, 0o600, ErrCorrupt, "move the file away"},
		"an API key":     {`{"auth_mode":"apikey","OPENAI_API_KEY":"sk-x"}`, 0o600, ErrNotChatGPT, "not a ChatGPT sign-in"},
		"an old API key": {`{"OPENAI_API_KEY":"sk-x"}`, 0o600, ErrNotChatGPT, "not a ChatGPT sign-in"},
		"no tokens":      {`{"auth_mode":"chatgpt","tokens":null}`, 0o600, ErrNotChatGPT, "not a ChatGPT sign-in"},
		"open to others": {`{}`, 0o666, ErrUnreadable, "chmod 600"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "auth.json")
			if c.mode != 0 {
				if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.Chmod(path, c.mode); err != nil {
					t.Fatal(err)
				}
			}
			_, err := NewFileStore(path).Load(t.Context())
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "sk-x") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestAFolderThatOthersCanWriteIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	s := NewFileStore(filepath.Join(dir, "auth.json"))
	if err := s.Save(t.Context(), FromTokens("a", "r", "", "")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Load(t.Context()); !errors.Is(err, ErrUnreadable) {
		t.Errorf("got %v", err)
	}
}

func TestALinkIsNotWrittenThrough(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "target")
	if err := os.WriteFile(target, FromTokensJSON(), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "own", "auth.json")
	os.Mkdir(filepath.Dir(link), 0o700)
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	s := NewFileStore(link)
	if _, err := s.Load(t.Context()); err != nil {
		t.Errorf("reading: %v", err)
	}
	if err := s.Reserve(t.Context()); !errors.Is(err, ErrReadOnly) {
		t.Errorf("before writing: %v", err)
	}
	for _, c := range []Credentials{FromTokens("a", "r", "", ""), {}} { // {}: signed out
		if err := s.Save(t.Context(), c); !errors.Is(err, ErrReadOnly) {
			t.Errorf("writing: %v", err)
		}
	}
	if err := atomicfile.NoLink(link); err == nil {
		t.Error("a file stands in the link's place")
	}
}

// FromTokensJSON is a file of the Codex CLI.
func FromTokensJSON() []byte {
	return fakebackend.New().SignIn(time.Hour).AuthJSON()
}

func TestAHalfWrittenFileIsReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "auth.json")
	doc := FromTokensJSON()
	if err := os.WriteFile(path, doc[:len(doc)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	go func() {
		time.Sleep(80 * time.Millisecond)
		os.WriteFile(path, doc, 0o600)
	}()
	if _, err := NewLegacyStore(path).Load(t.Context()); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestOldAndNewFilesOfTheCLIAreRead(t *testing.T) {
	auth := `"https://api.openai.com/auth":{"chatgpt_account_id":"acct-7","chatgpt_plan_type":"pro","chatgpt_account_is_fedramp":true}`
	id := fakeJWT(`{"email":"me@example.com","exp":1,` + auth + `}`)
	access := fakeJWT(`{"exp":1796306922.5,` + auth + `}`)
	for name, doc := range map[string]string{
		"old, without mode, account and last_refresh": `{"OPENAI_API_KEY":null,"tokens":{"id_token":"` + id + `","access_token":"` + access + `","refresh_token":"r"}}`,
		"new, with a key from the token exchange":     `{"auth_mode":"chatgpt","OPENAI_API_KEY":"eyJ","tokens":{"id_token":"` + id + `","access_token":"` + access + `","refresh_token":"r","oauth_provenance":{},"account_id":"acct-7"},"last_refresh":"2026-11-23T14:13:05.607005445Z"}`,
	} {
		c, err := decodeAuthFile([]byte(doc))
		if err != nil || c.AccountID != "acct-7" || c.Email != "me@example.com" || c.Plan != "pro" || !c.FedRAMP || c.ExpiresAt.Unix() != 1796306922 || c.Ownership != Shared {
			t.Errorf("%s: %v %+v", name, err, c)
		}
	}
}

func fakeJWT(payload string) string {
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".c2ln"
}

func TestCredentialsNeverPrintTheirSecrets(t *testing.T) {
	c := Credentials{AccessToken: "secret-a", RefreshToken: "secret-r", IDToken: "secret-i", Email: "me@example.com"}
	asJSON, _ := json.Marshal(c)
	for _, s := range []string{fmt.Sprint(c), fmt.Sprintf("%v %+v %#v %s %q", c, c, c, c, c), string(asJSON), fmt.Sprintf("%+v", &c), fmt.Sprint([]Credentials{c})} {
		if strings.Contains(s, "secret-") || !strings.Contains(s, "me@example.com") {
			t.Errorf("printed: %s", s)
		}
	}
}

func TestSavedFilesArePrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b", "auth.json")
	s := NewFileStore(path)
	c := FromTokens("a", "r", "i", "acct")
	c.LastRefresh, c.ImportedFrom, c.TakeOver = time.Now(), "x", true
	if err := s.Reserve(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	for p, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		if info, err := os.Stat(p); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v %v", p, info.Mode(), err)
		}
	}
	got, err := s.Load(t.Context())
	if err != nil || !got.sameTokens(c) || got.ImportedFrom != "x" || !got.TakeOver || got.Ownership != Own || got.AccountID != "acct" {
		t.Errorf("%v %+v", err, got)
	}
	files, _ := os.ReadDir(filepath.Dir(path))
	if len(files) != 1 {
		t.Errorf("left behind: %v", files)
	}
}

func FuzzAuthFile(f *testing.F) {
	f.Add([]byte(`{"tokens":{"access_token":"a","refresh_token":"r"}}`))
	f.Add([]byte(`{"tokens":null,"x":[{}]}`))
	f.Add([]byte(`[]`))
	f.Add(FromTokensJSON())
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := decodeAuthFile(raw)
		if err != nil {
			return
		}
		for _, ours := range []bool{true, false} {
			doc, err := encodeAuthFile(c, raw, ours)
			if err != nil {
				continue // a document with the tokens in an odd place is refused, not damaged
			}
			if got, err := decodeAuthFile(doc); err != nil || !got.sameTokens(c) {
				t.Fatalf("%q became %q: %v", raw, doc, err)
			}
		}
	})
}

func FuzzClaims(f *testing.F) {
	f.Add("a.b.c")
	f.Add(fakeJWT(`{"exp":1e300}`))
	f.Add(fakeJWT(`{"exp":-5,"email":3}`))
	f.Fuzz(func(t *testing.T, token string) {
		c := FromTokens(token, "r", token, "")
		if c.ExpiresAt.Year() > 9999 {
			t.Fatalf("expires in the year %d", c.ExpiresAt.Year())
		}
	})
}
