package containerd

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// waitingFor is how many wait for the work of a name.
func (f *flights) waitingFor(name string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl := f.flying[name]; fl != nil {
		return fl.waiting
	}
	return 0
}

func TestFlightsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f flights
		want, begun := &image{name: "a"}, 0
		goOn := make(chan struct{})
		for range 5 {
			go func() {
				got, err := f.do(t.Context(), "a", nil, func(context.Context, *progress) (*image, error) {
					begun++
					<-goOn
					return want, nil
				})
				if got != want || err != nil {
					t.Error(got, err)
				}
			}()
		}
		synctest.Wait()
		close(goOn)
		synctest.Wait()
		if begun != 1 || len(f.flying) != 0 {
			t.Errorf("the work was begun %d times, and %d fly on", begun, len(f.flying))
		}
	})
}

func TestFlightsEndWithTheLastWaiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f flights
		ended := 0
		work := func(ctx context.Context, _ *progress) (*image, error) {
			<-ctx.Done()
			ended++
			return nil, ctx.Err()
		}
		one, endOne := context.WithCancel(t.Context())
		two, endTwo := context.WithCancel(t.Context())
		for _, ctx := range []context.Context{one, two} {
			go func() {
				if _, err := f.do(ctx, "a", nil, work); !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			}()
		}
		synctest.Wait()
		endOne()
		synctest.Wait()
		if ended != 0 {
			t.Error("the work ended while one waits for it")
		}
		endTwo()
		synctest.Wait()
		if ended != 1 {
			t.Error("the work goes on, and nobody waits for it")
		}
	})
}

func TestFlightsClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f flights
		go func() {
			_, err := f.do(t.Context(), "a", nil, func(ctx context.Context, _ *progress) (*image, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			})
			if err == nil {
				t.Error("closed, it succeeded")
			}
		}()
		synctest.Wait()
		f.close()
		if _, err := f.do(t.Context(), "a", nil, nil); !errors.Is(err, errClosed) {
			t.Errorf("after it was closed: %v", err)
		}
	})
}

func TestKeyedSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeyedSlots(2)
		var in, most atomic.Int32
		leave := make(chan struct{})
		for range 6 {
			go func() {
				giveBack, err := k.take(t.Context(), "a")
				if err != nil {
					t.Error(err)
				}
				most.Store(max(most.Load(), in.Add(1)))
				<-leave
				in.Add(-1)
				giveBack()
				giveBack() // does no more
			}()
		}
		for range 6 {
			synctest.Wait()
			leave <- struct{}{}
		}
		synctest.Wait()
		if most.Load() != 2 || len(k.slots) != 0 {
			t.Errorf("%d at a time, %d keys are left", most.Load(), len(k.slots))
		}
		one, _ := k.take(t.Context(), "a")
		two, _ := k.take(t.Context(), "a")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := k.take(ctx, "a"); !errors.Is(err, context.Canceled) {
			t.Errorf("a third, whose context is over: %v", err)
		}
		other, err := k.take(t.Context(), "b")
		if err != nil {
			t.Error(err)
		}
		one()
		two()
		other()
		if len(k.slots) != 0 {
			t.Errorf("%d keys are left", len(k.slots))
		}
	})
}
