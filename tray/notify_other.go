//go:build !linux && !js

package tray

import (
	"context"

	"github.com/gen2brain/beeep"

	"codex-proxy/assets"
)

// Desktop shows notifications by the system. They can't be clicked or taken away there.
type Desktop struct{}

// NewDesktop returns a Notifier.
func NewDesktop(context.Context) *Desktop {
	beeep.AppName = "Codex Proxy"
	return &Desktop{}
}

// Clicked never receives.
func (*Desktop) Clicked() <-chan Action { return nil }

// Notify shows n.
func (*Desktop) Notify(n Notice) {
	go beeep.Notify(n.Title, n.Body, assets.PNG("running")) //nolint:errcheck // nobody can be told: it is in the log and in status
}

// Withdraw does nothing.
func (*Desktop) Withdraw(string) {}
