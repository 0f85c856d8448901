package fakebackend

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"
)

// play runs the scenario that a user message names: [[name arguments]].
func (p *player) play(words []string) {
	name, args := words[0], words[1:]
	if answer, ok := httpErrors[name]; ok {
		answer(p)
		return
	}
	if run, ok := scenarios[name]; ok {
		run(p, args)
		return
	}
	writeJSON(p.w, 400, map[string]any{"detail": "unknown scenario " + name})
}

func number(args []string, i, otherwise int) int {
	if i < len(args) {
		if n, err := strconv.Atoi(args[i]); err == nil {
			return n
		}
	}
	return otherwise
}

// scenarios are answers that begin with status 200.
var scenarios = map[string]func(*player, []string){
	// text N MS: N words, with MS milliseconds before each event
	"text": func(p *player, args []string) {
		p.delay = time.Duration(number(args, 1, 0)) * time.Millisecond
		p.start()
		p.text(strings.TrimSuffix(strings.Repeat("word ", number(args, 0, 20)), " "))
		p.complete()
	},
	// fast N SIZE MS: N pieces of text of SIZE bytes, ready before they are sent, with MS milliseconds between them; in one
	// burst where MS is "burst"
	"fast": (*player).fast,
	// call NAME ARGUMENTS: a tool with these arguments, and then what it answered
	"call": func(p *player, args []string) { p.useTool(1, args) },
	// calls N NAME ARGUMENTS: the same N times, one after the other, with the number of the call for {n} in ARGUMENTS
	"calls": func(p *player, args []string) { p.useTool(number(args, 0, 1), args[min(1, len(args)):]) },
	"reasoning": func(p *player, _ []string) {
		p.start()
		p.reason("First thought.")
		p.reason("Second thought.")
		p.text("After thinking.")
		p.complete()
	},
	"parallel": func(p *player, _ []string) {
		p.start()
		p.reason("Both at once.")
		for i, t := range p.tools() {
			if i > 0 && p.doc.Get("parallel_tool_calls").Type == gjson.False {
				break
			}
			p.call(t, i)
		}
		p.complete()
	},
	"refusal": func(p *player, _ []string) {
		p.start()
		at := func(more map[string]any) map[string]any {
			more["item_id"], more["output_index"], more["content_index"] = "msg_r", 0, 0
			return more
		}
		part := func(text string) map[string]any { return map[string]any{"type": "refusal", "refusal": text} }
		p.event("response.output_item.added", map[string]any{"output_index": 0, "item": map[string]any{"id": "msg_r", "type": "message", "status": "in_progress", "role": "assistant", "content": []any{}}})
		p.event("response.content_part.added", at(map[string]any{"part": part("")}))
		for _, piece := range []string{"I can't ", "help with that."} {
			p.event("response.refusal.delta", at(map[string]any{"delta": piece}))
		}
		whole := part("I can't help with that.")
		p.event("response.refusal.done", at(map[string]any{"refusal": whole["refusal"]}))
		p.event("response.content_part.done", at(map[string]any{"part": whole}))
		p.done(0, map[string]any{"id": "msg_r", "type": "message", "status": "completed", "role": "assistant", "content": []any{whole}})
		p.complete()
	},
	// websearch: a search and a page that it opens; websearch failed: one that finds nothing out
	"websearch": func(p *player, args []string) {
		p.start()
		if len(args) > 0 {
			p.search("x", args[0])
		} else {
			p.search("x", "completed")
			p.openPage()
		}
		p.text("Found it.", source)
		p.complete()
	},
	"incomplete": func(p *player, args []string) {
		reason := "max_output_tokens"
		if len(args) > 0 {
			reason = args[0]
		}
		p.start()
		p.text("Half an ans")
		p.finish("response.incomplete", "incomplete", map[string]any{"incomplete_details": map[string]any{"reason": reason}})
	},
	// failed CODE: at once; failed CODE late: after some text
	"failed": func(p *player, args []string) {
		p.start()
		if len(args) > 1 {
			p.text("Some text before.")
		}
		p.finish("response.failed", "failed", map[string]any{"error": failure(args)})
	},
	"error": func(p *player, args []string) {
		p.start()
		if len(args) > 1 {
			p.text("Some text before.")
		}
		e := failure(args)
		p.event("error", map[string]any{"code": e["code"], "message": e["message"], "param": nil})
	},
	// cut: the connection drops in the middle; cut early: before the first word
	"cut": func(p *player, args []string) {
		p.start()
		if len(args) == 0 {
			p.event("response.output_text.delta", map[string]any{"output_index": 0, "delta": "Half"})
		}
		panic(http.ErrAbortHandler)
	},
	// eof: the stream ends politely in the middle
	"eof": func(p *player, _ []string) {
		p.start()
		p.event("response.output_text.delta", map[string]any{"output_index": 0, "delta": "Half"})
	},
	// stall MS: silence in the middle, then the rest
	"stall": func(p *player, args []string) {
		p.start()
		p.event("response.output_text.delta", map[string]any{"output_index": 0, "delta": "Half"})
		p.sleep(time.Duration(number(args, 0, 600000)) * time.Millisecond)
		p.text("done")
		p.complete()
	},
	// open: a whole message, and then silence
	"open": func(p *player, _ []string) {
		p.start()
		p.text("So far.")
		p.sleep(10 * time.Minute)
	},
	"endless": func(p *player, _ []string) {
		p.start()
		id := p.openMessage(0)
		p.delay = 5 * time.Millisecond
		for i := 0; i < 100000 && !p.gone; i++ {
			p.event("response.output_text.delta", map[string]any{"item_id": id, "output_index": 0, "content_index": 0, "delta": "word "})
		}
	},
	"crlf":    framed(func(p *player) { p.lineEnd = "\r\n" }),
	"cr":      framed(func(p *player) { p.lineEnd = "\r" }),
	"split":   framed(func(p *player) { p.split, p.lineEnd = true, "\r\n" }),
	"unnamed": framed(func(p *player) { p.unnamed = true }),
	"full":    framed(func(p *player) { p.full = true }),
	// big N: one event of N megabytes
	"big": func(p *player, args []string) {
		p.start()
		p.text(strings.Repeat("x", number(args, 0, 16)<<20))
		p.complete()
	},
	// undelta: a message that never comes in pieces
	"undelta": func(p *player, _ []string) {
		p.start()
		p.done(0, map[string]any{"id": "msg_u", "type": "message", "role": "assistant", "content": []any{map[string]any{"type": "output_text", "text": "All at once."}}})
		p.complete()
	},
	// stops: text around a stop sequence that is split over events
	"stops": func(p *player, _ []string) {
		p.start()
		for _, piece := range []string{"one ", "two ST", "OP three ", "four"} {
			p.event("response.output_text.delta", map[string]any{"output_index": 0, "delta": piece})
		}
		p.sleep(10 * time.Second) // who stops here must not wait
		p.complete()
	},
	"private": func(p *player, _ []string) {
		p.start()
		p.event("codex.rate_limits", map[string]any{"plan_type": "plus", "rate_limits": map[string]any{"primary": map[string]any{"used_percent": 42}}})
		p.event("response.metadata", map[string]any{"x": 1})
		p.text("Hello.")
		p.complete()
	},
}

// fast answers as quickly as can be, for who measures what reads it.
func (p *player) fast(args []string) {
	p.start()
	id := p.openMessage(0)
	pieces, size, pause := number(args, 0, 1000), number(args, 1, 20), time.Duration(number(args, 2, 0))*time.Millisecond
	burst := len(args) > 2 && args[2] == "burst"
	before := `event: response.output_text.delta` + "\n" + `data: {"type":"response.output_text.delta","content_index":0,"delta":"` + strings.Repeat("w", size) + `","item_id":"` + id + `","obfuscation":"","output_index":0,"sequence_number":`
	frame := []byte(before)
	due := time.Now()
	for range pieces {
		frame = append(strconv.AppendInt(frame[:len(before)], int64(p.sequence), 10), "}\n\n"...)
		p.sequence++
		if due = due.Add(pause); pause > 0 && !p.sleep(time.Until(due)) {
			return
		}
		if _, err := p.w.Write(frame); err != nil {
			p.gone = true
			return
		}
		if !burst {
			p.flush()
		}
	}
	text := strings.Repeat("w", pieces*size)
	p.done(0, map[string]any{"id": id, "type": "message", "status": "completed", "role": "assistant", "content": []any{map[string]any{"type": "output_text", "text": text, "annotations": []any{}}}})
	p.complete()
}

// useTool calls a tool until it has answered so often since the user spoke, and then says what it did.
func (p *player) useTool(times int, args []string) {
	input, answers := p.doc.Get("input").Array(), 0
	for _, item := range input {
		switch {
		case item.Get("role").Str == "user":
			answers = 0
		case strings.HasSuffix(item.Get("type").Str, "_output"):
			answers++
		}
	}
	p.start()
	if answers >= times || len(args) == 0 {
		p.text("The tool answered: " + flatten(input[len(input)-1].Get("output")))
		p.complete()
		return
	}
	p.reason("I should use a tool for this.")
	for _, t := range p.tools() {
		if t.Get("name").Str == args[0] {
			arguments := strings.ReplaceAll(strings.Join(args[1:], " "), `\"`, `"`) // some quote a prompt
			p.callWith(t, strings.ReplaceAll(arguments, "{n}", strconv.Itoa(answers+1)))
			p.complete()
			return
		}
	}
	p.text("There is no tool " + args[0])
	p.complete()
}

func framed(set func(*player)) func(*player, []string) {
	return func(p *player, _ []string) {
		set(p)
		p.start()
		p.text("Grüße, 世界 👋 done.")
		p.complete()
	}
}

func failure(args []string) map[string]any {
	code := "server_error"
	if len(args) > 0 {
		code = args[0]
	}
	message := "It failed: " + code
	if code == "rate_limit_exceeded" {
		message = "Rate limit reached for this model. Please try again in 11.054s."
	}
	return map[string]any{"code": code, "message": message}
}

// httpErrors are answers with another status.
var httpErrors = map[string]func(*player){
	"http401": func(p *player) {
		writeJSON(p.w, 401, map[string]any{"error": map[string]any{"code": "token_expired", "message": "Provided authentication token is expired."}})
	},
	"http401once": once(func(p *player) {
		writeJSON(p.w, 401, map[string]any{"error": map[string]any{"code": "token_expired", "message": "Provided authentication token is expired."}})
	}),
	"limit": func(p *player) {
		p.limits("100", 30*time.Minute)
		writeJSON(p.w, 429, map[string]any{"error": map[string]any{"type": "usage_limit_reached", "message": "The usage limit has been reached",
			"plan_type": "plus", "resets_at": time.Now().Add(30 * time.Minute).Unix(), "resets_in_seconds": 1800}})
	},
	"notincluded": func(p *player) {
		writeJSON(p.w, 429, map[string]any{"error": map[string]any{"type": "usage_not_included", "message": "no"}})
	},
	"sharing": func(p *player) {
		writeJSON(p.w, 429, publicError("subscription_sharing_usage_limit_exceeded", "Usage limit exceeded.", ""))
	},
	"ineligible": func(p *player) {
		writeJSON(p.w, 403, publicError("subscription_sharing_user_not_eligible", "Not eligible.", ""))
	},
	"unavailable": func(p *player) {
		writeJSON(p.w, 503, publicError("subscription_sharing_usage_unavailable", "Try later.", ""))
	},
	"userunavailable": func(p *player) {
		writeJSON(p.w, 503, publicError("subscription_sharing_user_unavailable", "Try later.", ""))
	},
	"userunavailableonce": once(func(p *player) {
		writeJSON(p.w, 503, publicError("subscription_sharing_user_unavailable", "Try later.", ""))
	}),
	"invaliduser": func(p *player) {
		writeJSON(p.w, 403, publicError("subscription_sharing_invalid_user", "The account was not accepted.", ""))
	},
	"http429": func(p *player) {
		p.w.Header().Set("Retry-After", "20")
		writeJSON(p.w, 429, map[string]any{"error": map[string]any{"code": "rate_limit_exceeded", "message": "Too fast."}})
	},
	"http429once": once(func(p *player) {
		p.w.Header().Set("Retry-After", "1")
		writeJSON(p.w, 429, map[string]any{"error": map[string]any{"code": "rate_limit_exceeded", "message": "Too fast."}})
	}),
	"http400": func(p *player) { writeJSON(p.w, 400, map[string]any{"detail": "Unsupported parameter: something"}) },
	// quote: the prompt is told back as what is wrong
	"quote": func(p *player) {
		said := p.doc.Get("input.@reverse.0.content.0.text").Str
		writeJSON(p.w, 400, map[string]any{"error": map[string]any{"code": "invalid_value", "param": "input[0].content[0].text", "message": "Invalid value: '" + said + "'. Supported values are: 'a' and 'b'."}})
	},
	"http404": func(p *player) {
		writeJSON(p.w, 404, map[string]any{"error": map[string]any{"code": "model_not_found", "message": "No such model."}})
	},
	"context": func(p *player) {
		writeJSON(p.w, 400, map[string]any{"error": map[string]any{"code": "context_length_exceeded", "message": "Your input exceeds the context window."}})
	},
	"http500": func(p *player) { http.Error(p.w, "upstream connect error", 500) },
	"http503": func(p *player) {
		writeJSON(p.w, 503, map[string]any{"error": map[string]any{"code": "server_is_overloaded", "message": "Busy."}})
	},
	"http520":     func(p *player) { p.w.WriteHeader(520); io.WriteString(p.w, "<html>Web server error</html>") }, //nolint:errcheck // gone
	"html403":     func(p *player) { p.b.challenge(p.w) },
	"hangheaders": func(p *player) { p.sleep(10 * time.Minute) },
}

// once plays an error the first time that a conversation asks for it, and the second time an answer.
func once(answer func(*player)) func(*player) {
	return func(p *player) {
		key := fmt.Sprint(p.doc.Get("prompt_cache_key").String(), gjson.Get(p.doc.Raw, "input").Raw)
		p.b.mu.Lock()
		seen := p.b.once[key]
		p.b.once[key] = true
		p.b.mu.Unlock()
		if !seen {
			answer(p)
			return
		}
		p.start()
		p.text("Second try.")
		p.complete()
	}
}
