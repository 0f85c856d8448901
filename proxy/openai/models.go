package openai

import (
	"net/http"

	"codex-proxy/proxy/codex"
)

// modelObject is an entry of GET /v1/models. Source: OpenAI API reference, models.
type modelObject struct {
	ID            string `json:"id"`
	Object        string `json:"object"`
	Created       int64  `json:"created"`
	OwnedBy       string `json:"owned_by"`
	Name          string `json:"name,omitempty"`
	ContextWindow int    `json:"context_window,omitempty"`
}

// modelsCreated stands where OpenAI has a model's birthday, which the backend does not tell.
const modelsCreated = 1735689600

func toModelObject(m codex.Model) modelObject {
	return modelObject{m.ID, "model", modelsCreated, "openai", m.Name, m.ContextWindow}
}

// Models answers GET /v1/models. The Codex CLI, which names its version in the query, gets the backend's own list.
func (h *Handler) Models(w http.ResponseWriter, r *http.Request) {
	h.Client.Models.Fetch(r.Context(), h.Client) //nolint:errcheck // the list at hand is used
	if r.URL.Query().Has("client_version") {
		w.Header().Set("Content-Type", "application/json")
		w.Write(h.Client.Models.Raw()) //nolint:errcheck // the caller has gone
		return
	}
	list := struct {
		Object string        `json:"object"`
		Data   []modelObject `json:"data"`
	}{"list", []modelObject{}}
	for _, m := range h.Client.Models.All() {
		list.Data = append(list.Data, toModelObject(m))
	}
	writeObject(w, list) //nolint:errcheck // the caller has gone
}

// Model answers GET /v1/models/{id}, also for a name with an effort.
func (h *Handler) Model(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	h.Client.Models.Fetch(r.Context(), h.Client) //nolint:errcheck // the list at hand is used
	base, _ := h.Client.Models.Resolve(id, "")
	m, ok := h.Client.Models.Find(base)
	if !ok {
		WriteError(w, &codex.Error{Status: http.StatusNotFound, Type: "invalid_request_error", Code: "model_not_found", Param: "model",
			Message: "There is no model " + quoteName(id) + " here. GET /v1/models lists those of your plan"})
		return
	}
	object := toModelObject(m)
	object.ID = id
	writeObject(w, object) //nolint:errcheck // the caller has gone
}

func quoteName(s string) string {
	if len(s) > 80 {
		s = s[:80]
	}
	return string(encode(s))
}
