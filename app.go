package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/adrg/xdg"
	"github.com/sirupsen/logrus"

	"codex-proxy/creds"
	"codex-proxy/internal/fakebackend"
	"codex-proxy/proxy"
	"codex-proxy/proxy/anthropic"
	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/ollama"
	"codex-proxy/proxy/openai"
	"codex-proxy/tray"
)

// app is the program put together: the Manager that keeps the sign-in, the Service that listens, and what lies between.
type app struct {
	settings settings
	log      *logrus.Logger
	manager  *creds.Manager
	importer *creds.Importer
	service  *proxy.Service
	client   *codex.Client
	http     *http.Client
	identity codex.Identity
	tell     func(creds.Step) // hears of the sign-in's life
	migrate  bool             // import from the Codex CLI when the store is empty
	close    func()

	changes chan tray.Change

	mu       sync.Mutex
	trouble  string // why the proxy does not listen, or empty
	spare    int    // a port that is free instead
	imported bool   // the first launch imported a sign-in
	menu     string // how the icon is, for status; empty without a menu
}

// newApp builds the program. Nothing runs yet, but for the demo's backend.
func newApp(s settings, log *logrus.Logger) (*app, error) {
	a := &app{settings: s, log: log, tell: tell(log), close: func() {}, changes: make(chan tray.Change, 1)}
	say := func(step creds.Step) { a.tell(step) }
	a.http, a.identity = newHTTPClient(), codex.NewIdentity(version)
	httpClient, identity := a.http, a.identity
	store, cache := a.openStore(), codex.ModelCache(modelFile(filepath.Join(xdg.CacheHome, "codex-proxy", "models.json")))
	if s.Demo {
		address, tokens, err := a.startDemo()
		if err != nil {
			return nil, err
		}
		a.settings.BackendURL, a.settings.APIURL, a.settings.AuthURL = address+"/backend-api", address+"/v1", address
		store, cache, a.migrate = creds.NewMemoryStore(tokens), nil, false
	}

	a.importer = &creds.Importer{CodexHome: s.CodexHome, Tell: say}
	config := creds.Config{
		Store: store,
		Refresher: &creds.Refresher{
			HTTP: httpClient, AuthURL: a.settings.AuthURL, UserAgent: identity.UserAgent, Now: time.Now,
		},
		SharedStore: s.CredsStore == "legacy" && !s.Demo,
		TakeOver:    !s.DisableMigrateRefresh,
		Now:         time.Now,
		Tell:        say,
	}
	if a.migrate {
		quiet := &creds.Importer{CodexHome: s.CodexHome, Tell: func(creds.Step) {}}
		config.Source = quiet.FromFile
	}
	a.manager = creds.NewManager(config)
	a.client = &codex.Client{
		Upstreams: map[creds.Kind]codex.Upstream{
			creds.KindCodex:   codex.Backend(a.settings.BackendURL, identity),
			creds.KindChatGPT: codex.Public(a.settings.APIURL, identity),
		},
		HTTP:        httpClient,
		Tokens:      a.manager,
		Models:      codex.NewCatalogue(s.Model, cache),
		Meter:       &codex.Meter{},
		Routes:      &codex.Routes{URL: a.settings.BackendURL + "/wham/accounts/check"},
		IdleTimeout: s.IdleTimeout,
		KeepAlive:   s.KeepAlive,
	}
	a.client.Models.Aliases = s.ModelAlias
	thoughts := codex.NewThoughts()
	server := proxy.NewServer(proxy.Config{
		Guard:     proxy.Guard{Keys: s.APIKey, Hosts: s.AllowHost, Origins: s.AllowOrigin},
		OpenAI:    &openai.Handler{Client: a.client, Strict: s.Strict, Thoughts: thoughts, Memory: openai.NewMemory()},
		Anthropic: &anthropic.Handler{Client: a.client, Strict: s.Strict, Thoughts: thoughts},
		Ollama:    &ollama.Handler{Client: a.client, Strict: s.Strict, Thoughts: thoughts},
		State:     a.manager.State,
		Usage:     a.client.Meter.Current,
		Client:    a.client,
		Version:   version,
		Demo:      s.Demo,
		Log:       log,
	})
	if s.AdminAPIKey != "" {
		server.Admin = &proxy.Admin{Key: s.AdminAPIKey, Manager: a.manager}
	}
	a.service = &proxy.Service{Handler: server, Host: s.Listen, Port: s.port, Errors: standardLogger(log)}
	return a, nil
}

// openStore returns the store that the settings name.
func (a *app) openStore() creds.Store {
	s := &a.settings
	switch s.CredsStore {
	case "legacy":
		return creds.NewLegacyStore(s.legacyFile())
	case "keychain":
		a.migrate = true
		return creds.NewKeychainStore(s.keychainFile())
	case "env":
		return creds.NewEnvStore(s.AccessToken, s.AccountID)
	case "auto":
		a.migrate = true
	}
	return creds.NewFileStore(s.credsFile())
}

// run serves until ctx ends, and then waits for what is under way. A port that can't be listened on is an error, or
// with a menu a state that the user can mend there.
func (a *app) run(ctx context.Context, menu bool) error {
	defer a.close()
	opened := a.manager.Open(ctx)
	if !menu || !a.settings.stopped {
		if err := a.listen(); err != nil && !menu {
			return err
		}
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	door, err := openControl(a, stop)
	if err != nil {
		a.log.Warnf("⚠️ %v. The commands can't reach this program while it runs", err)
	} else {
		defer door.close()
	}
	a.client.Meter.OnChange(func(codex.Usage) { a.changed(false) })
	var wait sync.WaitGroup
	wait.Go(func() { a.watchAccount(ctx) })
	wait.Go(func() {
		a.openSignIn(ctx, opened)
		a.manager.Ready()
		a.changed(false)
		if a.manager.State().Usable {
			a.client.Models.Fetch(ctx, a.client)       //nolint:errcheck // the list at hand is used
			a.client.Workspaces(ctx)                   //nolint:errcheck // asked again with the first request
			a.client.Meter.Fetch(ctx, a.client, false) //nolint:errcheck // the next answer tells
		}
		a.manager.Run(ctx)
	})
	<-ctx.Done()
	a.log.Info("👋 Stopping: answers under way have a few seconds to end")
	a.service.Stop()
	wait.Wait()
	return nil
}

// listen starts the proxy, or keeps why it can't.
func (a *app) listen() error {
	err := a.service.Start()
	a.mu.Lock()
	a.trouble, a.spare = "", 0
	if err != nil {
		a.trouble = err.Error()
		if errors.Is(err, proxy.ErrPortTaken) {
			holder := portHolder(a.service.WantedPort())
			if holder == "" {
				holder = "another program"
			}
			a.trouble = fmt.Sprintf("Port %d is used by %s", a.service.WantedPort(), holder)
			a.spare = sparePort(a.service.WantedPort())
		}
	}
	a.mu.Unlock()
	a.changed(false)
	if err != nil {
		return err
	}
	a.log.WithField("version", version).Infof("🚀 Codex Proxy listens at http://%s/v1", display(a.service.Addr()))
	if a.settings.Demo {
		a.log.Warn("⚠️ This is the demo: answers come from a built-in stand-in, not from ChatGPT")
	}
	return nil
}

// startProxy listens on a port, 0 for the one that is set, and keeps that over a restart.
func (a *app) startProxy(port int) error {
	chosen := readChoices()
	if port != 0 {
		a.service.SetPort(port)
		chosen.Port = port
	}
	if err := a.listen(); err != nil {
		return err
	}
	chosen.Stopped = false
	return chosen.save()
}

// stopProxy stops listening, also after a restart, until it is started by hand.
func (a *app) stopProxy() error {
	a.service.Stop()
	a.changed(false)
	chosen := readChoices()
	chosen.Stopped = true
	return chosen.save()
}

// sparePort is a free port near one that is taken.
func sparePort(taken int) int {
	for port := taken + 1; port < taken+20 && port <= 65535; port++ {
		if l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			l.Close()
			return port
		}
	}
	return 0
}

// changed tells the menu that there is something new. It never waits.
func (a *app) changed(show bool) {
	for {
		select {
		case a.changes <- tray.Change{Show: show}:
			return
		default:
		}
		if !show {
			return // one is waiting to be seen already
		}
		select {
		case <-a.changes:
		default:
		}
	}
}

// watchAccount forgets what belonged to another account when somebody else signs in.
func (a *app) watchAccount(ctx context.Context) {
	states, cancel := a.manager.Subscribe()
	defer cancel()
	before := a.manager.State()
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-states:
			a.changed(false)
			if s.AccountID != before.AccountID || s.Email != before.Email || s.Kind != before.Kind {
				a.client.Meter.Clear()
				a.client.Models.Stale()
			}
			before = s
		}
	}
}

// openSignIn finishes the start of the sign-in: what was stored, or else what the Codex CLI has. Whatever goes wrong,
// the proxy runs and says what is wrong.
func (a *app) openSignIn(ctx context.Context, opened error) {
	say := a.tell
	if opened == nil {
		s := a.manager.State()
		say(creds.Step{Icon: "✅", Text: "Signed in as " + who(s) + ", stored in " + s.Store})
		return
	}
	if !a.migrate || !errors.Is(opened, creds.ErrMissing) {
		say(creds.Step{Icon: "❌", Text: opened.Error()})
		return
	}
	say(creds.Step{Icon: "🔍", Text: "First launch: looking for a sign-in of the Codex CLI"})
	c, err := a.importer.Import(ctx)
	if err != nil {
		say(creds.Step{Icon: "❌", Text: "Nothing imported: " + err.Error()})
		return
	}
	c.TakeOver = !a.settings.DisableMigrateRefresh
	say(creds.Step{Icon: "💾", Text: "Writing it to " + a.manager.State().Store})
	if err := a.manager.Adopt(ctx, c); err != nil {
		say(creds.Step{Icon: "❌", Text: "Imported, but not stored: " + err.Error()})
		return
	}
	if !c.TakeOver {
		say(creds.Step{Icon: "✅", Text: "Imported, and left to the Codex CLI: the proxy takes what the CLI refreshes. A refresh token can be used once; the proxy uses this one only if the CLI has not renewed it by the time it ends"})
		return
	}
	say(creds.Step{Icon: "🔄", Text: "Refreshing, so that the proxy has a sign-in of its own"})
	if a.manager.Refresh(ctx) == nil {
		say(creds.Step{Icon: "✅", Text: "Imported: signed in as " + who(a.manager.State())})
		a.mu.Lock()
		a.imported = true
		a.mu.Unlock()
		a.changed(false)
	}
}

func who(s creds.State) string {
	name := s.Email
	if name == "" {
		name = "an account without an address"
	}
	if s.Plan != "" {
		name += " (" + s.Plan + ")"
	}
	return name
}

// startDemo starts the stand-in on a free loopback port and signs in there.
func (a *app) startDemo() (address string, tokens creds.Credentials, err error) {
	backend := fakebackend.New()
	backend.Models = codex.BundledModels()
	backend.Label = "This is the demo of Codex Proxy; no model was asked. "
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", tokens, err
	}
	server := &http.Server{Handler: backend, ReadHeaderTimeout: 10 * time.Second, ErrorLog: standardLogger(a.log)}
	go server.Serve(l) //nolint:errcheck // it ends with the program
	a.close = func() { server.Close() }
	t := backend.SignIn(backend.AccessLife)
	return "http://" + l.Addr().String(), creds.FromTokens(t.Access, t.Refresh, t.ID, fakebackend.AccountID), nil
}

// display is an address as a person would type it.
func display(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err == nil && host == "127.0.0.1" {
		return "localhost:" + port
	}
	return addr
}

// modelFile is the cache of the list of models.
type modelFile string

func (f modelFile) Load() ([]byte, error) { return os.ReadFile(string(f)) }

func (f modelFile) Save(raw []byte) error {
	if err := os.MkdirAll(filepath.Dir(string(f)), 0o700); err != nil {
		return err
	}
	next := string(f) + ".new"
	if err := os.WriteFile(next, raw, 0o600); err != nil {
		return err
	}
	return os.Rename(next, string(f))
}
