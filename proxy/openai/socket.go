package openai

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/reply"
)

// Socket is a WebSocket connection that carries text messages. Read is called by one goroutine, which may call Write
// at the same time.
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
	// socketWaiting is how many messages may wait for the turn before them to end.
	socketWaiting = 4
	// socketPing is how long the answer to a ping is waited for.
	socketPing = 5 * time.Second
	// socketScope begins the keys of what a connection remembers; an id can't, since it has no NUL.
	socketScope = "\x00socket "
)

// ErrSocketBusy ends a connection that sends more messages than are waited for.
var ErrSocketBusy = errors.New("too many messages wait for an answer")

// Socket answers turn after turn on one connection: {"type":"response.create", …} comes, the events of the answer go,
// each as a message. A turn with "generate":false only says what is to come; the next one goes on from it by
// previous_response_id. The connection remembers its own turns, whatever store says, for as long as it lasts.
//
// It closes the connection and returns when that is over, when ctx ends, and when draining is closed while no turn is
// under way; a turn that is cut gets an error first.
// Source: captured from Codex CLI 0.169.
func (h *Handler) Socket(ctx context.Context, draining <-chan struct{}, header http.Header, ws Socket, turns SocketTurns) {
	k := &socketSession{h: h, header: header, ws: ws, turns: turns,
		store: storeScope{h.Store, socketScope + strconv.FormatInt(h.Store.last.Add(1), 10) + " "}}
	defer k.store.forget()
	messages := make(chan socketMessage, socketWaiting)
	reading, stop := context.WithCancel(context.WithoutCancel(ctx)) // a read that is cancelled ends the connection
	ctx, cancel := context.WithCancelCause(ctx)
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer func() {
			if cause := recover(); cause != nil {
				cancel(codex.Crashed(cause))
			}
		}()
		cancel(k.read(reading, messages))
	}()
	ws.Close(k.answerAll(ctx, draining, messages))
	cancel(nil)
	stop()
	<-read
	for len(messages) > 0 {
		(<-messages).release()
	}
}

// answerAll answers one message after the other. The error says why no more are; nil after draining.
func (k *socketSession) answerAll(ctx context.Context, draining <-chan struct{}, messages <-chan socketMessage) error {
	idle := time.NewTimer(socketIdle)
	defer idle.Stop()
	for {
		idle.Reset(socketIdle)
		select {
		case <-draining:
			return nil
		case <-idle.C:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case m := <-messages:
			err := k.turn(ctx, m.data)
			m.release()
			if err != nil {
				return err
			}
		}
	}
}

type socketMessage struct {
	data    []byte
	release func()
}

type socketSession struct {
	h      *Handler
	header http.Header
	ws     Socket
	turns  SocketTurns
	store  storeScope // of this connection
}

// read hands on what comes, until the connection is over.
func (k *socketSession) read(ctx context.Context, to chan<- socketMessage) error {
	for {
		data, release, err := k.ws.Read(ctx)
		if err != nil {
			return err
		}
		select {
		case to <- socketMessage{data, release}:
		default:
			release()
			return ErrSocketBusy
		}
	}
}

// turn answers one message. The error is the connection's.
func (k *socketSession) turn(ctx context.Context, message []byte) (err error) {
	end := k.turns.Begin(message)
	out := reply.Outcome{Streamed: true}
	defer func() {
		if cause := recover(); cause != nil {
			err = k.fail(ctx, &out, nil, codex.Crashed(cause))
		}
		out.Gone = out.Gone || err != nil
		end(out)
	}()
	t := &turn{req: &codex.Request{}, store: true}
	t.req.RecogniseNative(k.header)
	params, err := reply.Object(message)
	if err == nil && gjson.ParseBytes(params["type"]).Str != "response.create" {
		err = codex.Invalid("type", "The type of a message must be response.create")
	}
	generate := string(params["generate"]) != "false"
	delete(params, "type")
	delete(params, "generate")
	delete(params, "stream")
	if err == nil {
		err = readTurn(t, params, k.store)
	}
	out.Model = t.req.Model
	if err == nil {
		err = k.h.Client.CheckStrict(t.req.Dropped)
	}
	if err != nil {
		return k.fail(ctx, &out, t.req, err)
	}
	if lite := gjson.GetBytes(t.req.ClientMetadata, "ws_request_header_x_openai_internal_codex_responses_lite").Str; lite != "" && t.req.Header != nil {
		t.req.Header.Set("X-Openai-Internal-Codex-Responses-Lite", lite)
	}
	if !generate {
		return k.prewarm(ctx, t)
	}
	return k.answer(ctx, t, &out)
}

// prewarm takes note of a turn that is not to be answered.
func (k *socketSession) prewarm(ctx context.Context, t *turn) error {
	head := newChatHead(t.req.Model)
	object := map[string]any{"id": "resp_" + strings.TrimPrefix(head.id, "chatcmpl-"), "object": "response", "created_at": head.created, "model": t.req.Model,
		"output": []any{}, "usage": map[string]any{"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}}
	for _, step := range []struct{ event, status string }{{codex.TypeCreated, "in_progress"}, {codex.TypeCompleted, "completed"}} {
		object["status"] = step.status
		if err := k.ws.Write(ctx, encode(map[string]any{"type": step.event, "response": object})); err != nil {
			return err
		}
	}
	k.store.keep(t, nil, encode(object))
	return nil
}

func (k *socketSession) answer(ctx context.Context, t *turn, out *reply.Outcome) error {
	s, err := k.h.Client.Stream(ctx, t.req)
	if err != nil {
		return k.fail(ctx, out, t.req, err)
	}
	defer s.Close()
	out.Began(t.req, s)
	quiet := make(chan struct{}, 1)
	s.OnQuiet(func() {
		select {
		case quiet <- struct{}{}:
		default:
		}
	})
	pinging, stop := context.WithCancel(ctx)
	var wait sync.WaitGroup
	wait.Go(func() { k.ping(pinging, quiet) })
	defer func() { stop(); wait.Wait() }()
	var items codex.Items
	for {
		ev, err := s.Next()
		out.Heard(s)
		if err == io.EOF { //nolint:errorlint // Next returns it bare
			return nil
		}
		if err != nil {
			return k.fail(ctx, out, t.req, err)
		}
		items.Add(ev)
		data := ev.Data
		switch ev.Type {
		case codex.TypeFailed, codex.TypeError:
			out.Err = s.Failure(ev)
		case codex.TypeCompleted, codex.TypeIncomplete:
			out.Tokens = codex.TokensOf(ev)
			data = items.Complete(data)
			k.store.keep(t, items.All(), []byte(finalResponse(data)))
		}
		if err := k.ws.Write(ctx, data); err != nil {
			return err
		}
	}
}

// ping sends a ping in each silence, so that a caller who went away without a word is noticed: then the connection
// breaks, which read tells.
func (k *socketSession) ping(ctx context.Context, quiet <-chan struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-quiet:
			wait, cancel := context.WithTimeout(ctx, socketPing)
			k.ws.Ping(wait) //nolint:errcheck // see above
			cancel()
		}
	}
}

// fail tells the caller that a turn failed, in the backend's words where it has some. The connection goes on, unless
// ctx has ended: then these are the last words.
func (k *socketSession) fail(ctx context.Context, out *reply.Outcome, r *codex.Request, err error) error {
	e := out.Fail(r, err)
	if e == nil {
		return err
	}
	body := []byte(gjson.GetBytes(errorJSON(e), "error").Raw)
	status := e.Status
	if e.Answer != nil {
		if own := gjson.GetBytes(e.Answer.Body, "error"); own.IsObject() {
			status, body = e.Answer.Status, []byte(own.Raw)
		}
	}
	frame, _ := sjson.SetRawBytes(encode(map[string]any{"type": "error", "status": status}), "error", body)
	for name, values := range e.Header() {
		if len(values) > 0 && strings.HasPrefix(name, "X-Codex-") {
			if out, err := sjson.SetBytes(frame, "headers."+name, values[0]); err == nil {
				frame = out
			}
		}
	}
	written := k.ws.Write(ctx, frame)
	if ctx.Err() != nil {
		return err
	}
	return written
}
