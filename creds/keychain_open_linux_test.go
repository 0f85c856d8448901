package creds

import (
	"net"
	"path/filepath"
	"testing"
	"time"
)

// TestASessionBusThatDoesNotAnswerHoldsNothingUp: it takes the connection, and says nothing.
func TestASessionBusThatDoesNotAnswerHoldsNothingUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bus")
	bus, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path="+path)
	done := make(chan bool, 1)
	go func() { done <- keychainOpen() }()
	select {
	case open := <-done:
		if open {
			t.Error("it is said to be open")
		}
	case <-time.After(10 * time.Second):
		t.Error("it hangs")
	}
}
