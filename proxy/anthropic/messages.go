package anthropic

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/reply"
)

// Handler answers Anthropic's API. Its fields are set before use and not changed. Safe for concurrent use.
type Handler struct {
	Client    *codex.Client
	Strict    bool // see openai.Handler
	Reasoning *codex.ReasoningCache
}

// Messages answers POST /v1/messages.
func (h *Handler) Messages(w http.ResponseWriter, r *http.Request, body []byte) reply.Outcome {
	start := time.Now()
	req, err := h.parse(body)
	out := reply.Outcome{Model: req.Model, Streamed: req.stream, Dropped: req.Dropped}
	if err == nil {
		err = reply.CheckStrict(h.Strict, req.Dropped, "max_tokens")
	}
	if err != nil {
		return h.fail(w, req, out, err)
	}
	s, err := h.Client.Stream(r.Context(), &req.Request)
	out.Dropped = req.Dropped
	if err != nil {
		return h.fail(w, req, out, err)
	}
	defer s.Close()
	out.Model, _ = h.Client.Models.Resolve(req.Model, "")
	a := newAnswer(req, out.Model)
	if req.stream {
		return h.stream(w, req, s, a, out, start)
	}
	end, err := reply.Copy(s, a, func([]byte, bool) error { return nil })
	if err != nil {
		return h.fail(w, req, out, err)
	}
	out = finish(out, a, end, h.Reasoning)
	reply.Announce(w.Header(), req.Dropped, s.Header)
	w.Header().Set("Content-Type", "application/json")
	_, err = w.Write(a.whole(end))
	out.Gone = err != nil
	return out
}

func finish(out reply.Outcome, a *answer, end *codex.End, cache *codex.ReasoningCache) reply.Outcome {
	out.InputTokens, out.CachedTokens, out.OutputTokens = end.Input, end.Cached, end.Output
	a.events.Remember(cache, out.Model)
	return out
}

// CountTokens answers POST /v1/messages/count_tokens by an estimate, and says so in a header.
func (h *Handler) CountTokens(w http.ResponseWriter, _ *http.Request, body []byte) reply.Outcome {
	req, err := h.parse(body)
	out := reply.Outcome{Model: req.Model}
	if err != nil {
		return h.fail(w, req, out, err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Codex-Proxy-Estimated", "true")
	w.Write(encode(map[string]int64{"input_tokens": req.Estimate()})) //nolint:errcheck // the caller has gone
	return out
}

func (h *Handler) stream(w http.ResponseWriter, req *request, s *codex.Stream, a *answer, out reply.Outcome, start time.Time) reply.Outcome {
	to := reply.NewStream(w, start, func(head http.Header) {
		reply.SSE(head)
		reply.Announce(head, req.Dropped, s.Header)
	})
	opening := a.opening()
	s.OnQuiet(func() { to.KeepAliveAfter(opening, ping) })
	end, err := reply.Copy(s, a, func(p []byte, more bool) error { return to.SendAfter(opening, p, more) })
	out.FirstToken = to.FirstToken()
	if err != nil {
		if !to.Began() {
			return h.fail(w, req, out, err)
		}
		var e *codex.Error
		if !errors.As(err, &e) {
			out.Gone = true
			return out
		}
		out.Err, out.Cut = e, true
		to.Send(sse("error", errorBody(e)), false) //nolint:errcheck // it is cut next
		return out
	}
	out = finish(out, a, end, h.Reasoning)
	out.Gone = to.SendAfter(opening, a.closing(end), false) != nil
	return out
}

var ping = []byte("event: ping\ndata: {\"type\":\"ping\"}\n\n")

func sse(name string, data []byte) []byte {
	return append(append(append([]byte("event: "+name+"\ndata: "), data...), '\n'), '\n')
}

// answer is an answer on its way down: content blocks, written as they come and kept for a buffered answer.
type answer struct {
	req    *request
	id     string
	model  string
	events *codex.EventHandler
	stop   *reply.Stopper
	out    []byte // events to send

	kind   string // of the open block; empty when none is
	index  int
	text   strings.Builder
	blocks []json.RawMessage
	call   codex.Call
	hit    string // the stop sequence that ended the answer
	size   int
}

func newAnswer(req *request, model string) *answer {
	var id [12]byte
	rand.Read(id[:])
	a := &answer{req: req, id: "msg_" + hex.EncodeToString(id[:]), model: model, stop: reply.NewStopper(req.stops)}
	a.events = &codex.EventHandler{Text: a.sayText, Thinking: a.think, Call: a.begin, Arguments: a.arguments, CallDone: a.callDone, Thought: a.thought}
	return a
}

// Event is reply.Encoder's, as are the next three.
func (a *answer) Event(ev codex.Event) (*codex.End, error) { return a.events.Event(ev) }

// Stopped estimates what was used until a stop sequence.
func (a *answer) Stopped() *codex.End {
	if a.hit == "" {
		return nil
	}
	return &codex.End{Reason: "stop_sequence", Input: a.req.Estimate(), Output: int64(a.size / 4)}
}

// Finish writes what was held back, and ends the open block.
func (a *answer) Finish(stopped bool) {
	if a.stop != nil && !stopped {
		if rest := a.stop.Rest(); rest != "" {
			a.write("text", string(encode(rest)))
		}
	}
	a.close("")
}

// Take returns the events to send.
func (a *answer) Take() []byte {
	out := a.out
	a.out = a.out[:0]
	return out
}

func (a *answer) sayText(raw string) {
	if a.hit != "" {
		return
	}
	a.size += len(raw)
	if a.stop == nil {
		a.write("text", raw)
		return
	}
	var piece string
	if json.Unmarshal([]byte(raw), &piece) != nil {
		return
	}
	before, hit := a.stop.Push(piece)
	if before != "" {
		a.write("text", string(encode(before)))
	}
	if hit {
		a.hit = a.stop.Hit()
	}
}

func (a *answer) think(raw string) {
	if a.req.thinking {
		a.write("thinking", raw)
	}
}

// write adds a piece to the open block of that kind, opening one if need be.
func (a *answer) write(kind, raw string) {
	if a.kind != kind {
		a.close("")
		a.open(kind, `{"type":"`+kind+`","`+kind+`":""`+map[string]string{"thinking": `,"signature":""`}[kind]+`}`)
	}
	var piece string
	if json.Unmarshal([]byte(raw), &piece) == nil {
		a.text.WriteString(piece)
	}
	a.delta(`{"type":"` + kind + `_delta","` + kind + `":` + raw + `}`)
}

func (a *answer) open(kind, block string) {
	a.kind = kind
	a.out = append(a.out, "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":"...)
	a.out = strconv.AppendInt(a.out, int64(a.index), 10)
	a.out = append(append(append(a.out, `,"content_block":`...), block...), "}\n\n"...)
}

func (a *answer) delta(delta string) {
	a.out = append(a.out, "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":"...)
	a.out = strconv.AppendInt(a.out, int64(a.index), 10)
	a.out = append(append(append(a.out, `,"delta":`...), delta...), "}\n\n"...)
}

// close ends the open block. signature is that of thinking.
func (a *answer) close(signature string) {
	if a.kind == "" {
		return
	}
	switch a.kind {
	case "text":
		a.blocks = append(a.blocks, encode(map[string]any{"type": "text", "text": a.text.String()}))
	case "thinking":
		if signature != "" {
			a.delta(`{"type":"signature_delta","signature":` + string(encode(signature)) + `}`)
		}
		a.blocks = append(a.blocks, encode(map[string]any{"type": "thinking", "thinking": a.text.String(), "signature": signature}))
	case "tool_use":
		input := json.RawMessage(a.text.String())
		if !gjson.ValidBytes(input) || len(input) == 0 || input[0] != '{' {
			input = json.RawMessage(`{}`)
		}
		a.blocks = append(a.blocks, encode(map[string]any{"type": "tool_use", "id": a.call.ID, "name": a.req.names.Original(a.call.Name), "input": input}))
	}
	a.out = append(a.out, "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":"...)
	a.out = append(strconv.AppendInt(a.out, int64(a.index), 10), "}\n\n"...)
	a.text.Reset()
	a.kind = ""
	a.index++
}

// thought ends a block of thinking with what brings the reasoning back; one that was not shown comes as redacted.
func (a *answer) thought(item gjson.Result) {
	if !a.req.thinking {
		return
	}
	signature := sign(a.model, item.Get("encrypted_content").Str)
	if a.kind == "thinking" {
		a.close(signature)
		return
	}
	if item.Get("encrypted_content").Str == "" {
		return
	}
	a.close("")
	redacted := encode(map[string]string{"type": "redacted_thinking", "data": signature})
	a.open("redacted_thinking", string(redacted))
	a.blocks = append(a.blocks, redacted)
	a.close("")
}

func (a *answer) begin(c codex.Call) {
	a.close("")
	a.call = c
	a.open("tool_use", `{"type":"tool_use","id":`+string(encode(c.ID))+`,"name":`+string(encode(a.req.names.Original(c.Name)))+`,"input":{}}`)
}

func (a *answer) arguments(c codex.Call, raw string) {
	if a.kind != "tool_use" || a.call.ID != c.ID {
		return // an earlier call's: the backend writes them one after the other
	}
	a.size += len(raw)
	var piece string
	if json.Unmarshal([]byte(raw), &piece) == nil {
		a.text.WriteString(piece)
	}
	a.delta(`{"type":"input_json_delta","partial_json":` + raw + `}`)
}

func (a *answer) callDone(c codex.Call, _ string) {
	if a.kind == "tool_use" && a.call.ID == c.ID {
		a.close("")
	}
}

type usage struct {
	Input      int64 `json:"input_tokens"`
	CacheWrite int64 `json:"cache_creation_input_tokens"`
	CacheRead  int64 `json:"cache_read_input_tokens"`
	Output     int64 `json:"output_tokens"`
}

type messageObject struct {
	ID           string            `json:"id"`
	Type         string            `json:"type"`
	Role         string            `json:"role"`
	Model        string            `json:"model"`
	Content      []json.RawMessage `json:"content"`
	StopReason   *string           `json:"stop_reason"`
	StopSequence *string           `json:"stop_sequence"`
	Usage        usage             `json:"usage"`
}

// opening is the events before the first block. The tokens are an estimate; the last event has the true number.
func (a *answer) opening() []byte {
	m := messageObject{a.id, "message", "assistant", a.model, []json.RawMessage{}, nil, nil, usage{Input: a.req.Estimate(), Output: 1}}
	return append(sse("message_start", encode(struct {
		Type    string        `json:"type"`
		Message messageObject `json:"message"`
	}{"message_start", m})), ping...)
}

func (a *answer) stopReason(end *codex.End) (reason string, sequence *string) {
	switch end.Reason {
	case "stop_sequence":
		return "stop_sequence", &a.hit
	case "tool_calls":
		return "tool_use", nil
	case "length":
		return "max_tokens", nil
	case "content_filter":
		return "refusal", nil
	}
	return "end_turn", nil
}

func toUsage(end *codex.End) usage {
	return usage{Input: max(end.Input-end.Cached, 0), CacheRead: end.Cached, Output: end.Output}
}

func (a *answer) closing(end *codex.End) []byte {
	reason, sequence := a.stopReason(end)
	return append(sse("message_delta", encode(map[string]any{
		"type": "message_delta", "delta": map[string]any{"stop_reason": reason, "stop_sequence": sequence}, "usage": toUsage(end),
	})), "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"...)
}

// whole is a buffered answer.
func (a *answer) whole(end *codex.End) []byte {
	reason, sequence := a.stopReason(end)
	content := a.blocks
	if content == nil {
		content = []json.RawMessage{}
	}
	return encode(messageObject{a.id, "message", "assistant", a.model, content, &reason, sequence, toUsage(end)})
}

// fail answers a request for which nothing has been sent yet.
func (h *Handler) fail(w http.ResponseWriter, req *request, out reply.Outcome, err error) reply.Outcome {
	var e *codex.Error
	if !errors.As(err, &e) {
		out.Gone = true
		return out
	}
	out.Err = e
	reply.Announce(w.Header(), req.Dropped, e.Header())
	WriteError(w, e)
	return out
}

// WriteError answers with an error in Anthropic's shape.
func WriteError(w http.ResponseWriter, e *codex.Error) {
	reply.ErrorHeader(w.Header(), e)
	w.WriteHeader(e.Status)
	w.Write(append(errorBody(e), '\n')) //nolint:errcheck // the caller has gone
}

func errorBody(e *codex.Error) []byte {
	message := e.Message
	if e.Code == "context_length_exceeded" {
		message = "prompt is too long: " + message // by these words Claude Code knows that it should compact
	}
	return encode(map[string]any{"type": "error", "error": map[string]string{"type": errorType(e), "message": message}})
}

// errorType is Anthropic's word. Source: Anthropic API reference, errors.
func errorType(e *codex.Error) string {
	switch e.Status {
	case http.StatusUnauthorized:
		return "authentication_error"
	case http.StatusForbidden:
		return "permission_error"
	case http.StatusNotFound:
		return "not_found_error"
	case http.StatusRequestEntityTooLarge:
		return "request_too_large"
	case http.StatusTooManyRequests:
		return "rate_limit_error"
	case http.StatusServiceUnavailable:
		return "overloaded_error"
	case http.StatusGatewayTimeout:
		return "timeout_error"
	}
	if e.Status >= 500 {
		return "api_error"
	}
	return "invalid_request_error"
}
