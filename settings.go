package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/adrg/xdg"

	"codex-proxy/proxy"
)

// settings is everything that can be set, once, at the start. Nothing else reads the environment.
type settings struct {
	Port   *int   `env:"PORT" placeholder:"9879" help:"Port to listen on; 0 for a free one. The default is 9879, or what was chosen in the menu (${env})."`
	Listen string `env:"CODEX_PROXY_LISTEN" default:"localhost" placeholder:"ADDRESS" help:"Address to listen on. The default is 127.0.0.1 and ::1; any other needs --api-key (${env})."`
	Demo   bool   `env:"CODEX_PROXY_DEMO" help:"Answer from a built-in demo backend. No sign-in is read or written (${env})."`

	CredsStore            string `env:"CODEX_PROXY_CREDS_STORE" default:"auto" enum:"auto,xdg,legacy,keychain,env" placeholder:"STORE" group:"Sign-in" help:"Where the sign-in is: auto (own file, first imported from the Codex CLI), xdg (own file), legacy (the Codex CLI's file, shared with it), keychain, env (ACCESS_TOKEN and ACCOUNT_ID) (${env})."`
	CredsPath             string `env:"CODEX_PROXY_CREDS_PATH" placeholder:"FILE" group:"Sign-in" help:"Another file for the stores auto, xdg, legacy and keychain (${env})."`
	DisableMigrateRefresh bool   `env:"CODEX_PROXY_DISABLE_MIGRATE_REFRESH" group:"Sign-in" help:"After an import leave the sign-in to the Codex CLI for as long as it is good. Without this it is refreshed at once and becomes the proxy's own, and the CLI will one day ask to sign in again (${env})."`
	AccessToken           string `env:"ACCESS_TOKEN" hidden:""`
	AccountID             string `env:"ACCOUNT_ID" hidden:""`
	CodexHome             string `env:"CODEX_HOME" default:"~/.codex" placeholder:"FOLDER" group:"Sign-in" help:"The Codex CLI's folder (${env})."`

	APIKey      []string `env:"PROXY_API_KEY" placeholder:"KEY" group:"Access" help:"Ask callers for this key, or one of these, comma-separated (${env})."`
	AdminAPIKey string   `env:"ADMIN_API_KEY" name:"admin-api-key" placeholder:"KEY" group:"Access" help:"Serve the admin API (/admin/credentials) to who brings this key (${env})."`
	AllowHost   []string `env:"CODEX_PROXY_ALLOW_HOST" placeholder:"NAME" group:"Access" help:"Also answer to this Host name, such as host.docker.internal (${env})."`
	AllowOrigin []string `env:"CODEX_PROXY_ALLOW_ORIGIN" placeholder:"ORIGIN" group:"Access" help:"Also answer to pages of this origin, such as https://chat.example.com. A web origin needs --api-key (${env})."`

	Model       string            `env:"CODEX_PROXY_MODEL" placeholder:"ID" group:"Answers" help:"Model for requests that name none. By default the first of your plan's list (${env})."`
	ModelAlias  map[string]string `env:"CODEX_PROXY_MODEL_ALIAS" mapsep:"," placeholder:"NAME=ID" group:"Answers" help:"Another name for a model, such as claude-sonnet=gpt-5.5; it also stands for names that begin with it. Names of Claude models mean the default model without one (${env})."`
	Strict      bool              `env:"CODEX_PROXY_STRICT" group:"Answers" help:"Refuse requests with parameters that the backend does not take, instead of leaving those out (${env})."`
	IdleTimeout time.Duration     `env:"CODEX_PROXY_IDLE_TIMEOUT" default:"10m" group:"Answers" help:"Give an answer up after this long without a word from ChatGPT (${env})."`
	KeepAlive   time.Duration     `env:"CODEX_PROXY_KEEP_ALIVE" default:"15s" group:"Answers" help:"Tell the caller of a stream this often that a silent answer is still coming (${env})."`

	Env      string `env:"ENV" default:"development" enum:"development,production" placeholder:"NAME" group:"Log" help:"development logs text, production JSON (${env})."`
	LogLevel string `env:"CODEX_PROXY_LOG_LEVEL" default:"info" enum:"debug,info,warn,error" placeholder:"LEVEL" group:"Log" help:"debug, info, warn or error (${env})."`

	BackendURL string `env:"CODEX_PROXY_BACKEND_URL" default:"https://chatgpt.com/backend-api" placeholder:"URL" group:"OpenAI" help:"Where ChatGPT's backend is (${env})."`
	APIURL     string `env:"CODEX_PROXY_API_URL" name:"api-url" default:"https://api.openai.com/v1" placeholder:"URL" group:"OpenAI" help:"Where OpenAI's public API is (${env})."`
	port       int    // what Port, the menu or the default say
	stopped    bool   // the user stopped the proxy in the menu

	AuthURL string `env:"CODEX_PROXY_AUTH_URL" default:"https://auth.openai.com" placeholder:"URL" group:"OpenAI" help:"Where OpenAI's auth server is (${env})."`
}

// check refuses what can't be served safely, and brings paths and addresses to one form.
func (s *settings) check() error {
	s.CredsPath, s.CodexHome = expandHome(s.CredsPath), expandHome(s.CodexHome)
	if s.CodexHome == "" {
		s.CodexHome = expandHome("~/.codex")
	}
	chosen := readChoices()
	s.port, s.stopped = defaultPort, chosen.Stopped
	if chosen.Port > 0 {
		s.port = chosen.Port
	}
	if s.Port != nil {
		s.port = *s.Port
	}
	if s.port < 0 || s.port > 65535 {
		return fmt.Errorf("--port must be from 0 to 65535, not %d", s.port)
	}
	s.Listen = strings.Trim(s.Listen, "[]")
	if !proxy.Loopback(s.Listen) && len(s.APIKey) == 0 {
		return fmt.Errorf("--listen %s lets other machines spend your plan. Set --api-key too, or leave --listen out", s.Listen)
	}
	for _, key := range s.APIKey {
		if strings.TrimSpace(key) != key || key == "" {
			return errors.New("--api-key must not be empty or begin or end with a space")
		}
	}
	for _, origin := range s.AllowOrigin {
		u, err := url.Parse(origin)
		if err != nil || u.Scheme == "" || u.Host == "" || u.Path != "" {
			return fmt.Errorf("--allow-origin %s is not an origin. Write it like https://chat.example.com", origin)
		}
		if strings.HasPrefix(u.Scheme, "http") && len(s.APIKey) == 0 {
			return fmt.Errorf("--allow-origin %s lets its pages spend your plan. Set --api-key too", origin)
		}
	}
	for _, timeout := range []struct {
		name  string
		value time.Duration
	}{{"--idle-timeout", s.IdleTimeout}, {"--keep-alive", s.KeepAlive}} {
		if timeout.value <= 0 {
			return fmt.Errorf("%s must be longer than nothing, such as 30s", timeout.name)
		}
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

const defaultPort = 9879

// choices are what the menu has set. A flag or an environment variable wins.
type choices struct {
	Port    int  `json:"port,omitempty"`    // 0 for the default
	Stopped bool `json:"stopped,omitempty"` // the proxy stays stopped until it is started by hand
}

func choicesFile() string { return filepath.Join(configHome(), "codex-proxy", "settings.json") }

// readChoices returns what was set; a file that is missing or damaged sets nothing.
func readChoices() (c choices) {
	if raw, err := os.ReadFile(choicesFile()); err == nil {
		json.Unmarshal(raw, &c) //nolint:errcheck // see above
	}
	return c
}

// save keeps the choices over a restart.
func (c choices) save() error {
	raw, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return writePrivate(choicesFile(), append(raw, '\n'))
}

// credsFile is where the own sign-in is kept.
func (s *settings) credsFile() string {
	if s.CredsPath != "" {
		return s.CredsPath
	}
	return filepath.Join(configHome(), "codex-proxy", "auth.json")
}

// keychainFile is the encrypted file whose key is in the keychain.
func (s *settings) keychainFile() string {
	if s.CredsPath != "" {
		return s.CredsPath
	}
	return filepath.Join(configHome(), "codex-proxy", "auth.enc")
}

// legacyFile is the Codex CLI's own.
func (s *settings) legacyFile() string {
	if s.CredsPath != "" {
		return s.CredsPath
	}
	return filepath.Join(s.CodexHome, "auth.json")
}

// configHome is ~/.config, on macOS too, where other command-line programs have theirs.
func configHome() string {
	if runtime.GOOS == "windows" {
		return xdg.ConfigHome
	}
	if dir := os.Getenv("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		return dir
	}
	return filepath.Join(xdg.Home, ".config")
}

// expandHome puts the home folder in the place of a leading ~.
func expandHome(path string) string {
	if path == "~" {
		return xdg.Home
	}
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		return filepath.Join(xdg.Home, rest)
	}
	if rest, ok := strings.CutPrefix(path, `~\`); ok && runtime.GOOS == "windows" {
		return filepath.Join(xdg.Home, rest)
	}
	return path
}
