//go:build !js

package proxy

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/coder/websocket"

	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/openai"
	"codex-proxy/proxy/reply"
)

// webSocket speaks the Codex CLI's dialect of the Responses API over one connection. Who offers anything else is told
// to send a POST, which the CLI does at once. Source: captured from Codex CLI 0.169.
func (s *Server) webSocket(w http.ResponseWriter, r *http.Request) (out reply.Outcome) {
	if r.Method != http.MethodGet || !strings.Contains(r.Header.Get("Openai-Beta"), "responses_websockets") {
		return refuseWebSocket(w)
	}
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true, // Guard has checked the origin
		CompressionMode:    websocket.CompressionContextTakeover,
	})
	if err != nil {
		return out // Accept has answered
	}
	defer conn.CloseNow()
	conn.SetReadLimit(bodyMost)
	return s.openai.Socket(r.Context(), r.Header, socket{conn})
}

// refuseWebSocket answers an upgrade that is not taken.
func refuseWebSocket(w http.ResponseWriter) (out reply.Outcome) {
	w.Header().Set("Upgrade", "HTTP/1.1")
	out.Err = &codex.Error{Status: http.StatusUpgradeRequired, Type: "invalid_request_error", Code: "websocket_not_available",
		Message: "This WebSocket is not available here. Send a POST"}
	openai.WriteError(w, out.Err)
	return out
}

// socket is a WebSocket as openai.Handler uses it.
type socket struct{ conn *websocket.Conn }

var errNotText = errors.New("a binary message came")

func (s socket) Read(ctx context.Context) ([]byte, error) {
	kind, data, err := s.conn.Read(ctx)
	if err == nil && kind != websocket.MessageText {
		s.conn.Close(websocket.StatusUnsupportedData, "send text") //nolint:errcheck // it is over
		err = errNotText
	}
	return data, err
}

func (s socket) Write(ctx context.Context, message []byte) error {
	return s.conn.Write(ctx, websocket.MessageText, message)
}

func (s socket) Ping(ctx context.Context) error { return s.conn.Ping(ctx) }
