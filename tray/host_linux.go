package tray

import (
	"context"
	"time"

	"github.com/godbus/dbus/v5"
)

// busPatience is how long Host waits for the session bus.
const busPatience = 5 * time.Second

// Host reports whether something on this desktop shows icons of programs, and why not.
// Source: the StatusNotifierItem specification of freedesktop.org.
func Host() (there bool, why string) {
	ctx, cancel := context.WithTimeout(context.Background(), busPatience)
	defer cancel()
	conn, err := dbus.ConnectSessionBus(dbus.WithContext(ctx))
	switch {
	case ctx.Err() != nil:
		return false, "the session bus does not answer"
	case err != nil:
		return false, "there is no session bus"
	}
	defer conn.Close()
	if conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.NameHasOwner", 0, "org.kde.StatusNotifierWatcher").Store(&there) != nil || !there {
		return false, "no panel on this desktop shows tray icons; on GNOME the extension AppIndicator does"
	}
	return true, ""
}

// Unavailable says why no icon can be shown at all; empty when it can, now or later.
func Unavailable() string {
	conn, err := dbus.SessionBus()
	if err != nil {
		return "there is no session bus"
	}
	_ = conn // shared with the icon
	return ""
}
