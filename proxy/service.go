//go:build !js

package proxy

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"strconv"
	"sync"
	"syscall"
	"time"

	"codex-proxy/proxy/codex"
)

const (
	headerPatience = 10 * time.Second
	idlePatience   = 3 * time.Minute
	headerMost     = 256 << 10 // bytes
	drainPatience  = 5 * time.Second
	cutPatience    = time.Second
)

// Service listens for a Handler, and can be stopped and started again. Safe for concurrent use.
type Service struct {
	Handler http.Handler
	Host    string // "localhost" for 127.0.0.1 and ::1; else one address
	Port    int    // 0 for a free one
	Errors  *log.Logger

	life sync.Mutex // held while starting or stopping, which can take seconds

	mu     sync.Mutex // held for the fields only
	server *http.Server
	cancel context.CancelCauseFunc
	done   sync.WaitGroup
	addr   string
}

// Loopback reports whether host is this machine only.
func Loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// Start listens and serves in the background. The error says who is in the way and what to do.
func (s *Service) Start() error {
	s.life.Lock()
	defer s.life.Unlock()
	if s.Addr() != "" {
		return nil
	}
	listeners, err := s.listen(s.WantedPort())
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx, cancel := context.WithCancelCause(context.Background())
	s.cancel = cancel
	s.server = &http.Server{
		Handler:           s.Handler,
		ReadHeaderTimeout: headerPatience,
		IdleTimeout:       idlePatience,
		MaxHeaderBytes:    headerMost,
		ErrorLog:          s.Errors,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	s.addr = listeners[0].Addr().String()
	for _, l := range listeners {
		s.done.Add(1)
		server := s.server
		go func() {
			defer s.done.Done()
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) && s.Errors != nil {
				s.Errors.Printf("listener %s: %v", l.Addr(), err)
			}
		}()
	}
	return nil
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
	if s.server == nil {
		return ""
	}
	return s.addr
}

// listen opens the addresses. For localhost both families are tried, since programs differ in which they try first; a
// machine without one of them is fine.
func (s *Service) listen(port int) ([]net.Listener, error) {
	hosts := []string{s.Host}
	if s.Host == "localhost" {
		hosts = []string{"127.0.0.1", "::1"}
	}
	var listeners []net.Listener
	for _, host := range hosts {
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil {
			if len(hosts) > 1 && !errors.Is(err, syscall.EADDRINUSE) && host == "::1" && len(listeners) > 0 {
				continue
			}
			for _, open := range listeners {
				open.Close()
			}
			return nil, listenError(err, host, port)
		}
		listeners = append(listeners, l)
		if port == 0 {
			port = l.Addr().(*net.TCPAddr).Port
		}
	}
	return listeners, nil
}

// ErrPortTaken is what Start's error is when another program listens on the port.
var ErrPortTaken = errors.New("port is taken")

func listenError(err error, host string, port int) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w: another program listens on port %d (%s). Stop it, or choose another port with --port", ErrPortTaken, port, host)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("port %d may not be used by this user. Choose one above 1023 with --port", port)
	}
	return fmt.Errorf("can't listen on %s: %w. Choose another address with --listen", net.JoinHostPort(host, strconv.Itoa(port)), err)
}

// Stop takes no new requests, lets those under way end for a few seconds, then cuts them with an error in their
// dialect. It returns when nothing runs any more.
func (s *Service) Stop() {
	s.life.Lock()
	defer s.life.Unlock()
	s.mu.Lock()
	server, cut := s.server, s.cancel
	s.mu.Unlock()
	if server == nil {
		return
	}
	drain, cancel := context.WithTimeout(context.Background(), drainPatience)
	err := server.Shutdown(drain)
	cancel()
	cut(codex.Stopped())
	if err != nil {
		last, cancel := context.WithTimeout(context.Background(), cutPatience)
		server.Shutdown(last) //nolint:errcheck // what is left is closed next
		cancel()
		server.Close()
	}
	s.done.Wait()
	s.mu.Lock()
	s.server = nil
	s.mu.Unlock()
}
