package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"sync"
	"time"

	"codex-proxy/proxy"
)

// newHTTPClient returns the client for OpenAI's hosts. It follows throughProxy and the system's certificates; a
// connection that died while the machine slept is not used again; redirects are not followed, since a sign-in goes
// with each request. Answers are not limited in time, but see codex.Client.
func newHTTPClient(throughProxy func(*http.Request) (*url.URL, error)) *http.Client {
	dialer := net.Dialer{Timeout: 15 * time.Second, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}}
	return &http.Client{
		Transport: &wakefulTransport{
			now: &http.Transport{
				Proxy:                 throughProxy,
				DialContext:           dialer.DialContext,
				TLSHandshakeTimeout:   15 * time.Second,
				TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(16)},
				ExpectContinueTimeout: time.Second,
				IdleConnTimeout:       idleConnection,
				MaxIdleConnsPerHost:   16,
				ForceAttemptHTTP2:     true,
				DisableCompression:    true, // a compressed event stream comes in lumps
				HTTP2: &http.HTTP2Config{
					SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second, WriteByteTimeout: 30 * time.Second,
					MaxReceiveBufferPerStream: 512 << 10, // bytes, for callers that read slowly: enough for 10 MB/s over 50 ms
				},
			},
			clock: func() time.Time { return time.Now().Round(0) }, addresses: addresses,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// networkProxy says by which of the network's proxies a request goes, nil for none: the one that was set here, else what
// the variables say, else what the desktop's browsers use. This machine is reached without one.
func (a *App) networkProxy(r *http.Request) (*url.URL, error) {
	from, set := a.Settings.From["https-proxy"], a.Settings.HTTPSProxy
	switch {
	case proxy.Loopback(r.URL.Hostname()):
		return nil, nil
	case set == directly:
		return nil, nil
	case set != "" && (from == FromFlag || from == FromFile):
		return url.Parse(set)
	case !a.asTheDesktop():
		return http.ProxyFromEnvironment(r)
	}
	through, _ := a.systemProxy.For(r.URL) //nolint:errcheck // the doctor tells
	return through, nil
}

// asTheDesktop reports whether the desktop's settings say which proxy is used: nothing else does.
func (a *App) asTheDesktop() bool {
	return a.Settings.HTTPSProxy == "" && !slices.ContainsFunc([]string{"HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"}, func(name string) bool { return os.Getenv(name) != "" })
}

const (
	// idleConnection is how long a connection is kept that nothing is asked on: people read an answer before they ask
	// again. Cloudflare, before ChatGPT's backend, ends one after 400 s.
	// Source: https://developers.cloudflare.com/fundamentals/reference/connection-limits
	idleConnection = 5 * time.Minute
	// lookAgain is how long the machine is taken to be awake, and its network to be the same: a look takes 25 µs.
	lookAgain = 250 * time.Millisecond
	// lookEvery is how often it is looked without a request.
	lookEvery = 5 * time.Second
	// sleptFrom is the time without a look after which the machine is taken to have slept, or the program to have been
	// stopped. Shorter ones are left to pings.
	sleptFrom = 30 * time.Second
	// leftMost is how many transports of before are looked after.
	leftMost = 8
)

// wakefulTransport goes on with new connections when those that are open are surely dead: the machine slept, or its
// network is another. Else the next request would wait on one until its pings time out, half a minute. Answers under
// way are left to their connections, which may be alive after all.
type wakefulTransport struct {
	clock     func() time.Time // the time of day, which goes on while the machine sleeps
	addresses func() string

	mu      sync.Mutex
	now     *http.Transport
	left    []*http.Transport // those of before, on which answers may be under way; the newest last
	moves   int               // how often there was a new one
	looked  time.Time         // by clock
	network string            // the addresses then
}

// RoundTrip is http.RoundTripper's.
func (t *wakefulTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	now, _ := t.look()
	return now.RoundTrip(r)
}

// look returns the transport to be used now, and how many there were before it.
func (t *wakefulTransport) look() (now *http.Transport, moves int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	wall := t.clock()
	first, since := t.looked.IsZero(), wall.Sub(t.looked)
	if !first && since >= 0 && since < lookAgain {
		return t.now, t.moves
	}
	before := t.network
	t.looked, t.network = wall, t.addresses()
	if !first && (since >= sleptFrom || t.network != before) {
		t.left = append(t.left, t.now)
		t.left = t.left[max(0, len(t.left)-leftMost):]
		t.now = t.now.Clone()
		t.moves++
	}
	for _, left := range t.left {
		left.CloseIdleConnections()
	}
	return t.now, t.moves
}

// addresses are those that this machine has, as one string.
func addresses() string {
	all, err := net.InterfaceAddrs()
	return fmt.Sprint(slices.DeleteFunc(all, near), err)
}

// near reports whether an address is one that nobody far away is reached by. Those come and go with each container;
// those of whole networks of containers do count, since a VPN's look the same.
func near(a net.Addr) bool {
	n, ok := a.(*net.IPNet)
	return ok && (n.IP.IsLoopback() || n.IP.IsLinkLocalUnicast())
}

const (
	connectTries = 12              // after a move, with lookEvery between them
	connectOften = 3 * time.Minute // in which three connections are opened ahead at most, where the network changes all the time
)

// keepConnected asks the upstream at the start, and again when the machine has woken, its network has changed, or somebody
// else has signed in: the connection is there before a request needs it, and what is known of the plan is new. While there
// is no sign-in, and while the proxy is stopped, it waits; a pause that the machine slept through ends. It ends with ctx;
// every is lookEvery.
func (a *App) keepConnected(ctx context.Context, every time.Duration) {
	transport := a.http.Transport.(*wakefulTransport)
	_, moves := transport.look()
	tries, opened := connectTries, [3]time.Time{} // the newest last
	account := ""                                 // whose sign-in it is, known soon: what is told before would be forgotten
	for ctx.Err() == nil {
		if a.pauseOver() { // the machine slept, and so did the timer
			a.resume()
		}
		if _, n := transport.look(); n != moves {
			moves, tries = n, connectTries
		}
		s := a.manager.State()
		wanted := s.Usable && a.service.Addr() != "" && whose(s) == account
		if now := transport.clock(); tries > 0 && wanted && now.Sub(opened[0]).Abs() >= connectOften {
			if tries--; a.connect(ctx) {
				tries, opened = 0, [3]time.Time{opened[1], opened[2], now}
			}
		}
		select {
		case <-ctx.Done():
		case account = <-a.accounts:
			tries = connectTries
		case <-time.After(every):
		}
	}
}

// connect opens a connection to the upstream by asking for what may have changed. It reports whether it was reached.
func (a *App) connect(ctx context.Context) bool {
	err := a.client.Models.Renew(ctx, a.client)
	var unreached *url.Error
	if errors.As(err, &unreached) || errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil || !a.manager.State().Usable {
		return false
	}
	if model := a.client.Models.Default(); err == nil && !a.client.Models.Offers("") {
		a.log.Warnf("⚠️ Requests that name no model fail: %s, which is set for them, is not offered to this account", model)
	}
	a.client.Workspaces(ctx)                         //nolint:errcheck // asked again with the first request
	a.client.UsageTracker.Fetch(ctx, a.client, true) //nolint:errcheck // the next answer tells
	return true
}

// moves counts the times when the connections of before died at once.
func (a *App) moves() int {
	_, n := a.http.Transport.(*wakefulTransport).look()
	return n
}

// Do sends a request of a command's own, by the system's proxy settings, in this program's name.
func (a *App) Do(req *http.Request) (*http.Response, error) {
	req.Header.Set("User-Agent", a.identity.UserAgent)
	return a.http.Do(req)
}
