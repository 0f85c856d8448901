package app

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"codex-proxy/creds"
	"codex-proxy/internal/connect"
	"codex-proxy/internal/history"
	"codex-proxy/internal/page"
	"codex-proxy/proxy"
	"codex-proxy/proxy/codex"
	"codex-proxy/tray"
)

// pageApp is the program as package page sees it: a page.App.
type pageApp struct {
	*App

	mu         sync.Mutex
	pending    *page.Pending // a sign-in that was begun on the page, also one that failed
	busy       []page.Action
	doctor     *page.Doctor
	workspaces []page.Workspace
	active     map[uint64]page.Request
	tested     bool
}

// newPage makes the page and the history behind it.
func (a *App) newPage() {
	if a.Settings.History > 0 {
		a.openHistory()
	}
	a.view = &pageApp{App: a, active: map[uint64]page.Request{}}
	browsers := filepath.Join(StateFolder(), "browsers")
	if a.Settings.Demo {
		browsers = "" // it leaves nothing behind
	}
	a.page = page.New(page.Config{App: a.view, History: a.history, Hosts: append(slices.Clone(a.Settings.AllowHost), a.Settings.Listen), Browsers: browsers})
}

// openHistory opens the history. The demo has one of its own, and none when it finds no room for that.
func (a *App) openHistory() {
	path := filepath.Join(StateFolder(), "history.db")
	if a.Settings.Demo {
		folder, err := os.MkdirTemp("", "codex-proxy-demo-")
		if err != nil {
			a.log.Warnf("⚠️ The demo has no history: %v", err)
			return
		}
		path = filepath.Join(folder, "history.db")
		a.endWith(func() { os.RemoveAll(folder) })
	}
	a.history = history.Open(path, history.Options{Keep: time.Duration(a.Settings.History) * 24 * time.Hour, OnProblem: func(problem string) {
		if problem != "" {
			a.log.Warn("⚠️ " + problem)
		}
		a.changed(false)
	}})
	if a.Settings.Demo {
		history.FillDemo(a.history, time.Now()) //nolint:errcheck // then the demo has an empty week
	}
}

// Subscribe is page.App's.
func (p *pageApp) Subscribe() (<-chan struct{}, func()) {
	changes, cancel := p.Watch()
	ctx, stop := context.WithCancel(context.Background())
	out := make(chan struct{}, 1)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-changes:
				select {
				case out <- struct{}{}:
				default:
				}
			}
		}
	}()
	return out, func() { stop(); cancel() }
}

// ways are the ways to sign in, the first one first.
var ways = []page.Way{
	{ID: string(ByBrowser), Name: "Codex sign-in", Detail: "In the browser, as the Codex CLI does. Every plan that includes Codex"},
	{ID: string(ByDevice), Name: "By a code", Detail: "Type a code into a browser anywhere, when this machine has none"},
	{ID: string(ByChatGPT), Name: "Sign in with ChatGPT", Detail: "OpenAI's sign-in for apps, through its public API", Warning: ChatGPTWarning},
}

// Snapshot is page.App's.
func (p *pageApp) Snapshot() page.Snapshot {
	now := time.Now()
	s := p.State()
	t := s.tray(now)
	saved, unreadable := ReadSaved()
	out := page.Snapshot{
		Version: s.Version, Demo: s.Demo, Running: s.Proxy.Running, Paused: s.Proxy.PausedUntil, Root: strings.TrimSuffix(s.Proxy.URL, "/v1"),
		Ways: ways, Settings: p.settingsList(saved), Origins: p.originsList(), Keys: p.keysList(),
		SignIn: page.SignIn{
			Status: pageStatus(t), Email: s.SignIn.Email, Plan: s.SignIn.Plan, ExpiresAt: s.SignIn.ExpiresAt,
			LastRefresh: s.SignIn.LastRefresh, NextAttempt: s.SignIn.NextAttempt, Store: s.SignIn.Store,
		},
		Can: []page.Action{
			page.ActionRefresh, page.ActionSignIn, page.ActionCancelSignIn, page.ActionSignOut, page.ActionTest, page.ActionSet, page.ActionReset,
			page.ActionDoctor, page.ActionAllowOrigin, page.ActionDenyOrigin, page.ActionForgetOrigin, page.ActionToolPreview, page.ActionToolConnect, page.ActionToolDisconnect, page.ActionFirstStartDone, page.ActionRestart,
			page.ActionKeyCreate, page.ActionKeyRevoke,
		},
	}
	if s.SignIn.Status != creds.StatusNone {
		out.SignIn.Way = map[creds.Kind]string{creds.KindCodex: "Codex sign-in", creds.KindChatGPT: "Sign in with ChatGPT"}[s.SignIn.Kind]
	}
	if s.SignIn.Ownership == creds.Shared && s.SignIn.ImportedFrom != "" {
		out.SignIn.SharedWith = "the Codex CLI"
	}
	if s.SignIn.CanImport {
		out.Can = append(out.Can, page.ActionImport)
		out.SignIn.CanImport = "the Codex CLI's sign-in"
	}
	if s.SignIn.Usable && s.SignIn.Kind == creds.KindCodex {
		out.Can = append(out.Can, page.ActionWorkspaces, page.ActionSelectWorkspace)
	}
	if s.Proxy.Running {
		out.Can = append(out.Can, page.ActionStop)
	} else {
		out.Can = append(out.Can, page.ActionStart)
	}
	out.FirstStart = !s.Demo && !saved.firstStartDone() && unreadable == nil
	p.addProblems(&out, t, now)
	if s.HistoryProblem != "" {
		out.Notes = append(out.Notes, s.HistoryProblem)
	}
	if unreadable != nil {
		out.Notes = append(out.Notes, sentenceOf(unreadable))
	}
	for _, w := range s.Usage.Windows {
		out.Windows = append(out.Windows, page.Window{Name: w.Name, Used: w.UsedPercent, Length: w.Length, ResetsAt: w.ResetsAt})
	}
	out.Tools = p.toolsList(s)
	if s.PlanNotice != "" {
		out.Notes = append(out.Notes, s.PlanNotice)
	}
	if s.Newer != "" {
		out.Update = "Version " + s.Newer + " is there: " + s.NewerPage
	}
	p.addOwn(&out, s)
	return out
}

// addProblems puts the first trouble on top, with the button that mends it, in the words of the menu.
func (p *pageApp) addProblems(out *page.Snapshot, t tray.State, now time.Time) {
	for _, trouble := range tray.Troubles(t, now) {
		if out.FirstStart && trouble.Action == tray.SignIn {
			continue // signing in is the first of the three steps
		}
		if mends := trouble.Action == tray.Refresh || trouble.Action == tray.SignIn; out.Problem != nil || trouble.Level == tray.Info && !mends {
			out.Notes = append(out.Notes, trouble.Detail)
			continue
		}
		problem := &page.Problem{Title: trouble.Title, Detail: trouble.Detail, Mild: trouble.Level < tray.Fail}
		switch trouble.Action {
		case tray.Start:
			problem.Action, problem.Label = page.ActionStart, trouble.Button
		case tray.OtherPort:
			problem.Action, problem.Label = page.ActionSet, trouble.Button
			problem.Args = page.SetArgs{Name: "port", Value: json.RawMessage(strconv.Itoa(t.Spare))}
		case tray.Refresh:
			problem.Action, problem.Label = page.ActionRefresh, trouble.Button
		case tray.SignIn:
			problem.Action, problem.Label, problem.Args = page.ActionSignIn, trouble.Button, page.SignInArgs{Way: string(ByBrowser)}
		}
		out.Problem = problem
	}
}

// addOwn adds what only the page knows.
func (p *pageApp) addOwn(out *page.Snapshot, s State) {
	p.mu.Lock()
	defer p.mu.Unlock()
	out.Pending = p.pending
	if prompt := s.SigningIn; prompt != nil {
		pending := page.Pending{Way: string(prompt.Way), URL: prompt.Address, Code: prompt.Code, ExpiresAt: prompt.Expires, Steps: []string{"Asked OpenAI for a sign-in"}}
		if prompt.Address != "" {
			pending.Steps = append(pending.Steps, "Waiting for you to finish it in the browser")
		}
		out.Pending = &pending
	}
	out.Busy, out.Doctor, out.SignIn.Workspaces = slices.Clone(p.busy), p.doctor, slices.Clone(p.workspaces)
	for i, w := range out.SignIn.Workspaces {
		out.SignIn.Workspaces[i].Selected = w.ID == s.SignIn.AccountID
	}
	out.Tested = p.tested
	for _, r := range p.active {
		out.Active = append(out.Active, r)
	}
	slices.SortFunc(out.Active, func(a, b page.Request) int { return b.Since.Compare(a.Since) })
	out.Active = out.Active[:min(len(out.Active), 20)]
}

func pageStatus(t tray.State) page.Status {
	switch t.SignIn {
	case tray.SignedIn:
		return page.Good
	case tray.Refreshing:
		return page.Refreshing
	case tray.Failing:
		return page.Failing
	case tray.SignInAgain:
		return page.SignInAgain
	case tray.Starting:
		return page.Starting
	}
	return page.SignedOut
}

func (p *pageApp) originsList() []page.Origin {
	out := []page.Origin{}
	p.origins.each(func(origin, state string) { out = append(out, page.Origin{Origin: origin, State: state}) })
	return out
}

func (p *pageApp) keysList() []page.Key {
	out := []page.Key{}
	for _, k := range p.Keys() {
		out = append(out, page.Key{ID: k.Name, Name: k.Name, Routes: k.Routes, Created: k.Created, LastUsed: k.Used})
	}
	return out
}

func (p *pageApp) makeKey(name string) (page.NewKey, error) {
	key, err := p.MakeKey(strings.TrimSpace(name))
	return page.NewKey{Key: key}, err
}

// revokeKey takes a key away, and says when a tool still has it.
func (p *pageApp) revokeKey(name string) (page.Message, error) {
	if err := p.RevokeKey(name); err != nil {
		return page.Message{}, err
	}
	if tool, ok := connect.Named(name); ok && slices.Contains(ConnectedTools(), tool.ID) {
		return page.Message{Message: tool.Name + " still has it in its settings. Disconnect it in Tools."}, nil
	}
	return page.Message{}, nil
}

// Do is page.App's.
func (p *pageApp) Do(ctx context.Context, action page.Action, args json.RawMessage) (any, error) {
	p.setBusy(action, true)
	defer p.setBusy(action, false)
	result, err := p.do(ctx, action, args)
	if err != nil && !errors.Is(err, page.ErrUnknownAction) {
		err = errors.New(capital(err.Error()))
	}
	return result, err
}

func (p *pageApp) setBusy(action page.Action, on bool) {
	p.mu.Lock()
	p.busy = slices.DeleteFunc(p.busy, func(a page.Action) bool { return a == action })
	if on {
		p.busy = append(p.busy, action)
	}
	p.mu.Unlock()
	p.changed(false)
}

func (p *pageApp) do(ctx context.Context, action page.Action, args json.RawMessage) (any, error) {
	var in struct {
		page.SignInArgs
		page.IDArgs
		page.OriginArgs
		page.SetArgs // its name is KeyArgs', too
	}
	if err := json.Unmarshal(args, &in); err != nil {
		return nil, errors.New("the page sent what this version does not understand. Load it again")
	}
	switch action {
	case page.ActionStart:
		return page.Message{Message: "The proxy is running."}, p.Start(0)
	case page.ActionStop:
		return p.stopFromPage()
	case page.ActionRefresh:
		return page.Message{Message: "The tokens are fresh."}, p.Refresh(ctx)
	case page.ActionImport:
		return page.Message{Message: "Imported."}, p.Import(ctx, ImportOptions{From: "any"})
	case page.ActionSignOut:
		_, err := p.SignOut(ctx)
		return nil, err
	case page.ActionSignIn:
		if Way(in.Way) == ByChatGPT && !in.Confirmed {
			return nil, errors.New("read what this sign-in means first, and say yes")
		}
		return nil, p.beginSignIn(Way(in.Way))
	case page.ActionCancelSignIn:
		p.CancelSignIn()
		p.mu.Lock()
		p.pending = nil
		p.mu.Unlock()
		return nil, nil
	case page.ActionWorkspaces:
		return nil, p.askWorkspaces(ctx)
	case page.ActionSelectWorkspace:
		if _, err := p.SelectWorkspace(ctx, in.ID); err != nil {
			return nil, err
		}
		return nil, p.askWorkspaces(ctx)
	case page.ActionAllowOrigin, page.ActionDenyOrigin:
		return nil, p.AllowOrigin(in.Origin, action == page.ActionAllowOrigin)
	case page.ActionForgetOrigin:
		return nil, p.ForgetOrigin(in.Origin)
	case page.ActionSet, page.ActionReset:
		return p.set(in.SetArgs.Name, in.Value, action == page.ActionReset)
	case page.ActionKeyCreate:
		return p.makeKey(in.SetArgs.Name)
	case page.ActionKeyRevoke:
		return p.revokeKey(in.ID)
	case page.ActionDoctor:
		p.lookAtEverything()
		return nil, nil
	case page.ActionToolPreview:
		return p.toolPreview(in.ID)
	case page.ActionToolConnect, page.ActionToolDisconnect:
		return p.connectTool(in.ID, action == page.ActionToolConnect)
	case page.ActionTest:
		return p.test(ctx, in.ID)
	case page.ActionRestart:
		if p.life.StartsAgain != nil {
			if err := p.life.StartsAgain(); err != nil {
				return nil, err
			}
		}
		p.restarting.Store(true)
		p.life.Quit()
		return page.Message{Message: "Codex Proxy is starting again; this page comes back by itself."}, nil
	case page.ActionFirstStartDone:
		return nil, p.change(func(s Saved) { s["first-start-done"] = true })
	}
	return nil, page.ErrUnknownAction
}

// stopFromPage stops the proxy. The page, which is served from the same port, goes on at one of its own, where the proxy
// can be started again; that can be reached from this machine only. The stop waits for answers under way, of which this
// is one.
func (p *pageApp) stopFromPage() (any, error) {
	out := page.Saved{Message: "Stopped. Start it in the menu, or with `codex-proxy start`."}
	if proxy.Loopback(p.Settings.Listen) {
		addr, err := p.spareDoor()
		if err != nil {
			return nil, err
		}
		out.Open = p.page.Move("http://" + display(addr))
	}
	p.stopping.Store(true) // the page is not sent back here while the stop begins
	go func() {
		if err := p.Stop(); err != nil {
			p.log.Warnf("⚠️ The proxy is stopped, but would listen again after a restart: %v", err)
		}
	}()
	return out, nil
}

// beginSignIn starts a sign-in; how it goes is in the snapshot.
func (p *pageApp) beginSignIn(way Way) error {
	if err := p.CanKeep(way); err != nil {
		return err
	}
	if p.SigningIn() != nil {
		return errSigningIn
	}
	p.mu.Lock()
	p.pending = nil
	p.mu.Unlock()
	go func() {
		err := p.SignIn(p.lifetime, SignInOptions{Way: way, Show: func(prompt Prompt) {
			if prompt.Code == "" && OpenBrowser(prompt.Address) != nil {
				p.noBrowser(prompt)
			}
		}})
		if err == nil || errors.Is(err, errCancelled) || p.lifetime.Err() != nil {
			return
		}
		p.mu.Lock()
		p.pending = &page.Pending{Way: string(way), Failed: sentenceOf(err)}
		p.mu.Unlock()
		p.changed(false)
	}()
	return nil
}

func sentenceOf(err error) string { return capital(strings.TrimSuffix(err.Error(), ".")) + "." }

func (p *pageApp) askWorkspaces(ctx context.Context) error {
	list, err := p.Workspaces(ctx)
	if err != nil {
		return err
	}
	out := make([]page.Workspace, len(list))
	for i, w := range list {
		out[i] = page.Workspace{ID: w.ID, Name: w.Name, Plan: w.Plan}
	}
	p.mu.Lock()
	p.workspaces = out
	p.mu.Unlock()
	p.changed(false)
	return nil
}

// lookAtEverything has the doctor look; what it finds is in the snapshot, line by line.
func (p *pageApp) lookAtEverything() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.doctor != nil && p.doctor.Running {
		return
	}
	p.doctor = &page.Doctor{Running: true, At: time.Now()}
	go func() {
		state := p.App.State()
		found := page.Doctor{Running: true, At: time.Now()}
		publish := func() {
			d := found
			d.Lines, d.Advice = slices.Clone(found.Lines), slices.Clone(found.Advice)
			p.mu.Lock()
			p.doctor = &d
			p.mu.Unlock()
			p.changed(false)
		}
		text := &strings.Builder{}
		fmt.Fprintf(text, "Codex Proxy %s\n", p.program.Version)
		p.Examine(p.lifetime, &state, false, func(f Finding) {
			level := string(f.Verdict)
			if f.Verdict == More && len(found.Lines) > 0 { // it goes on from the line before
				level = found.Lines[len(found.Lines)-1].Level
			}
			found.Lines = append(found.Lines, page.Finding{Level: level, What: f.Subject, Text: f.Text})
			if f.Advice != "" && !slices.Contains(found.Advice, f.Advice) {
				found.Advice = append(found.Advice, f.Advice)
			}
			fmt.Fprintf(text, "%-5s %-12s %s\n", f.Verdict, f.Subject, f.Text)
			publish()
		})
		found.Running, found.Text = false, text.String()
		publish()
	}()
}

// onStart and onRequest hear of each request. They are on its path: nothing here waits.
func (a *App) onStart(s proxy.Start) {
	a.rest.began()
	if a.view == nil {
		return
	}
	a.view.mu.Lock()
	a.view.active[s.ID] = page.Request{ID: strconv.FormatUint(s.ID, 10), Since: s.Time, Client: caller(s.Client), Route: s.Route, Model: cmp.Or(s.Model, a.client.Models.Default())}
	a.view.mu.Unlock()
	a.changed(false)
}

func (a *App) onRequest(r proxy.Record) {
	r.Client = caller(r.Client)
	a.rest.ended()
	a.noteRequest(r)
	if a.view != nil {
		a.view.mu.Lock()
		delete(a.view.active, r.ID)
		if r.Status == http.StatusOK && r.Output > 0 {
			a.view.tested = true
		}
		a.view.mu.Unlock()
	}
	a.changed(false)
	if r.Dialect == "" {
		return // the proxy's own addresses are of no interest
	}
	turns := 0
	if r.Transport == proxy.TransportWebSocket {
		turns = 1
	}
	a.history.Add(history.Record{
		Time: r.Time, Client: r.Client, Route: r.Route, Dialect: r.Dialect, Model: r.Model, Effort: r.Effort, Status: r.Status,
		FirstWord: r.FirstToken, Duration: r.Duration, InputTokens: r.Input, CachedTokens: r.Cached, OutputTokens: r.Output,
		ReasoningTokens: r.Reasoning, Dropped: r.Dropped, Code: r.Code, Error: r.Error, Transport: string(r.Transport), Turns: turns, Gone: r.Gone,
	})
}

// caller is who asked, by the name of its key: a passing key's is another each time, and its tool the same.
func caller(client string) string {
	tool, _, _ := strings.Cut(client, ofProcess)
	return tool
}

// onUsage hears of how much of the plan is used.
func (a *App) onUsage(u codex.Usage) {
	a.changed(false)
	windows := make([]history.Window, len(u.Windows))
	for i, w := range u.Windows {
		windows[i] = history.Window{Name: w.Name, Time: time.Now(), Used: w.UsedPercent, ResetsAt: w.ResetsAt}
	}
	a.history.AddWindows(windows)
}
