//go:build !js

package codex

import (
	"context"
	"crypto/sha256"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/tidwall/gjson"

	"codex-proxy/proxy/rawjson"
)

// socketBeta names the protocol in the handshake. Source: captured from Codex CLI 0.169.
const socketBeta = "responses_websockets=2026-02-06"

const (
	socketsMost    = 16               // connections that are open or being opened
	socketIdle     = time.Minute      // after which one that is not used is closed
	socketLife     = 55 * time.Minute // after which one is not used again; the backend ends it after 60
	socketDial     = 15 * time.Second
	socketPatience = 2 * time.Minute  // until an answer begins, before it is asked for by POST
	socketRefused  = 10 * time.Minute // for which a refused handshake is not tried again
)

// Sockets keeps WebSockets to the backend, on which a run of tool calls sends its new items alone. A run's first turn is
// posted; the connection is opened meanwhile, for the next. Whatever goes wrong before an answer begins has the turn
// posted. The zero value but for HTTP is ready for use. Safe for concurrent use.
type Sockets struct {
	HTTP *http.Client
	// Moves counts the times when all connections died at once, by sleep or another network: those that were idle then
	// are not used again. Nil for never.
	Moves func() int

	mu      sync.Mutex
	open    map[string]*upSocket // by session
	refused time.Time            // when a handshake was
}

// digest stands for an item, so that a connection keeps no conversation.
type digest = [sha256.Size]byte

// upSocket is one conversation's connection. Its fields are Sockets.mu's while it is idle, and those of the turn while
// busy.
type upSocket struct {
	conn   *websocket.Conn // nil while it is being opened, and when it was given up
	busy   bool
	bearer string
	since  time.Time
	moves  int         // Moves when it became idle
	rested time.Time   // and when that was, by the clock on the wall: timers stand still while the machine sleeps
	timer  *time.Timer // ends it when it is idle
	last   string      // the id of the answer before; empty for none
	frame  digest      // of what a request has beside its input
	items  []digest    // of the conversation so far
}

// Continue is Continuer's.
func (s *Sockets) Continue(ctx context.Context, req *http.Request, session string, toolRan bool, whole func() []byte) *http.Response {
	u := s.take(req, session, toolRan)
	if u == nil {
		return nil
	}
	body := whole()
	input := rawjson.Get(body, "input")
	raws := input.Array()
	frame := sha256.Sum256(slices.Concat(body[:input.Index], body[input.Index+len(input.Raw):]))
	items := make([]digest, len(raws))
	for i, item := range raws {
		items[i] = sumItem(item)
	}
	begin := `{"type":"response.create",` + string(body[1:input.Index])
	send := input.Raw
	if u.last != "" {
		known := len(u.items)
		if frame != u.frame || known >= len(items) || !slices.Equal(u.items, items[:known]) {
			s.giveUp(session, u) // this caller does not send back what it was told
			return nil
		}
		begin = `{"type":"response.create","previous_response_id":` + string(quote(u.last)) + `,` + string(body[1:input.Index])
		var fresh []string
		for _, item := range raws[known:] {
			fresh = append(fresh, item.Raw)
		}
		send = "[" + strings.Join(fresh, ",") + "]"
	}
	u.frame, u.items = frame, items
	answer := &socketAnswer{s: s, u: u, session: session, ctx: ctx}
	if !answer.begin([]byte(begin + send + string(body[input.Index+len(input.Raw):]))) {
		answer.Close()
		return nil
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: answer}
}

// take returns the conversation's connection for a turn; nil when there is none to use. It opens one when the turn
// belongs to a run of tool calls.
func (s *Sockets) take(req *http.Request, session string, toolRan bool) *upSocket {
	s.mu.Lock()
	defer s.mu.Unlock()
	bearer := req.Header.Get("Authorization")
	u := s.open[session]
	switch {
	case u == nil:
		if toolRan && len(s.open) < socketsMost && time.Since(s.refused) > socketRefused {
			s.dial(req, session, bearer)
		}
		return nil
	case u.busy || u.conn == nil:
		return nil
	case u.bearer != bearer, u.moves != s.moves(), time.Since(u.since) > socketLife, time.Now().Round(0).Sub(u.rested) > socketIdle:
		s.drop(session, u)
		return nil
	}
	u.busy = true
	u.timer.Stop()
	return u
}

func (s *Sockets) moves() int {
	if s.Moves == nil {
		return 0
	}
	return s.Moves()
}

// dial opens a connection. It is called with mu held, and returns at once.
func (s *Sockets) dial(req *http.Request, session, bearer string) {
	u := &upSocket{bearer: bearer, since: time.Now()}
	if s.open == nil {
		s.open = map[string]*upSocket{}
	}
	s.open[session] = u
	h, address := req.Header.Clone(), req.URL.String()
	h.Set("OpenAI-Beta", socketBeta)
	h.Del("Accept")
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), socketDial)
		defer cancel()
		conn, _, err := websocket.Dial(ctx, address, &websocket.DialOptions{HTTPClient: s.HTTP, HTTPHeader: h, CompressionMode: websocket.CompressionContextTakeover})
		s.mu.Lock()
		defer s.mu.Unlock()
		if err != nil {
			s.refused = time.Now()
			s.drop(session, u)
			return
		}
		conn.SetReadLimit(maxEvent)
		u.conn = conn
		if s.open[session] != u { // closed meanwhile
			conn.CloseNow() //nolint:errcheck // over
			return
		}
		s.rest(session, u)
	}()
}

// rest has a connection end when it stays idle. It is called with mu held.
func (s *Sockets) rest(session string, u *upSocket) {
	u.moves, u.rested = s.moves(), time.Now().Round(0)
	u.timer = time.AfterFunc(socketIdle, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !u.busy {
			s.drop(session, u)
		}
	})
}

// drop ends a connection. It is called with mu held.
func (s *Sockets) drop(session string, u *upSocket) {
	if s.open[session] == u {
		delete(s.open, session)
	}
	if u.timer != nil {
		u.timer.Stop()
	}
	if u.conn != nil {
		u.conn.CloseNow() //nolint:errcheck // over
		u.conn = nil
	}
}

// giveUp ends a connection, and has its conversation posted for a while.
func (s *Sockets) giveUp(session string, u *upSocket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	closed := s.open[session] != u // all were, meanwhile
	s.drop(session, u)
	u.busy = false
	if !closed {
		s.open[session] = u
		s.rest(session, u)
	}
}

// Close ends all connections, also those with an answer under way. They may be used afterwards: new ones are opened.
func (s *Sockets) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for session, u := range s.open {
		delete(s.open, session)
		if u.conn != nil {
			u.conn.CloseNow() //nolint:errcheck // over
		}
		if u.timer != nil {
			u.timer.Stop()
		}
	}
}

// Idle is how many connections wait for a turn.
func (s *Sockets) Idle() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.open {
		if u.conn != nil && !u.busy {
			n++
		}
	}
	return n
}

// sumItem is the same for an item of an answer and for what callers make of it when they send it back.
func sumItem(item gjson.Result) digest {
	h := sha256.New()
	field := func(names ...string) {
		for _, name := range names {
			io.WriteString(h, item.Get(name).String()+"\x00") //nolint:errcheck // never fails
		}
	}
	switch kind := item.Get("type").Str; {
	case kind == "function_call":
		field("type", "call_id", "name", "namespace", "arguments")
	case kind == "custom_tool_call":
		field("type", "call_id", "name", "namespace", "input")
	case kind == "reasoning":
		field("type", "encrypted_content")
	case item.Get("role").Str == "assistant":
		field("role")
		content := item.Get("content")
		if !content.IsArray() {
			io.WriteString(h, content.String()+"\x00") //nolint:errcheck // never fails
			break
		}
		for _, part := range content.Array() {
			text := part.Get("text").Str + part.Get("refusal").Str
			if text == "" {
				text = part.Raw
			}
			io.WriteString(h, text+"\x00") //nolint:errcheck // never fails
		}
	default:
		io.WriteString(h, item.Raw) //nolint:errcheck // never fails
	}
	return digest(h.Sum(nil))
}

// socketAnswer is the body of an answer: each message as a server-sent event.
type socketAnswer struct {
	s       *Sockets
	u       *upSocket
	session string
	ctx     context.Context
	buf     []byte // what was not read yet
	over    bool   // the answer is whole, or broken
}

// begin sends a message, and reports whether an answer to it has begun.
func (a *socketAnswer) begin(message []byte) bool {
	ctx, cancel := context.WithTimeout(a.ctx, socketPatience)
	defer cancel()
	if a.u.conn.Write(ctx, websocket.MessageText, message) != nil {
		return false
	}
	for {
		kind, err := a.next(ctx)
		switch {
		case err != nil || kind == TypeError || kind == TypeFailed:
			return false
		case kind != "codex.rate_limits":
			return true
		}
	}
}

// next appends the next event to buf.
func (a *socketAnswer) next(ctx context.Context) (kind string, err error) {
	_, message, err := a.u.conn.Read(ctx)
	if err != nil {
		return "", err
	}
	doc := gjson.ParseBytes(message)
	kind = doc.Get("type").Str
	for i, c := range message { // between JSON's values a blank is as good
		if c == '\r' || c == '\n' {
			message[i] = ' '
		}
	}
	a.buf = append(append(append(a.buf, "event: "+strings.NewReplacer("\r", "", "\n", "").Replace(kind)+"\ndata: "...), message...), "\n\n"...)
	switch kind {
	case TypeItemDone:
		a.u.items = append(a.u.items, sumItem(doc.Get("item")))
	case TypeCompleted:
		a.u.last = strings.Clone(doc.Get("response.id").Str)
		a.release()
	case TypeIncomplete, TypeFailed, TypeError:
		a.Close()
	}
	return kind, nil
}

// release gives the connection back for the next turn.
func (a *socketAnswer) release() {
	a.over = true
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	a.u.busy = false
	if a.s.open[a.session] == a.u && a.u.last != "" {
		a.s.rest(a.session, a.u)
		return
	}
	a.s.drop(a.session, a.u)
}

func (a *socketAnswer) Read(p []byte) (int, error) {
	for len(a.buf) == 0 {
		if a.over {
			return 0, io.EOF
		}
		if _, err := a.next(a.ctx); err != nil {
			return 0, err
		}
	}
	n := copy(p, a.buf)
	a.buf = a.buf[n:]
	return n, nil
}

// Close ends an answer that is not whole, and its connection.
func (a *socketAnswer) Close() error {
	if a.over {
		return nil
	}
	a.over = true
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	a.u.busy = false
	a.s.drop(a.session, a.u)
	return nil
}
