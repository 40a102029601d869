package sim

import (
	"context"
	"fmt"
	"maps"
	"time"

	"headway.dev/headway/api"
)

// A routeWriter is what a connection has written to the routes, so that a change costs no reading: as in package bus.
type routeWriter struct {
	epoch, last uint64
	keys        map[api.Ref]bool
	mark        routeMark
	whole       bool
	base        storePoint // how the routes were when they were read or last written
}

// settle takes in what a write came to. How far one came that failed is read the next time.
func (w *routeWriter) settle(err error) error {
	w.base.seq, w.base.doubtful = w.last, err != nil
	if err != nil {
		w.epoch = 0
	}
	return err
}

// PutRoutes stores the routes that changed and removes those that are gone, and closes the change with a mark, in as many
// steps as the real one takes. Any of them may fail, and leave the table half changed.
func (c *conn) PutRoutes(ctx context.Context, term api.Term, changed []api.Route, deleted []api.Ref) (revision uint64, err error) {
	w := &c.routes
	if err := c.catchUp(ctx, term); err != nil {
		return 0, fmt.Errorf("put routes: %w", err)
	}
	n := 0
	for _, r := range changed {
		w.keys[r.Service] = true
		n++
	}
	gone := deleted[:0:0]
	for _, ref := range deleted {
		if w.keys[ref] {
			delete(w.keys, ref)
			gone = append(gone, ref)
			n++
		}
	}
	if n == 0 && w.mark.term == term {
		return w.epoch + w.last, nil
	}
	if n > 0 {
		err = c.publishRoutes(ctx, changed, gone)
	}
	if err == nil && w.whole {
		err = c.putMark(ctx, term)
	}
	if err := w.settle(err); err != nil {
		return 0, fmt.Errorf("put routes: %w", err)
	}
	return w.epoch + w.last, nil
}

// CompleteRoutes says that the bucket holds the whole table.
func (c *conn) CompleteRoutes(ctx context.Context, term api.Term) error {
	w := &c.routes
	if err := c.catchUp(ctx, term); err != nil {
		return fmt.Errorf("complete the routes: %w", err)
	}
	if w.whole && w.mark.term == term {
		return nil
	}
	if err := w.settle(c.putMark(ctx, term)); err != nil {
		return fmt.Errorf("complete the routes: %w", err)
	}
	return nil
}

// catchUp reads the bucket unless it is as this connection left it, and refuses a leader that has been followed.
func (c *conn) catchUp(ctx context.Context, term api.Term) error {
	w := &c.routes
	var now routeWriter
	err := c.call(ctx, "read routes", func() error {
		s := c.world.store
		now = routeWriter{epoch: s.epochs[inRoutes], last: s.routeSeq, mark: s.mark, keys: map[api.Ref]bool{}}
		for ref := range s.routes {
			now.keys[ref] = true
		}
		now.whole = s.mark.seq != 0 && s.mark.seq == s.routeSeq && s.mark.count == len(s.routes)
		return nil
	})
	if err != nil {
		return err
	}
	base := w.base
	if now.epoch != w.epoch || now.last != w.last {
		*w = now
		w.base = base
	}
	if w.mark.term > term {
		return fmt.Errorf("%w: term %d, and this is term %d", errStaleTerm, w.mark.term, term)
	}
	if !base.allows(now.epoch, now.last) {
		return errOverwritten
	}
	w.keys = maps.Clone(w.keys)
	return nil
}

// publishRoutes stores the messages of a change, one after the other: when it fails, some may be there.
func (c *conn) publishRoutes(ctx context.Context, changed []api.Route, deleted []api.Ref) error {
	last, epoch := c.routes.last, c.routes.epoch
	err := c.call(ctx, "write routes", func() error {
		s, n := c.world.store, len(changed)+len(deleted)
		if s.routeSeq != last || s.epochs[inRoutes] != epoch {
			return errOverwritten
		}
		d := c.world.chance.roll("half a change " + c.name)
		done := n
		if d.percent(c.world.weather.lost) {
			done = d.in(n + 1)
		}
		for i := range done {
			s.routeSeq++
			if i < len(changed) {
				s.routes[changed[i].Service] = changed[i]
			} else {
				delete(s.routes, deleted[i-len(changed)])
			}
		}
		last = s.routeSeq
		c.world.wrote(c, "routes: %d of %d changes, %s", done, n, describeRoutes(changed, deleted))
		c.world.routed()
		if done < n {
			return errUnanswered
		}
		return nil
	})
	if err == nil {
		c.routes.last = last
	}
	return err
}

func describeRoutes(changed []api.Route, deleted []api.Ref) string {
	out := ""
	for _, r := range changed {
		out += r.Service.Name + " to"
		for _, e := range r.Endpoints {
			out += " " + e.IP
		}
		out += "; "
	}
	for _, ref := range deleted {
		out += ref.Name + " deleted; "
	}
	return out
}

// putMark closes a change. It fails when anything else was written since the routes were read.
func (c *conn) putMark(ctx context.Context, term api.Term) error {
	w := &c.routes
	next := routeMark{term: term, count: len(w.keys)}
	last, epoch := w.last, w.epoch
	err := c.call(ctx, "mark routes", func() error {
		s := c.world.store
		if s.routeSeq != last || s.epochs[inRoutes] != epoch {
			return errOverwritten
		}
		s.routeSeq++
		next.seq = s.routeSeq
		s.mark = next
		c.world.wrote(c, "mark of the routes, term %d: %d", term, next.count)
		if table := s.table(); table.Revision != 0 {
			for _, m := range c.world.machines {
				m.hearRoutes(table)
			}
		}
		return nil
	})
	if err == nil {
		w.last, w.mark, w.whole = next.seq, next, true
	}
	return err
}

// routed notes which pods are in the routes of the store now, and since when those that were are not.
func (w *world) routed() {
	now := map[podOn]bool{}
	for _, r := range w.store.routes {
		for _, e := range r.Endpoints {
			now[podOn{e.UID, e.Node}] = true
		}
	}
	for key := range w.inRoutes {
		if !now[key] {
			w.leftRoutes[key] = time.Now()
		}
	}
	w.inRoutes = now
}

// A podOn is a pod on a machine.
type podOn struct{ uid, node string }
