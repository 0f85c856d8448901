package app

import (
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

const (
	logMost     = 256 << 10   // bytes that wait to be written
	logPatience = time.Second // that the end of the program waits for them
)

// LogQueue takes what is logged, and never waits: a goroutine writes it. A terminal that is halted, or a pipe that nobody
// reads, holds no request up; what is too much is left out, and how much that was is told once the rest is written. Close
// ends it. Safe for concurrent use.
type LogQueue struct {
	// Lost, if set before the first Write, logs that lines were left out.
	Lost func(lines int)

	to   io.Writer
	more chan struct{} // holds one while there may be something to write; closed by Close
	done chan struct{} // closed when all is written

	mu     sync.Mutex
	buf    []byte
	lost   int
	closed bool
}

// NewLogQueue returns one that writes to the program's standard error. From now on it does not end the program that nobody
// is there to read what it writes.
func NewLogQueue(to io.Writer) *LogQueue {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // and not Ignore, which programs that are started would inherit
	q := &LogQueue{to: to, more: make(chan struct{}, 1), done: make(chan struct{})}
	go q.write()
	return q
}

// Write takes a line. It never fails.
func (q *LogQueue) Write(line []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
	case len(q.buf)+len(line) > logMost:
		q.lost++
	default:
		q.buf = append(q.buf, line...)
		select {
		case q.more <- struct{}{}:
		default:
		}
	}
	return len(line), nil
}

// write writes what has come until there will be no more.
func (q *LogQueue) write() {
	defer close(q.done)
	var spare []byte
	for range q.more {
		q.mu.Lock()
		lines, lost := q.buf, q.lost
		q.buf, q.lost = spare[:0], 0
		q.mu.Unlock()
		q.to.Write(lines) //nolint:errcheck // nobody reads it
		if spare = lines; lost > 0 && q.Lost != nil {
			q.Lost(lost)
		}
	}
}

// Close waits a moment until all is written.
func (q *LogQueue) Close() {
	q.mu.Lock()
	if !q.closed {
		q.closed = true
		close(q.more)
	}
	q.mu.Unlock()
	select {
	case <-q.done:
	case <-time.After(logPatience):
	}
}
