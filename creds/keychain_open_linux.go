package creds

import (
	"context"
	"time"

	"github.com/godbus/dbus/v5"

	"codex-proxy/internal/sessionbus"
)

// keychainOpen reports whether the user's keychain is seen to be unlocked, without a question to anybody. It takes a second
// at most, on a connection of its own: that which is shared waits without a limit for a bus that says nothing.
// Source: Secret Service API, Collection's property Locked; the two paths are those that go-keyring uses.
func keychainOpen() bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	bus, err := sessionbus.Connect(ctx)
	if err != nil {
		return false
	}
	defer bus.Close()
	for _, path := range []dbus.ObjectPath{"/org/freedesktop/secrets/collection/login", "/org/freedesktop/secrets/aliases/default"} {
		var locked bool
		if bus.Object("org.freedesktop.secrets", path).CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", dbus.FlagNoAutoStart,
			"org.freedesktop.Secret.Collection", "Locked").Store(&locked) == nil {
			return !locked
		}
	}
	return false
}
