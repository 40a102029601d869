package node

import (
	"context"
	"sync/atomic"
	"time"
)

// A look lists all containers whenever something may have changed, once for all pods. Looks are numbered as they begin:
// what a pod did before a look of a higher number began, that look shows.
type look struct {
	runtime Runtime
	wanted  signal
	begun   atomic.Uint64
}

// A listing is what one look saw.
type listing struct {
	number     uint64
	containers []Container
}

func newLook(r Runtime) *look { return &look{runtime: r, wanted: newSignal()} }

// number is that of the newest look that has begun.
func (l *look) number() uint64 { return l.begun.Load() }

// now looks at once.
func (l *look) now(ctx context.Context) (listing, error) {
	number := l.begun.Add(1)
	containers, err := l.runtime.Containers(ctx)
	return listing{number, containers}, err
}

// run looks whenever it is wanted and hands on what it saw, until ctx is done.
func (l *look) run(ctx context.Context, tell func(listing), report func(error, time.Duration)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.wanted:
		}
		var seen listing
		if persist(ctx, stepSchedule, report, func(ctx context.Context) (err error) {
			seen, err = l.now(ctx)
			return err
		}) == nil {
			tell(seen)
		}
	}
}
