//go:build unix

package creds

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
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
		Refresher: &Refresher{HTTP: &http.Client{Transport: killer{at}}, AuthURL: auth},
	})
	if err := m.Open(context.Background()); err != nil {
		fmt.Println(err)
		os.Exit(3)
	}
	store.step = func(name string) { dieAt(at, name) }
	if err := m.Refresh(context.Background()); err != nil {
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
