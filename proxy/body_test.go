package proxy

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/klauspost/compress/zstd"

	"codex-proxy/proxy/codex"
)

func TestABodyGrowsWithWhatComes(t *testing.T) {
	r := newRig(t)
	var conns []net.Conn
	for range 100 {
		c, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "POST /v1/responses HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n{", bodyMost)
		conns = append(conns, c)
	}
	eventually(t, "all of them are being read", func() bool { return r.server.bodies.left.Load() == bodiesMost-100*bodyFirst })
	if status, text, _ := r.ask("responses", "hello", false); status != 200 {
		t.Errorf("meanwhile: %d %s", status, text)
	}
	for _, c := range conns {
		c.Close()
	}
	eventually(t, "it is given back", func() bool { return r.server.bodies.left.Load() == bodiesMost })
}

func TestAllBodiesTogetherAreBounded(t *testing.T) {
	r := newRig(t)
	r.server.bodies = newBudget(130 << 10)
	body := `{"input":"` + strings.Repeat("x", 80<<10) + `"}`
	status, h, text, _ := r.do(http.MethodPost, "/v1/responses", strings.Replace(body, "x", strings.Repeat("x", 60<<10), 1))
	if status != 503 || get(text, "error.code").Str != "proxy_busy" || h.Get("Retry-After") == "" {
		t.Errorf("%d %s", status, text)
	}
	if left := r.server.bodies.left.Load(); left != 130<<10 {
		t.Errorf("%d bytes are lost", 130<<10-left)
	}
	if status, text := r.post("/v1/responses", body); status != 200 {
		t.Errorf("one that fits: %d %s", status, text)
	}
}

// TestADecodersWindowIsGivenBackOnceTheBodyIsRead: answers last, and the Codex CLI sends every request packed.
func TestADecodersWindowIsGivenBackOnceTheBodyIsRead(t *testing.T) {
	held := int64(-1)
	var r *rig
	r = newRig(t, func(c *Config) {
		c.OnStart = func(Start) { held = memory - r.server.bodies.left.Load() }
	})
	r.server.bodies = newBudget(memory)
	packer, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	status, _, text, _ := r.do(http.MethodPost, "/v1/responses", string(packer.EncodeAll([]byte(`{"input":"hello"}`), nil)), "Content-Encoding", "zstd")
	if status != 200 || held < 0 || held >= zstdWindow {
		t.Errorf("%d bytes are held while an answer is under way: %d %s", held, status, text)
	}
}

const memory = 64 << 20 // bytes

func TestABodyIsReadHoweverItComes(t *testing.T) {
	want := bytes.Repeat([]byte("0123456789"), 3000)
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"whole": func(r io.Reader) io.Reader { return r }, "a byte at a time": iotest.OneByteReader, "with its end": iotest.DataErrReader,
	} {
		c := &claim{from: newBudget(1 << 20)}
		got, err := c.readAll(wrap(bytes.NewReader(want)), len(want), 0)
		if err != nil || !bytes.Equal(got, want) || c.held < int64(len(want)) || c.held != int64(cap(got)) {
			t.Errorf("%s: %d bytes, %d claimed for %d, %v", name, len(got), c.held, cap(got), err)
		}
		c.release()
		c.release()
		if c.from.left.Load() != 1<<20 {
			t.Errorf("%s: %d", name, c.from.left.Load())
		}
		var large *http.MaxBytesError
		if _, err := c.readAll(wrap(bytes.NewReader(want)), len(want)-1, 0); !errors.As(err, &large) {
			t.Errorf("%s, too large: %v", name, err)
		}
	}
	c := &claim{from: newBudget(1 << 20)}
	if _, err := c.readAll(iotest.ErrReader(io.ErrUnexpectedEOF), 100, 0); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}

func TestABodyThatUnpacksWithoutEndIsTooLarge(t *testing.T) {
	r := newRig(t)
	var bomb bytes.Buffer
	z, _ := zstd.NewWriter(&bomb)
	for range 80 {
		z.Write(make([]byte, 1<<20))
	}
	z.Close()
	if status, text := r.post("/v1/responses", bomb.String(), "Content-Encoding", "zstd"); status != 413 {
		t.Errorf("%d %s", status, text)
	}
	if status, text := r.post("/v1/responses", "x", "Content-Encoding", "gzip,gzip,gzip,gzip,gzip"); status != 400 {
		t.Errorf("five codings: %d %s", status, text)
	}
	bomb.Reset()
	z, _ = zstd.NewWriter(&bomb)
	io.WriteString(z, `{"input":"packed"}`)
	z.Close()
	if status, text := r.post("/v1/responses", bomb.String(), "Content-Encoding", "zstd"); status != 200 || !strings.Contains(text, "packed") {
		t.Errorf("what the Codex CLI sends: %d %s", status, text)
	}
	if left := r.server.bodies.left.Load(); left != bodiesMost {
		t.Errorf("%d bytes are lost", bodiesMost-left)
	}
}

func TestADrippingBodyIsCut(t *testing.T) {
	for name, c := range map[string]struct {
		p     patience
		every time.Duration
		want  int
	}{
		"drips":  {patience{pause: time.Minute, grace: 300 * time.Millisecond, rate: 1000}, 20 * time.Millisecond, 408},
		"pauses": {patience{pause: 100 * time.Millisecond, grace: time.Minute, rate: 1000}, time.Hour, 408},
		"slow":   {patience{pause: time.Minute, grace: time.Minute, rate: 1000}, time.Millisecond, 200},
	} {
		r := newRig(t)
		r.server.patience = c.p
		in, out := io.Pipe()
		body := `{"input":"hello"}`
		go func() {
			for i := range len(body) {
				if _, err := io.WriteString(out, body[i:i+1]); err != nil {
					return
				}
				if i > 3 && c.every == time.Hour {
					return // and nothing more comes
				}
				if c.want == 408 && i == len(body)-2 {
					for { // white space without end
						time.Sleep(c.every)
						if _, err := io.WriteString(out, " "); err != nil {
							return
						}
					}
				}
				time.Sleep(min(c.every, 20*time.Millisecond))
			}
			out.Close()
		}()
		start := time.Now()
		req, _ := http.NewRequest(http.MethodPost, r.url+"/v1/responses", in)
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			if c.want != 408 || time.Since(start) > 5*time.Second {
				t.Errorf("%s: %v", name, err)
			}
		} else {
			resp.Body.Close()
			if resp.StatusCode != c.want || time.Since(start) > 5*time.Second {
				t.Errorf("%s: %d after %s", name, resp.StatusCode, time.Since(start))
			}
		}
		in.CloseWithError(io.ErrClosedPipe)
	}
}

func TestBodyErrorsAreTheCallersWords(t *testing.T) {
	for want, err := range map[int]error{413: &http.MaxBytesError{}, 408: errDripping, 400: io.ErrUnexpectedEOF, 503: &codex.Error{Status: 503}} {
		var e *codex.Error
		if !errors.As(bodyError(err, bodyMost, true), &e) || e.Status != want {
			t.Errorf("%v is %v", err, e)
		}
	}
}

// TestABodyThatIsNotPackedAsItSaysIsNamedSo: sending it again would not help. One that breaks off on its way is another matter.
func TestABodyThatIsNotPackedAsItSaysIsNamedSo(t *testing.T) {
	r := newRig(t)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	io.WriteString(z, `{"input":"packed"}`)
	z.Close()
	whole := packed.String()
	for name, c := range map[string]struct{ coding, body string }{
		"gzip":              {"gzip", `{"input":"plain"}`},
		"gzip that is cut":  {"gzip", whole[:len(whole)-6]},
		"gzip, one bit off": {"gzip", whole[:len(whole)-6] + "\x00" + whole[len(whole)-5:]},
		"deflate":           {"deflate", `{"input":"plain"}`},
		"deflate by head":   {"deflate", "\x78\x9c plain"},
		"zstd":              {"zstd", `{"input":"plain"}`},
		"two codings":       {"gzip, zstd", whole},
	} {
		status, text := r.post("/v1/responses", c.body, "Content-Encoding", c.coding)
		if status != 400 || get(text, "error.code").Str != "invalid_body" || !strings.Contains(get(text, "error.message").Str, "not what its content-encoding says") {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "POST /v1/responses HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Encoding: gzip\r\nContent-Length: 1000\r\n\r\n"+whole[:20])
	conn.(*net.TCPConn).CloseWrite()
	answer, _ := io.ReadAll(conn)
	if !strings.Contains(string(answer), "could not be read. Send it again") {
		t.Errorf("a body that breaks off: %s", answer)
	}
}

// TestALargeBodyGoesUpPacked, and as it is to a backend that refuses that, from then on.
func TestALargeBodyGoesUpPacked(t *testing.T) {
	for _, refuses := range []bool{false, true} {
		r := newRig(t)
		r.backend.RefuseZstd = refuses
		long := strings.Repeat("A long story. ", 2000)
		for i, said := range []string{"short", long, long} {
			status, body := r.post("/v1/chat/completions", `{"messages":[{"role":"user","content":"`+said+`"}]}`)
			if status != 200 || !strings.Contains(body, strings.TrimSpace(said)) {
				t.Fatalf("refuses %t, request %d: %d %.200s", refuses, i, status, body)
			}
		}
		var codings []string
		for _, sent := range r.backend.Requests("/codex/responses") {
			codings = append(codings, sent.Header.Get("Content-Encoding"))
		}
		want := []string{"", "zstd", "zstd"}
		if refuses {
			want = []string{"", "zstd", "", ""}
		}
		if !slices.Equal(codings, want) {
			t.Errorf("refuses %t: %q, not %q", refuses, codings, want)
		}
	}
}
