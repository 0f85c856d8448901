package tray

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

// now is a Monday, 12:00.
var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.Local)

func good() State {
	return State{
		Version: "1.0", Running: true, Root: "http://localhost:9879", SignIn: SignedIn, Email: "me_too@example.com", Plan: "plus",
		ExpiresAt: now.Add(9*24*time.Hour + time.Hour), CanImport: true, Model: "gpt-5.5",
		Windows: []Window{{"5-hour", 32.4, now.Add(150 * time.Minute)}, {"weekly", 61, now.Add(70 * time.Hour)}},
	}
}

var states = map[string]func(*State){
	"running": func(*State) {},
	"stopped": func(s *State) { s.Running = false },
	"port taken": func(s *State) {
		s.Running, s.Trouble, s.Spare = false, "Port 9879 is used by node (process 4711)", 9880
	},
	"demo": func(s *State) { s.Demo, s.CanImport = true, false },
	"signed out": func(s *State) {
		*s = State{Version: "1.0", Running: true, Root: "http://localhost:9879", SignIn: SignedOut, CanImport: true}
	},
	"starting":        func(s *State) { s.SignIn, s.Email, s.Windows = Starting, "", nil },
	"refreshing":      func(s *State) { s.SignIn = Refreshing },
	"busy refreshing": func(s *State) { s.Busy = map[Action]bool{Refresh: true} },
	"busy signing in": func(s *State) { s.Busy = map[Action]bool{SignIn: true} },
	"failing": func(s *State) {
		s.SignIn, s.Cause, s.NextAttempt, s.FailingSince = Failing, CauseNetwork, now.Add(2*time.Minute), now.Add(-time.Minute)
	},
	"spent":           func(s *State) { s.SignIn, s.Cause = SignInAgain, CauseSpent },
	"ended":           func(s *State) { s.SignIn, s.Cause = SignInAgain, CauseEnded },
	"expired":         func(s *State) { s.ExpiresAt = now.Add(-time.Minute) },
	"limit reached":   func(s *State) { s.Windows[0].UsedPercent, s.LimitReached = 100, true },
	"no limits known": func(s *State) { s.Windows = nil },
	"starts at login": func(s *State) { s.StartAtLogin = true },
}

// text draws a menu, as the golden files hold it.
func text(items []Item, indent string) string {
	var b strings.Builder
	for _, it := range items {
		mark := " "
		switch {
		case it.Hidden:
			continue
		case it.Separator:
			fmt.Fprintf(&b, "%s---\n", indent)
			continue
		case it.Checked:
			mark = "✓"
		case it.Disabled:
			mark = "·"
		}
		fmt.Fprintf(&b, "%s%s %s\n", indent, mark, it.Title)
		b.WriteString(text(it.Children, indent+"    "))
	}
	return b.String()
}

func TestTheMenuOfEachState(t *testing.T) {
	for name, change := range states {
		s := good()
		change(&s)
		got := fmt.Sprintf("icon: %s\ntooltip: %s\n\n%s", IconFor(s), Tooltip(s, now), text(Menu(s, now), ""))
		tell, _ := new(Notices).Next(s, now)
		for _, n := range tell {
			got += fmt.Sprintf("\nnotification: %s | %s | %s -> %s\n", n.Title, n.Body, n.Button, n.Action)
		}
		path := filepath.Join("testdata", "menu", strings.ReplaceAll(name, " ", "-")+".txt")
		if *update {
			os.MkdirAll(filepath.Dir(path), 0o755)
			os.WriteFile(path, []byte(got), 0o644)
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(want) != got {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, want)
		}
	}
}

// TestTheShapeNeverChanges: the renderer builds the menu once.
func TestTheShapeNeverChanges(t *testing.T) {
	var shape func([]Item) string
	shape = func(items []Item) (out string) {
		for _, it := range items {
			out += it.ID + "[" + shape(it.Children) + "]"
		}
		return out
	}
	want := shape(Menu(State{}, now))
	for name, change := range states {
		s := good()
		change(&s)
		if got := shape(Menu(s, now)); got != want {
			t.Errorf("%s has another shape:\n%s\n%s", name, got, want)
		}
	}
}

func TestANoticeIsTakenOnceAProblem(t *testing.T) {
	var n Notices
	failing := good()
	failing.SignIn, failing.FailingSince, failing.NextAttempt = Failing, now, now.Add(time.Minute)
	for step, test := range []struct {
		state State
		at    time.Duration
		tell  string
		ended string
	}{
		{good(), 0, "", ""},
		{failing, time.Minute, "", ""},    // a retry may work
		{good(), 2 * time.Minute, "", ""}, // it did
		{failing, 16 * time.Minute, "refresh", ""},
		{failing, 17 * time.Minute, "", ""}, // told already
		{good(), 18 * time.Minute, "", "refresh"},
		{failing, 40 * time.Minute, "refresh", ""}, // a new one
		{State{SignIn: SignInAgain, Cause: CauseSpent}, time.Hour, "sign-in", "refresh"},
		{State{SignIn: SignInAgain, Cause: CauseSpent, Trouble: "Port 1 is used by x"}, time.Hour, "proxy", ""},
		{State{SignIn: SignedOut}, time.Hour, "signed out", "proxy sign-in"},
	} {
		tell, ended := n.Next(test.state, now.Add(test.at))
		var told []string
		for _, x := range tell {
			told = append(told, x.Problem)
		}
		if strings.Join(told, " ") != test.tell || strings.Join(ended, " ") != test.ended {
			t.Errorf("step %d: told %v, ended %v; want %q, %q", step, told, ended, test.tell, test.ended)
		}
	}
}

func TestSnippetsAreFilledIn(t *testing.T) {
	s := good()
	for _, it := range connect(s) {
		text, told, ok := Snippet(it.Action, s)
		if !ok || text == "" || told == "" || strings.Contains(text, "{ROOT}") || strings.Contains(text, "{MODEL}") || strings.Contains(text, "{PORT}") {
			t.Errorf("%s: %q %q %v", it.Title, text, told, ok)
		}
	}
}
