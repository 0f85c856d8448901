//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"codex-proxy/internal/fakebackend"
	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/reply"
)

// target is a way to the stand-in, in one dialect.
type target struct {
	name   string
	path   string
	header http.Header
	first  string // what the first token looks like
	body   func(said string, history []string, stream bool) string
	beside string // the row that its ratios are to
}

// user is one message in a dialect's words; what is said is the text of a JSON string.
const (
	upItem   = `{"type":"message","role":"user","content":[{"type":"input_text","text":"%s"}]}`
	upAnswer = `{"type":"message","role":"assistant","content":[{"type":"output_text","text":"%s"}]}`
	message  = `{"role":"user","content":"%s"}`
	answered = `{"role":"assistant","content":"%s"}`
)

// conversation is a history in turns, and then what is said.
func conversation(user, assistant, said string, history []string) string {
	var items []string
	for i, text := range history {
		items = append(items, fmt.Sprintf([]string{user, assistant}[i%2], text))
	}
	return strings.Join(append(items, fmt.Sprintf(user, said)), ",")
}

// turnsOf are the turns of a conversation about source code, as JSON has them, of so many bytes together.
func turnsOf(code string, size int) (turns []string) {
	const turn = 3500 // bytes, which JSON makes some 4 kB of
	for at := 0; size > 0; at += turn {
		if at+turn > len(code) {
			at = 0
		}
		quoted := reply.Encode(strings.ToValidUTF8(code[at:at+turn], ""))
		quoted = quoted[1:min(len(quoted)-1, size+1)]
		for !utf8.Valid(quoted) || !json.Valid(slices.Concat([]byte{'"'}, quoted, []byte{'"'})) { // a character was cut, or an escape
			quoted = quoted[:len(quoted)-1]
		}
		turns = append(turns, string(quoted))
		size -= len(quoted)
	}
	return turns
}

const direct = "ReverseProxy"

// targets are the reference and every dialect.
func targets(tokens fakebackend.Tokens) []*target {
	return []*target{
		{direct, "/backend-api/codex/responses", http.Header{
			"Authorization": {"Bearer " + tokens.Access}, "Chatgpt-Account-Id": {fakebackend.AccountID}, "Originator": {"bench"}, "User-Agent": {"bench/1"},
			"Version": {codex.ProtocolVersion}, "Content-Type": {"application/json"}, "Accept": {"text/event-stream"},
		}, "output_text.delta", func(said string, history []string, _ bool) string {
			return `{"model":"gpt-5.5","instructions":"x","input":[` + conversation(upItem, upAnswer, said, history) + `],"store":false,"stream":true}`
		}, direct},
		{"/v1/responses", "/v1/responses", http.Header{}, "output_text.delta", func(said string, history []string, stream bool) string {
			return fmt.Sprintf(`{"model":"gpt-5.5","instructions":"x","input":[%s],"store":false,"stream":%t}`, conversation(upItem, upAnswer, said, history), stream)
		}, direct},
		{"/v1/chat/completions", "/v1/chat/completions", http.Header{}, `"content":"w`, func(said string, history []string, stream bool) string {
			return fmt.Sprintf(`{"model":"gpt-5.5","messages":[%s],"stream":%t}`, conversation(message, answered, said, history), stream)
		}, direct},
		{"/v1/messages", "/v1/messages", http.Header{"Anthropic-Version": {"2023-06-01"}}, `"text_delta","text":"w`, func(said string, history []string, stream bool) string {
			return fmt.Sprintf(`{"model":"gpt-5.5","max_tokens":100000,"messages":[%s],"stream":%t}`, conversation(message, answered, said, history), stream)
		}, direct},
		{"/api/chat", "/api/chat", http.Header{}, `"content":"w`, func(said string, history []string, stream bool) string {
			return fmt.Sprintf(`{"model":"gpt-5.5","messages":[%s],"stream":%t}`, conversation(message, answered, said, history), stream)
		}, direct},
		{"/v1beta streamGenerateContent", "/v1beta/models/gpt-5.5:streamGenerateContent?alt=sse", http.Header{}, `"text":"w`, func(said string, history []string, _ bool) string {
			item := `{"role":"%s","parts":[{"text":"%%s"}]}`
			return `{"contents":[` + conversation(fmt.Sprintf(item, "user"), fmt.Sprintf(item, "model"), said, history) + `]}`
		}, direct},
	}
}

// Where the targets are that are named.
const (
	reference = iota
	responses
	chat
	messages
)

// isReference reports whether it is a ReverseProxy, which cuts some answers that are short.
func (t *target) isReference() bool { return t.name == t.beside }

var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4000, DisableCompression: true}}

// watch hears when the pieces of an answer come.
type watch struct {
	begin time.Time
	first time.Duration
	gaps  []time.Duration // between two reads, after the first token; kept when keepGaps is set

	keepGaps bool
}

// ask runs one request to its end.
func (t *target) ask(p *process, body string, w *watch) error {
	req, err := http.NewRequest(http.MethodPost, p.url+t.path, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header = t.header.Clone()
	w.begin = time.Now()
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		raw, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		return fmt.Errorf("%s: %d %s", t.name, resp.StatusCode, raw)
	}
	buf := make([]byte, 32<<10)
	var seen []byte
	var last time.Time
	for {
		n, err := resp.Body.Read(buf)
		now := time.Now()
		switch {
		case w.first == 0:
			if seen = append(seen, buf[:n]...); bytes.Contains(seen, []byte(t.first)) {
				w.first, last = now.Sub(w.begin), now
			}
		case w.keepGaps && n > 0:
			w.gaps = append(w.gaps, now.Sub(last))
			last = now
		}
		if err == io.EOF { //nolint:errorlint // bodies return it bare
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: after %s: %w", t.name, now.Sub(w.begin), err)
		}
	}
}

// fast is what the stand-in is told: so many pieces of so many bytes, with so many milliseconds between them.
func fast(pieces, size int, pause string) string {
	return fmt.Sprintf("[[fast %d %d %s]]", pieces, size, pause)
}

// crowd runs n streams at once, and returns how each went. Of a reference up to a tenth may break.
func (t *target) crowd(p *process, n int, said string, keepGaps bool) ([]*watch, error) {
	type result struct {
		w   *watch
		err error
	}
	body := t.body(said, nil, true)
	all := make(chan result, n)
	for range n {
		go func() {
			w := &watch{keepGaps: keepGaps}
			all <- result{w, t.ask(p, body, w)}
		}()
	}
	var watches []*watch
	var failed error
	broken := 0
	for range n {
		r := <-all
		switch {
		case r.err == nil && r.w.first > 0:
			watches = append(watches, r.w)
		case r.err == nil:
			failed = fmt.Errorf("%s: no token came", t.name)
		case t.isReference() && broken < n/10:
			broken++
		default:
			failed = r.err
		}
	}
	return watches, failed
}

func percentile(all []time.Duration, p float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[min(len(all)-1, int(p*float64(len(all))))]
}
