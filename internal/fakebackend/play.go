package fakebackend

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"
)

// player writes the events of one answer.
type player struct {
	b        *Backend
	w        http.ResponseWriter
	r        *http.Request
	doc      gjson.Result // the request
	id       string
	sequence int
	items    []any
	lineEnd  string
	unnamed  bool          // events without an event: line
	split    bool          // a byte at a time
	delay    time.Duration // before each event
	full     bool          // the last event lists the output, and names no answer before
	gone     bool
}

var script = regexp.MustCompile(`\[\[([a-z0-9_ .-]+|calls? .+?)\]\]`)

// responses answers one turn.
func (b *Backend) responses(w http.ResponseWriter, r *http.Request) {
	body, err := b.record(r)
	if err != nil {
		return
	}
	b.count(func(c *Counts) { c.Responses++; c.Open++ })
	defer b.count(func(c *Counts) { c.Open-- })
	if !b.authorize(w, r) {
		return
	}
	if packed := r.Header.Get("Content-Encoding") != ""; packed && (b.RefuseZstd || !strings.HasPrefix(r.URL.Path, "/backend-api")) {
		writeJSON(w, 415, map[string]any{"detail": "Unsupported Media Type"})
		return
	}
	if err := b.check(r.Header, body); err != nil {
		writeJSON(w, 400, map[string]any{"detail": err.Error()})
		return
	}
	b.answer(w, r, body)
}

// answer plays what the conversation asks for.
func (b *Backend) answer(w http.ResponseWriter, r *http.Request, body []byte) {
	p := &player{b: b, w: w, r: r, doc: gjson.ParseBytes(body), id: "resp_" + random(), lineEnd: "\n"}
	defer func() {
		if r.Context().Err() != nil && p.gone {
			b.count(func(c *Counts) { c.Canceled++ })
			select {
			case b.gone <- struct{}{}:
			default:
			}
		}
	}()
	said := p.lastUser()
	if m := script.FindStringSubmatch(said); m != nil {
		p.play(strings.Fields(m[1]))
		return
	}
	p.converse(said)
}

// converse answers as a simple model would: it calls a tool that the user names, reads the results, fills schemas,
// counts images, and says so.
func (p *player) converse(said string) {
	p.start()
	input := p.doc.Get("input").Array()
	last := input[len(input)-1]
	format := p.doc.Get("text.format")
	switch {
	case p.doc.Get(`tools.#(type=="image_generation")`).Exists():
		p.picture()
	case strings.HasSuffix(last.Get("type").Str, "_output"):
		p.reason("Reading the tool's result.")
		p.text("The tool answered: " + flatten(last.Get("output")))
	case p.wantsSearch(said):
		p.search(said, "completed")
		p.text("Found it.", source)
	case p.wantsTool(said):
		p.reason("I should use a tool for this.")
		p.call(p.chosenTool(said), 0)
	case format.Get("type").Str == "json_schema":
		sample, _ := json.Marshal(fill(format.Get("schema"), format.Get("schema"), 0))
		p.text(string(sample))
	case format.Get("type").Str == "json_object":
		p.text(`{"answer":"ok"}`)
	default:
		images := strings.Count(p.doc.Get("input").Raw, `"input_image"`)
		answer := p.b.Label + "You said: " + said
		if images > 0 {
			answer += fmt.Sprintf(" I see %d image(s).", images)
		}
		p.text(answer)
	}
	p.complete()
}

// wantsSearch reports whether the user asks for a search on the web, or it is the tool that must be used.
func (p *player) wantsSearch(said string) bool {
	choice := p.doc.Get("tool_choice")
	forced := choice.Get("type").Str == "web_search" || choice.Str == "required" && len(p.tools()) == 0
	return p.doc.Get(`tools.#(type=="web_search")`).Exists() && choice.Str != "none" && (forced || strings.Contains(said, "web search"))
}

// source is what an answer names after a search.
var source = map[string]any{"type": "url_citation", "start_index": 0, "end_index": 5, "title": "A page", "url": "https://example.com/"}

// search searches the web. What it has found is told to who asks for it.
func (p *player) search(query, status string) {
	action := map[string]any{"type": "search", "query": query, "queries": []any{query}}
	if strings.Contains(p.doc.Get("include").Raw, `"web_search_call.action.sources"`) && status == "completed" {
		action["sources"] = []any{map[string]any{"type": "url", "url": "https://example.com/"}, map[string]any{"type": "api", "name": "oai-weather"}, map[string]any{"type": "url", "url": "https://example.org/other"}}
	}
	p.searchCall(action, status)
}

// openPage opens a page that was found.
func (p *player) openPage() {
	p.searchCall(map[string]any{"type": "open_page", "url": "https://example.com/"}, "completed")
}

func (p *player) searchCall(action map[string]any, status string) {
	index, id := len(p.items), "ws_"+random()
	p.event("response.output_item.added", map[string]any{"output_index": index, "item": map[string]any{"id": id, "type": "web_search_call", "status": "in_progress"}})
	for _, step := range []string{"in_progress", "searching", "completed"} {
		p.event("response.web_search_call."+step, map[string]any{"item_id": id, "output_index": index})
	}
	p.done(index, map[string]any{"id": id, "type": "web_search_call", "status": status, "action": action})
}

// pixel is a PNG of one pixel.
const pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

// picture answers by the hosted tool that makes pictures.
func (p *player) picture() {
	tool := p.doc.Get(`tools.#(type=="image_generation")`)
	item := map[string]any{"id": "ig_" + random(), "type": "image_generation_call", "status": "completed", "result": pixel, "revised_prompt": p.lastUser(), "output_format": "png"}
	for _, name := range []string{"size", "quality", "background"} {
		if v := tool.Get(name).Str; v != "" {
			item[name] = v
		}
	}
	p.event("response.output_item.added", map[string]any{"output_index": len(p.items), "item": map[string]any{"id": item["id"], "type": "image_generation_call", "status": "in_progress"}})
	p.event("response.image_generation_call.partial_image", map[string]any{"item_id": item["id"], "output_index": len(p.items), "partial_image_index": 0, "partial_image_b64": pixel})
	p.done(len(p.items), item)
}

func (p *player) lastUser() string {
	said := ""
	for _, item := range p.doc.Get("input").Array() {
		if item.Get("role").Str == "user" {
			said = flatten(item.Get("content"))
		}
	}
	return said
}

func flatten(v gjson.Result) string {
	if v.Type == gjson.String {
		return v.Str
	}
	var parts []string
	for _, part := range v.Array() {
		parts = append(parts, part.Get("text").Str)
	}
	return strings.TrimSpace(strings.Join(parts, " "))
}

func (p *player) tools() []gjson.Result {
	var out []gjson.Result
	all := p.doc.Get("tools").Array()
	for _, item := range p.doc.Get("input").Array() {
		if item.Get("type").Str == "additional_tools" {
			all = append(all, item.Get("tools").Array()...)
		}
	}
	for _, t := range all {
		switch t.Get("type").Str {
		case "function", "custom":
			out = append(out, t)
		case "namespace":
			for _, inner := range t.Get("tools").Array() {
				named, _ := sjson.Set(inner.Raw, "namespace", t.Get("name").Str)
				out = append(out, gjson.Parse(named))
			}
		}
	}
	return out
}

func (p *player) wantsTool(said string) bool {
	choice := p.doc.Get("tool_choice")
	if len(p.tools()) == 0 || choice.Str == "none" {
		return false
	}
	return choice.Str == "required" || choice.IsObject() || strings.Contains(said, "tool") || p.named(said) != nil
}

// named is the tool whose name the user said.
func (p *player) named(said string) *gjson.Result {
	for _, t := range p.tools() {
		if name := t.Get("name").Str; name != "" && strings.Contains(said, name) {
			return &t
		}
	}
	return nil
}

func (p *player) chosenTool(said string) gjson.Result {
	for _, t := range p.tools() {
		if t.Get("name").Str == p.doc.Get("tool_choice.name").Str {
			return t
		}
	}
	if t := p.named(said); t != nil {
		return *t
	}
	return p.tools()[0]
}

// fill makes a value that a schema takes, which stands in root; one that goes on without end is cut.
func fill(root, schema gjson.Result, depth int) any {
	if ref := schema.Get(`\$ref`); ref.Exists() && depth < 6 {
		return fill(root, resolve(root, ref.Str), depth+1)
	}
	if e := schema.Get("enum.0"); e.Exists() {
		return e.Value()
	}
	if c := schema.Get("const"); c.Exists() {
		return c.Value()
	}
	for _, key := range []string{"anyOf.0", "oneOf.0"} {
		if s := schema.Get(key); s.Exists() {
			return fill(root, s, depth+1)
		}
	}
	kind := schema.Get("type").String()
	if t := schema.Get("type"); t.IsArray() {
		kind = t.Get("0").Str
	}
	switch kind {
	case "object":
		out := map[string]any{}
		schema.Get("properties").ForEach(func(name, s gjson.Result) bool {
			if depth < 6 {
				out[name.Str] = fill(root, s, depth+1)
			}
			return true
		})
		return out
	case "array":
		return []any{fill(root, schema.Get("items"), depth+1)}
	case "integer", "number":
		return 1
	case "boolean":
		return true
	case "null":
		return nil
	}
	return "sample"
}

func (p *player) header() {
	h := p.w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("X-Request-Id", "req_"+random())
	h.Set("Set-Cookie", "__cf_bm=secret; path=/; HttpOnly")
	if strings.HasPrefix(p.r.URL.Path, "/backend-api") { // the public API does not tell
		p.limits(strconv.FormatFloat(p.b.usedPercent(), 'f', -1, 64), 2*time.Hour)
	}
	p.w.WriteHeader(200)
}

// limits sets the headers that say how much of the plan is used; left is the time until the 5-hour limit resets.
func (p *player) limits(used string, left time.Duration) {
	now := time.Now()
	for window, v := range map[string][3]string{
		"primary":   {used, "300", strconv.FormatInt(now.Add(left).Unix(), 10)},
		"secondary": {"61", "10080", strconv.FormatInt(now.Add(72*time.Hour).Unix(), 10)},
	} {
		p.w.Header().Set("X-Codex-"+window+"-Used-Percent", v[0])
		p.w.Header().Set("X-Codex-"+window+"-Window-Minutes", v[1])
		p.w.Header().Set("X-Codex-"+window+"-Reset-At", v[2])
	}
}

func (p *player) start() {
	p.header()
	response := map[string]any{"id": p.id, "object": "response", "created_at": time.Now().Unix(), "status": "in_progress", "model": p.doc.Get("model").Str, "output": []any{}}
	p.event("response.created", map[string]any{"response": response})
	p.event("response.in_progress", map[string]any{"response": response})
}

// event writes one.
func (p *player) event(name string, data map[string]any) {
	data["type"] = name
	data["sequence_number"] = p.sequence
	p.sequence++
	raw, err := json.Marshal(data)
	if err != nil {
		panic(err)
	}
	p.write(name, raw)
}

func (p *player) write(name string, raw []byte) {
	if p.gone {
		return
	}
	if p.delay > 0 && !p.sleep(p.delay) {
		return
	}
	var frame []byte
	if !p.unnamed {
		frame = append(frame, "event: "+name+p.lineEnd...)
	}
	frame = append(append(append(frame, "data: "...), raw...), p.lineEnd+p.lineEnd...)
	size := len(frame)
	if p.split {
		size = 1
	}
	for len(frame) > 0 {
		if _, err := p.w.Write(frame[:size]); err != nil || p.r.Context().Err() != nil {
			p.gone = true
			return
		}
		frame = frame[size:]
		p.flush()
	}
}

func (p *player) flush() {
	if f, ok := p.w.(http.Flusher); ok {
		f.Flush()
	}
}

// sleep waits, and reports whether the caller is still there.
func (p *player) sleep(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-p.r.Context().Done():
		p.gone = true
		return false
	}
}

func (p *player) done(index int, item map[string]any) {
	p.items = append(p.items, item)
	p.event("response.output_item.done", map[string]any{"output_index": index, "item": item})
}

// sealed begins what only the service that answers can read.
func (p *player) sealed() string {
	if strings.HasPrefix(p.r.URL.Path, "/backend-api") {
		return sealedByBackend
	}
	return sealedByPublic
}

func (p *player) reason(summary string) {
	index := len(p.items)
	id := "rs_" + random()
	p.event("response.output_item.added", map[string]any{"output_index": index, "item": map[string]any{"id": id, "type": "reasoning", "summary": []any{}}})
	if p.doc.Get("reasoning.summary").Exists() {
		p.event("response.reasoning_summary_part.added", map[string]any{"item_id": id, "output_index": index, "summary_index": 0, "part": map[string]any{"type": "summary_text", "text": ""}})
		p.event("response.reasoning_summary_text.delta", map[string]any{"item_id": id, "output_index": index, "summary_index": 0, "delta": summary})
		p.event("response.reasoning_summary_text.done", map[string]any{"item_id": id, "output_index": index, "summary_index": 0, "text": summary})
		p.event("response.reasoning_summary_part.done", map[string]any{"item_id": id, "output_index": index, "summary_index": 0, "part": map[string]any{"type": "summary_text", "text": summary}})
	}
	p.done(index, map[string]any{"id": id, "type": "reasoning", "encrypted_content": p.sealed() + random(), "summary": []any{map[string]any{"type": "summary_text", "text": summary}}})
}

// text writes a message, a word an event.
func (p *player) text(text string, annotations ...any) {
	index := len(p.items)
	id := p.openMessage(index)
	for _, word := range strings.SplitAfter(text, " ") {
		p.event("response.output_text.delta", map[string]any{"item_id": id, "output_index": index, "content_index": 0, "delta": word})
	}
	for i, a := range annotations {
		p.event("response.output_text.annotation.added", map[string]any{"item_id": id, "output_index": index, "content_index": 0, "annotation_index": i, "annotation": a})
	}
	p.event("response.output_text.done", map[string]any{"item_id": id, "output_index": index, "content_index": 0, "text": text})
	if annotations == nil {
		annotations = []any{}
	}
	part := map[string]any{"type": "output_text", "text": text, "annotations": annotations}
	p.event("response.content_part.done", map[string]any{"item_id": id, "output_index": index, "content_index": 0, "part": part})
	p.done(index, map[string]any{"id": id, "type": "message", "status": "completed", "role": "assistant", "content": []any{part}})
}

// openMessage begins a message and returns its id.
func (p *player) openMessage(index int) string {
	id := "msg_" + random()
	p.event("response.output_item.added", map[string]any{"output_index": index, "item": map[string]any{"id": id, "type": "message", "status": "in_progress", "role": "assistant", "content": []any{}}})
	p.event("response.content_part.added", map[string]any{"item_id": id, "output_index": index, "content_index": 0, "part": map[string]any{"type": "output_text", "text": "", "annotations": []any{}}})
	return id
}

// call writes a call of a tool, with arguments that its schema takes, in pieces.
func (p *player) call(tool gjson.Result, _ int) {
	raw, _ := json.Marshal(fill(tool.Get("parameters"), tool.Get("parameters"), 0))
	p.callWith(tool, string(raw))
}

// callWith calls a tool with these arguments.
func (p *player) callWith(tool gjson.Result, arguments string) {
	index := len(p.items)
	callID := "call_" + random()
	name := tool.Get("name").Str
	if tool.Get("type").Str == "custom" {
		id, input := "ctc_"+random(), "sample input"
		p.event("response.output_item.added", map[string]any{"output_index": index, "item": map[string]any{"id": id, "type": "custom_tool_call", "call_id": callID, "name": name, "input": ""}})
		p.event("response.custom_tool_call_input.delta", map[string]any{"item_id": id, "output_index": index, "delta": input})
		p.done(index, inNamespace(tool, map[string]any{"id": id, "type": "custom_tool_call", "status": "completed", "call_id": callID, "name": name, "input": input}))
		return
	}
	id := "fc_" + random()
	p.event("response.output_item.added", map[string]any{"output_index": index, "item": inNamespace(tool, map[string]any{"id": id, "type": "function_call", "status": "in_progress", "call_id": callID, "name": name, "arguments": ""})})
	half := len(arguments) / 2
	for _, piece := range []string{arguments[:half], arguments[half:]} {
		p.event("response.function_call_arguments.delta", map[string]any{"item_id": id, "output_index": index, "delta": piece})
	}
	p.event("response.function_call_arguments.done", map[string]any{"item_id": id, "output_index": index, "arguments": arguments})
	p.done(index, inNamespace(tool, map[string]any{"id": id, "type": "function_call", "status": "completed", "call_id": callID, "name": name, "arguments": arguments}))
}

// inNamespace says of a call in which namespace its tool is.
func inNamespace(tool gjson.Result, item map[string]any) map[string]any {
	if name := tool.Get("namespace").Str; name != "" {
		item["namespace"] = name
	}
	return item
}

func (p *player) usage() map[string]any {
	in := len(p.doc.Raw)/4 + 1
	return map[string]any{"input_tokens": in, "input_tokens_details": map[string]any{"cached_tokens": in / 2},
		"output_tokens": 10, "output_tokens_details": map[string]any{"reasoning_tokens": 3}, "total_tokens": in + 10}
}

// complete ends the answer, as the backend does, with an empty output.
func (p *player) complete() { p.finish("response.completed", "completed", nil) }

func (p *player) finish(event, status string, more map[string]any) {
	output := []any{}
	if p.full {
		output = p.items
	}
	response := map[string]any{"id": p.id, "object": "response", "created_at": time.Now().Unix(), "status": status,
		"model": p.doc.Get("model").Str, "output": output, "usage": p.usage(), "store": false}
	if p.full {
		response["previous_response_id"] = nil
	}
	for k, v := range more {
		response[k] = v
	}
	p.event(event, map[string]any{"response": response})
}
