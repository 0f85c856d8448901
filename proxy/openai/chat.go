package openai

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/reply"
)

// Chat answers POST /v1/chat/completions.
func (h *Handler) Chat(w http.ResponseWriter, r *http.Request, body []byte) reply.Outcome {
	c, err := h.parseChat(body)
	out := reply.Outcome{Model: c.Model, Streamed: c.stream, Dropped: c.Dropped}
	if err != nil {
		return h.fail(w, &c.Request, out, err)
	}
	streams, err := h.open(r.Context(), slices.Repeat([]*codex.Request{&c.Request}, c.choices))
	if err != nil {
		return h.fail(w, &c.Request, out, err)
	}
	defer closeAll(streams)
	out.Began(&c.Request, streams[0])
	head := newChatHead(out.Model)
	if c.stream {
		return h.streamChat(w, c, streams, head, out)
	}
	return h.bufferChat(w, c, streams, head, out)
}

// open starts a call upstream for each request.
func (h *Handler) open(ctx context.Context, requests []*codex.Request) ([]*codex.Stream, error) {
	var streams []*codex.Stream
	for _, r := range requests {
		s, err := h.Client.Stream(ctx, r)
		if err != nil {
			closeAll(streams)
			return nil, err
		}
		streams = append(streams, s)
	}
	return streams, nil
}

func closeAll(streams []*codex.Stream) {
	for _, s := range streams {
		s.Close()
	}
}

// streamTo is a stream of server-sent events that begins with what all dialects of OpenAI tell in headers.
func streamTo(w http.ResponseWriter, r *codex.Request, s *codex.Stream) *reply.Stream {
	to := reply.NewStream(w, func(head http.Header) {
		reply.SSE(head)
		reply.Announce(head, r.Dropped, s.Header)
	})
	s.OnQuiet(func() { to.KeepAlive(nil, reply.Comment) })
	return to
}

// streamChat writes chunks as the events come, for several choices at once as they come from each.
func (h *Handler) streamChat(w http.ResponseWriter, c *chatRequest, streams []*codex.Stream, head chatHead, out reply.Outcome) reply.Outcome {
	to := streamTo(w, &c.Request, streams[0])
	used, err := h.copyChat(c, streams, head.model,
		func(i int) chatWriter { return newChatChunks(c, head, i) },
		func(p []byte, more bool) error { return to.Send(p, more && len(streams) == 1) })
	out.Heard(streams...)
	out.Tokens = used
	if err != nil {
		return h.breakStream(w, &c.Request, to, out, err)
	}
	var end []byte
	if c.includeUsage {
		end = head.usageChunk(toUsage(used))
	}
	out.Gone = to.End(append(end, "data: [DONE]\n\n"...)) != nil
	return out
}

// bufferChat collects the whole answer. The events are the same; they go to another writer.
func (h *Handler) bufferChat(w http.ResponseWriter, c *chatRequest, streams []*codex.Stream, head chatHead, out reply.Outcome) reply.Outcome {
	messages := make([]*chatMessageWriter, len(streams))
	for i := range messages {
		messages[i] = newChatMessageWriter(c)
	}
	used, err := h.copyChat(c, streams, head.model, func(i int) chatWriter { return messages[i] }, reply.Discard)
	out.Heard(streams...)
	out.Tokens = used
	if err != nil {
		return h.fail(w, &c.Request, out, err)
	}
	choices := make([]chatChoice, len(streams))
	for i, m := range messages {
		choices[i] = m.choice(i)
	}
	reply.Announce(w.Header(), c.Dropped, streams[0].Header)
	out.Gone = writeObject(w, chatCompletion{head.id, "chat.completion", head.created, head.model, choices, toUsage(used)}) != nil
	return out
}

// copyChat reads every choice to its end and returns what they used.
func (h *Handler) copyChat(c *chatRequest, streams []*codex.Stream, model string, writer func(i int) chatWriter, send func([]byte, bool) error) (used codex.Tokens, err error) {
	each := make([]codex.Tokens, len(streams))
	err = reply.Parallel(len(streams), func(i int) error {
		a := newChatAnswer(c, writer(i))
		end, err := reply.Copy(streams[i], a, send)
		if err == nil {
			each[i] = end.Tokens
			a.events.Remember(h.Reasoning, model)
		}
		return err
	})
	for _, t := range each {
		used.Add(t)
	}
	return used, err
}

// breakStream ends an answer that failed: as an HTTP error while nothing has been sent, else by an error chunk and a
// connection that is cut, never by [DONE].
func (h *Handler) breakStream(w http.ResponseWriter, r *codex.Request, to *reply.Stream, out reply.Outcome, err error) reply.Outcome {
	e := out.Break(to, r, err, func(e *codex.Error) []byte {
		return append(append([]byte("data: "), errorJSON(e)...), '\n', '\n')
	})
	if e != nil {
		writeFailure(w, r, e)
	}
	return out
}

// chatHead is what the chunks of one answer share.
type chatHead struct {
	id      string
	created int64
	model   string
}

func newChatHead(model string) chatHead {
	var b [12]byte
	rand.Read(b[:])
	return chatHead{"chatcmpl-" + hex.EncodeToString(b[:]), time.Now().Unix(), model}
}

// opening is a chunk up to its choices.
func (c chatHead) opening() []byte {
	b := []byte(`data: {"id":"` + c.id + `","object":"chat.completion.chunk","created":`)
	b = append(b, encode(c.created)...)
	b = append(b, `,"model":`...)
	return append(append(b, encode(c.model)...), `,"choices":[`...)
}

func (c chatHead) usageChunk(u usage) []byte {
	b := append(c.opening(), `],"usage":`...)
	return append(append(b, encode(u)...), "}\n\n"...)
}

// chatCompletion is a buffered answer. Source: OpenAI API reference, chat completions.
type chatCompletion struct {
	ID      string       `json:"id"`
	Object  string       `json:"object"`
	Created int64        `json:"created"`
	Model   string       `json:"model"`
	Choices []chatChoice `json:"choices"`
	Usage   usage        `json:"usage"`
}

type chatChoice struct {
	Index        int       `json:"index"`
	Message      chatReply `json:"message"`
	Logprobs     *struct{} `json:"logprobs"`
	FinishReason string    `json:"finish_reason"`
}

type chatReply struct {
	Role         string            `json:"role"`
	Content      *string           `json:"content"`
	Refusal      *string           `json:"refusal"`
	Reasoning    string            `json:"reasoning_content,omitempty"`
	Annotations  []json.RawMessage `json:"annotations,omitempty"`
	Images       []chatImage       `json:"images,omitempty"`
	ToolCalls    []json.RawMessage `json:"tool_calls,omitempty"`
	FunctionCall *functionCall     `json:"function_call,omitempty"`
}

type usage struct {
	Prompt        int64 `json:"prompt_tokens"`
	Completion    int64 `json:"completion_tokens"`
	Total         int64 `json:"total_tokens"`
	PromptDetails struct {
		Cached int64 `json:"cached_tokens"`
	} `json:"prompt_tokens_details"`
	CompletionDetails struct {
		Reasoning int64 `json:"reasoning_tokens"`
	} `json:"completion_tokens_details"`
}

func toUsage(t codex.Tokens) usage {
	u := usage{Prompt: t.Input, Completion: t.Output, Total: t.Input + t.Output}
	u.PromptDetails.Cached, u.CompletionDetails.Reasoning = t.Cached, t.Reasoning
	return u
}
