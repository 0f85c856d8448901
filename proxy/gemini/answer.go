package gemini

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/rawjson"
	"codex-proxy/proxy/reply"
)

// answer is an answer on its way down, chunk by chunk, or kept for a buffered one.
type answer struct {
	req    *request
	model  string
	stream bool
	sse    bool   // chunks are events, not elements of an array
	tail   []byte // of each response
	events codex.EventHandler
	stop   *reply.Stopper
	hit    bool

	out    []byte // chunks to send
	chunks int
	parts  []answerPart
	sealed []string // encrypted reasoning, for the next part's signature

	text     strings.Builder // all that was said
	message  int             // where in it the present message begins
	searches []string
	sources  []source
}

// answerPart is a part of a buffered answer.
type answerPart struct {
	text      strings.Builder
	thought   bool
	signature string
	other     json.RawMessage // a call or a picture, without its end; nil for text
}

// source is where a piece of the text comes from.
type source struct {
	uri, title, text string
	start, end       int // bytes of the answer
}

func newAnswer(req *request, model string, stream, sse bool) *answer {
	var id [12]byte
	rand.Read(id[:])
	a := &answer{req: req, model: model, stream: stream, sse: sse, stop: reply.NewStopper(req.stops)}
	a.tail = append(append([]byte(`,"modelVersion":`), reply.Encode(model)...), `,"responseId":"`+hex.EncodeToString(id[:])+`"}`...)
	a.events = codex.EventHandler{Text: a.piece, CallDone: a.call, Annotation: a.annotation, Reasoning: a.reasoning, Other: a.other}
	if req.thinking {
		a.events.Thinking = func(raw string) { a.write(raw, true) }
	}
	return a
}

// Event is reply.Encoder's, as are the next three.
func (a *answer) Event(ev codex.Event) *codex.End {
	if ev.Type == codex.TypeItemAdded && gjson.GetBytes(ev.Data, "item.type").Str == "message" {
		a.message = a.text.Len()
	}
	return a.events.Event(ev)
}

// Stopped estimates what was used until a stop sequence.
func (a *answer) Stopped() *codex.End {
	if !a.hit {
		return nil
	}
	return a.events.Stopped(&a.req.Request)
}

// Finish writes what was held back.
func (a *answer) Finish(_ *codex.End, stopped bool) {
	if a.req.wrapped {
		if whole := a.unwrap(); whole != "" {
			a.piece(string(reply.Encode(whole)))
		}
	}
	if a.stop != nil && !stopped {
		a.say(a.stop.Rest())
	}
}

// unwrap is what stands in our object; what is no such object is given as it came.
func (a *answer) unwrap() string {
	whole := a.text.String()
	a.req.wrapped = false
	a.text.Reset()
	for i := range a.sources {
		a.sources[i].text = "" // it stood elsewhere
	}
	inner, ok := codex.UnwrapAnswer(whole)
	switch {
	case !ok:
		return whole
	case a.req.word:
		return inner.String()
	}
	return inner.Raw
}

// Take returns the chunks to send.
func (a *answer) Take() []byte {
	out := a.out
	a.out = a.out[:0]
	return out
}

func (a *answer) piece(raw string) {
	switch {
	case a.hit:
	case a.stop == nil || a.req.wrapped: // stop sequences are looked for in what is sent
		a.write(raw, false)
	default:
		before, hit := a.stop.Push(codex.Text(raw))
		a.say(before)
		a.hit = hit
	}
}

func (a *answer) say(text string) {
	if text != "" {
		a.write(string(reply.Encode(text)), false)
	}
}

// write adds a piece of text, a JSON string, or of thinking.
func (a *answer) write(raw string, thought bool) {
	text := codex.Text(raw)
	if !thought {
		a.text.WriteString(text)
		if a.req.wrapped {
			return
		}
	}
	signature := ""
	if !thought {
		signature = a.takeSignature()
	}
	if a.stream {
		a.open()
		a.out = appendText(a.out, raw, thought, signature)
		a.close("", "")
		return
	}
	last := len(a.parts) - 1
	if last < 0 || a.parts[last].other != nil || a.parts[last].thought != thought || signature != "" {
		a.parts = append(a.parts, answerPart{thought: thought, signature: signature})
		last++
	}
	a.parts[last].text.WriteString(text)
}

func (a *answer) call(c codex.Call, arguments string) {
	args := json.RawMessage(arguments)
	switch {
	case strings.TrimSpace(arguments) == "":
		args = json.RawMessage("{}")
	case !rawjson.Valid(rawjson.Raw(arguments)), !gjson.Parse(arguments).IsObject():
		args = reply.Encode(map[string]string{"input": arguments})
	}
	a.add(reply.Encode(map[string]any{"functionCall": map[string]any{"id": c.ID, "name": a.req.names.Original(c.Name), "args": args}}))
}

// other takes a picture, and what was searched for.
func (a *answer) other(item gjson.Result) {
	switch item.Get("type").Str {
	case "image_generation_call":
		format := item.Get("output_format").Str
		if format == "" {
			format = "png"
		}
		if data := item.Get("result").Str; data != "" {
			a.add(reply.Encode(map[string]any{"inlineData": map[string]string{"mimeType": "image/" + format, "data": data}}))
		}
	case "web_search_call":
		if query := item.Get("action.query").Str; query != "" {
			a.searches = append(a.searches, query)
		}
	}
}

// add adds a part that comes whole.
func (a *answer) add(object []byte) {
	object = object[:len(object)-1]
	signature := a.takeSignature()
	if !a.stream {
		a.parts = append(a.parts, answerPart{other: object, signature: signature})
		return
	}
	a.open()
	a.out = endPart(append(a.out, object...), false, signature)
	a.close("", "")
}

func (a *answer) reasoning(item gjson.Result) {
	if encrypted := item.Get("encrypted_content").Str; encrypted != "" {
		a.sealed = append(a.sealed, encrypted)
	}
}

func (a *answer) takeSignature() string {
	if a.sealed == nil {
		return ""
	}
	s := signature(a.model, a.sealed)
	a.sealed = nil
	return s
}

// annotation notes a source. The backend counts characters of a message, Google bytes of the answer.
func (a *answer) annotation(v gjson.Result) {
	if v.Get("type").Str != "url_citation" {
		return
	}
	said := a.text.String()[a.message:]
	start, end := offset(said, v.Get("start_index").Int()), offset(said, v.Get("end_index").Int())
	a.sources = append(a.sources, source{v.Get("url").Str, v.Get("title").Str, said[start:max(start, end)], a.message + start, a.message + max(start, end)})
}

// offset is the byte at which the nth character of a text begins.
func offset(text string, n int64) int {
	at := 0
	for ; n > 0 && at < len(text); n-- {
		_, size := utf8.DecodeRuneInString(text[at:])
		at += size
	}
	return at
}

// grounding says where the text comes from; nil when nothing was searched.
func (a *answer) grounding() json.RawMessage {
	if a.searches == nil && a.sources == nil {
		return nil
	}
	chunks, supports, number := []any{}, []any{}, map[string]int{}
	for _, s := range a.sources {
		i, known := number[s.uri]
		if !known {
			i = len(chunks)
			number[s.uri] = i
			chunks = append(chunks, map[string]any{"web": map[string]string{"uri": s.uri, "title": s.title}})
		}
		if s.text != "" {
			supports = append(supports, map[string]any{"groundingChunkIndices": []int{i}, "segment": map[string]any{"startIndex": s.start, "endIndex": s.end, "text": s.text}})
		}
	}
	queries := a.searches
	if queries == nil {
		queries = []string{}
	}
	return reply.Encode(map[string]any{"webSearchQueries": queries, "groundingChunks": chunks, "groundingSupports": supports})
}

// appendText adds a part of text to b.
func appendText(b []byte, raw string, thought bool, signature string) []byte {
	return endPart(append(append(b, `{"text":`...), raw...), thought, signature)
}

// endPart ends the part that b ends in.
func endPart(b []byte, thought bool, signature string) []byte {
	if thought {
		b = append(b, `,"thought":true`...)
	}
	if signature != "" {
		b = append(append(append(b, `,"thoughtSignature":"`...), signature...), '"')
	}
	return append(b, '}')
}

const responseHead = `{"candidates":[{"content":{"parts":[`

// endResponse ends a GenerateContentResponse, whole or of a stream, after its parts. candidate are the candidate's further
// fields, more those of the response, each with a comma before it.
func (a *answer) endResponse(b []byte, candidate, more string) []byte {
	b = append(append(b, `],"role":"model"},"index":0`...), candidate...)
	return append(append(append(b, `}]`...), more...), a.tail...)
}

// begin and end are what stands around each chunk.
func (a *answer) begin() {
	switch {
	case a.sse:
		a.out = append(a.out, "data: "...)
	case a.chunks > 0:
		a.out = append(a.out, ",\n"...)
	}
	a.chunks++
}

func (a *answer) end() {
	if a.sse {
		a.out = append(a.out, "\n\n"...)
	}
}

// open begins a response of a stream, up to its parts.
func (a *answer) open() {
	a.begin()
	a.out = append(a.out, responseHead...)
}

func (a *answer) close(candidate, more string) {
	a.out = a.endResponse(a.out, candidate, more)
	a.end()
}

var finishReasons = map[string]string{"length": "MAX_TOKENS", "content_filter": "SAFETY"}

// ending is what the last chunk has, and a buffered answer: the candidate's fields and the response's.
func (a *answer) ending(end *codex.End) (candidate, more string) {
	reason := finishReasons[end.Reason]
	if reason == "" {
		reason = "STOP"
	}
	candidate = `,"finishReason":"` + reason + `"`
	if g := a.grounding(); g != nil {
		candidate += `,"groundingMetadata":` + string(g)
	}
	return candidate, `,"usageMetadata":` + string(reply.Encode(usage{
		end.Input, max(end.Output-end.Reasoning, 0), end.Input + end.Output, end.Cached, end.Reasoning,
	}))
}

type usage struct {
	Prompt     int64 `json:"promptTokenCount"`
	Candidates int64 `json:"candidatesTokenCount"`
	Total      int64 `json:"totalTokenCount"`
	Cached     int64 `json:"cachedContentTokenCount,omitempty"`
	Thoughts   int64 `json:"thoughtsTokenCount,omitempty"`
}

// closing is the last bytes of a stream. Its content is empty and not absent: some clients want one in each chunk.
func (a *answer) closing(end *codex.End) []byte {
	candidate, more := a.ending(end)
	a.open()
	a.out = appendText(a.out, `""`, false, a.takeSignature())
	a.close(candidate, more)
	if !a.sse {
		a.out = append(a.out, "]\n"...)
	}
	return a.Take()
}

// whole is a buffered answer.
func (a *answer) whole(end *codex.End) []byte {
	b := []byte(responseHead)
	for i := range a.parts {
		if i > 0 {
			b = append(b, ',')
		}
		p := &a.parts[i]
		if p.other != nil {
			b = endPart(append(b, p.other...), false, p.signature)
		} else {
			b = appendText(b, string(reply.Encode(p.text.String())), p.thought, p.signature)
		}
	}
	if a.parts == nil {
		b = appendText(b, `""`, false, a.takeSignature())
	}
	candidate, more := a.ending(end)
	return append(a.endResponse(b, candidate, more), '\n')
}
