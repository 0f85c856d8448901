// Package openai translates between OpenAI's API (Chat Completions, Responses, Models) and package codex.
package openai

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/rawjson"
	"codex-proxy/proxy/reply"
)

// Handler answers OpenAI's API. Its fields are set before use and not changed. Safe for concurrent use.
type Handler struct {
	Client *codex.Client
	// Reasoning keeps the reasoning of tool calls for Chat Completions; see codex.NewReasoningCache.
	Reasoning *codex.ReasoningCache
	// Store keeps answers for clients that go on from one by its id; see NewResponseStore.
	Store *ResponseStore
}

// turn is a Responses request on its way to the backend.
type turn struct {
	req      *codex.Request
	stream   bool
	store    bool              // the caller may come back to the answer by its id
	previous string            // id of the answer before
	own      []json.RawMessage // the input of this turn alone
	body     int               // bytes that the body holds that own is a part of; 0 for a message of a WebSocket
	asked    []json.RawMessage // the values of responseFields, once they are needed: each event tells the same
}

// Responses answers POST /v1/responses: what the backend sends goes through as it is, with the last object completed.
func (h *Handler) Responses(w http.ResponseWriter, r *http.Request, body []byte) reply.Outcome {
	t, err := h.parseResponses(r, body)
	out := reply.Outcome{Model: t.req.Model, Streamed: t.stream, Dropped: t.req.Dropped}
	if err != nil {
		return h.fail(w, t.req, out, err)
	}
	s, err := h.Client.Stream(r.Context(), t.req)
	if err != nil {
		return h.fail(w, t.req, out, err)
	}
	defer s.Close()
	out.Began(t.req, s)
	if t.stream {
		return h.streamResponses(w, t, s, out)
	}
	return h.bufferResponses(w, t, s, out)
}

func (h *Handler) parseResponses(r *http.Request, body []byte) (*turn, error) {
	t := &turn{req: &codex.Request{}, store: true, body: cap(body)}
	t.req.RecogniseNative(r.Header)
	params, err := reply.Object(body)
	if err != nil {
		return t, err
	}
	return t, readTurn(t, params, storeScope{ResponseStore: h.Store})
}

// readTurn takes a request's parameters, and puts before its input what was said before.
func readTurn(t *turn, params map[string]json.RawMessage, store storeScope) error {
	if params["input"] == nil && params["messages"] != nil {
		return codex.Invalid("messages", "This is a Chat Completions request. Send it to /v1/chat/completions")
	}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		switch name {
		case "previous_response_id":
			t.previous = gjson.ParseBytes(params[name]).String()
			continue
		case "store":
			t.store = string(params[name]) != "false"
			continue // the backend stores nothing; this proxy keeps it for a while
		case "stream":
			if json.Unmarshal(params[name], &t.stream) != nil {
				return codex.Invalid("stream", "stream has the wrong type")
			}
			continue
		}
		if err := t.req.SetParam(name, params[name]); err != nil {
			return err
		}
	}
	if err := store.resolve(t.req.Input); err != nil {
		return err
	}
	t.own = slices.Clone(t.req.Input)
	if t.previous == "" {
		return nil
	}
	before, err := store.before(t.previous)
	t.req.Input = append(before, t.req.Input...)
	return err
}

// remember keeps a finished answer, if the caller may come back to it.
func (h *Handler) remember(t *turn, items *codex.Items, object []byte) {
	if t.store {
		storeScope{ResponseStore: h.Store}.keep(t, items, object)
	}
}

func (h *Handler) streamResponses(w http.ResponseWriter, t *turn, s *codex.Stream, out reply.Outcome) reply.Outcome {
	to := streamTo(w, t.req, s)
	var items codex.Items
	var held heldEvents
	telling := false // one of them says something: the status waits for the first that does
	events := 0
	send := func(more bool) error {
		if !telling && !to.Began() {
			held.keep()
			return nil
		}
		return held.send(to, more)
	}
	s.BeforeWait(func() error { return send(false) })
	for {
		ev, err := s.Next()
		if err == io.EOF { //nolint:errorlint // Next returns it bare
			out.Heard(s)
			out.Gone = send(false) != nil
			return out
		}
		if err != nil {
			out.Heard(s)
			if gone := send(true); gone != nil {
				err = gone
			}
			return h.breakResponses(w, t.req, to, out, err, bytes.Join(held, nil), events)
		}
		data := [][]byte{ev.Data} // in pieces
		switch ev.Type {
		case codex.TypeTextDelta:
		case codex.TypeItemDone:
			items.Add(ev)
		case codex.TypeFailed, codex.TypeError:
			e := s.Failure(ev)
			if !t.req.Native && !telling && to.Withdraw() {
				out.Heard(s)
				return h.fail(w, t.req, out, e)
			}
			out.Err = e
			if data[0] = t.complete(ev.Type, ev.Data); ev.Type == codex.TypeError && !t.req.Native {
				data[0] = encode(newErrorEvent(e, events))
			}
		case codex.TypeCompleted, codex.TypeIncomplete:
			out.Tokens = codex.TokensOf(ev)
			last := t.complete(ev.Type, ev.Data)
			data = items.Complete(last)
			if t.store {
				h.remember(t, &items, t.final(last))
			}
		case codex.TypeCreated, codex.TypeInProgress:
			data[0] = t.complete(ev.Type, ev.Data)
		}
		events++
		if len(data) == 1 && same(data[0], ev.Data) {
			held.add(ev.Raw)
		} else {
			held.add([]byte("event: " + ev.Type + "\ndata: "))
			for _, piece := range data {
				held.add(piece)
			}
			held.add([]byte("\n\n"))
		}
		telling = telling || !ev.Prelude()
	}
}

// heldEvents are events that were not sent yet. Those that came in one read, and need no change, are one piece: a part of what
// was read, which is valid until the backend is waited for.
type heldEvents [][]byte

func (h *heldEvents) add(p []byte) {
	if n := len(*h); n > 0 {
		last := (*h)[n-1]
		if longer := len(last) + len(p); cap(last) >= longer && same(last[len(last):longer], p) {
			(*h)[n-1] = last[:longer]
			return
		}
	}
	*h = append(*h, p)
}

// keep has them outlive what was read.
func (h *heldEvents) keep() {
	if len(*h) > 0 {
		joined := bytes.Join(*h, nil)
		clear(*h)
		*h = append((*h)[:0], joined)
	}
}

// send sends them. With more set the last bytes may wait for what follows.
func (h *heldEvents) send(to *reply.Stream, more bool) error {
	err := to.SendAll(*h, more)
	clear(*h) // what was sent is not kept for as long as the answer lasts
	*h = (*h)[:0]
	return err
}

// same reports whether two slices are one.
func same(a, b []byte) bool { return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) }

// breakResponses ends an answer that broke off: with an HTTP error when nothing was sent, else with an error event and
// a connection that is cut, so that no client takes what it has for the whole. n events came before.
func (h *Handler) breakResponses(w http.ResponseWriter, req *codex.Request, to *reply.Stream, out reply.Outcome, err error, held []byte, n int) reply.Outcome {
	e := out.Break(to, req, err, func(e *codex.Error) []byte {
		if req.Native { // Codex passes over a bare error event
			return append(held, sseEvent(codex.TypeFailed, struct {
				Type     string         `json:"type"`
				Response failedResponse `json:"response"`
			}{codex.TypeFailed, failedResponse{"failed", failedError{e.Code, e.Message}}})...)
		}
		return append(held, sseEvent(codex.TypeError, newErrorEvent(e, n))...)
	})
	if e != nil {
		writeFailure(w, req, e)
	}
	return out
}

type failedResponse struct {
	Status string      `json:"status"`
	Error  failedError `json:"error"`
}

type failedError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func sseEvent(name string, data any) []byte {
	b := []byte("event: " + name + "\ndata: ")
	return append(append(b, encode(data)...), '\n', '\n')
}

func (h *Handler) bufferResponses(w http.ResponseWriter, t *turn, s *codex.Stream, out reply.Outcome) reply.Outcome {
	var items codex.Items
	for {
		ev, err := s.Read()
		out.Heard(s)
		if err != nil {
			return h.fail(w, t.req, out, err)
		}
		switch ev.Type {
		case codex.TypeItemDone:
			items.Add(ev)
		case codex.TypeCompleted, codex.TypeIncomplete:
			out.Tokens = codex.TokensOf(ev)
			reply.Announce(w.Header(), t.req.Dropped, s.Header)
			w.Header().Set("Content-Type", "application/json")
			object := t.final(t.complete(ev.Type, ev.Data))
			h.remember(t, &items, object)
			whole := net.Buffers(items.CompleteObject(object))
			_, err := whole.WriteTo(w)
			out.Gone = err != nil
			return out
		}
	}
}

// final is the response object of the last event, with the fields that SDKs read filled in, but for the items.
func (t *turn) final(data []byte) []byte {
	object := bytes.Clone(rawjson.Raw(rawjson.Get(data, "response").Raw))
	there := map[string]bool{}
	rawjson.Each(object, func(name string, _ json.RawMessage) bool { there[name] = true; return true })
	set := func(name, value string) {
		if out, err := sjson.SetRawBytes(object, name, []byte(value)); err == nil {
			object = out
		}
	}
	if !there["object"] {
		set("object", `"response"`)
	}
	if !there["output"] {
		set("output", `[]`)
	}
	if t.previous != "" && t.req.Native { // else it is there
		set("previous_response_id", string(encode(t.previous)))
	}
	return object
}
