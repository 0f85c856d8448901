//go:build js

package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall/js"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/semaphore"

	"codex-proxy/proxy"
)

// bridge is host.mjs's Host: what crosses are numbers, strings, and bytes in one buffer. Safe for concurrent use.
type bridge struct {
	host    js.Value
	handler http.Handler
	ready   <-chan struct{} // closed when requests may be answered
	log     *logrus.Logger
	tick    func(context.Context) // refreshes what is due, and sets the next alarm
	large   *semaphore.Weighted   // who may read a large body

	copying sync.Mutex // holds the buffer
	buffer  js.Value

	mu        sync.Mutex
	last      int // call that was numbered
	exchanges map[int]*writer
	calls     map[int]chan answered
	bodies    map[int]chan int
}

func newBridge(host js.Value, log *logrus.Logger) *bridge {
	return &bridge{host: host, log: log, buffer: host.Get("buffer"), large: semaphore.NewWeighted(1),
		exchanges: map[int]*writer{}, calls: map[int]chan answered{}, bodies: map[int]chan int{}}
}

// listen lets the host tell what happens.
func (b *bridge) listen() {
	b.host.Set("event", js.FuncOf(func(_ js.Value, args []js.Value) any {
		kind, id := args[0].String(), args[1].Int()
		defer func() {
			if recover() != nil { // one event that can't be understood ends nobody else's request
				b.log.Errorf("a %s could not be understood", kind)
				if kind == "request" {
					b.host.Call("end", id, true)
				}
			}
		}()
		b.happened(kind, id, args[2:])
		return nil
	}))
}

func (b *bridge) happened(kind string, id int, args []js.Value) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch kind {
	case "request":
		b.begin(id, args[0].String(), args[1].String(), args[2].String(), args[3].Int(), int64(args[4].Float()))
	case "left":
		if w := b.exchanges[id]; w != nil {
			w.cancel()
		}
	case "room":
		if w := b.exchanges[id]; w != nil {
			select {
			case w.room <- struct{}{}:
			default:
			}
		}
	case "data":
		if c := b.bodies[id]; c != nil {
			c <- args[0].Int()
		}
	case "answered":
		if args[2].Int() != 0 {
			b.bodies[args[2].Int()] = make(chan int, 1)
		}
		if c := b.calls[id]; c != nil {
			c <- answered{status: args[0].Int(), header: headerOf(args[1].String()), body: args[2].Int()}
		}
	case "failed":
		if c := b.calls[id]; c != nil {
			c <- answered{err: errors.New(args[0].String())}
		}
	case "tick":
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			b.tick(ctx)
			b.host.Call("ticked", id)
		}()
	}
}

// wake has the object woken just after due, a refresh's time, instead of by a timer, which would keep it from sleeping.
// Zero is never.
func (b *bridge) wake(due time.Time) {
	wait := -1.0
	if !due.IsZero() {
		wait = float64((max(time.Until(due), 0) + time.Second).Milliseconds())
	}
	b.host.Call("alarm", wait)
}

// begin has a request answered. Called with mu.
func (b *bridge) begin(id int, method, address, header string, body int, length int64) {
	ctx, cancel := context.WithCancel(context.Background())
	w := &writer{bridge: b, id: id, header: http.Header{}, ctx: ctx, cancel: cancel, room: make(chan struct{}, 1)}
	b.exchanges[id] = w
	r, err := http.NewRequestWithContext(ctx, method, address, http.NoBody)
	if err != nil {
		b.host.Call("end", id, true)
		w.cancel()
		delete(b.exchanges, id)
		return
	}
	r.Header = headerOf(header)
	r.Host, r.RequestURI, r.ContentLength = r.URL.Host, r.URL.RequestURI(), 0
	if body != 0 {
		b.bodies[body] = make(chan int, 1)
		w.body = &upload{bodyReader: &bodyReader{bridge: b, id: body, ctx: ctx, outcome: b.bodies[body]}, turn: turn{of: b.large, ctx: ctx}}
		r.Body, r.ContentLength = w.body, length
	}
	go w.run(r)
}

// await waits for a promise. The error is what it was rejected with.
func await(p js.Value) (js.Value, error) {
	type outcome struct {
		value js.Value
		err   error
	}
	done := make(chan outcome, 1)
	then := js.FuncOf(func(_ js.Value, args []js.Value) any { done <- outcome{value: first(args)}; return nil })
	catch := js.FuncOf(func(_ js.Value, args []js.Value) any {
		done <- outcome{err: errors.New(reason(first(args)))}
		return nil
	})
	defer then.Release()
	defer catch.Release()
	p.Call("then", then, catch)
	o := <-done
	return o.value, o.err
}

func first(args []js.Value) js.Value {
	if len(args) == 0 {
		return js.Undefined()
	}
	return args[0]
}

func reason(v js.Value) string {
	if v.Type() == js.TypeObject && v.Get("message").Type() == js.TypeString {
		return v.Get("message").String()
	}
	return v.String()
}

// headerOf reads headers as they cross: names and values, a line each.
func headerOf(text string) http.Header {
	h := http.Header{}
	lines := strings.Split(text, "\n")
	for i := 0; i+1 < len(lines); i += 2 {
		h.Add(lines[i], lines[i+1])
	}
	return h
}

// lines is what headerOf reads. A value that JavaScript would refuse is made one that it takes: control characters
// become spaces, and each byte a character of its own.
func lines(h http.Header) string {
	var parts []string
	for name, values := range h {
		for _, v := range values {
			parts = append(parts, name, fieldValue(v))
		}
	}
	return strings.Join(parts, "\n")
}

func fieldValue(v string) string {
	plain := true
	for i := range len(v) {
		plain = plain && v[i] >= ' ' && v[i] < 0x7f
	}
	if plain {
		return v
	}
	out := make([]rune, len(v))
	for i := range len(v) {
		if out[i] = rune(v[i]); v[i] < ' ' || v[i] == 0x7f {
			out[i] = ' '
		}
	}
	return string(out)
}

// answered is what came of a call.
type answered struct {
	status int
	header http.Header
	body   int
	err    error
}

// fetcher sends requests by the platform's fetch.
type fetcher struct{ *bridge }

// errPlain is why nothing is sent to another machine by plain http: a sign-in goes with each request.
var errPlain = errors.New("your sign-in would go over the network unencrypted: the Worker's variable must begin with https")

// Do is http.Client's.
func (f fetcher) Do(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	if r.URL.Scheme == "http" && !proxy.Loopback(r.URL.Hostname()) {
		return nil, &url.Error{Op: r.Method, URL: r.URL.Host, Err: &net.OpError{Op: "dial", Net: "tcp", Err: errPlain}} // so that creds knows that nothing was sent
	}
	f.mu.Lock()
	f.last++
	id, outcome := f.last, make(chan answered, 1)
	f.calls[id] = outcome
	f.mu.Unlock()
	forget := func() {
		f.mu.Lock()
		delete(f.calls, id)
		f.mu.Unlock()
	}
	if err := f.post(id, r); err != nil {
		forget()
		return nil, err
	}
	hangUp := sync.OnceFunc(func() { f.host.Call("hangUp", id) })
	stop := context.AfterFunc(ctx, hangUp)
	a := <-outcome // an abort ends it, too
	forget()
	if a.err != nil {
		stop()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, &url.Error{Op: r.Method, URL: r.URL.Host, Err: a.err}
	}
	resp := &http.Response{StatusCode: a.status, Header: a.header, Body: http.NoBody, Request: r}
	if a.body == 0 {
		stop()
		hangUp()
		return resp, nil
	}
	f.mu.Lock()
	resp.Body = &bodyReader{bridge: f.bridge, id: a.body, ctx: ctx, outcome: f.bodies[a.body], closed: func() { stop(); hangUp() }}
	f.mu.Unlock()
	return resp, nil
}

// post hands a request over, its body piece by piece.
func (f fetcher) post(id int, r *http.Request) error {
	f.copying.Lock()
	defer f.copying.Unlock()
	if r.Body != nil && r.Body != http.NoBody {
		if r.ContentLength <= 0 {
			return errors.New("a body of unknown length")
		}
		if err := f.hand(id, r.Body, r.ContentLength); err != nil {
			return err
		}
	}
	f.host.Call("call", id, r.Method, r.URL.String(), lines(r.Header))
	return nil
}

// hand hands size bytes over. It is called with copying held, until the host is told what they are for.
func (b *bridge) hand(id int, from io.Reader, size int64) error {
	b.host.Call("body", id, size)
	piece := make([]byte, min(size, pieceMost))
	for left := size; left > 0; {
		n, err := from.Read(piece[:min(left, pieceMost)])
		if left -= int64(n); n > 0 {
			js.CopyBytesToJS(b.buffer, piece[:n])
			b.host.Call("put", n)
		}
		if err != nil && left > 0 {
			return err
		}
	}
	return nil
}

// pieceMost is the size of the buffer, in bytes.
const pieceMost = 64 << 10

// bodyReader reads a body that the host holds.
type bodyReader struct {
	*bridge
	id       int
	ctx      context.Context
	outcome  chan int
	deadline time.Time
	closed   func() // may be nil
	there    int    // bytes to be taken
	err      error
}

func (b *bodyReader) Read(p []byte) (int, error) {
	if len(p) == 0 || b.err != nil {
		return 0, b.err
	}
	if b.there == 0 {
		if b.there, b.err = b.wait(); b.err != nil {
			return 0, b.err
		}
	}
	b.copying.Lock()
	defer b.copying.Unlock()
	n := b.host.Call("take", b.id, min(len(p), b.there)).Int()
	js.CopyBytesToGo(p[:n], b.buffer)
	b.there -= n
	return n, nil
}

// wait waits for the next piece and says how large it is.
func (b *bodyReader) wait() (int, error) {
	var late <-chan time.Time
	if !b.deadline.IsZero() {
		timer := time.NewTimer(time.Until(b.deadline))
		defer timer.Stop()
		late = timer.C
	}
	b.host.Call("pull", b.id)
	select {
	case n := <-b.outcome:
		switch {
		case n >= 0:
			return n, nil
		case n == -1:
			return 0, io.EOF
		case n == -3:
			return 0, errNotText
		case b.ctx.Err() != nil:
			return 0, context.Cause(b.ctx)
		}
		return 0, io.ErrUnexpectedEOF
	case <-b.ctx.Done():
		return 0, context.Cause(b.ctx)
	case <-late:
		return 0, os.ErrDeadlineExceeded
	}
}

func (b *bodyReader) Close() error {
	b.mu.Lock()
	_, open := b.bodies[b.id]
	delete(b.bodies, b.id)
	b.mu.Unlock()
	if !open {
		return nil
	}
	if b.err == nil {
		b.err = io.ErrClosedPipe
	}
	if b.closed != nil {
		b.closed() // first: a body that is cancelled keeps its call from being aborted
	}
	b.host.Call("drop", b.id)
	return nil
}

// largeFrom is the size from which a body waits for its turn, in bytes.
const largeFrom = 1 << 20

// upload is the body of a request. From largeFrom on it waits for its turn: what stands between a large body and the
// call upstream takes several times its size, and one after the other fits.
type upload struct {
	*bodyReader
	turn turn
	read int
}

func (u *upload) Read(p []byte) (int, error) {
	if u.read >= largeFrom {
		if err := u.turn.take(); err != nil {
			return 0, err
		}
	}
	n, err := u.bodyReader.Read(p)
	u.read += n
	return n, err
}

// drain reads what is left of a small body, as net/http does before it answers: the platform's connections want that.
func (u *upload) drain() {
	u.deadline = time.Now().Add(time.Second)
	io.CopyN(io.Discard, u.bodyReader, drainMost) //nolint:errcheck // it is not wanted
}

const drainMost = 256 << 10 // bytes

// turn is held by one request at a time.
type turn struct {
	of   *semaphore.Weighted
	ctx  context.Context
	mu   sync.Mutex
	held bool
	over bool
}

func (t *turn) take() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.held || t.over {
		return nil
	}
	err := t.of.Acquire(t.ctx, 1)
	t.held = err == nil
	return err
}

func (t *turn) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.held {
		t.of.Release(1)
	}
	t.held, t.over = false, true
}

// writer is an http.ResponseWriter on the host. A reader that is slow makes Flush wait.
type writer struct {
	*bridge
	id      int
	header  http.Header
	ctx     context.Context // ends when the caller leaves
	cancel  context.CancelFunc
	room    chan struct{}
	body    *upload     // nil for none
	socket  *bodyReader // of a WebSocket's messages; nil for none
	held    []byte      // written and not yet sent
	started bool
}

func (w *writer) run(r *http.Request) {
	defer w.cancel()
	defer func() {
		crash := recover()
		if crash == nil {
			w.Flush()
		}
		w.end(crash != nil)
	}()
	select {
	case <-w.ready:
		w.handler.ServeHTTP(w, r)
	case <-w.ctx.Done():
	}
}

// Header is http.ResponseWriter's.
func (w *writer) Header() http.Header { return w.header }

// WriteHeader begins the answer. By then the body has been read and sent on.
func (w *writer) WriteHeader(status int) {
	if w.started || status < http.StatusOK {
		return
	}
	w.started = true
	if w.body != nil {
		w.body.drain()
		w.body.turn.end()
	}
	w.host.Call("answer", w.id, status, lines(w.header))
}

var errGone = errors.New("the caller has gone")

// Write keeps p until Flush: each crossing to JavaScript costs more than the bytes.
func (w *writer) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if w.ctx.Err() != nil {
		return 0, errGone
	}
	w.held = append(w.held, p...)
	if len(w.held) >= pieceMost {
		w.Flush()
	}
	return len(p), nil
}

// Flush sends what was written, and waits while the reader has enough.
func (w *writer) Flush() {
	w.WriteHeader(http.StatusOK)
	for rest := w.held; len(rest) > 0 && w.ctx.Err() == nil; {
		n := min(len(rest), pieceMost)
		w.send(rest[:n])
		rest = rest[n:]
	}
	w.held = w.held[:0]
}

func (w *writer) send(p []byte) {
	w.copying.Lock()
	js.CopyBytesToJS(w.buffer, p)
	full := w.host.Call("send", w.id, len(p)).Bool()
	w.copying.Unlock()
	if !full {
		return
	}
	select {
	case <-w.room:
	case <-w.ctx.Done():
	}
}

// SetReadDeadline is for http.ResponseController.
func (w *writer) SetReadDeadline(t time.Time) error {
	if w.body != nil {
		w.body.deadline = t
	}
	return nil
}

func (w *writer) end(broken bool) {
	if w.body != nil {
		w.body.turn.end()
		w.body.Close()
	}
	if w.socket != nil {
		w.socket.Close()
	}
	w.mu.Lock()
	delete(w.exchanges, w.id)
	w.mu.Unlock()
	w.host.Call("end", w.id, broken)
}

// text is a variable of the Worker, or empty. In wrangler.toml it may stand without quotes.
func text(env js.Value, name string) string {
	switch v := env.Get(name); v.Type() {
	case js.TypeString:
		return strings.TrimSpace(v.String())
	case js.TypeBoolean, js.TypeNumber:
		return js.Global().Get("String").Invoke(v).String()
	}
	return ""
}
