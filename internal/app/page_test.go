package app

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/adrg/xdg"

	"codex-proxy/internal/history"
	"codex-proxy/internal/page"
	"codex-proxy/proxy"
)

// TestThePageSaysEachThingOnce: what has a place of its own on the page is not a problem or a note besides.
func TestThePageSaysEachThingOnce(t *testing.T) {
	p := open(t)
	p.pageAsked("http://localhost:3000")
	s := p.Snapshot()
	if s.Problem != nil || len(s.Notes) > 0 || len(s.Origins) != 1 || s.Origins[0].State != "asks" {
		t.Errorf("a page asks: %+v %v %v", s.Problem, s.Notes, s.Origins)
	}
}

func TestARequestUnderWayIsShownWithTheModelThatIsAsked(t *testing.T) {
	p := open(t)
	p.view = p
	for id, model := range map[uint64]string{1: "", 2: "gpt-5.5-high"} {
		p.onStart(proxy.Start{ID: id, Time: time.Unix(int64(id), 0), Client: "Zed", Route: "/v1/responses", Model: model})
	}
	shown := p.Snapshot().Active
	if len(shown) != 2 || shown[0].Model != "gpt-5.5-high" || shown[1].Model != p.client.Models.Default() || shown[1].Client != "Zed" || shown[1].Route != "/v1/responses" {
		t.Errorf("%+v", shown)
	}
	p.onRequest(proxy.Record{Start: proxy.Start{ID: 1}})
	if shown := p.Snapshot().Active; len(shown) != 1 {
		t.Errorf("one has been answered: %+v", shown)
	}
}

// TestTheWorkspaceIsTheOneThatIsUsed: it may have been chosen in the menu, or by a command.
func TestTheWorkspaceIsTheOneThatIsUsed(t *testing.T) {
	p := open(t)
	p.workspaces = []page.Workspace{{ID: "personal"}, {ID: "team"}}
	var s State
	s.SignIn.AccountID = "team"
	var out page.Snapshot
	p.addOwn(&out, s)
	if w := out.SignIn.Workspaces; len(w) != 2 || w[0].Selected || !w[1].Selected {
		t.Errorf("the page shows %+v", w)
	}
}

// TestEachRunOfAToolIsTheSameTool: where keys are asked for, a run and a test request have one that is theirs alone.
func TestEachRunOfAToolIsTheSameTool(t *testing.T) {
	p := open(t)
	p.view = p
	p.history = history.Open(filepath.Join(t.TempDir(), "history.db"), history.Options{})
	defer p.history.Close()
	for id := range uint64(2) {
		_, forget, err := p.PassingKey("claude", State{KeyRequired: true})
		if err != nil {
			t.Fatal(err)
		}
		start := proxy.Start{ID: id, Time: time.Now(), Dialect: "openai", Client: p.Keys()[0].Name}
		p.onStart(start)
		if shown := p.Snapshot().Active; len(shown) != 1 || shown[0].Client != "claude" {
			t.Errorf("under way are %+v", shown)
		}
		p.onRequest(proxy.Record{Start: start, Status: 200})
		forget()
	}
	if err := p.history.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if clients, _, err := p.history.Names(t.Context()); err != nil || len(clients) != 1 || clients[0] != "claude" {
		t.Errorf("kept are %q (%v)", clients, err)
	}
}

func TestTheHistoryKnowsWhichAnswersWereCancelled(t *testing.T) {
	p := open(t)
	p.history = history.Open(filepath.Join(t.TempDir(), "history.db"), history.Options{})
	defer p.history.Close()
	p.onRequest(proxy.Record{Start: proxy.Start{ID: 1, Time: time.Now(), Dialect: "openai"}, Status: 200, Gone: true})
	if err := p.history.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if found, err := p.history.Requests(t.Context(), history.Filter{}, 2); err != nil || len(found) != 1 || !found[0].Gone {
		t.Errorf("kept are %+v (%v)", found, err)
	}
}

// TestAHistoryThatCantBeKeptIsSaidOnceAndAtOnce: open pages are told of it.
func TestAHistoryThatCantBeKeptIsSaidOnceAndAtOnce(t *testing.T) {
	home := t.TempDir()
	t.Cleanup(xdg.Reload) // when the variables are as before
	t.Setenv("XDG_STATE_HOME", filepath.Join(home, "state"))
	xdg.Reload()
	p := openIn(t, home)
	if err := os.MkdirAll(filepath.Join(StateFolder(), "history.db"), 0o700); err != nil { // no file can be there
		t.Fatal(err)
	}
	changes, cancel := p.Watch()
	defer cancel()
	p.openHistory()
	defer p.history.Close()
	p.history.Add(history.Record{Time: time.Now(), Client: "x", Status: 200})
	select {
	case <-changes:
	case <-time.After(10 * time.Second):
		t.Error("open pages are not told")
	}
	problem := p.history.Problem()
	if problem == "" || !slices.Equal(p.Snapshot().Notes, []string{problem}) {
		t.Errorf("the problem is %q, the notes are %q", problem, p.Snapshot().Notes)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // nobody is asked
	told := func(problem string) (out Finding) {
		p.Examine(ctx, &State{HistoryProblem: problem}, false, func(f Finding) {
			if f.Subject == "History" {
				out = f
			}
		})
		return out
	}
	if f := told(problem); f.Verdict != Bad || f.Text+". "+f.Advice != problem || f.Advice != "Move history.db away, and a new one is begun" {
		t.Errorf("of %q the doctor says %+v", problem, f)
	}
	for _, nothingToDo := range []string{"The history's file was damaged: it is kept as history.db.damaged, and a new one was begun", ""} {
		if f := told(nothingToDo); f.Advice != "" || f.Text != nothingToDo {
			t.Errorf("of %q the doctor says %+v", nothingToDo, f)
		}
	}
	if state := p.State(); state.HistoryProblem != problem {
		t.Errorf("the problem is %q, the state says %q", problem, state.HistoryProblem)
	}
}

// TestASettingsFileThatIsBrokenIsSaidAndChangesNothing, and the page is not left where nobody listens.
func TestASettingsFileThatIsBrokenIsSaidAndChangesNothing(t *testing.T) {
	p := open(t)
	p.page = page.New(page.Config{App: p})
	p.service.SetPort(0)
	if err := p.Start(0); err != nil {
		t.Fatal(err)
	}
	defer p.service.Stop()
	const broken = `{"port": nope`
	if err := os.MkdirAll(ConfigFolder(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(SettingsFile(), []byte(broken), 0o600); err != nil {
		t.Fatal(err)
	}
	if notes := p.Snapshot().Notes; len(notes) != 1 || !strings.Contains(notes[0], SettingsFile()) {
		t.Errorf("notes: %v", notes)
	}
	for name, value := range map[string]string{"icon-meter": "true", "mute": `["limits"]`, "allow-origin": `["http://localhost:3000"]`, "strict": "true"} {
		if _, err := p.set(name, json.RawMessage(value), false); err == nil {
			t.Errorf("%s is kept in a broken file", name)
		}
	}
	if s := p.App.State(); s.Meter || len(s.Mute) > 0 || len(p.origins.allowed()) > 0 {
		t.Errorf("what is not kept holds all the same: %+v", s)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	before := p.service.Addr()
	out, err := p.set("port", json.RawMessage(strconv.Itoa(port)), false)
	if saved, ok := out.(page.Saved); p.service.Addr() != before && (err != nil || !ok || !strings.Contains(saved.Open, ":"+strconv.Itoa(port)+"/") || !strings.Contains(saved.Message, SettingsFile())) {
		t.Errorf("the proxy has moved to %s, and the page hears %+v, %v", p.service.Addr(), out, err)
	}
	if raw, _ := os.ReadFile(SettingsFile()); string(raw) != broken {
		t.Errorf("the user's file is %s now", raw)
	}
}

// ownHome is a home in which state and sockets are the test's own.
func ownHome(t *testing.T) string {
	t.Helper()
	home := t.TempDir()
	t.Cleanup(xdg.Reload) // when the variables are as before
	t.Setenv("XDG_STATE_HOME", filepath.Join(home, "state"))
	t.Setenv("XDG_RUNTIME_DIR", filepath.Join(home, "run"))
	xdg.Reload()
	return home
}

// TestThePageOfAStoppedProxyIsWhereItWasAfterARestart: the menu's program stays stopped over a restart, and a page that
// is open beside it must find it again.
func TestThePageOfAStoppedProxyIsWhereItWasAfterARestart(t *testing.T) {
	home := ownHome(t)
	life := func(work func(*App)) {
		t.Helper()
		p := openIn(t, home)
		p.program.Icon, p.Settings.CodexHome = true, filepath.Join(home, "codex")
		p.service.SetPort(0)
		ctx, cancel := context.WithCancel(t.Context())
		p.Prepare(ctx, Life{Quit: cancel})
		ended := make(chan error, 1)
		entered := make(chan struct{})
		p.App.life.Entered = func() { close(entered) }
		go func() { ended <- p.Run(ctx) }()
		<-entered
		work(p.App)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		p.Close()
	}
	answers := func(addr string) bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/page/icon.svg", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, resp.Body)
		return err == nil && resp.StatusCode == http.StatusOK
	}

	// The answer to the stop brings the page aside: there it must not hear that the proxy is running, and go back.
	life(func(a *App) {
		a.Settings.Listen = "localhost"
		if err := a.Start(0); err != nil {
			t.Error(err)
		}
		a.saving.Lock() // as long as this is held, the stop can't begin
		out, err := a.view.Do(t.Context(), page.ActionStop, json.RawMessage("{}"))
		running := a.view.Snapshot().Running
		a.saving.Unlock()
		if saved, ok := out.(page.Saved); err != nil || !ok || saved.Open == "" || running {
			t.Errorf("%+v, %v; running: %v", out, err, running)
		}
		for end := time.Now().Add(10 * time.Second); a.stopping.Load(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("the stop does not end")
			}
		}
		if err := os.Remove(spareDoorNote()); err != nil {
			t.Error(err)
		}
		if err := a.Start(0); err != nil || !a.view.Snapshot().Running {
			t.Errorf("started again: %v", err)
		}
	})

	var aside string
	life(func(a *App) {
		if a.spareAddr != "" {
			t.Error("there is a second port without need")
		}
		if err := a.Stop(); err != nil {
			t.Error(err)
		}
		addr, err := a.spareDoor()
		if err != nil || !answers(addr) {
			t.Errorf("at %s: %v", addr, err)
		}
		aside = addr
	})
	if answers(aside) {
		t.Error("somebody answers when the program has ended")
	}
	for range 2 { // as often as it is started
		life(func(a *App) {
			if a.service.Addr() != "" || !answers(aside) {
				t.Errorf("the proxy is at %q, and the page not where it was", a.service.Addr())
			}
		})
	}
	life(func(a *App) {
		if err := a.Start(0); err != nil {
			t.Error(err)
		}
	})
	life(func(a *App) {
		if !answers(aside) {
			t.Error("a page that was not looked at meanwhile does not find the way home")
		}
	})
	life(func(a *App) {
		if a.spareAddr != "" {
			t.Error("the second port stays open though nobody needs it")
		}
	})

	// A page that goes to a second port which was open already is found again, too.
	life(func(a *App) {
		addr, err := a.spareDoor()
		if err != nil {
			t.Error(err)
		}
		aside = addr
	})
	life(func(a *App) {
		out, err := a.view.Do(t.Context(), page.ActionStop, json.RawMessage("{}"))
		if err != nil {
			t.Errorf("%+v, %v", out, err)
		}
		for end := time.Now().Add(10 * time.Second); a.stopping.Load(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("the stop does not end")
			}
		}
	})
	life(func(a *App) {
		if a.service.Addr() != "" || !answers(aside) {
			t.Errorf("the proxy is at %q, and the page not where it was", a.service.Addr())
		}
	})
}
