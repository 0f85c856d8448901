// Package ollama translates between Ollama's API and package codex, for the many tools that know no other way to a
// model of the user's own.
package ollama

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/rawjson"
	"codex-proxy/proxy/reply"
)

// apiVersion is the version of Ollama whose API this is; some tools want at least 0.6.4.
const apiVersion = "0.12.0"

// Handler answers Ollama's API. Its fields are set before use and not changed. Safe for concurrent use.
type Handler struct {
	Client    *codex.Client
	Reasoning *codex.ReasoningCache
}

// Version answers GET /api/version.
func (h *Handler) Version(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"version": apiVersion})
}

// details is what Ollama tells of a model file. There is none here.
type details struct {
	ParentModel   string   `json:"parent_model"`
	Format        string   `json:"format"`
	Family        string   `json:"family"`
	Families      []string `json:"families"`
	ParameterSize string   `json:"parameter_size"`
	Quantization  string   `json:"quantization_level"`
}

var noFile = details{Family: "gpt", Families: []string{"gpt"}}

// Tags answers GET /api/tags.
func (h *Handler) Tags(w http.ResponseWriter, r *http.Request) {
	h.Client.Models.Fetch(r.Context(), h.Client) //nolint:errcheck // the list at hand is used
	type entry struct {
		Name     string    `json:"name"`
		Model    string    `json:"model"`
		Modified time.Time `json:"modified_at"`
		Size     int64     `json:"size"`
		Digest   string    `json:"digest"`
		Details  details   `json:"details"`
	}
	list := []entry{}
	for _, m := range h.Client.Models.All() {
		sum := sha256.Sum256([]byte(m.ID))
		list = append(list, entry{m.ID, m.ID, modelDate, 0, hex.EncodeToString(sum[:]), noFile})
	}
	writeJSON(w, http.StatusOK, map[string]any{"models": list})
}

// modelDate stands where Ollama has the file's date.
var modelDate = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// Running answers GET /api/ps: nothing is loaded into this machine's memory.
func (h *Handler) Running(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{"models": []any{}})
}

// Show answers POST /api/show.
func (h *Handler) Show(w http.ResponseWriter, r *http.Request, body []byte) (out reply.Outcome) {
	var in struct {
		Model string `json:"model"`
		Name  string `json:"name"`
	}
	if json.Unmarshal(body, &in) != nil || in.Model+in.Name == "" {
		return h.fail(w, nil, out, codex.Invalid("model", "Name a model: {\"model\":\"…\"}"))
	}
	if in.Model == "" {
		in.Model = in.Name
	}
	h.Client.Models.Fetch(r.Context(), h.Client) //nolint:errcheck // the list at hand is used
	id, _ := h.Client.Models.Resolve(strings.TrimSuffix(in.Model, latest), "")
	m, ok := h.Client.Models.Find(id)
	if !ok {
		return h.fail(w, nil, out, &codex.Error{Status: http.StatusNotFound, Code: "model_not_found", Message: "model '" + in.Model + "' not found. GET /api/tags lists those of your plan"})
	}
	capabilities := []string{"completion", "tools", "thinking"}
	for _, kind := range m.InputKinds {
		if kind == "image" {
			capabilities = append(capabilities, "vision")
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"modelfile": "", "parameters": "", "template": "", "license": "", "details": noFile, "modified_at": modelDate,
		"model_info":   map[string]any{"general.architecture": "gpt", "general.basename": m.ID, "gpt.context_length": m.ContextWindow},
		"capabilities": capabilities,
	})
	return out
}

// Unavailable answers for what only a program with model files can do.
func (h *Handler) Unavailable(w http.ResponseWriter, what string) reply.Outcome {
	return h.fail(w, nil, reply.Outcome{}, &codex.Error{Status: http.StatusNotImplemented, Type: "invalid_request_error", Code: "not_available",
		Message: what + " is not available: this is a ChatGPT plan behind Ollama's API. There are /api/chat, /api/generate, /api/tags, /api/show, /api/version and /api/ps"})
}

// Chat answers POST /api/chat.
func (h *Handler) Chat(w http.ResponseWriter, r *http.Request, body []byte) reply.Outcome {
	return h.answer(w, r, body, true)
}

// Generate answers POST /api/generate.
func (h *Handler) Generate(w http.ResponseWriter, r *http.Request, body []byte) reply.Outcome {
	return h.answer(w, r, body, false)
}

func (h *Handler) answer(w http.ResponseWriter, r *http.Request, body []byte, chat bool) reply.Outcome {
	start := time.Now()
	req, err := h.parse(body, chat)
	out := reply.Outcome{Model: req.Model, Streamed: req.stream, Dropped: req.Dropped}
	if err != nil {
		return h.fail(w, &req.Request, out, err)
	}
	if req.empty { // how Ollama's clients load and unload a model
		if req.shown == "" {
			req.shown, _ = h.Client.Models.Resolve("", "")
		}
		line := req.line(map[string]any{"done": true, "done_reason": "load"}, chat, "")
		writeJSON(w, http.StatusOK, line)
		return out
	}
	s, err := h.Client.Stream(r.Context(), &req.Request)
	if err != nil {
		return h.fail(w, &req.Request, out, err)
	}
	defer s.Close()
	out.Began(&req.Request, s)
	req.shown = cmp.Or(req.shown, s.Model)
	a := newAnswer(req, chat, start)
	return reply.Answer{
		Encoder: a, Request: &req.Request, Events: &a.events, Type: "application/json; charset=utf-8",
		Whole:   func(end *codex.End) []byte { return a.last(end, true) },
		Head:    func(head http.Header) { head.Set("Content-Type", "application/x-ndjson") },
		Closing: func(end *codex.End) []byte { return a.last(end, false) },
		Broken:  func(e *codex.Error) []byte { return append(errorBody(e), '\n') }, Error: WriteError,
	}.Give(w, s, h.Reasoning, out)
}

// answer is an answer on its way down, line by line.
type answer struct {
	req    *request
	chat   bool
	start  time.Time
	first  time.Time
	events codex.EventHandler
	stop   *reply.Stopper
	lines  []byte
	model  []byte // as JSON
	hit    bool

	text, thinking strings.Builder // of a buffered answer
	calls          []any
}

func newAnswer(req *request, chat bool, start time.Time) *answer {
	a := &answer{req: req, chat: chat, start: start, stop: reply.NewStopper(req.stops), model: encode(req.shown)}
	a.events = codex.EventHandler{Text: a.piece, CallDone: a.call}
	if req.think {
		a.events.Thinking = a.think
	}
	return a
}

// Event is reply.Encoder's, as are the next three.
func (a *answer) Event(ev codex.Event) *codex.End { return a.events.Event(ev) }

// Stopped estimates what was used until a stop sequence.
func (a *answer) Stopped() *codex.End {
	if !a.hit {
		return nil
	}
	return a.events.Stopped(&a.req.Request)
}

// Finish writes what was held back.
func (a *answer) Finish(_ *codex.End, stopped bool) {
	if a.req.wrapped {
		a.req.wrapped = false
		whole := a.text.String()
		a.text.Reset()
		if inner, ok := codex.UnwrapAnswer(whole); ok {
			whole = inner.Raw
		}
		if whole != "" {
			a.piece(string(encode(whole)))
		}
	}
	if a.stop != nil && !stopped {
		a.say(a.stop.Rest())
	}
}

// Take returns the lines to send.
func (a *answer) Take() []byte {
	out := a.lines
	a.lines = a.lines[:0]
	return out
}

func (a *answer) piece(raw string) {
	if a.hit {
		return
	}
	if a.stop == nil || a.req.wrapped { // stop sequences are looked for in what is sent
		a.write("content", raw)
		return
	}
	var piece string
	piece, a.hit = a.stop.Push(codex.Text(raw))
	a.say(piece)
}

func (a *answer) say(piece string) {
	if piece != "" {
		a.write("content", string(encode(piece)))
	}
}

func (a *answer) think(raw string) { a.write("thinking", raw) }

// write adds a piece of the text or of the thinking, a JSON string.
func (a *answer) write(field, raw string) {
	switch {
	case a.req.stream && !(a.req.wrapped && field == "content"):
		a.piecewise(field, raw)
	case field == "thinking":
		a.thinking.WriteString(codex.Text(raw))
	default:
		a.text.WriteString(codex.Text(raw))
	}
	if a.first.IsZero() {
		a.first = time.Now()
	}
}

// piecewise is the line of one piece. It is written by hand, because each event becomes one.
func (a *answer) piecewise(field, raw string) {
	b := append(append(a.lines, `{"model":`...), a.model...)
	b = time.Now().UTC().AppendFormat(append(b, `,"created_at":"`...), time.RFC3339Nano)
	before, after := `","message":{"role":"assistant","content":`, `},"done":false}`
	if !a.chat {
		before, after = `","response":`, `,"done":false}`
	}
	b = append(b, before...)
	if field == "thinking" {
		b = append(b, `"","thinking":`...)
	}
	b = append(append(b, raw...), after...)
	a.lines = append(b, '\n')
}

func (a *answer) call(c codex.Call, arguments string) {
	object := json.RawMessage(arguments)
	switch {
	case !c.Custom && strings.TrimSpace(arguments) == "":
		object = json.RawMessage("{}")
	case c.Custom, !rawjson.Valid(object), !gjson.ParseBytes(object).IsObject():
		object = encode(map[string]string{"input": arguments})
	}
	call := map[string]any{"id": c.ID, "function": map[string]any{"index": c.Number, "name": a.req.names.Original(c.Name), "arguments": object}}
	a.calls = append(a.calls, call)
	if a.first.IsZero() {
		a.first = time.Now()
	}
	if a.req.stream {
		fields := map[string]any{"done": false}
		a.put(fields, map[string]any{"content": "", "tool_calls": []any{call}})
		a.lines = append(append(a.lines, encode(a.req.line(fields, a.chat, ""))...), '\n')
	}
}

// put writes a message in the words of chat or of generate.
func (a *answer) put(fields, message map[string]any) {
	if a.chat {
		message["role"] = "assistant"
		fields["message"] = message
		return
	}
	fields["response"] = message["content"]
	if t, ok := message["thinking"]; ok {
		fields["thinking"] = t
	}
}

// last is the final line, or with whole the only one. The tokens that the backend had in its cache are a part of the
// prompt's. Source: Ollama's API reference, usage.
func (a *answer) last(end *codex.End, whole bool) []byte {
	reason := end.Reason
	if reason == "tool_calls" || reason == "content_filter" {
		reason = "stop"
	}
	if a.first.IsZero() {
		a.first = time.Now()
	}
	message := map[string]any{"content": ""}
	if whole {
		message["content"] = a.text.String()
		if a.thinking.Len() > 0 {
			message["thinking"] = a.thinking.String()
		}
		if a.calls != nil {
			message["tool_calls"] = a.calls
		}
	}
	now := time.Now()
	fields := map[string]any{
		"done": true, "done_reason": reason, "total_duration": now.Sub(a.start).Nanoseconds(), "load_duration": 0,
		"prompt_eval_count": end.Input, "prompt_eval_cached_count": end.Cached, "prompt_eval_duration": a.first.Sub(a.start).Nanoseconds(),
		"eval_count": end.Output, "eval_duration": now.Sub(a.first).Nanoseconds(),
	}
	a.put(fields, message)
	return append(encode(a.req.line(fields, a.chat, "")), '\n')
}

// line fills in what every line has.
func (r *request) line(fields map[string]any, chat bool, empty string) map[string]any {
	fields["model"] = r.shown
	fields["created_at"] = time.Now().UTC()
	if _, ok := fields["message"]; chat && !ok {
		fields["message"] = map[string]any{"role": "assistant", "content": empty}
	}
	if _, ok := fields["response"]; !chat && !ok {
		fields["response"] = empty
	}
	return fields
}

func (h *Handler) fail(w http.ResponseWriter, r *codex.Request, out reply.Outcome, err error) reply.Outcome {
	if e := out.Fail(r, err); e != nil {
		reply.Announce(w.Header(), out.Dropped, e.Header())
		WriteError(w, e)
	}
	return out
}

// WriteError answers with an error in Ollama's shape.
func WriteError(w http.ResponseWriter, e *codex.Error) { reply.WriteError(w, e, errorBody(e)) }

func errorBody(e *codex.Error) []byte { return encode(map[string]string{"error": e.Message}) }

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	w.Write(append(encode(v), '\n')) //nolint:errcheck // the caller has gone
}

func encode(v any) []byte { return reply.Encode(v) }
