package proxy

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/tidwall/gjson"
)

// bySDK dials as the SDKs do: without the Codex CLI's headers.
func bySDK(o *websocket.DialOptions) { o.HTTPHeader = http.Header{"Authorization": {"Bearer x"}} }

func send(t *testing.T, conn *websocket.Conn, message string) {
	t.Helper()
	if err := conn.Write(t.Context(), websocket.MessageText, []byte(message)); err != nil {
		t.Fatal(err)
	}
}

// next reads one event.
func next(t *testing.T, conn *websocket.Conn) gjson.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, raw, err := conn.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return gjson.ParseBytes(raw)
}

func TestAnSDKOpensASocketWithoutTheCLIsHeaders(t *testing.T) {
	r := newRig(t)
	serve(t, r)
	conn := dialSocket(t, r, bySDK)
	first := turn(t, conn, []byte(`{"type":"response.create","model":"gpt-5.5","input":"hello","temperature":0.5}`))
	if first.Get("response.output.#.content.0.text").Raw != `["You said: hello"]` {
		t.Fatalf("%s", first.Raw)
	}
	second := turn(t, conn, []byte(`{"type":"response.create","model":"gpt-5.5","input":"again","previous_response_id":"`+first.Get("response.id").Str+`"}`))
	if second.Get("type").Str != "response.completed" || !strings.Contains(r.sentUp().Raw, "You said: hello") {
		t.Errorf("%s", second.Raw)
	}
	limit := turn(t, conn, []byte(`{"type":"response.create","model":"gpt-5.5","input":"[[limit]]"}`))
	if limit.Get("error.type").Str != "usage_limit_reached" || limit.Get("status").Int() != 402 || !limit.Get("error.code").Exists() || !limit.Get("error.param").Exists() {
		t.Errorf("the limit is in the backend's words: %s", limit.Raw)
	}
	if late := turn(t, conn, []byte(`{"type":"response.create","model":"gpt-5.5","input":"[[error server_error late]]"}`)); late.Get("error.code").Str != "server_error" {
		t.Errorf("an error event is flat: %s", late.Raw)
	}
}

func TestEachEventNamesTheStreamOfItsTurn(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Strict = true })
	serve(t, r)
	conn := dialSocket(t, r, bySDK)
	for _, message := range []string{
		`{"type":"response.create","model":"gpt-5.5","stream_id":"a.b-1","input":"hello"}`,
		`{"type":"response.create","model":"gpt-5.5","stream_id":"a.b-1","input":"hello","generate":false}`,
		`{"type":"response.create","model":"gpt-5.5","stream_id":"a.b-1","input":"[[limit]]"}`,
	} {
		send(t, conn, message)
		for {
			ev := next(t, conn)
			if ev.Get("stream_id").Str != "a.b-1" || !gjson.Valid(ev.Raw) {
				t.Fatalf("%s", ev.Raw)
			}
			if kind := ev.Get("type").Str; kind == "response.completed" || kind == "error" {
				break
			}
		}
	}
	if strings.Contains(string(r.backend.Requests("/responses")[0].Body), "stream_id") {
		t.Error("it went up")
	}
	if doc := turn(t, conn, create("hello")); doc.Get("stream_id").Exists() {
		t.Errorf("a turn without a stream: %s", doc.Raw)
	}
}

func TestStreamsOfASocketAreAnsweredAtOnceAndTheirTurnsInTurn(t *testing.T) {
	r := newRig(t)
	serve(t, r)
	conn := dialSocket(t, r, bySDK)
	ask := func(stream, say string) {
		send(t, conn, fmt.Sprintf(`{"type":"response.create","model":"gpt-5.5","stream_id":%q,"input":%q}`, stream, say))
	}
	ask("slow", "[[stall 60000]]")
	ask("slow", "second")
	ask("fast", "hello")
	eventually(t, "two are answered", func() bool { return r.backend.Counts().Responses == 2 })
	if doc := lastOf(t, conn); doc.Get("stream_id").Str != "fast" || doc.Get("type").Str != "response.completed" {
		t.Fatalf("the fast one waits: %s", doc.Raw)
	}
	if n := r.backend.Counts().Responses; n != 2 {
		t.Errorf("the second turn of a stream did not wait for the first: %d", n)
	}
	if doc := turn(t, conn, []byte(`{"type":"response.cancel","response_id":"resp_other"}`)); doc.Get("error.code").Str != "response_cancel_not_active" {
		t.Errorf("another's answer: %s", doc.Raw)
	}
	send(t, conn, `{"type":"response.cancel","stream_id":"slow"}`)
	if doc := lastOf(t, conn); doc.Get("response.incomplete_details.reason").Str != "cancelled" || doc.Get("stream_id").Str != "slow" {
		t.Errorf("%s", doc.Raw)
	}
	if doc := lastOf(t, conn); !strings.Contains(doc.Raw, "You said: second") {
		t.Errorf("%s", doc.Raw)
	}
}

func TestACancelledTurnEndsUpstreamAndTheConnectionGoesOn(t *testing.T) {
	var heard recordings
	r := newRig(t, heard.listen)
	serve(t, r)
	conn := dialSocket(t, r, bySDK)
	for _, cancel := range []string{`{"type":"response.cancel"}`, `{"type":"response.cancel","response_id":"ID"}`} {
		send(t, conn, `{"type":"response.create","model":"gpt-5.5","input":"[[endless]]"}`)
		id := next(t, conn).Get("response.id").Str
		if id == "" {
			t.Fatal("no id")
		}
		send(t, conn, strings.ReplaceAll(cancel, "ID", id))
		if doc := lastOf(t, conn); doc.Get("type").Str != "response.incomplete" || doc.Get("response.id").Str != id || doc.Get("response.status").Str != "incomplete" {
			t.Errorf("%s", doc.Raw)
		}
		select {
		case <-r.backend.Gone():
		case <-time.After(5 * time.Second):
			t.Fatal("the backend goes on")
		}
		if doc := turn(t, conn, create("hello", `"previous_response_id":"`+id+`"`)); doc.Get("type").Str != "response.completed" {
			t.Errorf("the next: %s", doc.Raw)
		}
	}
	if _, records := heard.all(t, 4); !records[0].Gone || records[0].Code != "" || records[1].Gone {
		t.Errorf("%+v", records)
	}
	for _, late := range []string{`{"type":"response.cancel"}`, `{"type":"response.cancel","response_id":"resp_other"}`} {
		if doc := turn(t, conn, []byte(late)); doc.Get("error.code").Str != "response_cancel_not_active" {
			t.Errorf("%s: %s", late, doc.Raw)
		}
	}
}

func TestATurnGoesOnFromWhatACancelledOneSaid(t *testing.T) {
	r := newRig(t)
	serve(t, r)
	conn := dialSocket(t, r, bySDK)
	send(t, conn, `{"type":"response.create","model":"gpt-5.5","input":"[[open]]"}`)
	for next(t, conn).Get("type").Str != "response.output_item.done" {
	}
	send(t, conn, `{"type":"response.cancel"}`)
	doc := lastOf(t, conn)
	if got := doc.Get("response.output.#.content.0.text").Raw; got != `["So far."]` {
		t.Errorf("it was told as %s", doc.Raw)
	}
	turn(t, conn, create("hello", `"previous_response_id":"`+doc.Get("response.id").Str+`"`))
	if got := r.sentUp().Get("input.#.content.0.text").Raw; got != `["[[open]]","So far.","hello"]` {
		t.Errorf("the next turn sends %s", got)
	}
}

func TestASocketRefusesWhatItCantDo(t *testing.T) {
	r := newRig(t)
	serve(t, r)
	conn := dialSocket(t, r, bySDK)
	for message, want := range map[string]string{
		`{"type":"response.create","stream_id":"","input":"x"}`:                                 "invalid_stream_id",
		`{"type":"response.create","stream_id":"a b","input":"x"}`:                              "invalid_stream_id",
		`{"type":"response.create","stream_id":7,"input":"x"}`:                                  "invalid_stream_id",
		`{"type":"response.create","stream_id":"` + strings.Repeat("a", 257) + `","input":"x"}`: "invalid_stream_id",
		`{"type":"response.create","background":true,"input":"x"}`:                              "background",
		`{"type":"session.update"}`:                                                             "type",
	} {
		doc := turn(t, conn, []byte(message))
		if doc.Get("error.code").Str != want && doc.Get("error.param").Str != want || doc.Get("stream_id").Exists() {
			t.Errorf("%s: %s", message, doc.Raw)
		}
	}
	send(t, conn, `{"type":"response.steer","previous_response_id":"resp_1","input":[{"role":"user","content":"hurry"}]}`)
	if doc := next(t, conn); doc.Get("type").Str != "response.steer.failed" || doc.Get("error.code").Str != "steering_not_supported" || doc.Get("steer.input.0.content").Str != "hurry" {
		t.Errorf("%s", doc.Raw)
	}
	for i := range 33 {
		doc := turn(t, conn, fmt.Appendf(nil, `{"type":"response.create","stream_id":"s%d","input":"x","generate":false}`, i))
		if full := doc.Get("error.code").Str == "websocket_stream_limit_reached"; full != (i == 32) {
			t.Errorf("stream %d: %s", i, doc.Raw)
		}
	}
	if doc := turn(t, conn, []byte(`{"type":"response.create","stream_id":"s0","input":"x","generate":false}`)); doc.Get("type").Str != "response.completed" {
		t.Errorf("one that is known: %s", doc.Raw)
	}
}

// TestAMessageThatIsAllBracketsIsNoMatter: to look into each of them by a call would take more stack than there is, and
// end the program.
func TestAMessageThatIsAllBracketsIsNoMatter(t *testing.T) {
	brackets := strings.Repeat("[", 15<<20)
	for _, kind := range []string{"response.create", "response.steer", "response.cancel", "other"} {
		r := newRig(t)
		serve(t, r)
		conn := dialSocket(t, r)
		turn(t, conn, create("hello"))
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		if err := conn.Write(ctx, websocket.MessageText, []byte(`{"type":"`+kind+`","input":`+brackets+`}`)); err != nil {
			t.Fatal(err)
		}
		conn.Read(ctx) // an error in its words, or none
		cancel()
		if status, text := r.post("/v1/responses", `{"input":"hello"}`); status != 200 {
			t.Errorf("%s: %d %s", kind, status, text)
		}
	}
}
