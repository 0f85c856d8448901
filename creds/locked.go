package creds

import "sync"

// locked is a value behind a mutex.
type locked[T any] struct {
	mu    sync.Mutex
	value T
}

func (l *locked[T]) get() T {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.value
}

func (l *locked[T]) set(v T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.value = v
}
