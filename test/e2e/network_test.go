//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"codex-proxy/internal/fakebackend"
)

// networkProxy is a proxy that everything behind it is reached by, whatever its name; to is where that really is. It
// lets in who brings pass, "name:password", or everybody.
func networkProxy(t *testing.T, to, pass string) (address string, asked *atomic.Int32) {
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
				if err != nil || r.Method != http.MethodConnect || pass != "" && r.Header.Get("Proxy-Authorization") != "Basic "+base64.StdEncoding.EncodeToString([]byte(pass)) {
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
	return l.Addr().String(), asked
}

// behind is the stand-in, and the environment by which it is reached under a name that leads nowhere but through a proxy
// that reaches to.
func behind(t *testing.T) (b *fakebackend.Backend, env []string, to string) {
	t.Helper()
	b, env = tlsBackend(t)
	for i, variable := range env {
		name, url, _ := strings.Cut(variable, "=https://")
		if host, path, _ := strings.Cut(url, "/"); url != "" {
			to, env[i] = host, name+"=https://example.com"+strings.TrimSuffix("/"+path, "/")
		}
	}
	return b, env, to
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
		b, env, to := behind(t)
		address, asked := networkProxy(t, to, "me:secret-word")
		address = "http://me:secret-word@" + address
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

// TestTheProxyOfTheDesktopIsUsed: the one that is set in GNOME's settings, asked of the real portal, unless another is
// set here.
func TestTheProxyOfTheDesktopIsUsed(t *testing.T) {
	if _, err := os.Stat("/usr/libexec/xdg-desktop-portal"); err != nil {
		t.Skip("no xdg-desktop-portal here")
	}
	b, env, to := behind(t)
	address, asked := networkProxy(t, to, "")
	host, port, _ := net.SplitHostPort(address)
	home, _ := signedIn(t, b)
	if err := os.Mkdir(filepath.Join(home, "run"), 0o700); err != nil {
		t.Fatal(err)
	}
	doctor := func(settings, flags string, more ...string) string {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, "dbus-run-session", "--", "sh", "-c", settings+"; "+binary+" "+flags+" doctor")
		cmd.Env = append(append([]string{"HOME=" + home, "XDG_RUNTIME_DIR=" + filepath.Join(home, "run"), "PATH=" + os.Getenv("PATH"),
			"DISPLAY=:0", "XDG_CURRENT_DESKTOP=GNOME"}, env...), more...)
		out, _ := cmd.Output() // it finds something
		return string(out)
	}
	// The portal is started beforehand: a busy machine takes its time.
	const started = "gdbus call --session -d org.freedesktop.portal.Desktop -o /org/freedesktop/portal/desktop -m org.freedesktop.portal.ProxyResolver.Lookup https://example.com/ >/dev/null; "
	manual := started + "gsettings set org.gnome.system.proxy mode manual; gsettings set org.gnome.system.proxy.https host " + host + "; gsettings set org.gnome.system.proxy.https port " + port
	if out := doctor(manual, ""); strings.Count(out, "through the proxy "+address) != 2 || asked.Load() == 0 {
		t.Errorf("asked %d times: %s", asked.Load(), out)
	}
	if out := doctor(manual+"; unset DISPLAY", ""); strings.Count(out, "through the proxy "+address) != 2 {
		t.Errorf("a service, which starts before the desktop: %s", out)
	}
	before := asked.Load()
	for what, out := range map[string]string{
		"none of the desktop": doctor(started+"gsettings set org.gnome.system.proxy mode none", ""),
		"none wanted":         doctor(manual, "--https-proxy direct"),
		"another":             doctor(manual, "--https-proxy http://127.0.0.1:1"),
		"by a variable":       doctor(manual, "", "NO_PROXY=*"),
	} {
		if !strings.Contains(out, "is not reached") || strings.Contains(out, address) || asked.Load() != before {
			t.Errorf("%s: %s", what, out)
		}
	}
}

// TestNoProxyIsMeantByTheVariableToo: a service that was installed with --https-proxy direct is given it so.
func TestNoProxyIsMeantByTheVariableToo(t *testing.T) {
	_, env, _ := behind(t)
	if out, _ := command(t, t.TempDir(), append(env, "HTTPS_PROXY=direct"), "doctor"); !strings.Contains(out, "is not reached") || strings.Contains(out, "proxyconnect") {
		t.Error(out)
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
	env := []string{"HTTPS_PROXY=http://me:secret-word@proxy.example.com:3128", "no_proxy=.example.org", "SSL_CERT_FILE=ours.pem"}
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
	file, _ := filepath.Abs("ours.pem") // the service starts in another folder
	for _, want := range []string{`no_proxy=".example.org"`, `SSL_CERT_FILE="` + file + `"`} {
		if given := read("codex-proxy/service.env"); !strings.Contains(given, want) {
			t.Errorf("it is given\n%s", given)
		}
	}
}

// TestAToolThatIsRunReachesTheProxyOfThisMachine: curl, Node and Python would send even that to the network's proxy.
func TestAToolThatIsRunReachesTheProxyOfThisMachine(t *testing.T) {
	home := t.TempDir()
	tool := filepath.Join(home, "bin", "claude")
	writeFile(t, tool, []byte("#!/bin/sh\necho \"$NO_PROXY $no_proxy\"\nexec /usr/bin/curl -s \"$ANTHROPIC_BASE_URL/health\"\n"))
	if err := os.Chmod(tool, 0o700); err != nil {
		t.Fatal(err)
	}
	env := []string{"PATH=" + filepath.Dir(tool), "http_proxy=http://127.0.0.1:1", "NO_PROXY=.example.org"}
	out, code := command(t, home, env, "--demo", "--port", "0", "run", "claude")
	const both = ".example.org,localhost,127.0.0.1,::1 .example.org,localhost,127.0.0.1,::1\n"
	if code != 0 || !strings.Contains(out, both) || !strings.Contains(out, `"usable": true`) {
		t.Errorf("%d %s", code, out)
	}
}
