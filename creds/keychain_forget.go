//go:build !js

package creds

import (
	"context"
	"errors"
	"os"

	"github.com/zalando/go-keyring"
)

// ForgetKeychain deletes the key of the keychain stores from the system's keychain: what they have encrypted can't be
// read any more. The error wraps os.ErrNotExist when there is no key. It waits for the keychain's answer for a bounded
// time, and is safe for concurrent use.
func ForgetKeychain(ctx context.Context) error {
	_, err := withTimeout(ctx, func() (string, error) { return "", keyring.Delete(keychainService, keychainAccount) })
	if errors.Is(err, keyring.ErrNotFound) {
		return os.ErrNotExist
	}
	return err
}
