//go:build e2e

package e2e

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// networkProxy is a proxy that everything behind it is reached by, whatever its name; to is where that really is. It
// asks for a name and a password.
func networkProxy(t *testing.T, to string) (address string, asked *atomic.Int32) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	asked = &atomic.Int32{}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				in := bufio.NewReader(conn)
				r, err := http.ReadRequest(in)
				if err != nil || r.Method != http.MethodConnect || r.Header.Get("Proxy-Authorization") != "Basic bWU6c2VjcmV0LXdvcmQ=" {
					io.WriteString(conn, "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n") //nolint:errcheck // the test notices
					return
				}
				asked.Add(1)
				up, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer up.Close()
				io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n") //nolint:errcheck // see above
				go io.Copy(up, in)                              //nolint:errcheck // ends with the connections
				io.Copy(conn, up)                               //nolint:errcheck // see above
			}()
		}
	}()
	return "http://me:secret-word@" + l.Addr().String(), asked
}

// TestTheProxyOfTheNetworkIsUsed: requests, refreshes and the doctor's go by it, wherever it is set. The names that are
// asked for lead nowhere without it.
func TestTheProxyOfTheNetworkIsUsed(t *testing.T) {
	for name, set := range map[string]func(home, address string) (env, args []string){
		"by the variable": func(_, address string) ([]string, []string) { return []string{"HTTPS_PROXY=" + address}, nil },
		"by another":      func(_, address string) ([]string, []string) { return []string{"https_proxy=" + address}, nil },
		"by the flag": func(_, address string) ([]string, []string) {
			return []string{"HTTPS_PROXY=http://127.0.0.1:1"}, []string{"--https-proxy", address}
		},
		"in the settings": func(home, address string) ([]string, []string) {
			writeFile(t, filepath.Join(home, ".config", "codex-proxy", "settings.json"), []byte(`{"https-proxy":"`+address+`"}`))
			return nil, nil
		},
	} {
		b, env := tlsBackend(t)
		var to string
		for i, variable := range env {
			name, url, _ := strings.Cut(variable, "=https://")
			if host, path, _ := strings.Cut(url, "/"); url != "" {
				to, env[i] = host, name+"=https://example.com"+strings.TrimSuffix("/"+path, "/")
			}
		}
		address, asked := networkProxy(t, to)
		home, _ := signedIn(t, b)
		more, args := set(home, address)
		p := start(t, home, append(env, more...), args...)
		p.imported() // by a refresh
		if status, _, answer := p.post("/v1/chat/completions", `{"messages":[{"role":"user","content":"hi"}]}`); status != 200 || asked.Load() == 0 {
			t.Errorf("%s: %d %s", name, status, answer)
		}
		out, code := command(t, home, append(env, more...), append(args, "doctor")...)
		if code != 0 || strings.Count(out, "through the proxy 127.0.0.1:") != 2 || strings.Contains(out+p.log.String(), "secret-word") {
			t.Errorf("%s: doctor ends with %d: %s", name, code, out)
		}
		p.stop() //nolint:errcheck // it has served
	}
}

func TestAProxyOfTheNetworkThatCanNotBeMeantIsRefused(t *testing.T) {
	for _, address := range []string{"proxy.example.com:3128", "ftp://proxy.example.com", "http://", "http://me:xxxxx@proxy.example.com"} {
		if out, code := command(t, t.TempDir(), nil, "--https-proxy", address, "status"); code == 0 || !strings.Contains(out, "--https-proxy") {
			t.Errorf("%s: %d %s", address, code, out)
		}
	}
}

// TestAServiceReachesTheNetworkAsTheShellDid: the variables by which it is reached are given to it, and a password is
// not in its arguments.
func TestAServiceReachesTheNetworkAsTheShellDid(t *testing.T) {
	home := t.TempDir()
	env := []string{"HTTPS_PROXY=http://me:secret-word@proxy.example.com:3128", "no_proxy=.example.org", "SSL_CERT_FILE=/etc/ours.pem"}
	read := func(name string) string {
		raw, _ := os.ReadFile(filepath.Join(home, ".config", name))
		return string(raw)
	}
	for _, x := range []struct{ env, args []string }{
		{nil, []string{"--https-proxy", strings.TrimPrefix(env[0], "HTTPS_PROXY=")}},
		{env, nil},
	} {
		command(t, home, x.env, append([]string{"serve", "--install-service"}, x.args...)...) // systemd is not there to start it
		if unit := read("systemd/user/codex-proxy.service"); !strings.Contains(unit, "EnvironmentFile=") || strings.Contains(unit, "secret-word") {
			t.Errorf("%v: the unit is\n%s", x, unit)
		}
		if given := read("codex-proxy/service.env"); !strings.Contains(given, `HTTPS_PROXY="http://me:secret-word@proxy.example.com:3128"`) {
			t.Errorf("%v: it is given\n%s", x, given)
		}
	}
	for _, want := range []string{`no_proxy=".example.org"`, `SSL_CERT_FILE="/etc/ours.pem"`} {
		if given := read("codex-proxy/service.env"); !strings.Contains(given, want) {
			t.Errorf("it is given\n%s", given)
		}
	}
}
