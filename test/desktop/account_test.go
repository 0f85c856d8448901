//go:build desktop

package desktop

import (
	"crypto/sha256"
	"encoding/hex"
)

// cliAccount is the account name of the Codex CLI's keyring entry. Source: codex-rs, login/src/auth/storage.rs.
func cliAccount(codexHome string) string {
	sum := sha256.Sum256([]byte(codexHome))
	return "cli|" + hex.EncodeToString(sum[:])[:16]
}
