//go:build js

package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"syscall/js"
	"time"
)

var (
	object     = js.Global().Get("Object")
	bytesClass = js.Global().Get("Uint8Array")
	promise    = js.Global().Get("Promise")
)

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

// fetcher sends requests by the platform's fetch. Redirects are not followed, since a sign-in goes with each request.
type fetcher struct{}

// Do is http.Client's.
func (fetcher) Do(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	abort := js.Global().Get("AbortController").New()
	options := object.New()
	options.Set("method", r.Method)
	options.Set("redirect", "manual")
	options.Set("signal", abort.Get("signal"))
	headers := js.Global().Get("Headers").New()
	for name, values := range r.Header {
		for _, v := range values {
			headers.Call("append", name, v)
		}
	}
	options.Set("headers", headers)
	if r.Body != nil && r.Body != http.NoBody {
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		options.Set("body", toJS(raw))
	}
	stop := context.AfterFunc(ctx, func() { abort.Call("abort") })
	answer, err := await(js.Global().Call("fetch", r.URL.String(), options))
	if err != nil {
		stop()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, &url.Error{Op: r.Method, URL: r.URL.Host, Err: err}
	}
	header := http.Header{}
	each := js.FuncOf(func(_ js.Value, args []js.Value) any { header.Add(args[1].String(), args[0].String()); return nil })
	answer.Get("headers").Call("forEach", each)
	each.Release()
	resp := &http.Response{StatusCode: answer.Get("status").Int(), Header: header, Body: http.NoBody, Request: r}
	if body := answer.Get("body"); !body.IsNull() && !body.IsUndefined() {
		resp.Body = newBodyReader(ctx, body, abort, stop)
	} else {
		stop()
	}
	return resp, nil
}

// bodyReader reads a ReadableStream, by worker.mjs's Puller.
type bodyReader struct {
	ctx    context.Context
	chunk  chan readResult
	then   js.Func
	catch  js.Func
	reader js.Value
	stop   func() bool
	abort  js.Value
	rest   []byte
	err    error
	closed bool
}

type readResult struct {
	data         []byte
	done, broken bool
}

func newBodyReader(ctx context.Context, body, abort js.Value, stop func() bool) *bodyReader {
	b := &bodyReader{ctx: ctx, reader: js.Global().Get("codexProxy").Call("pull", body), stop: stop, abort: abort, chunk: make(chan readResult, 1)}
	b.then = js.FuncOf(func(_ js.Value, args []js.Value) any {
		r := readResult{done: args[0].IsNull()}
		if !r.done {
			r.data = toGo(args[0])
		}
		b.chunk <- r
		return nil
	})
	b.catch = js.FuncOf(func(js.Value, []js.Value) any { b.chunk <- readResult{broken: true}; return nil })
	return b
}

func (b *bodyReader) Read(p []byte) (int, error) {
	for len(b.rest) == 0 {
		if b.err != nil {
			return 0, b.err
		}
		b.reader.Call("next").Call("then", b.then, b.catch)
		r := <-b.chunk
		b.rest = r.data
		switch {
		case r.broken && b.ctx.Err() != nil:
			b.err = context.Cause(b.ctx)
		case r.broken:
			b.err = io.ErrUnexpectedEOF
		case r.done:
			b.err = io.EOF
		}
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

func (b *bodyReader) Close() error {
	if b.closed {
		return nil
	}
	b.closed = true
	b.stop()
	if b.err == nil {
		b.err = io.ErrClosedPipe
		b.abort.Call("abort") // ends the call upstream
	}
	b.then.Release()
	b.catch.Release()
	return nil
}

func toJS(p []byte) js.Value {
	v := bytesClass.New(len(p))
	js.CopyBytesToJS(v, p)
	return v
}

func toGo(v js.Value) []byte {
	p := make([]byte, v.Get("length").Int())
	js.CopyBytesToGo(p, v)
	return p
}

// serve answers one request: handle(method, url, [[name, value]…], body or null) -> Promise of a Response.
func serve(h http.Handler) js.Func {
	return js.FuncOf(func(_ js.Value, args []js.Value) any {
		ctx, cancel := context.WithCancel(context.Background())
		r, err := http.NewRequestWithContext(ctx, args[0].String(), args[1].String(), http.NoBody)
		if err != nil {
			cancel()
			return promise.Call("reject", js.Global().Get("Error").New("bad request"))
		}
		for i := range args[2].Length() {
			pair := args[2].Index(i)
			r.Header.Add(pair.Index(0).String(), pair.Index(1).String())
		}
		r.Host, r.RequestURI = r.URL.Host, r.URL.RequestURI()
		if body := args[3]; !body.IsNull() && body.Get("length").Int() > 0 {
			raw := toGo(body)
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(raw)), int64(len(raw))
		}
		w := &writer{header: http.Header{}, cancel: cancel, room: make(chan struct{}, 1)}
		executor := js.FuncOf(func(_ js.Value, settle []js.Value) any {
			w.resolve = settle[0]
			return nil
		})
		p := promise.New(executor)
		executor.Release()
		go w.run(h, r)
		return p
	})
}

// writer is an http.ResponseWriter on a ReadableStream. A reader that is slow makes Write wait.
type writer struct {
	header  http.Header
	resolve js.Value
	cancel  context.CancelFunc
	room    chan struct{}

	mu         sync.Mutex
	controller js.Value
	funcs      []js.Func
	held       []byte // written and not yet sent
	started    bool
	left       bool // the caller has gone
}

func (w *writer) run(h http.Handler, r *http.Request) {
	defer w.cancel()
	defer func() {
		crash := recover()
		if crash == nil {
			w.WriteHeader(http.StatusOK)
		}
		w.end(crash != nil)
	}()
	h.ServeHTTP(w, r)
}

// Header is http.ResponseWriter's.
func (w *writer) Header() http.Header { return w.header }

// WriteHeader resolves the promise with a Response whose body is still to come.
func (w *writer) WriteHeader(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.started {
		return
	}
	w.started = true
	pull := js.FuncOf(func(js.Value, []js.Value) any {
		select {
		case w.room <- struct{}{}:
		default:
		}
		return nil
	})
	gone := js.FuncOf(func(js.Value, []js.Value) any {
		w.left = true
		w.cancel()
		select {
		case w.room <- struct{}{}:
		default:
		}
		return nil
	})
	start := js.FuncOf(func(_ js.Value, args []js.Value) any { w.controller = args[0]; return nil })
	w.funcs = []js.Func{pull, gone, start}
	source := object.New()
	source.Set("start", start)
	source.Set("pull", pull)
	source.Set("cancel", gone)
	var body any = js.Global().Get("ReadableStream").New(source)
	if status == http.StatusNoContent || status == http.StatusNotModified {
		body = nil
	}
	headers := js.Global().Get("Headers").New()
	for name, values := range w.header {
		for _, v := range values {
			headers.Call("append", name, v)
		}
	}
	options := object.New()
	options.Set("status", status)
	options.Set("headers", headers)
	w.resolve.Invoke(js.Global().Get("Response").New(body, options))
}

var errGone = errors.New("the caller has gone")

// writeMost is how much waits for a Flush, in bytes.
const writeMost = 64 << 10

// Write keeps p until Flush: each crossing to JavaScript costs more than the bytes.
func (w *writer) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if w.left {
		return 0, errGone
	}
	w.held = append(w.held, p...)
	if len(w.held) >= writeMost {
		w.Flush()
	}
	return len(p), nil
}

// Flush sends what was written, and waits while the reader has enough.
func (w *writer) Flush() {
	w.WriteHeader(http.StatusOK)
	if len(w.held) == 0 || w.left {
		return
	}
	w.controller.Call("enqueue", toJS(w.held))
	w.held = w.held[:0]
	for !w.left && w.controller.Get("desiredSize").Int() < -64 { // chunks that nobody has read
		<-w.room
	}
}

// drain waits a moment for the reader to take what was sent: an error throws away what is still queued.
func (w *writer) drain() {
	for range 100 {
		if w.left || w.controller.Get("desiredSize").Int() > 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (w *writer) end(broken bool) {
	if w.started {
		w.Flush()
	}
	if w.started && !w.left {
		if broken {
			w.drain()
			w.controller.Call("error", js.Global().Get("Error").New("the answer broke off"))
		} else {
			w.controller.Call("close")
		}
	}
	for _, f := range w.funcs {
		f.Release()
	}
	if !w.started {
		w.resolve.Invoke(js.Global().Get("Response").New("internal error", map[string]any{"status": 500}))
	}
}

// text is a variable of the Worker, or empty.
func text(env js.Value, name string) string {
	if v := env.Get(name); v.Type() == js.TypeString {
		return strings.TrimSpace(v.String())
	}
	return ""
}
