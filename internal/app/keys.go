package app

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"codex-proxy/internal/connect"
	"codex-proxy/internal/keys"
	"codex-proxy/proxy"
)

// KeysFile is where the hashes of the named API keys are kept.
func KeysFile() string { return filepath.Join(ConfigFolder(), "keys.json") }

// guardKeys are all the keys that callers may bring: those of the settings, which have no names, and the named ones.
type guardKeys struct {
	list  proxy.KeyList
	named *keys.Store
}

// Lookup is proxy.Keys'.
func (k guardKeys) Lookup(presented string) (name string, ok bool) {
	if name, ok = k.list.Lookup(presented); ok {
		return name, ok
	}
	return k.named.Lookup(presented)
}

// Allows is proxy.KeyRoutes'. Keys of the settings are good for everything.
func (k guardKeys) Allows(name, route string) bool { return name == "" || k.named.Allows(name, route) }

// Keys lists the named API keys, the oldest first.
func (a *App) Keys() []keys.Key { return a.keys.List() }

// KeysProblem is why the named API keys can't be read, so that none of them is good; nil when they can.
func (a *App) KeysProblem() error { return a.keys.Problem() }

// MakeKey makes a key under a name, good for routes or, without any, for all, and returns it: it is told this once. A
// name that is taken, or kept for a tool, is an error.
func (a *App) MakeKey(name string, routes ...string) (string, error) {
	if tool, ok := connect.Named(name); ok && tool.HasFile() {
		return "", fmt.Errorf("%s is the name of the key that %s gets when it is connected. Choose another name", name, tool.Name)
	}
	for _, k := range a.keys.List() {
		if k.Name == name {
			return "", errors.New("there is a key of that name already. Revoke it first, or choose another name")
		}
	}
	defer a.show()
	key := keys.New("key")
	return key, a.keys.Add(name, key, routes...)
}

// RevokeKey takes a key away; the running proxy refuses it within a second.
func (a *App) RevokeKey(name string) error {
	defer a.show()
	return a.keys.Revoke(name)
}

// keyRequired reports whether callers must bring a key.
func (a *App) keyRequired() bool { return len(a.Settings.APIKey) > 0 || a.Settings.RequireKey }

// ofProcess stands in the name of a passing key behind that of the tool.
const ofProcess = " (process "

// PassingKey is the key for what is sent for id to the proxy of a state: any text, or where it asks for keys, one that is
// known until forget is called.
func (a *App) PassingKey(id string, s State) (key string, forget func(), err error) {
	if !s.KeyRequired {
		return "cp-" + id, func() {}, nil
	}
	name := fmt.Sprintf("%s"+ofProcess+"%d, %s)", id, os.Getpid(), time.Now().Format("15:04:05.000000"))
	if key, err = a.MakeKey(name); err != nil {
		return "", nil, err
	}
	return key, func() { a.RevokeKey(name) }, nil //nolint:errcheck // it opens nothing by itself
}

// toolKeys are the keys as package connect takes them.
type toolKeys struct{ *keys.Store }

// Add is connect.Keys'.
func (k toolKeys) Add(name, key string) error { return k.Store.Add(name, key) }

// Knows is connect.Keys'.
func (k toolKeys) Knows(key string) bool { return k.Problem() != nil || k.Store.Knows(key) }

// Revoke is connect.Keys'.
func (k toolKeys) Revoke(name string) error {
	if err := k.Store.Revoke(name); !errors.Is(err, keys.ErrUnknown) {
		return err
	}
	return nil
}
