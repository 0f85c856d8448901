package anthropic

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"codex-proxy/proxy/codex"
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
}

// block is a content block on its way down.
type block struct {
	kind      string // text, thinking, redacted_thinking or tool_use
	call      codex.Call
	signature string          // of thinking
	done      bool            // nothing follows
	pieces    []string        // JSON strings that could not be sent yet
	text      strings.Builder // of a buffered answer
}

func newAnswer(req *request, model string) *answer {
	var id [12]byte
	rand.Read(id[:])
	a := &answer{req: req, id: "msg_" + hex.EncodeToString(id[:]), model: model, stop: reply.NewStopper(req.stops)}
	a.events = codex.EventHandler{Text: a.text, Call: a.call, Arguments: a.arguments, CallDone: a.callDone, Reasoning: a.reasoning}
	if req.thinking {
		a.events.Thinking = func(raw string) { a.write(a.prose("thinking"), raw) }
	}
	return a
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
	} else if signature != "" {
		a.finish(a.begin(&block{kind: "redacted_thinking", signature: signature}))
	}
}

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
	case "tool_use":
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
	object := ""
	switch b.kind {
	case "text":
		object = `{"type":"text","text":""}`
	case "thinking":
		object = `{"type":"thinking","thinking":"","signature":""}`
	case "redacted_thinking":
		object = string(b.redacted())
	case "tool_use":
		object = `{"type":"tool_use","id":` + string(encode(b.call.ID)) + `,"name":` + string(encode(a.req.names.Original(b.call.Name))) + `,"input":{}}`
	}
	a.event("content_block_start", `,"content_block":`, object)
	pieces := b.pieces
	b.pieces = nil
	for _, raw := range pieces {
		a.write(b, raw)
	}
}

func (b *block) redacted() []byte {
	return encode(map[string]string{"type": "redacted_thinking", "data": b.signature})
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
		a.blocks = append(a.blocks, encode(map[string]any{"type": "text", "text": b.text.String()}))
	case "thinking":
		a.blocks = append(a.blocks, encode(map[string]any{"type": "thinking", "thinking": b.text.String(), "signature": b.signature}))
	case "redacted_thinking":
		a.blocks = append(a.blocks, b.redacted())
	case "tool_use":
		input := json.RawMessage(b.text.String())
		if !gjson.ValidBytes(input) || !gjson.ParseBytes(input).IsObject() {
			input = json.RawMessage(`{}`)
		}
		a.blocks = append(a.blocks, encode(map[string]any{"type": "tool_use", "id": b.call.ID, "name": a.req.names.Original(b.call.Name), "input": input}))
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
