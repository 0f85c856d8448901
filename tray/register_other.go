//go:build !linux && !js && (!darwin || cgo)

package tray

import "context"

// keepRegistered is needed on Linux only.
func keepRegistered(context.Context, func()) {}
