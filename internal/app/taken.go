package app

import (
	"encoding/json"
	"path/filepath"
	"slices"

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

// taken reports whether a token was taken over before.
func taken(hash string) bool { return slices.Contains(readTaken(), hash) }

// took remembers one that was. It is no loss when that fails, unless another place comes later.
func took(hash string) {
	hashes := append(readTaken(), hash)
	if raw, err := json.Marshal(hashes[max(0, len(hashes)-takenMost):]); err == nil {
		atomicfile.Write(takenFile(), raw) //nolint:errcheck // see above
	}
}
