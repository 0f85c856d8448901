package proxy

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
)

// TestAConnectionIsUsedAgain: an answer that came to its end leaves its connection to the next, in every dialect.
func TestAConnectionIsUsedAgain(t *testing.T) {
	for name := range dialects {
		for _, stream := range []bool{true, false} {
			var dialled atomic.Int32
			transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				dialled.Add(1)
				return (&net.Dialer{}).DialContext(ctx, network, address)
			}}
			t.Cleanup(transport.CloseIdleConnections)
			r := newRig(t, func(c *Config) { c.HTTP = &http.Client{Transport: transport} })
			ask := func() {
				if status, text, err := r.ask(name, "hello", stream); status != 200 || err != nil {
					t.Fatalf("%s: %d %s %v", name, status, text, err)
				}
				eventually(t, "the stream has ended", func() bool { return r.backend.Counts().Open == 0 })
			}
			ask()
			before := dialled.Load()
			for range 40 {
				ask()
			}
			if more := dialled.Load() - before; more > 4 { // the end of one may come after the next has begun
				t.Errorf("%s, stream %t: 40 answers took %d more connections", name, stream, more)
			}
		}
	}
}
