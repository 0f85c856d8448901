//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"codex-proxy/internal/fakebackend"
	"codex-proxy/proxy/codex"
)

const (
	peersPatient   = 15 * time.Minute // for everything
	installPatient = 3 * time.Minute
	startPatient   = 30 * time.Second
	settleAfter    = time.Minute
)

// peer is another program that serves an API on localhost and forwards to one that it is pointed at.
type peer struct {
	name    string
	install string // name and version in the npm registry
	command []string
	ready   string // what it prints when it begins to listen
	// configure writes its settings into its home: to listen on a port of loopback and to forward to a backend.
	configure func(home string, port int, backend announcement) error
	targets   []*target
}

const overChat = "ReverseProxy, chat completions"

// peers are those that the npm registry has whole, and that stream answers as they come from it.
func peers(all []*target) []peer {
	of := func(t *target, name string) *target {
		row := *t
		row.name, row.header = name, t.header.Clone()
		row.header.Set("Content-Type", "application/json")
		return &row
	}
	router := of(all[messages], "Claude Code Router 2.0.0, /v1/messages")
	router.beside = overChat
	oauthChat := of(all[chat], "openai-oauth 2.0.0, /v1/chat/completions")
	oauthChat.body = func(said string, history []string, stream bool) string { // without instructions the stand-in refuses it
		return strings.Replace(all[chat].body(said, history, stream), `"messages":[`, `"messages":[{"role":"system","content":"x"},`, 1)
	}
	return []peer{{
		name: "Claude Code Router 2.0.0", install: "@musistudio/claude-code-router@2.0.0",
		command: []string{"node", "node_modules/@musistudio/claude-code-router/dist/cli.js", "start"},
		ready:   "Loaded JSON config", configure: configureCCR, targets: []*target{router},
	}, {
		name: "openai-oauth 2.0.0", install: "openai-oauth@2.0.0",
		command: []string{"node", "serve.mjs"},
		ready:   "listens", configure: configureOAuth, targets: []*target{of(all[responses], "openai-oauth 2.0.0, /v1/responses"), oauthChat},
	}}
}

// configureCCR writes the settings of Claude Code Router, without its log.
func configureCCR(home string, port int, backend announcement) error {
	type provider struct {
		Name    string   `json:"name"`
		Address string   `json:"api_base_url"`
		Key     string   `json:"api_key"`
		Models  []string `json:"models"`
	}
	raw, err := json.Marshal(map[string]any{
		"HOST": "127.0.0.1", "PORT": port, "LOG": false, "NON_INTERACTIVE_MODE": true,
		"Providers": []provider{{"bench", backend.URL + chatPath, "bench", []string{"gpt-5.5"}}},
		"Router":    map[string]string{"default": "bench,gpt-5.5"},
	})
	if err != nil {
		return err
	}
	folder := filepath.Join(home, ".claude-code-router")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "config.json"), raw, 0o600)
}

// configureOAuth writes a sign-in and a program that serves by openai-oauth's library: its command serves in a process of its
// own, which could not be measured.
func configureOAuth(home string, port int, backend announcement) error {
	type m map[string]any
	signIn, err := json.Marshal(m{"tokens": m{
		"id_token": backend.Tokens.ID, "access_token": backend.Tokens.Access, "refresh_token": backend.Tokens.Refresh, "account_id": fakebackend.AccountID,
	}, "last_refresh": time.Now().UTC().Format(time.RFC3339)})
	if err != nil {
		return err
	}
	auth := filepath.Join(home, "auth.json")
	if err := os.WriteFile(auth, signIn, 0o600); err != nil {
		return err
	}
	settings, err := json.Marshal(m{
		"host": "127.0.0.1", "port": port, "models": []string{"gpt-5.5"}, "codexVersion": codex.ProtocolVersion, "authFilePath": auth,
		"baseURL": backend.URL + politePath + "/backend-api/codex", "tokenUrl": backend.URL + "/oauth/token",
	})
	if err != nil {
		return err
	}
	serve := fmt.Sprintf("import { startOpenAIOAuthServer } from \"openai-oauth\";\nawait startOpenAIOAuthServer(%s);\nconsole.log(\"listens\");\n", settings)
	return os.WriteFile(filepath.Join(home, "serve.mjs"), []byte(serve), 0o600)
}

// fetch installs the peer into a folder, without running scripts of packages.
func (p *peer) fetch(folder string) error {
	ctx, cancel := context.WithTimeout(context.Background(), installPatient)
	defer cancel()
	npm := exec.CommandContext(ctx, "npm", "install", "--prefix", folder, "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel", "error", p.install)
	npm.WaitDelay = time.Second
	if out, err := npm.CombinedOutput(); err != nil {
		first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		return fmt.Errorf("npm could not install %s: %w: %s", p.install, err, first)
	}
	return nil
}

// start starts the peer, which is installed in a folder, and waits until it takes connections.
func (p *peer) start(folder string, backend announcement) (*process, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := l.Addr().(*net.TCPAddr)
	l.Close()
	if err := p.configure(folder, address.Port, backend); err != nil {
		return nil, err
	}
	args := []string{filepath.Join(folder, p.command[1])}
	proxy, _, err := spawn(p.command[0], append(args, p.command[2:]...), []string{"HOME=" + folder, "NODE_ENV=production"}, func(line string) string {
		if strings.Contains(line, p.ready) {
			return "http://" + address.String()
		}
		return ""
	})
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(startPatient); ; time.Sleep(50 * time.Millisecond) {
		conn, err := net.Dial("tcp", address.String())
		if err == nil {
			conn.Close()
			return proxy, nil
		}
		if time.Now().After(deadline) {
			proxy.stop()
			return nil, fmt.Errorf("%s does not listen: %w", p.name, err)
		}
	}
}

// chatTarget is the reference for who speaks chat completions to the backend.
func chatTarget(all []*target) *target {
	return &target{overChat, chatPath, http.Header{"Content-Type": {"application/json"}}, `"content":"w`, all[chat].body, overChat}
}

// row is one line of the tables: a way through a program that runs.
type row struct {
	target  *target
	process *process
}

// comparePeers measures the proxy and the peers, each beside a ReverseProxy over the same backend. A peer that can't be
// installed is left out, and the report says why; with none left nothing is measured.
func comparePeers(binary, write string, rounds int) error {
	folder, err := os.MkdirTemp("", "peers")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	limit := time.AfterFunc(peersPatient, func() { // what was started ends with this process
		fmt.Fprintln(os.Stderr, "bench: the peers took longer than", peersPatient)
		os.RemoveAll(folder)
		os.Exit(1)
	})
	defer limit.Stop()
	r := &report{}
	r.heading(rounds)
	p, err := start(binary, false)
	if err != nil {
		return err
	}
	defer p.stop()
	plain, ours, err := p.pair()
	if err != nil {
		return err
	}
	defer plain.stop()
	defer ours.stop()
	all := targets(p.said.Tokens)
	rows := []row{{all[reference], plain}, {all[responses], ours}, {all[chat], ours}, {all[messages], ours}, {chatTarget(all), plain}}
	measured := 0
	for i, other := range peers(all) {
		home := filepath.Join(folder, fmt.Sprint(i))
		if err := other.fetch(home); err != nil {
			r.say("\n%s is left out: %v.", other.name, err)
			continue
		}
		proxy, err := other.start(home, p.said)
		if err != nil {
			return err
		}
		defer proxy.stop()
		for _, t := range other.targets {
			rows = append(rows, row{t, proxy})
		}
		measured++
	}
	if measured == 0 {
		return nil
	}
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		r.say("\nBackend over plain HTTP/1.1. When it began, the load of the machine in the last minute was %s.", strings.Fields(string(load))[0])
	}
	if err := measurePeers(r, rows, rounds); err != nil {
		return err
	}
	if write != "" {
		return between(write, "make bench-peers", r.String())
	}
	return nil
}

func measurePeers(r *report, rows []row, rounds int) error {
	const streams, pieces = 50, 2000
	cpu, half, most := samples{}, samples{}, samples{}
	var all []*target
	for _, row := range rows {
		all = append(all, row.target)
		if _, err := row.target.crowd(row.process, streams, fast(pieces, 20, "0"), false); err != nil { // so that everything is warm
			return err
		}
	}
	for range rounds {
		for _, row := range rows {
			before := row.process.cpu()
			if _, err := row.target.crowd(row.process, streams, fast(pieces, 20, "0"), false); err != nil {
				return err
			}
			cpu.add(row.target, float64(row.process.cpu()-before)/float64(time.Microsecond)/(streams*pieces))
			var times []time.Duration
			for range 200 {
				watches, err := row.target.crowd(row.process, 1, fast(3, 20, "0"), false)
				if err != nil && !row.target.isReference() {
					return err
				}
				for _, w := range watches {
					times = append(times, w.first)
				}
			}
			half.add(row.target, float64(percentile(times, .5))/float64(time.Microsecond))
			most.add(row.target, float64(percentile(times, .95))/float64(time.Microsecond))
		}
	}
	r.table("events of 20 bytes at full speed, 50 streams: CPU an event", "µs", all, cpu, nil)
	r.table("first token, p50", "µs", all, half, nil)
	r.table("first token, p95", "µs", all, most, nil)

	for _, row := range rows {
		if _, err := row.target.crowd(row.process, 200, fast(100, 20, "60"), false); err != nil {
			return err
		}
	}
	client.CloseIdleConnections()
	time.Sleep(settleAfter)
	r.say("\n| after all that and 200 streams at once: memory | a minute later, MB | to ReverseProxy | most, MB |\n| --- | --- | --- | --- |")
	var anchor float64
	said := map[*process]bool{}
	for _, row := range rows {
		if said[row.process] {
			continue
		}
		said[row.process] = true
		now, peak := row.process.memory()
		name, _, _ := strings.Cut(row.target.name, ", ")
		switch row.target.name {
		case direct:
			anchor = now
		case "/v1/responses":
			name = "Codex Proxy"
		}
		r.say("| %s | %.0f | %.2f | %.0f |", name, now, now/anchor, peak)
	}
	return nil
}
