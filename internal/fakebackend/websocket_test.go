package fakebackend

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/tidwall/gjson"
)

const testModels = `{"models":[{"slug":"gpt-5.5"},{"slug":"gpt-6-lite","use_responses_lite":true}]}`

// caller is one WebSocket to a stand-in.
type caller struct {
	t    *testing.T
	ctx  context.Context
	conn *websocket.Conn
}

func serveSockets(t *testing.T, change func(*Backend)) (b *Backend, url string, h http.Header) {
	b = New()
	b.Models = []byte(testModels)
	if change != nil {
		change(b)
	}
	server := httptest.NewServer(b)
	t.Cleanup(server.Close)
	return b, server.URL + "/backend-api/codex/responses", http.Header{
		"Authorization": {"Bearer " + b.SignIn(time.Hour).Access}, "Chatgpt-Account-Id": {AccountID}, "Openai-Beta": {socketBeta},
		"Originator": {"test"}, "User-Agent": {"test/1"}, "Version": {"0.169.0"},
	}
}

func dial(t *testing.T, url string, h http.Header) *caller {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	conn, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPHeader: h, CompressionMode: websocket.CompressionContextTakeover})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.CloseNow() }) //nolint:errcheck // over
	conn.SetReadLimit(-1)
	return &caller{t, ctx, conn}
}

// ask sends a message and returns the events of its answer.
func (c *caller) ask(message string) (events []gjson.Result) {
	c.t.Helper()
	if err := c.conn.Write(c.ctx, websocket.MessageText, []byte(message)); err != nil {
		c.t.Fatal(err)
	}
	for {
		_, raw, err := c.conn.Read(c.ctx)
		if err != nil {
			c.t.Fatal(err)
		}
		ev := gjson.ParseBytes(raw)
		events = append(events, ev)
		if slices.Contains([]string{"response.completed", "response.failed", "error"}, ev.Get("type").Str) {
			return events
		}
	}
}

// create is a message with more fields, and items of input.
func create(more, input string) string {
	return `{"type":"response.create","model":"gpt-5.5","instructions":"x","store":false,"stream":true,"tools":[{"type":"function","name":"look","parameters":{"type":"object","properties":{}}}],` + more + `"input":[` + input + `]}`
}

func user(text string) string { return fmt.Sprintf(`{"role":"user","content":%q}`, text) }

func last(events []gjson.Result) gjson.Result { return events[len(events)-1] }

func words(events []gjson.Result) string {
	var all strings.Builder
	for _, ev := range events {
		all.WriteString(ev.Get("delta").Str)
	}
	return all.String()
}

func result(events []gjson.Result) string {
	for _, ev := range events {
		if item := ev.Get("item"); ev.Get("type").Str == "response.output_item.done" && item.Get("type").Str == "function_call" {
			return fmt.Sprintf(`{"type":"function_call_output","call_id":%q,"output":"42"}`, item.Get("call_id").Str)
		}
	}
	return ""
}

func TestAWebSocketContinuesItsLastAnswerWithTheNewItemsAlone(t *testing.T) {
	_, url, h := serveSockets(t, nil)
	c := dial(t, url, h)
	first := c.ask(create("", user("use the tool")))
	id := last(first).Get("response.id").Str
	second := c.ask(create(`"previous_response_id":"`+id+`",`, result(first)))
	if got := words(second); !strings.Contains(got, "The tool answered: 42") {
		t.Fatalf("%s %s", got, last(second))
	}
	third := c.ask(create(`"previous_response_id":"`+last(second).Get("response.id").Str+`",`, user("and then")))
	if got := words(third); got != "You said: and then" {
		t.Fatalf("%s %s", got, last(third))
	}
	// of the answers, only the last is known
	if got := last(c.ask(create(`"previous_response_id":"`+id+`",`, user("x")))); got.Get("error.code").Str != "previous_response_not_found" || got.Get("status").Int() != 400 {
		t.Errorf("an answer before the last: %s", got)
	}
}

func TestAWebSocketKnowsNoAnswerOfAnother(t *testing.T) {
	_, url, h := serveSockets(t, nil)
	id := last(dial(t, url, h).ask(create("", user("one")))).Get("response.id").Str
	if got := last(dial(t, url, h).ask(create(`"previous_response_id":"`+id+`",`, user("two")))); got.Get("error.code").Str != "previous_response_not_found" {
		t.Error(got)
	}
}

func TestAWebSocketForgetsItsLastAnswerWhenATurnFails(t *testing.T) {
	_, url, h := serveSockets(t, nil)
	c := dial(t, url, h)
	id := last(c.ask(create("", user("one")))).Get("response.id").Str
	if got := last(c.ask(create(`"previous_response_id":"`+id+`","top_p":1,`, user("two")))); got.Get("error.message").Str != "Unsupported parameter: top_p" {
		t.Fatal(got)
	}
	if got := last(c.ask(create(`"previous_response_id":"`+id+`",`, user("two")))); got.Get("error.code").Str != "previous_response_not_found" {
		t.Error(got)
	}
}

func TestAWebSocketMayBeWarmedBeforeThereIsInput(t *testing.T) {
	_, url, h := serveSockets(t, nil)
	c := dial(t, url, h)
	warm := c.ask(create(`"generate":false,`, ""))
	if words(warm) != "" || last(warm).Get("type").Str != "response.completed" {
		t.Fatal(warm)
	}
	if got := words(c.ask(create(`"previous_response_id":"`+last(warm).Get("response.id").Str+`",`, user("hello")))); got != "You said: hello" {
		t.Error(got)
	}
	lite := `{"type":"response.create","model":"gpt-6-lite","store":false,"stream":true,"generate":false,"input":[],"client_metadata":{"ws_request_header_x_openai_internal_codex_responses_lite":"true"}}`
	if got := last(c.ask(lite)); got.Get("type").Str != "response.completed" {
		t.Error(got)
	}
}

func TestAWebSocketRefusesWhatAPostDoes(t *testing.T) {
	_, url, h := serveSockets(t, nil)
	c := dial(t, url, h)
	for what, message := range map[string]string{
		"Store must be set to false":                           strings.Replace(create("", user("x")), `"store":false`, `"store":true`, 1),
		"Input must not be empty":                              create("", ""),
		"Input must be a list":                                 `{"type":"response.create","model":"gpt-5.5","input":"x"}`,
		"No tool call found for function call output":          create("", `{"type":"function_call_output","call_id":"c","output":"1"}`),
		"The message must be a response.create.":               strings.Replace(create("", user("x")), "response.create", "response.cancel", 1),
		"The 'gpt-4' model is not supported when using Codex ": strings.Replace(create("", user("x")), "gpt-5.5", "gpt-4", 1),
	} {
		if got := last(c.ask(message)); got.Get("type").Str != "error" || !strings.HasPrefix(got.Get("error.message").Str, what) || got.Get("status").Int() != 400 {
			t.Errorf("%s: %s", what, got)
		}
	}
	// what a scenario answers with a status
	if got := last(c.ask(create("", user("[[http500]]")))); got.Get("type").Str != "error" {
		t.Error(got)
	}
	req, _ := http.NewRequest(http.MethodPost, url, strings.NewReader(create(`"previous_response_id":"resp_1",`, user("x"))))
	req.Header = h.Clone()
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("previous_response_id in a POST: %s", resp.Status)
	}
}

func TestAWebSocketHasAnEnd(t *testing.T) {
	_, url, h := serveSockets(t, func(b *Backend) { b.SocketLife = 0 })
	if got := last(dial(t, url, h).ask(create("", user("x")))); got.Get("error.code").Str != "websocket_connection_limit_reached" {
		t.Error(got)
	}
}

func TestTheHandshakeOfAWebSocketIsChecked(t *testing.T) {
	_, url, h := serveSockets(t, nil)
	for header, want := range map[string]int{"Authorization": 401, "Chatgpt-Account-Id": 401, "Openai-Beta": 400} {
		lacking := h.Clone()
		lacking.Del(header)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		_, resp, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPHeader: lacking})
		cancel()
		if err == nil || resp == nil || resp.StatusCode != want {
			t.Errorf("without %s: %v", header, err)
		}
	}
}

func TestALeavingCallerOfAWebSocketIsNoticed(t *testing.T) {
	b, url, h := serveSockets(t, nil)
	c := dial(t, url, h)
	if err := c.conn.Write(c.ctx, websocket.MessageText, []byte(create("", user("[[fast 100000 20 20]]")))); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.conn.Read(c.ctx); err != nil {
		t.Fatal(err)
	}
	c.conn.CloseNow() //nolint:errcheck // that is the test
	select {
	case <-b.Gone():
	case <-c.ctx.Done():
		t.Fatal("nobody noticed")
	}
}
