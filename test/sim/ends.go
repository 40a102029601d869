package sim

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"headway.dev/headway/api"
)

// unfinished says what keeps the fleet from being as the head wants it; nothing if it is.
func (w *world) unfinished() []string {
	var why []string
	head := w.repo.head
	r := w.store.report
	if r == nil || r.Deployed.Commit != head.revision.Commit || r.Head.Commit != head.revision.Commit {
		why = append(why, fmt.Sprintf("no report says that commit %d is deployed", head.number))
	}
	for _, name := range slices.Sorted(maps.Keys(head.tree)) {
		why = append(why, w.missing(head.tree[name])...)
	}
	for _, m := range w.machines {
		for _, p := range m.sorted() {
			if _, ok := head.tree[appOf(p.placement.Owner)]; !ok {
				why = append(why, fmt.Sprintf("%s is still on %s", describe(p.placement), m.name))
			}
		}
		a, ok := valueOf[api.Assignment](w.store, inAssignments, m.name)
		if !ok || m.assignment == nil || m.assignment.Term != a.Term || m.assignment.Sequence != a.Sequence {
			why = append(why, fmt.Sprintf("%s does not obey the assignment that is stored", m.name))
		}
	}
	return append(why, w.misrouted()...)
}

// missing says what an app lacks, or has too much of.
func (w *world) missing(a app) []string {
	switch a.kind {
	case clusterKind:
		return nil
	case nodeKind:
		return w.undrained(a.name)
	case job:
		return w.unsuccessful(a)
	case cronJob:
		return w.underWay(a)
	}
	var why []string
	want := a.replicas
	if a.kind == daemonSet {
		want = len(w.machines)
	}
	ready := 0
	places := map[string]bool{}
	for _, p := range w.podsOf(a.ref()) {
		switch {
		case p.image != a.image() || !w.configured(p, a):
			why = append(why, fmt.Sprintf("%s on %s is not of %s", describe(p.placement), p.machine.name, a))
		case !p.ready || p.stopping:
			why = append(why, fmt.Sprintf("%s on %s is not ready", describe(p.placement), p.machine.name))
		default:
			ready++
		}
		place := p.placement.Pod.Name
		if a.kind == daemonSet {
			place = p.machine.name
		}
		if places[place] {
			why = append(why, fmt.Sprintf("%s is there twice", describe(p.placement)))
		}
		places[place] = true
	}
	if ready != want {
		why = append(why, fmt.Sprintf("%s has %d ready pods of %d", a.ref(), ready, want))
	}
	return why
}

// undrained gives the pods that a drained machine still has, but for those that belong to it.
func (w *world) undrained(name string) []string {
	var why []string
	m := w.machine(name)
	if m == nil {
		return nil
	}
	for _, p := range m.sorted() {
		if p.placement.Owner.Kind != daemonSet && p.phase != api.PodSucceeded && p.phase != api.PodFailed {
			why = append(why, fmt.Sprintf("%s is on %s, which is drained", describe(p.placement), name))
		}
	}
	return why
}

// underWay gives the runs of a CronJob that have not ended.
func (w *world) underWay(a app) []string {
	if w.store.report == nil {
		return nil
	}
	var why []string
	for _, s := range w.store.report.Workloads {
		if s.Ref.Kind == job && s.Ref.Name != a.name && appOf(s.Ref) == a.name && s.State == api.RolloutProgressing {
			why = append(why, fmt.Sprintf("%s: %s", s.Ref, s.Reason))
		}
	}
	return why
}

// configured reports whether the pod has the version of the config map that the app has.
func (w *world) configured(p *pod, a app) bool {
	t := w.templates[p.placement.Template]
	if a.config == 0 || t == nil {
		return t != nil && len(t.ConfigMaps) == 0
	}
	digest, ok := t.ConfigMaps[a.name]
	if !ok {
		return false
	}
	return strings.Contains(string(w.contents[digest]), fmt.Sprintf(`"%d"`, a.config))
}

// unsuccessful says what a Job has yet to do.
func (w *world) unsuccessful(a app) []string {
	if a.suspended {
		return nil
	}
	for _, p := range w.podsOf(a.ref()) {
		if p.phase != api.PodSucceeded && p.phase != api.PodFailed {
			return []string{fmt.Sprintf("%s on %s has not ended", describe(p.placement), p.machine.name)}
		}
	}
	r := w.store.report
	if r == nil {
		return []string{"no report tells of jobs"}
	}
	i := slices.IndexFunc(r.Workloads, func(s api.WorkloadStatus) bool { return s.Ref == a.ref() })
	if i < 0 {
		return []string{fmt.Sprintf("no report tells of %s", a.ref())}
	}
	status := r.Workloads[i]
	switch status.State {
	case api.RolloutComplete:
		done := 0
		for run := range w.runs {
			if run.job == a.ref() && run.template == status.Template {
				done++
			}
		}
		least := a.replicas
		for _, k := range w.repo.all { // it runs once a template, by the number that was wanted then
			if b, ok := k.tree[a.name]; ok {
				least = min(least, b.replicas)
			}
		}
		if done < least {
			w.violate(disposable, "%s is said to be complete, and %d of %d runs succeeded", a.ref(), done, least)
		}
		return nil
	case api.RolloutStalled: // too many of its runs failed
		return nil
	}
	return []string{fmt.Sprintf("%s: %s", a.ref(), status.Reason)}
}

// misrouted says what is wrong with the routes.
func (w *world) misrouted() []string {
	var why []string
	head := w.repo.head
	table := w.store.table()
	if table.Revision == 0 {
		why = append(why, "the routes are not whole")
	}
	want := map[api.Ref][]string{}
	for name, a := range head.tree {
		if !a.service {
			continue
		}
		ref := api.Ref{Kind: "Service", Namespace: "shop", Name: name}
		want[ref] = nil
		for _, m := range w.machines {
			for _, p := range m.sorted() {
				if p.ready && p.placement.Labels["app"] == name {
					want[ref] = append(want[ref], p.placement.UID)
				}
			}
		}
		slices.Sort(want[ref])
	}
	got := map[api.Ref][]string{}
	for _, r := range table.Routes {
		got[r.Service] = nil
		for _, e := range r.Endpoints {
			got[r.Service] = append(got[r.Service], e.UID)
		}
		slices.Sort(got[r.Service])
	}
	if !reflect.DeepEqual(want, got) {
		why = append(why, fmt.Sprintf("the routes are %v, where %v are ready", got, want))
	}
	for _, m := range w.machines {
		if m.kernel.Revision != table.Revision {
			why = append(why, fmt.Sprintf("the kernel of %s has routes %d, where the store has %d", m.name, m.kernel.Revision, table.Revision))
		}
	}
	return why
}

// census is what runs and is routed, but for Jobs, with how often each container was started.
func (w *world) census() string {
	var s strings.Builder
	for _, m := range w.machines {
		for _, p := range m.sorted() {
			if p.placement.Owner.Kind != job {
				fmt.Fprintf(&s, "%s on %s was started %d times; ", describe(p.placement), m.name, p.starts)
			}
		}
		for _, r := range m.kernel.Routes {
			fmt.Fprintf(&s, "%s routes %s to %v; ", m.name, r.Service.Name, r.Endpoints)
		}
	}
	return s.String()
}
