//go:build !js

package creds

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"

	"codex-proxy/internal/atomicfile"
)

const (
	roomReserved = 32 << 10 // bytes that a store makes sure of before a refresh; a sign-in takes 4 to 6 KB
	fileMost     = 1 << 20  // bytes that a file with a sign-in may have
)

// FileStore keeps the sign-in in a file, 0600 in a folder 0700.
//
// A save writes a second file beside the first, syncs it, renames it over the first and syncs the folder, so a
// reader sees the old or the new sign-in and nothing else. Should the program die between write and rename, the
// second file holds the newer tokens; Load notices and uses them. A third file notes the last refresh, see Attempt.
type FileStore struct {
	path   string // see CanonicalPath
	codec  fileCodec
	lock   *flock.Flock
	label  string
	shared bool

	newFolder atomic.Bool // Lock had to make the folder, and nothing was saved there since

	mu       sync.Mutex
	reserved *os.File // the second file, opened by Reserve, with room for a sign-in

	// step, when set by a test, is called with the name of each step of a save before it happens.
	step func(name string)
}

// CanonicalPath is the one spelling of a store's path, by which programs that use the same store find each other.
func CanonicalPath(path string) string { return atomicfile.Canonical(path) }

// fileCodec is what differs between the stores that are a file.
type fileCodec struct {
	decode   func(raw []byte) (Credentials, error)
	encode   func(c Credentials, previous []byte) ([]byte, error)
	keepMode bool        // the file is another program's: keep its permissions
	refused  fs.FileMode // permissions of the folder that make it unsafe
}

// NewFileStore returns the program's own store at path.
func NewFileStore(path string) *FileStore {
	return newFileStore(path, filepath.Base(path)+".lock", "%s", fileCodec{
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
	s := newFileStore(path, "auth.lock", "%s (shared with the Codex CLI)", fileCodec{
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
	s.shared = true
	return s
}

// newFileStore resolves the folder, so that two spellings of a path are one store; the file itself must not be a link.
// The label is for people, with %s for the path.
func newFileStore(path, lockName, label string, codec fileCodec) *FileStore {
	dir := CanonicalPath(filepath.Dir(path))
	path = filepath.Join(dir, filepath.Base(path))
	return &FileStore{
		path: path, codec: codec, label: fmt.Sprintf(label, path),
		lock: flock.New(filepath.Join(dir, lockName), flock.SetPermissions(0o600)),
	}
}

// Name is the path.
func (s *FileStore) Name() string { return s.label }

// Path is where the file is.
func (s *FileStore) Path() string { return s.path }

// Limits says whether it is the Codex CLI's.
func (s *FileStore) Limits() Limits { return Limits{Shared: s.shared} }

func (s *FileStore) second() string { return s.beside("new") }

// beside is the name of a file of ours next to the store's.
func (s *FileStore) beside(what string) string {
	return filepath.Join(filepath.Dir(s.path), "."+filepath.Base(s.path)+".codex-proxy."+what)
}

// Stamp is what the system says of the files.
func (s *FileStore) Stamp() string {
	var b strings.Builder
	for _, path := range []string{s.path, filepath.Dir(s.path)} {
		info, err := os.Stat(path)
		switch {
		case err != nil:
			b.WriteString("none,")
		case info.IsDir():
			b.WriteString("there,")
		default:
			fmt.Fprintf(&b, "%d %d %d,", info.Size(), info.ModTime().UnixNano(), info.Mode())
		}
	}
	return b.String()
}

// Note writes the attempt beside the sign-in.
func (s *FileStore) Note(_ context.Context, a Attempt) error {
	raw, err := json.Marshal(a)
	if err != nil {
		return err
	}
	if err := atomicfile.Write(s.beside("refresh"), raw); err != nil {
		return s.cantWrite(err)
	}
	return nil
}

// Attempt reads what Note wrote.
func (s *FileStore) Attempt(context.Context) Attempt {
	var a Attempt
	if raw, _, err := atomicfile.Read(s.beside("refresh"), 4<<10); err == nil {
		json.Unmarshal(raw, &a) //nolint:errcheck // then nothing is known
	}
	return a
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
	raw, info, err := atomicfile.Read(s.path, fileMost)
	if errors.Is(err, fs.ErrNotExist) {
		missing := &StoreError{Kind: ErrMissing, Where: s.path}
		if _, folder := os.Stat(filepath.Dir(s.path)); folder != nil || s.newFolder.Load() {
			missing.Cause = errNoFolder
		}
		return nil, missing
	}
	if err == nil {
		err = s.checkPermissions(info)
	}
	var known *StoreError
	if err != nil && !errors.As(err, &known) {
		return nil, &StoreError{Kind: ErrUnreadable, Where: s.path, Cause: atomicfile.Explain(err), Hint: "Make it a file that your user can read, or name another with --creds-path"}
	}
	return raw, err
}

func (s *FileStore) checkPermissions(info fs.FileInfo) error {
	if runtime.GOOS == "windows" {
		return nil // the user's profile folder keeps others out
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

// unfinished returns the sign-in of a save that was written and never renamed, if it follows current: it is newer, or it
// came for the very token that current holds, whatever the clock said then.
func (s *FileStore) unfinished(current Credentials) (Credentials, bool) {
	raw, _, err := atomicfile.Read(s.second(), fileMost)
	if err != nil {
		return current, false
	}
	c, err := s.codec.decode(bytes.TrimRight(raw, "\x00"))
	if err != nil || c.LastRefresh.IsZero() || c.sameTokens(current) {
		return current, false
	}
	follows := current.RefreshToken != "" && c.RefreshToken != current.RefreshToken && s.Attempt(context.Background()).Token == hash(current.RefreshToken)
	return c, follows || c.newerThan(current)
}

// Save replaces the file. It is called under the lock, see Manager.
func (s *FileStore) Save(_ context.Context, c Credentials) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkLink(); err != nil {
		return err
	}
	previous, _, _ := atomicfile.Read(s.path, fileMost)
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
	if err := atomicfile.Replace(s.second(), s.path); err != nil {
		return s.cantWrite(err)
	}
	s.newFolder.Store(false)
	if c.IsZero() { // nothing of a sign-in stays when the user signs out
		os.Remove(s.beside("old")) //nolint:errcheck // most often there is none
	}
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

// Reserve makes sure that a sign-in can be written, and holds the room for it on the disk until Save, or until the lock is
// released.
func (s *FileStore) Reserve(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkFolder(); err != nil {
		return err
	}
	if err := s.checkLink(); err != nil {
		return err
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

// unreserve gives up what Reserve has reserved.
func (s *FileStore) unreserve() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reserved != nil {
		s.reserved.Close()
		os.Remove(s.second()) //nolint:errcheck // the next Reserve does
		s.reserved = nil
	}
}

// checkLink keeps a link from being replaced by a file: what it leads to would keep the old sign-in.
func (s *FileStore) checkLink() error {
	if atomicfile.NoLink(s.path) == nil {
		return nil
	}
	return &StoreError{Kind: ErrReadOnly, Where: s.path, Cause: atomicfile.ErrLink, Hint: "Put the file itself there, or name the link's target with --creds-path"}
}

// finish renames the second file if an earlier process wrote it and died before it could.
func (s *FileStore) finish() error {
	var current Credentials
	if raw, _, err := atomicfile.Read(s.path, fileMost); err == nil {
		current, _ = s.codec.decode(raw)
	}
	if _, ok := s.unfinished(current); !ok || s.reserved != nil {
		return nil
	}
	return atomicfile.Replace(s.second(), s.path)
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
	if err := s.putAside(); err != nil {
		return nil, s.cantWrite(err)
	}
	f, err := atomicfile.Create(s.second())
	if err != nil {
		return nil, s.cantWrite(err)
	}
	return f, nil
}

// putAside makes the name of the second file free. One that holds another sign-in than the first, which looked older by
// the clock, is kept under a third name: the clock may have been wrong.
func (s *FileStore) putAside() error {
	raw, _, err := atomicfile.Read(s.second(), fileMost)
	if err == nil {
		if c, err := s.codec.decode(bytes.TrimRight(raw, "\x00")); err == nil && c.RefreshToken != "" {
			return os.Rename(s.second(), s.beside("old"))
		}
	}
	if err := os.Remove(s.second()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Lock takes the lock file that keeps other processes from changing the store. ErrBusy when ctx ends before that. release
// gives up what is reserved.
func (s *FileStore) Lock(ctx context.Context) (release func(), err error) {
	if _, err := os.Stat(filepath.Dir(s.lock.Path())); err != nil && s.shared {
		return s.unreserve, nil // nothing there to guard, and not ours to make
	}
	if _, err := os.Stat(filepath.Dir(s.path)); errors.Is(err, fs.ErrNotExist) {
		s.newFolder.Store(true)
	}
	if err := os.MkdirAll(filepath.Dir(s.lock.Path()), 0o700); err != nil {
		return nil, s.cantWrite(err)
	}
	ok, err := s.lock.TryLockContext(ctx, 50*time.Millisecond)
	switch {
	case ok:
		return func() {
			s.unreserve() // on Windows it would be in the way of other programs
			s.lock.Unlock()
		}, nil
	case ctx.Err() != nil:
		return nil, ErrBusy
	default: // the lock file is another user's, or the file system has no locks
		return nil, &StoreError{Kind: ErrNotWritten, Where: s.lock.Path(), Cause: atomicfile.Explain(err), Hint: "Make it a file that your user can write and lock, or name another place with --creds-path"}
	}
}

func (s *FileStore) at(step string) {
	if s.step != nil {
		s.step(step)
	}
}

func (s *FileStore) cantWrite(err error) error {
	var known *StoreError
	if errors.As(err, &known) {
		return err
	}
	return &StoreError{Kind: ErrNotWritten, Where: s.path, Cause: atomicfile.Explain(err)}
}

// problem turns a decoder's error into the store's.
func (s *FileStore) problem(err error) error {
	for _, kind := range []error{ErrSignedOut, ErrNotChatGPT} {
		if errors.Is(err, kind) {
			return &StoreError{Kind: kind, Where: s.path, Cause: detail(err)}
		}
	}
	return &StoreError{Kind: ErrCorrupt, Where: s.path, Cause: detail(err), Hint: "Sign in again, or move the file away and start again"}
}

// detail is the part of a decoder's error that its kind does not say; nil when there is none.
func detail(err error) error {
	for _, kind := range []error{ErrNotChatGPT, ErrCorrupt} {
		if rest, ok := strings.CutPrefix(err.Error(), kind.Error()+" ("); ok {
			return errors.New(strings.TrimSuffix(rest, ")"))
		}
		if err.Error() == kind.Error() {
			return nil
		}
	}
	if errors.Is(err, ErrSignedOut) {
		return nil
	}
	return err
}
