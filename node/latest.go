package node

import (
	"context"
	"sync"
	"time"
)

// A signal wakes one goroutine; several in a row are one.
type signal chan struct{}

func newSignal() signal { return make(signal, 1) }

func (s signal) set() {
	select {
	case s <- struct{}{}:
	default:
	}
}

func (s signal) clear() {
	select {
	case <-s:
	default:
	}
}

// latest holds the newest of the levels that were put, until it is taken.
type latest[T any] struct {
	wake signal

	mu    sync.Mutex
	value T
	full  bool
}

func newLatest[T any]() *latest[T] { return &latest[T]{wake: newSignal()} }

func (l *latest[T]) put(value T) {
	l.mu.Lock()
	l.value, l.full = value, true
	l.mu.Unlock()
	l.wake.set()
}

func (l *latest[T]) take() (T, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	value, full := l.value, l.full
	var none T
	l.value, l.full = none, false
	return value, full
}

// each applies what is put, one at a time, until ctx is done. A level that cannot be applied is tried again until it
// can, or until there is a newer one.
func (l *latest[T]) each(ctx context.Context, apply func(context.Context, T) error, report func(error)) {
	var current T
	var retry <-chan time.Time
	failures := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.wake:
			value, full := l.take()
			if !full {
				continue
			}
			current, failures = value, 0
		case <-retry:
		}
		retry = nil
		if err := apply(ctx, current); err != nil && ctx.Err() == nil {
			failures++
			report(err)
			retry = time.After(stepSchedule.after(failures))
		}
	}
}
