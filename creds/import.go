//go:build !js

package creds

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"filippo.io/age"
	"github.com/zalando/go-keyring"

	"codex-proxy/internal/atomicfile"
)

// FromKeychain is the ImportedFrom of a sign-in that came out of the Codex CLI's keychain entry.
const FromKeychain = importedFromKeychain

// An Importer reads the sign-in of the Codex CLI. It changes nothing.
type Importer struct {
	CodexHome string     // $CODEX_HOME, by default ~/.codex
	Tell      func(Step) // hears every step; must not be nil
}

// AuthFile is where the Codex CLI keeps its sign-in.
func (i *Importer) AuthFile() string { return filepath.Join(i.CodexHome, "auth.json") }

// Import returns the Codex CLI's sign-in: from its file, else from its keychain entry, else from its encrypted file.
// Errors are *StoreError; when there are several, the one worth mending.
func (i *Importer) Import(ctx context.Context) (Credentials, error) {
	i.Tell(Step{StepCheck, "Checking the Codex CLI's file " + i.AuthFile()})
	c, fileErr := i.FromFile(ctx)
	if fileErr == nil {
		return c, nil
	}
	if !errors.Is(fileErr, ErrMissing) {
		i.Tell(Step{StepWarning, fileErr.Error()})
	}
	i.Tell(Step{StepCheck, "Checking the keychain for the Codex CLI's entry"})
	c, err := i.FromKeychain(ctx)
	if err == nil {
		return c, nil
	}
	if !errors.Is(fileErr, ErrMissing) {
		return Credentials{}, fileErr
	}
	return Credentials{}, err
}

// FromFile reads the CLI's auth.json.
func (i *Importer) FromFile(ctx context.Context) (Credentials, error) {
	c, err := NewLegacyStore(i.AuthFile()).Load(ctx)
	if err != nil {
		return c, err
	}
	i.Tell(Step{StepRead, "Read " + describeImport(c) + " from " + i.AuthFile()})
	c.ImportedFrom = i.AuthFile()
	return c, nil
}

// FromKeychain reads the CLI's keychain entry, or its encrypted file with the key that the keychain holds. The system
// may ask the user for leave.
func (i *Importer) FromKeychain(ctx context.Context) (Credentials, error) {
	account := i.keychainAccount()
	value, err := readForeign(ctx, "Codex Auth", "cli|"+account)
	if errors.Is(err, keyring.ErrNotFound) {
		value, err = i.fromEncryptedFile(ctx, account)
	}
	switch {
	case errors.Is(err, keyring.ErrNotFound), noService(err):
		return Credentials{}, &StoreError{Kind: ErrMissing, Where: "keychain"}
	case err != nil:
		return Credentials{}, &StoreError{Kind: ErrUnreadable, Where: "keychain", Cause: err, Hint: "If the Codex CLI keeps its sign-in there, unlock the keychain, or put `cli_auth_credentials_store = \"file\"` into its config.toml and sign in again with it"}
	}
	c, err := decodeAuthFile([]byte(value))
	if err != nil {
		kind := ErrCorrupt
		if errors.Is(err, ErrNotChatGPT) {
			kind = ErrNotChatGPT
		}
		return c, &StoreError{Kind: kind, Where: "keychain", Cause: detail(err)}
	}
	i.Tell(Step{StepRead, "Read " + describeImport(c) + " from the keychain"})
	c.Ownership, c.ImportedFrom = Shared, FromKeychain
	return c, nil
}

// noService reports that no keychain runs in this session at all, so that the CLI can't have put anything there either.
func noService(err error) bool {
	var dial *net.OpError
	var start *exec.Error
	if errors.As(err, &dial) || errors.As(err, &start) {
		return true // there is no session bus
	}
	return err != nil && strings.Contains(err.Error(), "org.freedesktop.secrets was not provided")
}

// fromEncryptedFile opens secrets/codex_auth.age, the CLI's other way of keeping a sign-in: its passphrase is in the
// keychain. Source: Codex CLI 0.169, feature secret_auth_storage.
func (i *Importer) fromEncryptedFile(ctx context.Context, account string) (string, error) {
	path := filepath.Join(i.CodexHome, "secrets", "codex_auth.age")
	raw, _, err := atomicfile.Read(path, fileMost)
	if errors.Is(err, fs.ErrNotExist) {
		return "", keyring.ErrNotFound
	}
	if err != nil {
		return "", err
	}
	i.Tell(Step{StepCheck, "Checking the Codex CLI's encrypted file " + path})
	passphrase, err := readForeign(ctx, "codex", "secrets|"+account)
	if err != nil {
		return "", fmt.Errorf("%s is there, its key is not: %w", path, plain(err))
	}
	identity, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return "", fmt.Errorf("open %s: %w", path, err)
	}
	opened, err := age.Decrypt(bytes.NewReader(raw), identity)
	if err != nil {
		return "", fmt.Errorf("open %s: %w", path, err)
	}
	var doc struct {
		Secrets map[string]string `json:"secrets"`
	}
	if err := json.NewDecoder(opened).Decode(&doc); err != nil {
		return "", fmt.Errorf("open %s: its content is not what this version knows", path)
	}
	value, ok := doc.Secrets["global/CODEX_AUTH"]
	if !ok {
		return "", keyring.ErrNotFound
	}
	return value, nil
}

// plain keeps "not found" from being taken for "no sign-in there".
func plain(err error) error { return errors.New(err.Error()) }

// keychainAccount is the part of the entry's name that tells one CODEX_HOME from another.
// Source: openai/codex login/src/auth/storage.rs, compute_store_key.
func (i *Importer) keychainAccount() string {
	home := i.CodexHome
	if abs, err := filepath.Abs(home); err == nil {
		home = abs
	}
	if real, err := filepath.EvalSymlinks(home); err == nil {
		home = real
		if runtime.GOOS == "windows" && !strings.HasPrefix(home, `\\`) {
			home = `\\?\` + home // what Rust's fs::canonicalize returns there
		}
	}
	sum := sha256.Sum256([]byte(home))
	return hex.EncodeToString(sum[:])[:16]
}

func describeImport(c Credentials) string {
	who := first(c.Email, "an account without an address")
	if c.Plan != "" {
		who += " (" + c.Plan + ")"
	}
	return "the sign-in of " + who
}
