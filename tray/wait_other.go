//go:build !windows && (!darwin || cgo)

package tray

import "context"

// waitForPanel is needed on Windows only.
func waitForPanel(context.Context) {}
