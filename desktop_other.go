//go:build !linux

package main

// trayHost reports whether something on this desktop shows icons of programs: here the system itself does.
func trayHost() (there bool, why string) { return true, "" }
