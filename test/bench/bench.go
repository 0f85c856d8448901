//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
)

// samples are the rounds' values of one measurement, for each target.
type samples map[string][]float64

func (s samples) add(t *target, v float64) { s[t.name] = append(s[t.name], v) }

// median and the ratios to the reference, round by round, in order.
func (s samples) of(t *target) (median float64, ratios []float64) {
	all := slices.Sorted(slices.Values(s[t.name]))
	if len(all) == 0 {
		return 0, nil
	}
	for i, v := range s[t.name] {
		if ref := s[t.beside]; i < len(ref) && ref[i] > 0 {
			ratios = append(ratios, v/ref[i])
		}
	}
	slices.Sort(ratios)
	return all[len(all)/2], ratios
}

// report is text that is printed as it comes, and kept for a file.
type report struct {
	strings.Builder
	missed []string
}

func (r *report) say(format string, args ...any) {
	fmt.Printf(format+"\n", args...)
	fmt.Fprintf(r, format+"\n", args...)
}

// table writes a measurement: a line a target.
func (r *report) table(title, unit string, all []*target, s samples, most map[string]float64) {
	r.say("\n| %s | %s | to ReverseProxy | spread | at most |\n| --- | --- | --- | --- | --- |", title, unit)
	for _, t := range all {
		median, ratios := s.of(t)
		if len(ratios) == 0 {
			continue
		}
		limit := ""
		middle := ratios[len(ratios)/2]
		if v, ok := most[t.name]; ok {
			limit = fmt.Sprintf("%.2f", v)
			if middle > v {
				limit += ", missed"
				r.missed = append(r.missed, fmt.Sprintf("%s, %s: %.2f, not %.2f", title, t.name, middle, v))
			}
		}
		r.say("| %s | %.1f | %.2f | %.2f to %.2f | %s |", t.name, median, middle, ratios[0], ratios[len(ratios)-1], limit)
	}
}

// heading says what was measured, and where.
func (r *report) heading(rounds int) {
	revision, _ := exec.Command("git", "describe", "--always", "--dirty").Output()
	r.say("Commit %s, %s, %s/%s, %d cores (%s), %d rounds.", strings.TrimSpace(string(revision)), runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), processor(), rounds)
}

func bench(binary, write, only string, rounds int) error {
	r := &report{}
	r.heading(rounds)
	for _, kind := range []string{"tls", "plain"} {
		if only != "" && only != kind {
			continue
		}
		p, err := start(binary, kind == "tls")
		if err != nil {
			return err
		}
		err = p.measure(r, kind == "tls", rounds)
		p.stop()
		if err != nil {
			return err
		}
	}
	if only != "plain" {
		if err := overSlowLink(r, binary); err != nil {
			return err
		}
	}
	r.say("")
	for _, m := range r.missed {
		r.say("Missed: %s.", m)
	}
	if write != "" {
		if err := between(write, "make bench", r.String()); err != nil {
			return err
		}
	}
	return nil
}

// overSlowLink measures what packing gains: the time to the first token of a conversation of 1 MB, over TLS.
func overSlowLink(r *report, binary string) error {
	text, err := sourceCode()
	if err != nil {
		return err
	}
	quoted, err := json.Marshal(text)
	if err != nil {
		return err
	}
	r.say("\n| 1 MB of source code over a link of 10 Mbit/s and 40 ms | first token, ms |\n| --- | --- |")
	for _, c := range []struct {
		name string
		more []string
	}{{"as it is", []string{"unpacked"}}, {"packed", nil}} {
		p, err := start(binary, true, c.more...)
		if err != nil {
			return err
		}
		first, err := p.firstOverLink(string(quoted[1 : len(quoted)-1]))
		p.stop()
		if err != nil {
			return err
		}
		r.say("| %s | %d |", c.name, first.Milliseconds())
	}
	return nil
}

func (p *parts) firstOverLink(text string) (time.Duration, error) {
	link, err := slowLink(strings.TrimPrefix(p.said.URL, "https://"))
	if err != nil {
		return 0, err
	}
	for i, v := range p.env {
		p.env[i] = strings.Replace(v, p.said.URL, "https://"+link, 1)
	}
	proxy, err := p.ours()
	if err != nil {
		return 0, err
	}
	defer proxy.stop()
	t := targets(p.said.Tokens)[responses]
	body := t.body(fast(3, 20, "0"), nil, true)
	body = strings.Replace(body, `"input":[`, `"input":[`+fmt.Sprintf(upItem, text)+",", 1)
	var all []time.Duration
	for range 6 {
		w := &watch{}
		if err := t.ask(proxy, body, w); err != nil {
			return 0, err
		}
		all = append(all, w.first)
	}
	return percentile(all[1:], .5), nil // the first of all may have been refused for being packed
}

// closely is how many times as many rounds are run where a limit is a few percent from ReverseProxy's: rounds of one machine
// differ by more.
const closely = 3

func (p *parts) measure(r *report, overTLS bool, rounds int) error {
	title := "Backend over plain HTTP/1.1"
	most := map[string]float64{"/v1/responses": 1.2, "/v1/chat/completions": 1.5, "/v1/messages": 1.75, "/api/chat": 1.75}
	if overTLS {
		title = "Backend over TLS with HTTP/2"
		most = map[string]float64{"/v1/responses": 1.05, "/v1/chat/completions": 1.25, "/v1/messages": 1.5, "/api/chat": 1.5}
	}
	r.say("\n## %s", title)
	plain, ours, err := p.pair()
	if err != nil {
		return err
	}
	defer plain.stop()
	defer ours.stop()
	code, err := sourceCode()
	if err != nil {
		return err
	}
	all := targets(p.said.Tokens)
	of := func(t *target) *process {
		if t == all[reference] {
			return plain
		}
		return ours
	}
	each := func(rounds int, f func(t *target, p *process) error) error {
		for range rounds {
			for _, t := range all {
				if err := f(t, of(t)); err != nil {
					return err
				}
			}
		}
		return nil
	}

	for _, c := range []struct {
		title           string
		streams, pieces int
		size            int
		pause           string
		most            map[string]float64
	}{
		{"events of 20 bytes at full speed, 50 streams: CPU an event", 50, 2000, 20, "0", most},
		{"events of 1 byte at full speed, 50 streams: CPU an event", 50, 2000, 1, "0", nil},
		{"events of 400 bytes at full speed, 50 streams: CPU an event", 50, 2000, 400, "0", nil},
		{"events of 20 bytes at full speed, 1 stream: CPU an event", 1, 20000, 20, "0", nil},
		{"events of 20 bytes in one burst, 50 streams: CPU an event", 50, 10000, 20, "burst", nil},
		{"events of 20 bytes every 20 ms, 50 streams: CPU an event", 50, 100, 20, "20", nil},
	} {
		cpu, late, times := samples{}, samples{}, rounds
		if c.most != nil {
			times *= closely
		}
		if err := each(times, func(t *target, p *process) error {
			before := p.cpu()
			watches, err := t.crowd(p, c.streams, fast(c.pieces, c.size, c.pause), c.pause == "20")
			for tries := 0; err != nil && t.isReference() && tries < 5; tries++ { // it cuts some short answers
				before = p.cpu()
				watches, err = t.crowd(p, c.streams, fast(c.pieces, c.size, c.pause), c.pause == "20")
			}
			cpu.add(t, float64(p.cpu()-before)/float64(time.Microsecond)/float64(c.streams*c.pieces))
			if c.pause == "20" {
				var gaps []time.Duration
				for _, w := range watches {
					gaps = append(gaps, w.gaps...)
				}
				late.add(t, float64(percentile(gaps, .99)-20*time.Millisecond)/float64(time.Millisecond))
			}
			return err
		}); err != nil {
			return err
		}
		r.table(c.title, "µs", all, cpu, c.most)
		if len(late) > 0 {
			r.table("the same: lateness of an event, p99", "ms", all, late, nil)
		}
	}

	first := map[float64]samples{.5: {}, .95: {}, .99: {}}
	if err := each(rounds*closely, func(t *target, p *process) error {
		var times []time.Duration
		for range 100 {
			watches, err := t.crowd(p, 1, fast(3, 20, "0"), false)
			if err != nil && t != all[reference] {
				return err
			}
			for _, w := range watches {
				times = append(times, w.first)
			}
		}
		for q, s := range first {
			s.add(t, float64(percentile(times, q))/float64(time.Microsecond))
		}
		return nil
	}); err != nil {
		return err
	}
	firstMost := map[string]float64{"/v1/responses": 1.05, "/v1/chat/completions": 1.05, "/v1/messages": 1.05, "/api/chat": 1.05}
	r.table("first token, p50", "µs", all, first[.5], firstMost)
	r.table("first token, p95", "µs", all, first[.95], nil)
	r.table("first token, p99", "µs", all, first[.99], nil)

	buffered := samples{}
	if err := each(rounds, func(t *target, p *process) error {
		before := p.cpu()
		body := t.body(fast(20, 20, "0"), nil, false)
		for range 200 {
			if err := t.ask(p, body, &watch{}); err != nil && t != all[reference] {
				return err
			}
		}
		buffered.add(t, float64(p.cpu()-before)/float64(time.Microsecond)/200)
		return nil
	}); err != nil {
		return err
	}
	r.table("answers of 20 events that are not streamed: CPU a request", "µs", all, buffered, nil)

	for _, c := range []struct {
		size, times int
		name        string
	}{{10 << 10, 200, "10 kB"}, {1 << 20, 20, "1 MB"}, {10 << 20, 5, "10 MB"}} {
		bodies := samples{}
		history := turnsOf(code, c.size)
		if err := each(rounds, func(t *target, p *process) error {
			body := t.body(fast(3, 20, "0"), history, true)
			before := p.cpu()
			for range c.times {
				if err := t.ask(p, body, &watch{}); err != nil && t != all[reference] {
					return err
				}
			}
			bodies.add(t, float64(p.cpu()-before)/float64(time.Millisecond)/float64(c.times))
			return nil
		}); err != nil {
			return err
		}
		r.table("a conversation of "+c.name+": CPU a request", "ms", all, bodies, nil)
		if c.size > 1<<20 {
			r.added(all, bodies, []byte(all[responses].body("x", history, true)))
		}
	}
	if !overTLS {
		return nil
	}
	return p.memories(r, all, code)
}

// added says what a conversation costs beyond what ReverseProxy takes for it, in CPU: packing, and the rest to what json.Valid
// takes for the same.
func (r *report) added(all []*target, bodies samples, raw []byte) {
	const times, most = 5, 2
	each := func(f func()) float64 {
		begin := time.Now()
		for range times {
			f()
		}
		return float64(time.Since(begin)) / float64(time.Millisecond) / times
	}
	pack, err := zstd.NewWriter(io.Discard, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(512<<10), zstd.WithLowerEncoderMem(true)) // as the proxy does
	if err != nil {
		panic(err) // the options are constant
	}
	valid := each(func() { json.Valid(raw) })
	packed := each(func() { pack.Write(raw); pack.Close(); pack.Reset(io.Discard) }) //nolint:errcheck // to nowhere
	r.say("\njson.Valid alone takes %.1f ms for it, packing alone %.1f ms.", valid, packed)
	r.say("\n| the same, beyond ReverseProxy's | ms | without packing, to json.Valid | at most |\n| --- | --- | --- | --- |")
	anchor, _ := bodies.of(all[reference])
	for _, t := range all[responses:] {
		median, _ := bodies.of(t)
		rest := (median - anchor - packed) / valid
		limit := fmt.Sprint(most)
		if rest > most {
			limit += ", missed"
			r.missed = append(r.missed, fmt.Sprintf("a conversation of 10 MB, without packing, %s: %.1f times json.Valid, not %d", t.name, rest, most))
		}
		r.say("| %s | %.0f | %.1f | %s |", t.name, median-anchor, rest, limit)
	}
}

// memories measures processes that are new each time.
func (p *parts) memories(r *report, all []*target, code string) error {
	fresh := func(t *target) (*process, error) {
		if t == all[reference] {
			return p.reference()
		}
		return p.ours()
	}
	for _, c := range []struct {
		title   string
		streams int
		said    string
		most    map[string]float64
		limit   float64 // MB
	}{
		{"500 streams: most memory", 500, fast(100, 20, "60"), map[string]float64{"/v1/responses": 1.1, "/v1/chat/completions": 1.1}, 0},
		{"2,000 streams: most memory", 2000, fast(60, 20, "150"), map[string]float64{"/v1/responses": 1, "/v1/chat/completions": 1}, 0},
		{"4 streams at full speed, of 20,000 events: most memory", 4, fast(20000, 20, "0"), nil, 40},
	} {
		peaks, settled := samples{}, map[string]string{}
		for range 3 {
			for _, t := range all[:chat+1] {
				proxy, err := fresh(t)
				if err != nil {
					return err
				}
				if _, err := t.crowd(proxy, c.streams, c.said, false); err != nil {
					proxy.stop()
					return err
				}
				_, most := proxy.memory()
				peaks.add(t, most)
				client.CloseIdleConnections()
				if _, known := settled[t.name]; t != all[reference] && c.streams == 500 && !known {
					time.Sleep(time.Minute)
					now, _ := proxy.memory()
					settled[t.name] = fmt.Sprintf("A minute after the streams of %s: %.0f MB.", t.name, now)
				}
				proxy.stop()
			}
		}
		for _, t := range all[responses : chat+1] {
			if most, _ := peaks.of(t); c.limit > 0 && most > c.limit {
				r.missed = append(r.missed, fmt.Sprintf("%s, %s: %.0f MB, not %.0f", c.title, t.name, most, c.limit))
			}
		}
		r.table(c.title, "MB", all, peaks, c.most)
		for _, t := range all[responses : chat+1] {
			if text := settled[t.name]; text != "" {
				r.say("\n%s", text)
			}
		}
	}
	const size = 10 << 20
	long := turnsOf(code, size)
	r.say("\n| a conversation of 10 MB: most memory above idle | MB | times its size |\n| --- | --- | --- |")
	for _, t := range all {
		proxy, err := fresh(t)
		if err != nil {
			return err
		}
		time.Sleep(time.Second)
		_, idle := proxy.memory()
		err = t.ask(proxy, t.body(fast(3, 20, "0"), long, true), &watch{})
		_, most := proxy.memory()
		proxy.stop()
		if err != nil && t != all[reference] {
			return err
		}
		times := (most - idle) * (1 << 20) / size
		if times > 3 && t != all[reference] {
			r.missed = append(r.missed, fmt.Sprintf("a conversation of 10 MB, %s: %.1f times its size, not 3", t.name, times))
		}
		r.say("| %s | %.0f | %.1f |", t.name, most-idle, times)
	}
	history := samples{}
	for range 5 {
		for _, t := range all[:responses+1] {
			path := p.binary
			if t == all[reference] {
				path = p.self
			}
			d, err := p.startTime(path, "--history", "0")
			if err != nil {
				return err
			}
			history.add(t, float64(d)/float64(time.Millisecond))
		}
	}
	r.say("\n| the program | | at most |\n| --- | --- | --- |")
	begin, _ := history.of(all[responses])
	anchor, _ := history.of(all[reference])
	r.verdict("from start to /health", begin, 15, "ms", fmt.Sprintf(" (ReverseProxy %.0f)", anchor))
	for _, c := range []struct {
		name string
		most float64
		args []string
	}{{"idle, without history", 14, []string{"--history", "0"}}, {"idle, with history", 24, nil}} {
		proxy, err := p.ours(c.args...)
		if err != nil {
			return err
		}
		plain, err := p.reference()
		if err != nil {
			proxy.stop()
			return err
		}
		time.Sleep(30 * time.Second) // what the start took is given back after 20
		now, _ := proxy.memory()
		anchor, _ := plain.memory()
		proxy.stop()
		plain.stop()
		r.verdict(c.name, now, c.most, "MB", fmt.Sprintf(" (ReverseProxy %.0f)", anchor))
	}
	info, err := os.Stat(p.binary)
	if err != nil {
		return err
	}
	r.verdict("size of the program", float64(info.Size())/(1<<20), 24, "MB", "")
	return nil
}

func (r *report) verdict(name string, value, most float64, unit, more string) {
	limit := fmt.Sprintf("%.0f %s", most, unit)
	if value > most {
		limit += ", missed"
		r.missed = append(r.missed, fmt.Sprintf("%s: %.1f %s, not %.0f", name, value, unit, most))
	}
	r.say("| %s | %.1f %s%s | %s |", name, value, unit, more, limit)
}

func processor() string {
	raw, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(raw)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown processor"
}

// between puts text between the mark of a command in a file and the end mark after it.
func between(path, command, text string) error {
	begin, end := "<!-- "+command+" -->\n", "<!-- end -->\n"
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(raw), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return fmt.Errorf("%s has no place for the tables", path)
	}
	return os.WriteFile(path, []byte(before+begin+"\n"+strings.TrimSpace(text)+"\n\n"+end+after), 0o644) //nolint:gosec // a document
}
