//go:build js

package proxy

import (
	"net/http"

	"codex-proxy/proxy/codex"
)

// Upgrader is the http.ResponseWriter of a platform that speaks WebSocket itself.
type Upgrader interface {
	http.ResponseWriter
	// Upgrade answers the request by making its connection a WebSocket.
	Upgrade() (WebSocket, error)
}

// accept makes a WebSocket of a request's connection. The Server's http.ResponseWriter is an Upgrader.
func accept(w http.ResponseWriter, _ *http.Request) (WebSocket, error) {
	return w.(*exchange).ResponseWriter.(Upgrader).Upgrade()
}

// upstreamSockets is nil in a Worker.
func upstreamSockets(Config) codex.Continuer { return nil }
