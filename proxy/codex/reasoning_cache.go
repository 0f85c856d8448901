package codex

import (
	"encoding/json"
	"time"

	"codex-proxy/proxy/expiring"
)

// ReasoningCache keeps, for a short while, the reasoning that led to a tool call. Most dialects have no place for it,
// and without it the model starts to think anew at each step of a tool run. Bounded by count, bytes and age; in memory
// only. Safe for concurrent use.
type ReasoningCache struct {
	items *expiring.Cache[[]json.RawMessage]
}

// NewReasoningCache returns an empty cache.
func NewReasoningCache() *ReasoningCache {
	return &ReasoningCache{expiring.New(expiring.Limits{Age: 30 * time.Minute, Count: 2048, Bytes: 16 << 20}, func(items []json.RawMessage) (n int) {
		for _, item := range items {
			n += len(item)
		}
		return n
	})}
}

// Keep remembers the reasoning items before a call of a model's.
func (c *ReasoningCache) Keep(model, callID string, items []json.RawMessage) {
	if len(items) > 0 {
		c.items.Set(model+"\x00"+callID, items)
	}
}

// Before returns the reasoning items to send back ahead of a call; nil when there are none. Another model can't read
// them.
func (c *ReasoningCache) Before(model, callID string) []json.RawMessage {
	items, _ := c.items.Get(model + "\x00" + callID)
	return items
}
