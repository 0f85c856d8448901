// Package keys holds named API keys of this machine: one for each tool or person, told once, kept as hashes, and taken
// away one by one. A key names its caller; whether callers need one is the proxy's affair.
package keys

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gofrs/flock"

	"codex-proxy/internal/atomicfile"
)

// Key is what is kept of one.
type Key struct {
	Name    string    `json:"name"`
	Hash    string    `json:"hash"` // SHA-256, in hexadecimal: a key has 130 random bits, so that nothing slower is needed
	Created time.Time `json:"created"`
	// Routes are those that the key is good for, such as /chat/completions; none means all.
	Routes []string `json:"routes,omitempty"`
	// Used is when it was last brought, to about ten minutes; zero for never.
	Used time.Time `json:"-"`
}

// New makes a key: cp-, what it is for, and 26 letters and digits that nobody can guess.
func New(purpose string) string {
	var random [17]byte
	rand.Read(random[:])
	text := strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(random[:]))
	return "cp-" + purpose + "-" + text[:26]
}

// Store is the keys of one user: a file that several programs may use at once. What one of them changes, the others
// know within a second. Safe for concurrent use.
type Store struct {
	path string
	now  func() time.Time

	mu      sync.Mutex
	keys    []Key
	stamp   stamp     // of the file that keys were read from
	looked  time.Time // when the file was looked at last
	used    map[string]time.Time
	saved   map[string]time.Time // what of used is in its file
	problem error                // the file can't be read
	saving  sync.WaitGroup
	writing sync.Mutex // held while used is written; taken before mu
}

// stamp tells one content of a file from the next.
type stamp struct {
	size int64
	time time.Time
}

const (
	largest = 1 << 20 // bytes of the file
	// recheck is how long what was read of the file is good for.
	recheck = time.Second
	// coarse is how exactly the last use is kept: a write for each request would be the price of more.
	coarse = 10 * time.Minute
)

// Open returns the store at path. A file that can't be read lets nobody in by a key; Problem says why.
func Open(path string) *Store {
	s := &Store{path: path, now: time.Now, used: map[string]time.Time{}, saved: map[string]time.Time{}}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.load(true)
	return s
}

// Problem is why the keys can't be read; nil when they can.
func (s *Store) Problem() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.load(false)
	return s.problem
}

// Lookup returns the name of a key and whether it is known, and notes that it was used. All keys are compared in full.
func (s *Store) Lookup(presented string) (name string, ok bool) {
	hash := hashOf(presented)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.load(false)
	if name, ok = s.find(hash); !ok && strings.HasPrefix(presented, "cp-") {
		s.load(true) // it may have been made just now
		name, ok = s.find(hash)
	}
	if ok {
		s.use(name)
	}
	return name, ok
}

// Knows reports whether a key is known now, without noting that it was used.
func (s *Store) Knows(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.load(true)
	_, ok := s.find(hashOf(key))
	return ok
}

func hashOf(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

func (s *Store) find(hash string) (name string, ok bool) {
	for _, k := range s.keys {
		if subtle.ConstantTimeCompare([]byte(k.Hash), []byte(hash)) == 1 {
			name, ok = k.Name, true
		}
	}
	return name, ok
}

// Allows reports whether the key of a name is good for a route.
func (s *Store) Allows(name, route string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.keys {
		if k.Name == name {
			return len(k.Routes) == 0 || slices.Contains(k.Routes, route)
		}
	}
	return false
}

// List returns the keys, the oldest first.
func (s *Store) List() []Key {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.load(true)
	out := slices.Clone(s.keys)
	for i := range out {
		out[i].Used = s.used[out[i].Name]
	}
	return out
}

// Add makes key known under a name, good for routes or, without any, for all; a key of that name is replaced.
func (s *Store) Add(name, key string, routes ...string) error {
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' }) || utf8.RuneCountInString(name) > 60 {
		return errors.New("a key needs a name of at most 60 letters")
	}
	return s.change(func(keys []Key) []Key {
		keys = slices.DeleteFunc(keys, func(k Key) bool { return k.Name == name })
		return append(keys, Key{Name: name, Hash: hashOf(key), Created: s.now().UTC().Truncate(time.Second), Routes: routes})
	})
}

// ErrUnknown means that there is no key of that name.
var ErrUnknown = errors.New("there is no key of that name")

// Revoke makes the key of a name unknown; ErrUnknown when there is none.
func (s *Store) Revoke(name string) error {
	found := false
	err := s.change(func(keys []Key) []Key {
		return slices.DeleteFunc(keys, func(k Key) bool {
			found = found || k.Name == name
			return k.Name == name
		})
	})
	if err == nil && !found {
		return ErrUnknown
	}
	return err
}

// Close saves when keys were used last.
func (s *Store) Close() {
	s.saving.Wait()
	s.mu.Lock()
	used := len(s.saved) > 0
	s.mu.Unlock()
	if used {
		s.saveUsed()
	}
}

// lockPatience is how long another program's change is waited for.
const lockPatience = 10 * time.Second

// change reads the file, has f change the keys, and writes them back.
func (s *Store) change(f func([]Key) []Key) error {
	if err := os.MkdirAll(filepath.Dir(s.path), 0o700); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), lockPatience)
	defer cancel()
	lock := flock.New(s.path+".lock", flock.SetPermissions(0o600))
	if _, err := lock.TryLockContext(ctx, 20*time.Millisecond); errors.Is(err, context.DeadlineExceeded) {
		return errors.New("another program is changing the keys. Try again")
	} else if err != nil {
		return fmt.Errorf("%w. Make that a file that you can write", err)
	}
	defer lock.Unlock() //nolint:errcheck // closed with the program, too
	s.mu.Lock()
	defer s.mu.Unlock()
	s.load(true)
	if s.problem != nil {
		return s.problem
	}
	raw, err := json.MarshalIndent(f(slices.Clone(s.keys)), "", "  ")
	if err != nil {
		return err
	}
	if err := atomicfile.Write(s.path, append(raw, '\n')); err != nil {
		return err
	}
	s.stamp = stamp{}
	s.load(true)
	return s.problem
}

// load reads the file again if it is another one. The caller holds mu.
func (s *Store) load(now bool) {
	if at := s.now(); now || at.Sub(s.looked) >= recheck || at.Before(s.looked) {
		s.looked = at
	} else {
		return
	}
	info, err := os.Stat(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		s.keys, s.stamp, s.problem = nil, stamp{}, nil
		return
	}
	if err == nil && (stamp{info.Size(), info.ModTime()}) == s.stamp {
		return
	}
	var keys []Key
	raw, info, err := atomicfile.Read(s.path, largest)
	if err == nil {
		err = json.Unmarshal(raw, &keys)
	}
	if err != nil {
		s.keys, s.stamp = nil, stamp{}
		s.problem = fmt.Errorf("the keys in %s can't be read (%w). Mend that file, or delete it and make new keys", s.path, atomicfile.Explain(err))
		return
	}
	s.keys, s.stamp, s.problem = keys, stamp{info.Size(), info.ModTime()}, nil
	if raw, _, err := atomicfile.Read(s.usedPath(), largest); err == nil {
		var used map[string]time.Time
		if json.Unmarshal(raw, &used) == nil {
			for name, at := range used {
				if at.After(s.used[name]) {
					s.used[name] = at
				}
			}
		}
	}
}

func (s *Store) usedPath() string { return s.path + ".used" }

// use notes that a key was used, and has that saved now and then. The caller holds mu.
func (s *Store) use(name string) {
	now := s.now().UTC()
	s.used[name] = now
	if now.Sub(s.saved[name]) < coarse {
		return
	}
	s.saved[name] = now
	s.saving.Go(s.saveUsed)
}

// saveUsed writes when the keys were used last, without keeping callers waiting. It is no loss when that fails.
func (s *Store) saveUsed() {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	for name := range s.used {
		if !slices.ContainsFunc(s.keys, func(k Key) bool { return k.Name == name }) {
			delete(s.used, name)
		}
	}
	raw, err := json.Marshal(s.used)
	s.mu.Unlock()
	if err == nil {
		atomicfile.Write(s.usedPath(), raw) //nolint:errcheck // see above
	}
}
