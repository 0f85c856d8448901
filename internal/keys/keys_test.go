package keys

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAKeyIsKnownByItsNameUntilItIsRevoked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config", "keys.json")
	s := Open(path)
	defer s.Close()
	key := New("claude")
	if !strings.HasPrefix(key, "cp-claude-") || len(key) != len("cp-claude-")+26 || key == New("claude") {
		t.Errorf("the key is %q", key)
	}
	if err := s.Add("claude", key); err != nil {
		t.Fatal(err)
	}
	if name, ok := s.Lookup(key); name != "claude" || !ok {
		t.Errorf("%q %v", name, ok)
	}
	if err := s.Add(strings.Repeat("名", 60), New("key")); err != nil {
		t.Errorf("a name of 60 letters: %v", err)
	}
	if s.Add(strings.Repeat("名", 61), New("key")) == nil {
		t.Error("a name of 61 letters is taken")
	}
	for _, wrong := range []string{"", key[:len(key)-1], key + "x", "cp-claude-", strings.ToUpper(key)} {
		if _, ok := s.Lookup(wrong); ok {
			t.Errorf("%q is known", wrong)
		}
	}
	raw, _ := os.ReadFile(path)
	if strings.Contains(string(raw), key) {
		t.Error("the key is stored in the clear")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if err := s.Revoke("claude"); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.Lookup(key); ok {
		t.Error("it is known after it was revoked")
	}
	if err := s.Revoke("claude"); !errors.Is(err, ErrUnknown) {
		t.Errorf("again: %v", err)
	}
}

func TestAnotherProgramsKeysAreKnownAtOnceAndGoneWithinASecond(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	running, command := Open(path), Open(path)
	defer running.Close()
	now := time.Now()
	running.now = func() time.Time { return now }
	key := New("codex")
	if err := command.Add("codex", key); err != nil {
		t.Fatal(err)
	}
	if name, ok := running.Lookup(key); name != "codex" || !ok {
		t.Errorf("%q %v", name, ok)
	}
	if err := command.Revoke("codex"); err != nil {
		t.Fatal(err)
	}
	now = now.Add(recheck)
	if _, ok := running.Lookup(key); ok {
		t.Error("it is still known")
	}
}

func TestAKeyIsGoodForItsRoutesOnly(t *testing.T) {
	s := Open(filepath.Join(t.TempDir(), "keys.json"))
	if err := errors.Join(s.Add("narrow", "a", "/chat/completions"), s.Add("wide", "b")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, route string
		want        bool
	}{{"narrow", "/chat/completions", true}, {"narrow", "/models", false}, {"wide", "/models", true}, {"gone", "/models", false}} {
		if got := s.Allows(c.name, c.route); got != c.want {
			t.Errorf("%s on %s: %v", c.name, c.route, got)
		}
	}
}

func TestTheLastUseOutlivesTheProgram(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	s := Open(path)
	if err := s.Add("qwen", "k"); err != nil {
		t.Fatal(err)
	}
	s.Lookup("k")
	s.Close()
	again := Open(path)
	if used := again.List()[0].Used; time.Since(used) > time.Minute {
		t.Errorf("used %v", used)
	}
}

func TestAFileThatCanNotBeReadLetsNobodyInAndIsNotWrittenOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(path, []byte("[{"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := Open(path)
	if _, ok := s.Lookup("k"); ok || s.Problem() == nil {
		t.Error("it is read")
	}
	if err := s.Add("a", "k"); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("added: %v", err)
	}
	if raw, _ := os.ReadFile(path); string(raw) != "[{" {
		t.Errorf("it is %s", raw)
	}
}

func TestALockThatCanNotBeOpenedIsNoOtherProgram(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	if err := os.Mkdir(path+".lock", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Open(path).Add("laptop", New("key")); err == nil || strings.Contains(err.Error(), "another program") || !strings.HasSuffix(err.Error(), ". Make that a file that you can write") {
		t.Errorf("%v", err)
	}
}

func TestManyProgramsMayChangeKeysAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	var wait sync.WaitGroup
	for i := range 20 {
		wait.Go(func() {
			if err := Open(path).Add(strings.Repeat("x", i+1), "k"); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if n := len(Open(path).List()); n != 20 {
		t.Errorf("%d keys", n)
	}
}
