// Package control is the running program's private door for the commands, and the list of who has one open.
//
// A program enters itself in a folder that only this user can read: a note with the address of its door, an HTTP
// server on a free loopback port, and the token that opens it. It holds a lock beside the note for as long as it
// lives, so that a note which a crash left behind is told from a program that runs.
package control

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"codex-proxy/internal/atomicfile"
)

// About is what a program says of itself in its note.
type About struct {
	PID     int       `json:"pid"`
	Version string    `json:"version"`
	Store   string    `json:"store"` // which sign-in it uses, in the one spelling that creds gives it
	Demo    bool      `json:"demo,omitempty"`
	Icon    bool      `json:"icon,omitempty"` // it shows the icon and the menu
	Started time.Time `json:"started"`
}

// note is the file in the registry's folder.
type note struct {
	About
	Address string `json:"address"`
	Token   string `json:"token"`
}

// A Verb is something that the running program does for a command. What it returns is sent back as JSON.
type Verb func(ctx context.Context, args url.Values) (any, error)

// Door is an open door. Close shuts it.
type Door struct {
	path   string
	lock   *flock.Flock
	note   note
	server *http.Server
	stop   context.CancelFunc // ends stay
	stays  sync.WaitGroup
}

// stayEvery is how often a program looks whether it is still on the list.
const stayEvery = 10 * time.Second

// Open enters this program in the registry at folder and serves verbs there until Close. Calls must bring the token,
// name the door as their Host, and have no Origin: no web page gets in.
func Open(folder string, about About, verbs map[string]Verb, errors *log.Logger) (*Door, error) {
	return openDoor(folder, about, verbs, errors, stayEvery)
}

func openDoor(folder string, about About, verbs map[string]Verb, errors *log.Logger, every time.Duration) (*Door, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("no free loopback port: %w", err)
	}
	var token [32]byte
	rand.Read(token[:])
	d := &Door{
		path: filepath.Join(folder, strconv.Itoa(about.PID)+"-"+hex.EncodeToString(token[:4])+noteSuffix),
		note: note{About: about, Address: listener.Addr().String(), Token: hex.EncodeToString(token[:])},
	}
	if err := d.enter(); err != nil {
		listener.Close()
		return nil, err
	}
	mux := http.NewServeMux()
	for name, verb := range verbs {
		mux.HandleFunc("POST /"+name, func(w http.ResponseWriter, r *http.Request) { answer(w, r, verb) })
	}
	d.server = &http.Server{Handler: d.guard(mux), ReadHeaderTimeout: 5 * time.Second, ErrorLog: errors}
	go d.server.Serve(listener) //nolint:errcheck // ends with Close
	ctx, stop := context.WithCancel(context.Background())
	d.stop = stop
	d.stays.Go(func() { d.stay(ctx, every) })
	return d, nil
}

// enter puts the program on the list.
func (d *Door) enter() error {
	if err := os.MkdirAll(filepath.Dir(d.path), 0o700); err != nil {
		return err
	}
	d.lock = flock.New(lockOf(d.path), flock.SetPermissions(0o600))
	held, err := d.lock.TryLock()
	if err == nil && !held {
		err = fmt.Errorf("%s is held by another program", d.lock.Path())
	}
	var raw []byte
	if err == nil {
		raw, err = json.Marshal(d.note)
	}
	if err == nil {
		err = atomicfile.Write(d.path, raw)
	}
	if err != nil {
		d.leave()
	}
	return err
}

// stay enters the program anew when it is not on the list any more: a session's runtime folder may be cleaned now and then,
// and goes with the session, which a program may outlive. Source: XDG Base Directory Specification, $XDG_RUNTIME_DIR.
func (d *Door) stay(ctx context.Context, every time.Duration) {
	look := time.NewTicker(every)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		if _, err := os.Lstat(d.path); errors.Is(err, fs.ErrNotExist) {
			d.leave()
			d.enter() //nolint:errcheck // the next time
		}
	}
}

// guard lets in who knows the token, and no web page.
func (d *Door) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != d.note.Address || r.Header.Get("Origin") != "" ||
			subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte("Bearer "+d.note.Token)) != 1 {
			http.Error(w, "forbidden", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func answer(w http.ResponseWriter, r *http.Request, verb Verb) {
	v, err := verb(r.Context(), r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v) //nolint:errcheck // the caller has gone
}

// Close ends the door and takes the program off the list. A call under way has a second to end.
func (d *Door) Close() {
	d.stop()
	d.stays.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if d.server.Shutdown(ctx) != nil {
		d.server.Close()
	}
	d.leave()
}

func (d *Door) leave() {
	os.Remove(d.path)
	d.lock.Unlock() //nolint:errcheck // the program ends
	os.Remove(d.lock.Path())
}

const noteSuffix = ".json"

func lockOf(notePath string) string { return strings.TrimSuffix(notePath, noteSuffix) + ".lock" }

// Starting holds off other programs that start at the same moment, until release is called: who looks at the list
// and then enters itself does so alone. It gives up with an error after wait.
func Starting(ctx context.Context, folder string, wait time.Duration) (release func(), err error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	lock := flock.New(filepath.Join(folder, "starting.lock"), flock.SetPermissions(0o600))
	held, err := lock.TryLockContext(ctx, 20*time.Millisecond)
	if !held {
		if err == nil || errors.Is(err, context.DeadlineExceeded) {
			err = errors.New("another Codex Proxy is starting and does not get on with it. End it and start again")
		}
		return nil, err
	}
	return func() { lock.Unlock() }, nil //nolint:errcheck // closed with the program, too
}

// A Program is one that runs.
type Program struct {
	About
	address, token string
}

// Programs lists the running programs, the oldest first. Notes that a crash left behind are removed.
func Programs(folder string) []Program {
	entries, _ := os.ReadDir(folder)
	var out []Program
	for _, entry := range entries {
		if ok, _ := filepath.Match("*-*"+noteSuffix, entry.Name()); !ok {
			continue
		}
		path := filepath.Join(folder, entry.Name())
		n, err := readNote(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if abandoned(path) {
			os.Remove(path)
			os.Remove(lockOf(path))
			continue
		}
		if err != nil {
			continue
		}
		out = append(out, Program{About: n.About, address: n.Address, token: n.Token})
	}
	slices.SortFunc(out, func(a, b Program) int { return a.Started.Compare(b.Started) })
	return out
}

// abandoned reports whether nobody holds the lock beside a note. Several may look at once: who looks only shares it.
func abandoned(notePath string) bool {
	lock := flock.New(lockOf(notePath), flock.SetPermissions(0o600))
	free, err := lock.TryRLock()
	if err == nil && free {
		lock.Unlock() //nolint:errcheck // it is removed next
		return true
	}
	return false
}

func readNote(path string) (note, error) {
	var n note
	raw, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(raw, &n)
	}
	return n, err
}
