package openai

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/jellydator/ttlcache/v3"
	"github.com/tidwall/gjson"

	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/reply"
)

// ResponseStore keeps answers for a while, for clients that go on from one by its id, since the backend stores none. In
// memory only, bounded by count, bytes and age; an answer that is gone is an error, never an answer without its
// context. Safe for concurrent use.
type ResponseStore struct {
	answers *ttlcache.Cache[string, *kept]
	items   *ttlcache.Cache[string, json.RawMessage] // finished items by id, for item_reference
}

// kept is one turn. The turns before it are found by their ids, so that a long conversation is kept once.
type kept struct {
	previous string
	input    []json.RawMessage // of this turn
	output   []json.RawMessage
	object   []byte // the response
}

const (
	memoryAge   = 2 * time.Hour
	memoryCount = 1000
	memoryBytes = 64 << 20
)

// NewResponseStore returns an empty store.
func NewResponseStore() *ResponseStore {
	size := func(items []json.RawMessage) (n uint64) {
		for _, item := range items {
			n += uint64(len(item))
		}
		return n
	}
	return &ResponseStore{
		answers: ttlcache.New(
			ttlcache.WithTTL[string, *kept](memoryAge),
			ttlcache.WithCapacity[string, *kept](memoryCount),
			ttlcache.WithMaxCost(memoryBytes, func(i ttlcache.CostItem[string, *kept]) uint64 {
				return size(i.Value.input) + size(i.Value.output) + uint64(len(i.Value.object))
			}),
		),
		items: ttlcache.New(
			ttlcache.WithTTL[string, json.RawMessage](memoryAge),
			ttlcache.WithCapacity[string, json.RawMessage](8*memoryCount),
			ttlcache.WithMaxCost(memoryBytes/2, func(i ttlcache.CostItem[string, json.RawMessage]) uint64 {
				return uint64(len(i.Key) + len(i.Value))
			}),
		),
	}
}

func gone(what, id string) *codex.Error {
	return &codex.Error{Status: http.StatusNotFound, Type: "invalid_request_error", Code: what + "_not_found", Param: map[string]string{"previous_response": "previous_response_id", "item": "input"}[what],
		Message: "The " + strings.ReplaceAll(what, "_", " ") + " " + quoteName(id) + " is not here (any more): this proxy keeps answers in memory for two hours, the ChatGPT backend keeps none. Send the whole conversation in input"}
}

// before returns the conversation up to and with the answer of that id.
func (s *ResponseStore) before(id string) ([]json.RawMessage, error) {
	var turns []*kept
	for at := id; at != ""; {
		item := s.answers.Get(at)
		if item == nil {
			return nil, gone("previous_response", id)
		}
		turns = append(turns, item.Value())
		at = item.Value().previous
	}
	var items []json.RawMessage
	for i := len(turns) - 1; i >= 0; i-- {
		items = append(append(items, turns[i].input...), turns[i].output...)
	}
	return items, nil
}

// keep remembers a finished answer under its id.
func (s *ResponseStore) keep(previous string, input, output []json.RawMessage, object []byte) {
	id := gjson.GetBytes(object, "id").Str
	if id == "" {
		return
	}
	s.answers.Set(id, &kept{previous, input, output, object}, ttlcache.DefaultTTL)
	s.keepItems(output)
}

func (s *ResponseStore) keepItems(items []json.RawMessage) {
	for _, item := range items {
		if id := gjson.GetBytes(item, "id").Str; id != "" {
			s.items.Set(id, item, ttlcache.DefaultTTL)
		}
	}
}

// resolve puts the items themselves in the place of references to them.
func (s *ResponseStore) resolve(input []json.RawMessage) error {
	for i, item := range input {
		if gjson.GetBytes(item, "type").Str != "item_reference" {
			continue
		}
		id := gjson.GetBytes(item, "id").Str
		found := s.items.Get(id)
		if found == nil {
			return gone("item", id)
		}
		input[i] = found.Value()
	}
	return nil
}

// Stored answers GET and DELETE /v1/responses/{id}, GET …/input_items and POST …/cancel.
func (h *Handler) Stored(w http.ResponseWriter, r *http.Request, path string) reply.Outcome {
	id, what, _ := strings.Cut(path, "/")
	item := h.Store.answers.Get(id)
	var out reply.Outcome
	switch {
	case item == nil:
		out.Err = gone("response", id)
	case what == "" && r.Method == http.MethodDelete:
		h.Store.answers.Delete(id)
		writeObject(w, map[string]any{"id": id, "object": "response", "deleted": true})
		return out
	case what == "" && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		w.Header().Set("Content-Type", "application/json")
		w.Write(item.Value().object) //nolint:errcheck // the caller has gone
		return out
	case what == "input_items" && r.Method == http.MethodGet:
		writeObject(w, inputItems(item.Value().input))
		return out
	case what == "cancel" && r.Method == http.MethodPost:
		out.Err = codex.Invalid("", "This answer is over. Only answers in the background can be cancelled, and those are not available: close the connection to end one")
	default:
		w.Header().Set("Allow", "GET, DELETE")
		out.Err = &codex.Error{Status: http.StatusMethodNotAllowed, Type: "invalid_request_error", Code: "method_not_allowed", Message: r.Method + " does not work here"}
	}
	WriteError(w, out.Err)
	return out
}

func inputItems(items []json.RawMessage) map[string]any {
	list := map[string]any{"object": "list", "data": items, "has_more": false, "first_id": nil, "last_id": nil}
	if items == nil {
		list["data"] = []any{}
	}
	return list
}

func writeObject(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Write(encode(v)) //nolint:errcheck // the caller has gone
}

// InputTokens answers POST /v1/responses/input_tokens by an estimate, and says so in a header.
func (h *Handler) InputTokens(w http.ResponseWriter, r *http.Request, body []byte) reply.Outcome {
	t, err := h.parseResponses(r, body)
	out := reply.Outcome{Model: t.req.Model}
	if err != nil {
		return h.fail(w, t.req, out, err)
	}
	w.Header().Set("X-Codex-Proxy-Estimated", "true")
	writeObject(w, map[string]any{"object": "response.input_tokens", "input_tokens": t.req.Estimate()})
	return out
}

// Forward answers what else lies under /v1/responses, such as POST …/compact: the backend does.
func (h *Handler) Forward(w http.ResponseWriter, r *http.Request, path string, body []byte) reply.Outcome {
	out := reply.Outcome{Model: gjson.GetBytes(body, "model").Str}
	status, header, answer, err := h.Client.Forward(r.Context(), "/"+path, body, r.Header)
	if err != nil {
		return h.fail(w, &codex.Request{}, out, err)
	}
	reply.Announce(w.Header(), nil, header)
	w.Header().Set("Content-Type", header.Get("Content-Type"))
	w.WriteHeader(status)
	w.Write(answer) //nolint:errcheck // the caller has gone
	return out
}
