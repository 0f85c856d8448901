// Package history remembers which requests were answered, when, for which program and how it went: never a prompt, an
// answer or a key. It is one SQLite file, written in batches by one goroutine, so that a request pays for a channel send
// and for nothing else. A full disk or a damaged file costs the history, not a request, and Problem says so.
//
// Rows are kept for 90 days or 64 MiB, whichever comes first. Sums by the hour outlive them, with the times to the first
// token as a histogram, so that medians and percentiles can be told of any span.
package history

import (
	"context"
	"database/sql"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Record is one answered request.
type Record struct {
	ID        int64         // given by the Store, ascending in the order of the ends of requests
	Time      time.Time     // when the request came in
	Client    string        // the program that asked, such as "Claude Code"
	Route     string        // "/v1/messages"
	Dialect   string        // "openai", "anthropic", "ollama", "gemini"
	Model     string        // that answered
	Effort    string        // of reasoning; may be empty
	Status    int           // of HTTP
	FirstWord time.Duration // until the first token; zero when none came
	Duration  time.Duration // until the end of the answer

	InputTokens     int64 // with the cached ones
	CachedTokens    int64
	OutputTokens    int64 // with those of reasoning
	ReasoningTokens int64

	Dropped   []string // fields of the request that the backend doesn't take
	Code      string   // of the error; empty when all went well
	Error     string   // its sentence
	Transport string   // "POST" or "WebSocket"
	Turns     int      // of a WebSocket; else zero or one
	Gone      bool     // the caller left, or cancelled the answer, before its end
}

// Failed reports whether the caller got an error.
func (r *Record) Failed() bool { return r.Status >= 400 || r.Code != "" }

// Window is how full a limit of the plan was at a time.
type Window struct {
	Name     string    `json:"name"` // "5-hour", "weekly"
	Time     time.Time `json:"time"`
	Used     float64   `json:"used"` // percent
	ResetsAt time.Time `json:"resets_at,omitzero"`
}

// Options bound a Store. The zero value stands for the defaults.
type Options struct {
	Keep     time.Duration // of rows; 90 days when zero
	KeepSums time.Duration // of the hourly sums; two years when zero
	MaxBytes int64         // of the file; 64 MiB when zero
	Delay    time.Duration // how long a record may wait to be written; one second when zero

	// OnProblem is called when Problem changes, from Open and from the goroutine that writes; it must not wait. Nil for
	// nobody.
	OnProblem func(problem string)

	migrations []string // for tests
}

const (
	queueLength = 512
	batchLength = 256

	longestName  = 80  // bytes of a client's or a model's name that are kept
	longestError = 300 // bytes of an error's sentence that are kept
)

// Store is the history. All methods are safe for concurrent use, and none but those that return an error can fail. On a
// nil Store Add, AddWindows and Close do nothing.
type Store struct {
	path    string
	options Options
	read    *sql.DB // opens connections when something is asked, and closes them when idle

	queue   chan Record
	windows chan []Window
	jobs    chan func()
	stop    chan struct{}
	stopped chan struct{}
	closing sync.Once

	lost    atomic.Int64
	problem atomic.Pointer[string]
	watched atomic.Int32

	mu       sync.Mutex
	watchers map[chan int64]struct{}

	w writer // owned by the goroutine
}

// Open opens the history in a file, which it makes with its folder when it is missing. It never fails: when the file
// can't be used, Problem says why, and it is tried again while requests come in. Close ends it.
func Open(path string, options Options) *Store {
	if options.Keep <= 0 {
		options.Keep = 90 * 24 * time.Hour
	}
	if options.KeepSums <= 0 {
		options.KeepSums = 2 * 365 * 24 * time.Hour
	}
	if options.MaxBytes <= 0 {
		options.MaxBytes = 64 << 20
	}
	if options.Delay <= 0 {
		options.Delay = time.Second
	}
	if options.migrations == nil {
		options.migrations = migrations
	}
	s := &Store{
		path: path, options: options,
		queue: make(chan Record, queueLength), windows: make(chan []Window, 16), jobs: make(chan func()),
		stop: make(chan struct{}), stopped: make(chan struct{}), watchers: map[chan int64]struct{}{},
	}
	s.read = openReader(path)
	s.w = writer{path: path, options: options, read: s.read}
	s.note(s.w.open())
	go s.run()
	return s
}

// Close writes what is waiting and closes the file.
func (s *Store) Close() {
	if s == nil {
		return
	}
	s.closing.Do(func() {
		s.read.Close() //nolint:errcheck // it was only read; who closes last takes away what is beside the file
		close(s.stop)
		<-s.stopped
	})
}

// Add keeps a record. It never waits and never fails: when the disk can't keep up, the record is lost and counted.
func (s *Store) Add(r Record) {
	if s == nil {
		return
	}
	r.Client, r.Route, r.Model = clip(r.Client, longestName), clip(r.Route, longestName), clip(r.Model, longestName)
	r.Code, r.Error = clip(r.Code, longestName), clip(r.Error, longestError)
	select {
	case s.queue <- r:
	default:
		s.lost.Add(1)
	}
}

// AddWindows keeps how full the plan's windows are. It never waits and never fails. The Store owns the slice afterwards.
func (s *Store) AddWindows(windows []Window) {
	if s == nil {
		return
	}
	select {
	case s.windows <- windows:
	default: // the next ones tell as much
	}
}

// Lost is how many records could not be kept since the start.
func (s *Store) Lost() int64 { return s.lost.Load() }

// Problem says in a sentence why nothing is kept at the moment, or is empty.
func (s *Store) Problem() string {
	if p := s.problem.Load(); p != nil {
		return *p
	}
	return ""
}

func (s *Store) note(problem string) {
	if problem == s.Problem() {
		return
	}
	s.problem.Store(&problem)
	if f := s.options.OnProblem; f != nil {
		f(problem)
	}
}

// Watch returns a channel that holds the newest ID after records were written; an older one that nobody took is
// replaced. While somebody watches, records are written at once. Cancel ends it.
func (s *Store) Watch() (newest <-chan int64, cancel func()) {
	ch := make(chan int64, 1)
	s.mu.Lock()
	s.watchers[ch] = struct{}{}
	s.mu.Unlock()
	s.watched.Add(1)
	return ch, sync.OnceFunc(func() {
		s.watched.Add(-1)
		s.mu.Lock()
		delete(s.watchers, ch)
		s.mu.Unlock()
	})
}

func (s *Store) tell(newest int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ch := range s.watchers {
		select {
		case <-ch:
		default:
		}
		ch <- newest
	}
}

// Flush writes what is waiting. It returns when that is done, or ctx ends.
func (s *Store) Flush(ctx context.Context) error { return s.do(ctx, func() error { return nil }) }

// Delete forgets everything, the hourly sums too, and gives the space back to the disk.
func (s *Store) Delete(ctx context.Context) error {
	return s.do(ctx, func() error {
		err := s.w.erase()
		if err == nil {
			s.note("")
		}
		s.tell(0)
		return err
	})
}

// do has f run by the goroutine that writes, after what was added before.
func (s *Store) do(ctx context.Context, f func() error) error {
	result := make(chan error, 1)
	select {
	case s.jobs <- func() { result <- f() }:
	case <-s.stopped:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// clip shortens a string, without holding on to the rest of it.
func clip(s string, longest int) string {
	if len(s) <= longest {
		return s
	}
	return strings.ToValidUTF8(strings.Clone(s[:longest]), "") + "…"
}
