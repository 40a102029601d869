package sim

import (
	"cmp"
	"container/heap"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
	"sync"
	"testing/synctest"
	"time"
)

// A driver is the clockwork of a run: the events to come, and the calls of the controllers that wait for an answer.
type driver struct {
	chance *chance
	start  time.Time
	events events
	count  int  // of all events ever: it orders those of one instant
	stir   bool // a controller may be at work since the driver last waited

	mu     sync.Mutex
	calls  []*call
	called chan struct{} // holds a token while there are new calls

	trace trace
}

// An event is something that happens at a time.
type event struct {
	at    time.Time
	order int
	do    func()
}

type events []event

func (e events) Len() int { return len(e) }

func (e events) Less(i, j int) bool {
	return cmp.Or(e[i].at.Compare(e[j].at), cmp.Compare(e[i].order, e[j].order)) < 0
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }

func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	(*e)[len(*e)-1] = event{}
	*e = (*e)[:len(*e)-1]
	return last
}

func newDriver(seed uint64) *driver {
	return &driver{chance: newChance(seed), start: time.Now(), called: make(chan struct{}, 1), trace: newTrace()}
}

// after has something happen.
func (d *driver) after(wait time.Duration, do func()) {
	d.count++
	heap.Push(&d.events, event{time.Now().Add(wait), d.count, do})
}

// run lets time go by until a deadline, or until done reports true; it is asked after every event.
func (d *driver) run(deadline time.Time, done func() bool) bool {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if d.stir {
			synctest.Wait()
			d.stir = false
		}
		d.takeCalls()
		now := time.Now()
		if len(d.events) > 0 && !d.events[0].at.After(now) {
			heap.Pop(&d.events).(event).do()
			if done != nil && done() {
				return true
			}
			continue
		}
		if !now.Before(deadline) {
			return false
		}
		next := deadline
		if len(d.events) > 0 && d.events[0].at.Before(next) {
			next = d.events[0].at
		}
		timer.Reset(next.Sub(now))
		select {
		case <-timer.C:
		case <-d.called:
		}
		d.stir = true // a timer of a controller may have gone off at the same instant
	}
}

// A call is what a controller asks of the world outside.
type call struct {
	from *conn
	key  string // what it asks: it orders the calls of one instant, and decides their chances
	do   func() error
	err  error
	done chan struct{}
	// aside is what is only told to people.
	aside bool
}

// put hands a call to the driver. Any goroutine may.
func (d *driver) put(c *call) {
	d.mu.Lock()
	d.calls = append(d.calls, c)
	d.mu.Unlock()
	select {
	case d.called <- struct{}{}:
	default:
	}
}

// takeCalls begins to serve the calls that have come in, in an order that does not depend on which came first.
func (d *driver) takeCalls() {
	d.mu.Lock()
	calls := d.calls
	d.calls = nil
	d.mu.Unlock()
	slices.SortStableFunc(calls, func(a, b *call) int {
		return cmp.Or(cmp.Compare(a.from.name, b.from.name), cmp.Compare(a.key, b.key))
	})
	for _, c := range calls {
		c.from.serve(c)
	}
}

// answer ends a call.
func (d *driver) answer(c *call, err error) {
	c.err = err
	close(c.done)
	d.stir = true
}

// keptLines is how much of a trace is kept to be shown.
const keptLines = 400

// A trace is what happened in a run: the last lines, and a hash of all.
type trace struct {
	lines []string // a ring
	next  int
	count int
	sum   uint64
	echo  io.Writer // gets every line; nil is nobody
}

func newTrace() trace { return trace{lines: make([]string, 0, keptLines)} }

// note adds a line to the trace.
func (d *driver) note(format string, args ...any) {
	t := &d.trace
	line := fmt.Sprintf("%9.3fs  ", time.Since(d.start).Seconds()) + fmt.Sprintf(format, args...)
	h := fnv.New64a()
	_, _ = io.WriteString(h, line) // it never fails
	t.sum = t.sum*1099511628211 ^ h.Sum64()
	t.count++
	if t.echo != nil {
		_, _ = fmt.Fprintln(t.echo, line) // it is only shown
	}
	if len(t.lines) < keptLines {
		t.lines = append(t.lines, line)
		return
	}
	t.lines[t.next] = line
	t.next = (t.next + 1) % keptLines
}

// last gives the last lines, the oldest first.
func (t *trace) last(n int) []string {
	all := slices.Concat(t.lines[t.next:], t.lines[:t.next])
	return all[max(0, len(all)-n):]
}
