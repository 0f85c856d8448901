//go:build unix

package creds

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"codex-proxy/internal/fakebackend"
)

// The points of a refresh at which the program is killed. "none" is a refresh that ends well.
var killPoints = []string{"before the call", "after the answer", "create", "write", "sync", "rename", "done", "none"}

// TestMain lets the test binary be the program that is killed.
func TestMain(m *testing.M) {
	if os.Getenv("KILL_AT") != "" {
		refreshAndDie(os.Getenv("KILL_AT"), os.Getenv("KILL_FILE"), os.Getenv("KILL_AUTH"))
		return
	}
	goleak.VerifyTestMain(m)
}

// killer kills this process around the call to the auth server.
type killer struct{ at string }

func (k killer) RoundTrip(r *http.Request) (*http.Response, error) {
	dieAt(k.at, "before the call")
	resp, err := http.DefaultTransport.RoundTrip(r)
	dieAt(k.at, "after the answer")
	return resp, err
}

func dieAt(at, here string) {
	if at == here {
		syscall.Kill(os.Getpid(), syscall.SIGKILL) //nolint:errcheck // there is no after
		select {}
	}
}

func refreshAndDie(at, file, auth string) {
	store := NewFileStore(file)
	m := NewManager(Config{
		Store:     store,
		Refresher: &Refresher{HTTP: &http.Client{Transport: killer{at}}, AuthURL: auth}, TakeOver: true,
	})
	if err := m.Open(context.Background()); err != nil && !errors.Is(err, ErrMissing) {
		fmt.Println(err)
		os.Exit(3)
	}
	store.step = func(name string) { dieAt(at, name) }
	var err error
	switch os.Getenv("KILL_VERB") {
	case "import":
		var c Credentials
		if c, err = NewLegacyStore(os.Getenv("KILL_CLI")).Load(context.Background()); err == nil {
			err = m.Import(context.Background(), c)
		}
	case "transfer":
		err = m.Transfer(context.Background(), func(context.Context, Credentials) error {
			dieAt(at, "before the call")
			if err := os.WriteFile(os.Getenv("KILL_CLI"), []byte("given"), 0o600); err != nil {
				return err
			}
			dieAt(at, "after the answer")
			return nil
		})
	case "workspace":
		err = m.SelectWorkspace(context.Background(), "acct-team")
	default:
		err = m.Refresh(context.Background())
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(4)
	}
}

// letAMinutePass makes the last refresh one of an hour ago.
func (w *world) letAMinutePass() {
	store := NewFileStore(w.path())
	a := store.Attempt(w.t.Context())
	a.At = a.At.Add(-time.Hour)
	if err := store.Note(w.t.Context(), a); err != nil {
		w.t.Fatal(err)
	}
}

// TestKillAtEveryPointOfARefresh ends the program by kill -9 at each point of a refresh. Afterwards the file parses,
// and holds the newest refresh token that had reached the disk; the next start goes on with it.
func TestKillAtEveryPointOfARefresh(t *testing.T) {
	rounds := 60
	if n, err := strconv.Atoi(os.Getenv("KILL_ROUNDS")); err == nil {
		rounds = n
	}
	w := newWorld(t)
	server := httptest.NewServer(w.backend)
	defer server.Close()
	sign := w.own(100 * time.Hour)
	for round := range rounds {
		at := killPoints[round%len(killPoints)]
		before := w.backend.Newest(sign)
		cmd := exec.Command(os.Args[0], "-test.run", "^$")
		cmd.Env = append(os.Environ(), "KILL_AT="+at, "KILL_FILE="+w.path(), "KILL_AUTH="+server.URL)
		out, err := cmd.CombinedOutput()
		if (err == nil) != (at == "none") {
			t.Fatalf("round %d, %s: %v %s", round, at, err, out)
		}
		if cmd.ProcessState.ExitCode() > 0 {
			t.Fatalf("round %d, %s: exit %d: %s", round, at, cmd.ProcessState.ExitCode(), out)
		}
		w.letAMinutePass()
		c, err := NewFileStore(w.path()).Load(t.Context())
		if err != nil {
			t.Fatalf("round %d, %s: %v", round, at, err)
		}
		newest := w.backend.Newest(sign)
		switch at {
		case "before the call":
			if c.RefreshToken != before || newest != before {
				t.Fatalf("round %d, %s: the token changed", round, at)
			}
		case "after the answer", "create", "write":
			// The answer was in memory only. The old sign-in is whole; a new one is needed, as after any lost answer.
			if c.RefreshToken != before {
				t.Fatalf("round %d, %s: the old token is gone", round, at)
			}
			sign = w.own(100 * time.Hour)
		default:
			if c.RefreshToken != newest || newest == before {
				t.Fatalf("round %d, %s: the newest refresh token is not there", round, at)
			}
		}
	}
	if w.backend.Counts().Reused != 0 {
		t.Error("a refresh token was used twice")
	}
}

// TestKillAtEveryPointOfTheOtherVerbs ends the program by kill -9 at each point of an import, a transfer and a choice of
// workspace. Afterwards there is a sign-in that can be refreshed, wherever that was possible, and never half of one.
func TestKillAtEveryPointOfTheOtherVerbs(t *testing.T) {
	rounds := 1
	if n, err := strconv.Atoi(os.Getenv("KILL_ROUNDS")); err == nil {
		rounds = max(n/(4*len(killPoints)), 1)
	}
	for _, verb := range []string{"first import", "import", "transfer", "workspace"} {
		for _, at := range killPoints {
			for range rounds {
				killVerb(t, verb, at)
			}
		}
	}
}

func killVerb(t *testing.T, verb, at string) {
	if verb == "workspace" && (at == "before the call" || at == "after the answer") {
		return // it calls nobody
	}
	w := newWorld(t)
	server := httptest.NewServer(w.backend)
	defer server.Close()
	var own, cli fakebackend.Tokens
	if verb != "first import" {
		own = w.own(100 * time.Hour)
	} else if err := os.MkdirAll(filepath.Dir(w.path()), 0o700); err != nil {
		t.Fatal(err)
	}
	given := filepath.Join(w.dir, "given")
	source := given
	if verb == "import" || verb == "first import" {
		cli = w.backend.SignIn(100 * time.Hour)
		w.write(w.cli(), cli.AuthJSON())
		source = w.cli()
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^$")
	cmd.Env = append(os.Environ(), "KILL_AT="+at, "KILL_FILE="+w.path(), "KILL_AUTH="+server.URL, "KILL_CLI="+source, "KILL_VERB="+strings.TrimPrefix(verb, "first "))
	if out, err := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() > 0 || (err == nil) != (at == "none") {
		t.Fatalf("%s, %s: %v %s", verb, at, err, out)
	}
	c, err := NewFileStore(w.path()).Load(t.Context())
	_, gave := os.Stat(given)
	switch {
	case err != nil && !errors.Is(err, ErrMissing) && !errors.Is(err, ErrSignedOut):
		t.Errorf("%s, %s: %v", verb, at, err)
	case verb == "transfer" && err != nil && gave != nil:
		t.Errorf("%s, %s: it is neither here nor there", verb, at)
	case verb == "transfer":
	case err != nil && verb != "first import":
		t.Errorf("%s, %s: %v", verb, at, err)
	case err == nil && c.RefreshToken != own.Refresh && c.RefreshToken != w.backend.Newest(cli):
		t.Errorf("%s, %s: what is stored is spent", verb, at)
	case at == "none" && verb == "workspace" && c.AccountID != "acct-team", at == "none" && cli.Refresh != "" && c.RefreshToken != w.backend.Newest(cli):
		t.Errorf("%s ended well and is not stored", verb)
	}
}
