package fakebackend

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"
)

// socketBeta is what the handshake of a WebSocket must bring as OpenAI-Beta. Source: captured from Codex CLI 0.169.
const socketBeta = "responses_websockets=2026-02-06"

// socketLife is how long a WebSocket may be used. Source: Codex CLI, codex-api/src/endpoint/responses_websocket.rs.
const socketLife = time.Hour

// socketParams are what a message has beside the body of a POST. They are refused in a POST.
var socketParams = []string{"type", "generate", "previous_response_id"}

// socketMost is the longest message, in bytes.
const socketMost = 64 << 20

// socket answers turns over one connection, one after the other. The answer before is known on its own connection only,
// and only until a turn fails. Source: OpenAI guide on WebSocket mode.
type socket struct {
	b      *Backend
	r      *http.Request
	conn   *websocket.Conn
	ends   time.Time
	last   string            // the id of the answer before; empty for none
	prompt []json.RawMessage // what that was asked, and what it said
}

// responsesSocket is the same address over WebSocket.
func (b *Backend) responsesSocket(w http.ResponseWriter, r *http.Request) {
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		writeJSON(w, http.StatusMethodNotAllowed, map[string]any{"detail": "Method Not Allowed"})
		return
	}
	if !b.authorize(w, r) {
		return
	}
	b.count(func(c *Counts) { c.Handshakes++ })
	if b.RefuseSockets {
		writeJSON(w, http.StatusUpgradeRequired, map[string]any{"detail": "Upgrade Required"})
		return
	}
	if r.Header.Get("OpenAI-Beta") != socketBeta {
		writeJSON(w, http.StatusBadRequest, map[string]any{"detail": "OpenAI-Beta must name " + socketBeta})
		return
	}
	w.Header().Set("Set-Cookie", "__cf_bm=secret; path=/; HttpOnly")
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionContextTakeover})
	if err != nil {
		return // Accept has answered
	}
	defer conn.CloseNow() //nolint:errcheck // over
	conn.SetReadLimit(socketMost)
	b.count(func(c *Counts) { c.Sockets++ })
	defer b.count(func(c *Counts) { c.Sockets-- })
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	messages := make(chan []byte)
	go func() { // reads also during an answer, and so hears that the caller has left
		defer cancel()
		for {
			kind, message, err := conn.Read(ctx)
			if err != nil || kind != websocket.MessageText {
				return
			}
			select {
			case messages <- message:
			case <-ctx.Done():
				return
			}
		}
	}()
	s := &socket{b: b, r: r.WithContext(ctx), conn: conn, ends: time.Now().Add(b.SocketLife)}
	for {
		select {
		case message := <-messages:
			s.turn(message)
		case <-ctx.Done():
			return
		}
	}
}

// turn answers a message.
func (s *socket) turn(message []byte) {
	s.b.keep(Request{Path: s.r.URL.Path, Header: s.r.Header.Clone(), Body: message})
	s.b.count(func(c *Counts) { c.Responses++; c.Open++ })
	defer s.b.count(func(c *Counts) { c.Open-- })
	w := &socketWriter{socket: s, header: http.Header{}}
	prompt := s.answer(w, message)
	w.end()
	s.last, s.prompt = w.completed, nil
	if s.last != "" {
		s.prompt = append(prompt, w.items...)
	}
}

// answer checks a message as the body of a POST is checked, with the prompt that it continues before its input. It
// returns the whole prompt.
func (s *socket) answer(w *socketWriter, message []byte) []json.RawMessage {
	doc := gjson.ParseBytes(message)
	previous, prewarm := doc.Get("previous_response_id").Str, doc.Get("generate").Exists() && !doc.Get("generate").Bool()
	switch {
	case !gjson.ValidBytes(message) || doc.Get("type").Str != "response.create":
		w.refuse("invalid_request", "The message must be a response.create.")
		return nil
	case time.Now().After(s.ends):
		w.refuse("websocket_connection_limit_reached", "Responses websocket connection limit reached (60 minutes). Create a new websocket connection to continue.")
		return nil
	case previous != "" && previous != s.last:
		w.refuse("previous_response_not_found", "Previous response with id '"+previous+"' not found.")
		return nil
	case !doc.Get("input").IsArray():
		w.refuse("invalid_request", "Input must be a list")
		return nil
	}
	var prompt []json.RawMessage
	if previous != "" {
		prompt = slices.Clone(s.prompt)
	}
	for _, item := range doc.Get("input").Array() {
		prompt = append(prompt, json.RawMessage(item.Raw))
	}
	body := message
	for _, name := range socketParams {
		body, _ = sjson.DeleteBytes(body, name)
	}
	if previous != "" {
		whole, _ := json.Marshal(prompt)
		body, _ = sjson.SetRawBytes(body, "input", whole)
	}
	h := s.r.Header.Clone()
	h.Set("Content-Type", "application/json")
	h.Set("Accept", "text/event-stream")
	if lite := doc.Get("client_metadata.ws_request_header_x_openai_internal_codex_responses_lite").Str; lite != "" {
		h.Set("X-Openai-Internal-Codex-Responses-Lite", lite)
	}
	if err := s.b.check(h, body); err != nil && (!prewarm || err != errNoInput) { //nolint:errorlint // check returns it bare
		w.refuse("invalid_request", err.Error())
		return nil
	}
	if prewarm { // an answer without words, to go on from
		p := &player{b: s.b, w: w, r: s.r, doc: gjson.ParseBytes(body), id: "resp_" + random(), lineEnd: "\n"}
		p.start()
		p.complete()
		return prompt
	}
	s.b.answer(w, s.r, body)
	return prompt
}

// socketWriter makes a message of each event of a stream, and one error event of an answer that is not a 200.
type socketWriter struct {
	*socket
	header    http.Header
	status    int
	line      []byte // one that has not ended
	body      []byte // of an answer that is not a 200
	completed string // the id of the answer, when that is whole
	items     []json.RawMessage
}

func (w *socketWriter) Header() http.Header { return w.header }

func (w *socketWriter) WriteHeader(status int) { w.status = status }

func (w *socketWriter) Write(data []byte) (int, error) {
	if w.status != http.StatusOK && w.status != 0 {
		w.body = append(w.body, data...)
		return len(data), nil
	}
	for rest := data; len(rest) > 0; {
		end := bytes.IndexByte(rest, '\n')
		if end < 0 {
			w.line = append(w.line, rest...)
			break
		}
		w.line = append(w.line, rest[:end]...)
		rest = rest[end+1:]
		event, ok := bytes.CutPrefix(bytes.TrimRight(w.line, "\r"), []byte("data: "))
		if ok {
			if err := w.send(event); err != nil {
				return 0, err
			}
		}
		w.line = w.line[:0]
	}
	return len(data), nil
}

func (w *socketWriter) send(event []byte) error {
	switch kind := gjson.GetBytes(event, "type").Str; kind {
	case "response.output_item.done":
		w.items = append(w.items, json.RawMessage(bytes.Clone([]byte(gjson.GetBytes(event, "item").Raw))))
	case "response.completed":
		w.completed = gjson.GetBytes(event, "response.id").Str
	}
	return w.conn.Write(w.r.Context(), websocket.MessageText, event)
}

func (w *socketWriter) refuse(code, message string) {
	writeJSON(w, http.StatusBadRequest, map[string]any{"error": map[string]any{"type": "invalid_request_error", "code": code, "message": message}})
}

// end sends what an answer that is not a 200 has become.
func (w *socketWriter) end() {
	if w.status == http.StatusOK || w.status == 0 {
		return
	}
	failure := gjson.GetBytes(w.body, "error").Value()
	if failure == nil {
		failure = map[string]any{"type": "invalid_request_error", "message": gjson.GetBytes(w.body, "detail").String()}
	}
	headers := map[string]string{}
	for name := range w.header {
		headers[strings.ToLower(name)] = w.header.Get(name)
	}
	raw, _ := json.Marshal(map[string]any{"type": "error", "status": w.status, "error": failure, "headers": headers})
	w.send(raw) //nolint:errcheck // gone
}
