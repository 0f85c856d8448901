package codex

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

const mostToolName = 64 // characters, the backend's limit

// Names holds the tools' names that the backend does not take: its own short one -> the caller's.
type Names map[string]string

// Shorten returns a tool's name as the backend takes it, and remembers the caller's.
func (n Names) Shorten(name string) string {
	short := strings.Map(nameRune, name)
	if short == name && name != "" && len(name) <= mostToolName {
		return name
	}
	sum := sha256.Sum256([]byte(name))
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

// nameRune is r where the backend takes it in a name, and an underscore for others.
func nameRune(r rune) rune {
	if (r >= 'a' && r <= 'z') || (r >= 'A' && r <= 'Z') || (r >= '0' && r <= '9') || r == '_' || r == '-' {
		return r
	}
	return '_'
}
