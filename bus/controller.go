package bus

import (
	"context"
	"errors"
	"fmt"

	"headway.dev/headway/api"
	"headway.dev/headway/bus/internal/wire"
)

// State is all that the buckets hold, each ordered by name.
type State struct {
	Nodes       []api.NodeInfo
	Assignments []api.Assignment
	Routes      []api.Route
	// RouteRevision is that of Routes; 0 when they are not the whole table, so that what is missing says nothing.
	RouteRevision uint64
	// RouteTerm is the highest by which they were written; no leader of an earlier one may write them.
	RouteTerm api.Term
	Statuses  []api.NodeStatus
	Report    *api.Report // nil when there is none
}

// State reads what the buckets hold now. On a connection that keeps the buckets (see Keep), missing ones are made;
// otherwise they hold nothing.
func (c *Conn) State(ctx context.Context) (State, error) {
	if err := c.keeping.ensure(ctx, c, false); err != nil {
		return State{}, err
	}
	var s State
	var err error
	if s.Nodes, err = all(ctx, c, wire.Nodes, func(n api.NodeInfo) string { return n.Name }); err != nil {
		return State{}, err
	}
	assignments, err := c.assignments.readAll(ctx, c, wire.Assignments)
	if err != nil {
		return State{}, err
	}
	s.Assignments = decodeAll(c, assignments, func(a api.Assignment) string { return a.Node })
	if s.Statuses, err = all(ctx, c, wire.Statuses, nodeOfStatus); err != nil {
		return State{}, err
	}
	if err = c.readRoutes(ctx, &s); err != nil {
		return State{}, err
	}
	reports, err := c.reports.readAll(ctx, c, wire.Reports)
	if err != nil {
		return State{}, err
	}
	report, err := decodeReport(reports)
	switch {
	case err == nil:
		s.Report = &report
	case !errors.Is(err, ErrNotFound):
		return State{}, err
	}
	return s, nil
}

// all reads every value of a bucket.
func all[T any](ctx context.Context, c *Conn, bucket string, name func(T) string) ([]T, error) {
	entries, err := c.fetchBucket(ctx, bucket, wire.Any)
	if err != nil {
		return nil, err
	}
	return decodeAll(c, entries, name), nil
}

// readRoutes has the state know of the routes.
func (c *Conn) readRoutes(ctx context.Context, s *State) error {
	id, err := c.identify(ctx, wire.Stream(wire.Routes))
	if errors.Is(err, errNoStore) {
		c.routes.found(storeID{})
		return nil
	}
	if err != nil {
		return err
	}
	v := view{epoch: id.epoch, entries: map[string]entry{}, changed: map[string]struct{}{}}
	w := watcher{conn: c, bucket: wire.Routes, filter: wire.Any, view: &v}
	if err := w.read(ctx); err != nil {
		return err
	}
	c.routes.found(id)
	table := (&tableReader{conn: c}).table(&v)
	s.Routes, s.RouteRevision = table.Routes, table.Revision
	var m mark
	if closing, ok := v.entries[wire.MarkKey]; ok && decode(closing.header, closing.data, &m) == nil {
		s.RouteTerm = m.Term
	}
	return nil
}

// PutAssignment stores the complete set of pods of a node. It gives ErrOverwritten if somebody else has stored another since
// State was read.
func (c *Conn) PutAssignment(ctx context.Context, a api.Assignment) error {
	if err := checkName("node", a.Node); err != nil {
		return err
	}
	return c.assignments.put(ctx, c, wire.Assignments, a.Node, a)
}

// WatchAcks calls fn with each newest acknowledgement of each node, until ctx is done. An acknowledgement of routes that
// were in a store which is lost says nothing about those of this one, and is withheld.
func (c *Conn) WatchAcks(ctx context.Context, fn func(api.Ack)) error {
	var routes storeID
	return c.watch(ctx, wire.Acks, wire.Any, func(v *view) {
		for _, ack := range decodeAll(c, v.news(), func(a api.Ack) string { return a.Node }) {
			if v.fresh || ack.Revision > routes.epoch+routes.last {
				now, err := c.identify(ctx, wire.Stream(wire.Routes))
				if err != nil {
					c.log.Debug("an acknowledgement is left out: its routes cannot be found", "node", ack.Node, "error", err)
					c.notices.wake(wire.Stream(wire.Acks))
					continue
				}
				routes = now
			}
			if ack.Revision >= routes.epoch && ack.Revision <= routes.epoch+routes.last {
				fn(ack)
			}
		}
	})
}

// PutReport stores what the controller says of the whole.
func (c *Conn) PutReport(ctx context.Context, report api.Report) error {
	return c.reports.put(ctx, c, wire.Reports, wire.ReportKey, report)
}

// Report reads it; ErrNotFound when no controller has reported yet.
func (c *Conn) Report(ctx context.Context) (api.Report, error) {
	entries, err := c.fetchBucket(ctx, wire.Reports, wire.ReportKey)
	if err != nil {
		return api.Report{}, err
	}
	return decodeReport(entries)
}

func decodeReport(entries map[string]entry) (api.Report, error) {
	e, ok := entries[wire.ReportKey]
	if !ok {
		return api.Report{}, fmt.Errorf("no controller has reported yet: %w", ErrNotFound)
	}
	var report api.Report
	return report, decode(e.header, e.data, &report)
}

// WatchReport calls fn with each newest report, until ctx is done.
func (c *Conn) WatchReport(ctx context.Context, fn func(api.Report)) error {
	return watchValues(ctx, c, wire.Reports, wire.ReportKey, func(api.Report) string { return wire.ReportKey }, fn)
}
