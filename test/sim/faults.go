package sim

import (
	"fmt"
	"slices"
	"time"

	"headway.dev/headway/tenure"
)

// A fault is something that goes wrong, or that people do, at a time of the run. A run's faults are drawn before it
// begins, so that it can be run again without some of them.
type fault struct {
	at     time.Duration // after the turmoil has begun
	kind   faultKind
	target int           // which machine or process
	lasts  time.Duration // until it is over
	n      int           // what the kind makes of it
}

func (f fault) String() string {
	return fmt.Sprintf("%s: %s %d, for %s (%d)", f.at, f.kind, f.target, f.lasts, f.n)
}

// A faultKind is what goes wrong.
type faultKind string

// The kinds of faults.
const (
	cutMachine    faultKind = "cut off machine"
	partMachines  faultKind = "part machines from the others, with machine"
	killMachine   faultKind = "kill machine"
	wipeMachine   faultKind = "kill and wipe machine"
	restartDaemon faultKind = "restart daemon"
	skewClock     faultKind = "set clock of machine"
	crashPod      faultKind = "crash pod on machine"
	slowKernel    faultKind = "be slow to apply routes, machine"
	killControl   faultKind = "kill controller"
	crashControl  faultKind = "crash controller at a call"
	cutControl    faultKind = "cut off controller"
	freezeControl faultKind = "suspend controller"
	loseStore     faultKind = "lose the store"
	loseBuckets   faultKind = "lose a part of the store"
	storm         faultKind = "storm"
	gitOutage     faultKind = "git outage"
	pushCommit    faultKind = "commit"
	pushBroken    faultKind = "broken commit"
	pushEmpty     faultKind = "empty commit"
	pushForced    faultKind = "forced push"
	pushRevert    faultKind = "revert"
	setBack       faultKind = "branch set back"
)

// odds are how often each kind of fault is drawn.
var odds = []struct {
	kind   faultKind
	weight int
}{
	{pushCommit, 30},
	{pushBroken, 6},
	{pushEmpty, 3},
	{pushForced, 5},
	{pushRevert, 5},
	{setBack, 4},
	{gitOutage, 5},
	{cutMachine, 8},
	{partMachines, 4},
	{killMachine, 5},
	{wipeMachine, 2},
	{restartDaemon, 6},
	{skewClock, 3},
	{crashPod, 8},
	{slowKernel, 5},
	{killControl, 6},
	{crashControl, 12},
	{cutControl, 6},
	{freezeControl, 4},
	{loseStore, 2},
	{loseBuckets, 3},
	{storm, 8},
}

// harmless are the faults that may stop or start no pod.
var harmless = []faultKind{pushBroken, pushEmpty, gitOutage, killControl, crashControl, cutControl, freezeControl, loseStore, loseBuckets}

// drawFaults draws the faults of a time of turmoil, in the order of their times.
func drawFaults(c *chance, what string, during time.Duration, n int, kinds []faultKind) []fault {
	sum := 0
	for _, o := range odds {
		if kinds == nil || slices.Contains(kinds, o.kind) {
			sum += o.weight
		}
	}
	var faults []fault
	for i := range n {
		d := c.fixed(what, uint64(i))
		f := fault{at: d.between(0, during), target: d.in(60), n: d.in(1000), lasts: pick(d, time.Second, 4*time.Second, 12*time.Second, 25*time.Second, 60*time.Second)}
		left := d.in(sum)
		for _, o := range odds {
			if kinds != nil && !slices.Contains(kinds, o.kind) {
				continue
			}
			if left -= o.weight; left < 0 {
				f.kind = o.kind
				break
			}
		}
		f.lasts = min(f.lasts, during-f.at)
		faults = append(faults, f)
	}
	slices.SortStableFunc(faults, func(a, b fault) int { return int(a.at - b.at) })
	return faults
}

// schedule has the faults happen from now on.
func (w *world) schedule(faults []fault) {
	for _, f := range faults {
		w.after(f.at, func() { w.inject(f) })
	}
}

// inject has a fault happen, and end in its time.
func (w *world) inject(f fault) {
	m, p := w.machines[f.target%len(w.machines)], w.processes[f.target%len(w.processes)]
	over := func(do func()) { w.after(f.lasts, do) }
	switch f.kind {
	case cutMachine:
		w.note("fault: %s is cut off for %s", m.name, f.lasts)
		m.disconnect(1 + f.target%len(w.machines))
		over(func() { w.note("%s is healed", m.name); m.heal() })
	case partMachines:
		w.part(f)
	case killMachine, wipeMachine:
		w.note("fault: %s: %s for %s", f.kind, m.name, f.lasts)
		m.die()
		over(func() {
			if m.up {
				return
			}
			if f.kind == wipeMachine {
				m.wipe()
			}
			w.note("%s boots", m.name)
			m.boot()
		})
	case restartDaemon:
		// Longer than the lease leaves for a kill, and what must not run twice might: the daemon is who stops it (see
		// docs/decisions/0025).
		f.lasts = min(f.lasts, tenure.Of(failover).Grace)
		w.note("fault: the daemon of %s is away for %s", m.name, f.lasts)
		m.stopDaemon()
		over(m.startDaemon)
	case skewClock:
		m.skew = time.Duration(f.n-500) * 100 * time.Millisecond
		w.note("fault: the clock of %s is set off by %s", m.name, m.skew)
	case crashPod:
		if pods := m.sorted(); len(pods) > 0 && m.up {
			pods[f.n%len(pods)].fail()
		}
	case slowKernel:
		w.note("fault: the kernel of %s takes routes slowly for %s", m.name, f.lasts)
		m.slow += time.Duration(1+f.n%8) * time.Second / 2
		over(func() { m.slow = 0 })
	case killControl:
		w.note("fault: kill %s for %s", p.id, f.lasts)
		p.kill()
		over(p.start)
	case crashControl:
		if p.conn != nil {
			p.crashAt, p.downFor = p.conn.asked+1+f.n%40, f.lasts
			w.note("fault: %s is to die at its call %d, for %s", p.conn.name, p.crashAt, f.lasts)
		}
	case cutControl, freezeControl:
		w.isolate(p, f)
	case storm:
		w.note("fault: a storm for %s", f.lasts)
		w.storms++
		w.weather = weather{lost: 1 + f.n%15, doubled: f.n % 20, rough: true}
		over(func() {
			if w.storms--; w.storms == 0 {
				w.note("the storm is over")
				w.weather = weather{}
			}
		})
	case loseStore:
		w.lose(buckets)
	case loseBuckets:
		var some []string
		for i, bucket := range buckets {
			if (f.n>>i)&1 == 1 || i == f.target%len(buckets) {
				some = append(some, bucket)
			}
		}
		w.lose(some)
	default:
		w.injectGit(f)
	}
}

// part cuts some machines off that reach one another.
func (w *world) part(f fault) {
	const apart = 100
	for i, m := range w.machines {
		if (f.n>>i)&1 == 0 && i != f.target%len(w.machines) {
			continue
		}
		w.note("fault: %s is parted from the others for %s", m.name, f.lasts)
		m.disconnect(apart)
		w.after(f.lasts, func() { w.note("%s is back", m.name); m.heal() })
	}
}

// isolate cuts a process off, or suspends it.
func (w *world) isolate(p *process, f fault) {
	c := p.conn
	if c == nil || c.dead {
		return
	}
	w.note("fault: %s: %s for %s", f.kind, c.name, f.lasts)
	if f.kind == cutControl {
		c.cut = true
		w.after(f.lasts, func() {
			w.note("%s is healed", c.name)
			c.cut = false
			c.reconnect()
			for _, g := range w.repo.follows {
				if g.conn == c {
					c.arrive(time.Second, g.deliver)
				}
			}
		})
		return
	}
	c.thaw = time.Now().Add(f.lasts)
	c.suspended.Store(true)
	w.after(f.lasts, func() {
		if !time.Now().Before(c.thaw) {
			w.note("%s goes on", c.name)
			c.suspended.Store(false)
		}
	})
}

// injectGit has something happen to the repository.
func (w *world) injectGit(f fault) {
	r := w.repo
	d := w.chance.fixed("commit", uint64(f.n))
	switch f.kind {
	case gitOutage:
		w.note("fault: the repository is away for %s", f.lasts)
		r.away++
		r.tell()
		w.after(f.lasts, func() {
			if r.away--; r.away == 0 {
				r.tell()
			}
		})
	case pushCommit:
		r.push(r.head, change(r.head.tree, d), mostlyCareful(d))
	case pushBroken:
		if w.frozen { // what evaluates of it goes on: then it is as it was
			r.push(r.head, w.frozenAs, faulty)
			return
		}
		r.push(r.head, change(r.head.tree, d), faulty)
	case pushEmpty:
		r.push(r.head, tree{}, careful)
	case pushForced:
		base := r.all[d.in(len(r.all))]
		r.push(base, change(base.tree, d), mostlyCareful(d))
	case pushRevert:
		r.push(r.head, r.all[d.in(len(r.all))].tree, mostlyCareful(d))
	case setBack:
		r.setBack(r.all[d.in(len(r.all))])
	}
}

// mostlyCareful says how a commit that evaluates is made.
func mostlyCareful(d dice) making {
	if d.percent(20) {
		return careless
	}
	return careful
}
