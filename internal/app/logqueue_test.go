package app

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

// gate is a reader's end that takes nothing until it is opened.
type gate struct {
	open chan struct{}
	buf  bytes.Buffer
}

func (g *gate) Write(p []byte) (int, error) {
	<-g.open
	return g.buf.Write(p)
}

func TestWhatNobodyReadsIsLeftOutAndTold(t *testing.T) {
	g := &gate{open: make(chan struct{})}
	q := NewLogQueue(g)
	lost := make(chan int, 1)
	q.Lost = func(n int) { lost <- n }
	line := strings.Repeat("x", 1023) + "\n"
	const lines = 2 * logMost / 1024
	for range lines {
		q.Write([]byte(line))
	}
	close(g.open)
	missing := <-lost
	q.Close()
	if got := strings.Count(g.buf.String(), "\n"); got+missing != lines || missing == 0 {
		t.Errorf("%d lines are written and %d lost, of %d", got, missing, lines)
	}
}

func TestAQueueIsWrittenInOrderAndToItsEnd(t *testing.T) {
	g := &gate{open: make(chan struct{})}
	close(g.open)
	q := NewLogQueue(g)
	var want strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&want, "%d\n", i)
		fmt.Fprintf(q, "%d\n", i)
	}
	q.Close()
	if g.buf.String() != want.String() {
		t.Errorf("%d bytes, not %d", g.buf.Len(), want.Len())
	}
	q.Write([]byte("afterwards"))
	q.Close()
}

func TestTheEndDoesNotWaitForAReader(t *testing.T) {
	g := &gate{open: make(chan struct{})}
	defer close(g.open)
	q := NewLogQueue(g)
	q.Write([]byte("a line\n"))
	begin := time.Now()
	q.Close()
	if took := time.Since(begin); took > logPatience+5*time.Second {
		t.Errorf("it took %v", took)
	}
}
