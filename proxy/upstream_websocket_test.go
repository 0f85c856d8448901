package proxy

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"codex-proxy/creds"
	"codex-proxy/internal/fakebackend"
	"codex-proxy/proxy/codex"
)

// toolRun is a run of tool calls, whose caller sends the whole conversation each time.
type toolRun struct {
	r       *rig
	dialect string
	forget  bool // the caller drops the reasoning
	items   []string
}

func startRun(r *rig, dialect string) *toolRun {
	return &toolRun{r: r, dialect: dialect, items: []string{`{"role":"user","content":"[[calls 5 look {\"n\":{n}}]]"}`}}
}

// startOverSocket starts a run, and goes on with it until its connection is open and was used once.
func startOverSocket(r *rig, dialect string) *toolRun {
	r.t.Helper()
	c := startRun(r, dialect)
	c.turn()
	c.turn()
	r.sockets(1)
	c.turn()
	return c
}

// turn sends the conversation and puts the answer, and the tool's, to its end. It returns what was said.
func (c *toolRun) turn() string {
	c.r.t.Helper()
	all := strings.Join(c.items, ",")
	const schema = `"parameters":{"type":"object","properties":{"n":{"type":"integer"}}}`
	if c.dialect == "chat" {
		status, answer := c.r.post("/v1/chat/completions", `{"model":"gpt-5.5","messages":[`+all+`],"tools":[{"type":"function","function":{"name":"look",`+schema+`}}]}`)
		if status != http.StatusOK {
			c.r.t.Fatal(status, answer)
		}
		message := gjson.Get(answer, "choices.0.message")
		c.items = append(c.items, message.Raw)
		if id := message.Get("tool_calls.0.id").Str; id != "" {
			c.items = append(c.items, fmt.Sprintf(`{"role":"tool","tool_call_id":%q,"content":"%d"}`, id, len(c.items)))
		}
		return message.Get("content").Str
	}
	status, answer := c.r.post("/v1/responses", `{"model":"gpt-5.5","store":false,"include":["reasoning.encrypted_content"],"input":[`+all+`],"tools":[{"type":"function","name":"look",`+schema+`}]}`)
	if status != http.StatusOK {
		c.r.t.Fatal(status, answer)
	}
	said := ""
	for _, item := range gjson.Get(answer, "output").Array() {
		if item.Get("type").Str == "reasoning" && c.forget {
			continue
		}
		c.items = append(c.items, item.Raw)
		said += item.Get("content.0.text").Str
		if id := item.Get("call_id").Str; id != "" {
			c.items = append(c.items, fmt.Sprintf(`{"type":"function_call_output","call_id":%q,"output":"%d"}`, id, len(c.items)))
		}
	}
	return said
}

// sockets waits until so many WebSockets are open at the backend.
func (r *rig) sockets(n int) {
	r.t.Helper()
	for end := time.Now().Add(10 * time.Second); r.backend.Counts().Sockets != n || n > 0 && r.server.Client.Sockets.(*codex.Sockets).Idle() != n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("%d WebSockets are open, not %d", r.backend.Counts().Sockets, n)
		}
	}
}

// endless is an answer over the run's WebSocket that has begun and never ends.
func (r *rig) endless(c *toolRun) io.ReadCloser {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 10*time.Second)
	r.t.Cleanup(cancel)
	more, _ := json.Marshal("[[endless]]")
	body := `{"model":"gpt-5.5","stream":true,"messages":[` + strings.Join(c.items, ",") + `,{"role":"user","content":` + string(more) + `}],"tools":[{"type":"function","function":{"name":"look","parameters":{"type":"object","properties":{"n":{"type":"integer"}}}}}]}`
	req, _ := http.NewRequestWithContext(ctx, http.MethodPost, r.url+"/v1/chat/completions", strings.NewReader(body))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.Body
}

// ways says of each turn how it reached the backend.
func (r *rig) ways() string {
	var ways []string
	for _, req := range r.backend.Requests("/responses") {
		doc := gjson.ParseBytes(req.Body)
		switch {
		case doc.Get("type").Str != "response.create":
			ways = append(ways, "POST")
		case doc.Get("previous_response_id").Str == "":
			ways = append(ways, "whole")
		default:
			ways = append(ways, fmt.Sprintf("new %d", len(doc.Get("input").Array())))
		}
	}
	return strings.Join(ways, ", ")
}

func overSockets(t *testing.T, change func(*fakebackend.Backend)) *rig {
	r := newRig(t, func(c *Config) { c.WebSocket = true })
	if change != nil {
		change(r.backend)
	}
	t.Cleanup(func() { r.server.Client.Sockets.Close() })
	return r
}

func TestARunOfToolCallsSendsItsNewItemsAlone(t *testing.T) {
	for _, dialect := range []string{"chat", "responses"} {
		t.Run(dialect, func(t *testing.T) {
			r := overSockets(t, nil)
			c := startOverSocket(r, dialect)
			c.turn()
			c.turn()
			if said := c.turn(); !strings.HasPrefix(said, "The tool answered: ") {
				t.Errorf("it said %q", said)
			}
			if got := r.ways(); got != "POST, POST, whole, new 1, new 1, new 1" {
				t.Error(got)
			}
		})
	}
}

func TestWithoutTheSettingNoWebSocketIsOpened(t *testing.T) {
	r := newRig(t)
	c := startRun(r, "chat")
	for range 4 {
		c.turn()
	}
	if r.server.Client.Sockets != nil || r.ways() != "POST, POST, POST, POST" {
		t.Error(r.ways())
	}
}

func TestACallerThatLeavesItemsOutIsPosted(t *testing.T) {
	r := overSockets(t, nil)
	c := startRun(r, "responses")
	c.forget = true
	c.turn()
	c.turn()
	r.sockets(1)
	c.turn()
	c.turn()
	r.sockets(0)
	c.turn()
	if got := r.ways(); got != "POST, POST, whole, POST, POST" {
		t.Error(got)
	}
}

func TestARefusedHandshakeIsNotTriedAgain(t *testing.T) {
	r := overSockets(t, func(b *fakebackend.Backend) { b.RefuseSockets = true })
	c := startRun(r, "chat")
	for range 5 {
		c.turn()
	}
	if got := r.ways(); got != "POST, POST, POST, POST, POST" {
		t.Error(got)
	}
	eventually(t, "the handshake", func() bool { return r.backend.Counts().Handshakes > 0 })
	c.turn()
	if got := r.backend.Counts().Handshakes; got != 1 {
		t.Errorf("%d handshakes", got)
	}
}

func TestATurnThatAWebSocketRefusesIsPosted(t *testing.T) {
	r := overSockets(t, func(b *fakebackend.Backend) { b.SocketLife = 0 })
	startOverSocket(r, "chat")
	r.sockets(0)
	if got := r.ways(); got != "POST, POST, whole, POST" {
		t.Error(got)
	}
}

func TestAClosedWebSocketIsPosted(t *testing.T) {
	r := overSockets(t, nil)
	c := startOverSocket(r, "chat")
	r.server.Client.Sockets.Close()
	r.sockets(0)
	c.turn()
	if got := r.ways(); got != "POST, POST, whole, POST" {
		t.Error(got)
	}
}

// TestWhereTheNetworkHasChangedNoWebSocketIsWaitedOn, and an answer under way may still come to its end.
func TestWhereTheNetworkHasChangedNoWebSocketIsWaitedOn(t *testing.T) {
	var moves atomic.Int32
	r := newRig(t, func(c *Config) { c.WebSocket, c.Moves = true, func() int { return int(moves.Load()) } })
	t.Cleanup(func() { r.server.Client.Sockets.Close() })
	c := startOverSocket(r, "chat")
	answer := r.endless(c)
	moves.Add(1)
	lines := bufio.NewReader(answer)
	for range 100 {
		if _, err := lines.ReadString('\n'); err != nil {
			t.Fatal("the answer under way was cut: ", err)
		}
	}
	answer.Close()
	r.sockets(0)

	c = startOverSocket(r, "chat")
	moves.Add(1)
	c.turn()
	r.sockets(0)
	if got := r.ways(); got != "POST, POST, whole, new 2, POST, POST, whole, POST" {
		t.Error(got)
	}
}

func TestAWebSocketIsNotUsedWithAnotherToken(t *testing.T) {
	r := overSockets(t, nil)
	c := startOverSocket(r, "chat")
	r.signIn.mu.Lock()
	r.signIn.token = creds.Token{Access: r.backend.SignIn(time.Hour).Access, AccountID: fakebackend.AccountID}
	r.signIn.mu.Unlock()
	c.turn()
	r.sockets(0)
	if got := r.ways(); got != "POST, POST, whole, POST" {
		t.Error(got)
	}
}

func TestACallerThatLeavesEndsItsWebSocket(t *testing.T) {
	r := overSockets(t, nil)
	c := startOverSocket(r, "chat")
	r.endless(c).Close()
	r.sockets(0)
	select {
	case <-r.backend.Gone():
	case <-time.After(10 * time.Second):
		t.Fatal("the answer goes on")
	}
	if got := r.ways(); got != "POST, POST, whole, new 2" {
		t.Error(got)
	}
}

func TestACallerThatChangesItsConversationIsPosted(t *testing.T) {
	r := overSockets(t, nil)
	c := startOverSocket(r, "chat")
	c.items[2] = strings.Replace(c.items[2], `"content":"`, `"content":"another `, 1)
	c.turn()
	if got := r.ways(); got != "POST, POST, whole, POST" {
		t.Error(got)
	}
}
