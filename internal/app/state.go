package app

import (
	"context"
	"os"
	"strconv"
	"time"

	"codex-proxy/creds"
	"codex-proxy/proxy/codex"
)

// State is everything that can be told of the program: what status prints, and what the menu and the page show. No
// secrets.
type State struct {
	Version   string      `json:"version"`
	Demo      bool        `json:"demo,omitempty"`
	Proxy     ProxyState  `json:"proxy"`
	SignIn    SignInState `json:"sign_in"`
	SigningIn *Prompt     `json:"signing_in,omitempty"` // what the user must do to finish a sign-in under way
	Usage     codex.Usage `json:"usage"`
	Model     string      `json:"model"`                  // id that tools may use
	Menu      string      `json:"menu,omitempty"`         // how the icon is; empty without a menu
	Meter     bool        `json:"meter,omitempty"`        // the icon shows the fuller limit
	Mute      []string    `json:"mute,omitempty"`         // what is not to be notified about
	Asked     string      `json:"asked_origin,omitempty"` // a page of this origin wants to use the plan, and nobody has decided
	// PlanNotice is set from the first use of a "Sign in with ChatGPT" until this program ends, and never again for it.
	PlanNotice string   `json:"plan_notice,omitempty"`
	Newer      string   `json:"newer_version,omitempty"` // one that has been released
	NewerPage  string   `json:"newer_version_page,omitempty"`
	Failed     *Failure `json:"last_failure,omitempty"`
	// HistoryProblem is why what is asked is not remembered, or what happened to what was.
	HistoryProblem string `json:"history_problem,omitempty"`
	// KeyRequired means that callers must bring a key.
	KeyRequired bool `json:"key_required,omitempty"`
}

// ProxyState is how the proxy is.
type ProxyState struct {
	Running bool   `json:"running"`
	URL     string `json:"url"` // base URL for OpenAI clients, also while it is not running
	PID     int    `json:"pid,omitempty"`
	Problem string `json:"problem,omitempty"`    // why it is not running
	Spare   int    `json:"spare_port,omitempty"` // a port that is free while the usual one is taken
	// UsualPort is the port of a proxy for which none was chosen, while it uses another that was; else 0.
	UsualPort   int       `json:"usual_port,omitempty"`
	PausedUntil time.Time `json:"paused_until,omitzero"`
	// Stopped means that the program runs, and that the user has stopped the proxy.
	Stopped bool `json:"stopped,omitempty"`
	// Ending means that the program was told to quit, and lets the answers under way end.
	Ending bool `json:"ending,omitempty"`
	// Silent means that the program PID runs and does not say how its proxy is; status finds that out.
	Silent bool `json:"silent,omitempty"`
}

// SignInState is how the sign-in is.
type SignInState struct {
	Status       creds.Status    `json:"status"`
	Starting     bool            `json:"starting,omitempty"` // it is not known yet whether there is one
	Usable       bool            `json:"usable"`             // a request would be served now
	Kind         creds.Kind      `json:"kind,omitempty"`
	Email        string          `json:"email,omitempty"`
	Plan         string          `json:"plan,omitempty"`
	AccountID    string          `json:"account_id,omitempty"`
	ExpiresAt    time.Time       `json:"expires_at,omitzero"` // of the access token
	LastRefresh  time.Time       `json:"last_refresh,omitzero"`
	Store        string          `json:"store"`
	ImportedFrom string          `json:"imported_from,omitempty"`
	Imported     bool            `json:"imported,omitempty"`   // by this launch, the first one
	CanImport    bool            `json:"can_import,omitempty"` // from the Codex CLI
	Ownership    creds.Ownership `json:"ownership,omitempty"`
	Cause        creds.Cause     `json:"cause,omitempty"`
	Problem      string          `json:"problem,omitempty"` // without advice
	Advice       string          `json:"advice,omitempty"`  // in a terminal's words
	FailingSince time.Time       `json:"failing_since,omitzero"`
	NextAttempt  time.Time       `json:"next_attempt,omitzero"`
	ClockOff     time.Duration   `json:"clock_ahead_ns,omitempty"` // of this machine, against OpenAI's
}

// State describes the program as it is now.
func (a *App) State() State {
	s := a.manager.State()
	out := State{
		Version: a.program.Version, Demo: a.Settings.Demo, KeyRequired: a.keyRequired(),
		Proxy: ProxyState{URL: "http://localhost:" + strconv.Itoa(a.service.WantedPort()) + "/v1"},
		SignIn: SignInState{
			Status: s.Status, Usable: s.Usable, Kind: s.Kind, Email: s.Email, Plan: s.Plan, AccountID: s.AccountID,
			ExpiresAt: s.ExpiresAt, LastRefresh: s.LastRefresh, Store: s.Store, ImportedFrom: s.ImportedFrom, CanImport: a.imports,
			Ownership: s.Ownership, Cause: s.Cause, Problem: s.Problem, Advice: s.Advice, FailingSince: s.FailingSince, NextAttempt: s.NextAttempt, ClockOff: s.ClockOff,
			Starting: !a.manager.Started() && s.Status == creds.StatusNone,
		},
		SigningIn: a.SigningIn(),
		Usage:     a.client.UsageTracker.Current(),
		Model:     a.client.Models.Default(),
	}
	if a.planNotice.Load() && s.Kind == creds.KindChatGPT {
		out.PlanNotice = PlanNotice
	}
	a.mu.Lock()
	out.Mute, out.Newer, out.NewerPage = a.mute, a.newer.Version, a.newer.Page
	out.Menu, out.Meter, out.Proxy.Problem, out.Proxy.Spare, out.SignIn.Imported = a.icon, a.meter, a.trouble, a.spare, a.imported
	out.Proxy.PausedUntil, out.Asked = a.pausedUntil, a.origins.first()
	if !a.failed.Time.IsZero() {
		failed := a.failed
		out.Failed = &failed
	}
	a.mu.Unlock()
	if a.history != nil {
		out.HistoryProblem = a.history.Problem()
	}
	out.Proxy.Ending = a.ending()
	out.Proxy.Stopped = a.page != nil && !out.Proxy.Ending && out.Proxy.Problem == "" && out.Proxy.PausedUntil.IsZero()
	if addr := a.service.Addr(); addr != "" && !a.stopping.Load() && !out.Proxy.Ending {
		out.Proxy = ProxyState{Running: true, URL: "http://" + display(addr) + "/v1", PID: os.Getpid()}
	}
	if from := a.Settings.From["port"]; a.service.WantedPort() != DefaultPort && from != FromFlag && from != FromEnv {
		out.Proxy.UsualPort = DefaultPort
	}
	return out
}

// AskUsage brings State's usage up to date, at most every few minutes. What goes wrong is not told: what is known stays.
func (a *App) AskUsage(ctx context.Context) { a.askUsage(ctx, false) }

func (a *App) askUsage(ctx context.Context, now bool) {
	if a.manager.State().Usable && a.Settings.CredsStore != "env" {
		a.client.UsageTracker.Fetch(ctx, a.client, now) //nolint:errcheck // see above
	}
}

// SetIcon notes how the icon is, for who asks by status.
func (a *App) SetIcon(text string) {
	a.mu.Lock()
	before := a.icon
	a.icon = text
	a.mu.Unlock()
	if before != text && before != "" {
		a.log.Info("🖼️ " + text)
	}
}

// Who is the person of a sign-in.
func Who(s creds.State) string { return Name(s.Email, s.Plan) }

// Name is a person and their plan.
func Name(email, plan string) string {
	if email == "" {
		email = "an account without an address"
	}
	if plan != "" {
		email += " (" + plan + ")"
	}
	return email
}
