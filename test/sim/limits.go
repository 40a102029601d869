package sim

import (
	"time"

	"headway.dev/headway/api"
)

// floor is how many of the app's pods are to be ready while nothing disturbs it but what people wish for.
func (a app) floor(machines int) int {
	switch {
	case a.kind == statefulSet, a.kind == deployment && a.budgeted && !a.recreate:
		return max(0, a.replicas-1)
	case a.kind == deployment && !a.recreate:
		return max(0, a.replicas-a.unavailable)
	case a.kind == daemonSet:
		return max(0, machines-a.unavailable)
	}
	return 0
}

// ceiling is how many pods the app may have that were not told to stop.
func (a app) ceiling() int {
	if a.kind == deployment && !a.recreate {
		return a.replicas + a.surge
	}
	return a.replicas
}

// checkAvailable holds that a workload never has fewer ready pods than it may, unless something else took them.
func (w *world) checkAvailable(p *pod) {
	owner := p.placement.Owner
	if !w.strict || owner.Kind == job {
		return
	}
	least := -1
	w.eachWanted(owner, func(a app) {
		if floor := a.floor(len(w.machines)); least < 0 || floor < least {
			least = floor
		}
	})
	ready := map[string]bool{} // of a DaemonSet, by machine
	for _, other := range w.podsOf(owner) {
		if other != p && other.ready && !other.stopping {
			place := other.placement.UID
			if owner.Kind == daemonSet {
				place = other.machine.name
			}
			ready[place] = true
		}
	}
	if len(ready) < least {
		w.violate(limitsKept, "%s ends on %s, and %d others are ready, where %d are to be", describe(p.placement), p.machine.name, len(ready), least)
	}
}

// checkCrowds holds that no workload ever has more pods than it may, of those that were not told to stop: only the controller
// can tell which these are. A new leader has yet to plan, and to stop again what the one before was draining.
func (w *world) checkCrowds(r api.Report) {
	if !w.strict || time.Since(w.ruled[len(w.ruled)-1]) < nodeLease+2*drainTimeout {
		return
	}
	for _, s := range r.Workloads {
		if s.Ref.Kind != deployment && s.Ref.Kind != statefulSet {
			continue
		}
		most := 0
		w.eachWanted(s.Ref, func(a app) { most = max(most, a.ceiling()) })
		if n := s.Updated + s.Outdated; n > most {
			w.violate(limitsKept, "%s has %d pods, where %d may be", s.Ref, n, most)
		}
	}
}

// checkAlone holds that no two templates of a workload run at once that is to be made anew.
func (w *world) checkAlone(p *pod) {
	owner := p.placement.Owner
	if !w.strict || owner.Kind != deployment {
		return
	}
	always := true
	w.eachWanted(owner, func(a app) { always = always && a.recreate })
	for _, other := range w.podsOf(owner) {
		if always && other.running && other.placement.Template != p.placement.Template {
			w.violate(limitsKept, "%s starts on %s while %s runs", describe(p.placement), p.machine.name, describe(other.placement))
		}
	}
}

// eachWanted calls fn with the app as each commit has it that may have been in force since the strict time began. One that
// lacks it has an app of no pods.
func (w *world) eachWanted(owner api.Ref, fn func(app)) {
	for _, k := range w.repo.all {
		if !w.delivered[k.number] || k.number < w.strictFrom {
			continue
		}
		a, declared := k.tree[owner.Name]
		if !declared || a.kind != owner.Kind {
			a = app{recreate: true}
		}
		fn(a)
	}
}
