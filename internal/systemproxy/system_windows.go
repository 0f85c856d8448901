package systemproxy

import (
	"context"
	"net/url"

	"golang.org/x/sys/windows/registry"
)

const internetSettings = `Software\Microsoft\Windows\CurrentVersion\Internet Settings`

// lookup reads what the user has set, as Settings and most VPN programs write it.
func lookup(_ context.Context, address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", err
	}
	key, err := registry.OpenKey(registry.CURRENT_USER, internetSettings, registry.QUERY_VALUE)
	if err != nil {
		return "", nil //nolint:nilerr // nothing was set
	}
	defer key.Close()
	if on, _, err := key.GetIntegerValue("ProxyEnable"); err == nil && on != 0 {
		server, _, _ := key.GetStringValue("ProxyServer")     //nolint:errcheck // what is missing is empty
		override, _, _ := key.GetStringValue("ProxyOverride") //nolint:errcheck // see above
		return windows(server, override, u.Hostname()), nil
	}
	if script, _, err := key.GetStringValue("AutoConfigURL"); err == nil && script != "" {
		return "", ErrScript
	}
	return "", nil
}
