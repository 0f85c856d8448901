// Package openai translates between OpenAI's API (Chat Completions, Responses, Models) and package codex.
package openai

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
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
	// Thoughts keeps the reasoning of tool calls for Chat Completions; see NewThoughts.
	Thoughts *Thoughts
}

// Responses answers POST /v1/responses: what the backend sends goes through as it is, with the last object completed.
func (h *Handler) Responses(w http.ResponseWriter, r *http.Request, body []byte) reply.Outcome {
	start := time.Now()
	req, stream, err := h.parseResponses(r, body)
	out := reply.Outcome{Model: req.Model, Streamed: stream, Dropped: req.Dropped}
	if err == nil {
		err = h.checkStrict(req)
	}
	if err != nil {
		return h.fail(w, req, out, err)
	}
	s, err := h.Client.Stream(r.Context(), req)
	out.Dropped = req.Dropped
	if err != nil {
		return h.fail(w, req, out, err)
	}
	defer s.Close()
	if stream {
		return h.streamResponses(w, req, s, out, start)
	}
	return h.bufferResponses(w, req, s, out)
}

func (h *Handler) parseResponses(r *http.Request, body []byte) (req *codex.Request, stream bool, err error) {
	req = &codex.Request{}
	req.RecogniseNative(r.Header)
	params, err := readObject(body)
	if err != nil {
		return req, false, err
	}
	if params["input"] == nil && params["messages"] != nil {
		return req, false, codex.Invalid("messages", "This is a Chat Completions request. Send it to /v1/chat/completions")
	}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		if err := req.SetParam(name, params[name]); err != nil {
			return req, false, err
		}
	}
	return req, string(params["stream"]) == "true", nil
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

func (h *Handler) checkStrict(req *codex.Request) error {
	if h.Strict && len(req.Dropped) > 0 {
		return &codex.Error{Status: http.StatusBadRequest, Type: "invalid_request_error", Code: "unsupported_parameter", Param: req.Dropped[0],
			Message: "The ChatGPT backend does not take: " + strings.Join(req.Dropped, ", ") + ". Leave it out, or run codex-proxy without --strict"}
	}
	return nil
}

// fail answers a request for which nothing has been sent yet.
func (h *Handler) fail(w http.ResponseWriter, req *codex.Request, out reply.Outcome, err error) reply.Outcome {
	var e *codex.Error
	if !errors.As(err, &e) {
		out.Gone = true
		return out
	}
	out.Err = e
	reply.Announce(w.Header(), req.Dropped, answerHeader(e))
	if req.Native && e.Answer != nil {
		writeAnswer(w, e.Answer)
	} else {
		WriteError(w, e)
	}
	return out
}

func answerHeader(e *codex.Error) http.Header {
	if e.Answer == nil {
		return nil
	}
	return e.Answer.Header
}

func (h *Handler) streamResponses(w http.ResponseWriter, req *codex.Request, s *codex.Stream, out reply.Outcome, start time.Time) reply.Outcome {
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
			if data := items.Complete(ev.Data); len(data) != len(ev.Data) {
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

func (h *Handler) bufferResponses(w http.ResponseWriter, req *codex.Request, s *codex.Stream, out reply.Outcome) reply.Outcome {
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
			w.Write([]byte(finalResponse(items.Complete(ev.Data)))) //nolint:errcheck // the caller has gone
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
