package connect

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"codex-proxy/internal/atomicfile"
)

// record is what the journal knows of a connected tool: enough to put everything back.
type record struct {
	Tool  string    `json:"tool"`
	Root  string    `json:"root"`
	From  string    `json:"from,omitempty"` // the root before it was last moved; a crash may have left it
	Key   string    `json:"key"`
	Time  time.Time `json:"time"`
	Files []entry   `json:"files"`
}

// entry is one file of a record.
type entry struct {
	Path    string      `json:"path"` // as the tool names it
	Real    string      `json:"real"` // where its links lead
	Format  string      `json:"format"`
	Existed bool        `json:"existed"`
	Mode    fs.FileMode `json:"mode"`
	Before  []byte      `json:"before"`
	// After are the digests of texts that Before may be put in the place of.
	After []string `json:"after"`
	Undo  []was    `json:"undo"`
	Made  []string `json:"made,omitempty"` // folders, the outermost first
}

// largest is how long a settings file or an entry of the journal may be, in bytes.
const (
	largest        = 8 << 20
	largestJournal = 64 << 20
)

func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

func (c *Connections) path(id string) string { return filepath.Join(c.Folder, id+".json") }

// read returns the record of a tool; ErrNotConnected when there is none.
func (c *Connections) read(id string) (*record, error) {
	raw, _, err := atomicfile.Read(c.path(id), largestJournal)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotConnected
	}
	var r record
	if err == nil {
		err = json.Unmarshal(raw, &r)
	}
	if err == nil && r.Tool != id {
		err = errors.New("it is about no tool, or another one")
	}
	if err != nil {
		return nil, fmt.Errorf("what was there before can't be read (%w). Delete %s, and take the proxy out of the tool's settings yourself", atomicfile.Explain(err), c.path(id))
	}
	return &r, nil
}

func (c *Connections) write(r record) error {
	raw, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return atomicfile.Write(c.path(r.Tool), raw)
}

func (c *Connections) forget(id string) error {
	err := os.Remove(c.path(id))
	atomicfile.SyncFolder(c.Folder)
	return err
}

// Connected lists the ids of the tools that are connected.
func (c *Connections) Connected() []string {
	var out []string
	entries, _ := os.ReadDir(c.Folder)
	for _, entry := range entries {
		if id, ok := strings.CutSuffix(entry.Name(), ".json"); ok {
			out = append(out, id)
		}
	}
	return out
}

// lockPatience is how long another program's change is waited for.
const lockPatience = 10 * time.Second

// lock keeps other programs from changing settings at the same time.
func (c *Connections) lock() (release func(), err error) {
	if err := os.MkdirAll(c.Folder, 0o700); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), lockPatience)
	defer cancel()
	lock := flock.New(filepath.Join(c.Folder, "lock"), flock.SetPermissions(0o600))
	if _, err := lock.TryLockContext(ctx, 20*time.Millisecond); errors.Is(err, context.DeadlineExceeded) {
		return nil, errors.New("another Codex Proxy is connecting a tool. Try again")
	} else if err != nil {
		return nil, fmt.Errorf("%w. Make that a file that you can write", err)
	}
	return func() { lock.Unlock() }, nil //nolint:errcheck // closed with the program, too
}
