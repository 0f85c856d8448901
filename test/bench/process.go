//go:build linux

package main

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"codex-proxy/internal/fakebackend"
	"codex-proxy/proxy/codex"
)

// backend is the stand-in as a process: it says where it listens, a sign-in, and over TLS its certificate. With unpacked it
// refuses packed bodies.
func backend(overTLS, unpacked bool) {
	b := fakebackend.New()
	b.RefuseZstd = unpacked
	b.Models = codex.BundledModels()
	said := announcement{}
	said.Tokens = b.SignIn(b.AccessLife)
	mux := http.NewServeMux()
	mux.Handle("/", b)
	mux.HandleFunc("POST "+chatPath, chatCompletions)
	mux.Handle(politePath+"/", polite(b))
	server := httptest.NewUnstartedServer(mux)
	if overTLS {
		server.EnableHTTP2 = true
		server.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
		server.StartTLS()
		said.Certificate = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	} else {
		server.Start()
	}
	said.URL = server.URL
	raw, err := json.Marshal(said)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(raw))
	select {}
}

type announcement struct {
	URL, Certificate string
	Tokens           fakebackend.Tokens
}

// reverseProxy is the reference as a process, with the transport that the proxy has, but for what only that needs.
func reverseProxy(target string) {
	u, err := url.Parse(target)
	if err != nil {
		panic(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println("http://" + l.Addr().String())
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 16
	transport.DisableCompression = true
	mux := http.NewServeMux()
	mux.Handle("/", &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(u) }, FlushInterval: -1, Transport: transport})
	mux.HandleFunc("GET /health", func(http.ResponseWriter, *http.Request) {})
	panic(http.Serve(l, mux)) //nolint:gosec // ends with the bench
}

// process is a program that is measured.
type process struct {
	cmd *exec.Cmd
	url string
}

// spawn starts a program and waits for the line in which address finds where it listens.
func spawn(path string, args, env []string, address func(line string) string) (*process, string, error) {
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, in, err := os.Pipe()
	if err != nil {
		return nil, "", err
	}
	cmd.Stdout, cmd.Stderr = in, in
	if err := cmd.Start(); err != nil {
		return nil, "", err
	}
	in.Close()
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return nil, "", fmt.Errorf("%s ended before it listened: %s", path, line)
		}
		if at := address(line); at != "" {
			go io.Copy(io.Discard, lines) //nolint:errcheck // until it ends
			return &process{cmd, at}, line, nil
		}
	}
}

func (p *process) stop() {
	p.cmd.Process.Kill() //nolint:errcheck // it may have ended
	p.cmd.Wait()         //nolint:errcheck // killed
}

// cpu is the time used so far, by all threads. Source: man 5 proc_pid_schedstat, whose first figure is in nanoseconds, where
// /proc/PID/stat counts hundredths of a second.
func (p *process) cpu() time.Duration {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	var used time.Duration
	for _, file := range threads {
		raw, _ := os.ReadFile(file) // a thread may have ended
		first, _, _ := strings.Cut(string(raw), " ")
		ns, _ := strconv.ParseInt(first, 10, 64)
		used += time.Duration(ns)
	}
	return used
}

// memory is the resident set now and the most that it was, in MB.
func (p *process) memory() (now, most float64) {
	raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	for line := range strings.Lines(string(raw)) {
		for name, to := range map[string]*float64{"VmRSS:": &now, "VmHWM:": &most} {
			if rest, ok := strings.CutPrefix(line, name); ok {
				kb, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
				*to = kb / 1024
			}
		}
	}
	return now, most
}

// parts starts what is measured.
type parts struct {
	self, binary string
	stand        *process
	said         announcement
	env          []string
	home         string
}

// start starts the stand-in, and makes a home with a sign-in for the proxies.
func start(binary string, overTLS bool, more ...string) (*parts, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &parts{self: self, binary: binary}
	kind := "plain"
	if overTLS {
		kind = "tls"
	}
	var line string
	if p.stand, line, err = spawn(self, append([]string{"-backend", kind}, more...), nil, func(line string) string { return line }); err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(line), &p.said); err != nil {
		return nil, err
	}
	if p.home, err = os.MkdirTemp("", "bench"); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(p.home, ".codex"), 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(p.home, ".codex", "auth.json"), p.said.Tokens.AuthJSON(), 0o600); err != nil {
		return nil, err
	}
	p.env = []string{"HOME=" + p.home, "XDG_CONFIG_HOME=", "XDG_STATE_HOME=", "CODEX_HOME=", "CODEX_PROXY_BACKEND_URL=" + p.said.URL + "/backend-api", "CODEX_PROXY_AUTH_URL=" + p.said.URL}
	if overTLS {
		certificate := filepath.Join(p.home, "ca.pem")
		if err := os.WriteFile(certificate, []byte(p.said.Certificate), 0o600); err != nil {
			return nil, err
		}
		p.env = append(p.env, "SSL_CERT_FILE="+certificate)
	}
	return p, nil
}

func (p *parts) stop() {
	p.stand.stop()
	os.RemoveAll(p.home)
}

var arguments = []string{"serve", "--port", "0", "--env", "production", "--disable-migrate-refresh"}

// ours starts the proxy.
func (p *parts) ours(more ...string) (*process, error) {
	proxy, _, err := spawn(p.binary, append(arguments, more...), p.env, func(line string) string {
		_, rest, ok := strings.Cut(line, "listens at http://localhost:")
		if !ok {
			return ""
		}
		port, _, _ := strings.Cut(rest, "/")
		return "http://127.0.0.1:" + port
	})
	return proxy, err
}

// reference starts the ReverseProxy.
func (p *parts) reference() (*process, error) {
	proxy, _, err := spawn(p.self, []string{"-reverse-proxy", p.said.URL}, p.env, strings.TrimSpace)
	return proxy, err
}

// pair starts both.
func (p *parts) pair() (plain, ours *process, err error) {
	if plain, err = p.reference(); err != nil {
		return nil, nil, err
	}
	if ours, err = p.ours(); err != nil {
		plain.stop()
		return nil, nil, err
	}
	if ours.cpu() == 0 {
		plain.stop()
		ours.stop()
		return nil, nil, errors.New("this kernel does not tell the CPU time of threads: there is no /proc/PID/task/*/schedstat")
	}
	return plain, ours, nil
}

// startTime is the time from the start of a process to its answer of /health.
func (p *parts) startTime(path string, args ...string) (time.Duration, error) {
	begin := time.Now()
	var proxy *process
	var err error
	if path == p.binary {
		proxy, err = p.ours(args...)
	} else {
		proxy, err = p.reference()
	}
	if err != nil {
		return 0, err
	}
	defer proxy.stop()
	resp, err := http.Get(proxy.url + "/health")
	if err != nil {
		return 0, err
	}
	resp.Body.Close()
	return time.Since(begin), nil
}
