package tray

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sergeymakinen/go-ico"

	"codex-proxy/assets"
)

var update = flag.Bool("update", false, "write the golden files anew")

// now is a Monday, 12:00.
var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.Local)

func good() State {
	return State{
		Version: "1.0", Running: true, Root: "http://localhost:9879", SignIn: SignedIn, Usable: true, Email: "me_too@example.com", Plan: "plus",
		ExpiresAt: now.Add(9*24*time.Hour + time.Hour), CanImport: true, Model: "gpt-5.5",
		Windows: []Window{{"5-hour", 32.4, now.Add(150 * time.Minute)}, {"weekly", 61, now.Add(70 * time.Hour)}},
		Tools:   []Tool{{"claude", "Claude Code", true}},
	}
}

var states = map[string]func(*State){
	"running":  func(*State) {},
	"stopped":  func(s *State) { s.Running = false },
	"stopping": func(s *State) { s.Running, s.Busy = false, map[Action]bool{Stop: true} },
	"paused":   func(s *State) { s.Running, s.PausedUntil = false, now.Add(time.Hour) },
	"port taken": func(s *State) {
		s.Running, s.Trouble, s.Spare = false, "Port 9879 is used by node (process 4711)", 9880
	},
	"another port": func(s *State) { s.Root, s.UsualPort = "http://localhost:9880", 9879 },
	"demo":         func(s *State) { s.Demo, s.CanImport = true, false },
	"nobody": func(s *State) {
		*s = State{Version: "1.0", Running: true, Root: "http://localhost:9879", SignIn: SignedOut, CanImport: true}
	},
	"signed out": func(s *State) {
		*s = State{Version: "1.0", Running: true, Root: "http://localhost:9879", SignIn: SignedOut, ByUser: true, CanImport: true}
	},
	"unread": func(s *State) {
		*s = State{Version: "1.0", Running: true, Root: "http://localhost:9879", SignIn: SignedOut, Unread: true, CanImport: true,
			Problem: "keychain: stored sign-in can't be read (it is locked). Unlock the keychain, and it is read by itself"}
	},
	"starting":        func(s *State) { s.SignIn, s.Usable, s.Email, s.Windows = Starting, false, "", nil },
	"refreshing":      func(s *State) { s.SignIn = Refreshing },
	"busy refreshing": func(s *State) { s.Busy = map[Action]bool{Refresh: true} },
	"signing in": func(s *State) {
		s.SignIn, s.Usable, s.Problem = SignInAgain, false, "OpenAI ended this sign-in"
		s.SigningIn = &Prompt{Address: "https://auth.openai.com/oauth/authorize?x"}
	},
	"signing in by code": func(s *State) {
		s.SignIn, s.Usable, s.Email, s.Windows = SignedOut, false, "", nil
		s.SigningIn = &Prompt{Address: "https://auth.openai.com/codex/device", Code: "ABCD-12345", Expires: now.Add(15 * time.Minute)}
	},
	"failing": func(s *State) {
		s.SignIn, s.Problem, s.NextAttempt, s.FailingSince = Failing, "OpenAI's auth server is not reached", now.Add(2*time.Minute), now.Add(-time.Minute)
	},
	"failing for long": func(s *State) {
		s.SignIn, s.Problem, s.NextAttempt, s.FailingSince = Failing, "OpenAI's auth server is not reached", now.Add(2*time.Minute), now.Add(-20*time.Minute)
	},
	"failing and ending": func(s *State) {
		s.SignIn, s.Problem, s.FailingSince, s.ExpiresAt = Failing, "OpenAI's auth server is not reached", now.Add(-time.Minute), now.Add(15*time.Minute)
	},
	"refused": func(s *State) {
		s.SignIn, s.Usable, s.Problem, s.FailingSince, s.NextAttempt = Failing, false, "ChatGPT refuses the sign-in, and it could not be refreshed", now.Add(-time.Minute), now.Add(2*time.Minute)
	},
	"sign in again": func(s *State) {
		s.SignIn, s.Usable, s.Problem = SignInAgain, false, "Another program used this sign-in's refresh token first"
	},
	"spent and usable": func(s *State) {
		s.SignIn, s.Problem = SignInAgain, "Another program used this sign-in's refresh token first"
	},
	"clock ahead":     func(s *State) { s.ClockOff = 2 * time.Hour },
	"limit near":      func(s *State) { s.Windows[0].UsedPercent = 91.6 },
	"limit reached":   func(s *State) { s.Windows[0].UsedPercent, s.LimitReached = 100, true },
	"no limits known": func(s *State) { s.Windows = nil },
	"a failed request": func(s *State) {
		s.LastError, s.LastErrorAt = "Zed: there is no model gpt-9 in your plan", now.Add(-5*time.Minute)
	},
	"a page asks":     func(s *State) { s.AskedOrigin = "http://localhost:3000" },
	"a newer version": func(s *State) { s.Newer = "1.3.0" },
	"starts at login": func(s *State) { s.StartAtLogin, s.Meter = true, true },
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
		got := fmt.Sprintf("icon: %s\ntooltip: %s\n\n%s", IconFor(s, now), Tooltip(s, now), text(Menu(s, now), ""))
		tell, _ := new(Notices).Next(s, now)
		for _, n := range tell {
			got += fmt.Sprintf("\nnotification: %s | %s | %s -> %s\n", n.Title, n.Body, n.Button, cmp.Or(n.Press, n.Action))
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

func TestEachProblemIsToldOnce(t *testing.T) {
	failing := good()
	failing.SignIn, failing.FailingSince, failing.NextAttempt = Failing, now, now.Add(time.Minute)
	refreshing := failing
	refreshing.SignIn = Refreshing
	spent := good()
	spent.SignIn, spent.Usable = SignInAgain, false
	retried := spent
	retried.SignIn = Refreshing
	blocked := spent
	blocked.Trouble = "Port 1 is used by x"
	blockedToo := blocked
	blockedToo.Trouble = "Port 2 is used by y"
	nearly, full := good(), good()
	nearly.Windows[0].UsedPercent = 90
	full.LimitReached = true
	imported := good()
	imported.Imported = true
	importedRefreshing := imported
	importedRefreshing.SignIn = Refreshing
	importedBlocked := imported // its port belongs to another program: tools must not be pointed there
	importedBlocked.Running, importedBlocked.Trouble = false, "Port 1 is used by x"
	asked, another := good(), good()
	asked.AskedOrigin, another.AskedOrigin = "http://localhost:3000", "http://localhost:4000"
	var n Notices
	for step, test := range []struct {
		state State
		at    time.Duration // minutes
		tell  string
		ended string
	}{
		{good(), 0, "", ""},
		{failing, 1, "", ""}, // a retry may work
		{refreshing, 2, "", ""},
		{good(), 3, "", ""}, // it did
		{failing, 15, "refresh", ""},
		{refreshing, 15, "", ""}, // nothing is decided while it is tried again
		{failing, 16, "", ""},
		{good(), 17, "", "refresh"},
		{failing, 40, "refresh", ""}, // a new one
		{spent, 60, "sign-in", "refresh"},
		{retried, 60, "", ""},
		{spent, 61, "", ""},
		{blocked, 62, "proxy: Port 1 is used by x", ""},
		{blockedToo, 62, "proxy: Port 2 is used by y", "proxy: Port 1 is used by x"},           // another port was tried
		{State{SignIn: SignedOut, ByUser: true}, 63, "", "proxy: Port 2 is used by y sign-in"}, // the user knows
		{State{SignIn: SignedOut}, 64, "nobody", ""},
		{State{SignIn: SignedOut, SigningIn: &Prompt{}}, 65, "", "nobody"}, // and is at it
		{importedBlocked, 65, "proxy: Port 1 is used by x", ""},
		{imported, 66, "Signed in as me_too@example.com", "proxy: Port 1 is used by x"},
		{importedRefreshing, 67, "", ""},
		{imported, 68, "", ""}, // once a launch
		{nearly, 70, "nearly 5-hour", ""},
		{full, 71, "limit", "nearly 5-hour"},
		{good(), 72, "", "limit"},
		{asked, 73, "origin http://localhost:3000", ""},
		{another, 74, "origin http://localhost:4000", "origin http://localhost:3000"}, // the first one was answered
	} {
		tell, ended := n.Next(test.state, now.Add(test.at*time.Minute))
		var told []string
		for _, x := range tell {
			if x.Problem == "" {
				x.Problem = x.Title
			}
			told = append(told, x.Problem)
		}
		if strings.Join(told, " ") != test.tell || strings.Join(ended, " ") != test.ended {
			t.Errorf("step %d: told %v, ended %v; want %q, %q", step, told, ended, test.tell, test.ended)
		}
	}
}

// TestOnlyTheButtonLetsAPageIn: who clicks a notification away has not said yes.
func TestOnlyTheButtonLetsAPageIn(t *testing.T) {
	s := good()
	s.AskedOrigin = "http://localhost:3000"
	tell, _ := new(Notices).Next(s, now)
	if len(tell) != 1 || tell[0].Action != Open("settings") || tell[0].Press != AllowPrefix+"http://localhost:3000" {
		t.Errorf("told: %+v", tell)
	}
}

// TestASecondStartIsNoAlarmWhileAllIsWell: it shows where the program is.
func TestASecondStartIsNoAlarmWhileAllIsWell(t *testing.T) {
	for name, change := range states {
		s := good()
		change(&s)
		if n := Shown(s, now); n.Quiet == (IconFor(s, now) == IconAttention) {
			t.Errorf("%s: told quietly is %v", name, n.Quiet)
		}
	}
}

func TestARefreshThatFailsIsToldAfter15MinutesOrShortlyBeforeTheEnd(t *testing.T) {
	for _, test := range []struct {
		failing, left time.Duration
		told          bool
	}{
		{14 * time.Minute, 2 * time.Hour, false}, {15 * time.Minute, 2 * time.Hour, true},
		{time.Minute, 21 * time.Minute, false}, {time.Minute, 19 * time.Minute, true},
	} {
		s := good()
		s.SignIn, s.FailingSince, s.ExpiresAt = Failing, now.Add(-test.failing), now.Add(test.left)
		tell, _ := new(Notices).Next(s, now)
		if (len(tell) == 1) != test.told || (IconFor(s, now) == IconAttention) != test.told {
			t.Errorf("failing for %s, good for %s: told %v, icon %s", test.failing, test.left, tell, IconFor(s, now))
		}
	}
}

func TestTheIconIsGreenOnlyWhileRequestsAreServed(t *testing.T) {
	for name, change := range states {
		s := good()
		change(&s)
		if IconFor(s, now) == IconRunning && (!s.Usable || !s.Running || s.LimitReached) {
			t.Errorf("%s: the icon is green", name)
		}
	}
}

func TestWhatMendsATroubleStandsRightBelowIt(t *testing.T) {
	for name, change := range states {
		s := good()
		change(&s)
		items := Menu(s, now)
		if items[0].ID != "status" || items[1].ID != "mend" {
			t.Fatalf("%s: the menu begins with %s and %s", name, items[0].ID, items[1].ID)
		}
		for _, trouble := range Troubles(s, now) {
			if trouble.Level == Fail && trouble.Action != "" && !isOpen(trouble.Action) && s.SigningIn == nil && (items[1].Hidden || items[1].Disabled || items[1].Title != trouble.Button) {
				t.Errorf("%s: below %q stands %+v", name, items[0].Title, items[1])
			}
		}
		for _, item := range items {
			if !item.Hidden && item.Title != "" && item.Action == "" && item.Children == nil {
				t.Errorf("%s: %q does nothing", name, item.Title)
			}
		}
	}
}

func TestTheMeterIsABarAlongTheLowerEdge(t *testing.T) {
	icon := assets.PNG("running")
	if !bytes.Equal(withMeter(icon, -1, false), icon) {
		t.Error("without a share the picture changed")
	}
	for percent, want := range map[float64]color.NRGBA{0: meterLeft, 49: meterLeft, 51: meterUsed, 95: meterFull} {
		picture, err := png.Decode(bytes.NewReader(withMeter(icon, percent, false)))
		if err != nil {
			t.Fatal(err)
		}
		if got := color.NRGBAModel.Convert(picture.At(32, 63)); got != color.Color(want) {
			t.Errorf("%v%%: in the middle it is %v, want %v", percent, got, want)
		}
	}
	if _, err := ico.Decode(bytes.NewReader(toICO(withMeter(icon, 50, false)))); err != nil {
		t.Errorf("Windows' icon: %v", err)
	}
}

func TestAConnectedToolIsChecked(t *testing.T) {
	for _, item := range connectItems(good()) {
		if item.Checked != (item.ID == "connect claude") || item.Action == "" || item.Title == "" {
			t.Errorf("%+v", item)
		}
	}
}
