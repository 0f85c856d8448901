package app

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"codex-proxy/proxy"
)

// DefaultPort is where the proxy listens unless something else is set.
const DefaultPort = 9879

// Settings is everything that can be set, once, at the start: by a flag, by its environment variable, or in the
// settings file, in this order. The tags are kong's. Check must be called before use.
type Settings struct {
	Port         Port     `env:"PORT" default:"9879" placeholder:"9879" help:"Port to listen on; 0 for a free one (${env})."`
	Listen       string   `env:"CODEX_PROXY_LISTEN" default:"localhost" placeholder:"ADDRESS" help:"Address to listen on. The default is 127.0.0.1 and ::1; any other needs --api-key (${env})."`
	IconMeter    bool     `env:"CODEX_PROXY_ICON_METER" help:"Show in the icon how much of the fuller limit is used (${env})."`
	Mute         []string `env:"CODEX_PROXY_MUTE" placeholder:"WHAT" help:"Don't notify about this: limits, sign-in or pages (${env})."`
	History      int      `env:"CODEX_PROXY_HISTORY" default:"90" placeholder:"DAYS" help:"Remember for so many days which requests were answered, without their words; 0 for not at all (${env})."`
	UpdateNotice bool     `env:"CODEX_PROXY_UPDATE_NOTICE" default:"true" negatable:"" help:"Look once a day whether there is a newer release, and say so. Only builds of releases look, and none with DO_NOT_TRACK (${env})."`
	Demo         bool     `env:"CODEX_PROXY_DEMO" help:"Answer from a built-in demo backend. No sign-in is read or written (${env})."`

	CredsStore            string `env:"CODEX_PROXY_CREDS_STORE" default:"auto" enum:"auto,xdg,legacy,keychain,env" placeholder:"STORE" group:"Sign-in" help:"Where the sign-in is: auto (own file, first imported from the Codex CLI), xdg (own file), legacy (the Codex CLI's file, shared with it), keychain, env (ACCESS_TOKEN and ACCOUNT_ID) (${env})."`
	CredsPath             string `env:"CODEX_PROXY_CREDS_PATH" placeholder:"FILE" group:"Sign-in" help:"Another file for the stores auto, xdg, legacy and keychain (${env})."`
	DisableMigrateRefresh bool   `env:"CODEX_PROXY_DISABLE_MIGRATE_REFRESH" group:"Sign-in" help:"After an import leave the sign-in to the Codex CLI for as long as it is good. Without this it is refreshed at once and becomes the proxy's own, and the CLI will one day ask to sign in again (${env})."`
	AccessToken           string `env:"ACCESS_TOKEN" hidden:""`
	AccountID             string `env:"ACCOUNT_ID" hidden:""`
	CodexHome             string `env:"CODEX_HOME" default:"~/.codex" placeholder:"FOLDER" group:"Sign-in" help:"The Codex CLI's folder (${env})."`

	APIKey      []string `env:"PROXY_API_KEY" placeholder:"KEY" group:"Access" help:"Ask callers for this key, or one of these, comma-separated (${env})."`
	RequireKey  bool     `env:"CODEX_PROXY_REQUIRE_KEY" group:"Access" help:"Ask every caller for a key, also those on this machine: one of --api-key, or a named one (codex-proxy keys; a connected tool has its own) (${env})."`
	AdminAPIKey string   `env:"ADMIN_API_KEY" name:"admin-api-key" placeholder:"KEY" group:"Access" help:"Serve the admin API (/admin/credentials) to who brings this key (${env})."`
	AllowHost   []string `env:"CODEX_PROXY_ALLOW_HOST" placeholder:"NAME" group:"Access" help:"Also answer to this Host name, such as host.docker.internal (${env})."`
	AllowOrigin []string `env:"CODEX_PROXY_ALLOW_ORIGIN" placeholder:"ORIGIN" group:"Access" help:"Also answer to pages of this origin, such as http://localhost:3000 or https://chat.example.com. One that is not of this machine needs --api-key (${env})."`
	SameUser    bool     `env:"CODEX_PROXY_SAME_USER" default:"true" negatable:"" group:"Access" help:"Refuse programs of other users of this machine, where the system tells whose a caller is (${env})."`

	Model         string            `env:"CODEX_PROXY_MODEL" placeholder:"ID" group:"Answers" help:"Model for requests that name none. By default the first of your plan's list (${env})."`
	DefaultEffort string            `env:"CODEX_PROXY_DEFAULT_EFFORT" default:"" enum:",none,minimal,low,medium,high,xhigh,max" placeholder:"EFFORT" group:"Answers" help:"Effort of reasoning for requests that name none: none, minimal, low, medium, high, xhigh or max; a model that lacks it gets the nearest that it has. By default each model's own (${env})."`
	ModelAlias    map[string]string `env:"CODEX_PROXY_MODEL_ALIAS" mapsep:"," placeholder:"NAME=ID" group:"Answers" help:"Another name for a model, such as claude-sonnet=gpt-5.5; it also stands for names that begin with it. Names of Claude models mean the default model without one (${env})."`
	Strict        bool              `env:"CODEX_PROXY_STRICT" group:"Answers" help:"Refuse requests with parameters that the backend does not take, instead of leaving those out (${env})."`
	WebSocket     bool              `env:"CODEX_PROXY_UPSTREAM_WEBSOCKET" name:"upstream-websocket" group:"Answers" help:"Send runs of tool calls to ChatGPT over WebSocket, where a turn sends its new items alone. Saves time with long conversations over a slow network; what goes wrong is sent as usual (${env})."`
	IdleTimeout   time.Duration     `env:"CODEX_PROXY_IDLE_TIMEOUT" default:"10m" group:"Answers" help:"Give an answer up after this long without a word from ChatGPT (${env})."`
	KeepAlive     time.Duration     `env:"CODEX_PROXY_KEEP_ALIVE" default:"15s" group:"Answers" help:"Tell the caller of a stream this often that a silent answer is still coming (${env})."`

	Env      string `env:"ENV" default:"development" placeholder:"NAME" group:"Log" help:"development logs text, production JSON (${env})."`
	LogLevel string `env:"CODEX_PROXY_LOG_LEVEL" default:"info" enum:"debug,info,warn,error" placeholder:"LEVEL" group:"Log" help:"debug, info, warn or error (${env})."`

	HTTPSProxy string `env:"HTTPS_PROXY" name:"https-proxy" placeholder:"URL" group:"OpenAI" help:"Reach OpenAI through this network's proxy, such as http://proxy.example.com:3128 or socks5://127.0.0.1:1080; a name and a password may stand before the host. By default the one that this desktop's browsers use; direct for none (${env})."`
	BackendURL string `env:"CODEX_PROXY_BACKEND_URL" default:"https://chatgpt.com/backend-api" placeholder:"URL" group:"OpenAI" help:"Where ChatGPT's backend is (${env})."`
	APIURL     string `env:"CODEX_PROXY_API_URL" name:"api-url" default:"https://api.openai.com/v1" placeholder:"URL" group:"OpenAI" help:"Where OpenAI's public API is (${env})."`
	AuthURL    string `env:"CODEX_PROXY_AUTH_URL" default:"https://auth.openai.com" placeholder:"URL" group:"OpenAI" help:"Where OpenAI's auth server is (${env})."`

	// DeniedOrigins are pages of this machine that the user does not want to be asked about.
	DeniedOrigins []string `kong:"-"`

	// From says where each setting's value comes from, by the name of its flag; nil counts as FromDefault for all.
	From map[string]Source `kong:"-"`
	// Wrong is what was passed over in the settings file, for a command that helps to put it right. Its last sentence is
	// what to do.
	Wrong error `kong:"-"`
	// Warnings are what Check put right by itself, in sentences.
	Warnings []string `kong:"-"`
}

// Source is where the value of a setting comes from.
type Source string

// The sources, the strongest first.
const (
	FromFlag    Source = "flag"
	FromEnv     Source = "environment"
	FromFile    Source = "file"
	FromDefault Source = "default"
)

// Port is a TCP port, 0 for a free one.
type Port int

// UnmarshalText reads a port as people type it.
func (p *Port) UnmarshalText(text []byte) error {
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("a port is a number from 0 to 65535, not %q", text)
	}
	*p = Port(n)
	return nil
}

// Check refuses what can't be served safely, and brings paths and addresses to one form. What another program's
// variable of the same name says (ENV is POSIX sh's, too) is passed over with a warning.
func (s *Settings) Check() error {
	s.CredsPath, s.CodexHome = expandHome(s.CredsPath), expandHome(s.CodexHome)
	if s.CodexHome == "" {
		s.CodexHome = expandHome("~/.codex")
	}
	if s.Env != "development" && s.Env != "production" {
		if s.From["env"] != FromEnv {
			return fmt.Errorf("--env is development or production, not %q", s.Env)
		}
		s.Warnings = append(s.Warnings, fmt.Sprintf("The variable ENV is %q, which is neither production nor development: it is taken for another program's", s.Env))
		s.Env = "development"
	}
	for _, what := range s.Mute {
		if what != "limits" && what != "sign-in" && what != "pages" {
			return fmt.Errorf("--mute is limits, sign-in or pages, not %q", what)
		}
	}
	if s.History < 0 || s.History > 3650 {
		return fmt.Errorf("--history is a number of days from 0 to 3650, not %d", s.History)
	}
	if model, nameless := s.ModelAlias[""]; nameless {
		return fmt.Errorf("--model-alias =%s has no name. Write it like claude-sonnet=gpt-5.5", model)
	}
	if err := s.checkAccess(); err != nil {
		return err
	}
	for _, timeout := range []struct {
		name  string
		value time.Duration
	}{{"--idle-timeout", s.IdleTimeout}, {"--keep-alive", s.KeepAlive}} {
		if timeout.value < 10*time.Millisecond {
			return fmt.Errorf("%s must be longer than that, such as 30s", timeout.name)
		}
	}
	if err := s.checkNetworkProxy(); err != nil {
		return err
	}
	for _, address := range []struct {
		name  string
		value *string
	}{{"--backend-url", &s.BackendURL}, {"--api-url", &s.APIURL}, {"--auth-url", &s.AuthURL}} {
		*address.value = strings.TrimRight(*address.value, "/")
		u, err := url.Parse(*address.value)
		switch {
		case err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http"):
			return fmt.Errorf("%s must be an address like https://host/path", address.name)
		case u.Scheme == "http" && !proxy.Loopback(u.Hostname()):
			return fmt.Errorf("%s: your sign-in would go over the network unencrypted. Use https (http is taken for this machine only)", address.name)
		}
	}
	return nil
}

// directly is what --https-proxy says for no proxy.
const directly = "direct"

// hidden is shown in the place of a password.
const hidden = "xxxxx"

// checkNetworkProxy refuses an address that no request could be sent by. The variable is left to net/http.
func (s *Settings) checkNetworkProxy() error {
	if s.HTTPSProxy == "" || s.HTTPSProxy == directly || s.From["https-proxy"] == FromEnv {
		return nil
	}
	u, err := url.Parse(s.HTTPSProxy)
	if err != nil || u.Hostname() == "" || !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme) {
		return errors.New("--https-proxy must be an address like http://host:3128 or socks5://host:1080, or the word direct for none")
	}
	if password, _ := u.User.Password(); password == hidden {
		return errors.New("--https-proxy: type the password, too. What stands in its place is only shown")
	}
	return nil
}

// NetworkVariables are read by Go itself: how the network is reached, and whom to trust there. HTTPS_PROXY is a setting,
// too.
var NetworkVariables = []string{"https_proxy", "NO_PROXY", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"}

// checkAccess refuses what would let strangers spend the plan.
func (s *Settings) checkAccess() error {
	if s.Listen = strings.Trim(s.Listen, "[]"); s.Listen == "" {
		s.Listen = "localhost"
	}
	for _, key := range s.APIKey {
		if strings.TrimSpace(key) != key || key == "" {
			return errors.New("--api-key must not be empty or begin or end with a space")
		}
	}
	if from := s.From["api-key"]; len(s.APIKey) == 0 && from != "" && from != FromDefault {
		return fmt.Errorf("the API key (--api-key, PROXY_API_KEY) is set by the %s and empty: an empty key is no key. Give it a value, or leave it out", from)
	}
	if !proxy.Loopback(s.Listen) && len(s.APIKey) == 0 {
		return fmt.Errorf("--listen %s lets other machines spend your plan. Set --api-key too, or leave --listen out", s.Listen)
	}
	for _, host := range s.AllowHost {
		if _, err := netip.ParseAddr(host); err != nil && strings.ContainsAny(host, ":/[] ") {
			return fmt.Errorf("--allow-host %s is not a host name alone. Write it like host.docker.internal, without a scheme, a port or brackets", host)
		}
	}
	for _, origin := range s.AllowOrigin {
		u, err := url.Parse(origin)
		if err != nil || u.Host == "" || !strings.EqualFold(origin, u.Scheme+"://"+u.Host) {
			return fmt.Errorf("--allow-origin %s is not an origin. Write it like https://chat.example.com", origin)
		}
		if proxy.WebOrigin(origin) && !proxy.Loopback(u.Hostname()) && len(s.APIKey) == 0 {
			return fmt.Errorf("--allow-origin %s lets its pages spend your plan. Set --api-key too", origin)
		}
	}
	return nil
}

// credsFile is where the own sign-in is kept.
func (s *Settings) credsFile() string {
	if s.CredsPath != "" {
		return s.CredsPath
	}
	return filepath.Join(ConfigFolder(), "auth.json")
}

// keychainFile is the encrypted file whose key is in the keychain.
func (s *Settings) keychainFile() string {
	if s.CredsPath != "" {
		return s.CredsPath
	}
	return filepath.Join(ConfigFolder(), "auth.enc")
}

// legacyFile is the Codex CLI's own.
func (s *Settings) legacyFile() string {
	if s.CredsPath != "" {
		return s.CredsPath
	}
	return filepath.Join(s.CodexHome, "auth.json")
}

// ChatGPTWarning is what must be known, and agreed to, before a "Sign in with ChatGPT". Source: OpenAI's
// sign-in-with-chatgpt-terms of 2026-09-29, as a public review of 2026-10-05 quotes them; not read by us.
const ChatGPTWarning = "OpenAI's terms for this sign-in (29 September 2026, as quoted by a public review of 5 October 2026) say that it is for the connected application only and not for " +
	"\"general-purpose API access for other tools\", which is what a local API is. It works with Plus and Pro only, has a weekly cap for each app, lasts 30 days, and does no image generation, file search or computer use."
