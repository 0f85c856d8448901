package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
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

// TestWhoStopsSendingGetsNoEmptyAnswer: a caller that closes its half of the connection counts as gone, but it may still read.
func TestWhoStopsSendingGetsNoEmptyAnswer(t *testing.T) {
	r := newRig(t)
	for name := range dialects {
		for _, stream := range []bool{true, false} {
			c, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			path, body := question(name, "[[text 1000 5]]", stream)
			fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
			if stream { // until it has begun
				c.Read(make([]byte, 1)) //nolint:errcheck // it fails below, too
			}
			c.(*net.TCPConn).CloseWrite() //nolint:errcheck // it fails below, too
			if stream {
				if rest, _ := io.ReadAll(c); strings.HasSuffix(string(rest), "\r\n0\r\n\r\n") {
					t.Errorf("%s, streamed: half an answer is whole: %q", name, rest)
				}
			} else if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err == nil {
				t.Errorf("%s: %d, and nothing behind it", name, resp.StatusCode)
			}
			c.Close()
		}
	}
}
