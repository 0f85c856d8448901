package openai

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/reply"
)

// completionRequest is a request of the old Completions API. Source: OpenAI API reference, completions.
type completionRequest struct {
	codex.Request
	stream       bool
	includeUsage bool
	prompts      []string
	suffix       string
	choices      int
	stops        []string
}

// completionParams is the one table of what a caller may send. What is not here is dropped.
var completionParams = map[string]func(*completionRequest, json.RawMessage) error{
	"model": func(c *completionRequest, v json.RawMessage) error { return c.SetParam("model", v) },
	"prompt": func(c *completionRequest, v json.RawMessage) error {
		var one string
		if json.Unmarshal(v, &one) == nil {
			c.prompts = []string{one}
		} else if json.Unmarshal(v, &c.prompts) != nil {
			return codex.Invalid("prompt", "prompt must be a string or a list of strings: lists of tokens are not available with a ChatGPT plan")
		}
		return nil
	},
	"suffix": reply.ParamInto("suffix", func(c *completionRequest) any { return &c.suffix }),
	"stream": reply.ParamInto("stream", func(c *completionRequest) any { return &c.stream }),
	"stream_options": func(c *completionRequest, v json.RawMessage) (err error) {
		c.includeUsage, err = includeUsage(v)
		return err
	},
	"n": reply.ParamInto("n", func(c *completionRequest) any { return &c.choices }),
	"stop": func(c *completionRequest, v json.RawMessage) (err error) {
		c.stops, err = reply.Stops("stop", v)
		return err
	},
	"echo": func(_ *completionRequest, v json.RawMessage) error {
		if string(v) == "true" {
			return codex.Invalid("echo", "echo is not available: put the prompt in front of the answer yourself")
		}
		return nil
	},
	"best_of": func(_ *completionRequest, v json.RawMessage) error {
		if string(v) != "1" {
			return codex.Invalid("best_of", "best_of is not available with a ChatGPT plan. Leave it out")
		}
		return nil
	},
}

func parseCompletion(body []byte) (*completionRequest, error) {
	c := &completionRequest{choices: 1}
	params, err := reply.Object(body)
	if err == nil {
		err = reply.ReadParams(c, params, completionParams, c.Drop)
	}
	switch {
	case err != nil:
		return c, err
	case len(c.prompts) == 0 || slices.Contains(c.prompts, ""):
		return c, codex.Invalid("prompt", "prompt is missing or empty. Send the text to be completed")
	case c.choices < 1 || c.choices*len(c.prompts) > mostChoices:
		return c, codex.Invalid("n", "n times the number of prompts must be from 1 to %d: each choice is a call of its own", mostChoices)
	}
	return c, nil
}

// request is the call for one prompt.
func (c *completionRequest) request(prompt string) *codex.Request {
	r := c.Request
	r.Instructions = codex.Continue
	if c.suffix != "" {
		r.Instructions = codex.FillIn
		prompt = codex.FillInPrompt(prompt, c.suffix)
	}
	r.Input = []json.RawMessage{codex.Message("user", prompt)}
	return &r
}

// Completions answers POST /v1/completions.
func (h *Handler) Completions(w http.ResponseWriter, r *http.Request, body []byte) reply.Outcome {
	c, err := parseCompletion(body)
	out := reply.Outcome{Model: c.Model, Streamed: c.stream, Dropped: c.Dropped}
	if err != nil {
		return h.fail(w, &c.Request, out, err)
	}
	var requests []*codex.Request
	for _, prompt := range c.prompts {
		requests = append(requests, slices.Repeat([]*codex.Request{c.request(prompt)}, c.choices)...)
	}
	streams, err := h.open(r.Context(), requests)
	if err != nil {
		return h.fail(w, &c.Request, out, err)
	}
	defer closeAll(streams)
	out.Began(requests[0], streams[0])
	head := newChatHead(out.Model)
	head.id = "cmpl-" + strings.TrimPrefix(head.id, "chatcmpl-")
	var to *reply.Stream
	send := reply.Discard
	if c.stream {
		to = streamTo(w, requests[0], streams[0])
		send = func(p []byte, more bool) error { return to.Send(p, more && len(streams) == 1) }
	}
	answers, each := make([]*completionAnswer, len(streams)), make([]codex.Tokens, len(streams))
	err = reply.Parallel(len(streams), func(i int) error {
		a := newCompletionAnswer(c, requests[i], head, i)
		answers[i] = a
		end, err := reply.Copy(streams[i], a, send)
		if err == nil {
			each[i] = end.Tokens
		}
		return err
	})
	out.Heard(streams...)
	for _, t := range each {
		out.Add(t)
	}
	if err != nil {
		return h.breakStream(w, &c.Request, to, out, err)
	}
	if c.stream {
		var end []byte
		if c.includeUsage {
			end = sseData(completionObject{head.id, "text_completion", head.created, head.model, []completionChoice{}, ptr(toUsage(out.Tokens))})
		}
		out.Gone = to.End(append(end, "data: [DONE]\n\n"...)) != nil
		return out
	}
	choices := make([]completionChoice, len(streams))
	for i, a := range answers {
		choices[i] = completionChoice{Index: i, Text: a.whole.String(), Reason: &a.reason}
	}
	reply.Announce(w.Header(), out.Dropped, streams[0].Header)
	out.Gone = writeObject(w, completionObject{head.id, "text_completion", head.created, head.model, choices, ptr(toUsage(out.Tokens))}) != nil
	return out
}

// completionAnswer is one choice on its way down.
type completionAnswer struct {
	events codex.EventHandler
	req    *codex.Request
	stop   *reply.Stopper
	hit    bool
	stream bool
	head   chatHead
	index  int
	out    []byte          // chunks to send
	whole  strings.Builder // of a buffered answer
	reason string
}

func newCompletionAnswer(c *completionRequest, req *codex.Request, head chatHead, index int) *completionAnswer {
	a := &completionAnswer{req: req, stop: reply.NewStopper(c.stops), stream: c.stream, head: head, index: index}
	a.events.Text = func(raw string) {
		if a.hit {
			return
		}
		piece := codex.Text(raw)
		if a.stop != nil {
			piece, a.hit = a.stop.Push(piece)
		}
		a.write(piece, nil)
	}
	return a
}

func (a *completionAnswer) write(text string, reason *string) {
	switch {
	case text == "" && reason == nil:
	case a.stream:
		a.out = append(a.out, sseData(completionObject{a.head.id, "text_completion", a.head.created, a.head.model, []completionChoice{{Index: a.index, Text: text, Reason: reason}}, nil})...)
	default:
		a.whole.WriteString(text)
	}
}

// Event is reply.Encoder's, as are the next three.
func (a *completionAnswer) Event(ev codex.Event) *codex.End { return a.events.Event(ev) }

// Stopped estimates what was used until a stop sequence.
func (a *completionAnswer) Stopped() *codex.End {
	if !a.hit {
		return nil
	}
	return a.events.Stopped(a.req)
}

// Finish writes what was held back, and the reason.
func (a *completionAnswer) Finish(end *codex.End, stopped bool) {
	if a.stop != nil && !stopped {
		a.write(a.stop.Rest(), nil)
	}
	a.reason = end.Reason
	a.write("", &a.reason)
}

// Take returns the chunks to send.
func (a *completionAnswer) Take() []byte {
	out := a.out
	a.out = a.out[:0]
	return out
}

type completionObject struct {
	ID      string             `json:"id"`
	Object  string             `json:"object"`
	Created int64              `json:"created"`
	Model   string             `json:"model"`
	Choices []completionChoice `json:"choices"`
	Usage   *usage             `json:"usage,omitempty"`
}

type completionChoice struct {
	Index    int       `json:"index"`
	Text     string    `json:"text"`
	Logprobs *struct{} `json:"logprobs"`
	Reason   *string   `json:"finish_reason"`
}

func ptr[T any](v T) *T { return &v }

func sseData(v any) []byte {
	return append(append([]byte("data: "), encode(v)...), '\n', '\n')
}
