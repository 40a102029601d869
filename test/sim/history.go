package sim

import (
	"fmt"
	"maps"
	"slices"
)

// names are those that apps of each kind may have. A name has one kind, mostly: now and then it changes.
var kinds = []string{deployment, deployment, deployment, statefulSet, daemonSet, job, cronJob}

const (
	mostApps     = 6
	mostMachines = 4
)

// firstTree is the tree of the first commit.
func firstTree(d dice) tree {
	t := tree{}
	if d.percent(70) {
		t = t.with(newSettings(d))
	}
	for range 1 + d.in(3) {
		t = t.with(newApp(d, d.in(mostApps)))
	}
	return t
}

// newApp draws an app.
func newApp(d dice, index int) app {
	a := app{
		kind: pick(d, kinds...), version: 1 + d.in(3), replicas: 1 + d.in(4), service: d.percent(50), parallel: index%2 == 0,
		indexed: index%3 == 0, recreate: d.percent(15), minReady: pick(d, 0, 0, 0, 1, 3),
	}
	a.name = fmt.Sprintf("%c%d", a.kind[0]+'a'-'A', index)
	if d.percent(25) {
		a.config = 1
	}
	a.budgeted = (a.kind == deployment || a.kind == statefulSet) && d.percent(30)
	a.deadline, a.atomic = pick(d, 20, 60, 600), d.percent(20)
	a.setLimits(d)
	a.fix()
	return a
}

// newSettings draws the settings of the fleet.
func newSettings(d dice) app {
	return app{kind: clusterKind, name: fleetName, reverts: d.percent(70), atomic: d.percent(30)}
}

// promotes reports whether what a commit changes of an app is promoted together with other things.
func (t tree) promotes(name string) bool { return t[fleetName].atomic || t[name].atomic }

// fix keeps to what may not change of a Job whose template stays: how often it is to succeed. (Parallel and indexed go by
// the name.)
func (a *app) fix() {
	if a.kind == job {
		a.replicas = 1 + a.version%4
	}
}

func (a *app) setLimits(d dice) {
	a.surge, a.unavailable = d.in(3), d.in(3)
	if a.kind == daemonSet && a.surge > 0 {
		a.unavailable = 0 // one of both, as Kubernetes has it
	}
	if a.surge == 0 && a.unavailable == 0 {
		a.unavailable = 1
	}
}

// change gives the tree as a commit may change it.
func change(t tree, d dice) tree {
	for range 1 + d.in(2) {
		names := slices.Sorted(maps.Keys(t))
		if len(names) == 0 || len(names) < mostApps && d.percent(15) {
			t = t.with(newApp(d, d.in(mostApps)))
			continue
		}
		if d.percent(8) {
			t = t.toggle(app{kind: nodeKind, name: fmt.Sprintf("n%d", 1+d.in(mostMachines))})
			continue
		}
		if d.percent(5) {
			t = t.toggle(newSettings(d))
			continue
		}
		a := t[names[d.in(len(names))]]
		switch n := d.in(100); {
		case n < 10 && len(names) > 1, a.kind == nodeKind, a.kind == clusterKind:
			t = t.without(a.name)
			continue
		case n < 50:
			a.version = 1 + d.in(5)
			a.flaw = ""
			if d.percent(40) {
				a.flaw = pick(d, broken, never, slow)
				if a.kind == job || a.kind == cronJob {
					a.flaw = flaky
				}
			}
		case n < 70:
			a.replicas = d.in(6)
			if a.kind == job || a.kind == cronJob {
				a.replicas = 1 + d.in(4)
			}
		case n < 80:
			a.config = d.in(4)
		case n < 90:
			a.service = !a.service
		case n < 95 && (a.kind == job || a.kind == cronJob):
			a.suspended = !a.suspended
		default:
			a.setLimits(d)
		}
		a.fix()
		t = t.with(a)
	}
	return t
}

// toggle gives the tree with an app that it has not, or without it.
func (t tree) toggle(a app) tree {
	if _, there := t[a.name]; there {
		return t.without(a.name)
	}
	return t.with(a)
}

// mend gives the tree without what would keep it from coming to rest. One machine may stay drained.
func mend(t tree, d dice) tree {
	t = change(t, d)
	drained := d.percent(50)
	for _, name := range slices.Sorted(maps.Keys(t)) {
		if t[name].kind == nodeKind && drained {
			t = t.without(name)
		}
		drained = drained || t[name].kind == nodeKind
	}
	if len(t) == 0 {
		t = firstTree(d)
	}
	for _, name := range slices.Sorted(maps.Keys(t)) {
		a := t[name]
		a.flaw = ""
		a.suspended = a.kind == cronJob
		if t.promotes(name) && a.kind != nodeKind && a.kind != clusterKind {
			a.version, a.deadline = a.version+1, 600 // what failed stays back until it has another template
			a.fix()
		}
		t = t.with(a)
	}
	return t
}
