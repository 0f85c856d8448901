package tray

import (
	"context"
	"time"

	"github.com/godbus/dbus/v5"
)

// busPatience is how long the session bus is waited for.
const busPatience = 5 * time.Second

// bus connects to the session bus for as long as ctx; why says why not.
func bus(ctx context.Context) (conn *dbus.Conn, why string) {
	conn, err := dbus.ConnectSessionBus(dbus.WithContext(ctx))
	switch {
	case ctx.Err() != nil:
		return nil, "the session bus does not answer"
	case err != nil:
		return nil, "there is no session bus"
	}
	return conn, ""
}

// Host reports whether something on this desktop shows icons of programs, and why not.
// Source: the StatusNotifierItem specification of freedesktop.org.
func Host() (there bool, why string) {
	ctx, cancel := context.WithTimeout(context.Background(), busPatience)
	defer cancel()
	conn, why := bus(ctx)
	if why != "" {
		return false, why
	}
	defer conn.Close()
	if conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.NameHasOwner", 0, "org.kde.StatusNotifierWatcher").Store(&there) != nil || !there {
		return false, "no panel on this desktop shows tray icons; on GNOME the extension AppIndicator does"
	}
	return true, ""
}

// Unavailable says why no icon can be shown at all; empty when it can, now or later.
func Unavailable() string {
	ctx, cancel := context.WithTimeout(context.Background(), busPatience)
	defer cancel()
	conn, why := bus(ctx)
	if why == "" {
		conn.Close()
	}
	return why
}
