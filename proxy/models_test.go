package proxy

import (
	"net/http"
	"strings"
	"testing"
)

func TestTheDefaultEffortGoesUpAndIsToldToEditors(t *testing.T) {
	r := newRig(t, func(c *Config) { c.DefaultEffort = "high" })
	for body, want := range map[string]string{
		`{"model":"gpt-5.5","messages":[{"role":"user","content":"hi"}]}`:                          "high",
		`{"model":"gpt-5.5","reasoning_effort":"low","messages":[{"role":"user","content":"hi"}]}`: "low",
		`{"model":"gpt-5.5-medium","messages":[{"role":"user","content":"hi"}]}`:                   "medium",
	} {
		if status, _, answer, _ := r.do(http.MethodPost, "/v1/chat/completions", body); status != http.StatusOK {
			t.Fatalf("%d %s", status, answer)
		}
		sent := r.backend.Requests("/codex/responses")
		if got := get(string(sent[len(sent)-1].Body), "reasoning.effort").Str; got != want {
			t.Errorf("%s went up with the effort %q, want %q", body, got, want)
		}
	}
	if _, _, list, _ := r.do(http.MethodGet, "/v1/models", ""); get(list, `data.#(id=="gpt-5.5").reasoning.default_effort`).Str != "high" {
		t.Errorf("the list says %s", get(list, `data.#(id=="gpt-5.5").reasoning`).Raw)
	}
}

// TestTheListOfModelsTellsWhatEditorsRead, as the backend's own list says it, and nothing that this does not say.
func TestTheListOfModelsTellsWhatEditorsRead(t *testing.T) {
	r := newRig(t)
	r.backend.Models = []byte(`{"models":[
		{"slug":"gpt-full","display_name":"Full","description":"All of it.","visibility":"list","context_window":272000,"input_modalities":["text","image"],"support_verbosity":true,
		 "default_reasoning_level":"low","supported_reasoning_levels":[{"effort":"low","description":"x"},{"effort":"max"},{"effort":"medium"},{"effort":"ultra"}]},
		{"slug":"gpt-bare","visibility":"list","supported_reasoning_levels":[{"effort":"none"},{"effort":"high"}]},
		{"slug":"gpt-plain","visibility":"list"}]}`)
	_, _, list, _ := r.do(http.MethodGet, "/v1/models", "")
	for id, want := range map[string]string{
		"gpt-full": `{"id":"gpt-full","object":"model","created":1735689600,"owned_by":"openai","name":"Full","description":"All of it.","context_window":272000,"context_length":272000,"max_model_len":272000,` +
			`"top_provider":{"context_length":272000},"architecture":{"modality":"text+image->text","input_modalities":["text","image"],"output_modalities":["text"]},` +
			`"supported_parameters":["tools","tool_choice","parallel_tool_calls","response_format","structured_outputs","stop","web_search_options","reasoning","reasoning_effort","verbosity"],` +
			`"reasoning":{"mandatory":true,"supported_efforts":["max","medium","low"],"default_effort":"low"}}`,
		"gpt-bare": `{"id":"gpt-bare","object":"model","created":1735689600,"owned_by":"openai","architecture":{"modality":"text->text","input_modalities":["text"],"output_modalities":["text"]},` +
			`"supported_parameters":["tools","tool_choice","parallel_tool_calls","response_format","structured_outputs","stop","web_search_options","reasoning","reasoning_effort"],` +
			`"reasoning":{"mandatory":false,"supported_efforts":["high","none"]}}`,
		"gpt-plain": `{"id":"gpt-plain","object":"model","created":1735689600,"owned_by":"openai","architecture":{"modality":"text->text","input_modalities":["text"],"output_modalities":["text"]},` +
			`"supported_parameters":["tools","tool_choice","parallel_tool_calls","response_format","structured_outputs","stop","web_search_options"]}`,
	} {
		if got := get(list, `data.#(id=="`+id+`")`).Raw; got != want {
			t.Errorf("%s:\n%s\nwant\n%s", id, got, want)
		}
		if _, _, one, _ := r.do(http.MethodGet, "/v1/models/"+id, ""); strings.TrimSpace(one) != want {
			t.Errorf("alone:\n%s\nwant\n%s", one, want)
		}
	}
}
