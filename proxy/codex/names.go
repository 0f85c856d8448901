package codex

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
)

const mostToolName = 64 // characters, the backend's limit

var (
	validName    = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)
	invalidChars = regexp.MustCompile(`[^a-zA-Z0-9_-]`)
)

// Names holds the tools' names that the backend does not take: its own short one -> the caller's.
type Names map[string]string

// Shorten returns a tool's name as the backend takes it, and remembers the caller's.
func (n Names) Shorten(name string) string {
	if validName.MatchString(name) {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	short := invalidChars.ReplaceAllString(name, "_")
	tail := "_" + hex.EncodeToString(sum[:4])
	short = short[:min(len(short), mostToolName-len(tail))] + tail
	n[short] = name
	return short
}

// Original is the caller's name of a tool.
func (n Names) Original(name string) string {
	if long, ok := n[name]; ok {
		return long
	}
	return name
}
