package openai

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/reply"
)

// chatAnswer is one choice on its way down. What the events say it gives to a writer: of chunks, or of one message.
type chatAnswer struct {
	events codex.EventHandler
	req    *chatRequest
	stop   *reply.Stopper
	hit    bool // a stop sequence ended it
	to     chatWriter
}

// chatWriter writes one choice. raw is a JSON string as it came.
type chatWriter interface {
	field(name, raw string) // content, refusal or reasoning_content
	annotation(object json.RawMessage)
	image(url string) // a data: address
	call(c codex.Call, name string)
	arguments(c codex.Call, raw string)
	finish(reason string)
	take() []byte
}

func newChatAnswer(c *chatRequest, to chatWriter) *chatAnswer {
	a := &chatAnswer{req: c, stop: reply.NewStopper(c.stops), to: to}
	a.events = codex.EventHandler{
		Text:     a.text,
		Refusal:  func(raw string) { to.field("refusal", raw) },
		Thinking: func(raw string) { to.field("reasoning_content", raw) },
		Annotation: func(object gjson.Result) {
			if link := annotation(object); link != nil {
				to.annotation(link)
			}
		},
		Other: func(item gjson.Result) {
			if item.Get("type").Str == "image_generation_call" && item.Get("result").Str != "" {
				to.image("data:image/" + imageFormat(item) + ";base64," + item.Get("result").Str)
			}
		},
		Call:      func(call codex.Call) { to.call(call, c.names.Original(call.Name)) },
		Arguments: to.arguments,
	}
	return a
}

// imageFormat is how a picture that the backend made is encoded.
func imageFormat(item gjson.Result) string {
	if f := item.Get("output_format").Str; f != "" {
		return f
	}
	return "png"
}

// chatImage is a picture that a hosted tool made. Chat Completions has no place for one, so it stands where those servers
// have it whose models make pictures. Source: OpenRouter guide on image generation.
type chatImage struct {
	Index int      `json:"index"`
	Type  string   `json:"type"`
	Image imageURL `json:"image_url"`
}

type imageURL struct {
	URL string `json:"url"`
}

func (a *chatAnswer) text(raw string) {
	switch {
	case a.hit:
	case a.stop == nil:
		a.to.field("content", raw)
	default:
		var out string
		if out, a.hit = a.stop.Push(codex.Text(raw)); out != "" {
			a.to.field("content", string(encode(out)))
		}
	}
}

// Event is reply.Encoder's, as are the next three.
func (a *chatAnswer) Event(ev codex.Event) *codex.End { return a.events.Event(ev) }

// Stopped estimates what was used until a stop sequence.
func (a *chatAnswer) Stopped() *codex.End {
	if !a.hit {
		return nil
	}
	return a.events.Stopped(&a.req.Request)
}

// Finish writes what was held back, and the reason.
func (a *chatAnswer) Finish(end *codex.End, stopped bool) {
	if a.stop != nil && !stopped {
		if rest := a.stop.Rest(); rest != "" {
			a.to.field("content", string(encode(rest)))
		}
	}
	reason := end.Reason
	if reason == "tool_calls" && a.req.legacy {
		reason = "function_call"
	}
	a.to.finish(reason)
}

// Take returns the chunks to send.
func (a *chatAnswer) Take() []byte { return a.to.take() }

// chatChunks writes one choice as chunks of an event stream.
type chatChunks struct {
	legacy  bool   // the caller offered functions, not tools
	opening []byte // of a chunk, up to the delta
	began   bool
	images  int
	out     []byte

	of     int    // the call whose arguments came last
	before string // what stands before each piece of them
}

func newChatChunks(c *chatRequest, head chatHead, index int) *chatChunks {
	opening := append(head.opening(), `{"index":`...)
	opening = append(strconv.AppendInt(opening, int64(index), 10), `,"delta":{`...)
	return &chatChunks{legacy: c.legacy, opening: opening, out: make([]byte, 0, 512)}
}

const deltaEnd = `},"logprobs":null,"finish_reason":null}]}` + "\n\n"

// open begins a chunk, after the one that names the role if it is the first.
func (w *chatChunks) open() {
	if !w.began {
		w.began = true
		w.out = append(append(append(w.out, w.opening...), `"role":"assistant","content":""`...), deltaEnd...)
	}
	w.out = append(w.out, w.opening...)
}

// field writes a chunk with one field. raw is JSON as it came from upstream: nothing is decoded on the way.
func (w *chatChunks) field(name, raw string) { w.chunk(name, raw, "", "") }

// chunk writes one with a field whose value comes in three pieces.
func (w *chatChunks) chunk(name, before, raw, after string) {
	w.open()
	w.out = append(append(append(w.out, '"'), name...), '"', ':')
	w.out = append(append(append(append(w.out, before...), raw...), after...), deltaEnd...)
}

func (w *chatChunks) annotation(object json.RawMessage) {
	w.field("annotations", "["+string(object)+"]")
}

func (w *chatChunks) image(url string) {
	w.field("images", "["+string(encode(chatImage{w.images, "image_url", imageURL{url}}))+"]")
	w.images++
}

func (w *chatChunks) call(c codex.Call, name string) {
	name = string(encode(name))
	if w.legacy {
		w.field("function_call", `{"name":`+name+`,"arguments":""}`)
		return
	}
	start := `[{"index":` + strconv.Itoa(c.Number) + `,"id":` + string(encode(c.ID))
	if c.Custom {
		w.field("tool_calls", start+`,"type":"custom","custom":{"name":`+name+`,"input":""}}]`)
		return
	}
	w.field("tool_calls", start+`,"type":"function","function":{"name":`+name+`,"arguments":""}}]`)
}

func (w *chatChunks) arguments(c codex.Call, raw string) {
	switch {
	case w.legacy:
		w.chunk("function_call", `{"arguments":`, raw, `}`)
	default:
		w.chunk("tool_calls", w.argument(c), raw, `}}]`)
	}
}

// argument is what stands before a piece of a call's arguments.
func (w *chatChunks) argument(c codex.Call) string {
	if w.before == "" || w.of != c.Number {
		kind := `,"function":{"arguments":`
		if c.Custom {
			kind = `,"custom":{"input":`
		}
		w.of, w.before = c.Number, `[{"index":`+strconv.Itoa(c.Number)+kind
	}
	return w.before
}

func (w *chatChunks) finish(reason string) {
	w.open()
	w.out = append(append(append(w.out, `},"logprobs":null,"finish_reason":"`...), reason...), `"}]}`+"\n\n"...)
}

func (w *chatChunks) take() []byte {
	out := w.out
	w.out = w.out[:0]
	return out
}

// chatMessageWriter collects one choice of a buffered answer.
type chatMessageWriter struct {
	legacy      bool
	texts       map[string]*strings.Builder // by field
	annotations []json.RawMessage
	images      []chatImage
	calls       []*collectedCall
	reason      string
}

type collectedCall struct {
	codex.Call
	name  string
	input strings.Builder // or arguments
}

func newChatMessageWriter(c *chatRequest) *chatMessageWriter {
	return &chatMessageWriter{legacy: c.legacy, texts: map[string]*strings.Builder{"content": {}, "refusal": {}, "reasoning_content": {}}}
}

func (w *chatMessageWriter) field(name, raw string) { w.texts[name].WriteString(codex.Text(raw)) }

func (w *chatMessageWriter) annotation(object json.RawMessage) {
	w.annotations = append(w.annotations, object)
}

func (w *chatMessageWriter) image(url string) {
	w.images = append(w.images, chatImage{len(w.images), "image_url", imageURL{url}})
}

func (w *chatMessageWriter) call(c codex.Call, name string) {
	w.calls = append(w.calls, &collectedCall{Call: c, name: name}) // numbers count from 0
}

func (w *chatMessageWriter) arguments(c codex.Call, raw string) {
	w.calls[c.Number].input.WriteString(codex.Text(raw))
}

func (w *chatMessageWriter) finish(reason string) { w.reason = reason }
func (w *chatMessageWriter) take() []byte         { return nil }

func (w *chatMessageWriter) choice(index int) chatChoice {
	m := chatReply{Role: "assistant", Reasoning: w.texts["reasoning_content"].String(), Annotations: w.annotations, Images: w.images}
	for _, c := range w.calls {
		call := functionCall{c.name, c.input.String()}
		switch {
		case w.legacy:
			m.FunctionCall = &call
		case c.Custom:
			type custom struct {
				Name  string `json:"name"`
				Input string `json:"input"`
			}
			m.ToolCalls = append(m.ToolCalls, encode(struct {
				ID     string `json:"id"`
				Type   string `json:"type"`
				Custom custom `json:"custom"`
			}{c.ID, "custom", custom{call.Name, call.Arguments}}))
		default:
			m.ToolCalls = append(m.ToolCalls, encode(struct {
				ID       string       `json:"id"`
				Type     string       `json:"type"`
				Function functionCall `json:"function"`
			}{c.ID, "function", call}))
		}
	}
	refusal := w.texts["refusal"].String()
	if text := w.texts["content"].String(); text != "" || (len(w.calls) == 0 && refusal == "") {
		m.Content = &text
	}
	m.Refusal = optional(refusal)
	return chatChoice{Index: index, Message: m, FinishReason: w.reason}
}

// annotation is a link of a web search as Chat Completions has it; nil for other kinds.
func annotation(a gjson.Result) json.RawMessage {
	if a.Get("type").Str != "url_citation" {
		return nil
	}
	type citation struct {
		Start int64  `json:"start_index"`
		End   int64  `json:"end_index"`
		Title string `json:"title"`
		URL   string `json:"url"`
	}
	return encode(struct {
		Type     string   `json:"type"`
		Citation citation `json:"url_citation"`
	}{"url_citation", citation{a.Get("start_index").Int(), a.Get("end_index").Int(), a.Get("title").String(), a.Get("url").String()}})
}
