package tray

import (
	"net"
	"path/filepath"
	"testing"
	"time"
)

// TestASessionBusThatDoesNotAnswerIsSaidToBeSilent: it takes the connection, and says nothing. The program serves without
// its icon then.
func TestASessionBusThatDoesNotAnswerIsSaidToBeSilent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bus")
	bus, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path="+path)
	done := make(chan string, 2)
	go func() {
		_, why := Host()
		done <- why
	}()
	go func() { done <- Unavailable() }()
	for range 2 {
		select {
		case why := <-done:
			if why != "the session bus does not answer" {
				t.Error(why)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("it hangs")
		}
	}
}
