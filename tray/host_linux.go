package tray

import (
	"context"
	"errors"
	"time"

	"codex-proxy/internal/sessionbus"
)

// busPatience is how long the session bus is waited for.
const busPatience = 5 * time.Second

// noBus is why there is no session bus, by the error of sessionbus.Connect; empty where there is one.
func noBus(err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "the session bus does not answer"
	case err != nil:
		return "there is no session bus"
	}
	return ""
}

// Host reports whether something on this desktop shows icons of programs, and why not.
// Source: the StatusNotifierItem specification of freedesktop.org.
func Host() (there bool, why string) {
	ctx, cancel := context.WithTimeout(context.Background(), busPatience)
	defer cancel()
	conn, err := sessionbus.Connect(ctx)
	if err != nil {
		return false, noBus(err)
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
	conn, err := sessionbus.Connect(ctx)
	if err == nil {
		conn.Close()
	}
	return noBus(err)
}
