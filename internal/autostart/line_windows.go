package autostart

import "golang.org/x/sys/windows"

// commandLine is a program and its arguments as Windows takes them.
func commandLine(words []string) string { return windows.ComposeCommandLine(words) }
