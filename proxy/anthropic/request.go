// Package anthropic translates between Anthropic's Messages API and package codex.
package anthropic

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"

	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/reply"
)

// request is a Messages request on its way to the backend. Source: Anthropic API reference, messages.
type request struct {
	codex.Request

	stream   bool
	thinking bool // the caller wants to see it
	stops    []string
	omitted  bool // what the caller wants of it is no more than what brings it back
	names    codex.Names
	choice   choice
	search   string          // the name of the search tool, if there is one
	lacking  []string        // the tools that the backend does not have
	offered  map[string]bool // the functions, by the names that the backend has for them

	system   json.RawMessage
	messages []message
	effort   string // by thinking's budget
}

// params is the one table of what a caller may send. What is not here is dropped, as unknown betas are.
var params = map[string]func(*request, json.RawMessage) error{
	"model":  func(r *request, v json.RawMessage) error { return r.SetParam("model", v) },
	"stream": reply.ParamInto("stream", func(r *request) any { return &r.stream }),
	"system": func(r *request, v json.RawMessage) error { r.system = v; return nil },
	"messages": func(r *request, v json.RawMessage) error {
		var ok bool
		if r.messages, ok = readMessages(v); !ok {
			return codex.Invalid("messages", "messages has the wrong type: it is a list of objects with role and content")
		}
		return nil
	},
	"stop_sequences": func(r *request, v json.RawMessage) (err error) {
		r.stops, err = reply.Stops("stop_sequences", v)
		return err
	},
	"tools":         (*request).takeTools,
	"tool_choice":   (*request).takeChoice,
	"thinking":      (*request).takeThinking,
	"output_config": (*request).takeOutput,
	"metadata":      (*request).takeMetadata,
	"output_format": (*request).takeFormat,
	"thread":        (*request).takeThread,
	// Every caller must send it; the backend takes none.
	"max_tokens": func(r *request, _ json.RawMessage) error { r.Drop("max_tokens"); return nil },
}

// parse reads a request. Its header is nil where only the body counts.
func (h *Handler) parse(header http.Header, body []byte) (*request, error) {
	r := &request{names: codex.Names{}, offered: map[string]bool{}}
	r.Translated, r.Expected = true, []string{"max_tokens"}
	r.takeBetas(header)
	fields, err := reply.Object(body)
	if err == nil {
		err = reply.ReadParams(r, fields, params, r.Drop)
	}
	if err != nil {
		return r, err
	}
	if len(r.messages) == 0 {
		return r, codex.Invalid("messages", "messages is missing or empty. Send at least one message")
	}
	if r.Effort == "" {
		r.Effort = r.effort
	}
	if r.PromptCacheKey == "" {
		r.PromptCacheKey = header.Get("X-Claude-Code-Session-Id")
	}
	if r.thinking && !r.omitted {
		r.Summary = json.RawMessage(`"auto"`)
	}
	model, _ := h.Client.Models.Resolve(r.Model, "")
	if err := r.convert(h.Reasoning, model); err != nil {
		return r, err
	}
	return r, r.choose()
}

// betas are the capabilities that callers ask for by a header and have here without it, or that say who is asking.
// Source: platform.claude.com/docs, beta headers; seen from Claude Code 2.1.330.
var betas = []string{"adaptive-thinking", "claude-code", "computer-use", "effort", "fine-grained-tool-streaming", "inline-tools", "interleaved-thinking",
	"mid-conversation-system", "mid-conversation-tool-changes", "oauth", "output-128k", "pdfs", "prompt-caching", "search-results", "structured-outputs",
	"token-counting", "token-efficient-tools", "web-search"}

var betaVersion = regexp.MustCompile(`-\d{4}-?\d{2}-?\d{2}$`)

// takeBetas notes those that this proxy does not have.
func (r *request) takeBetas(header http.Header) {
	for _, line := range header.Values("Anthropic-Beta") {
		for beta := range strings.SplitSeq(line, ",") {
			beta = strings.TrimSpace(beta)
			if beta != "" && !slices.Contains(betas, betaVersion.ReplaceAllString(beta, "")) {
				r.Drop("anthropic-beta." + beta)
			}
		}
	}
}

// takeThread refuses to go on from an answer, since none are kept: the messages before it are not in the request. A thread
// that begins is whole. Source: Anthropic API reference, messages, thread; ThreadState of @anthropic-ai/sdk 1.12.0, which
// sends the whole conversation again when it is told that the thread is not there.
func (r *request) takeThread(v json.RawMessage) error {
	var thread struct {
		Type string `json:"type"`
	}
	switch {
	case json.Unmarshal(v, &thread) != nil || thread.Type != "create" && thread.Type != "continue":
		return codex.Invalid("thread", "thread must be an object whose type is create or continue")
	case thread.Type == "continue":
		return &codex.Error{Status: http.StatusNotFound, Type: "invalid_request_error", Code: threadNotFound, Param: "thread", Resent: true,
			Message: "This proxy keeps no threads. Send the whole conversation in messages"}
	}
	r.Drop("thread")
	return nil
}

func (r *request) takeThinking(v json.RawMessage) error {
	var t struct {
		Type    string `json:"type"`
		Budget  int    `json:"budget_tokens"`
		Display string `json:"display"`
	}
	if json.Unmarshal(v, &t) != nil {
		return codex.Invalid("thinking", "thinking must be an object with a type")
	}
	r.omitted = t.Display == "omitted"
	switch t.Type {
	case "disabled":
		r.effort = "none" // brought to the least that the model has
		r.Expected = append(r.Expected, codex.EffortParam)
	case "enabled":
		r.thinking = true
		switch {
		case t.Budget < 4096:
			r.effort = "low"
		case t.Budget < 16384:
			r.effort = "medium"
		default:
			r.effort = "high"
		}
	case "adaptive":
		r.thinking = true
	default:
		return codex.Invalid("thinking", "thinking.type must be enabled, adaptive or disabled")
	}
	return nil
}

func (r *request) takeOutput(v json.RawMessage) error {
	var config map[string]json.RawMessage
	if json.Unmarshal(v, &config) != nil {
		return codex.Invalid("output_config", "output_config must be an object")
	}
	return reply.ReadParams(r, config, outputParams, func(name string) { r.Drop("output_config." + name) })
}

var outputParams = map[string]func(*request, json.RawMessage) error{
	"effort": reply.ParamInto("output_config.effort", func(r *request) any { return &r.Effort }),
	"format": (*request).takeFormat,
}

func (r *request) takeFormat(v json.RawMessage) error {
	var f struct {
		Type   string          `json:"type"`
		Schema json.RawMessage `json:"schema"`
	}
	if json.Unmarshal(v, &f) != nil || f.Type != "json_schema" || len(f.Schema) == 0 {
		return codex.Invalid("output_config", "the output format must be of type json_schema and hold a schema")
	}
	schema, err := codex.ObjectSchema(f.Schema, false, "output_config.format.schema")
	if err != nil {
		return err
	}
	r.SetText("format", encode(map[string]any{"type": "json_schema", "name": "answer", "schema": schema, "strict": false}))
	return nil
}

// sessionID is Claude Code's name of a conversation, at the end of the user's id or, since 2.1, a field of it.
var sessionID = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?:_session_|"session_id":\s*")([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})`)
})

// takeMetadata keeps the requests of a conversation together, so that the backend finds their prompt in its cache. Who
// the user is stays here.
func (r *request) takeMetadata(v json.RawMessage) error {
	var metadata struct {
		UserID string `json:"user_id"`
	}
	if json.Unmarshal(v, &metadata) == nil {
		if found := sessionID().FindStringSubmatch(metadata.UserID); found != nil {
			r.PromptCacheKey = found[1]
			return nil
		}
	}
	r.Drop("metadata")
	return nil
}

func encode(v any) []byte { return reply.Encode(v) }
