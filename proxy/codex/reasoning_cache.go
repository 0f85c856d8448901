package codex

import (
	"encoding/json"
	"time"

	"github.com/jellydator/ttlcache/v3"
)

// ReasoningCache keeps, for a short while, the reasoning that led to a tool call. Most dialects have no place for it, and
// without it the model starts to think anew at each step of a tool run. Bounded by count, bytes and age; in memory
// only. Safe for concurrent use.
type ReasoningCache struct {
	cache *ttlcache.Cache[string, []json.RawMessage]
}

const (
	reasoningAge   = 30 * time.Minute
	reasoningCount = 2048
	reasoningBytes = 16 << 20
)

// NewReasoningCache returns an empty memory.
func NewReasoningCache() *ReasoningCache {
	return &ReasoningCache{ttlcache.New(
		ttlcache.WithTTL[string, []json.RawMessage](reasoningAge),
		ttlcache.WithCapacity[string, []json.RawMessage](reasoningCount),
		ttlcache.WithMaxCost(reasoningBytes, func(i ttlcache.CostItem[string, []json.RawMessage]) uint64 {
			n := uint64(len(i.Key))
			for _, item := range i.Value {
				n += uint64(len(item))
			}
			return n
		}),
		ttlcache.WithDisableTouchOnHit[string, []json.RawMessage](),
	)}
}

// Keep remembers the reasoning items before a call of a model's.
func (t *ReasoningCache) Keep(model, callID string, items []json.RawMessage) {
	if len(items) > 0 {
		t.cache.Set(model+"\x00"+callID, items, ttlcache.DefaultTTL)
	}
}

// Before returns the reasoning items to send back ahead of a call; nil when there are none. Another model can't read
// them.
func (t *ReasoningCache) Before(model, callID string) []json.RawMessage {
	item := t.cache.Get(model + "\x00" + callID)
	if item == nil {
		return nil
	}
	return item.Value()
}
