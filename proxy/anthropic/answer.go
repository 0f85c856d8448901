package anthropic

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/rawjson"
	"codex-proxy/proxy/reply"
)

// answer is an answer on its way down: content blocks, written as they come and kept for a buffered answer.
//
// Anthropic's blocks come one after the other, the backend's items may overlap. So one block is open, and what belongs
// to later ones waits until it is done.
type answer struct {
	req    *request
	id     string
	model  string
	events codex.EventHandler
	stop   *reply.Stopper
	out    []byte // events to send

	index   int // of the open block
	open    *block
	waiting []*block // begun, but not open yet
	blocks  []json.RawMessage
	hit     string // the stop sequence that ended the answer

	searches int // on the web
}

// block is a content block on its way down.
type block struct {
	kind      string // text, thinking, tool_use, server_tool_use, or one that comes whole
	call      codex.Call
	signature string            // of thinking
	object    json.RawMessage   // one that comes whole: redacted_thinking or web_search_tool_result
	citations []json.RawMessage // of text
	done      bool              // nothing follows
	pieces    []string          // JSON strings that could not be sent yet
	text      strings.Builder   // of a buffered answer
}

func newAnswer(req *request, model string) *answer {
	a := &answer{req: req, id: newID("msg_"), model: model, stop: reply.NewStopper(req.stops)}
	a.events = codex.EventHandler{Text: a.text, Call: a.call, Arguments: a.arguments, CallDone: a.callDone, Reasoning: a.reasoning,
		Annotation: a.cite, Other: a.searched}
	if req.thinking && !req.omitted {
		a.events.Thinking = func(raw string) { a.write(a.prose("thinking"), raw) }
	}
	return a
}

func newID(prefix string) string {
	var id [12]byte
	rand.Read(id[:])
	return prefix + hex.EncodeToString(id[:])
}

// Event is reply.Encoder's, as are the next three.
func (a *answer) Event(ev codex.Event) *codex.End { return a.events.Event(ev) }

// Stopped estimates what was used until a stop sequence.
func (a *answer) Stopped() *codex.End {
	if a.hit == "" {
		return nil
	}
	return a.events.Stopped(&a.req.Request)
}

// Finish writes what was held back, and ends every block.
func (a *answer) Finish(_ *codex.End, stopped bool) {
	if a.stop != nil && !stopped {
		if rest := a.stop.Rest(); rest != "" {
			a.write(a.prose("text"), string(encode(rest)))
		}
	}
	for a.open != nil {
		a.finish(a.open)
	}
}

// Take returns the events to send.
func (a *answer) Take() []byte {
	out := a.out
	a.out = a.out[:0]
	return out
}

func (a *answer) text(raw string) {
	switch {
	case a.hit != "":
	case a.stop == nil:
		a.write(a.prose("text"), raw)
	default:
		before, hit := a.stop.Push(codex.Text(raw))
		if before != "" {
			a.write(a.prose("text"), string(encode(before)))
		}
		if hit {
			a.hit = a.stop.Hit()
		}
	}
}

// reasoning ends a block of thinking with what brings the reasoning back; one that was not shown comes as redacted.
func (a *answer) reasoning(item gjson.Result) {
	if !a.req.thinking {
		return
	}
	signature := ""
	if encrypted := item.Get("encrypted_content").Str; encrypted != "" {
		signature = codex.SignReasoning(a.model, encrypted)
	}
	if last := a.last(); last != nil && last.kind == "thinking" && !last.done {
		last.signature = signature
		a.finish(last)
	} else if signature != "" && a.req.omitted {
		a.finish(a.begin(&block{kind: "thinking", signature: signature}))
	} else if signature != "" {
		a.finish(a.begin(&block{kind: "redacted_thinking", object: encode(map[string]string{"type": "redacted_thinking", "data": signature})}))
	}
}

// searched tells a search on the web as the two blocks that it is at Anthropic: what was searched for, and the pages
// that were found. Pages that the model opened by itself are no search.
func (a *answer) searched(item gjson.Result) {
	action := item.Get("action")
	query := action.Get("query").Str
	if query == "" {
		query = strings.Join(textsOf(action.Get("queries")), "; ")
	}
	if item.Get("type").Str != "web_search_call" || query == "" || a.hit != "" {
		return
	}
	a.searches++
	call := codex.Call{ID: newID("srvtoolu_"), Name: "web_search"}
	use := a.begin(&block{kind: "server_tool_use", call: call})
	a.write(use, string(encode(string(encode(map[string]string{"query": query})))))
	a.finish(use)
	var content any = pages(action.Get("sources"))
	if item.Get("status").Str == "failed" {
		content = map[string]string{"type": "web_search_tool_result_error", "error_code": "unavailable"}
	}
	a.finish(a.begin(&block{kind: "web_search_tool_result", object: encode(map[string]any{"type": "web_search_tool_result", "tool_use_id": call.ID, "content": content})}))
}

// page is one that a search has found. The backend gives no text of it to keep.
type page struct {
	Type      string  `json:"type"`
	URL       string  `json:"url"`
	Title     string  `json:"title"`
	Encrypted string  `json:"encrypted_content"`
	Age       *string `json:"page_age"`
}

func pages(sources gjson.Result) []page {
	found := []page{}
	for _, source := range sources.Array() {
		if url := source.Get("url").Str; url != "" {
			found = append(found, page{Type: "web_search_result", URL: url, Title: cmp.Or(source.Get("title").Str, url)})
		}
	}
	return found
}

func textsOf(list gjson.Result) (texts []string) {
	for _, text := range list.Array() {
		texts = append(texts, text.Str)
	}
	return texts
}

// citation is a page that the text before it names. The backend does not tell which words of the page.
type citation struct {
	Type  string `json:"type"`
	URL   string `json:"url"`
	Title string `json:"title"`
	Text  string `json:"cited_text"`
	Index string `json:"encrypted_index"`
}

// cite adds a citation to the text that it belongs to.
func (a *answer) cite(annotation gjson.Result) {
	last := a.last()
	if annotation.Get("type").Str != "url_citation" || a.hit != "" || last == nil || last.kind != "text" || last.done {
		return
	}
	c := encode(citation{Type: "web_search_result_location", URL: annotation.Get("url").Str, Title: annotation.Get("title").Str})
	last.citations = append(last.citations, c)
	if last == a.open {
		a.delta(citationDelta, string(c))
	}
}

const citationDelta = `{"type":"citations_delta","citation":`

func (a *answer) call(c codex.Call) { a.begin(&block{kind: "tool_use", call: c}) }

func (a *answer) arguments(c codex.Call, raw string) {
	if b := a.ofCall(c); b != nil {
		a.write(b, raw)
	}
}

func (a *answer) callDone(c codex.Call, _ string) {
	if b := a.ofCall(c); b != nil {
		a.finish(b)
	}
}

// last is the block that was begun last.
func (a *answer) last() *block {
	if n := len(a.waiting); n > 0 {
		return a.waiting[n-1]
	}
	return a.open
}

// ofCall is the block of a call that is not done.
func (a *answer) ofCall(c codex.Call) *block {
	if a.open != nil && a.open.kind == "tool_use" && a.open.call.Number == c.Number {
		return a.open
	}
	for _, b := range a.waiting {
		if b.kind == "tool_use" && b.call.Number == c.Number {
			return b
		}
	}
	return nil
}

// prose is the block to which text or thinking is added: the last one, if it is of that kind, or a new one.
func (a *answer) prose(kind string) *block {
	if last := a.last(); last != nil && last.kind == kind && !last.done {
		return last
	}
	return a.begin(&block{kind: kind})
}

// begin adds a block. Text and thinking end where something else begins.
func (a *answer) begin(b *block) *block {
	if last := a.last(); last != nil && last.kind != "tool_use" {
		a.finish(last)
	}
	if a.open == nil {
		a.show(b)
	} else {
		a.waiting = append(a.waiting, b)
	}
	return b
}

// write adds a piece to a block.
func (a *answer) write(b *block, raw string) {
	if b != a.open {
		b.pieces = append(b.pieces, strings.Clone(raw)) // it is gone with its event
		return
	}
	if !a.req.stream {
		b.text.WriteString(codex.Text(raw))
	}
	switch b.kind {
	case "tool_use", "server_tool_use":
		a.delta(`{"type":"input_json_delta","partial_json":`, raw)
	case "thinking":
		a.delta(`{"type":"thinking_delta","thinking":`, raw)
	default:
		a.delta(`{"type":"text_delta","text":`, raw)
	}
}

// finish says that nothing more comes for a block. If it is the open one it is closed, and those after it have their
// turn, up to the first that is not done.
func (a *answer) finish(b *block) {
	b.done = true
	for a.open != nil && a.open.done {
		a.close(a.open)
		a.open = nil
		if len(a.waiting) > 0 {
			next := a.waiting[0]
			a.waiting = a.waiting[1:]
			a.show(next)
		}
	}
}

// show opens a block and writes what has come for it.
func (a *answer) show(b *block) {
	a.open = b
	object := string(b.object)
	switch b.kind {
	case "text":
		object = `{"type":"text","text":""}`
	case "thinking":
		object = `{"type":"thinking","thinking":"","signature":""}`
	case "tool_use", "server_tool_use":
		object = `{"type":"` + b.kind + `","id":` + string(encode(b.call.ID)) + `,"name":` + string(encode(a.req.names.Original(b.call.Name))) + `,"input":{}}`
	}
	a.event("content_block_start", `,"content_block":`, object)
	pieces := b.pieces
	b.pieces = nil
	for _, raw := range pieces {
		a.write(b, raw)
	}
	for _, c := range b.citations {
		a.delta(citationDelta, string(c))
	}
}

func (a *answer) close(b *block) {
	if b.kind == "thinking" && b.signature != "" {
		a.delta(`{"type":"signature_delta","signature":`, string(encode(b.signature)))
	}
	if !a.req.stream {
		a.keep(b)
	}
	a.event("content_block_stop", "", "")
	a.index++
}

// keep adds a block to a buffered answer.
func (a *answer) keep(b *block) {
	switch b.kind {
	case "text":
		text := map[string]any{"type": "text", "text": b.text.String()}
		if b.citations != nil {
			text["citations"] = b.citations
		}
		a.blocks = append(a.blocks, encode(text))
	case "thinking":
		a.blocks = append(a.blocks, encode(map[string]any{"type": "thinking", "thinking": b.text.String(), "signature": b.signature}))
	case "tool_use", "server_tool_use":
		input := json.RawMessage(b.text.String())
		if !rawjson.Valid(input) || !gjson.ParseBytes(input).IsObject() {
			input = json.RawMessage(`{}`)
		}
		a.blocks = append(a.blocks, encode(map[string]any{"type": b.kind, "id": b.call.ID, "name": a.req.names.Original(b.call.Name), "input": input}))
	default:
		a.blocks = append(a.blocks, b.object)
	}
}

// delta writes one piece: an object without its last value and its end.
func (a *answer) delta(object, raw string) {
	a.event("content_block_delta", `,"delta":`, object)
	a.out = a.out[:len(a.out)-len("}\n\n")]
	a.out = append(append(a.out, raw...), "}}\n\n"...)
}

// event writes one of the open block, with one more field.
func (a *answer) event(name, field, value string) {
	a.out = append(append(append(a.out, "event: "...), name...), "\ndata: {\"type\":\""...)
	a.out = append(append(a.out, name...), `","index":`...)
	a.out = strconv.AppendInt(a.out, int64(a.index), 10)
	a.out = append(append(append(a.out, field...), value...), "}\n\n"...)
}
