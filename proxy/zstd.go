//go:build !js

package proxy

import "github.com/klauspost/compress/zstd"

// zstdPacker returns what packs request bodies on their way up. It is safe for concurrent use, and takes no memory before
// it is used.
func zstdPacker() func([]byte) []byte {
	w, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2), zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil // the options are constant
	}
	return func(body []byte) []byte { return w.EncodeAll(body, make([]byte, 0, len(body)/3)) }
}
