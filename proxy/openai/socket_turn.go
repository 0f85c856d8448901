package openai

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/reply"
)

// turn answers one message. The error is the connection's.
func (k *socketSession) turn(m *socketTurn) (err error) {
	end := k.turns.Begin(m.message)
	out := reply.Outcome{Streamed: true}
	defer func() {
		if cause := recover(); cause != nil {
			err = k.fail(m, &out, nil, codex.Crashed(cause))
		}
		out.Gone = out.Gone || err != nil
		end(out)
	}()
	t := &turn{req: &codex.Request{}, store: true}
	t.req.RecogniseNative(k.header)
	generate, err := k.readMessage(m, t)
	out.Model = t.req.Model
	switch {
	case err != nil:
		return k.fail(m, &out, t.req, err)
	case !generate:
		return k.prewarm(m, t)
	}
	return k.answer(m, t, &out)
}

// readMessage takes a turn's parameters, and reports whether it is to be answered.
func (k *socketSession) readMessage(m *socketTurn, t *turn) (generate bool, err error) {
	params, err := reply.Object(m.message)
	switch {
	case err != nil:
		return false, err
	case gjson.ParseBytes(params["type"]).Str != "response.create":
		return false, codex.Invalid("type", "The type of a message must be response.create or response.cancel")
	case m.err != nil:
		return false, m.err
	}
	generate = string(params["generate"]) != "false"
	for _, name := range []string{"type", "generate", "stream", "stream_id"} {
		delete(params, name)
	}
	if err := readTurn(t, params, k.store); err != nil {
		return false, err
	}
	if lite := gjson.GetBytes(t.req.ClientMetadata, "ws_request_header_x_openai_internal_codex_responses_lite").Str; lite != "" && t.req.Header != nil {
		t.req.Header.Set("X-Openai-Internal-Codex-Responses-Lite", lite)
	}
	return generate, nil
}

// write sends an event of a turn.
func (k *socketSession) write(m *socketTurn, event []byte) error {
	return k.ws.Write(m.ctx, inStream(event, m.stream))
}

// ownResponse is a response that the backend does not know.
func ownResponse(model string) map[string]any {
	head := newChatHead(model)
	return map[string]any{"id": "resp_" + strings.TrimPrefix(head.id, "chatcmpl-"), "object": "response", "created_at": head.created, "model": model,
		"output": []any{}, "usage": map[string]any{"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}}
}

// prewarm takes note of a turn that is not to be answered.
func (k *socketSession) prewarm(m *socketTurn, t *turn) error {
	object := ownResponse(t.req.Model)
	for i, step := range []struct{ event, status string }{{codex.TypeCreated, "in_progress"}, {codex.TypeCompleted, "completed"}} {
		object["status"] = step.status
		if err := k.write(m, t.complete(step.event, encode(map[string]any{"type": step.event, "sequence_number": i, "response": object}))); err != nil {
			return err
		}
	}
	k.store.keep(t, &codex.Items{}, encode(object))
	return nil
}

func (k *socketSession) answer(m *socketTurn, t *turn, out *reply.Outcome) error {
	s, err := k.h.Client.Stream(m.ctx, t.req)
	if err != nil {
		return k.unanswered(m, t, out, &codex.Items{}, 0, err)
	}
	defer s.Close()
	out.Began(t.req, s)
	stop := k.pingInSilence(m.ctx, s)
	defer stop()
	var items codex.Items
	for n := 0; ; n++ {
		ev, err := s.Next()
		out.Heard(s)
		if err == io.EOF { //nolint:errorlint // Next returns it bare
			return nil
		}
		if err != nil {
			return k.unanswered(m, t, out, &items, n, err)
		}
		items.Add(ev)
		data := ev.Data
		switch ev.Type {
		case codex.TypeCreated:
			k.identify(m, gjson.GetBytes(data, "response.id").Str)
			data = t.complete(ev.Type, data)
		case codex.TypeInProgress:
			data = t.complete(ev.Type, data)
		case codex.TypeFailed, codex.TypeError:
			out.Err = s.Failure(ev)
			data = t.complete(ev.Type, data)
			if ev.Type == codex.TypeError {
				data = socketError(t.req, out.Err) // what an event stream says flat is an object here
			}
		case codex.TypeCompleted, codex.TypeIncomplete:
			out.Tokens = codex.TokensOf(ev)
			data = t.complete(ev.Type, data)
			object := t.final(data)
			k.h.remember(t, &items, object)
			k.store.keep(t, &items, object)
			data = bytes.Join(items.Complete(data), nil)
		}
		if err := k.write(m, data); err != nil {
			return err
		}
	}
}

// unanswered ends a turn after n events: because the caller has cancelled it, or because it failed.
func (k *socketSession) unanswered(m *socketTurn, t *turn, out *reply.Outcome, items *codex.Items, n int, err error) error {
	if !errors.Is(err, errCancelled) {
		return k.fail(m, out, t.req, err)
	}
	out.Gone, out.Dropped = true, t.req.Dropped
	object := ownResponse(out.Model)
	if id := k.idOf(m); id != "" {
		object["id"] = id
	}
	object["status"], object["incomplete_details"] = "incomplete", map[string]string{"reason": "cancelled"}
	data := t.complete(codex.TypeIncomplete, encode(map[string]any{"type": codex.TypeIncomplete, "sequence_number": n, "response": object}))
	k.store.keep(t, items, t.final(data))
	return k.write(m, bytes.Join(items.Complete(data), nil))
}

// pingInSilence sends a ping in each silence of s, so that a caller who went away without a word is noticed: then the
// connection breaks, which read tells. What it returns ends that.
func (k *socketSession) pingInSilence(ctx context.Context, s *codex.Stream) (stop func()) {
	quiet := make(chan struct{}, 1)
	s.OnQuiet(func() {
		select {
		case quiet <- struct{}{}:
		default:
		}
	})
	ctx, cancel := context.WithCancel(ctx)
	var wait sync.WaitGroup
	wait.Go(func() { k.ping(ctx, quiet) })
	return func() { cancel(); wait.Wait() }
}

func (k *socketSession) ping(ctx context.Context, quiet <-chan struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-quiet:
			wait, cancel := context.WithTimeout(ctx, socketPing)
			k.ws.Ping(wait) //nolint:errcheck // see pingInSilence
			cancel()
		}
	}
}

// fail tells the caller that a turn failed. The connection goes on, unless it has ended: then these are the last words.
func (k *socketSession) fail(m *socketTurn, out *reply.Outcome, r *codex.Request, err error) error {
	e := out.Fail(r, err)
	if e == nil {
		return err
	}
	written := k.write(m, socketError(r, e))
	if k.ctx.Err() != nil {
		return err
	}
	return written
}

// socketError is the event that tells of an error: for the Codex CLI in the backend's words, where it has some. r may
// be nil.
func socketError(r *codex.Request, e *codex.Error) []byte {
	body := []byte(gjson.GetBytes(errorJSON(e), "error").Raw)
	status := e.Status
	if r != nil && r.Native && e.Answer != nil {
		if own := gjson.GetBytes(e.Answer.Body, "error"); own.IsObject() {
			status, body = e.Answer.Status, []byte(own.Raw)
		}
	}
	frame, _ := sjson.SetRawBytes(encode(map[string]any{"type": codex.TypeError, "status": status}), "error", body)
	for name, values := range e.Header() {
		if len(values) > 0 && strings.HasPrefix(name, "X-Codex-") {
			if out, err := sjson.SetBytes(frame, "headers."+name, values[0]); err == nil {
				frame = out
			}
		}
	}
	return frame
}
