package openai

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/reply"
)

// Socket is a WebSocket connection that carries text messages.
type Socket interface {
	Read(ctx context.Context) ([]byte, error)
	Write(ctx context.Context, message []byte) error
	Ping(ctx context.Context) error
}

// socketIdle ends a connection on which nothing was asked for this long.
const socketIdle = time.Hour

// Socket answers turn after turn on one connection: {"type":"response.create", …} comes, the events of the answer go,
// each as a message. A turn with "generate":false only says what is to come; the next one goes on from it by
// previous_response_id. The connection remembers its own turns, whatever store says.
// Source: captured from Codex CLI 0.169.
func (h *Handler) Socket(ctx context.Context, header http.Header, ws Socket) (out reply.Outcome) {
	talk := &socketTalk{h: h, header: header, ws: ws, store: NewResponseStore()}
	for {
		wait, cancel := context.WithTimeout(ctx, socketIdle)
		message, err := ws.Read(wait)
		cancel()
		if err != nil {
			return talk.out
		}
		if err := talk.turn(ctx, message); err != nil {
			talk.out.Gone = true
			return talk.out
		}
	}
}

type socketTalk struct {
	h      *Handler
	header http.Header
	ws     Socket
	store  *ResponseStore // of this connection
	out    reply.Outcome
}

// turn answers one message. The error is the connection's.
func (k *socketTalk) turn(ctx context.Context, message []byte) error {
	t := &turn{req: &codex.Request{}, store: true}
	t.req.RecogniseNative(k.header)
	params, err := readObject(message)
	if err == nil && gjson.ParseBytes(params["type"]).Str != "response.create" {
		err = codex.Invalid("type", "The type of a message must be response.create")
	}
	generate := string(params["generate"]) != "false"
	delete(params, "type")
	delete(params, "generate")
	delete(params, "stream")
	if err == nil {
		turns := *k.h
		turns.Store = k.store
		err = turns.readTurn(t, params)
	}
	if err == nil {
		err = reply.CheckStrict(k.h.Strict, t.req.Dropped)
	}
	if err != nil {
		return k.fail(ctx, err)
	}
	if lite := gjson.GetBytes(t.req.ClientMetadata, "ws_request_header_x_openai_internal_codex_responses_lite").Str; lite != "" && t.req.Header != nil {
		t.req.Header.Set("X-Openai-Internal-Codex-Responses-Lite", lite)
	}
	if !generate {
		return k.warm(ctx, t)
	}
	return k.answer(ctx, t)
}

// warm takes note of a turn that is not to be answered.
func (k *socketTalk) warm(ctx context.Context, t *turn) error {
	head := newChatHead(t.req.Model)
	object := map[string]any{"id": "resp_" + head.id[len("chatcmpl-"):], "object": "response", "created_at": head.created, "model": t.req.Model,
		"output": []any{}, "usage": map[string]any{"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}}
	for _, step := range []struct{ event, status string }{{codex.TypeCreated, "in_progress"}, {codex.TypeCompleted, "completed"}} {
		object["status"] = step.status
		if err := k.ws.Write(ctx, encode(map[string]any{"type": step.event, "response": object})); err != nil {
			return err
		}
	}
	k.store.keep(t.previous, t.own, nil, encode(object))
	return nil
}

func (k *socketTalk) answer(ctx context.Context, t *turn) error {
	// A caller that goes away while the answer comes is noticed by the next write, or by the ping of a silence.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := k.h.Client.Stream(ctx, t.req)
	if err != nil {
		return k.fail(ctx, err)
	}
	defer s.Close()
	s.OnQuiet(func() {
		go func() { // the answer to a ping is read with the next message: only a failed write tells
			wait, stop := context.WithTimeout(ctx, 5*time.Second)
			defer stop()
			if err := k.ws.Ping(wait); err != nil && wait.Err() == nil {
				cancel()
			}
		}()
	})
	var items codex.Items
	for {
		ev, err := s.Next()
		if err == io.EOF { //nolint:errorlint // Next returns it bare
			return nil
		}
		if err != nil {
			return k.fail(ctx, err)
		}
		items.Add(ev)
		data := ev.Data
		if ev.Type == codex.TypeCompleted || ev.Type == codex.TypeIncomplete {
			k.out.Count(data)
			k.out.Model = t.req.Model
			data = items.Complete(data)
			k.store.keep(t.previous, t.own, items.All(), []byte(finalResponse(data)))
		}
		if err := k.ws.Write(ctx, data); err != nil {
			return err
		}
	}
}

// fail tells the caller that a turn failed, in the backend's words where it has some. The connection goes on.
func (k *socketTalk) fail(ctx context.Context, err error) error {
	var e *codex.Error
	if !errors.As(err, &e) {
		return err
	}
	k.out.Err = e
	status, body := e.Status, json.RawMessage(gjson.GetBytes(errorJSON(e), "error").Raw)
	if e.Answer != nil {
		if own := gjson.GetBytes(e.Answer.Body, "error"); own.IsObject() {
			status, body = e.Answer.Status, json.RawMessage(own.Raw)
		}
	}
	frame := encode(map[string]any{"type": "error", "status": status, "error": body})
	for name, values := range e.Header() {
		if len(values) > 0 && len(name) > 8 && name[:8] == "X-Codex-" {
			if out, err := sjson.SetBytes(frame, "headers."+name, values[0]); err == nil {
				frame = out
			}
		}
	}
	return k.ws.Write(ctx, frame)
}
