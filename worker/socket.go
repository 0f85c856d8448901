//go:build js

package main

import (
	"bytes"
	"context"
	"errors"
	"io"

	"codex-proxy/proxy"
)

// errNotText is what reading a message finds that is not text.
var errNotText = errors.New("a message that is not text")

// Upgrade is proxy.Upgrader's.
func (w *writer) Upgrade() (proxy.WebSocket, error) {
	w.mu.Lock() // until the number of the messages is known, none is told
	defer w.mu.Unlock()
	w.started = true
	id := w.host.Call("upgrade", w.id).Int()
	if id == 0 {
		return nil, errGone
	}
	w.bodies[id] = make(chan int, 1)
	w.socket = &bodyReader{bridge: w.bridge, id: id, ctx: w.ctx, outcome: w.bodies[id]}
	return socket{w}, nil
}

// socket is a WebSocket that the host holds. A caller who leaves ends the context of the request.
type socket struct{ w *writer }

// Next is proxy.WebSocket's. Its context is that of the request.
func (s socket) Next(context.Context) (io.Reader, bool, error) {
	size, err := s.w.socket.wait()
	if errors.Is(err, errNotText) {
		return nil, false, nil
	}
	s.w.socket.there = size
	return io.LimitReader(s.w.socket, int64(size)), true, err
}

// Send is proxy.WebSocket's. The platform takes every message at once, however slowly it is read.
func (s socket) Send(_ context.Context, text []byte) error {
	s.w.copying.Lock()
	defer s.w.copying.Unlock()
	if err := s.w.hand(s.w.id, bytes.NewReader(text), int64(len(text))); err != nil {
		return err
	}
	if !s.w.host.Call("say", s.w.id).Bool() {
		return errGone
	}
	return nil
}

// Ping is proxy.WebSocket's. The platform answers pings, and sends none.
func (socket) Ping(context.Context) error { return nil }

// Close is proxy.WebSocket's.
func (s socket) Close(status int, reason string) {
	s.w.host.Call("part", s.w.id, status, reason)
	s.w.cancel()
}
