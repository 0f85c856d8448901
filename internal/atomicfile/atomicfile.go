// Package atomicfile reads and writes the program's private files: small, whole, and readable by this user only.
//
// Write makes a second file beside the first, syncs it, renames it over the first and syncs the folder. A reader, and
// a crash at any moment, sees the old or the new content and nothing else. The parts of it are exported for a store
// that has a protocol of its own.
package atomicfile

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrLink means that the path is a symbolic link: it is never written through, and never replaced by a file.
var ErrLink = errors.New("it is a symbolic link")

// ErrNotRegular means that the path is a folder, a pipe, a device or a socket.
var ErrNotRegular = errors.New("it is not a regular file")

// ErrTooLarge means that the file is longer than the reader allowed.
var ErrTooLarge = errors.New("it is too large")

// Write replaces the file at path by content, 0600, and makes its folder, 0700, where there is none. After nil the
// content survives a crash and a power cut; after an error the old content is still whole. ErrLink when path is a
// symbolic link. Safe for concurrent use, also by several processes: the last one wins.
func Write(path string, content []byte) error {
	if err := NoLink(path); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := createBeside(path)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = Replace(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name()) //nolint:errcheck // the first error counts
	}
	return err
}

// createBeside makes a new file in the folder of path.
func createBeside(path string) (*os.File, error) {
	for attempt := 0; ; attempt++ {
		var random [8]byte
		rand.Read(random[:])
		name := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+"-"+hex.EncodeToString(random[:]))
		f, err := Create(name)
		if errors.Is(err, fs.ErrExist) && attempt < 100 {
			continue
		}
		return f, err
	}
}

// Create makes a file, 0600, that must not exist yet.
func Create(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}

// Replace renames from, which must be written and synced, to path, and makes that durable.
func Replace(from, path string) error {
	if err := rename(from, path); err != nil {
		return err
	}
	SyncFolder(filepath.Dir(path))
	return nil
}

// NoLink returns ErrLink when path is a symbolic link.
func NoLink(path string) error {
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		return fmt.Errorf("%w. Put the file itself there", &fs.PathError{Op: "write", Path: path, Err: ErrLink})
	}
	return nil
}

// Read returns the content of a regular file of at most most bytes, and what the system says about the file. It never
// waits: a pipe or a device is ErrNotRegular at once. A symbolic link is followed.
func Read(path string, most int64) ([]byte, fs.FileInfo, error) {
	// A device is not even opened: that alone may have an effect.
	if info, err := os.Stat(path); err != nil {
		return nil, nil, err
	} else if !info.Mode().IsRegular() {
		return nil, info, &fs.PathError{Op: "read", Path: path, Err: ErrNotRegular}
	}
	f, err := openNonblocking(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat() // of what was opened: the path may name another file by now
	switch {
	case err != nil:
		return nil, nil, err
	case !info.Mode().IsRegular():
		return nil, info, &fs.PathError{Op: "read", Path: path, Err: ErrNotRegular}
	}
	content, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(content)) > most {
		err = &fs.PathError{Op: "read", Path: path, Err: ErrTooLarge}
	}
	if err != nil {
		return nil, info, err
	}
	return content, info, nil
}

// Canonical is the one spelling of a path: absolute, with the links of what exists of it resolved.
func Canonical(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return filepath.Clean(path)
	}
	rest := ""
	for here := abs; ; {
		if resolved, err := filepath.EvalSymlinks(here); err == nil {
			return filepath.Join(resolved, rest)
		}
		parent := filepath.Dir(here)
		if parent == here {
			return abs
		}
		rest = filepath.Join(filepath.Base(here), rest)
		here = parent
	}
}

// Explain is err without the path that its text repeats.
func Explain(err error) error {
	var p *fs.PathError
	var l *os.LinkError
	switch {
	case errors.As(err, &p):
		return p.Err
	case errors.As(err, &l):
		return l.Err
	}
	return err
}
