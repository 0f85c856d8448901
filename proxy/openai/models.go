package openai

import (
	"net/http"
	"slices"
	"strings"

	"codex-proxy/proxy/codex"
)

// modelObject is an entry of GET /v1/models: OpenAI's four fields, and those by which editors and agents learn what a model
// can do, each in the shape of the server that they know it from. All of it is the backend's own list, which tells no
// longest output, so there is none. Source: OpenAI API reference, models; OpenRouter API reference, models; vLLM's
// ModelCard (max_model_len).
type modelObject struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`

	Name          string           `json:"name,omitempty"`
	Description   string           `json:"description,omitempty"`
	ContextWindow int              `json:"context_window,omitempty"` // tokens, as are the next two
	ContextLength int              `json:"context_length,omitempty"`
	MaxModelLen   int              `json:"max_model_len,omitempty"`
	TopProvider   *topProvider     `json:"top_provider,omitempty"`
	Architecture  architecture     `json:"architecture"`
	Parameters    []string         `json:"supported_parameters"` // of Chat Completions
	Reasoning     *reasoningLevels `json:"reasoning,omitempty"`
}

type topProvider struct {
	ContextLength int `json:"context_length"` // tokens
}

type architecture struct {
	Modality string   `json:"modality"` // such as "text+image->text"
	Input    []string `json:"input_modalities"`
	Output   []string `json:"output_modalities"`
}

// reasoningLevels are the values of reasoning_effort, the highest first.
type reasoningLevels struct {
	Mandatory bool     `json:"mandatory"` // it can't be switched off
	Efforts   []string `json:"supported_efforts"`
	Default   string   `json:"default_effort,omitempty"`
}

// modelsCreated stands where OpenAI has a model's birthday, which the backend does not tell.
const modelsCreated = 1735689600

func toModelObject(m codex.Model) modelObject {
	input := m.InputKinds
	if len(input) == 0 {
		input = []string{"text"}
	}
	o := modelObject{
		ID: m.ID, Object: "model", Created: modelsCreated, OwnedBy: "openai", Name: m.Name, Description: m.Description,
		ContextWindow: m.ContextWindow, ContextLength: m.ContextWindow, MaxModelLen: m.ContextWindow,
		Architecture: architecture{strings.Join(input, "+") + "->text", input, []string{"text"}},
		Parameters:   []string{"tools", "tool_choice", "parallel_tool_calls", "response_format", "structured_outputs", "stop", "web_search_options"},
	}
	if m.ContextWindow > 0 {
		o.TopProvider = &topProvider{m.ContextWindow}
	}
	if efforts := m.EffortNames(); len(efforts) > 0 {
		slices.Reverse(efforts)
		o.Reasoning = &reasoningLevels{!slices.Contains(efforts, "none"), efforts, m.DefaultEffort}
		o.Parameters = append(o.Parameters, "reasoning", "reasoning_effort")
	}
	if m.Verbosity {
		o.Parameters = append(o.Parameters, "verbosity")
	}
	return o
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
