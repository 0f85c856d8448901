//go:build js

package proxy

import (
	"net/http"
	"strings"

	"codex-proxy/proxy/reply"
)

// webSocket is not taken by a Worker; the Codex CLI sends a POST instead.
func (s *Server) webSocket(w http.ResponseWriter, r *http.Request) reply.Outcome {
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		return s.postOnly(w, r)
	}
	return s.refuseWebSocket(w)
}
