package codex

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"codex-proxy/proxy/rawjson"
)

// Stream is an answer that is coming. One goroutine uses it; it must be closed.
type Stream struct {
	Header http.Header // of the backend's answer
	Model  string      // that was asked, as the backend calls it
	Effort string      // that was asked for; empty for the model's default

	dec     *Decoder
	body    io.ReadCloser
	cancel  context.CancelCauseFunc
	leave   func() bool // parts from the caller's context
	ctx     context.Context
	advice  Advice
	done    bool      // the last event was handed out
	first   time.Time // when the first event came that says something
	compact bytes.Buffer
	idle    *idle
	unsent  error // of what BeforeWait calls
}

// OnQuiet has f called, from another goroutine, each time the backend has been silent for the keep-alive time. It is
// not called after Close has returned. A panic in f ends the stream with an error.
func (s *Stream) OnQuiet(f func()) { s.idle.onQuiet(f) }

// BeforeWait has send called each time before the backend is waited for: what was made of a burst of events can be kept
// until then, and sent at once. An error of send ends the stream, and is the error of Next as it is.
func (s *Stream) BeforeWait(send func() error) {
	s.dec.BeforeRead(func() error {
		s.unsent = send()
		return s.unsent
	})
}

// First is when the first event came that says something of the answer; zero as long as there was none.
func (s *Stream) First() time.Time { return s.first }

// Next returns the next event, valid until the following call. After the one that ends an answer the error is io.EOF;
// when the stream ends before that it is an *Error, or ctx's error when the caller went away, or BeforeWait's.
func (s *Stream) Next() (Event, error) {
	if s.done {
		return Event{}, io.EOF
	}
	ev, err := s.dec.Next()
	s.idle.alive()
	if err != nil {
		return Event{}, s.broken(err)
	}
	if ev.lines > 1 { // one line of JSON is what the translators work with
		s.compact.Reset()
		if json.Compact(&s.compact, ev.Data) != nil {
			return Event{}, Broken()
		}
		ev.Data = s.compact.Bytes()
	}
	switch ev.Type {
	case TypeTextDelta:
	case TypeCreated, TypeInProgress, TypeItemDone, TypeCompleted, TypeIncomplete, TypeFailed, TypeError: // they are taken apart
		if !rawjson.Valid(ev.Data) {
			return Event{}, Broken()
		}
		s.done = ev.ends()
	}
	if s.first.IsZero() && !ev.Prelude() {
		s.first = time.Now()
	}
	return ev, nil
}

// Read is Next for who does not pass events on: one that tells of a failure is an *Error, and so is an end without the
// event that ends an answer.
func (s *Stream) Read() (Event, error) {
	ev, err := s.Next()
	switch {
	case err == io.EOF: //nolint:errorlint // Next returns it bare
		return ev, Broken()
	case err == nil && (ev.Type == TypeFailed || ev.Type == TypeError):
		return ev, s.Failure(ev)
	}
	return ev, err
}

// Failure is what a response.failed or error event tells.
func (s *Stream) Failure(ev Event) *Error { return failureOf(ev.Data, time.Now(), s.advice) }

func (s *Stream) broken(err error) error {
	switch cause := context.Cause(s.ctx); {
	case s.unsent != nil:
		return s.unsent
	case errors.Is(cause, errIdle):
		return Silent(s.idle.timeout, s.advice)
	case cause != nil:
		return cause
	case errors.Is(err, errEventTooLarge):
		e := Broken()
		e.Message = "ChatGPT sent an event that is too large to pass on"
		return e
	}
	return Broken()
}

// Done reports whether the answer has come to its end.
func (s *Stream) Done() bool { return s.done }

// finishPatience is how long the end of a stream may take after the event that ends the answer.
const finishPatience = time.Second

// Close ends the request at the backend. One whose answer is whole is read on to the end of its stream, which comes at once:
// a connection that is left before that can't be used again, and over HTTP/2 each request would be reset.
func (s *Stream) Close() {
	s.idle.stop()
	if s.done && runtime.GOOS != "js" && s.leave() { // a Worker may not read on after its request
		go s.finish()
		return
	}
	s.cancel(nil)
	s.body.Close()
}

func (s *Stream) finish() {
	timer := time.AfterFunc(finishPatience, func() { s.cancel(nil) })
	io.Copy(io.Discard, io.LimitReader(s.body, maxEvent)) //nolint:errcheck // it is over
	timer.Stop()
	s.cancel(nil)
	s.body.Close()
}

var errIdle = errors.New("the backend is silent")

// idle watches for silence with one timer and no work on the way of an event but a flag.
type idle struct {
	every, timeout time.Duration
	cancel         context.CancelCauseFunc
	heard          atomic.Bool
	quiet          atomic.Pointer[func()]
	timer          *time.Timer
	silence        time.Duration // used by the timer only
	mu             sync.Mutex    // held while the timer acts
	stopped        bool
}

func newIdle(every, timeout time.Duration, cancel context.CancelCauseFunc) *idle {
	if every <= 0 || every > timeout {
		every = timeout
	}
	i := &idle{every: every, timeout: timeout, cancel: cancel}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.timer = time.AfterFunc(every, i.look)
	return i
}

func (i *idle) alive() {
	if !i.heard.Load() {
		i.heard.Store(true)
	}
}

func (i *idle) onQuiet(f func()) { i.quiet.Store(&f) }

func (i *idle) look() {
	i.mu.Lock()
	defer i.mu.Unlock()
	defer func() {
		if cause := recover(); cause != nil {
			i.cancel(Crashed(cause))
		}
	}()
	if i.stopped {
		return
	}
	if i.heard.Swap(false) {
		i.silence = 0
	} else if i.silence += i.every; i.silence >= i.timeout {
		i.cancel(errIdle)
		return
	} else if f := i.quiet.Load(); f != nil {
		(*f)()
	}
	i.timer.Reset(i.every)
}

func (i *idle) stop() {
	i.timer.Stop()
	i.mu.Lock()
	defer i.mu.Unlock()
	i.stopped = true
}
