// Package systemproxy says by which proxy the desktop wants an address to be reached, as its browsers do. Linux's desktops
// are asked by their portal, Windows by the registry and macOS by scutil. A script that chooses the proxy (PAC) is not run
// here: a portal may run it, elsewhere that there is one is an error.
package systemproxy

import (
	"bufio"
	"context"
	"errors"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	fresh    = 10 * time.Second // how long an answer is taken to hold
	patience = time.Second      // how long a request waits for an answer; one that comes later is for the next request
	longest  = 30 * time.Second // how long the system is waited for: at login it may be starting
	retry    = 10 * time.Minute // how long one that has not answered by then is not asked again
)

// ErrScript means that a script chooses the proxy, and that it is not run.
var ErrScript = errors.New("a script chooses the proxy, which is not run here")

// Resolver asks the system, and keeps its answers for a moment. The zero value is ready for use. Safe for concurrent use.
type Resolver struct {
	flight singleflight.Group
	mu     sync.Mutex
	kept   map[string]answer
	ask    func(ctx context.Context, address string) (string, error) // lookup, but in tests
}

// answer is what the system said of a host.
type answer struct {
	proxy *url.URL
	err   error
	until time.Time
}

// For returns the proxy for an address, by http, https or socks5; nil for none. After an error the last good answer is
// returned, too.
func (r *Resolver) For(u *url.URL) (*url.URL, error) {
	host := u.Scheme + "://" + u.Host
	a := r.last(host)
	if time.Now().Before(a.until) {
		return a.proxy, a.err
	}
	done := r.flight.DoChan(host, func() (any, error) {
		r.renew(host)
		return nil, nil //nolint:nilnil // the answer is kept
	})
	select {
	case <-done:
	case <-time.After(patience):
	}
	a = r.last(host)
	return a.proxy, a.err
}

func (r *Resolver) last(host string) answer {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.kept[host]
}

// renew asks the system about a host.
func (r *Resolver) renew(host string) {
	ask := r.ask
	if ask == nil {
		ask = lookup
	}
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	text, err := ask(ctx, host+"/")
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.kept[host]
	a.err, a.until = err, time.Now().Add(fresh)
	switch {
	case err == nil:
		a.proxy = parse(text)
	case ctx.Err() != nil:
		a.until = time.Now().Add(retry)
	}
	if r.kept == nil {
		r.kept = map[string]answer{}
	}
	r.kept[host] = a
}

// parse reads a proxy as systems write it, with a scheme or without; nil for one that is none.
func parse(text string) *url.URL {
	text = strings.TrimSpace(text)
	if text != "" && !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		return nil
	}
	switch u.Scheme {
	case "http", "https", "socks5", "socks5h":
		return u
	case "socks":
		u.Scheme = "socks5"
		return u
	}
	return nil
}

// windows is the proxy that the values of Windows' Internet Settings name for a host. Source: Microsoft, "WinHTTP proxy
// configuration": one for all, or some like https=host:port;socks=host:port.
func windows(server, override, host string) string {
	for pattern := range strings.FieldsFuncSeq(override, separates) {
		if pattern == "<local>" && !strings.Contains(host, ".") || covers(pattern, host) {
			return ""
		}
	}
	socks := ""
	for one := range strings.FieldsFuncSeq(server, separates) {
		kind, address, named := strings.Cut(one, "=")
		switch {
		case !named:
			return kind
		case kind == "https":
			return address
		case kind == "socks":
			socks = "socks5://" + address
		}
	}
	return socks
}

func separates(r rune) bool { return r == ';' || r == ' ' }

// covers reports whether a host is one of a pattern, in which a star stands for anything.
func covers(pattern, host string) bool {
	if _, rest, ok := strings.Cut(pattern, "://"); ok {
		pattern = rest
	}
	pattern, _, _ = strings.Cut(pattern, ":")
	ok, err := path.Match(strings.ToLower(pattern), strings.ToLower(host))
	return ok && err == nil
}

// scutil is the proxy that `scutil --proxy` names for a host, and ErrScript where there is none but a script.
// Source: SCDynamicStoreCopyProxies; its keys are those of SCSchemaDefinitions.h.
func scutil(text, host string) (string, error) {
	values := map[string]string{}
	list := ""
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		name, value, ok := strings.Cut(strings.TrimSpace(lines.Text()), " : ")
		switch {
		case strings.TrimSpace(lines.Text()) == "}":
			list = ""
		case ok && strings.HasPrefix(value, "<array>"):
			list = name
		case ok && list == "ExceptionsList" && covers(value, host):
			return "", nil
		case ok && list == "":
			values[name] = value
		}
	}
	switch {
	case values["HTTPSEnable"] == "1" && values["HTTPSProxy"] != "":
		return values["HTTPSProxy"] + ":" + values["HTTPSPort"], nil
	case values["SOCKSEnable"] == "1" && values["SOCKSProxy"] != "":
		return "socks5://" + values["SOCKSProxy"] + ":" + values["SOCKSPort"], nil
	case values["ProxyAutoConfigEnable"] == "1":
		return "", ErrScript
	}
	return "", nil
}
