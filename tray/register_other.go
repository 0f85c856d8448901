//go:build !linux && (!darwin || cgo)

package tray

import "context"

// keepRegistered is needed where panels come and go.
func keepRegistered(context.Context) {}
