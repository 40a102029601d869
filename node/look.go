package node

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A look lists containers whenever something may have changed: those of one pod, where that is known, since to list all has
// every shim of the machine asked; or else all, once for all pods. Looks are numbered as they begin: what a pod did before a
// look of a higher number began, that look shows.
type look struct {
	runtime Runtime
	begun   atomic.Uint64
	wake    signal

	mu     sync.Mutex
	wanted map[string]bool   // the pods that are to be looked at, by UID; everyPod is all
	owners map[string]string // the pods of the containers that were seen, by ID
}

// everyPod stands for all pods in the place of a UID.
const everyPod = ""

// A listing is what one look saw.
type listing struct {
	number     uint64
	pod        string // whose containers they are: a UID, or everyPod
	containers []Container
}

func newLook(r Runtime) *look {
	return &look{runtime: r, wake: newSignal(), wanted: map[string]bool{}, owners: map[string]string{}}
}

// number is that of the newest look that has begun.
func (l *look) number() uint64 { return l.begun.Load() }

// want asks for a look at the pod's containers, or at those of everyPod.
func (l *look) want(pod string) {
	l.mu.Lock()
	l.wanted[pod] = true
	l.mu.Unlock()
	l.wake.set()
}

// ended asks for a look at what a container belongs to that has ended; at all, if that is not known.
func (l *look) ended(id string) {
	l.mu.Lock()
	pod := l.owners[id] // everyPod, if it is not among them
	l.mu.Unlock()
	l.want(pod)
}

// met notes whose a container is before any look has seen it.
func (l *look) met(id, pod string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.owners[id] = pod
}

// take gives the pods that are to be looked at. A look at all is one at each.
func (l *look) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	wanted := slices.Sorted(maps.Keys(l.wanted))
	clear(l.wanted)
	if len(wanted) > 0 && wanted[0] == everyPod {
		return wanted[:1]
	}
	return wanted
}

// at looks at a pod's containers, or at those of everyPod, at once.
func (l *look) at(ctx context.Context, pod string) (listing, error) {
	seen := listing{number: l.begun.Add(1), pod: pod}
	var err error
	if pod == everyPod {
		seen.containers, err = l.runtime.Containers(ctx)
	} else {
		seen.containers, err = l.runtime.ContainersOf(ctx, pod)
	}
	if err != nil {
		return seen, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if pod == everyPod {
		clear(l.owners)
	}
	for _, c := range seen.containers {
		l.owners[c.ID] = c.PodUID
	}
	return seen, nil
}

// run looks whenever it is wanted and hands on what it saw, until ctx is done.
func (l *look) run(ctx context.Context, tell func(listing), report func(error, time.Duration)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.wake:
		}
		for _, pod := range l.take() {
			var seen listing
			if persist(ctx, stepSchedule, report, func(ctx context.Context) (err error) {
				seen, err = l.at(ctx, pod)
				return err
			}) != nil {
				return
			}
			tell(seen)
		}
	}
}
