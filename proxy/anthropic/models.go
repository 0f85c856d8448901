package anthropic

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"codex-proxy/proxy/codex"
)

// modelsWait is how long the list waits for the backend's: Claude Code asks for it when it starts, and waits three seconds.
// Source: code.claude.com/docs/en/llm-gateway-protocol, model discovery.
const modelsWait = time.Second

// modelObject is an entry of GET /v1/models. Source: Anthropic API reference, models.
type modelObject struct {
	Type      string `json:"type"`
	ID        string `json:"id"`
	Name      string `json:"display_name"`
	Created   string `json:"created_at"`
	MaxTokens int    `json:"max_input_tokens,omitempty"`
}

// modelsCreated stands where Anthropic has a model's birthday, which the backend does not tell.
const modelsCreated = "2025-01-01T00:00:00Z"

// toModelObject is an entry under a name that a caller may use; what people see names the model that answers.
func toModelObject(id string, m codex.Model) modelObject {
	name := m.Name
	if name == "" {
		name = m.ID
	}
	return modelObject{"model", id, name + " (ChatGPT)", modelsCreated, m.ContextWindow}
}

// Models answers GET /v1/models for callers of Anthropic's API. Claude Code passes over ids without "claude" in them, so
// each model is listed under a name that has it; then come the names that the user has chosen.
func (h *Handler) Models(w http.ResponseWriter, r *http.Request) {
	h.fetchModels(r)
	list := struct {
		Data    []modelObject `json:"data"`
		FirstID *string       `json:"first_id"`
		LastID  *string       `json:"last_id"`
		HasMore bool          `json:"has_more"`
	}{Data: []modelObject{}}
	for _, m := range h.Client.Models.All() {
		list.Data = append(list.Data, toModelObject("claude-"+m.ID, m))
	}
	for _, name := range slices.Sorted(maps.Keys(h.Client.Models.Aliases)) {
		if m, ok := h.find(name); ok && strings.Contains(name, "claude") {
			list.Data = append(list.Data, toModelObject(name, m))
		}
	}
	if n := len(list.Data); n > 0 {
		list.FirstID, list.LastID = &list.Data[0].ID, &list.Data[n-1].ID
	}
	writeObject(w, list)
}

// Model answers GET /v1/models/{id} for callers of Anthropic's API, for each name that a request can have.
func (h *Handler) Model(w http.ResponseWriter, r *http.Request) {
	h.fetchModels(r)
	id := r.PathValue("id")
	m, ok := h.find(id)
	if !ok {
		WriteError(w, &codex.Error{Status: http.StatusNotFound, Code: "model_not_found", Message: "There is no model of this name here. GET /v1/models lists those of your plan"})
		return
	}
	writeObject(w, toModelObject(id, m))
}

// fetchModels waits a moment for the backend's list; after that the list at hand is used.
func (h *Handler) fetchModels(r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), modelsWait)
	defer cancel()
	h.Client.Models.Fetch(ctx, h.Client) //nolint:errcheck // the list at hand is used
}

// find is the model that answers to a name.
func (h *Handler) find(name string) (codex.Model, bool) {
	id, _ := h.Client.Models.Resolve(name, "")
	return h.Client.Models.Find(id)
}

func writeObject(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Write(encode(v)) //nolint:errcheck // the caller has gone
}
