package app

import (
	"context"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"

	"codex-proxy/creds"
	"codex-proxy/internal/atomicfile"
	"codex-proxy/internal/keys"
	"codex-proxy/internal/peer"
	"codex-proxy/proxy"
	"codex-proxy/proxy/codex"
)

// New builds the program from checked settings. Nothing runs yet, but for the demo's backend.
func New(s Settings, p Program) (*App, error) {
	a := &App{Settings: s, program: p, Steps: creds.LogSteps(p.Log), log: p.Log, identity: codex.NewIdentity(p.Version), accounts: make(chan string, 1), meter: s.IconMeter, mute: s.Mute, life: Life{Quit: func() {}}, lifetime: context.Background()}
	a.http = newHTTPClient(a.networkProxy)
	a.rest = newRest(debug.FreeOSMemory)
	a.endWith(a.rest.stop)
	a.advice = adviceFor(p.Icon, s.CredsStore)
	a.origins = &origins{allow: slices.Clone(s.AllowOrigin), deny: slices.Clone(s.DeniedOrigins)}
	a.keys = keys.Open(KeysFile())
	a.endWith(a.keys.Close)
	store, cache := a.openStore(), codex.ModelCache(modelFile(filepath.Join(CacheFolder(), "models.json")))
	if s.Demo {
		tokens, err := a.startDemo()
		if err != nil {
			return nil, err
		}
		store, cache, a.imports = creds.NewMemoryStore(tokens), nil, false
	}
	a.manager = a.newManager(store)
	server := a.newServer(cache)
	a.client = server.Client
	a.client.OnAnswer = a.answered
	a.service = &proxy.Service{Handler: a.withPage(server), Host: s.Listen, Port: int(s.Port), Errors: standardLogger(p.Log), Advice: a.advice.remedy, SameUser: s.SameUser && peer.Supported}
	return a, nil
}

// openStore returns the store that the settings name.
func (a *App) openStore() creds.Store {
	s := &a.Settings
	switch s.CredsStore {
	case "legacy":
		return creds.NewLegacyStore(s.legacyFile())
	case "keychain":
		a.imports = true
		return creds.NewKeychainStore(s.keychainFile())
	case "env":
		return creds.NewEnvStore(s.AccessToken, s.AccountID)
	case "auto":
		a.imports = true
	}
	return creds.NewFileStore(s.credsFile())
}

func (a *App) newManager(store creds.Store) *creds.Manager {
	say := func(step creds.Step) { a.Steps(step) }
	a.importer = &creds.Importer{CodexHome: a.Settings.CodexHome, Tell: say}
	config := creds.Config{
		Store:     store,
		Refresher: &creds.Refresher{HTTP: a.http, AuthURL: a.Settings.AuthURL, UserAgent: a.identity.UserAgent},
		TakeOver:  !a.Settings.DisableMigrateRefresh,
		Advice:    func(c creds.Cause) string { return a.advice.cause(c) }, // Prepare changes it
		Tell:      say,
	}
	if a.imports {
		quiet := &creds.Importer{CodexHome: a.Settings.CodexHome, Tell: func(creds.Step) {}}
		config.Source = quiet.FromFile
	}
	if !a.Settings.Demo { // also where nothing is imported: the Codex CLI's own file still has what was taken over
		config.Taken, config.Took, config.Taking = taken, took, taking
	}
	return creds.NewManager(config)
}

func (a *App) newServer(cache codex.ModelCache) *proxy.Server {
	s := &a.Settings
	var admin *proxy.Admin
	if s.AdminAPIKey != "" {
		admin = &proxy.Admin{Key: s.AdminAPIKey, Manager: a.manager}
	}
	return proxy.NewServer(proxy.Config{
		SignIn: a.manager, HTTP: a.http, BackendURL: s.BackendURL, APIURL: s.APIURL, Identity: a.identity,
		IdleTimeout: s.IdleTimeout, KeepAlive: s.KeepAlive, Strict: s.Strict, WebSocket: s.WebSocket, Moves: a.moves,
		Model: s.Model, DefaultEffort: s.DefaultEffort, Aliases: s.ModelAlias, ModelCache: cache,
		Guard: proxy.Guard{
			Keys: guardKeys{proxy.KeyList(s.APIKey), a.keys}, KeyRequired: a.keyRequired,
			Hosts: s.AllowHost, Origins: a.origins.allowed, Asked: a.pageAsked, Advice: a.advice.remedy,
		},
		Admin: admin, Advice: a.advice.remedy, OnStart: a.onStart, OnRequest: a.onRequest,
		Version: a.program.Version,
		Demo:    s.Demo,
		Log:     a.log,
	})
}

// modelFile is the cache of the list of models.
type modelFile string

func (f modelFile) Load() ([]byte, error) { return os.ReadFile(string(f)) }

func (f modelFile) Save(raw []byte) error { return atomicfile.Write(string(f), raw) }
