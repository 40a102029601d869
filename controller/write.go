package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"headway.dev/headway/api"
)

// write carries out the effects, in their order, and tells the state what came of each. One that fails keeps none of the
// others back but those that need it; the next pass has it again.
func (l *leader) write(ctx context.Context, e effects) error {
	var errs []error
	failed := map[api.Digest]bool{}
	for _, b := range e.blobs {
		if slices.ContainsFunc(b.names, func(d api.Digest) bool { return failed[d] }) {
			failed[b.digest] = true
			continue
		}
		if err := l.config.Bus.PutBlob(ctx, b.digest, b.data); err != nil {
			failed[b.digest] = true
			errs = append(errs, fmt.Errorf("blob %s (%d bytes): %w", b.digest.Short(), len(b.data), err))
			continue
		}
		l.state.blobWritten(b.digest)
	}
	for _, a := range l.state.lostFirst(e.assignments) {
		a.Pods = slices.DeleteFunc(a.Pods, func(p api.Placement) bool {
			return slices.ContainsFunc(e.needs[p.UID], func(d api.Digest) bool { return failed[d] })
		})
		for i := range a.Pods {
			f := e.formers[a.Pods[i].UID]
			if slices.ContainsFunc(f.until, func(d api.Digest) bool { return failed[d] }) {
				a.Pods[i].Live = f.live
			}
		}
		if err := l.config.Bus.PutAssignment(ctx, a); err != nil {
			l.state.assignmentFailed(a)
			errs = append(errs, fmt.Errorf("assignment of node %s: %w", a.Node, err))
			if l.state.nodes[a.Node].lost {
				break // what it loses is not given to others before it is known that it has lost it
			}
			continue
		}
		l.state.assignmentWritten(a)
	}
	errs = append(errs, l.writeRoutes(ctx, e.routes))
	return errors.Join(errs...)
}

// lostFirst puts the assignments of lost nodes before the others: what is replaced leaves them first, so that a leader that
// dies in between leaves nothing with two owners.
func (s *state) lostFirst(assignments []api.Assignment) []api.Assignment {
	slices.SortStableFunc(assignments, func(a, b api.Assignment) int {
		return first(s.nodes[a.Node].lost, s.nodes[b.Node].lost)
	})
	return assignments
}

// writeRoutes writes what changes of the routes, and once in a term that they are complete.
func (l *leader) writeRoutes(ctx context.Context, c routeChange) error {
	if !c.empty() {
		revision, err := l.config.Bus.PutRoutes(ctx, l.state.term, c.changed, c.deleted)
		if err != nil {
			l.state.routes.failed(c)
			return fmt.Errorf("routes: %w", err)
		}
		l.state.routesWritten(c, revision)
	}
	if c.complete {
		if err := l.config.Bus.CompleteRoutes(ctx, l.state.term); err != nil {
			return fmt.Errorf("completing the routes: %w", err)
		}
		l.state.routes.complete = true
	}
	if !l.state.routes.partial || !l.state.routes.complete {
		return nil
	}
	// Nodes follow the whole table from now on; a change of nothing tells as of which revision.
	revision, err := l.config.Bus.PutRoutes(ctx, l.state.term, nil, nil)
	if err != nil {
		return fmt.Errorf("revision of the routes: %w", err)
	}
	l.state.routesWhole(revision)
	return nil
}
