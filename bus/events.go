package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"headway.dev/headway/api"
	"headway.dev/headway/bus/internal/wire"
)

// liveEvents bounds how many events wait to be taken; more, and the store is read again from the last one delivered.
const liveEvents = 1024

// Events calls fn with every kept event since then, oldest first: the zero time is all. With follow, it goes on with
// what happens next, until ctx is done. Each event comes once, even over a reconnection.
func (c *Conn) Events(ctx context.Context, since time.Time, follow bool, fn func(api.Event)) error {
	r := eventReader{conn: c, from: cursor{seq: 1, time: since}, fn: fn}
	if !follow {
		if err := r.kept(ctx); err != nil && !errors.Is(err, errNoStore) {
			return fmt.Errorf("read events: %w", err)
		}
		return nil
	}
	stale, stop := c.notices.listen(wire.Events)
	defer stop()
	retry := newBackoff()
	for {
		err := r.session(ctx, stale)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case c.ctx.Err() != nil:
			return ErrUnavailable
		case errors.Is(err, errAnew):
			retry.reset()
			continue
		}
		retry.grow()
		select {
		case <-ctx.Done():
		case <-stale:
		case <-retry.after():
		}
	}
}

type eventReader struct {
	conn  *Conn
	epoch uint64
	from  cursor // of the next event
	fn    func(api.Event)
}

func (r *eventReader) deliver(e entry) {
	r.from = cursor{seq: e.seq + 1}
	var event api.Event
	if err := json.Unmarshal(e.data, &event); err != nil {
		r.conn.log.Warn("an event that cannot be read is left out", "error", err)
		return
	}
	r.fn(event)
}

// kept reads what the store has.
func (r *eventReader) kept(ctx context.Context) error {
	return r.conn.fetch(ctx, wire.Events, wire.EventsFrom(wire.Any), r.from, func(e entry) error {
		r.deliver(e)
		return nil
	})
}

// session reads what the store has and follows it until live events may have been missed.
func (r *eventReader) session(ctx context.Context, stale <-chan struct{}) error {
	live := make(chan *nats.Msg, liveEvents)
	sub, err := r.conn.nc.ChanSubscribe(wire.Live(wire.Events, wire.Any), live)
	if err != nil {
		return unavailable(err)
	}
	defer func() { _ = sub.Unsubscribe() }() // it fails only when the connection has ended
	id, err := r.conn.identify(ctx, wire.Events)
	if err != nil {
		return err
	}
	if r.epoch != 0 && r.epoch != id.epoch {
		r.from = cursor{seq: 1} // the store was lost: all that the new one holds is news
	}
	r.epoch = id.epoch
	if err := r.kept(ctx); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.conn.ctx.Done():
			return ErrUnavailable
		case <-stale:
			return errAnew
		case m := <-live:
			e, err := readEntry(m)
			switch {
			case err != nil:
				return err
			case e.seq > r.from.seq && r.from.time.IsZero():
				return fmt.Errorf("events %d to %d were missed", r.from.seq, e.seq-1)
			case e.seq >= r.from.seq:
				r.deliver(e)
			}
		}
	}
}
