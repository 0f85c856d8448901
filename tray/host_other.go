//go:build !linux

package tray

// Host reports whether something on this desktop shows icons of programs: here the system itself does.
func Host() (there bool, why string) { return true, "" }

// Unavailable says why no icon can be shown at all; empty when it can.
func Unavailable() string {
	if !Available {
		return "this build has no menu"
	}
	return ""
}
