//go:build !js

package proxy

import (
	"bytes"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// packWindow is how far back, in bytes, the packer looks for what it has seen: twice as much packs source code by 0.2 % better
// and takes a quarter longer.
const packWindow = 512 << 10

// zstdPacker returns what packs request bodies, which come in pieces, on their way up. It is safe for concurrent use, and
// what it needs for it is given back with the next garbage.
func zstdPacker() func(body [][]byte) []byte {
	idle := sync.Pool{New: func() any {
		w, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(packWindow), zstd.WithLowerEncoderMem(true))
		if err != nil {
			panic(err) // the options are constant
		}
		return w
	}}
	return func(body [][]byte) []byte {
		w := idle.Get().(*zstd.Encoder)
		defer idle.Put(w)
		var packed bytes.Buffer
		w.Reset(&packed)
		for _, piece := range body {
			w.Write(piece) //nolint:errcheck // to memory
		}
		w.Close()    //nolint:errcheck // the same
		w.Reset(nil) // else it keeps what it wrote
		return packed.Bytes()
	}
}
