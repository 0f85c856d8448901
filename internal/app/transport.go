package app

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// newHTTPClient returns the client for OpenAI's hosts. It follows the system's proxy settings and certificates; a
// connection that died while the machine slept is not used again; redirects are not followed, since a sign-in goes
// with each request. Answers are not limited in time, but see codex.Client.
func newHTTPClient() *http.Client {
	return &http.Client{
		Transport: &wakefulTransport{
			Transport: &http.Transport{
				Proxy:                 http.ProxyFromEnvironment,
				DialContext:           (&net.Dialer{Timeout: 15 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
				TLSHandshakeTimeout:   15 * time.Second,
				TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(16)},
				ExpectContinueTimeout: time.Second,
				IdleConnTimeout:       60 * time.Second,
				MaxIdleConnsPerHost:   16,
				ForceAttemptHTTP2:     true,
				DisableCompression:    true, // a compressed event stream comes in lumps
				HTTP2: &http.HTTP2Config{
					SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second, WriteByteTimeout: 30 * time.Second,
					MaxReceiveBufferPerStream: 512 << 10, // bytes, for callers that read slowly: enough for 10 MB/s over 50 ms
				},
			},
			clock: bothClocks(), addresses: addresses,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

const (
	// sleptFrom is by how much more the clock has moved than the machine has run, when it slept.
	sleptFrom = 5 * time.Second
	// networkKnown is how long the machine's addresses are taken to be the same.
	networkKnown = 5 * time.Second
)

// wakefulTransport drops idle connections before a request when they are surely dead: the machine slept since the last one,
// or its network is another. Else that request would wait on one until its pings time out, half a minute.
type wakefulTransport struct {
	*http.Transport

	clock     func() (wall time.Time, ran time.Duration) // ran stands still while the machine sleeps
	addresses func() string

	mu      sync.Mutex
	wall    time.Time // when it was looked last
	ran     time.Duration
	network string
}

// RoundTrip is http.RoundTripper's.
func (t *wakefulTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.changed() {
		t.CloseIdleConnections()
	}
	return t.Transport.RoundTrip(r)
}

func (t *wakefulTransport) changed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	wall, ran := t.clock()
	first, since := t.wall.IsZero(), ran-t.ran
	slept := wall.Sub(t.wall) >= since+sleptFrom
	if !first && !slept && since < networkKnown {
		return false
	}
	before := t.network
	t.wall, t.ran, t.network = wall, ran, t.addresses()
	return !first && (slept || t.network != before)
}

// bothClocks reads the time of day, and how long this machine has run since.
func bothClocks() func() (time.Time, time.Duration) {
	begin := time.Now()
	return func() (time.Time, time.Duration) {
		now := time.Now()
		return now.Round(0), now.Sub(begin)
	}
}

// addresses are all that this machine has, as one string.
func addresses() string {
	all, err := net.InterfaceAddrs()
	return fmt.Sprint(all, err)
}

// Do sends a request of a command's own, by the system's proxy settings, in this program's name.
func (a *App) Do(req *http.Request) (*http.Response, error) {
	req.Header.Set("User-Agent", a.identity.UserAgent)
	return a.http.Do(req)
}
