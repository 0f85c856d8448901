package proxy

import (
	"context"
	"errors"
	"io"
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
	conn, err := accept(w, r)
	if err != nil {
		s.begin(&x.start)
		return out // accept has answered
	}
	defer conn.Close(int(websocket.StatusInternalError), "the proxy could not go on") // if it is open still
	x.socket = true
	s.openai.Socket(r.Context(), draining(r.Context()), r.Header, socket{conn, s.bodies, s.cfg.BodyMost}, socketTurns{s, x.start, x.path})
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

// WebSocket is a connection whose protocol somebody else speaks: on the desktop a library, in a Worker the platform. Next
// is called by one goroutine, the others by several.
type WebSocket interface {
	// Next returns the next message, and whether it is text. It is read to its end before Next is called again. The error
	// means that the connection is over.
	Next(ctx context.Context) (message io.Reader, text bool, err error)
	// Send sends a text. It waits for a slow caller, if not for ever.
	Send(ctx context.Context, text []byte) error
	// Ping waits for the answer to a ping, where the protocol's own messages can be sent.
	Ping(ctx context.Context) error
	// Close says goodbye with a status of RFC 6455 and ends the connection. A second one does nothing.
	Close(status int, reason string)
}

// socket is a WebSocket as openai.Handler uses it.
type socket struct {
	conn   WebSocket
	bodies *budget
	most   int // bytes of a message
}

var errNotText = errors.New("a binary message came")

func (s socket) Read(ctx context.Context) ([]byte, func(), error) {
	r, text, err := s.conn.Next(ctx)
	if err != nil {
		return nil, nil, err
	}
	if !text {
		return nil, nil, errNotText
	}
	c := &claim{from: s.bodies}
	data, err := c.readAll(r, s.most, 0)
	if err != nil {
		c.release()
		return nil, nil, err
	}
	return data, c.release, nil
}

func (s socket) Write(ctx context.Context, message []byte) error {
	return s.conn.Send(context.WithoutCancel(ctx), message)
}

func (s socket) Ping(ctx context.Context) error { return s.conn.Ping(ctx) }

// Close says why in a close frame.
func (s socket) Close(why error) {
	status, reason := websocket.StatusGoingAway, "the proxy is stopping"
	var e *codex.Error
	switch {
	case errors.Is(why, openai.ErrSocketBusy):
		status, reason = websocket.StatusPolicyViolation, why.Error()
	case errors.Is(why, openai.ErrSocketIdle):
		reason = why.Error()
	case errors.Is(why, errNotText):
		status, reason = websocket.StatusUnsupportedData, "send text"
	case errors.As(why, &e):
		status, reason = websocket.StatusTryAgainLater, e.Code
	}
	s.conn.Close(int(status), reason)
}
