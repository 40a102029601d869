package sim

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Options say how a run is made.
type options struct {
	// without are the numbers of faults that are left out.
	without map[int]bool
	// echo gets every line of the trace, log what the controllers log; nil is nobody.
	echo, log io.Writer
}

// A result is what a run came to.
type result struct {
	seed       uint64
	violations []violation
	faults     []fault // those of the turmoil
	lines      []string
	sum        uint64 // of the whole trace
	simulated  time.Duration
	events     int
}

// The times of a run.
const (
	settleTime = 15 * time.Minute // within which all is to be as wanted once the faults are over
	quietTime  = 45 * time.Second // in which then nothing is to be written
)

// simulate runs one seed. It must be called in a synctest bubble.
func simulate(seed uint64, o options) result {
	w := newWorld(seed)
	w.trace.echo, w.log = o.echo, o.log
	d := w.chance.roll("fleet")
	for i := range 2 + d.in(mostMachines-1) {
		m := newMachine(w, i+1)
		w.machines = append(w.machines, m)
		w.after(d.between(0, 3*time.Second), m.boot)
	}
	for _, id := range []string{"c1", "c2"} {
		p := &process{world: w, id: id}
		w.processes = append(w.processes, p)
		w.after(d.between(0, 2*time.Second), p.start)
	}
	w.repo.push(nil, firstTree(d), careful)
	w.wait(d.between(5*time.Second, 20*time.Second))

	turmoil := d.between(30*time.Second, 100*time.Second)
	faults := drawFaults(w.chance, "faults", turmoil, 4+d.in(20), nil)
	var injected []fault
	for i, f := range faults {
		if !o.without[i] {
			injected = append(injected, f)
		}
	}
	w.schedule(injected)
	w.wait(turmoil + time.Millisecond)
	w.calm()
	if w.settle("turmoil") && d.percent(60) {
		w.absence(d)
	}
	if !w.failed() && d.percent(30) {
		w.takeBack(d)
	}
	if !w.failed() && d.percent(30) {
		w.goBack(d)
	}
	if !w.failed() && d.percent(60) {
		w.calmRollouts(d)
	}
	w.judgeSuspects()
	end := time.Since(w.start)
	w.end()
	return result{
		seed: seed, violations: w.violations, faults: faults, lines: w.trace.last(keptLines), sum: w.trace.sum,
		simulated: end, events: w.count,
	}
}

// calm ends what is left of the turmoil, and makes a last commit that is good.
func (w *world) calm() {
	w.note("the faults are over")
	w.weather = weather{}
	for _, p := range w.processes {
		p.crashAt = 0
		p.start()
	}
	for _, m := range w.machines {
		m.boot()
		m.startDaemon()
	}
	r := w.repo
	r.push(r.head, mend(r.head.tree, w.chance.roll("mend")), careful)
}

// settle waits until all is as the head wants it, and then holds that nothing more is done.
func (w *world) settle(after string) bool {
	done := func() bool { return w.failed() || len(w.unfinished()) == 0 }
	w.runUntilDone(done)
	if w.failed() {
		return false
	}
	if why := w.unfinished(); len(why) > 0 {
		w.violate(newestWins, "%s after the %s, not all is as commit %d wants it: %s", settleTime, after, w.repo.head.number, strings.Join(why, "; "))
		return false
	}
	w.note("all is as wanted")
	w.wait(10 * time.Second) // for what is only told, and ended pods that are cleared away
	writes := w.writes
	w.wait(quietTime)
	if w.writes != writes {
		w.violate(quiet, "%d writes after all was as wanted", w.writes-writes)
	}
	if why := w.unfinished(); len(why) > 0 {
		w.violate(quiet, "it did not last: %s", strings.Join(why, "; "))
	}
	return !w.failed()
}

// runUntilDone looks every second whether it is done.
func (w *world) runUntilDone(done func() bool) {
	for range int(settleTime / time.Second) {
		w.wait(time.Second)
		if done() {
			return
		}
	}
}

// absence has everything go away but the machines and the pods, which are to be left alone.
func (w *world) absence(d dice) {
	w.note("from now on only the control plane and the repository fail")
	good, before := w.repo.head, w.census()
	w.frozen, w.frozenAs = true, good.tree
	const during = 60 * time.Second
	w.schedule(drawFaults(w.chance, "absence", during, 3+d.in(6), harmless))
	w.wait(during + time.Millisecond)
	for _, p := range w.processes {
		p.crashAt = 0
		p.start()
	}
	w.repo.push(good, good.tree, careful) // the same again
	if !w.failed() && w.settle("absence") {
		if after := w.census(); after != before {
			w.violate(disposable, "what runs and is routed is not as it was:\n  %s\n  %s", before, after)
		}
	}
	w.frozen = false
}

// calmRollouts has commits follow each other while nothing fails but the control plane: limits are kept exactly.
func (w *world) calmRollouts(d dice) {
	w.note("from now on there are only commits, and the control plane fails")
	w.strict, w.strictFrom = true, w.repo.head.number
	for i := range 1 + d.in(3) {
		w.repo.push(w.repo.head, change(w.repo.head.tree, w.chance.roll("calm commit")), careful)
		w.schedule(drawFaults(w.chance, fmt.Sprint("calm", i), 20*time.Second, d.in(4), []faultKind{killControl, crashControl, cutControl, slowKernel}))
		w.wait(d.between(time.Second, 40*time.Second))
	}
	w.wait(20 * time.Second)
	w.calm()
	w.settle("rollouts")
	w.strict = false
}
