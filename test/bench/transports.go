//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coder/websocket"
	"github.com/klauspost/compress/zstd"
	"github.com/tidwall/gjson"

	"codex-proxy/internal/fakebackend"
	"codex-proxy/proxy/codex"
)

const (
	turns      = 10
	resultSize = 8 << 10 // bytes of what the tool answers in each turn
	packFrom   = 16 << 10
	runPatient = time.Minute
)

// transport asks the stand-in for one turn: all is the whole conversation, of which the last fresh items are new. first
// is the time to the first event that says something, and said are the items of the answer.
type transport interface {
	ask(ctx context.Context, all []string, fresh int) (first time.Duration, said []string, err error)
	close()
}

// transports compares a run of ten turns with a tool over POST, as the proxy sends it, and over WebSocket with new items
// alone, as the Codex CLI does. Both have a connection that is open when the run begins.
func transports(rounds int) error {
	code, err := sourceCode()
	if err != nil {
		return err
	}
	r := &report{}
	for _, slow := range []bool{false, true} {
		where := "loopback"
		if slow {
			where = "10 Mbit/s, 40 ms"
		}
		r.say("\n| over TLS, %s: the conversation when the run begins | by | first turn, ms | first token of a later turn, p50, ms | bytes up in the run, kB | CPU of both ends in the run, ms |\n| --- | --- | --- | --- | --- | --- |", where)
		for _, size := range []int{0, 100 << 10, 1 << 20} {
			for _, name := range []string{"POST", "WebSocket"} {
				m, err := measureRuns(name, slow, code, size, rounds)
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				cpu := fmt.Sprint(m.cpu.Milliseconds())
				if slow {
					cpu = "" // the link itself takes most of it
				}
				r.say("| %d kB | %s | %.1f | %.1f | %d | %s |", size>>10, name, milliseconds(percentile(m.start, .5)), milliseconds(percentile(m.later, .5)), m.up>>10, cpu)
			}
		}
	}
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

type runs struct {
	start, later []time.Duration
	up           int64         // bytes of a run
	cpu          time.Duration // of a run
}

func measureRuns(name string, slow bool, code string, size, rounds int) (m runs, err error) {
	p, err := start("", true)
	if err != nil {
		return m, err
	}
	defer p.stop()
	address := strings.TrimPrefix(p.said.URL, "https://")
	if slow {
		if address, err = slowLink(address); err != nil {
			return m, err
		}
	}
	for range rounds {
		if err := m.run(p, name, address, code, size); err != nil {
			return m, err
		}
	}
	m.up, m.cpu = m.up/int64(rounds), m.cpu/time.Duration(rounds)
	return m, nil
}

// run adds one.
func (m *runs) run(p *parts, name, address, code string, size int) error {
	ctx, cancel := context.WithTimeout(context.Background(), runPatient)
	defer cancel()
	var sent atomic.Int64
	t, err := connect(ctx, name, address, p.said, &sent)
	if err != nil {
		return err
	}
	defer t.close()
	item := func(text string) string {
		quoted, _ := json.Marshal(text)
		return fmt.Sprintf(upItem, quoted[1:len(quoted)-1])
	}
	if _, _, err := t.ask(ctx, []string{item("hello")}, 1); err != nil { // so that the connection is warm
		return err
	}
	var all []string
	if size > 0 {
		all = append(all, item(code[:size]))
	}
	all = append(all, item(fmt.Sprintf(`[[calls %d look {"n":1}]]`, turns-1)))
	fresh := len(all)
	sent.Store(0)
	before := ownCPU() + p.stand.cpu()
	for turn := range turns {
		first, said, err := t.ask(ctx, all, fresh)
		if err != nil {
			return err
		}
		if turn == 0 {
			m.start = append(m.start, first)
		} else {
			m.later = append(m.later, first)
		}
		result := ""
		for _, item := range said {
			if id := gjson.Get(item, "call_id").Str; id != "" {
				from := turn * resultSize
				quoted, _ := json.Marshal(code[from : from+resultSize])
				result = fmt.Sprintf(`{"type":"function_call_output","call_id":%q,"output":%s}`, id, quoted)
			}
		}
		if (result == "") != (turn == turns-1) {
			return fmt.Errorf("turn %d of the run is not what was asked for", turn+1)
		}
		all, fresh = append(append(all, said...), result), 1
	}
	m.cpu += ownCPU() + p.stand.cpu() - before
	m.up += sent.Load()
	return nil
}

// ownCPU is what this process has used.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// countedConn counts what it sends.
type countedConn struct {
	net.Conn
	sent *atomic.Int64
}

func (c countedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.sent.Add(int64(n))
	return n, err
}

func connect(ctx context.Context, name, address string, said announcement, sent *atomic.Int64) (transport, error) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(said.Certificate))
	httpTransport := &http.Transport{
		TLSClientConfig:    &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:  name == "POST",
		DisableCompression: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			c, err := (&net.Dialer{}).DialContext(ctx, network, address)
			return countedConn{c, sent}, err
		},
	}
	h := http.Header{
		"Authorization": {"Bearer " + said.Tokens.Access}, "Chatgpt-Account-Id": {fakebackend.AccountID}, "Originator": {"bench"},
		"User-Agent": {"bench/1"}, "Version": {codex.ProtocolVersion},
	}
	url := said.URL + "/backend-api/codex/responses"
	if name == "POST" {
		h.Set("Content-Type", "application/json")
		h.Set("Accept", "text/event-stream")
		pack, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2), zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true)) // as proxy/zstd.go
		return &posts{url, h, &http.Client{Transport: httpTransport}, pack}, err
	}
	h.Set("OpenAI-Beta", "responses_websockets=2026-02-06")
	conn, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPClient: &http.Client{Transport: httpTransport}, HTTPHeader: h, CompressionMode: websocket.CompressionContextTakeover})
	if err != nil {
		return nil, err
	}
	conn.SetReadLimit(-1)
	return &socket{conn: conn}, nil
}

// head begins a body.
const head = `"model":"gpt-5.5","instructions":"x","store":false,"stream":true,"include":["reasoning.encrypted_content"],"prompt_cache_key":"bench",` +
	`"tools":[{"type":"function","name":"look","parameters":{"type":"object","properties":{"n":{"type":"integer"}}}}],"input":[`

// answer is what was heard of one.
type answer struct {
	begin time.Time
	first time.Duration
	said  []string
	id    string
}

// hear takes an event, and reports whether it is the last.
func (a *answer) hear(event []byte) (last bool, err error) {
	switch gjson.GetBytes(event, "type").Str {
	case "response.output_item.added":
		if a.first == 0 {
			a.first = time.Since(a.begin)
		}
	case "response.output_item.done":
		a.said = append(a.said, strings.Clone(gjson.GetBytes(event, "item").Raw))
	case "response.completed":
		a.id = gjson.GetBytes(event, "response.id").Str
		return true, nil
	case "error":
		return true, errors.New(string(event))
	}
	return false, nil
}

// posts sends the whole conversation each time, packed.
type posts struct {
	url    string
	header http.Header
	client *http.Client
	pack   *zstd.Encoder
}

func (p *posts) ask(ctx context.Context, all []string, _ int) (time.Duration, []string, error) {
	a := answer{begin: time.Now()}
	body := []byte("{" + head + strings.Join(all, ",") + "]}")
	packed := len(body) >= packFrom
	if packed {
		body = p.pack.EncodeAll(body, make([]byte, 0, len(body)/3))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header = p.header.Clone()
	if packed {
		req.Header.Set("Content-Encoding", "zstd")
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		return 0, nil, fmt.Errorf("%s: %s", resp.Status, text)
	}
	dec := codex.NewDecoder(resp.Body)
	for {
		ev, err := dec.Next()
		if err != nil {
			return 0, nil, err
		}
		if last, err := a.hear(ev.Data); last {
			io.Copy(io.Discard, resp.Body) //nolint:errcheck // it is over
			return a.first, a.said, err
		}
	}
}

func (p *posts) close() { p.client.CloseIdleConnections() }

// socket sends what is new, and continues the answer before.
type socket struct {
	conn     *websocket.Conn
	previous string
}

func (s *socket) ask(ctx context.Context, all []string, fresh int) (time.Duration, []string, error) {
	a := answer{begin: time.Now()}
	previous := ""
	if fresh < len(all) {
		previous = `"previous_response_id":"` + s.previous + `",`
	}
	message := `{"type":"response.create",` + previous + head + strings.Join(all[len(all)-fresh:], ",") + "]}"
	if err := s.conn.Write(ctx, websocket.MessageText, []byte(message)); err != nil {
		return 0, nil, err
	}
	for {
		_, event, err := s.conn.Read(ctx)
		if err != nil {
			return 0, nil, err
		}
		if last, err := a.hear(event); last {
			s.previous = a.id
			return a.first, a.said, err
		}
	}
}

func (s *socket) close() { s.conn.CloseNow() } //nolint:errcheck // over
