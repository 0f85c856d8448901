//go:build !js

package proxy

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/coder/websocket"

	"codex-proxy/proxy/codex"
)

// accept makes a WebSocket of a request's connection, or answers why not.
func accept(w http.ResponseWriter, r *http.Request) (WebSocket, error) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true, // Guard has checked the origin
		CompressionMode:    websocket.CompressionContextTakeover,
	})
	if err != nil {
		return nil, err
	}
	conn.SetReadLimit(bodyMost)
	return framed{conn}, nil
}

// framed is a WebSocket of the library's.
type framed struct{ conn *websocket.Conn }

func (f framed) Next(ctx context.Context) (io.Reader, bool, error) {
	kind, r, err := f.conn.Reader(ctx)
	return r, kind == websocket.MessageText, err
}

func (f framed) Send(ctx context.Context, text []byte) error {
	ctx, cancel := context.WithTimeout(ctx, writePatience)
	defer cancel()
	return f.conn.Write(ctx, websocket.MessageText, text)
}

func (f framed) Ping(ctx context.Context) error { return f.conn.Ping(ctx) }

// Close waits a moment only for the answer to its close frame; the library gives it up after 5 seconds.
func (f framed) Close(status int, reason string) {
	over := make(chan struct{})
	go func() {
		defer close(over)
		f.conn.Close(websocket.StatusCode(status), reason) //nolint:errcheck // it is over
	}()
	select {
	case <-over:
	case <-time.After(cutPatience):
	}
}

// upstreamSockets returns what continues conversations over WebSocket to the backend, or nil.
func upstreamSockets(cfg Config) codex.Continuer {
	client, ok := cfg.HTTP.(*http.Client)
	if !ok || !cfg.WebSocket {
		return nil
	}
	return &codex.Sockets{HTTP: client, Moves: cfg.Moves}
}
