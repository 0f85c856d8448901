package page

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// letIn opens a session.
func letIn(t *testing.T, s *sessions) (cookie, token string) {
	t.Helper()
	cookie, token, ok := s.redeem(s.newCode(false), "", false)
	if !ok {
		t.Fatal("a fresh code is refused")
	}
	return cookie, token
}

func TestASessionOutlivesTheProgramAsHashesOnly(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "browsers")
	s := newSessions(time.Now, folder)
	cookie, token := letIn(t, s)
	code := s.newCode(false)
	other, _ := letIn(t, s)

	again := newSessions(time.Now, folder)
	if !again.known(cookie) || !again.check(cookie, token) {
		t.Error("a session is lost with the program")
	}
	if again.check(other, token) || again.check(cookie, "") || again.check("", token) {
		t.Error("a wrong token is taken after a restart")
	}
	if _, _, ok := again.redeem(code, "", false); ok {
		t.Error("a code outlives the program")
	}
	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) != 2 {
		t.Fatalf("%d files (%v)", len(entries), err)
	}
	for _, e := range entries {
		path := filepath.Join(folder, e.Name())
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 && os.PathSeparator == '/' {
			t.Errorf("%v %v", info.Mode(), err)
		}
		raw, _ := os.ReadFile(path)
		for _, secret := range []string{cookie, token, other} {
			if strings.Contains(string(raw)+e.Name(), secret) {
				t.Error("the folder holds what lets somebody in")
			}
		}
	}
	if info, err := os.Stat(folder); err != nil || info.Mode().Perm() != 0o700 && os.PathSeparator == '/' {
		t.Errorf("the folder is %v (%v)", info.Mode(), err)
	}
}

func TestAKeptSessionEndsAsOneInMemoryDoes(t *testing.T) {
	folder := t.TempDir()
	now := time.Now()
	clock := func() time.Time { return now }
	s := newSessions(clock, folder)
	cookie, token := letIn(t, s)
	now = now.Add(20 * 24 * time.Hour)
	if !s.check(cookie, token) {
		t.Fatal("a session in use ends")
	}
	now = now.Add(20 * 24 * time.Hour)
	s = newSessions(clock, folder)
	if !s.check(cookie, token) {
		t.Error("that it was used is forgotten with the program")
	}
	now = now.Add(sessionLife + time.Hour)
	s = newSessions(clock, folder)
	if s.known(cookie) || s.check(cookie, token) {
		t.Error("a session that nobody used goes on after a restart")
	}
	if left, _ := os.ReadDir(folder); len(left) > 0 {
		t.Errorf("its file is left: %v", left)
	}

	var all [][2]string
	for range 3 * mostSession {
		cookie, token := letIn(t, s)
		all = append(all, [2]string{cookie, token})
		now = now.Add(time.Minute)
	}
	s = newSessions(clock, folder)
	for i, one := range all {
		if kept := i >= len(all)-mostSession; s.check(one[0], one[1]) != kept {
			t.Errorf("session %d of %d: kept is %v", i, len(all), !kept)
		}
	}
}

// TestASessionThatWasUsedInTheFutureEndsLikeOthers: the clock was ahead then, as it may be at a start without a network.
func TestASessionThatWasUsedInTheFutureEndsLikeOthers(t *testing.T) {
	folder := t.TempDir()
	now := time.Now().Add(5 * 365 * 24 * time.Hour)
	clock := func() time.Time { return now }
	cookie, token := letIn(t, newSessions(clock, folder))
	now = time.Now()
	if s := newSessions(clock, folder); !s.check(cookie, token) {
		t.Error("a clock that is put right ends a session")
	}
	now = now.Add(sessionLife + time.Hour)
	if s := newSessions(clock, folder); s.known(cookie) || s.check(cookie, token) {
		t.Error("a session that nobody used goes on for years")
	}
}

func TestABrowserHasOneSessionAndOthersCanBeForgotten(t *testing.T) {
	folder := t.TempDir()
	s := newSessions(time.Now, folder)
	first, firstToken := letIn(t, s)
	mine, token, ok := s.redeem(s.newCode(false), first, false)
	if !ok || s.check(first, firstToken) {
		t.Error("a browser that is let in again keeps its first session")
	}
	other, otherToken := letIn(t, s)
	waiting := s.newCode(false)
	letIn(t, newSessions(time.Now, folder)) // by another program with this folder
	if err := s.forgetOthers(mine); err != nil {
		t.Error(err)
	}
	if _, _, ok := s.redeem(waiting, "", false); ok {
		t.Error("a link that is under way lets somebody in")
	}
	for _, s := range []*sessions{s, newSessions(time.Now, folder)} {
		if s.check(other, otherToken) || !s.check(mine, token) {
			t.Error("the wrong one was forgotten")
		}
		if len(s.open) != 1 {
			t.Errorf("%d browsers are let in", len(s.open))
		}
	}
	if err := os.MkdirAll(filepath.Join(folder, "held", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.forgetOthers(mine); err == nil || !strings.Contains(err.Error(), "Delete the folder "+folder) {
		t.Errorf("what can't be forgotten is told as %v", err)
	}
}

func TestWhatElseIsInTheFolderLetsNobodyIn(t *testing.T) {
	folder := t.TempDir()
	cookie := "A COOKIE"
	name := newSessions(time.Now, folder).file(hash(cookie))
	for what, put := range map[string]func() error{
		"an empty file":       func() error { return os.WriteFile(name, nil, 0o600) },
		"half a hash":         func() error { return os.WriteFile(name, []byte(strings.Repeat("0", 63)), 0o600) },
		"more than a hash":    func() error { return os.WriteFile(name, []byte(strings.Repeat("0", 65)), 0o600) },
		"no hash":             func() error { return os.WriteFile(name, []byte(strings.Repeat("x", 64)), 0o600) },
		"a folder":            func() error { return os.Mkdir(name, 0o700) },
		"another file's name": func() error { return os.WriteFile(name+"x", []byte(strings.Repeat("0", 64)), 0o600) },
	} {
		if err := put(); err != nil {
			t.Fatal(err)
		}
		if s := newSessions(time.Now, folder); s.known(cookie) || len(s.open) > 0 {
			t.Errorf("%s is a session", what)
		}
		os.Remove(name)       //nolint:errcheck // it may have another name
		os.Remove(name + "x") //nolint:errcheck // as above
	}
}

func TestAFolderThatCannotBeWrittenCostsNoSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "a file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		s := newSessions(time.Now, filepath.Join(file, "browsers"))
		cookie, token := letIn(t, s)
		time.Sleep(2 * noteEvery)
		if !s.check(cookie, token) {
			t.Error("the browser is not let in")
		}
		s.forgetOthers("") //nolint:errcheck // there is no folder to forget in
		if s.check(cookie, token) {
			t.Error("it is not forgotten")
		}
	})
}
