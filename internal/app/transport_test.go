package app

import (
	"bufio"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/adrg/xdg"

	"codex-proxy/internal/fakebackend"
	"codex-proxy/proxy/codex"
)

// counting is a server that counts its connections, and those of them that are open.
func counting(h http.HandlerFunc) (server *httptest.Server, connections, open *atomic.Int32) {
	connections, open = new(atomic.Int32), new(atomic.Int32)
	server = httptest.NewUnstartedServer(h)
	server.EnableHTTP2 = true
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			connections.Add(1)
			open.Add(1)
		case http.StateClosed:
			open.Add(-1)
		}
	}
	return server, connections, open
}

// trusting has a client believe that server.
func trusting(client *http.Client, server *httptest.Server) *wakefulTransport {
	t := client.Transport.(*wakefulTransport)
	t.now.TLSClientConfig.RootCAs = x509.NewCertPool()
	t.now.TLSClientConfig.RootCAs.AddCert(server.Certificate())
	return t
}

// machine is one whose clock and network are the test's.
type machine struct {
	mu      sync.Mutex
	clock   time.Time
	network string
}

// newMachine is the one that t runs on from now on.
func newMachine(t *wakefulTransport) *machine {
	m := &machine{clock: time.Now(), network: "home"}
	t.clock = func() time.Time {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.clock
	}
	t.addresses = func() string {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.network
	}
	return m
}

func (m *machine) pass(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clock = m.clock.Add(d)
}

func (m *machine) join(network string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.network = network
}

func TestDeadConnectionsAreNotUsedAgain(t *testing.T) {
	release := make(chan struct{})
	server, connections, open := counting(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stream" {
			io.WriteString(w, "begun\n")          //nolint:errcheck // the test sees it
			http.NewResponseController(w).Flush() //nolint:errcheck // the test sees it
			<-release
			io.WriteString(w, "ended\n") //nolint:errcheck // the test sees it
		}
	})
	server.StartTLS()
	defer server.Close()
	client := newHTTPClient(http.ProxyFromEnvironment)
	transport := trusting(client, server)
	m := newMachine(transport)
	kept := int32(1)
	ask := func(what string, want int32) {
		t.Helper()
		resp, err := client.Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body) //nolint:errcheck // empty
		resp.Body.Close()
		if got := connections.Load(); got != want || resp.ProtoMajor != 2 {
			t.Errorf("%s: %d connections of HTTP/%d, not %d", what, got, resp.ProtoMajor, want)
		}
		if want > 1 && !resp.TLS.DidResume {
			t.Errorf("%s: a new TLS session", what)
		}
		until(t, fmt.Sprintf("%s: %d connections should be open", what, kept), func() bool { return open.Load() == kept })
	}
	ask("the first", 1)
	m.pass(time.Second)
	ask("a second later", 1)
	m.pass(20 * time.Second)
	ask("twenty seconds later", 1)
	m.join("office")
	m.pass(lookAgain)
	ask("another network", 2)
	m.pass(lookAgain)
	ask("the same network", 2)
	m.pass(time.Hour)
	ask("after sleep", 3)
	ask("and again", 3)
	m.pass(-time.Hour)
	ask("the clock was set back", 3)
	m.pass(lookAgain)
	ask("and a moment later", 3)

	// A connection on which an answer is under way may be dead as well: that answer is left to it, and none is added.
	stream, err := client.Get(server.URL + "/stream")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	lines := bufio.NewReader(stream.Body)
	if line, err := lines.ReadString('\n'); line != "begun\n" {
		t.Fatal(line, err)
	}
	ask("beside an answer", 3)
	m.join("home")
	m.pass(lookAgain)
	kept = 2
	ask("another network, beside an answer that began before", 4)
	close(release)
	if rest, err := io.ReadAll(lines); string(rest) != "ended\n" {
		t.Errorf("the answer under way: %q, %v", rest, err)
	}
	until(t, "the connection of before stays when its answer has ended", func() bool {
		m.pass(lookAgain)
		transport.look()
		return open.Load() == 1
	})
}

func TestSleepIsSeenByTheTimeOfDay(t *testing.T) {
	if now := newHTTPClient(http.ProxyFromEnvironment).Transport.(*wakefulTransport).clock(); now != now.Round(0) || time.Since(now).Abs() > time.Minute {
		t.Error("it is measured by a clock that stands still while the machine sleeps: ", now)
	}
}

// signedIn is a program with a sign-in at a stand-in that counts its connections, and how often it was asked for the
// usage: the last that is asked ahead.
func signedIn(t *testing.T) (p *pageApp, transport *wakefulTransport, connections, asked *atomic.Int32) {
	t.Helper()
	backend := fakebackend.New()
	backend.Models = codex.BundledModels()
	asked = new(atomic.Int32)
	server, connections, _ := counting(func(w http.ResponseWriter, r *http.Request) {
		backend.ServeHTTP(w, r)
		if strings.HasSuffix(r.URL.Path, "/usage") {
			asked.Add(1)
		}
	})
	server.StartTLS()
	t.Cleanup(server.Close)
	home := ownHome(t)
	t.Setenv("XDG_CACHE_HOME", filepath.Join(home, "cache"))
	xdg.Reload()
	p = openIn(t, home, func(s *Settings) {
		s.BackendURL, s.AuthURL = server.URL+"/backend-api", server.URL
		s.WebSocket = true
		s.CredsStore, s.AccountID, s.AccessToken = "env", fakebackend.AccountID, backend.SignIn(time.Hour).Access
	})
	return p, trusting(p.http, server), connections, asked
}

// until waits for something that comes soon.
func until(t *testing.T, what string, there func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !there(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

func TestTheProgramAsksAheadWhenItStarts(t *testing.T) {
	p, _, _, asked := signedIn(t)
	p.service.SetPort(0)
	ctx, cancel := context.WithCancel(t.Context())
	p.Prepare(ctx, Life{Quit: cancel})
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	until(t, "the usage is not asked for", func() bool { return asked.Load() == 1 })
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestAddressesOfNeighboursDoNotCount(t *testing.T) {
	for text, want := range map[string]bool{"127.0.0.1/8": true, "::1/128": true, "fe80::1/64": true, "169.254.7.7/16": true, "192.168.1.7/24": false, "2001:db8::7/64": false} {
		ip, n, err := net.ParseCIDR(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := near(&net.IPNet{IP: ip, Mask: n.Mask}); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

// TestTheConnectionIsThereBeforeTheFirstRequest after the start, after sleep and on another network.
func TestTheConnectionIsThereBeforeTheFirstRequest(t *testing.T) {
	p, transport, connections, asked := signedIn(t)
	m := newMachine(transport)
	var failures atomic.Int32 // connections that can't be opened, for a network that comes late
	dial := transport.now.DialContext
	transport.now.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if failures.Add(-1) >= 0 {
			return nil, errors.New("no network")
		}
		return dial(ctx, network, address)
	}
	p.Prepare(t.Context(), Life{Quit: func() {}})
	p.service.SetPort(0)
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	watching.Go(func() { p.watchAccount(ctx) })
	watching.Go(func() { p.keepConnected(ctx, time.Millisecond) })
	looked := func() bool {
		transport.mu.Lock()
		defer transport.mu.Unlock()
		return transport.looked.Equal(transport.clock())
	}
	pass := func(d time.Duration) { // and wait until it was noticed
		t.Helper()
		m.pass(d)
		until(t, "the machine is not looked at", looked)
	}
	looks := func(n int) {
		t.Helper()
		for range n {
			pass(lookEvery)
		}
	}
	opened := func(what string, want int32) {
		t.Helper()
		until(t, what+": nothing is asked ahead", func() bool { return asked.Load() >= want })
		if err := p.client.Models.Renew(ctx, p.client); err != nil {
			t.Fatal(err)
		}
		if got := connections.Load(); got != want {
			t.Errorf("%s: %d connections, and the request that came next, not %d", what, got, want)
		}
	}

	start := func() {
		t.Helper()
		if err := p.Start(0); err != nil {
			t.Fatal(err)
		}
	}
	start()
	defer p.service.Stop()
	looks(connectTries + 5) // without a sign-in
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	p.Open(ctx)
	looks(connectTries + 5) // while the proxy is stopped
	if got := connections.Load(); got != 0 {
		t.Errorf("%d connections that nobody wants", got)
	}
	start()
	opened("after the start", 1)
	looks(30)
	opened("two minutes and a half later", 1)
	m.join("office")
	looks(1)
	opened("on another network", 2)
	m.join("home")
	looks(1)
	opened("on the one before", 3)
	for _, network := range []string{"office", "home", "office"} {
		m.join(network)
		looks(1)
	}
	if got := connections.Load(); got != 3 {
		t.Errorf("a network that changes all the time: %d connections, not 3", got)
	}
	looks(1)
	opened("three minutes after the start", 4)
	failures.Store(connectTries + 3)
	pass(8 * time.Hour)
	until(t, "no tries without a network", func() bool { return failures.Load() == 3 })
	looks(connectTries)
	if got := failures.Load(); got != 3 {
		t.Errorf("%d tries too many", 3-got)
	}
	m.join("home")
	looks(1)
	opened("after sleep, when there is a network", 5)
	m.join("office")
	pass(-24 * time.Hour)
	opened("after the clock was set back", 6)
	if _, moves := transport.look(); p.client.Sockets.(*codex.Sockets).Moves() != moves {
		t.Error("WebSockets to the backend are not told")
	}
}

// pipes is a network of pipes, so that its time can be the test's. Once it is dead nothing comes through, and nobody is told.
type pipes struct {
	accept chan net.Conn
	dialed atomic.Int32
	dead   chan struct{}
}

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	p.dialed.Add(1)
	here, there := net.Pipe()
	p.accept <- &deadConn{there, p.dead}
	return here, nil
}

func (p *pipes) Accept() (net.Conn, error) {
	if c, ok := <-p.accept; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (p *pipes) Close() error   { return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

type deadConn struct {
	net.Conn
	dead chan struct{}
}

func (c *deadConn) Read(b []byte) (int, error) {
	for {
		n, err := c.Conn.Read(b)
		if err != nil || !c.lost() {
			return n, err
		}
	}
}

func (c *deadConn) Write(b []byte) (int, error) {
	if c.lost() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

func (c *deadConn) lost() bool {
	select {
	case <-c.dead:
		return true
	default:
		return false
	}
}

// onPipes runs test with a client and an HTTP/2 server that h answers on.
func onPipes(t *testing.T, h http.HandlerFunc, test func(*testing.T, *http.Client, *pipes)) {
	synctest.Test(t, func(t *testing.T) {
		p := &pipes{accept: make(chan net.Conn), dead: make(chan struct{})}
		h2 := &http.Protocols{}
		h2.SetUnencryptedHTTP2(true)
		server := &http.Server{Protocols: h2, Handler: h}
		go server.Serve(p) //nolint:errcheck // it ends with the pipes
		client := newHTTPClient(http.ProxyFromEnvironment)
		transport := client.Transport.(*wakefulTransport)
		transport.addresses = func() string { return "" }
		transport.now.DialContext, transport.now.Protocols = p.dial, h2
		test(t, client, p)
		transport.now.CloseIdleConnections()
		close(p.accept)
		server.Close()
	})
}

// TestAnAnswerOnADeadConnectionEnds by a ping that nobody answers, long before the backend's silence would be too long.
func TestAnAnswerOnADeadConnectionEnds(t *testing.T) {
	onPipes(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "begun")            //nolint:errcheck // the test sees it
		http.NewResponseController(w).Flush() //nolint:errcheck // the test sees it
		<-r.Context().Done()
	}, func(t *testing.T, client *http.Client, p *pipes) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://backend", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.ReadFull(resp.Body, make([]byte, len("begun"))); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // the backend thinks, and answers pings
		close(p.dead)
		began := time.Now()
		if _, err := resp.Body.Read(make([]byte, 1)); err == nil || time.Since(began) > 30*time.Second || time.Since(began) < 15*time.Second {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
	})
}

// TestAConnectionIsKeptWhileAnAnswerIsRead, and not for ever.
func TestAConnectionIsKeptWhileAnAnswerIsRead(t *testing.T) {
	onPipes(t, func(http.ResponseWriter, *http.Request) {}, func(t *testing.T, client *http.Client, p *pipes) {
		transport := client.Transport.(*wakefulTransport)
		transport.clock = func() time.Time { return time.Time{}.Add(time.Hour) } // the machine is awake
		for i, c := range []struct {
			pause time.Duration
			want  int32
		}{{0, 1}, {4*time.Minute + 59*time.Second, 1}, {5*time.Minute + time.Second, 2}} {
			time.Sleep(c.pause)
			resp, err := client.Get("http://backend")
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if got := p.dialed.Load(); got != c.want {
				t.Errorf("request %d, %s later: %d connections, not %d", i, c.pause, got, c.want)
			}
		}
	})
}

// TestTheDesktopIsAskedWhereNothingElseSaysAProxy: the doctor names its script only there.
func TestTheDesktopIsAskedWhereNothingElseSaysAProxy(t *testing.T) {
	names := []string{"HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"}
	for _, name := range names {
		t.Setenv(name, "")
	}
	a := &App{}
	if !a.asTheDesktop() {
		t.Error("it is not asked")
	}
	for _, name := range names {
		t.Setenv(name, "x")
		if a.asTheDesktop() {
			t.Errorf("it is asked though %s is set", name)
		}
		t.Setenv(name, "")
	}
	for _, set := range []string{directly, "http://127.0.0.1:3128"} {
		a.Settings.HTTPSProxy = set
		if a.asTheDesktop() {
			t.Errorf("it is asked though --https-proxy is %s", set)
		}
	}
}
