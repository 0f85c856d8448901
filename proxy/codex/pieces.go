package codex

import (
	"io"
	"net"
	"net/http"
	"slices"
)

// pieces are a body, one piece after another. Those of a long conversation are the caller's own: they are never copied
// together.
type pieces [][]byte

func (p pieces) size() (n int64) {
	for _, piece := range p {
		n += int64(len(piece))
	}
	return n
}

func (p pieces) join() []byte { return slices.Concat(p...) }

func (p pieces) open() io.ReadCloser {
	b := net.Buffers(slices.Clone(p)) // reading takes them out
	return io.NopCloser(&b)
}

// bodyOf makes p the body of a request, which can be sent again.
func (p pieces) bodyOf(r *http.Request) {
	if r.ContentLength = p.size(); r.ContentLength == 0 {
		r.Body = http.NoBody // any other means that the size is unknown
		return
	}
	r.Body = p.open()
	r.GetBody = func() (io.ReadCloser, error) { return p.open(), nil }
}
