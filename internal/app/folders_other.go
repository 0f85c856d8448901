//go:build !linux

package app

// sessionFolder is empty: only Linux has one.
func sessionFolder() string { return "" }
