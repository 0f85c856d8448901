package proxy

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"
)

// anthropicVersion is how Anthropic's callers are known, also where the address is another API's as well.
var anthropicVersion = []string{"Anthropic-Version", "2023-06-01"}

// TestClaudeCodeFindsModels asks as Claude Code 2.1.330 does when it discovers a gateway's models, and then asks each
// model that it would list: its name has "claude" in it, and what people see names the model that answers.
func TestClaudeCodeFindsModels(t *testing.T) {
	r := newRig(t, func(c *Config) {
		c.Aliases = map[string]string{"claude-sonnet": "gpt-5.5", "my-claude-fast": "gpt-5.5-low", "other": "gpt-5.5"}
	})
	status, header, answer, _ := r.do("GET", "/v1/models?limit=1000", "", anthropicVersion...)
	if status != 200 || header.Get("Location") != "" {
		t.Fatalf("%d %s", status, answer)
	}
	var ids []string
	for _, m := range get(answer, "data").Array() {
		id := m.Get("id").Str
		ids = append(ids, id)
		if !strings.Contains(id, "claude") || m.Get("type").Str != "model" || m.Get("created_at").Str == "" {
			t.Errorf("the entry %s", m.Raw)
		}
		status, said := r.post("/v1/messages", `{"model":"`+id+`","max_tokens":9,"messages":[{"role":"user","content":"hello"}]}`, anthropicVersion...)
		sent := r.backend.Requests("/responses")
		model := gjson.GetBytes(sent[len(sent)-1].Body, "model").Str
		name := gjson.GetBytes(r.backend.Models, `models.#(slug=="`+model+`").display_name`).Str
		if status != 200 || get(said, "model").Str != model || name == "" || !strings.HasPrefix(m.Get("display_name").Str, name) {
			t.Errorf("%s answers by %s %q: %d %s", m.Raw, model, name, status, said)
		}
	}
	for _, want := range []string{"claude-gpt-5.5", "claude-sonnet", "my-claude-fast"} {
		if !slices.Contains(ids, want) {
			t.Errorf("%s is not among %q", want, ids)
		}
	}
	if slices.Contains(ids, "other") || get(answer, "has_more").Raw != "false" || get(answer, "first_id").Str != ids[0] || get(answer, "last_id").Str != ids[len(ids)-1] {
		t.Errorf("the list %s", answer)
	}
}

// TestClaudeNamesOfModelsCarryAnEffort, and a name that the user has chosen wins.
func TestClaudeNamesOfModelsCarryAnEffort(t *testing.T) {
	r := newRig(t, func(c *Config) {
		c.Aliases = map[string]string{"claude": "gpt-6-sol", "claude-gpt-6-luna": "gpt-6-astra"}
	})
	for name, want := range map[string][2]string{
		"claude-gpt-5.5":      {"gpt-5.5", ""},
		"claude-gpt-5.5-high": {"gpt-5.5", "high"},
		"claude-gpt-6-luna":   {"gpt-6-astra", ""},
		"claude-opus-5":       {"gpt-6-sol", ""},
		"claude-gpt-1":        {"gpt-6-sol", ""},
	} {
		model, effort := r.server.Client.Models.Resolve(name, "")
		if model != want[0] || effort != want[1] {
			t.Errorf("%s means %q with %q", name, model, effort)
		}
	}
}

// TestOneModelInAnthropicsForm, and the words of Anthropic's API when there is none.
func TestOneModelInAnthropicsForm(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Aliases = map[string]string{"gone": "gpt-0"} })
	status, _, answer, _ := r.do("GET", "/v1/models/claude-gpt-5.5", "", anthropicVersion...)
	if status != 200 || get(answer, "id").Str != "claude-gpt-5.5" || get(answer, "type").Str != "model" || get(answer, "max_input_tokens").Int() < 1000 {
		t.Errorf("%d %s", status, answer)
	}
	status, _, answer, _ = r.do("GET", "/v1/models/gone", "", anthropicVersion...)
	if status != 404 || get(answer, "type").Str != "error" || get(answer, "error.type").Str != "not_found_error" {
		t.Errorf("%d %s", status, answer)
	}
	if _, _, answer, _ = r.do("GET", "/v1/models/gpt-5.5", ""); get(answer, "object").Str != "model" {
		t.Errorf("without the header: %s", answer)
	}
}

// TestModelsAreToldWhenTheBackendIsSlow: Claude Code waits three seconds, so the backend has one; a busy machine may take longer
// here, and without that limit it would be five.
func TestModelsAreToldWhenTheBackendIsSlow(t *testing.T) {
	r := newRig(t, func(c *Config) {
		c.HTTP = doer(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
	})
	began := time.Now()
	_, _, answer, _ := r.do("GET", "/v1/models?limit=1000", "", anthropicVersion...)
	if took := time.Since(began); took > 4500*time.Millisecond || len(get(answer, "data").Array()) == 0 {
		t.Errorf("after %v: %s", took, answer)
	}
}

// TestClaudeCodeWarmsItsConnection with a request for an address that Anthropic has.
func TestClaudeCodeWarmsItsConnection(t *testing.T) {
	r := newRig(t)
	if status, _, body, _ := r.do("HEAD", "/api/hello", ""); status != 200 || body != "" {
		t.Errorf("%d %q", status, body)
	}
}
