// Package expiring is a cache that is bounded by age, count and bytes, and gives entries back when their time is over,
// also when nobody asks for anything any more.
package expiring

import (
	"strings"
	"sync"
	"time"

	"github.com/jellydator/ttlcache/v3"
)

// Limits bound a cache. The entry used longest ago goes first.
type Limits struct {
	Age   time.Duration // since an entry was set, or got last
	Count int
	Bytes int // of what size counts
}

// Cache holds values by their keys, in memory only. Safe for concurrent use. It has no goroutine of its own: a timer
// runs for as long as there are entries.
type Cache[V any] struct {
	entries *ttlcache.Cache[string, V]
	limits  Limits
	size    func(V) int

	mu    sync.Mutex
	sweep *time.Timer // nil while there is nothing to be swept
}

// New returns an empty cache. size is how many bytes a value takes.
func New[V any](limits Limits, size func(V) int) *Cache[V] {
	return &Cache[V]{limits: limits, size: size, entries: ttlcache.New(
		ttlcache.WithTTL[string, V](limits.Age),
		ttlcache.WithCapacity[string, V](uint64(limits.Count)),
		ttlcache.WithMaxCost(uint64(limits.Bytes), func(i ttlcache.CostItem[string, V]) uint64 {
			return uint64(len(i.Key) + size(i.Value))
		}),
	)}
}

// Set keeps a value. One that is larger than all that the cache may hold is not kept, and drives nothing else out.
func (c *Cache[V]) Set(key string, value V) {
	if len(key)+c.size(value) > c.limits.Bytes {
		c.entries.Delete(key)
		return
	}
	c.entries.Set(key, value, ttlcache.DefaultTTL)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sweep == nil {
		c.sweep = time.AfterFunc(c.limits.Age, c.expire)
	}
}

// expire gives back what is too old, and comes again as long as there is something.
func (c *Cache[V]) expire() {
	c.entries.DeleteExpired()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.Len() == 0 {
		c.sweep = nil
		return
	}
	c.sweep = time.AfterFunc(c.limits.Age/8, c.expire)
}

// Get returns the value of a key.
func (c *Cache[V]) Get(key string) (value V, ok bool) {
	if item := c.entries.Get(key); item != nil {
		return item.Value(), true
	}
	return value, false
}

// Delete forgets a key.
func (c *Cache[V]) Delete(key string) { c.entries.Delete(key) }

// DeletePrefix forgets every key that begins so.
func (c *Cache[V]) DeletePrefix(prefix string) {
	for _, key := range c.entries.Keys() {
		if strings.HasPrefix(key, prefix) {
			c.entries.Delete(key)
		}
	}
}

// Len is how many entries are in memory, also those whose time is over.
func (c *Cache[V]) Len() int {
	m := c.entries.Metrics()
	return int(m.Insertions - m.Evictions)
}
