package codex

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"
)

// told plays events to a handler and writes down what it hears.
func told(h *EventHandler, events ...string) (string, *End) {
	var b strings.Builder
	h.Text = func(raw string) { b.WriteString(Text(raw)) }
	h.Thinking = func(raw string) { fmt.Fprintf(&b, "<%s>", Text(raw)) }
	h.Call = func(c Call) { fmt.Fprintf(&b, "[%d %s", c.Number, c.Name) }
	h.Arguments = func(c Call, raw string) { fmt.Fprintf(&b, " %d:%s", c.Number, Text(raw)) }
	h.CallDone = func(c Call, whole string) { fmt.Fprintf(&b, " =%d:%s]", c.Number, whole) }
	h.Other = func(item gjson.Result) { fmt.Fprintf(&b, "{%s}", item.Get("type").Str) }
	for _, e := range events {
		if end := h.Event(Event{Type: gjson.Get(e, "type").Str, Data: []byte(e)}); end != nil {
			return b.String(), end
		}
	}
	return b.String(), nil
}

func TestAnEventHandlerTellsEachThingOnce(t *testing.T) {
	for name, c := range map[string]struct {
		events []string
		want   string
		reason string
	}{
		"text in pieces": {[]string{`{"type":"response.output_text.delta","delta":"a"}`, `{"type":"response.output_text.delta","delta":"b"}`,
			`{"type":"response.output_item.done","item":{"type":"message","content":[{"text":"ab"}]}}`, `{"type":"response.completed"}`}, "ab", "stop"},
		"text at once":           {[]string{`{"type":"response.output_item.done","item":{"type":"message","content":[{"text":"ab"},{"refusal":"no"}]}}`, `{"type":"response.completed"}`}, "abno", "stop"},
		"a refusal":              {[]string{`{"type":"response.refusal.delta","delta":"no"}`, `{"type":"response.completed"}`}, "no", "stop"},
		"reasoning in parts":     {[]string{`{"type":"response.reasoning_summary_part.added"}`, `{"type":"response.reasoning_summary_text.delta","delta":"a"}`, `{"type":"response.reasoning_summary_part.added"}`, `{"type":"response.reasoning_text.delta","delta":"b"}`, `{"type":"response.completed"}`}, "<a><\n\n><b>", "stop"},
		"a call":                 {[]string{`{"type":"response.output_item.added","output_index":3,"item":{"type":"function_call","call_id":"c","name":"f"}}`, `{"type":"response.function_call_arguments.delta","output_index":3,"delta":"{}"}`, `{"type":"response.output_item.done","output_index":3,"item":{"type":"function_call","call_id":"c","name":"f","arguments":"{}"}}`, `{"type":"response.completed"}`}, "[0 f 0:{} =0:{}]", "tool_calls"},
		"a call at once":         {[]string{`{"type":"response.output_item.done","output_index":3,"item":{"type":"custom_tool_call","call_id":"c","name":"f","input":"x"}}`, `{"type":"response.completed"}`}, "[0 f 0:x =0:x]", "tool_calls"},
		"two on one index":       {[]string{`{"type":"response.output_item.done","item":{"type":"function_call","call_id":"a","name":"f","arguments":"1"}}`, `{"type":"response.output_item.done","item":{"type":"function_call","call_id":"b","name":"g","arguments":"2"}}`, `{"type":"response.completed"}`}, "[0 f 0:1 =0:1][1 g 1:2 =1:2]", "tool_calls"},
		"pieces of nothing":      {[]string{`{"type":"response.function_call_arguments.delta","output_index":3,"delta":"{}"}`, `{"type":"response.output_text.delta","delta":""}`, `{"type":"response.output_text.delta"}`, `{"type":"response.output_text.delta","delta":5}`, `{"type":"response.completed"}`}, "", "stop"},
		"something else":         {[]string{`{"type":"response.output_item.done","item":{"type":"image_generation_call"}}`, `{"type":"response.completed"}`}, "{image_generation_call}", "stop"},
		"an end before its time": {[]string{`{"type":"response.incomplete","response":{"incomplete_details":{"reason":"max_output_tokens"}}}`}, "", "length"},
		"a filter":               {[]string{`{"type":"response.incomplete","response":{"incomplete_details":{"reason":"content_filter"}}}`}, "", "content_filter"},
	} {
		got, end := told(&EventHandler{}, c.events...)
		if got != c.want || end == nil || end.Reason != c.reason {
			t.Errorf("%s: %q %+v", name, got, end)
		}
	}
	if silent := (&EventHandler{}); silent.Event(Event{Type: TypeTextDelta, Data: []byte(`{"delta":"a"}`)}) != nil {
		t.Error("a handler that hears nothing")
	}
}

func TestReasoningIsRememberedByTheCallThatItLedTo(t *testing.T) {
	h := &EventHandler{}
	told(h, `{"type":"response.output_item.done","item":{"type":"reasoning","encrypted_content":"r1"}}`, `{"type":"response.output_item.done","item":{"type":"function_call","call_id":"a","name":"f"}}`,
		`{"type":"response.output_item.done","output_index":1,"item":{"type":"function_call","call_id":"b","name":"f"}}`)
	cache := NewReasoningCache()
	h.Remember(cache, "m")
	if items := cache.Before("m", "a"); len(items) != 1 || !strings.Contains(string(items[0]), "r1") {
		t.Errorf("%s", items)
	}
	if cache.Before("m", "b") != nil || cache.Before("other", "a") != nil {
		t.Error("it is given to others")
	}
}

func TestTextIsDecodedAsJSONIs(t *testing.T) {
	for _, s := range []string{"", "plain", "Grüße 世界 👋", "a\"b\\c\n\t\u2028", "\x00"} {
		raw, _ := json.Marshal(s)
		if got := Text(string(raw)); got != s {
			t.Errorf("%s is %q", raw, got)
		}
	}
	if got := Text(`"\ud83d\udc4b"`); got != "👋" {
		t.Errorf("%q", got)
	}
}

func TestWhatWasDroppedIsBounded(t *testing.T) {
	var d Dropped
	if !d.Empty() || d.String() != "" {
		t.Error("nothing is something")
	}
	d.add("a")
	d.add("b")
	d.add("a")
	if d.String() != "a, b" || d.More != 0 {
		t.Errorf("%q", d)
	}
	d.add("line\r\nbreak")
	if strings.ContainsAny(d.String(), "\r\n") {
		t.Errorf("%q", d)
	}
	for i := range 100_000 {
		d.add(fmt.Sprint(strings.Repeat("x", i%200), i))
	}
	if s := d.String(); len(d.Names) != droppedNames || len(s) > droppedMost+20 || !strings.HasSuffix(s, " more") {
		t.Errorf("%d names, %q", len(d.Names), s)
	}
}

func TestAPanicInASilenceEndsTheStreamOnly(t *testing.T) {
	got := make(chan error, 1)
	i := newIdle(time.Millisecond, time.Minute, func(cause error) { got <- cause })
	defer i.stop()
	i.onQuiet(func() { panic("secret words") })
	var e *Error
	if err := <-got; !errors.As(err, &e) || e.Code != "internal_error" || e.Stack == nil {
		t.Errorf("%v", err)
	}
}
