// Package openai translates between OpenAI's API (Chat Completions, Responses, Models) and package codex.
package openai

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/reply"
)

// Handler answers OpenAI's API. Its fields are set before use and not changed. Safe for concurrent use.
type Handler struct {
	Client *codex.Client
	// Strict turns the dropping of a parameter into an error that names it.
	Strict bool
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
}

// Responses answers POST /v1/responses: what the backend sends goes through as it is, with the last object completed.
func (h *Handler) Responses(w http.ResponseWriter, r *http.Request, body []byte) reply.Outcome {
	start := time.Now()
	t, err := h.parseResponses(r, body)
	out := reply.Outcome{Model: t.req.Model, Streamed: t.stream, Dropped: t.req.Dropped}
	if err == nil {
		err = reply.CheckStrict(h.Strict, t.req.Dropped)
	}
	if err != nil {
		return h.fail(w, t.req, out, err)
	}
	s, err := h.Client.Stream(r.Context(), t.req)
	out.Dropped = t.req.Dropped
	if err != nil {
		return h.fail(w, t.req, out, err)
	}
	defer s.Close()
	out.Model, _ = h.Client.Models.Resolve(t.req.Model, "")
	if t.stream {
		return h.streamResponses(w, t, s, out, start)
	}
	return h.bufferResponses(w, t, s, out)
}

func (h *Handler) parseResponses(r *http.Request, body []byte) (*turn, error) {
	t := &turn{req: &codex.Request{}, store: true}
	t.req.RecogniseNative(r.Header)
	params, err := readObject(body)
	if err != nil {
		return t, err
	}
	return t, h.readTurn(t, params)
}

// readTurn takes a request's parameters, and puts before its input what was said before.
func (h *Handler) readTurn(t *turn, params map[string]json.RawMessage) error {
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
		}
		if err := t.req.SetParam(name, params[name]); err != nil {
			return err
		}
	}
	t.stream = string(params["stream"]) == "true"
	if err := h.Store.resolve(t.req.Input); err != nil {
		return err
	}
	t.own = slices.Clone(t.req.Input)
	if t.previous == "" {
		return nil
	}
	before, err := h.Store.before(t.previous)
	t.req.Input = append(before, t.req.Input...)
	return err
}

// remember keeps a finished answer, and returns its object as the caller gets it.
func (h *Handler) remember(t *turn, items *codex.Items, data []byte) (object string) {
	object = finalResponse(data)
	if t.previous != "" {
		if out, err := sjson.Set(object, "previous_response_id", t.previous); err == nil {
			object = out
		}
	}
	if t.store {
		h.Store.keep(t.previous, t.own, items.All(), []byte(object))
	}
	return object
}

// readObject reads a request's body.
func readObject(body []byte) (map[string]json.RawMessage, error) {
	var params map[string]json.RawMessage
	if err := json.Unmarshal(body, &params); err != nil || params == nil {
		return nil, &codex.Error{Status: http.StatusBadRequest, Type: "invalid_request_error", Code: "invalid_json", Message: "The request's body is not a JSON object" + where(err)}
	}
	return params, nil
}

func where(err error) string {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return " (" + syntax.Error() + ", after " + string(encode(syntax.Offset)) + " bytes)"
	}
	return ""
}

// fail answers a request for which nothing has been sent yet.
func (h *Handler) fail(w http.ResponseWriter, req *codex.Request, out reply.Outcome, err error) reply.Outcome {
	var e *codex.Error
	if !errors.As(err, &e) {
		out.Gone = true
		return out
	}
	out.Err = e
	reply.Announce(w.Header(), req.Dropped, e.Header())
	if req.Native && e.Answer != nil {
		writeAnswer(w, e.Answer)
	} else {
		WriteError(w, e)
	}
	return out
}

func (h *Handler) streamResponses(w http.ResponseWriter, t *turn, s *codex.Stream, out reply.Outcome, start time.Time) reply.Outcome {
	req := t.req
	to := reply.NewStream(w, start, func(head http.Header) {
		reply.SSE(head)
		reply.Announce(head, req.Dropped, s.Header)
	})
	s.OnQuiet(func() { to.KeepAlive(reply.Comment) })
	var items codex.Items
	var held []byte // events that say nothing yet: the status waits for the first that does
	for {
		ev, err := s.Next()
		if err == io.EOF { //nolint:errorlint // Next returns it bare
			break
		}
		if err != nil {
			return h.breakResponses(w, req, to, out, err, held)
		}
		raw := ev.Raw
		switch ev.Type {
		case codex.TypeTextDelta:
		case codex.TypeCreated, codex.TypeInProgress, "codex.rate_limits", "response.metadata":
			if !to.Began() {
				held = append(held, raw...)
				continue
			}
		case codex.TypeItemDone:
			items.Add(ev)
		case codex.TypeFailed, codex.TypeError:
			e := codex.FailureOf(ev.Data, time.Now())
			if !to.Began() && !req.Native {
				return h.fail(w, req, out, e)
			}
			out.Err = e
		case codex.TypeCompleted, codex.TypeIncomplete:
			out.Count(ev.Data)
			data := items.Complete(ev.Data)
			if ev.Type == codex.TypeCompleted {
				h.remember(t, &items, data)
			}
			if len(data) != len(ev.Data) {
				raw = append(append([]byte("event: "+ev.Type+"\ndata: "), data...), '\n', '\n')
			}
		}
		if held != nil {
			raw = append(held, raw...)
			held = nil
		}
		if to.Send(raw, s.Buffered()) != nil {
			out.Gone = true
			return out
		}
	}
	to.Send(nil, false) //nolint:errcheck // the answer is over either way
	out.FirstToken = to.FirstToken()
	return out
}

// breakResponses ends an answer that broke off: with an HTTP error when nothing was sent, else with an error event and
// a connection that is cut, so that no client takes what it has for the whole.
func (h *Handler) breakResponses(w http.ResponseWriter, req *codex.Request, to *reply.Stream, out reply.Outcome, err error, held []byte) reply.Outcome {
	if !to.Began() {
		return h.fail(w, req, out, err)
	}
	var e *codex.Error
	if !errors.As(err, &e) {
		out.Gone = true
		return out
	}
	out.Err = e
	var event []byte
	if req.Native { // Codex passes over a bare error event
		event = sseEvent(codex.TypeFailed, struct {
			Type     string         `json:"type"`
			Response failedResponse `json:"response"`
		}{codex.TypeFailed, failedResponse{"failed", failedError{e.Code, e.Message}}})
	} else {
		event = sseEvent(codex.TypeError, struct {
			Type    string  `json:"type"`
			Code    string  `json:"code"`
			Message string  `json:"message"`
			Param   *string `json:"param"`
		}{codex.TypeError, e.Code, e.Message, nil})
	}
	to.Send(append(held, event...), false) //nolint:errcheck // the connection is cut next
	out.Cut = true
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
	req := t.req
	var items codex.Items
	for {
		ev, err := s.Next()
		if err != nil {
			return h.fail(w, req, out, err)
		}
		switch ev.Type {
		case codex.TypeItemDone:
			items.Add(ev)
		case codex.TypeFailed, codex.TypeError:
			return h.fail(w, req, out, codex.FailureOf(ev.Data, time.Now()))
		case codex.TypeCompleted, codex.TypeIncomplete:
			out.Count(ev.Data)
			reply.Announce(w.Header(), req.Dropped, s.Header)
			w.Header().Set("Content-Type", "application/json")
			w.Write([]byte(h.remember(t, &items, items.Complete(ev.Data)))) //nolint:errcheck // the caller has gone
			return out
		}
	}
}

// finalResponse is the response object of the last event, with the fields that SDKs read filled in.
func finalResponse(data []byte) string {
	object := gjson.GetBytes(data, "response").Raw
	for _, field := range []struct{ name, value string }{{"object", `"response"`}, {"output", `[]`}} {
		if !gjson.Get(object, field.name).Exists() {
			if out, err := sjson.SetRaw(object, field.name, field.value); err == nil {
				object = out
			}
		}
	}
	return object
}
