//go:build !js

package creds

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/gofrs/flock"
)

// roomReserved is how many bytes a store makes sure of before a refresh. A sign-in takes 4 to 6 KB.
const roomReserved = 32 << 10

// FileStore keeps the sign-in in a file, 0600 in a folder 0700.
//
// A save writes a second file beside the first, syncs it, renames it over the first and syncs the folder, so a
// reader sees the old or the new sign-in and nothing else. Should the program die between write and rename, the
// second file holds the newer tokens; Load notices and uses them.
type FileStore struct {
	path  string
	codec fileCodec
	lock  *flock.Flock
	label string
	hint  string // what to do when there is no sign-in

	mu       sync.Mutex
	reserved *os.File // the second file, opened by reserve, with room for a sign-in

	// step, when set by a test, is called with the name of each step of a save before it happens.
	step func(name string)
}

// fileCodec is what differs between the stores that are a file.
type fileCodec struct {
	decode   func(raw []byte) (Credentials, error)
	encode   func(c Credentials, previous []byte) ([]byte, error)
	keepMode bool        // the file is another program's: keep its permissions
	refused  fs.FileMode // permissions of the folder that make it unsafe
}

// NewFileStore returns the program's own store at path.
func NewFileStore(path string) *FileStore {
	return newFileStore(path, path+".lock", path, fileCodec{
		decode: decodeAuthFile,
		encode: func(c Credentials, previous []byte) ([]byte, error) {
			return encodeAuthFile(c, previous, true)
		},
		refused: 0o022,
	})
}

// NewLegacyStore returns the store that shares the Codex CLI's auth.json at path. Fields that this program does not
// know are kept, so are the file's format and mode. The lock is the CLI's own.
// Source: codex-rs/login/src/auth/storage.rs and a trace of Codex CLI 0.169.
func NewLegacyStore(path string) *FileStore {
	s := newFileStore(path, filepath.Join(filepath.Dir(path), "auth.lock"), path+" (shared with the Codex CLI)", fileCodec{
		decode: func(raw []byte) (Credentials, error) {
			c, err := decodeAuthFile(raw)
			c.Ownership = Shared
			return c, err
		},
		encode: func(c Credentials, previous []byte) ([]byte, error) {
			return encodeAuthFile(c, previous, false)
		},
		keepMode: true,
		refused:  0o002,
	})
	s.hint = "Run `codex login`"
	return s
}

func newFileStore(path, lockPath, label string, codec fileCodec) *FileStore {
	return &FileStore{
		path: path, codec: codec, label: label,
		lock: flock.New(lockPath, flock.SetPermissions(0o600)),
		hint: "Run `codex-proxy login`",
	}
}

// Name is the path.
func (s *FileStore) Name() string { return s.label }

// Path is where the file is.
func (s *FileStore) Path() string { return s.path }

func (s *FileStore) second() string {
	return filepath.Join(filepath.Dir(s.path), "."+filepath.Base(s.path)+".codex-proxy.new")
}

// Load reads the file. A file that another program is writing at this moment is read again for a short while before
// it is called damaged.
func (s *FileStore) Load(ctx context.Context) (Credentials, error) {
	var c Credentials
	var err error
	for attempt := range 6 {
		if attempt > 0 {
			select {
			case <-ctx.Done():
				return c, err
			case <-time.After(50 * time.Millisecond):
			}
		}
		c, err = s.load()
		if !errors.Is(err, ErrCorrupt) {
			break
		}
	}
	return c, err
}

func (s *FileStore) load() (Credentials, error) {
	raw, err := s.read()
	if err != nil && !errors.Is(err, ErrMissing) {
		return Credentials{}, err
	}
	var c Credentials
	if err == nil {
		if c, err = s.codec.decode(raw); err != nil {
			err = s.problem(err)
		}
	}
	if newer, ok := s.unfinished(c); ok {
		return newer, nil
	}
	return c, err
}

// read returns the file's bytes after checking that nobody else may change it.
func (s *FileStore) read() ([]byte, error) {
	f, err := os.Open(s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &StoreError{Kind: ErrMissing, Where: s.path, Hint: s.hint}
	case err != nil:
		return nil, &StoreError{Kind: ErrUnreadable, Where: s.path, Cause: cause(err), Hint: "Make it readable for your user, or name another file with --creds-path"}
	}
	defer f.Close()
	if err := s.checkPermissions(f); err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return nil, &StoreError{Kind: ErrUnreadable, Where: s.path, Cause: cause(err), Hint: "Name the file itself with --creds-path"}
	}
	return raw, nil
}

func (s *FileStore) checkPermissions(f *os.File) error {
	if runtime.GOOS == "windows" {
		return nil // the user's profile folder keeps others out
	}
	info, err := f.Stat()
	if err != nil {
		return &StoreError{Kind: ErrUnreadable, Where: s.path, Cause: cause(err)}
	}
	if info.Mode().Perm()&0o022 != 0 {
		return &StoreError{Kind: ErrUnreadable, Where: s.path, Cause: errors.New("other users can change it"), Hint: "Run: chmod 600 " + s.path}
	}
	return s.checkFolder()
}

func (s *FileStore) checkFolder() error {
	if runtime.GOOS == "windows" {
		return nil
	}
	dir := filepath.Dir(s.path)
	info, err := os.Stat(dir)
	if err != nil {
		return nil //nolint:nilerr // a folder that is not there is made by the save, or the save says why not
	}
	if info.Mode().Perm()&s.codec.refused != 0 && info.Mode()&fs.ModeSticky == 0 {
		return &StoreError{Kind: ErrUnreadable, Where: s.path, Cause: errors.New("other users can change its folder"), Hint: "Run: chmod go-w " + dir}
	}
	return nil
}

// unfinished returns the sign-in of a save that was written and never renamed, if it is newer than current.
func (s *FileStore) unfinished(current Credentials) (Credentials, bool) {
	raw, err := os.ReadFile(s.second())
	if err != nil {
		return current, false
	}
	c, err := s.codec.decode(bytes.TrimRight(raw, "\x00"))
	if err != nil || c.LastRefresh.IsZero() || !c.newerThan(current) {
		return current, false
	}
	return c, true
}

// Save replaces the file. It is called under the lock, see Manager.
func (s *FileStore) Save(_ context.Context, c Credentials) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	previous, _ := os.ReadFile(s.path)
	doc, err := s.codec.encode(c, previous)
	if err != nil {
		return err
	}
	s.at("create")
	f, err := s.open()
	if err != nil {
		return err
	}
	s.reserved = nil
	if err := s.write(f, doc); err != nil {
		f.Close()
		os.Remove(s.second())
		return s.cantWrite(err)
	}
	s.at("rename")
	if err := os.Rename(s.second(), s.path); err != nil {
		return s.cantWrite(err)
	}
	s.at("sync folder")
	syncFolder(filepath.Dir(s.path))
	s.at("done")
	return nil
}

func (s *FileStore) write(f *os.File, doc []byte) error {
	s.at("write")
	if _, err := f.WriteAt(doc, 0); err != nil {
		return err
	}
	if err := f.Truncate(int64(len(doc))); err != nil {
		return err
	}
	if s.codec.keepMode && runtime.GOOS != "windows" {
		if info, err := os.Stat(s.path); err == nil {
			if err := f.Chmod(info.Mode().Perm()); err != nil {
				return err
			}
		}
	}
	s.at("sync")
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Close()
}

// reserve makes sure that a sign-in can be written, and holds the room for it on the disk until Save.
func (s *FileStore) reserve(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkFolder(); err != nil {
		return err
	}
	if info, err := os.Lstat(s.path); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		return &StoreError{Kind: ErrReadOnly, Where: s.path, Cause: errors.New("it is a symbolic link"), Hint: "Put the file itself there, or name the link's target with --creds-path"}
	}
	if err := s.finish(); err != nil {
		return s.cantWrite(err)
	}
	f, err := s.open()
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(make([]byte, roomReserved), 0); err == nil {
		err = f.Sync()
	}
	if err != nil {
		f.Close()
		os.Remove(s.second())
		s.reserved = nil
		return s.cantWrite(err)
	}
	s.reserved = f
	return nil
}

// finish renames the second file if an earlier process wrote it and died before it could.
func (s *FileStore) finish() error {
	var current Credentials
	if raw, err := os.ReadFile(s.path); err == nil {
		current, _ = s.codec.decode(raw)
	}
	if _, ok := s.unfinished(current); !ok || s.reserved != nil {
		return nil
	}
	if err := os.Rename(s.second(), s.path); err != nil {
		return err
	}
	syncFolder(filepath.Dir(s.path))
	return nil
}

// open returns the reserved second file, or makes a new one.
func (s *FileStore) open() (*os.File, error) {
	if s.reserved != nil {
		if here, err := os.Lstat(s.second()); err == nil {
			if held, err := s.reserved.Stat(); err == nil && os.SameFile(here, held) {
				return s.reserved, nil
			}
		}
		s.reserved.Close()
		s.reserved = nil
	}
	if err := os.MkdirAll(filepath.Dir(s.path), 0o700); err != nil {
		return nil, s.cantWrite(err)
	}
	if err := os.Remove(s.second()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, s.cantWrite(err)
	}
	f, err := os.OpenFile(s.second(), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, s.cantWrite(err)
	}
	return f, nil
}

// acquire takes the lock that keeps other processes from refreshing, or gives up when ctx ends.
func (s *FileStore) acquire(ctx context.Context) (release func(), err error) {
	if _, err := os.Stat(filepath.Dir(s.lock.Path())); err != nil && s.codec.keepMode {
		return func() {}, nil // nothing there to guard, and not ours to make
	}
	if err := os.MkdirAll(filepath.Dir(s.lock.Path()), 0o700); err != nil {
		return nil, s.cantWrite(err)
	}
	ok, err := s.lock.TryLockContext(ctx, 50*time.Millisecond)
	switch {
	case ok:
		return func() { s.lock.Unlock() }, nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("another program holds %s", s.lock.Path())
	default:
		return nil, s.cantWrite(err)
	}
}

func (s *FileStore) at(step string) {
	if s.step != nil {
		s.step(step)
	}
}

func (s *FileStore) cantWrite(err error) error {
	return fmt.Errorf("write %s: %w", s.path, cause(err))
}

// problem turns a decoder's error into the store's.
func (s *FileStore) problem(err error) error {
	if errors.Is(err, ErrSignedOut) {
		return &StoreError{Kind: ErrSignedOut, Where: s.path, Hint: "Run `codex-proxy login`"}
	}
	if errors.Is(err, ErrNotChatGPT) {
		return &StoreError{Kind: ErrNotChatGPT, Where: s.path, Cause: detail(err), Hint: "Run `codex-proxy login`"}
	}
	return &StoreError{Kind: ErrCorrupt, Where: s.path, Cause: detail(err), Hint: "Move it away and start again, or sign in again with `codex-proxy login`"}
}

// detail is the part of a decoder's error that its kind does not say.
func detail(err error) error {
	for _, kind := range []error{ErrNotChatGPT, ErrCorrupt} {
		if rest, ok := bytes.CutPrefix([]byte(err.Error()), []byte(kind.Error()+" (")); ok {
			return errors.New(string(bytes.TrimSuffix(rest, []byte(")"))))
		}
	}
	return err
}

// cause drops the path that the error's text already has.
func cause(err error) error {
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

func syncFolder(dir string) {
	if runtime.GOOS == "windows" {
		return // NTFS journals the rename
	}
	if d, err := os.Open(dir); err == nil {
		d.Sync()
		d.Close()
	}
}
