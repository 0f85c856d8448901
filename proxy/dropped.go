package proxy

import (
	"maps"
	"sync"

	"codex-proxy/proxy/codex"
)

// dropCounter counts what was dropped, by client and parameter. It is bounded: clients beyond the first come under
// "other". Safe for concurrent use.
type dropCounter struct {
	mu     sync.Mutex
	counts map[string]map[string]int
}

const (
	countedClients = 50
	countedParams  = 100
)

func (d *dropCounter) add(client string, dropped codex.Dropped) {
	if dropped.Empty() {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.counts == nil {
		d.counts = map[string]map[string]int{}
	}
	if d.counts[client] == nil && len(d.counts) >= countedClients {
		client = "other"
	}
	if d.counts[client] == nil {
		d.counts[client] = map[string]int{}
	}
	for _, param := range dropped.Names {
		if counts := d.counts[client]; counts[param] > 0 || len(counts) < countedParams {
			counts[param]++
		}
	}
}

// snapshot returns a copy.
func (d *dropCounter) snapshot() map[string]map[string]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make(map[string]map[string]int, len(d.counts))
	for client, counts := range d.counts {
		out[client] = maps.Clone(counts)
	}
	return out
}
