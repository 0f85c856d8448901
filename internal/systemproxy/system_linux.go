package systemproxy

import (
	"context"
	"os"

	"github.com/godbus/dbus/v5"

	"codex-proxy/internal/sessionbus"
)

// lookup asks the desktop's portal, which reads the desktop's settings. Without a desktop none is started; a service,
// which starts before the desktop, finds the one that runs. Source: XDG Desktop Portal,
// org.freedesktop.portal.ProxyResolver.
func lookup(ctx context.Context, address string) (string, error) {
	var start dbus.Flags
	if os.Getenv("DISPLAY") == "" && os.Getenv("WAYLAND_DISPLAY") == "" {
		start = dbus.FlagNoAutoStart
	}
	bus, err := sessionbus.Connect(ctx)
	if err != nil {
		return "", ctx.Err() // no session, no settings
	}
	defer bus.Close()
	var proxies []string
	err = bus.Object("org.freedesktop.portal.Desktop", "/org/freedesktop/portal/desktop").
		CallWithContext(ctx, "org.freedesktop.portal.ProxyResolver.Lookup", start, address).Store(&proxies)
	if err != nil && ctx.Err() != nil {
		return "", ctx.Err()
	}
	for _, proxy := range proxies {
		if proxy == "direct://" || parse(proxy) != nil {
			return proxy, nil
		}
	}
	return "", nil // no portal, or none that tells
}
