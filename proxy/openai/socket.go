package openai

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/tidwall/gjson"

	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/rawjson"
	"codex-proxy/proxy/reply"
)

// Socket is a WebSocket connection that carries text messages. Read is called by one goroutine; the others may be
// called by several at the same time.
type Socket interface {
	// Read returns the next message, and what gives its memory back. It answers pings while it waits, so it is called
	// also while a turn is answered. The error means that the connection is over.
	Read(ctx context.Context) (message []byte, release func(), err error)
	// Write sends a message, also when ctx has ended: it takes as long as the caller is given to read it.
	Write(ctx context.Context, message []byte) error
	Ping(ctx context.Context) error
	// Close says goodbye in the words that fit why, and ends the connection.
	Close(why error)
}

// SocketTurns is told about the turns of a connection.
type SocketTurns interface {
	// Begin is called with a turn's message; what it returns is called with the outcome.
	Begin(message []byte) (end func(reply.Outcome))
}

const (
	// socketIdle ends a connection on which nothing was asked for this long.
	socketIdle = time.Hour
	// socketActive is how many turns of a connection are answered at once.
	socketActive = 16
	// socketWaiting is how many turns of a connection are answered or wait.
	socketWaiting = 32
	// socketStreams is how many names of streams a connection may use.
	socketStreams = 32
	// socketStreamName is how long such a name may be, in bytes.
	socketStreamName = 256
	// socketPing is how long the answer to a ping is waited for.
	socketPing = 5 * time.Second
	// socketScope begins the keys of what a connection remembers.
	socketScope = "\x00socket "
)

// ErrSocketBusy ends a connection that sends more messages than are waited for.
var ErrSocketBusy = errors.New("too many messages wait for an answer")

// ErrSocketIdle ends a connection on which nothing was asked for long.
var ErrSocketIdle = errors.New("nothing was asked for an hour")

// Socket answers turns on one connection: {"type":"response.create", …} comes, the events of the answer go, each as a
// message. Turns that name the same stream_id are answered one after the other, and so are those that name none; each
// event repeats the name. response.cancel ends the turn of a stream that is answered, or the one that response_id
// names. A turn with "generate":false only says what is to come; the next one goes on from it by previous_response_id.
// The connection remembers its own turns, whatever store says, for as long as it lasts.
//
// It closes the connection and returns when that is over, when ctx ends, and when draining is closed and no turn is
// left; a turn that is cut gets an error first.
// Source: captured from Codex CLI 0.169; openai-go 3.96, "Responses WebSockets".
func (h *Handler) Socket(ctx context.Context, draining <-chan struct{}, header http.Header, ws Socket, turns SocketTurns) {
	reading, stop := context.WithCancel(context.WithoutCancel(ctx)) // a read that is cancelled ends the connection
	ctx, cancel := context.WithCancelCause(ctx)
	k := &socketSession{h: h, header: header, ws: ws, turns: turns, ctx: ctx, cancel: cancel,
		store:  storeScope{h.Store, socketScope + strconv.FormatInt(h.Store.last.Add(1), 10) + " "},
		active: make(chan struct{}, socketActive), streams: map[string][]*socketTurn{}, heard: time.Now()}
	defer k.store.forget()
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer func() {
			if cause := recover(); cause != nil {
				cancel(codex.Crashed(cause))
			}
		}()
		cancel(k.read(reading))
	}()
	k.wait(draining)
	k.end()
	ws.Close(context.Cause(ctx))
	cancel(nil)
	stop()
	<-read
}

// socketSession is one connection.
type socketSession struct {
	h      *Handler
	header http.Header
	ws     Socket
	turns  SocketTurns
	store  storeScope // of this connection
	ctx    context.Context
	cancel context.CancelCauseFunc
	active chan struct{} // holds one for each turn that is answered

	mu      sync.Mutex
	streams map[string][]*socketTurn // by name: the turn that is answered, and those that wait for it
	pending int                      // turns in all of them
	heard   time.Time                // when a message came, or a turn ended
	over    bool                     // nothing more is begun
	running sync.WaitGroup           // streams that have turns
}

// socketTurn is one turn on its way.
type socketTurn struct {
	stream  string // its stream_id; empty without
	message []byte
	release func()
	ctx     context.Context
	cancel  context.CancelCauseFunc
	id      string // of its response, once that is known; guarded by the session's mu
	err     error  // why it can't be answered
}

// errCancelled ends a turn at the caller's word.
var errCancelled = errors.New("the caller has cancelled the turn")

// wait returns when the connection is to be closed.
func (k *socketSession) wait(draining <-chan struct{}) {
	idle := time.NewTimer(socketIdle)
	defer idle.Stop()
	for {
		select {
		case <-draining:
			return
		case <-k.ctx.Done():
			return
		case <-idle.C:
			left := k.patience()
			if left <= 0 {
				k.cancel(ErrSocketIdle)
				return
			}
			idle.Reset(left)
		}
	}
}

// patience is how long a connection on which nothing happens is kept from now on.
func (k *socketSession) patience() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pending > 0 {
		return socketIdle
	}
	return time.Until(k.heard.Add(socketIdle))
}

// end has nothing more begun, and waits for the turns that were.
func (k *socketSession) end() {
	k.mu.Lock()
	k.over = true
	k.mu.Unlock()
	k.running.Wait()
}

// read takes what comes, until the connection is over.
func (k *socketSession) read(ctx context.Context) error {
	for {
		message, release, err := k.ws.Read(ctx)
		if err != nil {
			return err
		}
		switch gjson.GetBytes(message, "type").Str {
		case "response.cancel":
			err = k.cancelTurn(message)
			release()
		case "response.steer":
			err = k.ws.Write(k.ctx, steerFailed(message))
			release()
		default:
			err = k.enqueue(message, release)
		}
		if err != nil {
			return err
		}
	}
}

// enqueue lets a turn wait in its stream.
func (k *socketSession) enqueue(message []byte, release func()) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.heard = time.Now()
	if k.over || k.pending == socketWaiting {
		release()
		if k.over {
			return nil
		}
		return ErrSocketBusy
	}
	t := &socketTurn{message: message, release: release}
	t.ctx, t.cancel = context.WithCancelCause(k.ctx)
	t.stream, t.err = k.streamOf(message)
	waiting := k.streams[t.stream]
	k.streams[t.stream] = append(waiting, t)
	k.pending++
	if len(waiting) == 0 {
		k.running.Add(1)
		go k.answerStream(t)
	}
	return nil
}

// streamOf is the stream that a message names. It is called with mu held.
func (k *socketSession) streamOf(message []byte) (string, error) {
	id := gjson.GetBytes(message, "stream_id")
	if !id.Exists() || id.Type == gjson.Null {
		return "", nil
	}
	if id.Type != gjson.String || !validStream(id.Str) {
		return "", streamError("invalid_stream_id", "stream_id takes 1 to 256 letters, digits, underscores, hyphens and periods. Leave it out for the stream without a name")
	}
	named := len(k.streams)
	if _, unnamed := k.streams[""]; unnamed {
		named--
	}
	if _, known := k.streams[id.Str]; !known && named == socketStreams {
		return "", streamError("websocket_stream_limit_reached", fmt.Sprintf("This connection has %d streams. Use one of them, or open another connection", socketStreams))
	}
	return id.Str, nil
}

func validStream(name string) bool {
	for _, c := range []byte(name) {
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' && c != '.' {
			return false
		}
	}
	return name != "" && len(name) <= socketStreamName
}

func streamError(code, message string) *codex.Error {
	e := codex.Invalid("stream_id", "%s", message)
	e.Code = code
	return e
}

// answerStream answers the turns of a stream one after the other, beginning with t.
func (k *socketSession) answerStream(t *socketTurn) {
	defer k.running.Done()
	for name := t.stream; t != nil; t = k.next(name) {
		k.active <- struct{}{}
		err := k.turn(t)
		<-k.active
		t.cancel(nil)
		t.release()
		if err != nil {
			k.cancel(err)
		}
	}
}

// next takes the turn that was answered out of its stream, and returns the one behind it; nil without one.
func (k *socketSession) next(name string) *socketTurn {
	k.mu.Lock()
	defer k.mu.Unlock()
	waiting := k.streams[name][1:]
	k.streams[name] = waiting
	k.pending--
	k.heard = time.Now()
	if len(waiting) == 0 {
		return nil
	}
	return waiting[0]
}

// cancelTurn ends the turn that a message means.
func (k *socketSession) cancelTurn(message []byte) error {
	id, stream := gjson.GetBytes(message, "response_id").Str, gjson.GetBytes(message, "stream_id").Str
	if k.cancelled(id, stream) {
		return nil
	}
	e := codex.Invalid("response_id", "No such answer is under way. It may have ended: read on to the event that ends it")
	e.Code = "response_cancel_not_active"
	return k.ws.Write(k.ctx, inStream(socketError(nil, e), stream))
}

func (k *socketSession) cancelled(id, stream string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for name, turns := range k.streams {
		if len(turns) > 0 && (id != "" && turns[0].id == id || id == "" && name == stream) {
			turns[0].cancel(errCancelled)
			return true
		}
	}
	return false
}

// identify notes the id of a turn's response.
func (k *socketSession) identify(t *socketTurn, id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t.id = id
}

func (k *socketSession) idOf(t *socketTurn) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return t.id
}

// steerFailed tells the caller that nothing can be added to an answer under way.
func steerFailed(message []byte) []byte {
	steer := map[string]any{"previous_response_id": gjson.GetBytes(message, "previous_response_id").Str, "input": ""}
	if input := gjson.GetBytes(message, "input"); input.Exists() && rawjson.Valid(message) {
		steer["input"] = json.RawMessage(input.Raw)
	}
	return encode(map[string]any{"type": "response.steer.failed", "sequence_number": 0, "steer": steer,
		"error": map[string]any{"type": "invalid_request_error", "code": "steering_not_supported",
			"message": "Answers can't be steered with a ChatGPT plan. Send response.cancel, and then a response.create with the input"}})
}

// inStream names the stream of an event.
func inStream(event []byte, name string) []byte {
	if !validStream(name) || len(event) < 3 || event[len(event)-1] != '}' {
		return event
	}
	named := make([]byte, 0, len(event)+len(name)+len(`,"stream_id":""`))
	named = append(append(named, event[:len(event)-1]...), `,"stream_id":"`...)
	return append(append(named, name...), `"}`...)
}
