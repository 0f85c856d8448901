//go:build !js

package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/tidwall/gjson"
	"go.uber.org/goleak"

	"codex-proxy/internal/peer"
)

// serve puts a rig behind a Service.
func serve(t *testing.T, r *rig, change ...func(*Service)) *Service {
	t.Helper()
	s := &Service{Handler: r.server, Host: "127.0.0.1"}
	for _, f := range change {
		f(s)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	r.url = "http://" + s.Addr()
	return s
}

func TestAServiceStartsStopsAndStartsAgain(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	s := &Service{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "here") }), Host: "localhost"}
	for range 2 {
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		if err := s.Start(); err != nil {
			t.Errorf("a second start: %v", err)
		}
		_, port, _ := net.SplitHostPort(s.Addr())
		for _, host := range []string{"127.0.0.1", "[::1]"} {
			resp, err := http.Get("http://" + host + ":" + port)
			if err != nil {
				if host == "[::1]" {
					continue // a machine without it
				}
				t.Fatal(err)
			}
			resp.Body.Close()
		}
		http.DefaultClient.CloseIdleConnections()
		s.Stop()
		s.Stop()
		if s.Addr() != "" {
			t.Error("it says that it listens")
		}
		if _, err := net.DialTimeout("tcp", "127.0.0.1:"+port, time.Second); err == nil {
			t.Error("it listens")
		}
	}
}

func TestAStartThatFailsSaysWhy(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	for _, host := range []string{"127.0.0.1", "localhost"} {
		s := &Service{Handler: http.NotFoundHandler(), Host: host, Port: port}
		if err := s.Start(); !errors.Is(err, ErrPortTaken) || !strings.Contains(err.Error(), "--port") || !strings.Contains(err.Error(), fmt.Sprint(port)) {
			t.Errorf("%s: %v", host, err)
		}
		s.SetPort(0)
		if err := s.Start(); err != nil {
			t.Errorf("%s, on another port: %v", host, err)
		}
		s.Stop()
	}
	if err := (&Service{Handler: http.NotFoundHandler(), Host: "203.0.113.1"}).Start(); err == nil || !strings.Contains(err.Error(), "--listen") {
		t.Errorf("%v", err)
	}
}

func TestStopLetsAnAnswerEnd(t *testing.T) {
	r := newRig(t)
	s := serve(t, r)
	done := make(chan string)
	go func() {
		_, text, _ := r.ask("chat", "[[stall 300]]", true)
		done <- text
	}()
	eventually(t, "the answer is under way", func() bool { return r.backend.Counts().Open == 1 })
	s.Stop()
	select {
	case text := <-done:
		if !strings.Contains(text, "[DONE]") {
			t.Errorf("it was cut: %s", text)
		}
	case <-time.After(5 * time.Second):
		t.Error("Stop has returned and the answer is not over")
	}
}

func TestStopCutsWhatDoesNotEndWithAnErrorAndWaits(t *testing.T) {
	for dialect := range dialects {
		r := newRig(t)
		s := serve(t, r, func(s *Service) { s.drainTime = 50 * time.Millisecond })
		done := make(chan string, 1)
		go func() {
			_, text, _ := r.ask(dialect, "[[endless]]", true)
			done <- text
		}()
		eventually(t, "the answer is under way", func() bool { return r.backend.Counts().Open == 1 })
		s.Stop()
		if text := <-done; !strings.Contains(text, "was stopped before the answer was whole") {
			t.Errorf("%s: %s", dialect, text[max(0, len(text)-300):])
		}
		eventually(t, "the backend's call has ended", func() bool { return r.backend.Counts().Open == 0 })
	}
}

func TestACallerThatReadsNothingIsCut(t *testing.T) {
	r := newRig(t)
	s := serve(t, r, func(s *Service) { s.writeTime = 200 * time.Millisecond })
	c, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.(*net.TCPConn).SetReadBuffer(4 << 10)
	body := `{"input":"[[big 10]]","stream":true}`
	fmt.Fprintf(c, "POST /v1/responses HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	eventually(t, "the call has begun", func() bool { return r.backend.Counts().Responses == 1 })
	eventually(t, "the backend's call has ended", func() bool { return r.backend.Counts().Open == 0 })
	eventually(t, "the connection is given back", func() bool { return s.connections.Load() == 0 })
}

func dialSocket(t *testing.T, r *rig, options ...func(*websocket.DialOptions)) *websocket.Conn {
	t.Helper()
	o := &websocket.DialOptions{HTTPHeader: http.Header{"Openai-Beta": {"responses_websockets=2026-02-06"}, "Originator": {"codex_exec"}}}
	for _, f := range options {
		f(o)
	}
	conn, _, err := websocket.Dial(t.Context(), r.url+"/v1/responses", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.CloseNow() })
	conn.SetReadLimit(1 << 24)
	return conn
}

func create(text string, more ...string) []byte {
	return []byte(`{"type":"response.create","model":"gpt-5.5","instructions":"x","input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"` + text + `"}]}]` + strings.Join(append([]string{""}, more...), ",") + `}`)
}

// turn sends a message and reads to the end of its answer.
func turn(t *testing.T, conn *websocket.Conn, message []byte) gjson.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := conn.Write(ctx, websocket.MessageText, message); err != nil {
		t.Fatal(err)
	}
	return lastOf(t, conn)
}

func lastOf(t *testing.T, conn *websocket.Conn) gjson.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		_, raw, err := conn.Read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		switch doc := gjson.ParseBytes(raw); doc.Get("type").Str {
		case "response.completed", "response.incomplete", "response.failed", "error":
			return doc
		}
	}
}

func TestPingsAreAnsweredDuringATurn(t *testing.T) {
	r := newRig(t)
	serve(t, r)
	conn := dialSocket(t, r)
	if err := conn.Write(t.Context(), websocket.MessageText, create("[[stall 60000]]")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the turn has begun", func() bool { return r.backend.Counts().Open == 1 })
	go func() { // a pong is read with the next message
		for {
			if _, _, err := conn.Read(context.Background()); err != nil {
				return
			}
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := conn.Ping(ctx); err != nil {
		t.Errorf("a ping: %v", err)
	}
	conn.CloseNow()
	eventually(t, "the backend's call ends with its caller", func() bool { return r.backend.Counts().Open == 0 })
}

func TestStopLetsASocketsTurnEndAndSaysGoodbye(t *testing.T) {
	r := newRig(t)
	s := serve(t, r)
	conn, quiet := dialSocket(t, r), dialSocket(t, r)
	turn(t, quiet, create("hello"))
	if err := conn.Write(t.Context(), websocket.MessageText, create("[[stall 300]]")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the turn has begun", func() bool { return r.backend.Counts().Responses == 2 })
	closed := make(chan error, 2)
	go func() {
		_, _, err := quiet.Read(context.Background())
		closed <- err
	}()
	go func() {
		err := errors.New("the turn was not read to its end")
		defer func() { closed <- err }()
		if doc := lastOf(t, conn); doc.Get("type").Str != "response.completed" {
			t.Errorf("the turn ended with %s", doc.Raw)
		}
		_, _, err = conn.Read(context.Background())
	}()
	s.Stop()
	for range 2 {
		if err := <-closed; websocket.CloseStatus(err) != websocket.StatusGoingAway {
			t.Errorf("a connection ended with %v", err)
		}
	}
}

func TestStopDoesNotWaitForASocketThatSaysNoGoodbye(t *testing.T) {
	r := newRig(t)
	s := serve(t, r)
	turn(t, dialSocket(t, r), create("hello")) // nobody reads any more
	start := time.Now()
	s.Stop()
	if took := time.Since(start); took > cutPatience+2*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestASocketsTurnThatIsCutGetsAnError(t *testing.T) {
	r := newRig(t)
	s := serve(t, r, func(s *Service) { s.drainTime = 50 * time.Millisecond })
	conn := dialSocket(t, r)
	if err := conn.Write(t.Context(), websocket.MessageText, create("[[endless]]")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the turn has begun", func() bool { return r.backend.Counts().Open == 1 })
	go s.Stop()
	doc := lastOf(t, conn)
	if doc.Get("type").Str != "error" || doc.Get("error.code").Str != "proxy_stopping" {
		t.Errorf("%s", doc.Raw)
	}
	if _, _, err := conn.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusGoingAway && websocket.CloseStatus(err) != websocket.StatusTryAgainLater {
		t.Errorf("the end is %v", err)
	}
}

func TestWhatASocketIsNotToStoreItKeepsToItself(t *testing.T) {
	r := newRig(t)
	serve(t, r)
	one, two := dialSocket(t, r), dialSocket(t, r)
	goOn := func(conn *websocket.Conn, id string) gjson.Result {
		return turn(t, conn, create("go on", `"store":false`, `"previous_response_id":"`+id+`"`))
	}
	id := turn(t, one, create("hello", `"store":false`)).Get("response.id").Str
	if doc := goOn(one, id); doc.Get("type").Str != "response.completed" {
		t.Errorf("its own turn: %s", doc.Raw)
	}
	for _, other := range []string{id, `\u0000socket 1 ` + id} {
		if doc := goOn(two, other); doc.Get("error.code").Str != "previous_response_not_found" {
			t.Errorf("another's turn: %s", doc.Raw)
		}
	}
	if status, _, _, _ := r.do(http.MethodGet, "/v1/responses/"+id, ""); status != 404 {
		t.Errorf("over HTTP: %d", status)
	}
	if r.server.openai.Store.Len() == 0 {
		t.Error("nothing is kept")
	}
	one.CloseNow()
	two.CloseNow()
	eventually(t, "what a connection remembers ends with it", func() bool { return r.server.openai.Store.Len() == 0 })
}

func TestWhatASocketStoresIsFoundByEverybody(t *testing.T) {
	r := newRig(t)
	serve(t, r)
	one, two := dialSocket(t, r), dialSocket(t, r)
	first := turn(t, one, create("hello")).Get("response.id").Str
	second := turn(t, one, create("and more", `"previous_response_id":"`+first+`"`)).Get("response.id").Str
	one.CloseNow()
	if doc := turn(t, two, create("go on", `"previous_response_id":"`+second+`"`)); doc.Get("type").Str != "response.completed" || !strings.Contains(r.sentUp().Raw, "You said: hello") {
		t.Errorf("by another connection: %s", doc.Raw)
	}
	if status, _, text, _ := r.do(http.MethodGet, "/v1/responses/"+second, ""); status != 200 || get(text, "previous_response_id").Str != first {
		t.Errorf("over HTTP: %d %s", status, text)
	}
}

func TestAnIDThatComesTwiceOnASocketIsNoLoop(t *testing.T) {
	r := newRig(t, upstream(created+delta("hi")+completed))
	serve(t, r)
	conn := dialSocket(t, r)
	for range 3 {
		if doc := turn(t, conn, create("go on", `"previous_response_id":"resp_1"`)); doc.Get("type").Str == "" {
			t.Error(doc.Raw)
		}
		turn(t, conn, create("hello"))
	}
}

func TestSocketsAreCounted(t *testing.T) {
	r := newRig(t)
	serve(t, r)
	r.server.sockets.Store(socketsMost - 1)
	conn := dialSocket(t, r)
	header := []string{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-Websocket-Version", "13", "Sec-Websocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==", "Openai-Beta", "responses_websockets=2026-02-06"}
	if status, _, text, _ := r.do(http.MethodGet, "/v1/responses", "", header...); status != http.StatusUpgradeRequired || !strings.Contains(text, "Send a POST") {
		t.Errorf("one too many: %d %s", status, text)
	}
	conn.CloseNow()
	eventually(t, "it is given back", func() bool { return r.server.sockets.Load() == socketsMost-1 })
	dialSocket(t, r)
}

func TestMessagesThatPileUpEndTheConnection(t *testing.T) {
	r := newRig(t)
	serve(t, r)
	conn := dialSocket(t, r)
	for range 40 {
		if err := conn.Write(t.Context(), websocket.MessageText, create("[[stall 60000]]")); err != nil {
			break
		}
	}
	for {
		if _, _, err := conn.Read(t.Context()); err != nil {
			if websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
				t.Errorf("%v", err)
			}
			break
		}
	}
	eventually(t, "its memory is given back", func() bool { return r.server.bodies.left.Load() == bodiesMost })
}

func TestAnotherUsersProgramIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		uid  int
		err  error
		want int
	}{
		"the user's own": {os.Getuid(), nil, 200}, "root's": {0, nil, 200}, "another's": {os.Getuid() + 1, nil, 403}, "one that can't be told": {0, errors.New("no"), 200},
		"one that has gone": {0, peer.ErrGone, 403},
	} {
		r := newRig(t)
		asked := 0
		serve(t, r, func(s *Service) {
			s.SameUser = true
			s.uid = func(net.Conn) (int, error) { asked++; return c.uid, c.err }
		})
		conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(conn)
		for range 3 {
			fmt.Fprint(conn, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
			resp, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != c.want || (c.want == 403 && !strings.Contains(string(body), "another user of this machine")) {
				t.Errorf("%s: %d %s", name, resp.StatusCode, body)
			}
		}
		conn.Close()
		if asked != 1 {
			t.Errorf("%s: looked up %d times", name, asked)
		}
	}
	r := newRig(t)
	serve(t, r, func(s *Service) { s.SameUser = true }) // by the system itself
	if status, _, text, _ := r.do(http.MethodGet, "/health", ""); status != 200 {
		t.Errorf("%d %s", status, text)
	}
}

// TestACallerThatHasResetItsConnectionIsRefused: what it asked would be done all the same.
func TestACallerThatHasResetItsConnectionIsRefused(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the system does not tell")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := &Service{SameUser: true}
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := boundedListener{l, s}.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	client.(*net.TCPConn).SetLinger(0) //nolint:errcheck // it is there
	client.Close()
	if !Stranger(s.LookAtPeer(t.Context(), server)) {
		t.Error("it is let in")
	}
}

func TestAServiceMovesWhileAnAnswerIsUnderWay(t *testing.T) {
	begun, finish := make(chan struct{}), make(chan struct{})
	s := &Service{Host: "127.0.0.1", Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(begun)
			<-finish
		}
		io.WriteString(w, "whole") //nolint:errcheck // a test's answer
	})}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	old := s.Addr()
	answer := make(chan string, 1)
	go func() {
		resp, err := http.Get("http://" + old + "/slow")
		if err != nil {
			answer <- err.Error()
			return
		}
		defer resp.Body.Close()
		raw, _ := io.ReadAll(resp.Body)
		answer <- string(raw)
	}()
	<-begun
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if err := s.Move(taken.Addr().(*net.TCPAddr).Port); !errors.Is(err, ErrPortTaken) || s.Addr() != old {
		t.Errorf("to a port that is taken: %v, now at %s", err, s.Addr())
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := free.Addr().(*net.TCPAddr).Port
	free.Close()
	if err := s.Move(port); err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get("http://" + s.Addr() + "/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	close(finish)
	if got := <-answer; got != "whole" {
		t.Errorf("the answer under way: %s", got)
	}
}
