package creds

import (
	"context"
	"encoding/binary"
	"errors"
	"unicode/utf16"

	"github.com/danieljoos/wincred"
	"github.com/zalando/go-keyring"
)

// readForeign reads an entry that a Rust program wrote: the keyring crate names it <account>.<service> and stores
// UTF-16, where go-keyring looks for <service>:<account> and UTF-8.
// Source: crate keyring 3.6, src/windows.rs.
func readForeign(ctx context.Context, service, account string) (string, error) {
	return withTimeout(ctx, func() (string, error) {
		entry, err := wincred.GetGenericCredential(account + "." + service)
		if errors.Is(err, wincred.ErrElementNotFound) {
			return "", keyring.ErrNotFound
		}
		if err != nil {
			return "", err
		}
		return decodeUTF16(entry.CredentialBlob), nil
	})
}

// decodeUTF16 reads little-endian UTF-16, or UTF-8 where the blob is not that.
func decodeUTF16(blob []byte) string {
	if len(blob)%2 != 0 || (len(blob) > 1 && blob[1] != 0) {
		return string(blob)
	}
	units := make([]uint16, len(blob)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(blob[2*i:])
	}
	return string(utf16.Decode(units))
}
