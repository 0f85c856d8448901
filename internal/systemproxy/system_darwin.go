package systemproxy

import (
	"context"
	"net/url"
	"os/exec"
)

// lookup asks scutil, which is part of macOS.
func lookup(ctx context.Context, address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, "/usr/sbin/scutil", "--proxy").Output()
	if err != nil {
		return "", err
	}
	return scutil(string(out), u.Hostname())
}
