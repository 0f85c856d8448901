package codex

import (
	"encoding/json"
	"time"

	"github.com/jellydator/ttlcache/v3"
)

// Thoughts keeps, for a short while, the reasoning that led to a tool call. Most dialects have no place for it, and
// without it the model starts to think anew at each step of a tool run. Bounded by count, bytes and age; in memory
// only. Safe for concurrent use.
type Thoughts struct {
	cache *ttlcache.Cache[string, []json.RawMessage]
}

const (
	thoughtsAge   = 30 * time.Minute
	thoughtsCount = 2048
	thoughtsBytes = 16 << 20
)

// NewThoughts returns an empty memory.
func NewThoughts() *Thoughts {
	return &Thoughts{ttlcache.New(
		ttlcache.WithTTL[string, []json.RawMessage](thoughtsAge),
		ttlcache.WithCapacity[string, []json.RawMessage](thoughtsCount),
		ttlcache.WithMaxCost(thoughtsBytes, func(i ttlcache.CostItem[string, []json.RawMessage]) uint64 {
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
func (t *Thoughts) Keep(model, callID string, items []json.RawMessage) {
	if len(items) > 0 {
		t.cache.Set(model+"\x00"+callID, items, ttlcache.DefaultTTL)
	}
}

// Before returns the reasoning items to send back ahead of a call; nil when there are none. Another model can't read
// them.
func (t *Thoughts) Before(model, callID string) []json.RawMessage {
	item := t.cache.Get(model + "\x00" + callID)
	if item == nil {
		return nil
	}
	return item.Value()
}
