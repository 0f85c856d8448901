package app

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

func TestDeadConnectionsAreNotUsedAgain(t *testing.T) {
	var connections atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	client := newHTTPClient()
	transport := client.Transport.(*wakefulTransport)
	begin := time.Now()
	var ran, slept time.Duration
	network := "home"
	transport.clock = func() (time.Time, time.Duration) { return begin.Add(ran + slept), ran }
	transport.addresses = func() string { return network }
	ask := func(what string, want int32) {
		t.Helper()
		resp, err := client.Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body) //nolint:errcheck // empty
		resp.Body.Close()
		if got := connections.Load(); got != want {
			t.Errorf("%s: %d connections, not %d", what, got, want)
		}
	}
	ask("the first", 1)
	ran += time.Second
	ask("a second later", 1)
	ran += 30 * time.Second
	ask("half a minute later", 1)
	network = "office"
	ran += time.Second
	ask("another network, not yet looked at", 1)
	ran += networkKnown
	ask("another network", 2)
	ran += 20 * time.Second
	ask("the same network", 2)
	slept = time.Hour
	ask("after sleep", 3)
	ask("and again", 3)
}
