package containerd

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/errdefs"
)

// A roster remembers which containers each pod has, as far as records of them were seen or made: a superset of those that there
// are. containerd would read the records of all containers to find those of one pod.
type roster struct {
	mu    sync.Mutex
	whole bool                       // all records were read once
	pods  map[string]map[string]bool // by UID: the IDs
	owner map[string]string          // by ID: the UID
}

func newRoster() *roster {
	return &roster{pods: map[string]map[string]bool{}, owner: map[string]string{}}
}

// add notes a container whose record is about to be made.
func (r *roster) add(uid, id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note(uid, id)
}

func (r *roster) note(uid, id string) {
	if r.pods[uid] == nil {
		r.pods[uid] = map[string]bool{}
	}
	r.pods[uid][id] = true
	r.owner[id] = uid
}

// take notes all records that there were.
func (r *roster) take(records []containers.Container) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, record := range records {
		if uid := record.Labels[labelUID]; uid != "" {
			r.note(uid, record.ID)
		}
	}
	r.whole = true
}

// drop forgets a container that is gone. No other ever has its ID.
func (r *roster) drop(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	uid := r.owner[id]
	delete(r.owner, id)
	if delete(r.pods[uid], id); len(r.pods[uid]) == 0 {
		delete(r.pods, uid)
	}
}

// of gives the containers that a pod may have, ordered; and whether there can be no others.
func (r *roster) of(uid string) (ids []string, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.pods[uid])), r.whole
}

// records reads those of all of headway's containers.
func (r *Runtime) records(ctx context.Context) ([]containers.Container, error) {
	all, err := r.client.ContainerService().List(ctx, fmt.Sprintf("labels.%q", labelUID))
	if err == nil {
		r.roster.take(all)
	}
	return all, err
}

// recordsOf reads those of a pod's containers, ordered by ID.
func (r *Runtime) recordsOf(ctx context.Context, uid string) ([]containers.Container, error) {
	ids, known := r.roster.of(uid)
	if !known {
		if _, err := r.records(ctx); err != nil {
			return nil, err
		}
		ids, _ = r.roster.of(uid)
	}
	making := r.busy.all()
	var all []containers.Container
	for _, id := range ids {
		switch record, err := r.client.ContainerService().Get(ctx, id); {
		case errdefs.IsNotFound(err):
			if !making[id] { // else it is noted, and its record not made yet
				r.roster.drop(id)
			}
		case err != nil:
			return nil, err
		default:
			all = append(all, record)
		}
	}
	return all, nil
}
