package sim

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"headway.dev/headway/api"
	"headway.dev/headway/controller"
)

var errConflict = errors.New("somebody else has written since it was read")

// A leaseRecord is the lease as the leader's bucket holds it.
type leaseRecord struct {
	holder string // empty when it was given back
	term   api.Term
	ttl    time.Duration
}

// A seenLease is the newest record that a candidate has seen, and when.
type seenLease struct {
	record leaseRecord
	seq    uint64 // 0 when there is none
	at     time.Time
}

// A lease is the right to lead while it lasts, by the rules of package bus: one key that is changed by compare-and-set,
// renewed every third of its time, given up when a fifth is left.
type lease struct {
	conn *conn
	ttl  time.Duration
	lost <-chan struct{}

	turn   turn // held while the record is written
	record leaseRecord
	seq    uint64
	until  time.Time
	sure   atomic.Pointer[time.Time] // until, for those who must not wait for a write
	term   atomic.Uint64             // of the record, likewise: who waited would go on at the instant at which the lease may end
}

// A turn is a lock by a channel: a bubble's time would stand still for a goroutine that waits for a mutex.
type turn chan struct{}

func (t turn) end() { <-t }

var errLeaseLost = errors.New("the lease is lost")

// Lead campaigns, and runs lead whenever it has won.
func (c *conn) Lead(ctx context.Context, id string, ttl time.Duration, lead func(context.Context, controller.Lease) error) error {
	ctx, stop := context.WithCancel(ctx)
	seen := make(chan seenLease, 1)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer stop()
	watching.Go(func() { _ = c.watchLease(ctx, seen) }) // it ends with ctx
	var highest api.Term
	for {
		l, err := c.win(ctx, id, ttl, highest, seen)
		if err != nil {
			return err
		}
		ended, err := l.hold(ctx, lead)
		if ended {
			return err
		}
		highest = l.Term()
	}
}

// watchLease keeps the newest record in seen.
func (c *conn) watchLease(ctx context.Context, seen chan seenLease) error {
	var newest seenLease
	return c.follow(ctx, inLeader, func(v *watch, _ []string) {
		next := seenLease{at: time.Now()}
		if e, ok := v.view[leaseKey]; ok {
			next.seq, next.record = e.seq, e.value.(leaseRecord)
		}
		if next.seq == newest.seq && next.record == newest.record {
			next.at = newest.at
		}
		newest = next
		select {
		case <-seen:
		default:
		}
		seen <- newest
	})
}

// win waits until the lease is this candidate's.
func (c *conn) win(ctx context.Context, id string, ttl time.Duration, highest api.Term, seen <-chan seenLease) (*lease, error) {
	var newest *seenLease
	var due <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case o := <-seen:
			newest = &o
		case <-due:
		}
		if newest == nil {
			continue
		}
		if o := newest; o.seq != 0 && o.record.holder != "" && o.record.holder != id {
			if wait := time.Until(o.at.Add(o.record.ttl)); wait > 0 {
				due = time.After(wait)
				continue
			}
		}
		l := &lease{conn: c, ttl: ttl, turn: make(turn, 1), seq: newest.seq, lost: c.watchLost()}
		if l.write(ctx, leaseRecord{id, max(newest.record.term, highest) + 1, ttl}) == nil {
			return l, nil
		}
		due = time.After(ttl / 10)
	}
}

// write changes the record if it is still as this lease left it.
func (l *lease) write(ctx context.Context, record leaseRecord) error {
	asked, seq := time.Now(), l.seq
	var stored uint64
	err := l.conn.call(ctx, "lease", func() error {
		w := l.conn.world
		if w.store.values[inLeader][leaseKey].seq != seq {
			return errConflict
		}
		w.put(inLeader, leaseKey, record)
		stored = w.store.seq
		if record.holder != "" && record.term != l.record.term {
			l.conn.leads(record.term)
		}
		return nil
	})
	if err != nil {
		return err
	}
	l.record, l.seq, l.until = record, stored, asked.Add(l.ttl)
	until := l.until
	l.sure.Store(&until)
	l.term.Store(uint64(record.term))
	return nil
}

// Held reports whether nobody else can lead yet. To a process that is suspended its clock stands still.
func (l *lease) Held() bool {
	until := l.sure.Load()
	return l.conn.suspended.Load() || until != nil && time.Now().Before(*until)
}

// Term is the term of this leadership.
func (l *lease) Term() api.Term { return api.Term(l.term.Load()) }

// Raise makes the term later than one that a node has obeyed.
func (l *lease) Raise(ctx context.Context, above api.Term) error {
	l.turn <- struct{}{}
	defer l.turn.end()
	if l.record.term > above {
		return nil
	}
	record := l.record
	record.term = above + 1
	if err := l.write(ctx, record); err != nil {
		return fmt.Errorf("raise the term above %d: %w", above, err)
	}
	return nil
}

// remaining is how long the holder may still lead.
func (l *lease) remaining() time.Duration {
	l.turn <- struct{}{}
	defer l.turn.end()
	if l.conn.suspended.Load() {
		return l.ttl
	}
	return time.Until(l.until) - l.ttl/5
}

// hold runs lead while the lease lasts. It reports whether lead ended by itself, or because ctx did.
func (l *lease) hold(ctx context.Context, lead func(context.Context, controller.Lease) error) (ended bool, err error) {
	leading, stop := context.WithCancel(ctx)
	defer stop()
	var keeping sync.WaitGroup
	keeping.Go(func() {
		defer stop()
		_ = l.keep(leading) // why it ended makes no difference to who led
	})
	err = lead(leading, l)
	lost := leading.Err() != nil && ctx.Err() == nil
	stop()
	keeping.Wait()
	if lost {
		return false, nil
	}
	release, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.ttl/3)
	defer cancel()
	l.turn <- struct{}{}
	defer l.turn.end()
	_ = l.write(release, leaseRecord{term: l.record.term}) // else it runs out by itself
	return true, err
}

// keep renews the lease until ctx is done or the lease is lost.
func (l *lease) keep(ctx context.Context) error {
	wait := l.ttl / 3
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.lost:
			return errLeaseLost
		case <-time.After(min(wait, max(l.remaining(), 0))):
		}
		remaining := l.remaining()
		if remaining <= 0 {
			return errLeaseLost
		}
		switch err := l.renew(ctx, remaining); {
		case err == nil:
			wait = l.ttl / 3
		case errors.Is(err, errLeaseLost):
			return err
		default:
			wait = l.ttl / 20
		}
	}
}

// renew writes the record again.
func (l *lease) renew(ctx context.Context, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, min(within, l.ttl/3))
	defer cancel()
	l.turn <- struct{}{}
	defer l.turn.end()
	err := l.write(ctx, l.record)
	if !errors.Is(err, errConflict) {
		return err
	}
	var there entry
	if err := l.conn.call(ctx, "read lease", func() error {
		there = l.conn.world.store.values[inLeader][leaseKey]
		return nil
	}); err != nil {
		return err
	}
	if record, ok := there.value.(leaseRecord); !ok || record != l.record {
		return errLeaseLost
	}
	l.seq = there.seq // an earlier renewal was stored, and only its answer was lost
	return l.write(ctx, l.record)
}
