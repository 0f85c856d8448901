package proxy

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"codex-proxy/proxy/codex"
)

const (
	// bodyMost is the largest request body, unpacked, in bytes. Images go inline, a dozen of them fit.
	bodyMost = 64 << 20
	// bodyPatience is how long a body may pause on its way.
	bodyPatience = 30 * time.Second
)

// readBody reads and unpacks the whole body. Errors are *codex.Error.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	rc := http.NewResponseController(w)
	limited := http.MaxBytesReader(w, &patientReader{r: r.Body, rc: rc}, bodyMost)
	unpacked, err := unpack(limited, r.Header.Get("Content-Encoding"))
	if err != nil {
		return nil, bodyError(err)
	}
	defer unpacked.Close()
	var buf bytes.Buffer
	if n := r.ContentLength; n > 0 && n <= bodyMost {
		buf.Grow(int(n) + bytes.MinRead)
	}
	if _, err := buf.ReadFrom(io.LimitReader(unpacked, bodyMost+1)); err != nil {
		w.Header().Set("Connection", "close") // and the deadline stays: what is left of the body is not waited for
		return nil, bodyError(err)
	}
	if buf.Len() > bodyMost {
		return nil, bodyError(&http.MaxBytesError{Limit: bodyMost})
	}
	rc.SetReadDeadline(time.Time{}) //nolint:errcheck // a recorder in a test has none
	return buf.Bytes(), nil
}

// unpack follows Content-Encoding, which may name several codings, the last applied first.
func unpack(r io.Reader, codings string) (io.ReadCloser, error) {
	out := io.NopCloser(r)
	list := strings.Split(codings, ",")
	for i := len(list) - 1; i >= 0; i-- {
		switch name := strings.ToLower(strings.TrimSpace(list[i])); name {
		case "", "identity":
		case "gzip", "x-gzip":
			z, err := gzip.NewReader(out)
			if err != nil {
				return nil, err
			}
			out = z
		case "deflate":
			out = flate.NewReader(out)
		case "zstd":
			z, err := zstd.NewReader(out, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(bodyMost+1<<20))
			if err != nil {
				return nil, err
			}
			out = z.IOReadCloser()
		default:
			return nil, &codex.Error{Status: http.StatusUnsupportedMediaType, Type: "invalid_request_error", Code: "unsupported_encoding",
				Message: fmt.Sprintf("The content-encoding %.20q is unknown. Use gzip, deflate, zstd or none", name)}
		}
	}
	return out, nil
}

func bodyError(err error) error {
	var known *codex.Error
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &large), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return &codex.Error{Status: http.StatusRequestEntityTooLarge, Type: "invalid_request_error", Code: "request_too_large",
			Message: fmt.Sprintf("The request is larger than %d MB. Send fewer or smaller images", bodyMost>>20)}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &codex.Error{Status: http.StatusRequestTimeout, Type: "invalid_request_error", Code: "request_timeout",
			Message: "The request's body stopped on its way. Send it again"}
	}
	return &codex.Error{Status: http.StatusBadRequest, Type: "invalid_request_error", Code: "invalid_body", Message: "The request's body could not be read. Send it again"}
}

// patientReader gives each read a deadline of its own.
type patientReader struct {
	r  io.ReadCloser
	rc *http.ResponseController
}

func (p *patientReader) Read(b []byte) (int, error) {
	p.rc.SetReadDeadline(time.Now().Add(bodyPatience)) //nolint:errcheck // a recorder in a test has none
	return p.r.Read(b)
}

func (p *patientReader) Close() error { return p.r.Close() }
