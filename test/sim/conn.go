package sim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"headway.dev/headway/api"
	"headway.dev/headway/controller"
)

var (
	errUnavailable = errors.New("the bus cannot be reached")
	errUnanswered  = errors.New("the bus does not answer")
	errDead        = errors.New("the process is dead")
)

const (
	// patience is how long the bus waits for an answer.
	patience = 2 * time.Second
	// recheck is how soon a live message that was lost is found to be missing.
	recheck = 10 * time.Second
)

// A conn is the connection of one controller process to the bus. It is a controller.Bus.
type conn struct {
	world *world
	name  string // of the process, with how often it was started
	dead  bool   // the process was killed
	cut   bool   // it cannot reach the bus
	// thaw is until when the process is suspended: nothing comes to it, and what it sends leaves it then. Its clock stands
	// still as far as the lease goes: it is a leader that does not know that it was followed.
	thaw      time.Time
	suspended atomic.Bool
	asked     int // calls so far
	sent      time.Time
	watches   []*watch
	beats     []*watch
	term      api.Term // of its rule, if it leads
	rule      int      // which of all rules that is
	routes    routeWriter

	mu   sync.Mutex
	lost chan struct{} // closed when the store is found to be lost
}

func newConn(w *world, name string) *conn {
	return &conn{world: w, name: name, lost: make(chan struct{})}
}

// watchLost gives a channel that is closed when the store is found to be lost from now on.
func (c *conn) watchLost() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost
}

// call asks the driver to do something, and waits until it is answered or ctx is done. Then it may be done all the same.
func (c *conn) call(ctx context.Context, key string, do func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return c.ask(ctx, &call{from: c, key: key, do: do, done: make(chan struct{})})
}

// tell is a call for what is only told to people.
func (c *conn) tell(ctx context.Context, key string, do func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return c.ask(ctx, &call{from: c, key: key, do: do, done: make(chan struct{}), aside: true})
}

func (c *conn) ask(ctx context.Context, q *call) error {
	c.world.driver.put(q)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-q.done:
		return q.err
	}
}

// serve decides what becomes of a call. Only the driver calls it.
func (c *conn) serve(q *call) {
	w := c.world
	if q.aside {
		c.serveAside(q)
		return
	}
	c.asked++
	d := w.chance.roll("call " + c.name + " " + q.key)
	switch before := w.crashes(c, d); {
	case c.dead && before:
		w.answer(q, errDead)
		return
	case c.cut && d.percent(50):
		w.answer(q, errUnavailable)
		return
	case c.cut:
		w.after(patience, func() { w.answer(q, errUnanswered) })
		return
	}
	lost, unanswered := d.percent(w.weather.lost), d.percent(w.weather.lost)
	if lost {
		w.note("%s: %s is lost", c.name, q.key)
		w.after(patience, func() { w.answer(q, errUnanswered) })
		return
	}
	// One connection keeps its order.
	at := time.Now().Add(w.weather.latency(d))
	if c.thaw.After(at) {
		at = c.thaw
	}
	if at.Before(c.sent) {
		at = c.sent
	}
	c.sent = at
	w.after(time.Until(at), func() {
		err := errUnavailable
		if !c.cut || c.dead { // of a process that was killed, what is under way arrives
			err = q.do()
		}
		if unanswered || c.cut {
			w.note("%s: %s is done (%v), and the answer lost", c.name, q.key, err)
			w.after(patience, func() { w.answer(q, errUnanswered) })
			return
		}
		w.after(w.weather.latency(d), func() { w.answer(q, err) })
	})
}

// serveAside serves what is only told to people. A controller may skip a report when the next is ready, which depends on how
// its goroutines are scheduled: so such calls take their time apart from the others, and no chance depends on how many there are.
func (c *conn) serveAside(q *call) {
	w := c.world
	switch {
	case c.dead:
		w.answer(q, errDead)
	case c.cut:
		w.after(patience, func() { w.answer(q, errUnanswered) })
	default:
		w.after(time.Millisecond, func() { w.answer(q, q.do()) })
	}
}

// insist repeats a call until it is done, as a watch does.
func (c *conn) insist(ctx context.Context, key string, do func() error) error {
	for {
		if err := c.call(ctx, key, do); err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// A watch follows a bucket, or the heartbeats.
type watch struct {
	ctx     context.Context
	bucket  string
	epoch   uint64
	view    map[string]entry
	deliver func(v *watch, news []string)
}

// follow keeps a watch until ctx is done.
func (c *conn) follow(ctx context.Context, bucket string, deliver func(v *watch, news []string)) error {
	v := &watch{ctx: ctx, bucket: bucket, deliver: deliver}
	err := c.insist(ctx, "watch "+bucket, func() error {
		c.watches = append(c.watches, v)
		c.read(v)
		return nil
	})
	if err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

// read takes in all that the bucket holds, and delivers it as if it were new.
func (c *conn) read(v *watch) {
	if v.ctx.Err() != nil {
		return
	}
	s := c.world.store
	v.epoch, v.view = s.epoch, maps.Clone(s.values[v.bucket])
	v.deliver(v, slices.Sorted(maps.Keys(v.view)))
	c.world.stir = true
}

// reachable reports whether anything comes to the process now.
func (c *conn) reachable() bool { return !c.dead && !c.cut }

// arrive has something come to the process after a while, once it is not suspended.
func (c *conn) arrive(wait time.Duration, do func()) {
	c.world.after(wait, func() {
		switch {
		case !c.reachable():
		case time.Now().Before(c.thaw):
			c.arrive(time.Until(c.thaw), do)
		default:
			do()
		}
	})
}

// announce sends a new value to the watches of its bucket.
func (c *conn) announce(bucket, key string, epoch uint64, e entry) {
	if !c.reachable() {
		return
	}
	c.watches = slices.DeleteFunc(c.watches, func(v *watch) bool { return v.ctx.Err() != nil })
	for _, v := range c.watches {
		if v.bucket != bucket {
			continue
		}
		d := c.world.chance.roll("live " + c.name + " " + bucket + "/" + key)
		if d.percent(c.world.weather.lost) {
			c.arrive(recheck, func() { c.read(v) })
			continue
		}
		for range 1 + d.pick01(c.world.weather.doubled) {
			c.arrive(c.world.weather.latency(d), func() {
				if v.ctx.Err() == nil && v.epoch == epoch && v.view[key].seq < e.seq {
					v.view[key] = e
					v.deliver(v, []string{key})
					c.world.stir = true
				}
			})
		}
	}
}

// pick01 is 1 that often in a hundred, and else 0.
func (d dice) pick01(percent int) int {
	if d.percent(percent) {
		return 1
	}
	return 0
}

// reconnect has every watch read its bucket anew.
func (c *conn) reconnect() {
	for _, v := range c.watches {
		c.arrive(c.world.chance.roll("reconnect "+c.name).between(time.Millisecond, 300*time.Millisecond), func() { c.read(v) })
	}
}

// storeLost has the process notice that the store was lost.
func (c *conn) storeLost() {
	c.arrive(c.world.chance.roll("notice "+c.name).between(0, 3*time.Second), func() {
		c.mu.Lock()
		close(c.lost)
		c.lost = make(chan struct{})
		c.mu.Unlock()
		c.world.stir = true
		c.reconnect()
	})
}

// State reads what the buckets hold.
func (c *conn) State(ctx context.Context) (controller.State, error) {
	var found controller.State
	err := c.call(ctx, "state", func() error {
		s := c.world.store
		table := s.table()
		found = controller.State{
			Nodes:         valuesOf[api.NodeInfo](s, inNodes),
			Assignments:   valuesOf[api.Assignment](s, inAssignments),
			Statuses:      valuesOf[api.NodeStatus](s, inStatuses),
			Routes:        table.Routes,
			RouteRevision: table.Revision,
			Report:        s.report,
		}
		return nil
	})
	if err != nil {
		return controller.State{}, err
	}
	return found, nil
}

// WatchNodes calls fn with all nodes whenever any changed.
func (c *conn) WatchNodes(ctx context.Context, fn func([]api.NodeInfo)) error {
	return c.follow(ctx, inNodes, func(v *watch, _ []string) {
		var all []api.NodeInfo
		for _, key := range slices.Sorted(maps.Keys(v.view)) {
			all = append(all, v.view[key].value.(api.NodeInfo))
		}
		fn(all)
	})
}

// WatchStatuses calls fn with each newest status of each node.
func (c *conn) WatchStatuses(ctx context.Context, fn func(api.NodeStatus)) error {
	return c.follow(ctx, inStatuses, func(v *watch, news []string) {
		for _, key := range news {
			fn(v.view[key].value.(api.NodeStatus))
		}
	})
}

// WatchAcks calls fn with each newest acknowledgement. One of routes that were in a store which is lost is withheld.
func (c *conn) WatchAcks(ctx context.Context, fn func(api.Ack)) error {
	return c.follow(ctx, inAcks, func(v *watch, news []string) {
		for _, key := range news {
			ack := v.view[key].value.(api.Ack)
			if s := c.world.store; ack.Revision >= s.epoch && ack.Revision <= s.epoch+s.routeSeq {
				fn(ack)
			}
		}
	})
}

// WatchBeats calls fn with each heartbeat that is not lost on the way.
func (c *conn) WatchBeats(ctx context.Context, fn func(api.Heartbeat)) error {
	v := &watch{ctx: ctx, deliver: func(v *watch, _ []string) { fn(v.view["beat"].value.(api.Heartbeat)) }}
	err := c.insist(ctx, "watch beats", func() error {
		c.beats = append(c.beats, v)
		return nil
	})
	if err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

// beat sends a heartbeat to whoever listens. It is not stored: it may be lost, come late, or twice.
func (c *conn) beat(b api.Heartbeat) {
	c.beats = slices.DeleteFunc(c.beats, func(v *watch) bool { return v.ctx.Err() != nil })
	for _, v := range c.beats {
		d := c.world.chance.roll("beat " + c.name + " " + b.Node)
		if d.percent(c.world.weather.lost) {
			continue
		}
		for range 1 + d.pick01(c.world.weather.doubled) {
			c.arrive(c.world.weather.latency(d), func() {
				if v.ctx.Err() == nil {
					v.deliver(&watch{view: map[string]entry{"beat": {value: b}}}, nil)
					c.world.stir = true
				}
			})
		}
	}
}

// Answer answers a heartbeat, if the answer is not lost on the way.
func (c *conn) Answer(_ context.Context, g api.Grant) error {
	w := c.world
	w.driver.put(&call{from: c, key: fmt.Sprint("answer ", g.Node, " ", g.Beat), aside: true, done: make(chan struct{}), do: func() error {
		m := w.machine(g.Node)
		d := w.chance.roll("answer " + c.name + " " + g.Node)
		if m == nil || d.percent(w.weather.lost) {
			return nil
		}
		for range 1 + d.pick01(w.weather.doubled) {
			m.arrive(max(0, time.Until(c.thaw))+w.weather.latency(d), func() { m.granted(g) })
		}
		return nil
	}})
	return nil
}

// PutBlob stores content under its digest.
func (c *conn) PutBlob(ctx context.Context, digest api.Digest, data []byte) error {
	send := c.call
	if len(data) > 0 && data[0] == '[' { // the objects that a report names
		send = c.tell
	}
	return send(ctx, "blob "+string(digest), func() error {
		c.world.checkBlob(digest, data)
		c.world.store.blobs[digest] = data
		c.world.writes++
		return nil
	})
}

// PutAssignment stores what a node is to run.
func (c *conn) PutAssignment(ctx context.Context, a api.Assignment) error {
	return c.call(ctx, "assignment "+a.Node, func() error {
		c.world.wrote(c, "assignment of %s, term %d.%d at %s: %s", a.Node, a.Term, a.Sequence, api.ShortCommit(a.Commit), describeAll(a.Pods))
		c.world.checkAssignment(c, a)
		c.world.put(inAssignments, a.Node, a)
		if m := c.world.machine(a.Node); m != nil {
			m.assigned(a)
		}
		return nil
	})
}

func describeAll(pods []api.Placement) string {
	names := make([]string, len(pods))
	for i, p := range pods {
		names[i] = describe(p)
	}
	return fmt.Sprint(names)
}

// PutReport stores what the controller says of the whole.
func (c *conn) PutReport(ctx context.Context, r api.Report) error {
	return c.tell(ctx, "report", func() error {
		c.world.store.report = &r
		return nil
	})
}

// PublishEvent says what happened.
func (c *conn) PublishEvent(ctx context.Context, e api.Event) error {
	return c.tell(ctx, "event "+e.Kind+" "+e.Ref.String(), func() error {
		c.world.told(c, e)
		return nil
	})
}

// Objects reads the objects that a report names.
func (c *conn) Objects(ctx context.Context, digest api.Digest) ([]api.Object, error) {
	data, err := c.blob(ctx, "objects", digest)
	if err != nil {
		return nil, err
	}
	return api.DecodeObjects(data)
}

// Template reads a template.
func (c *conn) Template(ctx context.Context, digest api.Digest) (*api.PodTemplate, error) {
	data, err := c.blob(ctx, "template", digest)
	if err != nil {
		return nil, err
	}
	return api.DecodeTemplate(data)
}

// blob reads a blob.
func (c *conn) blob(ctx context.Context, what string, digest api.Digest) ([]byte, error) {
	var data []byte
	err := c.call(ctx, what+" "+string(digest), func() error {
		var ok bool
		if data, ok = c.world.store.blobs[digest]; !ok {
			return fmt.Errorf("there is no blob %s", digest.Short())
		}
		return nil
	})
	return data, err
}
