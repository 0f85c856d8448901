//go:build !js

package proxy

import (
	"sync"

	"github.com/klauspost/compress/zstd"
)

// packWindow is how far back, in bytes, the packer looks for what it has seen: twice as much packs source code by 0.2 % better
// and takes a quarter longer.
const packWindow = 512 << 10

// zstdPacker returns what packs request bodies, which come in pieces, on their way up. It is safe for concurrent use, and
// what it needs for it is given back with the next garbage.
func zstdPacker() func(body [][]byte) [][]byte {
	idle := sync.Pool{New: func() any {
		w, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(packWindow), zstd.WithLowerEncoderMem(true))
		if err != nil {
			panic(err) // the options are constant
		}
		return w
	}}
	return func(body [][]byte) [][]byte {
		w := idle.Get().(*zstd.Encoder)
		defer idle.Put(w)
		var packed chunks
		w.Reset(&packed)
		for _, piece := range body {
			w.Write(piece) //nolint:errcheck // to memory
		}
		w.Close()    //nolint:errcheck // the same
		w.Reset(nil) // else it keeps what it wrote
		return packed
	}
}

const (
	chunkFirst = 4 << 10 // bytes
	chunkMost  = 64 << 10
)

// chunks are written bytes, one chunk after another: none is copied as more come.
type chunks [][]byte

func (c *chunks) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		last := len(*c) - 1
		if last < 0 || len((*c)[last]) == cap((*c)[last]) {
			size := chunkFirst
			if last >= 0 {
				size = min(2*cap((*c)[last]), chunkMost)
			}
			*c = append(*c, make([]byte, 0, size))
			last++
		}
		chunk := (*c)[last]
		n := copy(chunk[len(chunk):cap(chunk)], rest)
		(*c)[last], rest = chunk[:len(chunk)+n], rest[n:]
	}
	return len(p), nil
}
