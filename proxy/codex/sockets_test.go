//go:build !js

package codex

import (
	"context"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/tidwall/gjson"
)

// TestTheDigestOfAnItemTellsItsWords, however they are written.
func TestTheDigestOfAnItemTellsItsWords(t *testing.T) {
	said := func(content string) digest {
		return sumItem(gjson.Parse(`{"type":"message","role":"assistant","content":` + content + `}`))
	}
	if said(`"A"`) == said(`"B"`) || said(`[{"type":"x","a":1}]`) == said(`[{"type":"x","a":2}]`) || said(`[{"type":"output_text","text":"A"}]`) == said(`[{"type":"output_text","text":"B"}]`) {
		t.Error("two messages have one digest")
	}
	if said(`"A"`) != said(`[{"type":"output_text","text":"A","annotations":[]}]`) || said(`[{"type":"refusal","refusal":"no"}]`) != said(`"no"`) {
		t.Error("a message has two digests")
	}
}

// pipe is a listener whose one connection is a pipe.
type pipe chan net.Conn

func (p pipe) Accept() (net.Conn, error) {
	conn, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}

func (p pipe) Close() error { close(p); return nil }

func (pipe) Addr() net.Addr { return &net.TCPAddr{} }

// TestAConnectionThatTakesNothingIsGivenUp: a network that is gone says nothing, and a long message waits to be taken.
func TestAConnectionThatTakesNothingIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		listener, over := make(pipe, 1), make(chan struct{})
		listener <- there
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if conn, err := websocket.Accept(w, r, nil); err == nil {
				<-over
				conn.CloseNow() //nolint:errcheck // over
			}
		})}
		go server.Serve(listener) //nolint:errcheck // ends with the test
		defer server.Close()
		defer close(over)
		transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return here, nil }}
		conn, _, err := websocket.Dial(t.Context(), "ws://localhost/", &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.CloseNow() //nolint:errcheck // over
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		start := time.Now()
		a := &socketAnswer{s: &Sockets{}, u: &upSocket{conn: conn, busy: true}, ctx: ctx}
		if a.begin(make([]byte, 1<<20)) || time.Since(start) > socketPatience {
			t.Errorf("it waited %s", time.Since(start))
		}
	})
}
