//go:build e2e && linux

package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
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

// TestMixedUseStaysFlat is make soak: clients of all dialects, callers that leave, large bodies and an upstream that
// comes and goes, for SOAK_MINUTES or a few seconds. Memory must be flat, every answer whole, and the sign-in there.
func TestMixedUseStaysFlat(t *testing.T) {
	span := 6 * time.Second
	if minutes, err := strconv.ParseFloat(os.Getenv("SOAK_MINUTES"), 64); err == nil {
		span = time.Duration(minutes * float64(time.Minute))
	}
	b, url := startBackend(t)
	home, tokens := signedIn(t, b)
	p := start(t, home, at(url))
	p.imported()
	var asked, broken atomic.Int64
	stop := make(chan struct{})
	var wait sync.WaitGroup
	large := chat(strings.Repeat("long history ", 20_000))
	for i := range 6 {
		wait.Go(func() {
			for n := i; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				asked.Add(1)
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
				if status != 200 || !strings.Contains(answer, end) || strings.Contains(answer, `"error"`) {
					broken.Add(1)
				}
			}
		})
	}
	wait.Go(func() { // tokens end and come back, as often as one refresh a minute lets them
		for {
			select {
			case <-stop:
				return
			case <-time.After(max(span/20, 70*time.Second)):
				b.EndAccess()
			}
		}
	})
	time.Sleep(span / 3)
	warm, sockets := p.memory(), p.sockets()
	time.Sleep(span - span/3)
	close(stop)
	wait.Wait()
	within(t, time.Minute, "every call upstream has ended", func() bool { return b.Counts().Open == 0 })
	after := p.memory()
	t.Logf("%s, %d requests: %.0f MB after a third, %.0f MB at the end; %d refreshes", span, asked.Load(), warm, after, b.Counts().Refreshes)
	if after > warm+40 || broken.Load() > 0 || p.sockets() > sockets+20 {
		t.Errorf("%d of %d answers broken, memory %.0f to %.0f MB, sockets %d to %d", broken.Load(), asked.Load(), warm, after, sockets, p.sockets())
	}
	raw, _ := os.ReadFile(filepath.Join(home, ".config", "codex-proxy", "auth.json"))
	if !strings.Contains(string(raw), b.Newest(tokens)) || b.Counts().Reused > 0 {
		t.Error("the sign-in was lost")
	}
	tried(t, fmt.Sprintf("mixed use for %s: memory flat (%.0f to %.0f MB), every answer whole, the sign-in there", span, warm, after), int(asked.Load()), int(broken.Load()))
}
