//go:build linux

// Command bench compares the proxy with a plain httputil.ReverseProxy in front of the same stand-in, in one run, and
// prints ratios. Each of the three is a process of its own. Usage: bench PATH-OF-CODEX-PROXY
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"codex-proxy/internal/fakebackend"
	"codex-proxy/proxy/codex"
)

const (
	streams   = 40   // at once, for the CPU
	events    = 1000 // of text, in each
	pause     = 2    // milliseconds between them
	rounds    = 3    // of which the median counts
	firsts    = 300  // requests, for the time to the first token
	crowd     = 500  // streams at once, for the memory
	starts    = 11
	clockTick = 100 // a second, in /proc/PID/stat on Linux
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == "-reverse-proxy" {
		reverseProxy(os.Args[2])
		return
	}
	if len(os.Args) == 2 && os.Args[1] == "-backend" {
		backend()
		return
	}
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: bench PATH-OF-CODEX-PROXY")
		os.Exit(2)
	}
	if err := bench(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// serve listens on a free port and says where on standard output.
func serve(h http.Handler, more string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println("http://"+l.Addr().String(), more)
	panic(http.Serve(l, h)) //nolint:gosec // ends with the bench
}

func backend() {
	b := fakebackend.New()
	b.Models = codex.BundledModels()
	raw, _ := json.Marshal(b.SignIn(b.AccessLife))
	serve(b, string(raw))
}

func reverseProxy(target string) {
	u, err := url.Parse(target)
	if err != nil {
		panic(err)
	}
	serve(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(u) }, FlushInterval: -1}, "")
}

// process is one of the three.
type process struct {
	cmd *exec.Cmd
	url string
}

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
		if url := address(line); url != "" {
			go io.Copy(io.Discard, lines) //nolint:errcheck // until it ends
			return &process{cmd, url}, line, nil
		}
	}
}

func (p *process) stop() {
	p.cmd.Process.Kill() //nolint:errcheck // it may have ended
	p.cmd.Wait()         //nolint:errcheck // killed
}

// cpu is the time used so far.
func (p *process) cpu() time.Duration {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+2:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * time.Second / clockTick
}

// memory is the resident set, in MB.
func (p *process) memory() float64 {
	raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kb / 1024
		}
	}
	return 0
}

func fromOurs(line string) string {
	_, rest, ok := strings.Cut(line, "listens at http://localhost:")
	if !ok {
		return ""
	}
	port, _, _ := strings.Cut(rest, "/")
	return "http://127.0.0.1:" + port
}

// target is a way to the stand-in.
type target struct {
	name   string
	p      *process
	url    string
	header http.Header
	body   func(scenario string) string
	first  string // what the first token looks like

	reference bool
}

var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: crowd, DisableCompression: true}}

// stream runs one answer, and returns the time to its first token.
func (t *target) stream(scenario string) (time.Duration, error) {
	req, err := http.NewRequest(http.MethodPost, t.url, strings.NewReader(t.body(scenario)))
	if err != nil {
		return 0, err
	}
	req.Header = t.header.Clone()
	begin := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		raw, _ := io.ReadAll(resp.Body)
		return 0, fmt.Errorf("%s: %d %s", t.name, resp.StatusCode, raw)
	}
	var first time.Duration
	buf := make([]byte, 32<<10)
	seen := []byte{}
	for {
		n, err := resp.Body.Read(buf)
		if first == 0 {
			if seen = append(seen, buf[:n]...); bytes.Contains(seen, []byte(t.first)) {
				first = time.Since(begin)
			}
		}
		if err == io.EOF {
			if first == 0 {
				return 0, fmt.Errorf("%s: no token came", t.name)
			}
			return first, nil
		}
		if err != nil {
			return 0, fmt.Errorf("%s: after %s: %w", t.name, time.Since(begin), err)
		}
	}
}

func (t *target) atOnce(n int, scenario string) error {
	errs := make(chan error, n)
	for range n {
		go func() { _, err := t.stream(scenario); errs <- err }()
	}
	for range n {
		if err := <-errs; err != nil {
			return err
		}
	}
	return nil
}

// cpuPerEvent is in microseconds.
func (t *target) cpuPerEvent() (float64, error) {
	before := t.p.cpu()
	if err := t.atOnce(streams, fmt.Sprintf("[[text %d %d]]", events, pause)); err != nil {
		return 0, err
	}
	return float64(t.p.cpu()-before) / float64(time.Microsecond) / (streams * events), nil
}

func (t *target) firstToken() (time.Duration, error) {
	var all []time.Duration
	broken := 0
	for len(all) < firsts {
		d, err := t.stream("[[text 3]]")
		if err != nil && t.reference && broken < firsts/10 { // ReverseProxy cuts about 3 % of answers this short; no failure of ours
			broken++
			continue
		}
		if err != nil {
			return 0, err
		}
		all = append(all, d)
	}
	slices.Sort(all)
	return all[len(all)/2], nil
}

func bench(binary string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	first := func(line string) string { return strings.Fields(line)[0] }
	stand, line, err := spawn(self, []string{"-backend"}, nil, first)
	if err != nil {
		return err
	}
	defer stand.stop()
	var tokens fakebackend.Tokens
	if err := json.Unmarshal([]byte(strings.SplitN(line, " ", 2)[1]), &tokens); err != nil {
		return err
	}
	plain, _, err := spawn(self, []string{"-reverse-proxy", stand.url}, nil, first)
	if err != nil {
		return err
	}
	defer plain.stop()

	home, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(home)
	if err := os.MkdirAll(filepath.Join(home, ".codex"), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(home, ".codex", "auth.json"), tokens.AuthJSON(), 0o600); err != nil {
		return err
	}
	env := []string{"HOME=" + home, "XDG_CONFIG_HOME=", "CODEX_HOME=", "CODEX_PROXY_BACKEND_URL=" + stand.url + "/backend-api", "CODEX_PROXY_AUTH_URL=" + stand.url}
	args := []string{"serve", "--port", "0", "--env", "production", "--disable-migrate-refresh"}
	startUp, err := measureStart(binary, args, env)
	if err != nil {
		return err
	}
	ours, _, err := spawn(binary, args, env, fromOurs)
	if err != nil {
		return err
	}
	defer ours.stop()
	time.Sleep(time.Second)
	idle := ours.memory()

	up := func(scenario string) string {
		return `{"model":"gpt-5.5","instructions":"x","input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"` + scenario + `"}]}],"store":false,"stream":true}`
	}
	reference := &target{"ReverseProxy", plain, plain.url + "/backend-api/codex/responses", http.Header{
		"Authorization": {"Bearer " + tokens.Access}, "Chatgpt-Account-Id": {fakebackend.AccountID}, "Originator": {"bench"}, "User-Agent": {"bench/1"},
		"Version": {codex.ProtocolVersion}, "Content-Type": {"application/json"}, "Accept": {"text/event-stream"},
	}, up, "output_text.delta", true}
	responses := &target{"/v1/responses", ours, ours.url + "/v1/responses", http.Header{}, up, "output_text.delta", false}
	chat := &target{"/v1/chat/completions", ours, ours.url + "/v1/chat/completions", http.Header{}, func(scenario string) string {
		return `{"model":"gpt-5.5","stream":true,"messages":[{"role":"user","content":"` + scenario + `"}]}`
	}, `"content":"word`, false}
	targets := []*target{reference, responses, chat}

	cpu, token := map[string]float64{}, map[string]float64{}
	samples := map[string][]float64{}
	for range rounds {
		for _, t := range targets {
			v, err := t.cpuPerEvent()
			if err != nil {
				return err
			}
			samples[t.name] = append(samples[t.name], v)
		}
	}
	for _, t := range targets {
		slices.Sort(samples[t.name])
		cpu[t.name] = samples[t.name][rounds/2]
		d, err := t.firstToken()
		if err != nil {
			return err
		}
		token[t.name] = float64(d) / float64(time.Microsecond)
	}
	peak, err := measureCrowd(chat)
	if err != nil {
		return err
	}

	fmt.Printf("%d streams at once of %d text events, median of %d rounds; %s/%s, %d cores\n\n", streams, events, rounds, runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	fmt.Printf("%-24s %14s %18s\n", "", "CPU an event", "first token")
	for _, t := range targets {
		fmt.Printf("%-24s %11.1f µs %15.0f µs\n", t.name, cpu[t.name], token[t.name])
	}
	fmt.Println()
	failed := false
	verdict := func(what string, value, most float64, unit string) {
		word := "ok"
		if value > most {
			word, failed = "MISSED", true
		}
		fmt.Printf("%-44s %8.2f%s   at most %g%s   %s\n", what, value, unit, most, unit, word)
	}
	verdict("CPU of /v1/responses to ReverseProxy's", cpu[responses.name]/cpu[reference.name], 1.5, "x")
	verdict("CPU of /v1/chat/completions to ReverseProxy's", cpu[chat.name]/cpu[reference.name], 3, "x")
	verdict("first token of /v1/responses", token[responses.name]/token[reference.name], 1.3, "x")
	verdict("first token of /v1/chat/completions", token[chat.name]/token[reference.name], 1.3, "x")
	verdict(fmt.Sprintf("memory with %d streams at once", crowd), peak, 60, " MB")
	verdict("memory when idle", idle, 20, " MB")
	verdict("start to /health", float64(startUp)/float64(time.Millisecond), 50, " ms")
	if failed {
		return fmt.Errorf("a target was missed")
	}
	return nil
}

// measureStart is the median time from the start of the process to the answer of /health.
func measureStart(binary string, args, env []string) (time.Duration, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	l.Close()
	var all []time.Duration
	for range starts {
		cmd := exec.Command(binary, append(slices.Clone(args), "--port", port)...)
		cmd.Env = append(os.Environ(), env...)
		begin := time.Now()
		if err := cmd.Start(); err != nil {
			return 0, err
		}
		for {
			resp, err := http.Get("http://127.0.0.1:" + port + "/health")
			if err == nil {
				resp.Body.Close()
				break
			}
			if time.Since(begin) > 5*time.Second {
				return 0, err
			}
			time.Sleep(200 * time.Microsecond)
		}
		all = append(all, time.Since(begin))
		cmd.Process.Kill() //nolint:errcheck // ended below
		cmd.Wait()         //nolint:errcheck // killed
	}
	slices.Sort(all)
	return all[len(all)/2], nil
}

// measureCrowd is the most memory while many streams run.
func measureCrowd(t *target) (float64, error) {
	done := make(chan struct{})
	var peak float64
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
				peak = max(peak, t.p.memory())
			}
		}
	})
	err := t.atOnce(crowd, "[[text 100 40]]")
	close(done)
	wait.Wait()
	return peak, err
}
