package openai

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tidwall/gjson"

	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/expiring"
	"codex-proxy/proxy/rawjson"
	"codex-proxy/proxy/reply"
)

// ResponseStore keeps answers for a while, for clients that go on from one by its id, since the backend stores none. In
// memory only, bounded by count, bytes and age; an answer that is gone is an error, never an answer without its
// context. Safe for concurrent use.
type ResponseStore struct {
	answers *expiring.Cache[*storedTurn]
	items   *expiring.Cache[json.RawMessage] // finished items by id, for item_reference
	last    atomic.Int64                     // number of the newest turn
}

// storedTurn is one turn. The turns before it are found by their ids, so that a long conversation is kept once.
type storedTurn struct {
	number   int64 // grows from turn to turn
	previous string
	input    []json.RawMessage // of this turn
	output   *codex.Items
	object   []byte // the response; its output may be left to the items
}

// NewResponseStore returns an empty store: two hours since the last use, 1000 answers, 64 MB, and half as much for single items.
func NewResponseStore() *ResponseStore {
	const age, count, bytes = 2 * time.Hour, 1000, 64 << 20
	return &ResponseStore{
		answers: expiring.New(expiring.Limits{Age: age, Count: count, Bytes: bytes}, func(t *storedTurn) int {
			n := len(t.object)
			for _, item := range slices.Concat(t.input, t.output.All()) {
				n += len(item)
			}
			return n
		}),
		items: expiring.New(expiring.Limits{Age: age, Count: 8 * count, Bytes: bytes / 2}, func(item json.RawMessage) int { return len(item) }),
	}
}

// storeScope is the part of a store in which ids are looked up: the one that every caller sees, or that of one
// WebSocket, which comes before it.
type storeScope struct {
	*ResponseStore
	prefix string // of keys
}

// find looks an id up in a scope. One that would be a key of another's scope leads nowhere.
func find[T any](s storeScope, in *expiring.Cache[T], id string) (found T, ok bool) {
	if strings.HasPrefix(id, socketScope) {
		return found, false
	}
	if found, ok = in.Get(s.prefix + id); !ok {
		found, ok = in.Get(id)
	}
	return found, ok
}

func gone(what, id string) *codex.Error {
	return &codex.Error{Status: http.StatusNotFound, Type: "invalid_request_error", Code: what + "_not_found", Param: map[string]string{"previous_response": "previous_response_id", "item": "input"}[what],
		Message: "The " + strings.ReplaceAll(what, "_", " ") + " " + quoteName(id) + " is not here (any more): this proxy keeps answers in memory until nothing has used them for two hours, the ChatGPT backend keeps none. Send the whole conversation in input"}
}

// before returns the conversation up to and with the answer of that id. An id that came twice does not lead in a
// circle: each turn was kept after the one before it.
func (s storeScope) before(id string) ([]json.RawMessage, error) {
	var turns []*storedTurn
	for at := id; at != ""; {
		t, ok := find(s, s.answers, at)
		if !ok || (len(turns) > 0 && t.number >= turns[len(turns)-1].number) {
			return nil, gone("previous_response", id)
		}
		turns = append(turns, t)
		at = t.previous
	}
	var items []json.RawMessage
	for _, t := range slices.Backward(turns) {
		items = append(append(items, t.input...), t.output.All()...)
	}
	return items, nil
}

// keep remembers a finished answer under its id.
func (s storeScope) keep(t *turn, output *codex.Items, object []byte) {
	id := gjson.GetBytes(object, "id").Str
	if id == "" {
		return
	}
	s.answers.Set(s.prefix+id, &storedTurn{s.last.Add(1), t.previous, t.lasting(), output, object})
	for _, item := range output.All() {
		if id := gjson.GetBytes(item, "id").Str; id != "" {
			s.items.Set(s.prefix+id, item)
		}
	}
}

// lasting is the input of a turn for longer than its request: copied, so that its items don't keep the whole body in memory,
// unless they are most of it.
func (t *turn) lasting() []json.RawMessage {
	size := 0
	for _, item := range t.own {
		size += len(item)
	}
	if t.body > 0 && size >= t.body/4*3 {
		return t.own
	}
	own := make([]json.RawMessage, len(t.own))
	for i, item := range t.own {
		own[i] = bytes.Clone(item)
	}
	return own
}

// resolve puts the items themselves in the place of references to them.
func (s storeScope) resolve(input []json.RawMessage) error {
	for i, item := range input {
		if rawjson.Get(item, "type").Str != "item_reference" {
			continue
		}
		id := gjson.GetBytes(item, "id").Str
		found, ok := find(s, s.items, id)
		if !ok {
			return gone("item", id)
		}
		input[i] = found
	}
	return nil
}

// forget gives back all that the scope holds.
func (s storeScope) forget() {
	s.answers.DeletePrefix(s.prefix)
	s.items.DeletePrefix(s.prefix)
}

// StoredResponse answers GET /v1/responses/{id}.
func (h *Handler) StoredResponse(w http.ResponseWriter, r *http.Request) reply.Outcome {
	if stream, _ := strconv.ParseBool(r.URL.Query().Get("stream")); stream {
		err := codex.Invalid("stream", "Only answers in the background are streamed again, and those are not available. Ask without 'stream'")
		WriteError(w, err)
		return reply.Outcome{Err: err}
	}
	return h.stored(w, r, func(_ string, t *storedTurn) {
		w.Header().Set("Content-Type", "application/json")
		whole := net.Buffers(t.output.CompleteObject(t.object))
		whole.WriteTo(w) //nolint:errcheck // the caller has gone
	})
}

// InputItems answers GET /v1/responses/{id}/input_items.
func (h *Handler) InputItems(w http.ResponseWriter, r *http.Request) reply.Outcome {
	return h.stored(w, r, func(_ string, t *storedTurn) { writeObject(w, inputItems(t.input)) }) //nolint:errcheck // the caller has gone
}

// DeleteResponse answers DELETE /v1/responses/{id}.
func (h *Handler) DeleteResponse(w http.ResponseWriter, r *http.Request) reply.Outcome {
	return h.stored(w, r, func(id string, _ *storedTurn) {
		h.Store.answers.Delete(id)
		writeObject(w, map[string]any{"id": id, "object": "response", "deleted": true}) //nolint:errcheck // the caller has gone
	})
}

// CancelResponse answers POST /v1/responses/{id}/cancel: whatever is stored is over.
func (h *Handler) CancelResponse(w http.ResponseWriter, r *http.Request) (out reply.Outcome) {
	over := false
	if out = h.stored(w, r, func(string, *storedTurn) { over = true }); over {
		out.Err = codex.Invalid("", "This answer is over. Only answers in the background can be cancelled, and those are not available: close the connection to end one")
		WriteError(w, out.Err)
	}
	return out
}

// stored finds the answer that the path names.
func (h *Handler) stored(w http.ResponseWriter, r *http.Request, found func(id string, t *storedTurn)) (out reply.Outcome) {
	id := r.PathValue("id")
	t, ok := find(storeScope{ResponseStore: h.Store}, h.Store.answers, id)
	if !ok {
		out.Err = gone("response", id)
		WriteError(w, out.Err)
		return out
	}
	found(id, t)
	return out
}

func inputItems(items []json.RawMessage) map[string]any {
	list := map[string]any{"object": "list", "data": items, "has_more": false, "first_id": nil, "last_id": nil}
	if items == nil {
		list["data"] = []any{}
	}
	return list
}

// InputTokens answers POST /v1/responses/input_tokens by an estimate, and says so in a header.
func (h *Handler) InputTokens(w http.ResponseWriter, r *http.Request, body []byte) reply.Outcome {
	t, err := h.parseResponses(r, body)
	out := reply.Outcome{Model: t.req.Model}
	if err != nil {
		return h.fail(w, t.req, out, err)
	}
	w.Header().Set("X-Codex-Proxy-Estimated", "true")
	writeObject(w, map[string]any{"object": "response.input_tokens", "input_tokens": t.req.Estimate()}) //nolint:errcheck // the caller has gone
	return out
}

// Len is how many answers are kept, those of WebSockets among them.
func (s *ResponseStore) Len() int { return s.answers.Len() }
