package openai

import (
	"encoding/json"
	"io"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"codex-proxy/proxy/codex"
)

// chatFold collects one choice of a buffered answer.
type chatFold struct {
	t         *chatStream // counts calls, keeps reasoning, looks for stop sequences
	index     int
	content   strings.Builder
	refusal   strings.Builder
	reasoning strings.Builder
	spoke     bool // the present message's text or refusal came in pieces
	items     codex.Items
	links     []json.RawMessage
}

func newChatFold(c *chatRequest, head chatHead, index int) *chatFold {
	return &chatFold{t: newChatStream(c, head, index), index: index}
}

// run reads the answer to its end.
func (f *chatFold) run(s *codex.Stream, cache *codex.ReasoningCache) (chatChoice, usage, error) {
	for {
		ev, err := s.Next()
		if err == io.EOF { //nolint:errorlint // Next returns it bare
			err = codex.Broken()
		}
		if err != nil {
			return chatChoice{}, usage{}, err
		}
		f.items.Add(ev)
		switch ev.Type {
		case codex.TypeTextDelta:
			f.spoke = true
			if f.text(gjson.GetBytes(ev.Data, "delta").String()) {
				return f.choice("stop"), f.t.estimate(), nil
			}
		case codex.TypeRefusalDelta:
			f.spoke = true
			f.refusal.WriteString(gjson.GetBytes(ev.Data, "delta").String())
		case codex.TypeReasoningPart:
			if f.reasoning.Len() > 0 {
				f.reasoning.WriteString("\n\n")
			}
		case codex.TypeReasoningDelta, codex.TypeReasoningText:
			f.reasoning.WriteString(gjson.GetBytes(ev.Data, "delta").String())
		case codex.TypeAnnotation:
			if a := annotation(gjson.GetBytes(ev.Data, "annotation")); a != nil {
				f.links = append(f.links, a)
			}
		case codex.TypeItemAdded:
			f.t.itemAdded(nil, ev.Data)
		case codex.TypeItemDone:
			if gjson.GetBytes(ev.Data, "item.type").Str != "message" {
				f.t.itemDone(nil, ev.Data)
			} else if f.message(ev.Data) {
				return f.choice("stop"), f.t.estimate(), nil
			}
		case codex.TypeFailed, codex.TypeError:
			return chatChoice{}, usage{}, codex.FailureOf(ev.Data, time.Now())
		case codex.TypeCompleted, codex.TypeIncomplete:
			if f.t.stop != nil {
				f.content.WriteString(f.t.stop.Rest())
			}
			f.t.remember(cache)
			return f.choice(f.t.reason(ev.Data)), readUsage(ev.Data), nil
		}
	}
}

// text takes a piece of the answer and reports whether a stop sequence ended it.
func (f *chatFold) text(s string) bool {
	f.t.written += len(s)
	hit := false
	if f.t.stop != nil {
		s, hit = f.t.stop.Push(s)
	}
	f.content.WriteString(s)
	return hit
}

// message takes a finished message, where its text did not come in pieces, and reports whether a stop sequence ended it.
func (f *chatFold) message(data []byte) (stopped bool) {
	if !f.spoke {
		for _, part := range gjson.GetBytes(data, "item.content").Array() {
			stopped = stopped || f.text(part.Get("text").String())
			f.refusal.WriteString(part.Get("refusal").String())
		}
	}
	f.spoke = false
	return stopped
}

func (f *chatFold) choice(reason string) chatChoice {
	m := chatAnswer{Role: "assistant", Reasoning: f.reasoning.String(), Annotations: f.links}
	for _, raw := range f.items.All() {
		item := gjson.ParseBytes(raw)
		name := f.t.req.names.Original(item.Get("name").Str)
		switch item.Get("type").Str {
		case "function_call":
			call := functionCall{name, item.Get("arguments").Str}
			if f.t.req.legacy {
				m.FunctionCall = &call
				continue
			}
			m.ToolCalls = append(m.ToolCalls, encode(struct {
				ID       string       `json:"id"`
				Type     string       `json:"type"`
				Function functionCall `json:"function"`
			}{item.Get("call_id").Str, "function", call}))
		case "custom_tool_call":
			type custom struct {
				Name  string `json:"name"`
				Input string `json:"input"`
			}
			m.ToolCalls = append(m.ToolCalls, encode(struct {
				ID     string `json:"id"`
				Type   string `json:"type"`
				Custom custom `json:"custom"`
			}{item.Get("call_id").Str, "custom", custom{name, item.Get("input").Str}}))
		}
	}
	if text := f.content.String(); text != "" || (m.ToolCalls == nil && m.FunctionCall == nil && f.refusal.Len() == 0) {
		m.Content = &text
	}
	if f.refusal.Len() > 0 {
		m.Refusal = optional(f.refusal.String())
	}
	return chatChoice{Index: f.index, Message: m, FinishReason: reason}
}
