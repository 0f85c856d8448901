//go:build !linux && !windows && !js

package tray

import (
	"context"

	"github.com/gen2brain/beeep"

	"codex-proxy/assets"
)

// Desktop shows notifications by the system. They can't be clicked or taken away there.
type Desktop struct {
	orders chan Notice
}

// NewDesktop returns a Notifier that works until ctx ends.
func NewDesktop(ctx context.Context) *Desktop {
	beeep.AppName = "Codex Proxy"
	d := &Desktop{orders: make(chan Notice, 32)}
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case n := <-d.orders:
				beeep.Notify(n.Title, n.Body, assets.PNG(string(n.icon()))) //nolint:errcheck // it is in the menu, the log and status
			}
		}
	}()
	return d
}

// Clicked never receives.
func (*Desktop) Clicked() <-chan Action { return nil }

// Notify shows n.
func (d *Desktop) Notify(n Notice) {
	select {
	case d.orders <- n:
	default:
	}
}

// Withdraw does nothing.
func (*Desktop) Withdraw(string) {}

// Close does nothing.
func (*Desktop) Close() {}
