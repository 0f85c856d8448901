//go:build e2e && linux

package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"codex-proxy/internal/fakebackend"
	"codex-proxy/proxy/codex"
)

// soak returns the long number when SOAK is set (make test-soak) and the short one otherwise.
func soak(short, long int) int {
	if os.Getenv("SOAK") != "" {
		return long
	}
	return short
}

// memory is the resident set of the program, in MB.
func (p *program) memory() float64 {
	raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kb / 1024
		}
	}
	p.t.Skip("no /proc here")
	return 0
}

// sockets is how many connections the program holds.
func (p *program) sockets() (n int) {
	dir := fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid)
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if target, _ := os.Readlink(filepath.Join(dir, e.Name())); strings.HasPrefix(target, "socket:") {
			n++
		}
	}
	return n
}

func (p *program) stored() string {
	raw, _ := os.ReadFile(filepath.Join(p.home, ".config", "codex-proxy", "auth.json"))
	return string(raw)
}

func (p *program) dial(body string) net.Conn {
	p.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		p.t.Fatal(err)
	}
	fmt.Fprintf(conn, "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	return conn
}

func TestAbortedStreamsLeaveNothingBehind(t *testing.T) {
	p, b := startSignedIn(t)
	abort := func(n int) {
		queue := make(chan struct{}, n)
		for range n {
			queue <- struct{}{}
		}
		close(queue)
		var wait sync.WaitGroup
		for range 20 {
			wait.Go(func() {
				for range queue {
					conn := p.dial(chat("[[endless]]", `"stream":true`))
					bufio.NewReader(conn).ReadString('\n') //nolint:errcheck // the end is what counts
					conn.Close()
				}
			})
		}
		wait.Wait()
		within(t, 3*time.Minute, "every call upstream has ended", func() bool { return b.Counts().Open == 0 })
	}
	abort(200)
	memory, sockets := p.memory(), p.sockets()
	abort(soak(600, 10000))
	within(t, 3*time.Minute, "the connections are closed", func() bool { return p.sockets() <= sockets+8 })
	failed := 0
	if after := p.memory(); after > memory+20 {
		failed++
		t.Errorf("%.0f MB before, %.0f MB after", memory, after)
	}
	tried(t, "aborted streams: calls upstream, sockets and memory back to where they were", soak(600, 10000), failed)
}

func TestSlowReadersTakeBoundedMemory(t *testing.T) {
	p, b := startSignedIn(t)
	readers := soak(60, 2000)
	before := p.memory()
	var conns []net.Conn
	for range readers {
		conns = append(conns, p.dial(chat("[[text 20000]]", `"stream":true`))) // 4 MB, which nobody reads
	}
	within(t, 3*time.Minute, "all have begun", func() bool { return b.Counts().Responses >= readers })
	time.Sleep(time.Second)
	each := (p.memory() - before) * 1024 / float64(readers)
	t.Logf("%d slow readers: %.0f MB, %.0f KB each", readers, p.memory(), each)
	failed := 0
	if each > 300 {
		failed++
		t.Errorf("%.0f KB for one slow reader", each)
	}
	tried(t, fmt.Sprintf("readers that do not read: bounded memory (%.0f KB each)", each), readers, failed)
	for _, c := range conns {
		c.Close()
	}
	within(t, 3*time.Minute, "every call upstream has ended", func() bool { return b.Counts().Open == 0 })
}

func TestARequestThatNeverComesIsGivenUp(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	p := start(t, t.TempDir(), nil, "--demo")
	for name, sent := range map[string]string{
		"headers": "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
		"body":    "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			io.WriteString(conn, sent)
			conn.SetReadDeadline(time.Now().Add(45 * time.Second))
			if _, err := io.ReadAll(conn); err != nil {
				t.Errorf("still open: %v", err)
			}
		})
	}
}

// TestMixedUseStaysFlat is make soak: clients of all dialects, callers that leave, large bodies, tokens that end and a
// network that goes and comes back, for SOAK_MINUTES or a few seconds. Memory must be flat, every answer whole that was
// asked for and given while the network was there, and the sign-in kept.
func TestMixedUseStaysFlat(t *testing.T) {
	span := 8 * time.Second
	if minutes, err := strconv.ParseFloat(os.Getenv("SOAK_MINUTES"), 64); err == nil {
		span = time.Duration(minutes * float64(time.Minute))
	}
	b := fakebackend.New()
	b.Models = codex.BundledModels()
	network := &network{to: b}
	server := httptest.NewServer(network)
	network.cut = server.CloseClientConnections
	t.Cleanup(func() { go server.Close() })
	home, tokens := signedIn(t, b)
	p := start(t, home, at(server.URL))
	p.imported()
	var asked, broken, offline atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	large := chat(strings.Repeat("long history ", 20_000))
	for i := range 6 {
		wait.Go(func() {
			for n := i; ctx.Err() == nil; n++ {
				asked.Add(1)
				before := network.changes.Load()
				status, answer, end := 200, "", ""
				switch n % 6 {
				case 0:
					status, _, answer = p.post("/v1/chat/completions", chat("hello", `"stream":true`))
					end = "data: [DONE]"
				case 1:
					status, _, answer = p.post("/v1/responses", respond("hello", `"stream":true`))
					end = "response.completed"
				case 2:
					status, _, answer = p.post("/v1/messages", `{"max_tokens":9,"messages":[{"role":"user","content":"hello"}]}`)
					end = `"stop_reason":"end_turn"`
				case 3:
					status, _, answer = p.post("/api/chat", `{"stream":false,"messages":[{"role":"user","content":"hello"}]}`)
					end = `"done":true`
				case 4:
					conn := p.dial(chat("[[endless]]", `"stream":true`))
					bufio.NewReader(conn).ReadString('\n') //nolint:errcheck // the end is what counts
					conn.Close()
				case 5:
					status, _, answer = p.post("/v1/chat/completions", large)
					end = `"finish_reason":"stop"`
				}
				whole := status == 200 && strings.Contains(answer, end) && !strings.Contains(answer, `"error":{`)
				switch {
				case whole:
				case before != network.changes.Load() || before%2 == 1:
					offline.Add(1)
				default:
					broken.Add(1)
					if broken.Load() < 10 {
						t.Logf("%d %.300s", status, answer)
					}
				}
			}
		})
	}
	wait.Go(func() { // at one quarter of each period the token ends, at three the network goes away for a moment
		period := max(span/4, 70*time.Second) // a refresh a minute is what there is
		if span < period {
			period = span
		}
		for sleep(ctx, period/4) {
			b.EndAccess()
			if !sleep(ctx, period/2) {
				return
			}
			network.changes.Add(1)
			network.cut()
			sleep(ctx, min(period/8, 5*time.Second))
			network.changes.Add(1)
			if !sleep(ctx, period/8) {
				return
			}
		}
	})
	sleep(ctx, span/3)
	warm, sockets := p.memory(), p.sockets()
	sleep(ctx, span-span/3)
	stop()
	wait.Wait()
	if network.changes.Load()%2 == 1 {
		network.changes.Add(1)
	}
	within(t, time.Minute, "every call upstream has ended", func() bool { return b.Counts().Open == 0 })
	after := p.memory()
	t.Logf("%s, %d requests: %.0f MB after a third, %.0f MB at the end; %d refreshes, the network gone %d times, %d requests failed by it", span, asked.Load(), warm, after, b.Counts().Refreshes, network.changes.Load()/2, offline.Load())
	failed := int(broken.Load())
	if broken.Load() > 0 {
		t.Errorf("%d of %d answers are broken", broken.Load(), asked.Load())
	}
	for what, bad := range map[string]bool{
		fmt.Sprintf("memory went from %.0f to %.0f MB", warm, after):    after > warm+40,
		fmt.Sprintf("sockets went from %d to %d", sockets, p.sockets()): p.sockets() > sockets+20,
		"no token ended, or it was not refreshed":                       b.Counts().Refreshes < 2,
		"the network never went away, or no request noticed":            network.changes.Load() < 2 || offline.Load() == 0,
		"the sign-in was lost":                                          !strings.Contains(p.stored(), b.Newest(tokens)) || b.Counts().Reused > 0,
	} {
		if bad {
			failed++
			t.Error(what)
		}
	}
	tried(t, fmt.Sprintf("mixed use for %s, the network gone %d times, %d refreshes: memory flat (%.0f to %.0f MB), every other answer whole, the sign-in kept", span, network.changes.Load()/2, b.Counts().Refreshes, warm, after), int(asked.Load()), failed)
}

// network is the way to the stand-in. While the number of its changes is odd, each connection is cut.
type network struct {
	to      http.Handler
	cut     func()
	changes atomic.Int64
}

func (n *network) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if n.changes.Load()%2 == 1 {
		panic(http.ErrAbortHandler)
	}
	n.to.ServeHTTP(w, r)
}

// sleep waits, and is false when the test has ended meanwhile.
func sleep(ctx context.Context, span time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(span):
		return true
	}
}
