package page

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"codex-proxy/internal/history"
)

// fakeApp is a program that does what it is told.
type fakeApp struct {
	mu        sync.Mutex
	state     Snapshot
	listeners map[chan struct{}]struct{}
	done      []string                                      // actions with their arguments
	actions   map[Action]func(json.RawMessage) (any, error) // what they do; nil does nothing
}

func (f *fakeApp) Snapshot() Snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.state
	s.Tools, s.Settings, s.Keys, s.Origins = slices.Clone(s.Tools), slices.Clone(s.Settings), slices.Clone(s.Keys), slices.Clone(s.Origins)
	return s
}

func (f *fakeApp) Subscribe() (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	f.mu.Lock()
	f.listeners[ch] = struct{}{}
	f.mu.Unlock()
	return ch, func() {
		f.mu.Lock()
		delete(f.listeners, ch)
		f.mu.Unlock()
	}
}

func (f *fakeApp) subscribers() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.listeners)
}

func (f *fakeApp) update(change func(*Snapshot)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(&f.state)
	for ch := range f.listeners {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

func (f *fakeApp) Do(_ context.Context, action Action, args json.RawMessage) (any, error) {
	f.mu.Lock()
	f.done = append(f.done, string(action)+" "+string(args))
	do, known := f.actions[action]
	can := slices.Contains(f.state.Can, action)
	f.mu.Unlock()
	switch {
	case !can:
		return nil, ErrUnknownAction
	case known:
		return do(args)
	}
	return nil, nil
}

func (f *fakeApp) did(what string) bool { return f.times(what) > 0 }

func (f *fakeApp) times(what string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, done := range f.done {
		if done == what {
			n++
		}
	}
	return n
}

var allActions = []Action{
	ActionStart, ActionStop, ActionRestart, ActionOpenLog, ActionSignIn, ActionCancelSignIn, ActionImport, ActionRefresh, ActionSignOut, ActionWorkspaces,
	ActionSelectWorkspace, ActionAllowOrigin, ActionDenyOrigin, ActionForgetOrigin, ActionToolPreview, ActionToolConnect, ActionToolDisconnect, ActionTest,
	ActionSet, ActionReset, ActionDoctor, ActionKeyCreate, ActionKeyRevoke, ActionFirstStartDone,
}

var ways = []Way{
	{ID: "codex", Name: "Codex sign-in", Detail: "In this browser, with a plan that has Codex. For most people."},
	{ID: "device", Name: "Codex sign-in by code", Detail: "Type a code on another device, when this one has no browser."},
	{ID: "chatgpt", Name: "Sign in with ChatGPT", Detail: "Plus and Pro only, with a weekly cap for each app.", Warning: "OpenAI's terms for this sign-in say that it is for the connected application only, and not for general access by other tools."},
}

// healthy is a program that is well.
func healthy(now time.Time, root string) Snapshot {
	return Snapshot{
		Version: "1.3.0", Running: true, Root: root, Can: allActions, Ways: ways, Tested: true,
		SignIn: SignIn{
			Status: Good, Email: "demo@example.com", Plan: "plus", Way: "Codex sign-in", ExpiresAt: now.Add(9 * 24 * time.Hour), LastRefresh: now.Add(-14 * time.Minute),
			Store: "~/.config/codex-proxy/auth.json", CanImport: "demo@example.com from the Codex CLI",
			Workspaces: []Workspace{{ID: "w1", Name: "Personal", Plan: "plus", Selected: true}, {ID: "w2", Name: "Example Ltd", Plan: "business"}},
		},
		Windows: []Window{
			{Name: "5-hour", Used: 61, Length: 5 * time.Hour, ResetsAt: now.Add(2*time.Hour + 40*time.Minute)},
			{Name: "weekly", Used: 32, Length: 7 * 24 * time.Hour, ResetsAt: now.Add(43 * time.Hour)},
		},
		Active: []Request{{ID: "a", Since: now.Add(-4 * time.Second), Client: "Claude Code", Route: "/v1/messages", Model: "gpt-5.5"}},
		Tools: []Tool{
			{ID: "claude", Name: "Claude Code", Found: true, Connected: true, HasFile: true, Recipe: "ANTHROPIC_BASE_URL=" + root, Run: "codex-proxy run claude", LastUsed: now.Add(-3 * time.Minute).Format(time.RFC3339)},
			{ID: "codex", Name: "Codex CLI", Found: true, HasFile: true, Recipe: "model_provider = \"codex-proxy\"", Run: "codex-proxy run codex"},
			{ID: "zed", Name: "Zed", Found: true, Connected: true, HasFile: true, Trouble: "points at port 9000, where nothing listens", Recipe: "{}"},
			{ID: "vscode", Name: "VS Code", Found: true, HasFile: true, Recipe: "[{}]"},
			{ID: "raycast", Name: "Raycast", HasFile: true, Recipe: "providers: []", Where: "Paste it into ~/.config/raycast/ai/providers.yaml"},
			{ID: "jetbrains", Name: "JetBrains", Recipe: root + "/v1", Where: "Settings, Tools, AI Assistant, Providers & API keys, OpenAI-compatible"},
		},
		Origins: []Origin{{"http://localhost:5173", "allowed"}, {"http://localhost:8080", "denied"}},
		Settings: []Setting{
			{Name: "port", Label: "Port", Help: "Where tools find the proxy.", Group: "Connection", Kind: "number", Value: 9879, Source: FromDefault, Default: 9879, Flag: "--port", Env: "CODEX_PROXY_PORT"},
			{Name: "listen", Label: "Address", Help: "Another than loopback needs a key.", Group: "Connection", Kind: "text", Value: "127.0.0.1", Source: FromDefault, Default: "127.0.0.1", Flag: "--listen", Restart: true},
			{Name: "hosts", Label: "Host names", Help: "Names besides localhost's that it answers for, one a line.", Group: "Connection", Kind: "list", Value: []string{"host.docker.internal"}, Source: FromFlag, Default: []string{}, Flag: "--allow-host"},
			{Name: "model", Label: "Default model", Help: "For tools that name none.", Group: "Models", Kind: "choice", Value: "gpt-5.5", Source: FromFile, Default: "", Choices: []string{"", "gpt-5.5", "gpt-5.5-mini"}},
			{Name: "aliases", Label: "Aliases", Help: "Other names for models, like fast=gpt-5.5-mini, one a line.", Group: "Models", Kind: "list", Value: []string{"fast=gpt-5.5-mini"}, Source: FromFile, Default: []string{}},
			{Name: "strict", Label: "Refuse what can't be done", Help: "Instead of leaving it out of the request.", Group: "Models", Kind: "switch", Value: false, Source: FromDefault, Default: false},
			{Name: "require-key", Label: "Ask every tool for its key", Group: "Access", Kind: "switch", Value: false, Source: FromEnvironment, Default: false, Env: "CODEX_PROXY_REQUIRE_KEY"},
			{Name: "api-key", Label: "API keys", Group: "Access", Kind: "list", Value: false, Source: FromDefault, Default: []string{}, Secret: true, Restart: true},
			{Name: "keep", Label: "Days of history", Help: "Sums by the hour stay longer.", Group: "This program", Kind: "number", Value: 90, Source: FromDefault, Default: 90},
			{Name: "login", Label: "Start at login", Group: "This program", Kind: "switch", Value: true, Source: FromFile, Default: false},
		},
		Keys: []Key{{ID: "k1", Name: "Claude Code", Created: now.AddDate(0, 0, -3), LastUsed: now.Add(-3 * time.Minute)}, {ID: "k2", Name: "backup script", Routes: []string{"/chat/completions"}}, {ID: "k3", Name: strings.Repeat("a", 60)}},
		Doctor: &Doctor{At: now.Add(-2 * time.Minute), Text: "Codex Proxy 1.3.0\nall is well", Lines: []Finding{
			{"good", "Proxy", "running at " + root}, {"good", "Loopback", "127.0.0.1 answers (200)"}, {"note", "Loopback", "::1 is not available on this machine"},
			{"good", "Sign-in", "d…@example.com (plus), good for 9 days"}, {"good", "Auth server", "answers (200)"}, {"good", "Clock", "right"}, {"good", "Menu", "this desktop shows tray icons"},
		}},
	}
}

// fixture is a page over a fake program and a real history, on a real listener.
type fixture struct {
	app     *fakeApp
	history *history.Store
	page    *Page
	server  *httptest.Server
	root    string
}

func start(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{app: &fakeApp{listeners: map[chan struct{}]struct{}{}, actions: map[Action]func(json.RawMessage) (any, error){}}}
	f.history = history.Open(filepath.Join(t.TempDir(), "history.db"), history.Options{})
	f.page = New(Config{App: f.app, History: f.history})
	f.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*") // what another part of the program may have set
		if Wants(r) {
			f.page.ServeHTTP(w, r)
			return
		}
		w.Write([]byte("for programs")) //nolint:errcheck // a test's answer
	}))
	f.root = f.server.URL
	f.app.state = healthy(time.Now(), "http://localhost:9879")
	t.Cleanup(func() {
		f.page.Close()
		f.server.Close()
		f.history.Close()
	})
	return f
}

// startWithDemo has a week of requests.
func startWithDemo(t *testing.T) *fixture {
	t.Helper()
	f := start(t)
	if err := history.FillDemo(f.history, time.Now()); err != nil {
		t.Fatal(err)
	}
	return f
}

// flush waits until what was added to the history can be read.
func (f *fixture) flush(t *testing.T) {
	t.Helper()
	if err := f.history.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

var errOffline = errors.New("The auth server is not reached. Check the network; it is tried again by itself.") //nolint:staticcheck // a sentence for the user
