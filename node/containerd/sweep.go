package containerd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/defaults"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// A daemon that is killed leaves half made what it was about, and containerd may still carry out what it had asked for when
// the next daemon has looked already. So there is no last look: sweeps follow each other, soon after something half made was
// found, and ever more rarely as long as nothing is.
const (
	sweepFirst = 100 * time.Millisecond
	sweepMost  = time.Minute
	// settleTime is how long containerd may be busy with what a killed daemon has asked for, for one who cannot wait for
	// longer.
	settleTime = 3 * time.Second
)

// sweeps is when there were any, and are to be.
type sweeps struct {
	wake chan struct{} // holds one when the next sweep is to be soon

	mu    sync.Mutex
	found time.Time // when something half made was last found; zero: never
}

func newSweeps() *sweeps { return &sweeps{wake: make(chan struct{}, 1)} }

// foundSome notes that something half made was found: more may come of it.
func (s *sweeps) foundSome() {
	s.mu.Lock()
	s.found = time.Now()
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *sweeps) foundSince(t time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.found.After(t)
}

// busy are the containers that this daemon is just making or starting, by their IDs: what there is of them is no leftover.
// The zero value is ready.
type busy struct {
	mu  sync.Mutex
	ids map[string]int
}

// begin notes that there is work on a container until it is ended.
func (b *busy) begin(id string) (end func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ids == nil {
		b.ids = map[string]int{}
	}
	b.ids[id]++
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.ids[id]--; b.ids[id] == 0 {
			delete(b.ids, id)
		}
	}
}

func (b *busy) all() map[string]bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make(map[string]bool, len(b.ids))
	for id := range b.ids {
		all[id] = true
	}
	return all
}

// Run clears away what comes about late of what daemons had asked for that were killed, until ctx is done. There is one at a
// time for a namespace.
func (r *Runtime) Run(ctx context.Context) error {
	for wait := sweepFirst; ; wait = min(2*wait, sweepMost) {
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-r.sweeps.wake:
			timer.Stop()
			wait = sweepFirst / 2
			continue
		case <-timer.C:
		}
		if err := r.sweep(r.scope(ctx)); err != nil && ctx.Err() == nil {
			r.options.Logger.WarnContext(ctx, "what an earlier daemon left half made cannot all be cleared away; it is tried again", "error", err)
		}
	}
}

// settle sweeps until containerd can hardly have anything under way any more that a killed daemon has asked for.
func (r *Runtime) settle(ctx context.Context) error {
	for wait := sweepFirst; r.sweeps.foundSince(time.Now().Add(-settleTime)); wait *= 2 {
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
		if err := r.sweep(ctx); err != nil {
			return err
		}
	}
	return nil
}

// sweep clears away what has no record, and records of what never came to be.
//
// A container's record is made before its task and its shim, and deleted after them. So what is listed before the records
// and belongs to none of them is left over. Only its snapshot and its secrets are there before the record: those of
// containers that this daemon is just making are left alone.
func (r *Runtime) sweep(ctx context.Context) error {
	seen, err := r.traces(ctx)
	if err != nil {
		return fmt.Errorf("look for what is half made: %w", err)
	}
	known := r.busy.all()
	records, err := r.client.ContainerService().List(ctx)
	if err != nil {
		return fmt.Errorf("look for what is half made: %w", err)
	}
	for _, record := range records {
		// A shim is of the container that it was started for, also when only others are left of that pod.
		known[record.ID], known[record.SnapshotKey], known[record.Labels[labelGroup]] = true, true, true
	}
	var failed []error
	for _, record := range records {
		if err := r.finish(ctx, record); err != nil {
			failed = append(failed, fmt.Errorf("half-made container %s: %w", record.ID, err))
		}
	}
	for _, t := range seen {
		if known[t.id] {
			continue
		}
		if err := t.clear(ctx); err != nil {
			failed = append(failed, fmt.Errorf("%s of container %s, of which there is no record: %w", t.what, t.id, err))
		}
	}
	return errors.Join(append(failed, r.dropLeases(ctx))...)
}

// A trace is what there is of a container beside its record.
type trace struct {
	what, id string
	clear    func(context.Context) error
}

// traces lists what there is of containers, in the order in which it can be cleared away.
func (r *Runtime) traces(ctx context.Context) ([]trace, error) {
	var all []trace
	list, err := r.client.TaskService().List(ctx, &tasks.ListTasksRequest{})
	if err != nil {
		return nil, errgrpc.ToNative(err)
	}
	for _, t := range list.Tasks {
		all = append(all, trace{"task", t.ID, func(ctx context.Context) error { return r.discardTask(ctx, t.ID) }})
	}
	shims, err := r.shims()
	if err != nil {
		return nil, err
	}
	for _, s := range shims {
		all = append(all, trace{"shim", s.id, func(ctx context.Context) error { return r.endShim(ctx, s) }})
	}
	service := r.client.SnapshotService(r.options.Snapshotter)
	err = service.Walk(ctx, func(_ context.Context, info snapshots.Info) error {
		if info.Kind == snapshots.KindActive && info.Labels[labelRoot] != "" {
			all = append(all, trace{"snapshot", info.Name, func(ctx context.Context) error {
				return ignoreNotFound(service.Remove(ctx, info.Name))
			}})
		}
		return nil
	})
	if err = ignoreNotFound(err); err != nil {
		return nil, err
	}
	sealed, err := r.sealed.kept()
	for _, id := range sealed {
		all = append(all, trace{"secrets", id, func(context.Context) error { return r.sealed.forget(id) }})
	}
	return all, err
}

// finish does what a daemon that was killed has left undone for a container without a note of its start: it makes the note
// if the container was started, and discards it if it has no task.
func (r *Runtime) finish(ctx context.Context, record containers.Container) error {
	if record.Labels[labelLeftover] != "" {
		return r.discard(ctx, record.ID)
	}
	if record.Labels[labelUID] == "" || record.Labels[labelStarted] != "" {
		return nil
	}
	unlock, err := r.pods.take(ctx, record.Labels[labelUID])
	if err != nil {
		return err
	}
	defer unlock()
	t, err := r.task(ctx, record.ID)
	switch {
	case err != nil:
		return err
	case t == nil:
		return r.discardUnstarted(ctx, record)
	case t.Status == task.Status_RUNNING || t.Status == task.Status_STOPPED:
		if r.busy.all()[record.ID] {
			return nil // it is just being made
		}
		return ignoreNotFound(r.markStarted(ctx, record.ID, record.CreatedAt))
	}
	return nil
}

// discardTask deletes a task of which there is no record. containerd deletes none of these, so it gets one for that.
func (r *Runtime) discardTask(ctx context.Context, id string) error {
	spec, err := typeurl.MarshalAny(&specs.Spec{})
	if err != nil {
		return err
	}
	_, err = r.client.ContainerService().Create(ctx, containers.Container{
		ID: id, Labels: map[string]string{labelLeftover: "true"}, Spec: spec,
		Runtime: containers.RuntimeInfo{Name: defaults.DefaultRuntime},
	})
	if err != nil && !errdefs.IsAlreadyExists(err) {
		return err
	}
	return r.discard(ctx, id)
}
