//go:build js

// Command worker is the proxy as a Cloudflare Worker. One Durable Object (worker.mjs, host.mjs) holds one account and one
// instance of this program for as long as it lives, so a refresh happens once, whatever comes at the same time.
package main

import (
	"context"
	"net/url"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall/js"
	"time"

	"github.com/sirupsen/logrus"

	"codex-proxy/creds"
	"codex-proxy/proxy"
	"codex-proxy/proxy/codex"
)

// version is set by the build.
var version = "dev"

func main() {
	debug.SetGCPercent(400) // a small heap, and CPU is what is paid for
	debug.SetMemoryLimit(memoryAim)
	// host.mjs puts itself there just before it starts this program.
	host := js.Global().Get("codexProxy")
	env, log := host.Get("env"), logrus.New()
	log.SetOutput(os.Stdout)
	log.SetFormatter(&logrus.JSONFormatter{})
	log.SetLevel(logrus.WarnLevel) // a line a request costs more than the rest of it
	if name := text(env, "LOG_LEVEL"); name != "" {
		if level, err := logrus.ParseLevel(name); err == nil {
			log.SetLevel(level)
		} else {
			log.Warnf("LOG_LEVEL is %q, which is no level, and is not used. Set one of debug, info, warn, error", name)
		}
	}
	bridge := newBridge(host, log)

	identity := codex.NewIdentity(version)
	backend := address(env, "UPSTREAM_BASE_URL", "https://chatgpt.com/backend-api", log)
	api, auth := address(env, "API_BASE_URL", "https://api.openai.com/v1", log), address(env, "AUTH_BASE_URL", "https://auth.openai.com", log)
	manager := creds.NewManager(creds.Config{
		Store:     &kvStore{host: host, secret: text(env, "CREDENTIALS_KEY")},
		Refresher: &creds.Refresher{HTTP: fetcher{bridge}, AuthURL: auth, UserAgent: identity.UserAgent},
		Advice:    advice,
		Tell:      creds.LogSteps(log),
	})
	keys, origins, keyMissing := proxy.KeyList(list(text(env, "PROXY_API_KEY"))), list(text(env, "ALLOW_ORIGIN")), ""
	if len(keys) == 0 {
		keyMissing = "This Worker has no API key yet, so it answers nobody. Set one: wrangler secret put PROXY_API_KEY"
	}
	effort := text(env, "DEFAULT_EFFORT")
	if effort != "" && !slices.Contains(codex.EffortNames, effort) {
		log.Warnf("DEFAULT_EFFORT is %q, which is no effort, and is not used. Set one of %s", effort, strings.Join(codex.EffortNames, ", "))
		effort = ""
	}
	strict := false
	if value := text(env, "STRICT"); value != "" {
		var err error
		if strict, err = strconv.ParseBool(value); err != nil {
			log.Warnf("STRICT is %q, which is not used. Set true or false", value)
		}
	}
	server := proxy.NewServer(proxy.Config{
		Advice: remedy, SignIn: manager, HTTP: fetcher{bridge}, BackendURL: backend, APIURL: api, Identity: identity,
		// The platform ends a silent answer on its own terms; this is for the backend's silence.
		IdleTimeout: 10 * time.Minute, KeepAlive: 15 * time.Second, Strict: strict,
		Memory: 48 << 20, BodyMost: bodyMost,
		Model: text(env, "MODEL"), DefaultEffort: effort, Aliases: aliases(text(env, "MODEL_ALIAS"), log),
		Guard: proxy.Guard{
			AnyHost: true, Keys: keys, KeyRequired: func() bool { return true }, KeyMissing: keyMissing,
			Origins: func() []string { return origins },
		},
		Admin: &proxy.Admin{
			Key: text(env, "ADMIN_API_KEY"), Manager: manager,
			KeyMissing: "The admin API has no key yet. Set one: wrangler secret put ADMIN_API_KEY",
		},
		Version: version,
		Log:     log,
	})

	opened := make(chan struct{})
	bridge.handler, bridge.ready = server, opened
	bridge.tick = func(ctx context.Context) {
		manager.RefreshIfDue(ctx)
		bridge.wake(manager.Due()) // also when nothing has changed: alarms may come early
	}
	bridge.listen()
	manager.Open(context.Background()) //nolint:errcheck // it is in the state
	manager.Ready()
	close(opened)
	states, _ := manager.Subscribe()
	for range states {
		bridge.wake(manager.Due())
	}
}

const (
	bodyMost  = 20 << 20 // bytes; door.mjs's bodyMost
	memoryAim = 40 << 20 // bytes of the 128 MB that a Worker has; beyond, garbage is collected more often
)

// address is a base URL that a variable names. One without https:// is taken for one with it.
func address(env js.Value, name, otherwise string, log *logrus.Logger) string {
	said := text(env, name)
	if said == "" {
		return otherwise
	}
	full := strings.TrimRight(said, "/")
	if !strings.Contains(full, "://") {
		full = "https://" + strings.TrimLeft(full, "/")
	}
	u, err := url.Parse(full)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		log.Warnf("%s is %q, which is no address, and is not used. Set one such as %s", name, said, otherwise)
		return otherwise
	}
	return full
}

func list(s string) (out []string) {
	for _, part := range strings.Split(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

func aliases(s string, log *logrus.Logger) map[string]string {
	out := map[string]string{}
	for _, pair := range list(s) {
		from, to, ok := strings.Cut(pair, "=")
		if !ok || from == "" {
			log.Warnf("MODEL_ALIAS has %q, which is not used. It must be NAME=MODEL", pair)
			continue
		}
		out[from] = to
	}
	return out
}
