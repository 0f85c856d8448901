//go:build js

package proxy

import (
	"net/http"

	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/openai"
	"codex-proxy/proxy/reply"
)

// webSocket is not taken by a Worker; the Codex CLI sends a POST instead.
func (s *Server) webSocket(w http.ResponseWriter, _ *http.Request) (out reply.Outcome) {
	w.Header().Set("Upgrade", "HTTP/1.1")
	out.Err = &codex.Error{Status: http.StatusUpgradeRequired, Type: "invalid_request_error", Code: "websocket_not_available",
		Message: "WebSockets are not available here. Send a POST"}
	openai.WriteError(w, out.Err)
	return out
}
