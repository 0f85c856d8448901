//go:build !windows

package autostart

import "strings"

// commandLine is a program and its arguments. Only Windows has entries that are one line; see line_windows.go.
func commandLine(words []string) string { return strings.Join(words, " ") }
