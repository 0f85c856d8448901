package systemproxy

import (
	"os"
	"path/filepath"
	"testing"
)

// TestNoSessionIsStartedToBeAsked: dbus-launch would start one that outlives the program, with each command.
func TestNoSessionIsStartedToBeAsked(t *testing.T) {
	folder := t.TempDir()
	launched := filepath.Join(folder, "launched")
	if err := os.WriteFile(filepath.Join(folder, "dbus-launch"), []byte("#!/bin/sh\necho >"+launched+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", folder)
	t.Setenv("DISPLAY", ":0")
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "autolaunch:")
	lookup(t.Context(), "https://chatgpt.com/") //nolint:errcheck // what is said of it is not the matter
	if _, err := os.Stat(launched); err == nil {
		t.Error("a session is started")
	}
}
