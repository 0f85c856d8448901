package app

import "sync"

// Change says that State is another one.
type Change struct {
	// Show means that the user started the program again, to see where it is.
	Show bool
}

// changes tells who watches that there is something new. Each watcher has a channel of one: what it has not looked at
// yet stands for all that came since.
type changes struct {
	mu       sync.Mutex
	watchers map[chan Change]struct{}
}

// Watch returns a channel that receives after each change of State. It is not closed. Call cancel when done.
func (a *App) Watch() (changes <-chan Change, cancel func()) {
	c := &a.changes
	ch := make(chan Change, 1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watchers == nil {
		c.watchers = map[chan Change]struct{}{}
	}
	c.watchers[ch] = struct{}{}
	return ch, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.watchers, ch)
	}
}

// changed tells the watchers. It never waits.
func (a *App) changed(show bool) {
	c := &a.changes
	c.mu.Lock()
	defer c.mu.Unlock()
	for ch := range c.watchers {
		change := Change{Show: show}
		select {
		case waiting := <-ch:
			change.Show = change.Show || waiting.Show
		default:
		}
		ch <- change // there is room: only this sends, with mu held
	}
}
