//go:build !js

package proxy

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/tidwall/gjson"

	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/openai"
	"codex-proxy/proxy/reply"
)

// socketsMost is how many WebSockets are open at once. Who comes then is told to send a POST.
const socketsMost = 64

// webSocket speaks the Responses API over one connection. Who comes when there are too many is told to send a POST,
// which the Codex CLI does at once.
func (s *Server) webSocket(w http.ResponseWriter, r *http.Request) (out reply.Outcome) {
	x := w.(*exchange)
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		return s.postOnly(w, r)
	}
	defer s.sockets.Add(-1)
	if s.sockets.Add(1) > socketsMost {
		return s.refuseWebSocket(w)
	}
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true, // Guard has checked the origin
		CompressionMode:    websocket.CompressionContextTakeover,
	})
	if err != nil {
		s.begin(&x.start)
		return out // Accept has answered
	}
	defer conn.CloseNow()
	conn.SetReadLimit(bodyMost)
	x.socket = true
	s.openai.Socket(r.Context(), draining(r.Context()), r.Header, socket{conn, s.bodies}, socketTurns{s, x.start, x.path})
	return out
}

// socketTurns records the turns of one connection.
type socketTurns struct {
	s     *Server
	start Start
	path  string
}

// Begin is openai.SocketTurns'.
func (t socketTurns) Begin(message []byte) func(reply.Outcome) {
	start := t.start
	start.Time, start.Transport, start.Route = time.Now(), TransportWebSocket, "/responses"
	if t.s.cfg.OnStart != nil {
		start.Model = clip(gjson.GetBytes(message, "model").String(), longestModel)
	}
	t.s.begin(&start)
	return func(out reply.Outcome) {
		status := http.StatusOK
		if out.Err != nil {
			status = out.Err.Status
		}
		t.s.finish(record(start, http.MethodGet, status, out), t.path, out)
	}
}

// socket is a WebSocket as openai.Handler uses it.
type socket struct {
	conn   *websocket.Conn
	bodies *budget
}

var errNotText = errors.New("a binary message came")

func (s socket) Read(ctx context.Context) ([]byte, func(), error) {
	kind, r, err := s.conn.Reader(ctx)
	if err != nil {
		return nil, nil, err
	}
	if kind != websocket.MessageText {
		return nil, nil, errNotText
	}
	c := &claim{from: s.bodies}
	data, err := c.readAll(r, bodyMost, 0)
	if err != nil {
		c.release()
		return nil, nil, err
	}
	return data, c.release, nil
}

func (s socket) Write(ctx context.Context, message []byte) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writePatience)
	defer cancel()
	return s.conn.Write(ctx, websocket.MessageText, message)
}

func (s socket) Ping(ctx context.Context) error { return s.conn.Ping(ctx) }

// Close sends a close frame. Its answer is waited for a moment only.
func (s socket) Close(why error) {
	timer := time.AfterFunc(cutPatience, func() { s.conn.CloseNow() }) //nolint:errcheck // it is over
	defer timer.Stop()
	status, reason := websocket.StatusGoingAway, "the proxy is stopping"
	var e *codex.Error
	switch {
	case errors.Is(why, openai.ErrSocketBusy):
		status, reason = websocket.StatusPolicyViolation, why.Error()
	case errors.Is(why, errNotText):
		status, reason = websocket.StatusUnsupportedData, "send text"
	case errors.As(why, &e):
		status, reason = websocket.StatusTryAgainLater, e.Code
	}
	s.conn.Close(status, reason) //nolint:errcheck // it is over
}
