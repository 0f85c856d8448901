//go:build e2e

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
	if after := p.memory(); after > memory+20 {
		t.Errorf("%.0f MB before, %.0f MB after", memory, after)
	}
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
	if each > 300 {
		t.Errorf("%.0f KB for one slow reader", each)
	}
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
