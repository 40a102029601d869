package containerd

import (
	"context"
	"sync"
)

// keyedSlots let at most so many at a time do something with what a key names; one at a time is a lock.
type keyedSlots struct {
	size int

	mu    sync.Mutex
	slots map[string]*slots
}

type slots struct {
	taken chan struct{} // a token for each that is taken
	users int           // how many have one or wait for one
}

func newKeyedSlots(size int) *keyedSlots { return &keyedSlots{size: size, slots: map[string]*slots{}} }

// take waits for a slot and returns what gives it back, which may be called more than once.
func (k *keyedSlots) take(ctx context.Context, key string) (giveBack func(), err error) {
	k.mu.Lock()
	s := k.slots[key]
	if s == nil {
		s = &slots{taken: make(chan struct{}, k.size)}
		k.slots[key] = s
	}
	s.users++
	k.mu.Unlock()
	select {
	case s.taken <- struct{}{}:
		return sync.OnceFunc(func() { <-s.taken; k.leave(key, s) }), nil
	case <-ctx.Done():
		k.leave(key, s)
		return nil, ctx.Err()
	}
}

func (k *keyedSlots) leave(key string, s *slots) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if s.users--; s.users == 0 {
		delete(k.slots, key)
	}
}
