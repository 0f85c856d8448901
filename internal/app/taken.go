package app

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gofrs/flock"

	"codex-proxy/creds"
	"codex-proxy/internal/atomicfile"
)

// takenMost is how many tokens are remembered, the newest ones.
const takenMost = 100

// takenFile keeps the hashes of the refresh tokens that were taken over from the Codex CLI, for all the places where
// programs of this user keep a sign-in: with another --creds-path or --creds-store the import must not use one again.
func takenFile() string { return filepath.Join(StateFolder(), "taken-over.json") }

func readTaken() (hashes []string) {
	if raw, _, err := atomicfile.Read(takenFile(), 16<<10); err == nil {
		json.Unmarshal(raw, &hashes) //nolint:errcheck // then nothing is known
	}
	return hashes
}

// taking lets one program of this user at a time take over a sign-in. Where the lock can't be made it goes on without:
// that two programs with two files start at the same moment is rare.
func taking(ctx context.Context) (release func(), err error) {
	os.MkdirAll(StateFolder(), 0o700) //nolint:errcheck // see above
	lock := flock.New(takenFile()+".lock", flock.SetPermissions(0o600))
	held, _ := lock.TryLockContext(ctx, 50*time.Millisecond) // why not is told by ctx, or does not matter
	switch {
	case held:
		return func() { lock.Unlock() }, nil //nolint:errcheck // closed with the program, too
	case ctx.Err() != nil:
		return nil, creds.ErrBusy
	}
	return func() {}, nil
}

// taken reports whether a token was taken over before.
func taken(hash string) bool { return slices.Contains(readTaken(), hash) }

// took remembers one that was. It is no loss when that fails, unless another place comes later.
func took(hash string) {
	hashes := append(readTaken(), hash)
	if raw, err := json.Marshal(hashes[max(0, len(hashes)-takenMost):]); err == nil {
		atomicfile.Write(takenFile(), raw) //nolint:errcheck // see above
	}
}
