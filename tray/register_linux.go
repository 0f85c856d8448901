package tray

import (
	"context"

	"github.com/godbus/dbus/v5"
)

// keepRegistered brings the icon back after the panel was restarted. systray does so, too, but stops for good at the
// first signal with fewer than three arguments that reaches the connection which it shares with the keyring and with
// notifications; so this watches on a connection of its own, and registers on the shared one. When the session bus
// goes, the session has ended and lost is called: systray can't move to another bus.
func keepRegistered(ctx context.Context, lost func()) {
	conn, err := dbus.ConnectSessionBus() // not with ctx: its end is not the bus's
	if err != nil {
		return
	}
	defer conn.Close()
	const watcher = "org.kde.StatusNotifierWatcher"
	if conn.AddMatchSignal(dbus.WithMatchInterface("org.freedesktop.DBus"), dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(0, watcher)) != nil {
		return
	}
	signals := make(chan *dbus.Signal, 16)
	conn.Signal(signals)
	for {
		select {
		case <-ctx.Done():
			return
		case s, ok := <-signals:
			if !ok {
				lost()
				return
			}
			if len(s.Body) != 3 || s.Name != "org.freedesktop.DBus.NameOwnerChanged" {
				continue
			}
			if owner, _ := s.Body[2].(string); owner == "" {
				continue
			}
			if shared, err := dbus.SessionBus(); err == nil {
				shared.Object(watcher, "/StatusNotifierWatcher").Call(watcher+".RegisterStatusNotifierItem", dbus.FlagNoReplyExpected, "/StatusNotifierItem")
			}
		}
	}
}
