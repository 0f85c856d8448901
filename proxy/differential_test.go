package proxy

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus/hooks/test"

	"codex-proxy/creds"
)

// program reads a stream of events out of bytes: whatever they are, the events are such as the backend could send.
type program struct {
	bytes []byte
	out   strings.Builder
}

func (p *program) next() int {
	if len(p.bytes) == 0 {
		return 0
	}
	b := p.bytes[0]
	p.bytes = p.bytes[1:]
	return int(b)
}

// words are pieces of text that are easily broken.
var words = []string{"a ", "Grüße ", "世界", "👋🏽", "\\\"quoted\\\" ", "line\\nbreak ", "\\u0041\\ud83d\\ude00", "STOP", "ST", "OP ", "<tag> & ", "\\\\ ", "\\u2028", ""}

func (p *program) event(name string, data map[string]any, words ...string) {
	data["type"] = name
	raw, _ := json.Marshal(data)
	text := string(raw)
	for _, w := range words {
		text = strings.Replace(text, `"WORD"`, `"`+w+`"`, 1)
	}
	switch p.next() % 4 {
	case 0: // over several lines
		text = strings.Replace(text, `,"`, ",\ndata: \"", 1)
	case 1:
		p.out.WriteString(": a comment\r\n\r\n")
	}
	end := []string{"\n", "\r\n", "\r"}[p.next()%3]
	if p.next()%5 > 0 {
		p.out.WriteString("event: " + name + end)
	}
	p.out.WriteString("data: " + strings.ReplaceAll(text, "\n", end) + end + end)
}

// run writes the stream. Items may overlap, and come in pieces or at once.
func (p *program) run() string {
	type open struct {
		index      int
		kind       string
		said       string
		inPieces   bool
		id, callID string
	}
	var items []*open
	count := 0
	p.event("response.created", map[string]any{"response": map[string]any{"id": "resp_1"}})
	word := func(o *open) string {
		w := words[p.next()%len(words)]
		if o.kind == "function_call" {
			w = strings.NewReplacer(`\n`, "", `\"`, "", `\\ `, "", `\u2028`, "").Replace(w)
		}
		o.said += w
		return w
	}
	finish := func(o *open) {
		item := map[string]any{"type": o.kind, "id": o.id}
		switch o.kind {
		case "message":
			item["content"] = []any{map[string]any{"type": "output_text", "text": "WORD"}}
		case "refusal":
			item["type"], item["content"] = "message", []any{map[string]any{"type": "refusal", "refusal": "WORD"}}
		case "reasoning":
			item["encrypted_content"], item["summary"] = "gAAAAx", []any{map[string]any{"type": "summary_text", "text": "WORD"}}
		case "function_call":
			item["call_id"], item["name"], item["arguments"] = o.callID, fmt.Sprint("f", o.index), "WORD"
			o.said = `{\"v\":\"` + o.said + `\"}`
			if o.inPieces {
				half := `\"}`
				p.event("response.function_call_arguments.delta", map[string]any{"output_index": o.index, "delta": "WORD"}, half)
			}
		}
		p.event("response.output_item.done", map[string]any{"output_index": o.index, "item": item}, o.said)
	}
	for range min(len(p.bytes), 60) {
		switch n := p.next(); {
		case len(items) < 3 && n%3 == 0:
			o := &open{index: count, kind: []string{"message", "reasoning", "function_call", "refusal"}[p.next()%4], id: fmt.Sprint("id_", count), callID: fmt.Sprint("call_", count)}
			overlap := o.kind == "function_call"
			for _, other := range items { // only calls overlap
				overlap = overlap && other.kind == "function_call"
			}
			if len(items) > 0 && !overlap {
				continue
			}
			count++
			kind := o.kind
			if kind == "refusal" {
				kind = "message"
			}
			p.event("response.output_item.added", map[string]any{"output_index": o.index, "item": map[string]any{"type": kind, "id": o.id, "call_id": o.callID, "name": fmt.Sprint("f", o.index)}})
			if o.inPieces = p.next()%3 > 0; o.inPieces && o.kind == "function_call" {
				p.event("response.function_call_arguments.delta", map[string]any{"output_index": o.index, "delta": "WORD"}, `{\"v\":\"`)
			}
			items = append(items, o)
		case len(items) == 0:
		case n%4 == 1:
			i := p.next() % len(items)
			finish(items[i])
			items = append(items[:i], items[i+1:]...)
		default:
			o := items[p.next()%len(items)]
			w := word(o)
			name := map[string]string{"message": "response.output_text.delta", "refusal": "response.refusal.delta", "reasoning": "response.reasoning_summary_text.delta", "function_call": "response.function_call_arguments.delta"}[o.kind]
			if o.inPieces {
				p.event(name, map[string]any{"output_index": o.index, "delta": "WORD"}, w)
			}
		}
	}
	for _, o := range items {
		finish(o)
	}
	name, response := "response.completed", map[string]any{"id": "resp_1", "status": "completed", "output": []any{}, "usage": map[string]any{"input_tokens": 40, "input_tokens_details": map[string]any{"cached_tokens": 8}, "output_tokens": 9}}
	if p.next()%5 == 4 {
		name, response["status"], response["incomplete_details"] = "response.incomplete", "incomplete", map[string]any{"reason": "max_output_tokens"}
	}
	p.event(name, map[string]any{"response": response})
	return p.out.String()
}

// pieces hands out a stream in pieces of any size, with silences between.
type pieces struct {
	rest string
	rnd  *rand.Rand
}

func (p *pieces) Read(b []byte) (int, error) {
	if p.rest == "" {
		return 0, io.EOF
	}
	if p.rnd == nil {
		n := copy(b, p.rest)
		p.rest = p.rest[n:]
		return n, nil
	}
	if p.rnd.IntN(100) == 0 {
		time.Sleep(time.Duration(p.rnd.IntN(200)) * time.Microsecond)
	}
	n := copy(b[:min(len(b), 1+p.rnd.IntN(40))], p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

// answerKey is under what a request's context has the events of its answer.
type answerKey struct{}

// answering is a proxy whose backend answers what the context says.
var answering = sync.OnceValue(func() *Server {
	log, _ := test.NewNullLogger()
	return NewServer(Config{SignIn: &signIn{token: creds.Token{Access: "x"}}, Model: "gpt-5.5", Log: log, IdleTimeout: time.Minute, KeepAlive: 50 * time.Microsecond,
		HTTP: doer(func(req *http.Request) (*http.Response, error) {
			body, ok := req.Context().Value(answerKey{}).(io.Reader)
			if !ok || req.Method != http.MethodPost {
				return answer(404, ""), nil
			}
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(body)}, nil
		})})
})

// differential answers with a stream in each dialect, whole and in pieces, folded and streamed, and compares what a
// client understands.
func differential(t *testing.T, raw []byte, seed uint64) {
	events := (&program{bytes: raw}).run()
	server := answering()
	for dialect, more := range map[string]string{
		"chat": `"stream_options":{"include_usage":true}`, "completions": `"stream_options":{"include_usage":true}`, "responses": `"store":false`,
		"messages": `"thinking":{"type":"adaptive"}`, "ollama": `"think":true`, "generate": `"think":true`,
		"gemini": `"generationConfig":{"thinkingConfig":{"includeThoughts":true}}`, "array": `"generationConfig":{"thinkingConfig":{"includeThoughts":true}}`,
	} {
		for _, stop := range []string{"", map[string]string{"chat": `"stop":"STOP"`, "completions": `"stop":"STOP"`, "messages": `"stop_sequences":["STOP"]`, "ollama": `"options":{"stop":"STOP"}`, "generate": `"options":{"stop":"STOP"}`,
			"gemini": `"generationConfig":{"stopSequences":["STOP"]}`, "array": `"generationConfig":{"stopSequences":["STOP"]}`}[dialect]} {
			first, want := true, ""
			for _, stream := range []bool{false, true} {
				for _, split := range []bool{false, true} {
					body := &pieces{rest: events}
					if split {
						body.rnd = rand.New(rand.NewPCG(seed, 1))
					}
					path, ask := question(dialect, "hello", stream, more)
					if stop != "" {
						path, ask = question(dialect, "hello", stream, more, stop)
					}
					w := httptest.NewRecorder()
					req := httptest.NewRequest(http.MethodPost, "http://localhost"+path, strings.NewReader(ask))
					server.ServeHTTP(w, req.WithContext(context.WithValue(t.Context(), answerKey{}, body)))
					if w.Code != 200 {
						t.Fatalf("%s: %d %s\n%s", dialect, w.Code, w.Body, events)
					}
					got := gather(t, dialect, w.Body.String(), stream).String()
					if first {
						first, want = false, got
					} else if got != want {
						t.Fatalf("%s%s, stream %v, split %v:\n%s\nbut folded and whole\n%s\nof\n%s\nfrom\n%s", dialect, stop, stream, split, got, want, w.Body, events)
					}
				}
			}
		}
	}
}

func TestAnAnswerIsTheSameHoweverItComes(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range uint64(15) {
		raw := make([]byte, 20+rnd.IntN(200))
		for j := range raw {
			raw[j] = byte(rnd.IntN(256))
		}
		differential(t, raw, i)
	}
}

func FuzzAnswers(f *testing.F) {
	f.Add([]byte("a stream of events, whatever it is"), uint64(1))
	f.Add([]byte{0, 2, 3, 0, 2, 3, 4, 4, 5, 1, 0, 9, 9, 1, 1, 1, 3, 0, 0, 8, 2, 2}, uint64(2))
	f.Fuzz(differential)
}
