package proxy

import (
	"bufio"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"

	"codex-proxy/proxy/codex"
)

const (
	// bodyMost is the largest request body, unpacked, in bytes, where Config says nothing else. Images go inline, a dozen of
	// them fit.
	bodyMost = 64 << 20
	// bodiesMost is the memory of all bodies and messages together that callers have sent and that are not answered yet,
	// where Config says nothing else.
	bodiesMost = 256 << 20
	// bodyFirst is the most that is taken for a body before anything of it has come; from there it grows with what comes.
	bodyFirst = 4 << 10
	// zstdWindow is the largest window of a zstd body, which its sender chooses and the decoder allocates. Source: RFC
	// 8878, 3.1.1.1.2 recommends that decoders take this much.
	zstdWindow = 8 << 20
)

// patience is how slowly a body may come.
type patience struct {
	pause time.Duration // between two pieces
	grace time.Duration // for the whole, beside what its size allows
	rate  int64         // bytes a second that are allowed for
}

// bodyPatience cuts a body that drips: a byte every few seconds is no pause, but it never ends.
var bodyPatience = patience{pause: 30 * time.Second, grace: time.Minute, rate: 16 << 10}

// budget is memory that callers can claim. Safe for concurrent use.
type budget struct{ left atomic.Int64 }

func newBudget(bytes int64) *budget {
	b := &budget{}
	b.left.Store(bytes)
	return b
}

// take claims bytes and reports whether there were so many.
func (b *budget) take(n int64) bool {
	if b.left.Add(-n) < 0 {
		b.left.Add(n)
		return false
	}
	return true
}

// claim is what one body holds of the budget.
type claim struct {
	from *budget
	held int64
}

// grow claims more. The error is an *codex.Error.
func (c *claim) grow(n int64) error {
	if !c.from.take(n) {
		return &codex.Error{Status: http.StatusServiceUnavailable, Type: "server_error", Code: "proxy_busy", RetryAfter: 2 * time.Second,
			Message: "Too many large requests are under way at once. Send this one again in a moment"}
	}
	c.held += n
	return nil
}

// release gives all of it back. It may be called more than once.
func (c *claim) release() {
	c.from.left.Add(c.held)
	c.held = 0
}

// readAll reads to the end and claims what that takes, growing with what comes. At most limit bytes are read; more is
// an *http.MaxBytesError. size is what the sender says that there is, 0 or less for nothing: it is believed
// when a sixteenth of it has come, since each growth is a copy.
func (c *claim) readAll(r io.Reader, limit, size int) ([]byte, error) {
	first := bodyFirst
	if size > 0 {
		first = min(first, size+1)
	}
	if err := c.grow(int64(first)); err != nil {
		return nil, err
	}
	buf := make([]byte, 0, first)
	for {
		if len(buf) == cap(buf) {
			if len(buf) > limit {
				return nil, &http.MaxBytesError{Limit: int64(limit)}
			}
			bigger := min(2*cap(buf), limit+1)
			if size > len(buf) && size <= 16*len(buf) {
				bigger = min(size, limit) + 1
			}
			if err := c.grow(int64(bigger - cap(buf))); err != nil {
				return nil, err
			}
			buf = append(make([]byte, 0, bigger), buf...)
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case len(buf) > limit:
			return nil, &http.MaxBytesError{Limit: int64(limit)}
		case err == io.EOF: //nolint:errorlint // readers return it bare
			return buf, nil
		case err != nil:
			return nil, err
		}
	}
}

// readBody reads and unpacks the whole body. What it takes is held by c. Errors are *codex.Error.
func (s *Server) readBody(w http.ResponseWriter, r *http.Request, c *claim) ([]byte, error) {
	rc := http.NewResponseController(w)
	in := &patientReader{r: r.Body, rc: rc, patience: s.patience, start: time.Now()}
	body, err := func() ([]byte, error) {
		windows := claim{from: c.from} // of the decoders, which end with the reading
		defer windows.release()
		unpacked, err := unpack(http.MaxBytesReader(w, in, int64(s.cfg.BodyMost)), r.Header.Get("Content-Encoding"), s.cfg.BodyMost, &windows)
		if err != nil {
			return nil, err
		}
		defer unpacked.Close()
		return c.readAll(unpacked, s.cfg.BodyMost, int(r.ContentLength))
	}()
	if err != nil {
		w.Header().Set("Connection", "close") // and the deadline stays: what is left of the body is not waited for
		return nil, bodyError(err, s.cfg.BodyMost, in.broken)
	}
	rc.SetReadDeadline(time.Time{}) //nolint:errcheck // a Worker has none
	return body, nil
}

// unpack follows Content-Encoding, which may name several codings, the last applied first.
func unpack(r io.Reader, codings string, most int, c *claim) (io.ReadCloser, error) {
	out := io.NopCloser(r)
	list := strings.Split(codings, ",")
	if len(list) > 4 {
		return nil, codex.Invalid("", "The content-encoding names too many codings")
	}
	for i := len(list) - 1; i >= 0; i-- {
		var err error
		switch name := strings.ToLower(strings.TrimSpace(list[i])); name {
		case "", "identity":
		case "gzip", "x-gzip":
			out, err = gzip.NewReader(out)
		case "deflate":
			out, err = inflate(out)
		case "zstd":
			if err := c.grow(zstdWindow); err != nil {
				return nil, err
			}
			var z *zstd.Decoder
			z, err = zstd.NewReader(out, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(zstdWindow), zstd.WithDecoderMaxMemory(uint64(most)+1<<20))
			if err == nil {
				out = z.IOReadCloser()
			}
		default:
			err = &codex.Error{Status: http.StatusUnsupportedMediaType, Type: "invalid_request_error", Code: "unsupported_encoding",
				Message: fmt.Sprintf("The content-encoding %.20q is unknown. Use gzip, deflate, zstd or none", name)}
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// inflate reads deflate in its zlib form, which is the standard's, or without, as many send it.
// Source: RFC 9110, 8.4.1.2; RFC 1950, 2.2 for how the form is told.
func inflate(r io.Reader) (io.ReadCloser, error) {
	b := bufio.NewReader(r)
	head, err := b.Peek(2)
	if err != nil && err != io.EOF { //nolint:errorlint // Peek returns it bare
		return nil, err
	}
	if len(head) == 2 && head[0]&0x0f == 8 && (int(head[0])<<8|int(head[1]))%31 == 0 {
		return zlib.NewReader(b)
	}
	return flate.NewReader(b), nil
}

// bodyError is what went wrong with a body, in the caller's words. broken says that its bytes did not all come; else they are
// not packed as they should be.
func bodyError(err error, most int, broken bool) error {
	var known *codex.Error
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &large), errors.Is(err, zstd.ErrDecoderSizeExceeded), errors.Is(err, zstd.ErrWindowSizeExceeded):
		return &codex.Error{Status: http.StatusRequestEntityTooLarge, Type: "invalid_request_error", Code: "request_too_large",
			Message: fmt.Sprintf("The request is larger than %d MB. Send fewer or smaller images", most>>20)}
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, errDripping):
		return &codex.Error{Status: http.StatusRequestTimeout, Type: "invalid_request_error", Code: "request_timeout",
			Message: "The request's body stopped on its way. Send it again"}
	case !broken:
		return &codex.Error{Status: http.StatusBadRequest, Type: "invalid_request_error", Code: "invalid_body",
			Message: "The request's body is not what its content-encoding says. Pack it that way, or leave the header out"}
	}
	return &codex.Error{Status: http.StatusBadRequest, Type: "invalid_request_error", Code: "invalid_body", Message: "The request's body could not be read. Send it again"}
}

var errDripping = errors.New("the body comes too slowly")

// patientReader gives each read a deadline of its own, and the whole one that its size allows.
type patientReader struct {
	r      io.ReadCloser
	rc     *http.ResponseController
	start  time.Time
	read   int64
	broken bool // there is more, but it did not come
	patience
}

func (p *patientReader) Read(b []byte) (int, error) {
	now := time.Now()
	last := p.start.Add(p.grace + time.Duration(p.read/p.rate)*time.Second)
	if now.After(last) {
		return 0, errDripping
	}
	end := now.Add(p.pause)
	if last.Before(end) {
		end = last
	}
	p.rc.SetReadDeadline(end) //nolint:errcheck // a Worker has none
	n, err := p.r.Read(b)
	p.read += int64(n)
	p.broken = p.broken || err != nil && err != io.EOF //nolint:errorlint // readers return it bare
	return n, err
}

func (p *patientReader) Close() error { return p.r.Close() }
