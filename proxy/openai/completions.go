package openai

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

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

func parseCompletion(body []byte) (*completionRequest, error) {
	c := &completionRequest{choices: 1}
	params, err := readObject(body)
	if err != nil {
		return c, err
	}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		v := params[name]
		if string(v) == "null" {
			continue
		}
		switch name {
		case "model":
			err = c.SetParam(name, v)
		case "prompt":
			var one string
			if json.Unmarshal(v, &one) == nil {
				c.prompts = []string{one}
			} else if json.Unmarshal(v, &c.prompts) != nil {
				err = codex.Invalid("prompt", "prompt must be a string or a list of strings: lists of tokens are not available with a ChatGPT plan")
			}
		case "suffix":
			err = json.Unmarshal(v, &c.suffix)
		case "stream":
			c.stream = string(v) == "true"
		case "stream_options":
			var o struct {
				IncludeUsage bool `json:"include_usage"`
			}
			err = json.Unmarshal(v, &o)
			c.includeUsage = o.IncludeUsage
		case "n":
			err = json.Unmarshal(v, &c.choices)
		case "stop":
			var one string
			if json.Unmarshal(v, &one) == nil {
				c.stops = []string{one}
			} else {
				err = json.Unmarshal(v, &c.stops)
			}
			c.stops = without(c.stops, "")
		case "echo":
			if string(v) == "true" {
				err = codex.Invalid("echo", "echo is not available: put the prompt in front of the answer yourself")
			}
		case "best_of":
			if string(v) != "1" {
				err = codex.Invalid("best_of", "best_of is not available with a ChatGPT plan. Leave it out")
			}
		default:
			c.Drop(name)
		}
		var known *codex.Error
		if err != nil && !errors.As(err, &known) {
			err = codex.Invalid(name, "%s has the wrong type", name)
		}
		if err != nil {
			return c, err
		}
	}
	switch {
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
	start := time.Now()
	c, err := parseCompletion(body)
	out := reply.Outcome{Model: c.Model, Streamed: c.stream, Dropped: c.Dropped}
	if err == nil {
		err = reply.CheckStrict(h.Strict, c.Dropped)
	}
	if err != nil {
		return h.fail(w, &c.Request, out, err)
	}
	streams, err := h.openCompletions(r, c)
	if err != nil {
		return h.fail(w, &c.Request, out, err)
	}
	defer closeAll(streams)
	model, _ := h.Client.Models.Resolve(c.Model, "")
	head := newChatHead(model)
	head.id = "cmpl-" + strings.TrimPrefix(head.id, "chatcmpl-")
	out.Model = model
	to := reply.NewStream(w, start, func(hd http.Header) {
		reply.SSE(hd)
		reply.Announce(hd, c.Dropped, streams[0].Header)
	})
	texts, reasons, usages, errs := make([]strings.Builder, len(streams)), make([]string, len(streams)), make([]usage, len(streams)), make([]error, len(streams))
	var wait sync.WaitGroup
	for i, s := range streams {
		wait.Go(func() {
			usages[i], reasons[i], errs[i] = complete(s, c, func(text string) error {
				if !c.stream {
					texts[i].WriteString(text)
					return nil
				}
				return to.Send(sseData(completionChunk(head, i, text, nil)), s.Buffered())
			})
			if c.stream && errs[i] == nil {
				errs[i] = to.Send(sseData(completionChunk(head, i, "", &reasons[i])), false)
			}
		})
	}
	wait.Wait()
	total := sum(usages)
	out.InputTokens, out.CachedTokens, out.OutputTokens = total.Prompt, total.PromptDetails.Cached, total.Completion
	out.FirstToken = to.FirstToken()
	if err := errors.Join(errs...); err != nil {
		return h.breakChat(w, &chatRequest{Request: c.Request}, to, out, err)
	}
	if c.stream {
		var end []byte
		if c.includeUsage {
			end = sseData(map[string]any{"id": head.id, "object": "text_completion", "created": head.created, "model": head.model, "choices": []any{}, "usage": total})
		}
		out.Gone = to.Send(append(end, "data: [DONE]\n\n"...), false) != nil
		return out
	}
	choices := make([]any, len(streams))
	for i := range streams {
		choices[i] = completionChoice(i, texts[i].String(), &reasons[i])
	}
	reply.Announce(w.Header(), c.Dropped, streams[0].Header)
	w.Header().Set("Content-Type", "application/json")
	_, err = w.Write(encode(map[string]any{"id": head.id, "object": "text_completion", "created": head.created, "model": head.model, "choices": choices, "usage": total}))
	out.Gone = err != nil
	return out
}

func (h *Handler) openCompletions(r *http.Request, c *completionRequest) ([]*codex.Stream, error) {
	var streams []*codex.Stream
	for _, prompt := range c.prompts {
		for range c.choices {
			s, err := h.Client.Stream(r.Context(), c.request(prompt))
			if err != nil {
				closeAll(streams)
				return nil, err
			}
			streams = append(streams, s)
		}
	}
	return streams, nil
}

// complete reads one answer to its end, or to a stop sequence.
func complete(s *codex.Stream, c *completionRequest, write func(string) error) (usage, string, error) {
	stop := reply.NewStopper(c.stops)
	var failed error
	hit, size := false, 0
	events := &codex.EventHandler{Text: func(raw string) {
		var piece string
		if failed != nil || hit || json.Unmarshal([]byte(raw), &piece) != nil {
			return
		}
		size += len(piece)
		if stop != nil {
			piece, hit = stop.Push(piece)
		}
		if piece != "" {
			failed = write(piece)
		}
	}}
	for {
		ev, err := s.Next()
		if err == io.EOF { //nolint:errorlint // Next returns it bare
			err = codex.Broken()
		}
		if err != nil {
			return usage{}, "", err
		}
		end, err := events.Event(ev)
		if err == nil {
			err = failed
		}
		if err != nil {
			return usage{}, "", err
		}
		if hit {
			u := usage{Prompt: c.request(c.prompts[0]).Estimate(), Completion: int64(size / 4)}
			u.Total = u.Prompt + u.Completion
			return u, "stop", nil
		}
		if end != nil {
			if stop != nil {
				if rest := stop.Rest(); rest != "" {
					err = write(rest)
				}
			}
			return readUsage(ev.Data), end.Reason, err
		}
	}
}

func completionChoice(index int, text string, reason *string) map[string]any {
	return map[string]any{"index": index, "text": text, "logprobs": nil, "finish_reason": reason}
}

func completionChunk(head chatHead, index int, text string, reason *string) map[string]any {
	return map[string]any{"id": head.id, "object": "text_completion", "created": head.created, "model": head.model,
		"choices": []any{completionChoice(index, text, reason)}}
}

func sseData(v any) []byte {
	return append(append([]byte("data: "), encode(v)...), '\n', '\n')
}
