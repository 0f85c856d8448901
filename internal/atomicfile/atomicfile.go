// Package atomicfile replaces private files so that a crash leaves the old content or the new, never a part.
package atomicfile

import (
	"os"
	"path/filepath"
	"runtime"
)

// Write replaces the file at path by data, for this user only (0600, in a folder made 0700 if need be). After it
// returns nil the new content survives a power cut; after an error the old content is still whole.
func Write(path string, data []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+"-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil || runtime.GOOS == "windows" { // NTFS journals the rename
		return err
	}
	if d, err := os.Open(dir); err == nil {
		defer d.Close()
		d.Sync() //nolint:errcheck // not every file system can
	}
	return nil
}
