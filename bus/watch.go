package bus

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"headway.dev/headway/bus/internal/wire"
)

// errAnew ends a session of a watch that has to read the store again.
var errAnew = errors.New("the watch begins anew")

// A view is what a watch knows of its keys.
type view struct {
	epoch   uint64           // of the store that it was read from
	top     uint64           // the highest sequence seen
	entries map[string]entry // by key, with those that say that their key was deleted
	// changed are the keys that may differ from what was last delivered.
	changed map[string]struct{}
	// fresh is set when the store was read anew, so that levels are to be delivered whether or not they changed.
	fresh bool
}

// merge takes an entry unless it is older than what the view has, and reports whether it did.
func (v *view) merge(key string, e entry) bool {
	if have, ok := v.entries[key]; ok && have.seq >= e.seq {
		return false
	}
	v.top = max(v.top, e.seq)
	v.entries[key] = e
	v.changed[key] = struct{}{}
	return true
}

// news gives the keys that are there and may be new: all, when the store was read anew.
func (v *view) news() map[string]entry {
	if v.fresh {
		return present(v.entries)
	}
	news := map[string]entry{}
	for key := range v.changed {
		if e, ok := v.entries[key]; ok && !e.deleted() {
			news[key] = e
		}
	}
	return news
}

// present leaves out the keys that are deleted.
func present(entries map[string]entry) map[string]entry {
	there := map[string]entry{}
	for key, e := range entries {
		if !e.deleted() {
			there[key] = e
		}
	}
	return there
}

// A mailbox keeps the newest live message of each subject until the watch comes to take them.
type mailbox struct {
	signal chan struct{}

	mu   sync.Mutex
	held map[string]*nats.Msg
}

func newMailbox() *mailbox {
	return &mailbox{signal: make(chan struct{}, 1), held: map[string]*nats.Msg{}}
}

func (b *mailbox) put(m *nats.Msg) {
	b.mu.Lock()
	b.held[m.Subject] = m
	b.mu.Unlock()
	select {
	case b.signal <- struct{}{}:
	default:
	}
}

func (b *mailbox) take() map[string]*nats.Msg {
	b.mu.Lock()
	defer b.mu.Unlock()
	held := b.held
	b.held = map[string]*nats.Msg{}
	return held
}

// watch calls deliver with the keys of a bucket whenever any of them may have changed, until ctx is done. The view is
// the caller's only until deliver returns. Messages that come meanwhile are merged into the next call.
func (c *Conn) watch(ctx context.Context, bucket, filter string, deliver func(*view)) error {
	stale, stop := c.notices.listen(wire.Stream(bucket))
	defer stop()
	w := watcher{conn: c, bucket: bucket, filter: filter, deliver: deliver, view: &view{entries: map[string]entry{}, changed: map[string]struct{}{}}}
	retry := newBackoff()
	for {
		err := w.session(ctx, stale, retry.reset)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case c.ctx.Err() != nil:
			return ErrUnavailable
		case errors.Is(err, errAnew):
			continue
		}
		if retry.grow(); retry.next == backoffFirst {
			c.log.Debug("a watch waits for the bus", "bucket", bucket, "error", err)
		}
		select {
		case <-ctx.Done():
		case <-stale:
		case <-retry.after():
		}
	}
}

type watcher struct {
	conn           *Conn
	bucket, filter string
	deliver        func(*view)
	view           *view
}

// session reads the keys and follows them until something says that live messages may have been missed.
func (w *watcher) session(ctx context.Context, stale <-chan struct{}, begun func()) error {
	box := newMailbox()
	sub, err := w.conn.nc.Subscribe(wire.Live(w.bucket, w.filter), box.put)
	if err != nil {
		return unavailable(err)
	}
	defer func() { _ = sub.Unsubscribe() }() // it fails only when the connection has ended
	id, err := w.conn.identify(ctx, wire.Stream(w.bucket))
	if err != nil {
		return err
	}
	if id.epoch != w.view.epoch {
		// What came until now may be of the store that is gone. What is of this one is read below.
		box.take()
		w.view.forget(id.epoch)
	}
	if err := w.read(ctx); err != nil {
		return err
	}
	begun()
	w.view.fresh = true
	w.mergeLive(box)
	w.flush()

	recheck := time.NewTicker(w.conn.recheck)
	defer recheck.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.conn.ctx.Done():
			return ErrUnavailable
		case <-stale:
			return errAnew
		case <-box.signal:
			if w.mergeLive(box) {
				w.flush()
			}
		case <-recheck.C:
			// Between the servers of a cluster, a live message can be lost without either end noticing.
			now, err := w.conn.identify(ctx, wire.Stream(w.bucket))
			if err != nil || now.epoch != id.epoch || now.last > max(id.last, w.view.top) {
				return errAnew
			}
		}
	}
}

// forget empties the view for another store.
func (v *view) forget(epoch uint64) {
	for key := range v.entries {
		v.changed[key] = struct{}{}
	}
	v.epoch, v.top, v.entries = epoch, 0, map[string]entry{}
}

// read takes in what the store holds, and drops what it no longer does. In a cluster, the server that answers may lag
// behind what came live: a key that is newer than all of its answer stays.
func (w *watcher) read(ctx context.Context) error {
	prefix := wire.Key(w.bucket, "")
	there := map[string]bool{}
	var newest uint64
	err := w.conn.fetch(ctx, wire.Stream(w.bucket), wire.Key(w.bucket, w.filter), cursor{}, func(e entry) error {
		key := strings.TrimPrefix(e.subject, prefix)
		there[key] = true
		newest = e.seq
		w.view.merge(key, e)
		return nil
	})
	if err != nil {
		return err
	}
	for key, e := range w.view.entries {
		if !there[key] && e.seq < newest {
			delete(w.view.entries, key)
			w.view.changed[key] = struct{}{}
		}
	}
	return nil
}

// mergeLive takes in the live messages, and reports whether any was news.
func (w *watcher) mergeLive(box *mailbox) bool {
	prefix := wire.Key(w.bucket, "")
	news := false
	for _, m := range box.take() {
		e, err := readEntry(m)
		if err != nil {
			w.conn.log.Warn("a message of the bus is left out", "error", err)
			continue
		}
		if w.view.merge(strings.TrimPrefix(e.subject, prefix), e) {
			news = true
		}
	}
	return news
}

func (w *watcher) flush() {
	w.deliver(w.view)
	clear(w.view.changed)
	w.view.fresh = false
}
