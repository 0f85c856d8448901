package app

import (
	"net"
	"net/http"
	"time"
)

// newHTTPClient returns the client for OpenAI's hosts. It follows the system's proxy settings and certificates; a
// connection that died while the machine slept is noticed by pings; redirects are not followed, since a sign-in goes
// with each request. Answers are not limited in time, but see codex.Client.
func newHTTPClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 15 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
			TLSHandshakeTimeout:   15 * time.Second,
			ExpectContinueTimeout: time.Second,
			IdleConnTimeout:       60 * time.Second,
			MaxIdleConnsPerHost:   16,
			ForceAttemptHTTP2:     true,
			DisableCompression:    true, // a compressed event stream comes in lumps
			HTTP2:                 &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second, WriteByteTimeout: 30 * time.Second},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Do sends a request of a command's own, by the system's proxy settings, in this program's name.
func (a *App) Do(req *http.Request) (*http.Response, error) {
	req.Header.Set("User-Agent", a.identity.UserAgent)
	return a.http.Do(req)
}
