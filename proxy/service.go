//go:build !js

package proxy

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"codex-proxy/internal/peer"
	"codex-proxy/proxy/codex"
)

const (
	headerPatience = 10 * time.Second
	idlePatience   = 3 * time.Minute
	headerMost     = 64 << 10 // bytes
	drainPatience  = 5 * time.Second
	cutPatience    = time.Second
	// writePatience is how long a caller may take nothing of what is sent to it. Then its connection is cut, and with it
	// its call upstream.
	writePatience = time.Minute
	// connectionsMost is how many connections are open at once; together with headerMost it bounds what callers claim
	// before anything is known of them.
	connectionsMost = 4096
)

// Service listens for a Handler, and can be stopped and started again. Safe for concurrent use.
type Service struct {
	Handler http.Handler
	Host    string // "localhost" for 127.0.0.1 and ::1; else one address
	Port    int    // 0 for a free one
	Errors  *log.Logger
	Advice  codex.Advice // words what can be done when it can't listen
	// Hurry, once closed, has Stop cut what is under way at once; nil for never.
	Hurry <-chan struct{}

	// SameUser refuses callers that are programs of another user of this machine, where the system tells whose they are
	// (see package peer). Root's are let in, and so are, with a line in Errors, those that can't be told.
	SameUser bool

	life    sync.Mutex     // held while starting, moving or stopping, which can take seconds
	retired sync.WaitGroup // what listened before a Move and still has answers under way

	mu  sync.Mutex // held for Port and now only
	now *listening // nil when stopped

	drainTime    time.Duration // drainPatience, but for tests
	writeTime    time.Duration // writePatience, but for tests
	uid          func(net.Conn) (int, error)
	connections  atomic.Int64
	saidTooMany  atomic.Bool
	saidUnknowns atomic.Bool
}

// listening is a server on its addresses, and the requests under way there.
type listening struct {
	server *http.Server
	cut    context.CancelCauseFunc
	drain  chan struct{}  // closed when no new requests are taken
	serve  sync.WaitGroup // the listeners
	under  sync.WaitGroup // the requests under way, WebSockets among them
	addr   string
}

// Start listens and serves in the background. The error says who is in the way and what to do.
func (s *Service) Start() error {
	s.life.Lock()
	defer s.life.Unlock()
	if s.Addr() != "" {
		return nil
	}
	next, err := s.open(s.WantedPort())
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = next
	return nil
}

// Move listens on another port. What is under way on the old one goes on there for as long as it would after a Stop. When
// the new port can't be had, nothing has changed.
func (s *Service) Move(port int) error {
	s.life.Lock()
	defer s.life.Unlock()
	next, err := s.open(port)
	if err != nil {
		return err
	}
	s.mu.Lock()
	before := s.now
	s.now, s.Port = next, port
	s.mu.Unlock()
	if before != nil {
		s.retired.Go(func() { s.end(before) })
	}
	return nil
}

func (s *Service) open(port int) (*listening, error) {
	listeners, err := s.listen(port)
	if err != nil {
		return nil, err
	}
	ctx, cut := context.WithCancelCause(context.Background())
	l := &listening{cut: cut, drain: make(chan struct{}), addr: listeners[0].Addr().String()}
	ctx = context.WithValue(ctx, drainKey{}, l.drain)
	l.server = &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			l.under.Add(1)
			defer l.under.Done()
			s.Handler.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: headerPatience,
		IdleTimeout:       idlePatience,
		MaxHeaderBytes:    headerMost,
		ErrorLog:          s.Errors,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext:       s.LookAtPeer,
	}
	for _, listener := range listeners {
		l.serve.Go(func() {
			if err := l.server.Serve(boundedListener{listener, s}); !errors.Is(err, http.ErrServerClosed) {
				s.logf("listener %s: %v", listener.Addr(), err)
			}
		})
	}
	return l, nil
}

func (s *Service) logf(format string, args ...any) {
	if s.Errors != nil {
		s.Errors.Printf(format, args...)
	}
}

// WantedPort is the port of the next Start.
func (s *Service) WantedPort() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Port
}

// SetPort chooses the port of the next Start.
func (s *Service) SetPort(port int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Port = port
}

// Addr is the address that is listened on, such as 127.0.0.1:9879; empty when stopped.
func (s *Service) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now == nil {
		return ""
	}
	return s.now.addr
}

// listen opens the addresses. For localhost both families are wanted, since programs differ in which they try first; a
// machine without one of them is fine.
func (s *Service) listen(port int) ([]net.Listener, error) {
	hosts := []string{s.Host}
	if s.Host == "localhost" {
		hosts = []string{"127.0.0.1", "::1"}
	}
	for attempt := 0; ; attempt++ {
		listeners, err := listenAll(hosts, port)
		var taken *listenError
		switch {
		case err == nil:
			return listeners, nil
		case port == 0 && attempt < 10 && errors.Is(err, syscall.EADDRINUSE): // a free port of one family was taken in the other
		case errors.As(err, &taken):
			return nil, s.explain(taken)
		default:
			return nil, err
		}
	}
}

// listenError says on which address it failed.
type listenError struct {
	err  error
	host string
	port int
}

func (e *listenError) Error() string { return e.err.Error() }
func (e *listenError) Unwrap() error { return e.err }

// listenAll listens on the same port of each host. Hosts beyond one that the machine does not have are left out.
func listenAll(hosts []string, port int) (listeners []net.Listener, err error) {
	var missing *listenError
	for _, host := range hosts {
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil {
			failed := &listenError{err, host, port}
			if len(hosts) > 1 && !errors.Is(err, syscall.EADDRINUSE) && !errors.Is(err, syscall.EACCES) {
				missing = failed
				continue
			}
			for _, open := range listeners {
				open.Close()
			}
			return nil, failed
		}
		listeners = append(listeners, l)
		if port == 0 {
			port = l.Addr().(*net.TCPAddr).Port
		}
	}
	if listeners == nil {
		return nil, missing
	}
	return listeners, nil
}

// ErrPortTaken is what Start's error is when another program listens on the port.
var ErrPortTaken = errors.New("port is taken")

func (s *Service) explain(e *listenError) error {
	switch {
	case errors.Is(e.err, syscall.EADDRINUSE):
		return fmt.Errorf("%w: another program listens on port %d (%s). %s", ErrPortTaken, e.port, e.host, s.Advice.For(codex.RemedyPortTaken))
	case errors.Is(e.err, syscall.EACCES):
		return fmt.Errorf("port %d may not be used by this user. %s", e.port, s.Advice.For(codex.RemedyPort))
	}
	return fmt.Errorf("can't listen on %s: %w. %s", net.JoinHostPort(e.host, strconv.Itoa(e.port)), e.err, s.Advice.For(codex.RemedyListen))
}

// Stop takes no new requests, lets those under way end for a few seconds (unless there is a Hurry), WebSockets among
// them, then cuts them with an error in their dialect. It returns when none runs any more.
func (s *Service) Stop() {
	s.life.Lock()
	defer s.life.Unlock()
	s.mu.Lock()
	now := s.now
	s.now = nil // nobody can reach it from here on
	s.mu.Unlock()
	if now != nil {
		s.end(now)
	}
	s.retired.Wait()
}

// end takes no new requests, and returns when those under way have ended or were cut.
func (s *Service) end(l *listening) {
	close(l.drain)
	ended := make(chan struct{})
	patience, cancel := context.WithTimeout(context.Background(), orElse(s.drainTime, drainPatience))
	go func() {
		defer close(ended)
		l.server.Shutdown(patience) //nolint:errcheck // what is left is cut next
		l.under.Wait()
	}()
	select {
	case <-ended:
	case <-patience.Done():
	case <-s.Hurry:
	}
	cancel()
	l.cut(codex.Stopped())
	timer := time.AfterFunc(cutPatience, func() { l.server.Close() }) //nolint:errcheck // the listeners are closed already
	<-ended
	timer.Stop()
	l.server.Close() //nolint:errcheck // see above
	l.serve.Wait()
}

func orElse[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// boundedListener bounds how many connections there are, and how long each may take to be written to.
type boundedListener struct {
	net.Listener
	s *Service
}

func (l boundedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.s.connections.Add(1) <= connectionsMost {
			return &boundedConn{Conn: c, patience: orElse(l.s.writeTime, writePatience), s: l.s}, nil
		}
		l.s.connections.Add(-1)
		c.Close()
		if !l.s.saidTooMany.Swap(true) {
			l.s.logf("more than %d connections at once: the others are closed", connectionsMost)
		}
	}
}

// boundedConn gives each write a deadline: a caller that reads nothing for that long has its connection cut.
type boundedConn struct {
	net.Conn
	patience time.Duration
	s        *Service
	closed   sync.Once
}

// SyscallConn is the connection's own, for package peer.
func (c *boundedConn) SyscallConn() (syscall.RawConn, error) {
	if own, ok := c.Conn.(syscall.Conn); ok {
		return own.SyscallConn()
	}
	return nil, syscall.EINVAL
}

// writePiece is how much must go in one patience, in bytes.
const writePiece = 64 << 10

func (c *boundedConn) Write(b []byte) (written int, err error) {
	for {
		piece := b[:min(len(b), writePiece)]
		if err := c.Conn.SetWriteDeadline(time.Now().Add(c.patience)); err != nil {
			return written, err
		}
		n, err := c.Conn.Write(piece)
		written += n
		if b = b[n:]; err != nil || len(b) == 0 {
			return written, err
		}
	}
}

func (c *boundedConn) Close() error {
	c.closed.Do(func() { c.s.connections.Add(-1) })
	return c.Conn.Close()
}

// LookAtPeer is an http.Server's ConnContext: it finds out once a connection whose program is at its other end.
func (s *Service) LookAtPeer(ctx context.Context, c net.Conn) context.Context {
	if !s.SameUser {
		return ctx
	}
	lookUp := s.uid
	if lookUp == nil {
		lookUp = peer.UID
	}
	uid, err := lookUp(c)
	switch {
	case errors.Is(err, peer.ErrGone): // it hears no answer, but what it asked would be done all the same
		return context.WithValue(ctx, strangerKey{}, -1)
	case err != nil:
		if !s.saidUnknowns.Swap(true) {
			s.logf("caller %s: whose program it is can't be told (%v); such are let in", c.RemoteAddr(), err)
		}
	case uid != 0 && uid != os.Getuid():
		return context.WithValue(ctx, strangerKey{}, uid)
	}
	return ctx
}
