// Package app is the program put together: the Manager that keeps the sign-in, the Service that listens, what lies
// between them, and the verbs by which everything that people do is done. The commands, the menu and the door for
// commands call the same verbs, so that each has one set of guards.
//
//   - settings.go, saved.go, folders.go: what can be set, and where things are
//   - compose.go, demo.go, transport.go, log.go: how the parts are made
//   - run.go: the life of the running program; listen.go: the proxy on its port
//   - signin.go: the verbs of the sign-in
//   - state.go, changes.go: all that can be told, and who hears that it changed
//   - page.go, settingslist.go, try.go: the program as its page sees it; menu.go: as the menu does
//   - tools.go, keys.go: tools that are pointed at the proxy, and named API keys
//   - doctor.go: what is right and wrong on this machine
package app

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"codex-proxy/creds"
	"codex-proxy/internal/history"
	"codex-proxy/internal/keys"
	"codex-proxy/internal/page"
	"codex-proxy/internal/systemproxy"
	"codex-proxy/internal/update"
	"codex-proxy/proxy"
	"codex-proxy/proxy/codex"
)

// Program is what the program is built for.
type Program struct {
	Version string
	Log     *logrus.Logger
	// Icon means that it has the icon and the menu: a port that is taken does not end it, since the menu can mend that,
	// and advice speaks of clicks.
	Icon bool
	// UpdateAddress and UpdateKey are those of package update; empty for no notice of new versions.
	UpdateAddress, UpdateKey string
}

// App is the program. Make one with New; Run is its life as a server, and without it the verbs work on what is stored,
// as commands do. Close must be called in the end. Safe for concurrent use.
type App struct {
	Settings Settings
	// Steps hears of the sign-in's life, step by step, in words for people. Set before use.
	Steps func(creds.Step)
	// Waiting is called when Close must wait for a refresh that was sent, with the time that it may take; nil for
	// nobody to be told. Set before use.
	Waiting func(most time.Duration)

	program     Program
	log         *logrus.Logger
	manager     *creds.Manager
	importer    *creds.Importer
	service     *proxy.Service
	rest        *rest
	client      *codex.Client
	http        *http.Client
	systemProxy systemproxy.Resolver
	identity    codex.Identity
	imports     bool // the store takes what the Codex CLI has
	history     *history.Store
	keys        *keys.Store
	page        *page.Page
	view        *pageApp
	life        Life            // what Prepare was given
	lifetime    context.Context // of Run

	planClient atomic.Pointer[string] // the registration that answered last; see answered
	planNotice atomic.Bool            // PlanNotice was said for it by this program
	restarting atomic.Bool            // the program is to start again when it has ended
	accounts   chan string            // of one: whose sign-in it is, when what belonged to another has been forgotten
	stopping   atomic.Bool            // the proxy is about to take no new requests
	power      sync.Mutex             // held while the proxy is started, stopped or paused: who comes last has the last word
	changes    changes
	advice     advice
	origins    *origins

	saving sync.Mutex // held while the settings file is changed

	mu       sync.Mutex
	atEnd    []func() // what Close ends besides, in turn
	closed   bool     // by Close
	trouble  string   // why the proxy does not listen, or empty
	spare    int      // a port that is free instead
	imported bool     // the first launch imported a sign-in
	icon     string   // how the icon is, for status; empty without a menu
	attempt  *attempt
	newer    update.Release // empty while there is none
	meter    bool           // the icon shows the fuller limit
	mute     []string
	// spareAddr is where the page is while the proxy does not listen; empty until it was needed.
	spareAddr string

	failed Failure // the last request that failed

	pausedUntil time.Time
	pause       *time.Timer // ends the pause
}

// Open loads the stored sign-in for a command. What is wrong with it is in State.
func (a *App) Open(ctx context.Context) {
	a.manager.Open(ctx) //nolint:errcheck // see above
	a.manager.Ready()
}

// Close waits for a change of the sign-in that is under way, so that no answer of the auth server is lost, and ends
// what New started.
func (a *App) Close() {
	a.endPause()
	soon := time.AfterFunc(time.Second/2, func() {
		if a.Waiting != nil {
			a.Waiting(creds.CloseLimit)
		}
	})
	err := a.manager.Close()
	soon.Stop()
	if err != nil {
		a.log.Errorf("❌ %v", err)
	}
	a.mu.Lock()
	ends := a.atEnd
	a.closed = true
	a.mu.Unlock()
	for _, end := range ends {
		end()
	}
}

// endWith has Close end something besides.
func (a *App) endWith(end func()) {
	a.mu.Lock()
	a.atEnd = append(a.atEnd, end)
	a.mu.Unlock()
}

// Restarting reports whether the user wants the program to start again.
func (a *App) Restarting() bool { return a.restarting.Load() }
