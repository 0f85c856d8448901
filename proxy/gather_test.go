package proxy

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
)

// gathered is what an answer says, whatever its dialect and whether it was streamed.
type gathered struct {
	text, thinking, refusal string
	calls                   []string // name and arguments
	finish                  string
	in, cached, out         int64
}

func (g *gathered) call(name, arguments string) {
	var v any
	if json.Unmarshal([]byte(arguments), &v) == nil {
		raw, _ := json.Marshal(v)
		arguments = string(raw)
	}
	g.calls = append(g.calls, name+" "+arguments)
}

// gather reads an answer as a client of the dialect would.
func gather(t testing.TB, dialect, answer string, stream bool) (g gathered) {
	t.Helper()
	parse := func(s string) gjson.Result {
		if !gjson.Valid(s) {
			t.Errorf("%s: not JSON: %q", dialect, s)
		}
		return gjson.Parse(s)
	}
	switch {
	case dialect == "chat" && stream:
		_, data := sseEvents(answer)
		names, arguments := map[int64]string{}, map[int64]string{}
		most := int64(-1)
		for _, d := range data {
			if d == "[DONE]" {
				continue
			}
			doc := parse(d)
			c := doc.Get("choices.0")
			g.text += c.Get("delta.content").String()
			g.thinking += c.Get("delta.reasoning_content").String()
			g.refusal += c.Get("delta.refusal").String()
			for _, call := range c.Get("delta.tool_calls").Array() {
				i := call.Get("index").Int()
				most = max(most, i)
				names[i] += call.Get("function.name").String() + call.Get("custom.name").String()
				arguments[i] += call.Get("function.arguments").String() + call.Get("custom.input").String()
			}
			g.finish += c.Get("finish_reason").String()
			g.usage(doc.Get("usage"))
		}
		for i := range most + 1 {
			g.call(names[i], arguments[i])
		}
	case dialect == "chat":
		doc := parse(answer)
		m := doc.Get("choices.0.message")
		g.text, g.thinking, g.refusal, g.finish = m.Get("content").String(), m.Get("reasoning_content").String(), m.Get("refusal").String(), doc.Get("choices.0.finish_reason").Str
		for _, call := range m.Get("tool_calls").Array() {
			g.call(call.Get("function.name").String()+call.Get("custom.name").String(), call.Get("function.arguments").String()+call.Get("custom.input").String())
		}
		g.usage(doc.Get("usage"))
	case dialect == "completions":
		docs := []string{answer}
		if stream {
			_, docs = sseEvents(answer)
		}
		for _, d := range docs {
			if d == "[DONE]" {
				continue
			}
			doc := parse(d)
			g.text += doc.Get("choices.0.text").String()
			g.finish += doc.Get("choices.0.finish_reason").String()
			g.usage(doc.Get("usage"))
		}
	case dialect == "responses":
		object := answer
		if stream {
			_, data := sseEvents(answer)
			object = parse(data[len(data)-1]).Get("response").Raw
		}
		doc := parse(object)
		for _, item := range doc.Get("output").Array() {
			switch item.Get("type").Str {
			case "message":
				for _, part := range item.Get("content").Array() {
					g.text += part.Get("text").String()
					g.refusal += part.Get("refusal").String()
				}
			case "function_call", "custom_tool_call":
				g.call(item.Get("name").Str, item.Get("arguments").String()+item.Get("input").String())
			}
		}
		g.finish = doc.Get("status").Str
		g.in, g.cached, g.out = doc.Get("usage.input_tokens").Int(), doc.Get("usage.input_tokens_details.cached_tokens").Int(), doc.Get("usage.output_tokens").Int()
	case dialect == "messages" && stream:
		types, data := sseEvents(answer)
		blocks, open := []gjson.Result{}, false
		var input string
		for i, d := range data {
			doc := parse(d)
			switch types[i] {
			case "content_block_start":
				if open || doc.Get("index").Int() != int64(len(blocks)) {
					t.Errorf("%s: a block begins inside another: %s", dialect, answer)
				}
				blocks, input, open = append(blocks, doc.Get("content_block")), "", true
			case "content_block_delta":
				if !open || doc.Get("index").Int() != int64(len(blocks)-1) {
					t.Errorf("%s: a piece of a block that is not open: %s", dialect, answer)
				}
				g.text += doc.Get("delta.text").String()
				g.thinking += doc.Get("delta.thinking").String()
				input += doc.Get("delta.partial_json").String()
			case "content_block_stop":
				open = false
				if b := blocks[len(blocks)-1]; b.Get("type").Str == "tool_use" {
					if input == "" {
						input = "{}"
					}
					g.call(b.Get("name").Str, input)
				}
			case "message_delta":
				g.finish = doc.Get("delta.stop_reason").Str
				g.usage(doc.Get("usage"))
			}
		}
	case dialect == "messages":
		doc := parse(answer)
		for _, b := range doc.Get("content").Array() {
			g.text += b.Get("text").String()
			g.thinking += b.Get("thinking").String()
			if b.Get("type").Str == "tool_use" {
				g.call(b.Get("name").Str, b.Get("input").Raw)
			}
		}
		g.finish = doc.Get("stop_reason").Str
		g.usage(doc.Get("usage"))
	case dialect == "gemini" || dialect == "array":
		docs := []string{answer}
		switch {
		case stream && dialect == "gemini":
			_, docs = sseEvents(answer)
		case stream:
			docs = nil
			for _, doc := range parse(answer).Array() {
				docs = append(docs, doc.Raw)
			}
		}
		for i, d := range docs {
			doc := parse(d)
			c := doc.Get("candidates.0")
			if len(c.Get("content.parts").Array()) == 0 || g.finish != "" {
				t.Errorf("%s: chunk %d has no part, or comes after the end: %s", dialect, i, answer)
			}
			for _, p := range c.Get("content.parts").Array() {
				switch {
				case p.Get("functionCall").Exists():
					g.call(p.Get("functionCall.name").Str, p.Get("functionCall.args").Raw)
				case p.Get("thought").Bool():
					g.thinking += p.Get("text").String()
				default:
					g.text += p.Get("text").String()
				}
			}
			g.finish = c.Get("finishReason").Str
			g.usage(doc.Get("usageMetadata"))
		}
	default:
		for _, line := range strings.Split(strings.TrimSpace(answer), "\n") {
			doc := parse(line)
			g.text += doc.Get("message.content").String() + doc.Get("response").String()
			g.thinking += doc.Get("message.thinking").String() + doc.Get("thinking").String()
			for _, call := range doc.Get("message.tool_calls").Array() {
				g.call(call.Get("function.name").Str, call.Get("function.arguments").Raw)
			}
			g.finish += doc.Get("done_reason").String()
			g.in, g.out = g.in+doc.Get("prompt_eval_count").Int(), g.out+doc.Get("eval_count").Int()
		}
	}
	return g
}

func (g *gathered) usage(u gjson.Result) {
	if !u.IsObject() {
		return
	}
	if u.Get("totalTokenCount").Exists() {
		g.in, g.cached, g.out = u.Get("promptTokenCount").Int(), u.Get("cachedContentTokenCount").Int(), u.Get("candidatesTokenCount").Int()+u.Get("thoughtsTokenCount").Int()
		return
	}
	g.cached = u.Get("prompt_tokens_details.cached_tokens").Int() + u.Get("cache_read_input_tokens").Int()
	g.in = u.Get("prompt_tokens").Int() + u.Get("input_tokens").Int() + u.Get("cache_read_input_tokens").Int()
	g.out = u.Get("completion_tokens").Int() + u.Get("output_tokens").Int()
}

func (g gathered) String() string {
	return fmt.Sprintf("text %q thinking %q refusal %q calls %q finish %q in %d cached %d out %d", g.text, g.thinking, g.refusal, g.calls, g.finish, g.in, g.cached, g.out)
}
