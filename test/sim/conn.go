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
	rule      int // which of all rules is its own, if it leads
	routes    routeWriter
	ledger    ledger

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

// State reads what the buckets hold.
func (c *conn) State(ctx context.Context) (controller.State, error) {
	var found controller.State
	err := c.call(ctx, "state", func() error {
		s := c.world.store
		table := s.table()
		c.ledger.read(s)
		c.routes.base = storePoint{epoch: s.epochs[inRoutes], seq: s.routeSeq}
		found = controller.State{
			Nodes:         valuesOf[api.NodeInfo](s, inNodes),
			Assignments:   valuesOf[api.Assignment](s, inAssignments),
			Statuses:      valuesOf[api.NodeStatus](s, inStatuses),
			Routes:        table.Routes,
			RouteRevision: table.Revision,
			RouteTerm:     s.mark.term,
			Report:        s.report,
		}
		return nil
	})
	if err != nil {
		return controller.State{}, err
	}
	return found, nil
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
	at := c.ledger.expected(a.Node)
	err := c.call(ctx, "assignment "+a.Node, func() error {
		s := c.world.store
		if !at.allows(s.epochs[inAssignments], s.values[inAssignments][a.Node].seq) {
			return errOverwritten
		}
		c.world.wrote(c, "assignment of %s, term %d.%d at %s: %s", a.Node, a.Term, a.Sequence, api.ShortCommit(a.Commit), describeAll(a.Pods))
		c.world.checkAssignment(c, a)
		c.ledger.wrote(s, a.Node, c.world.put(inAssignments, a.Node, a))
		if m := c.world.machine(a.Node); m != nil {
			m.assigned(a)
		}
		return nil
	})
	return c.ledger.doubt(a.Node, err)
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
	at := c.ledger.expected(reportKey)
	err := c.tell(ctx, reportKey, func() error {
		s := c.world.store
		if !at.allows(s.epochs[inReport], s.reportSeq) {
			return errOverwritten
		}
		s.seq++
		s.report, s.reportSeq = &r, s.seq
		c.ledger.wrote(s, reportKey, s.seq)
		c.world.checkCrowds(r)
		c.world.checkQuarantine(r)
		return nil
	})
	return c.ledger.doubt(reportKey, err)
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

// Blobs lists the blobs.
func (c *conn) Blobs(ctx context.Context) ([]api.Digest, error) {
	var all []api.Digest
	err := c.call(ctx, "blobs", func() error {
		all = slices.Sorted(maps.Keys(c.world.store.blobs))
		return nil
	})
	return all, err
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
