package codex

import (
	"encoding/base64"
	"strings"
)

// signed marks a signature that this proxy made.
const signed = "codex-proxy."

// SignReasoning returns what a dialect with signatures carries, so that the model has its own reasoning back.
func SignReasoning(model, encrypted string) string {
	return signed + base64.RawURLEncoding.EncodeToString([]byte(model)) + "." + encrypted
}

// SignedReasoning is the encrypted reasoning that a signature carries; false for another program's, or another model's.
func SignedReasoning(signature, model string) (encrypted string, ok bool) {
	rest, ok := strings.CutPrefix(signature, signed)
	if !ok {
		return "", false
	}
	of, encrypted, ok := strings.Cut(rest, ".")
	name, err := base64.RawURLEncoding.DecodeString(of)
	return encrypted, ok && err == nil && string(name) == model && encrypted != ""
}
