//go:build !linux && !js

package creds

// keychainOpen is false: only the Secret Service tells.
func keychainOpen() bool { return false }
