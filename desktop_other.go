//go:build !linux

package main

import "codex-proxy/tray"

// trayHost reports whether something on this desktop shows icons of programs: here the system itself does.
func trayHost() (there bool, why string) { return true, "" }

// noMenu says why no icon can be shown at all; empty when it can.
func noMenu() string {
	if !tray.Available {
		return "this build has no menu"
	}
	return ""
}
