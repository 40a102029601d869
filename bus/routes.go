package bus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"headway.dev/headway/api"
	"headway.dev/headway/bus/internal/wire"
)

// A mark is stored after every change of the routes. The table is whole, and nodes may follow it, when the mark is the
// newest message of its bucket and there are as many routes as it says: so neither an empty store, nor one that lost a
// part, nor half a change ever looks like services that are gone.
type mark struct {
	Term  api.Term `json:"term"`
	Count int      `json:"count"`
}

// markerTTL is how long the note of a deleted route stays for watches to see. One that was away for longer reads all.
const markerTTL = "1h"

func routeKey(service api.Ref) (string, error) {
	for _, part := range []string{service.Namespace, service.Name} {
		if err := checkName("service", part); err != nil {
			return "", err
		}
	}
	return service.Namespace + "." + service.Name, nil
}

func serviceKey(r api.Route) string { return r.Service.Namespace + "." + r.Service.Name }

// A tableReader makes tables of what a view holds. It remembers what it has read, so that a change of one route does not
// cost reading all.
type tableReader struct {
	conn  *Conn
	read  map[string]readRoute // by key
	epoch uint64
}

type readRoute struct {
	seq   uint64
	route api.Route
}

// table gives the routes of a view, ordered, and the revision if they are a whole table, or else 0.
func (r *tableReader) table(v *view) api.RouteTable {
	if r.epoch != v.epoch || r.read == nil {
		r.epoch, r.read = v.epoch, map[string]readRoute{}
	}
	var routes []api.Route
	for key, e := range v.entries {
		if key == wire.MarkKey || e.deleted() {
			delete(r.read, key)
			continue
		}
		have, ok := r.read[key]
		if !ok || have.seq != e.seq {
			decoded := decodeAll(r.conn, map[string]entry{key: e}, serviceKey)
			if len(decoded) == 0 {
				continue // it cannot be read: the table is short of it, and so not whole
			}
			have = readRoute{e.seq, decoded[0]}
			r.read[key] = have
		}
		routes = append(routes, have.route)
	}
	slices.SortFunc(routes, func(a, b api.Route) int { return a.Service.Compare(b.Service) })
	table := api.RouteTable{Routes: routes}
	closing, ok := v.entries[wire.MarkKey]
	var m mark
	if ok && closing.seq == v.top && decode(closing.header, closing.data, &m) == nil && m.Count == len(routes) {
		table.Revision = v.epoch + closing.seq
	}
	return table
}

// WatchRoutes calls fn with each newest complete table, until ctx is done. A table that is not complete is not an empty
// one: fn is not called. What the routes point to is shared with later tables: fn must not change it.
func (c *Conn) WatchRoutes(ctx context.Context, fn func(api.RouteTable)) error {
	reader := tableReader{conn: c}
	return c.watch(ctx, wire.Routes, wire.Any, func(v *view) {
		// While a change is coming in, its mark is yet to come.
		if closing, ok := v.entries[wire.MarkKey]; !ok || closing.seq != v.top {
			return
		}
		if table := reader.table(v); table.Revision != 0 {
			fn(table)
		}
	})
}

// routeWriter remembers what this connection has written to the routes bucket, so that a change costs no reading.
type routeWriter struct {
	mu    sync.Mutex
	epoch uint64
	last  uint64 // the newest sequence that is accounted for
	keys  map[string]struct{}
	mark  mark
	whole bool
	// base is how the bucket was before State read it, or when this connection last wrote to it since then.
	base storeID
}

// found takes in how the bucket was before State read it. This connection may have written to it meanwhile.
func (w *routeWriter) found(id storeID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.base.epoch != id.epoch || w.base.last < id.last {
		w.base = id
	}
}

// isBase reports whether the bucket is as this connection has read or left it, as far as that is known.
func (w *routeWriter) isBase(id storeID) bool {
	return w.base.epoch == 0 || w.base.epoch == id.epoch && (w.base.last == 0 || w.base.last == id.last)
}

// settle takes in what a write came to. How far one came that failed is read the next time.
func (w *routeWriter) settle(err error) error {
	w.base.last = w.last
	if err != nil {
		w.epoch, w.base.last = 0, 0
	}
	return err
}

// PutRoutes stores the routes that changed and removes those that are gone. It returns the revision of the table that
// holds the change: a node that acknowledges that or a later one has it. Until CompleteRoutes has been called for this
// store, nodes do not see it. A leader of an earlier term than has written before gets ErrStaleTerm.
func (c *Conn) PutRoutes(ctx context.Context, term api.Term, changed []api.Route, deleted []api.Ref) (revision uint64, err error) {
	w := &c.routes
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.catchUp(ctx, c, term); err != nil {
		return 0, fmt.Errorf("put routes: %w", err)
	}
	messages, err := w.messages(changed, deleted)
	if err != nil {
		return 0, err
	}
	if len(messages) == 0 && w.mark.Term == term {
		return w.epoch + w.last, nil
	}
	if w.last, err = c.publishAll(ctx, messages, w.last); err == nil && w.whole {
		err = w.putMark(ctx, c, term)
	}
	if err := w.settle(err); err != nil {
		return 0, fmt.Errorf("put routes: %w", err)
	}
	return w.epoch + w.last, nil
}

// CompleteRoutes says that the bucket holds the whole table. From then on nodes follow it.
func (c *Conn) CompleteRoutes(ctx context.Context, term api.Term) error {
	w := &c.routes
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.catchUp(ctx, c, term); err != nil {
		return fmt.Errorf("complete the routes: %w", err)
	}
	if w.whole && w.mark.Term == term {
		return nil
	}
	if err := w.settle(w.putMark(ctx, c, term)); err != nil {
		return fmt.Errorf("complete the routes: %w", err)
	}
	return nil
}

// catchUp reads the bucket unless it is as this connection left it, and refuses a leader that has been followed, or that
// does not know what somebody else has written.
func (w *routeWriter) catchUp(ctx context.Context, c *Conn, term api.Term) error {
	id, err := c.identify(ctx, wire.Stream(wire.Routes))
	if errors.Is(err, errNoStore) {
		if err = c.Keep(ctx); err == nil {
			id, err = c.identify(ctx, wire.Stream(wire.Routes))
		}
	}
	if err != nil {
		return err
	}
	if id.epoch != w.epoch || id.last != w.last {
		there, err := c.fetchBucket(ctx, wire.Routes, wire.Any)
		if err != nil {
			return err
		}
		w.epoch, w.last, w.mark, w.whole, w.keys = id.epoch, id.last, mark{}, false, map[string]struct{}{}
		if closing, ok := there[wire.MarkKey]; ok {
			if err := decode(closing.header, closing.data, &w.mark); err != nil {
				return err
			}
			delete(there, wire.MarkKey)
			w.whole = closing.seq == id.last && len(there) == w.mark.Count
		}
		for key := range there {
			w.keys[key] = struct{}{}
		}
	}
	if w.mark.Term > term {
		return fmt.Errorf("%w: term %d has written the routes, this is term %d", ErrStaleTerm, w.mark.Term, term)
	}
	if !w.isBase(id) {
		return ErrOverwritten
	}
	return nil
}

// messages are those that make the change.
func (w *routeWriter) messages(changed []api.Route, deleted []api.Ref) ([]*nats.Msg, error) {
	var messages []*nats.Msg
	keys := maps.Clone(w.keys)
	for _, route := range changed {
		key, err := routeKey(route.Service)
		if err != nil {
			return nil, err
		}
		header, data, err := encode(route)
		if err != nil {
			return nil, err
		}
		keys[key] = struct{}{}
		messages = append(messages, &nats.Msg{Subject: wire.Key(wire.Routes, key), Header: header, Data: data})
	}
	for _, service := range deleted {
		key, err := routeKey(service)
		if err != nil {
			return nil, err
		}
		if _, there := keys[key]; !there {
			continue
		}
		delete(keys, key)
		messages = append(messages, &nats.Msg{Subject: wire.Key(wire.Routes, key), Header: nats.Header{
			"KV-Operation":         []string{"PURGE"},
			jetstream.MsgRollup:    []string{jetstream.MsgRollupSubject},
			jetstream.MsgTTLHeader: []string{markerTTL},
		}})
	}
	w.keys = keys
	return messages, nil
}

// publishAll stores messages of the routes bucket in their order, without waiting for each, and returns the sequence of the
// last. Each is refused unless it comes next after last and those before it: what a leader sent before it was followed
// changes nothing when it comes late.
func (c *Conn) publishAll(ctx context.Context, messages []*nats.Msg, last uint64) (uint64, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	ctx, deny := context.WithCancelCause(ctx)
	defer deny(nil)
	defer c.denials.expect(wire.Key(wire.Routes, ""), func() { deny(ErrDenied) })()
	pending := make([]jetstream.PubAckFuture, 0, len(messages))
	for i, m := range messages {
		future, err := c.js.PublishMsgAsync(m, jetstream.WithExpectLastSequence(last+uint64(i)))
		if err != nil {
			return last, fmt.Errorf("store %s: %w", m.Subject, unavailable(err))
		}
		pending = append(pending, future)
	}
	for i, future := range pending {
		select {
		case ack := <-future.Ok():
			last = ack.Sequence
		case err := <-future.Err():
			if isOutOfSequence(err) {
				err = ErrOverwritten
			}
			return last, fmt.Errorf("store %s: %w", messages[i].Subject, unavailable(err))
		case <-ctx.Done():
			return last, fmt.Errorf("store %s: %w", messages[i].Subject, context.Cause(ctx))
		}
	}
	return last, nil
}

// putMark closes a change. It fails when anything else was written to the bucket since it was read.
func (w *routeWriter) putMark(ctx context.Context, c *Conn, term api.Term) error {
	m := mark{Term: term, Count: len(w.keys)}
	seq, err := c.put(ctx, wire.Routes, wire.MarkKey, m, jetstream.WithExpectLastSequence(w.last))
	if isOutOfSequence(err) {
		return ErrOverwritten
	}
	if err != nil {
		return err
	}
	w.last, w.mark, w.whole = seq, m, true
	return nil
}
