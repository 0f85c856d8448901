//go:build !windows && !js

package creds

import "context"

// readForeign reads another program's keychain entry.
func readForeign(ctx context.Context, service, account string) (string, error) {
	return keychainGet(ctx, service, account)
}
