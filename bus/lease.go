package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"headway.dev/headway/api"
	"headway.dev/headway/bus/internal/wire"
)

// minLease is the shortest lease: a shorter one would be lost to a slow disk.
const minLease = 300 * time.Millisecond

// leaseRecord is the lease as the leader bucket holds it.
type leaseRecord struct {
	Holder string        `json:"holder"` // empty when it was given back
	Term   api.Term      `json:"term"`
	TTL    time.Duration `json:"ttl"` // nanoseconds; how long the holder may go without renewing
}

// A Lease is the right to lead, while it lasts.
type Lease struct {
	conn *Conn
	ttl  time.Duration
	lost <-chan struct{} // closed when a store that its holder writes was lost

	mu       sync.Mutex // held while the record is written
	record   leaseRecord
	revision uint64
	until    time.Time                 // others may take it from then on; counted from before it was last asked for
	sure     atomic.Pointer[time.Time] // until, for those who must not wait for a write
}

// Lead campaigns for the lease until ctx is done, and runs lead whenever it holds it. It makes the buckets that are
// missing (see Keep).
//
// The lease is one key, changed by compare-and-set on its revision and renewed every third of ttl. A candidate takes it
// when it was given back, or when it has seen it unchanged for the holder's ttl by its own clock: no two clocks are ever
// compared. The context of lead ends when a fifth of ttl is left before another could take it. A machine that is
// suspended can still wake up as a leader that does not know it was followed; what it writes carries its old term, which
// nodes refuse.
//
// An id names one running process at a time: a candidate takes a lease of its own id at once, as what a process that
// crashed has left. When lead returns by itself, Lead gives the lease back and returns what lead returned; when the
// lease was lost it waits for lead to return, and campaigns again. So it does when a store that the controller writes
// was lost, so that lead begins anew with what the stores hold then.
func (c *Conn) Lead(ctx context.Context, id string, ttl time.Duration, lead func(ctx context.Context, lease *Lease) error) error {
	if id == "" || ttl < minLease {
		return fmt.Errorf("lead as %q for %s: a leader needs an id, and a lease of at least %s", id, ttl, minLease)
	}
	// The store may be away: it is made when it comes.
	if err := c.Keep(ctx); err != nil {
		c.log.Info("the bus is not ready: the campaign to lead begins when it is", "error", err)
		c.requestUpkeep()
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	seen := make(chan observedLease, 1)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer stop()
	watching.Go(func() { _ = c.watchLease(ctx, seen) }) // it ends with ctx only
	run := campaign{conn: c, id: id, ttl: ttl, seen: seen}
	for {
		lease, err := run.win(ctx)
		if err != nil {
			return err
		}
		if ended, err := lease.hold(ctx, lead); ended {
			return err
		}
		run.highest = lease.Term()
	}
}

// An observedLease is the newest record that a candidate has seen, and when it saw it.
type observedLease struct {
	record   leaseRecord
	revision uint64 // 0 when there is none
	at       time.Time
}

// watchLease keeps the newest record in seen.
func (c *Conn) watchLease(ctx context.Context, seen chan observedLease) error {
	var newest observedLease
	return c.watch(ctx, wire.Leader, wire.LeaseKey, func(v *view) {
		next := observedLease{at: time.Now()}
		if e, ok := v.entries[wire.LeaseKey]; ok && !e.deleted() {
			next.revision = e.seq
			if err := decode(e.header, e.data, &next.record); err != nil {
				// Nobody can hold what nobody can read: it is taken over when it has gone unchanged for long.
				c.log.Error("the leader's lease cannot be read", "error", err)
				next.record = leaseRecord{Holder: "unknown"}
			}
		}
		if next.revision == newest.revision && next.record == newest.record {
			next.at = newest.at // read again, not renewed
		}
		newest = next
		select {
		case <-seen:
		default:
		}
		seen <- newest
	})
}

// A campaign is for the lease.
type campaign struct {
	conn    *Conn
	id      string
	ttl     time.Duration
	seen    <-chan observedLease
	highest api.Term // that this candidate has had
}

// win waits until it has taken the lease.
func (r *campaign) win(ctx context.Context) (*Lease, error) {
	var newest *observedLease
	var due <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-r.conn.ctx.Done():
			return nil, ErrUnavailable
		case o := <-r.seen:
			newest = &o
		case <-due:
		}
		if newest == nil {
			continue
		}
		if wait := newest.wait(r.id, r.ttl); wait > 0 {
			due = time.After(wait)
			continue
		}
		lease, err := r.take(ctx, *newest)
		if err == nil {
			r.conn.log.Info("leading", "id", r.id, "term", lease.Term())
			return lease, nil
		}
		// Another was faster, and the watch will tell; or the bus is away, and this is tried again.
		r.conn.log.Debug("the lease could not be taken", "error", err)
		due = time.After(r.ttl / 10)
	}
}

// take writes this candidate's name over the record that was seen.
func (r *campaign) take(ctx context.Context, seen observedLease) (*Lease, error) {
	if err := r.conn.Keep(ctx); err != nil {
		return nil, err
	}
	lease := &Lease{conn: r.conn, ttl: r.ttl, revision: seen.revision, lost: r.conn.keeping.watchLost()}
	term := max(seen.record.Term, r.highest) + 1
	return lease, lease.write(ctx, leaseRecord{Holder: r.id, Term: term, TTL: r.ttl})
}

// wait is how long the lease must still be left to its holder.
func (o observedLease) wait(id string, ttl time.Duration) time.Duration {
	if o.revision == 0 || o.record.Holder == "" || o.record.Holder == id {
		return 0
	}
	if o.record.TTL > 0 {
		ttl = o.record.TTL
	}
	return time.Until(o.at.Add(ttl))
}

// write changes the record, if it is still as this lease left it.
func (l *Lease) write(ctx context.Context, record leaseRecord) error {
	asked := time.Now()
	revision, err := l.conn.put(ctx, wire.Leader, wire.LeaseKey, record, jetstream.WithExpectLastSequencePerSubject(l.revision))
	if err != nil {
		return err
	}
	l.record, l.revision, l.until = record, revision, asked.Add(l.ttl)
	until := l.until
	l.sure.Store(&until)
	return nil
}

// Term is the term of this leadership.
func (l *Lease) Term() api.Term {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.record.Term
}

// Raise makes the term later than one that a node has obeyed: after the store was lost, terms begin again.
func (l *Lease) Raise(ctx context.Context, above api.Term) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.record.Term > above {
		return nil
	}
	record := l.record
	record.Term = above + 1
	if err := l.write(ctx, record); err != nil {
		return fmt.Errorf("raise the term above %d: %w", above, err)
	}
	return nil
}

// margin is how long before others could take the lease its holder stops.
func (l *Lease) margin() time.Duration { return l.ttl / 5 }

// remaining is how long the holder may still lead.
func (l *Lease) remaining() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Until(l.until) - l.margin()
}

// hold runs lead while the lease lasts. It reports whether lead ended by itself, or because ctx did.
func (l *Lease) hold(ctx context.Context, lead func(context.Context, *Lease) error) (ended bool, err error) {
	leading, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var keeping sync.WaitGroup
	keeping.Go(func() { stop(l.keep(leading)) })
	err = lead(leading, l)
	lost := leading.Err() != nil && ctx.Err() == nil
	stop(nil)
	keeping.Wait()
	if lost {
		l.conn.log.Warn("no longer leading", "term", l.Term(), "reason", context.Cause(leading))
		return false, nil
	}
	l.release(ctx)
	return true, err
}

var (
	errLeaseTaken = errors.New("another has taken the lease")
	errStoreLost  = errors.New("a store on the bus was lost")
)

// keep renews the lease until ctx is done or the lease is lost, and says why.
func (l *Lease) keep(ctx context.Context) error {
	wait := l.ttl / 3
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.conn.ctx.Done():
			return ErrUnavailable
		case <-l.lost:
			return errStoreLost
		case <-time.After(min(wait, max(l.remaining(), 0))):
		}
		remaining := l.remaining()
		if remaining <= 0 {
			return errors.New("it could not be renewed in time")
		}
		err := l.renew(ctx, remaining)
		switch {
		case err == nil:
			wait = l.ttl / 3
		case errors.Is(err, errLeaseTaken), errors.Is(err, errStoreLost):
			return err
		default:
			wait = l.ttl / 20
		}
	}
}

// renew writes the record again.
func (l *Lease) renew(ctx context.Context, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, min(within, l.ttl/3))
	defer cancel()
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.write(ctx, l.record)
	var refused *jetstream.APIError
	if !errors.As(err, &refused) {
		return err
	}
	there, err := l.conn.fetchBucket(ctx, wire.Leader, wire.LeaseKey)
	if err != nil {
		return err
	}
	e, ok := there[wire.LeaseKey]
	if !ok {
		return errStoreLost
	}
	var now leaseRecord
	if err := decode(e.header, e.data, &now); err != nil || now != l.record {
		return errLeaseTaken
	}
	// An earlier renewal was stored, and only its answer was lost.
	l.revision = e.seq
	return l.write(ctx, l.record)
}

// release gives the lease back, so that the next takes it at once. If that fails it runs out by itself.
func (l *Lease) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.ttl/3)
	defer cancel()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.write(ctx, leaseRecord{Term: l.record.Term}); err != nil {
		l.conn.log.Info("the lease could not be given back: it runs out by itself", "error", err)
	}
}
