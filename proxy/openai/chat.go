package openai

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/reply"
)

// Chat answers POST /v1/chat/completions.
func (h *Handler) Chat(w http.ResponseWriter, r *http.Request, body []byte) reply.Outcome {
	start := time.Now()
	c, err := h.parseChat(body)
	out := reply.Outcome{Model: c.Model, Streamed: c.stream, Dropped: c.Dropped}
	if err == nil {
		err = reply.CheckStrict(h.Strict, c.Dropped)
	}
	if err != nil {
		return h.fail(w, &c.Request, out, err)
	}
	streams, err := h.open(r, c)
	out.Dropped = c.Dropped
	if err != nil {
		return h.fail(w, &c.Request, out, err)
	}
	defer closeAll(streams)
	head := newChatHead(h.modelName(c))
	out.Model = head.model
	if c.stream {
		return h.streamChat(w, c, streams, head, out, start)
	}
	return h.bufferChat(w, c, streams, head, out)
}

// open starts one call upstream for each choice.
func (h *Handler) open(r *http.Request, c *chatRequest) ([]*codex.Stream, error) {
	first, err := h.Client.Stream(r.Context(), &c.Request)
	if err != nil {
		return nil, err
	}
	streams := make([]*codex.Stream, c.choices)
	streams[0] = first
	for i := 1; i < c.choices; i++ {
		if streams[i], err = h.Client.Stream(r.Context(), &c.Request); err != nil {
			closeAll(streams[:i])
			return nil, err
		}
	}
	return streams, nil
}

func closeAll(streams []*codex.Stream) {
	for _, s := range streams {
		s.Close()
	}
}

func (h *Handler) modelName(c *chatRequest) string {
	id, _ := h.Client.Models.Resolve(c.Model, "")
	return id
}

// streamChat writes chunks as the events come, for several choices at once as they come from each.
func (h *Handler) streamChat(w http.ResponseWriter, c *chatRequest, streams []*codex.Stream, head chatHead, out reply.Outcome, start time.Time) reply.Outcome {
	to := reply.NewStream(w, start, func(hd http.Header) {
		reply.SSE(hd)
		reply.Announce(hd, c.Dropped, streams[0].Header)
	})
	usages := make([]usage, len(streams))
	errs := make([]error, len(streams))
	var wait sync.WaitGroup
	for i, s := range streams {
		if i == 0 {
			s.OnQuiet(func() { to.KeepAlive(reply.Comment) })
			continue
		}
		wait.Add(1)
		go func() {
			defer wait.Done()
			usages[i], errs[i] = h.copyChat(to, s, newChatStream(c, head, i))
		}()
	}
	usages[0], errs[0] = h.copyChat(to, streams[0], newChatStream(c, head, 0))
	wait.Wait()
	out.FirstToken = to.FirstToken()
	total := sum(usages)
	out.InputTokens, out.CachedTokens, out.OutputTokens = total.Prompt, total.PromptDetails.Cached, total.Completion
	if err := errors.Join(errs...); err != nil {
		return h.breakChat(w, c, to, out, err)
	}
	var end []byte
	if c.includeUsage {
		end = head.usageChunk(total)
	}
	out.Gone = to.Send(append(end, "data: [DONE]\n\n"...), false) != nil
	return out
}

// copyChat writes one choice to its end. The error is an *Error, or another one when the caller has gone.
func (h *Handler) copyChat(to *reply.Stream, s *codex.Stream, t *chatStream) (usage, error) {
	buf := make([]byte, 0, 512)
	for {
		ev, err := s.Next()
		if err == io.EOF { //nolint:errorlint // Next returns it bare
			return t.usage, nil
		}
		if err != nil {
			return t.usage, err
		}
		buf, err = t.event(buf[:0], ev)
		if err != nil {
			return t.usage, err
		}
		if len(buf) > 0 {
			if err := to.Send(buf, s.Buffered() && !t.finished); err != nil {
				return t.usage, err
			}
		}
		if t.finished {
			t.remember(h.Reasoning)
			return t.usage, nil
		}
	}
}

// breakChat ends an answer that failed: as an HTTP error while nothing has been sent, else by an error chunk and a
// connection that is cut, never by [DONE].
func (h *Handler) breakChat(w http.ResponseWriter, c *chatRequest, to *reply.Stream, out reply.Outcome, err error) reply.Outcome {
	if !to.Began() {
		return h.fail(w, &c.Request, out, err)
	}
	var e *codex.Error
	if !errors.As(err, &e) {
		out.Gone = true
		return out
	}
	out.Err, out.Cut = e, true
	to.Send(append(append([]byte("data: "), errorJSON(e)...), '\n', '\n'), false) //nolint:errcheck // it is cut next
	return out
}

// bufferChat collects the whole answer. The events are the same; they are folded instead of passed on.
func (h *Handler) bufferChat(w http.ResponseWriter, c *chatRequest, streams []*codex.Stream, head chatHead, out reply.Outcome) reply.Outcome {
	choices := make([]chatChoice, len(streams))
	usages := make([]usage, len(streams))
	errs := make([]error, len(streams))
	var wait sync.WaitGroup
	for i, s := range streams {
		wait.Add(1)
		go func() {
			defer wait.Done()
			f := newChatFold(c, head, i)
			choices[i], usages[i], errs[i] = f.run(s, h.Reasoning)
		}()
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		return h.fail(w, &c.Request, out, err)
	}
	total := sum(usages)
	out.InputTokens, out.CachedTokens, out.OutputTokens = total.Prompt, total.PromptDetails.Cached, total.Completion
	reply.Announce(w.Header(), c.Dropped, streams[0].Header)
	w.Header().Set("Content-Type", "application/json")
	_, err := w.Write(encode(chatCompletion{head.id, "chat.completion", head.created, head.model, choices, total}))
	out.Gone = err != nil
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
	Index        int        `json:"index"`
	Message      chatAnswer `json:"message"`
	Logprobs     *struct{}  `json:"logprobs"`
	FinishReason string     `json:"finish_reason"`
}

type chatAnswer struct {
	Role         string            `json:"role"`
	Content      *string           `json:"content"`
	Refusal      *string           `json:"refusal"`
	Reasoning    string            `json:"reasoning_content,omitempty"`
	Annotations  []json.RawMessage `json:"annotations,omitempty"`
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

func sum(all []usage) usage {
	var t usage
	for _, u := range all {
		t.Prompt += u.Prompt
		t.Completion += u.Completion
		t.Total += u.Total
		t.PromptDetails.Cached += u.PromptDetails.Cached
		t.CompletionDetails.Reasoning += u.CompletionDetails.Reasoning
	}
	return t
}
