package containerd

import (
	"context"
	"errors"
	"sync"
	"time"

	"headway.dev/headway/api"
)

// flights let those who want the same thing at the same time share the work. The work has a context of its own, which
// ends when nobody waits for it any more. The zero value is ready.
type flights struct {
	mu      sync.Mutex
	flying  map[string]*flight
	running sync.WaitGroup
	closed  bool
	slots   chan struct{}
}

// pullsAtOnce bounds how many images come at the same time: more only makes each of them slower.
const pullsAtOnce = 4

// take waits until an image may be pulled, and giveBack lets the next one.
func (f *flights) take(ctx context.Context) error {
	f.mu.Lock()
	if f.slots == nil {
		f.slots = make(chan struct{}, pullsAtOnce)
	}
	slots := f.slots
	f.mu.Unlock()
	select {
	case slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *flights) giveBack() { <-f.slots }

// progressInterval is how often those who wait are told how far the work is.
const progressInterval = time.Second

type flight struct {
	progress *progress
	cancel   context.CancelFunc
	waiting  int
	done     chan struct{} // closed when result and err are set
	result   *image
	err      error
}

var errClosed = errors.New("the runtime is closed")

// do returns the result of work for a name: its own, or that of a call under way. It tells how far that is, if it is
// asked to.
func (f *flights) do(ctx context.Context, name string, tell func(api.PullProgress), work func(context.Context, *progress) (*image, error)) (*image, error) {
	fl, err := f.join(ctx, name, work)
	if err != nil {
		return nil, err
	}
	var tick <-chan time.Time
	if tell != nil {
		ticker := time.NewTicker(progressInterval)
		defer ticker.Stop()
		tick = ticker.C
		tell(fl.progress.now())
	}
	for {
		select {
		case <-fl.done:
			return fl.result, fl.err
		case <-tick:
			tell(fl.progress.now())
		case <-ctx.Done():
			f.leave(name, fl)
			return nil, ctx.Err()
		}
	}
}

func (f *flights) join(ctx context.Context, name string, work func(context.Context, *progress) (*image, error)) (*flight, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, errClosed
	}
	if fl := f.flying[name]; fl != nil {
		fl.waiting++
		return fl, nil
	}
	if f.flying == nil {
		f.flying = map[string]*flight{}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	fl := &flight{progress: newProgress(), cancel: cancel, waiting: 1, done: make(chan struct{})}
	f.flying[name] = fl
	f.running.Go(func() {
		fl.result, fl.err = work(ctx, fl.progress)
		cancel()
		f.mu.Lock()
		f.forget(name, fl)
		f.mu.Unlock()
		close(fl.done)
	})
	return fl, nil
}

// leave is called by one who waits no longer. The last one ends the work; whoever comes after that begins anew.
func (f *flights) leave(name string, fl *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl.waiting--; fl.waiting == 0 {
		fl.cancel()
		f.forget(name, fl)
	}
}

func (f *flights) forget(name string, fl *flight) {
	if f.flying[name] == fl {
		delete(f.flying, name)
	}
}

// close ends all work and waits for it.
func (f *flights) close() {
	f.mu.Lock()
	f.closed = true
	for _, fl := range f.flying {
		fl.cancel()
	}
	f.mu.Unlock()
	f.running.Wait()
}
