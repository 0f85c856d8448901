//go:build !windows

package atomicfile

import (
	"os"
	"syscall"
)

func openNonblocking(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}

func rename(from, to string) error { return os.Rename(from, to) }

// SyncFolder makes a rename in the folder durable.
func SyncFolder(dir string) {
	if d, err := os.Open(dir); err == nil {
		d.Sync() //nolint:errcheck // some file systems can't
		d.Close()
	}
}
