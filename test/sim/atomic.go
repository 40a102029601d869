package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"headway.dev/headway/api"
)

// goneBack reports whether the pod has a template that a commit before had, which it may go back to.
func (w *world) goneBack(p api.Placement) bool {
	t := w.templates[p.Template]
	return t != nil && slices.ContainsFunc(w.repo.all, func(k *commit) bool {
		a, ok := k.tree[p.Owner.Name]
		return ok && w.delivered[k.number] && a.image() == t.Spec.Containers[0].Image
	})
}

// goBack has one of two workloads fail that a commit changes together, while nothing else fails but the control plane: both go
// back to what they had, and stay there.
func (w *world) goBack(d dice) {
	w.note("from now on a commit fails of which all or nothing is wanted, and so does the control plane")
	r := w.repo
	if !w.settings(app{kind: clusterKind, name: fleetName, atomic: true}) {
		return
	}
	good := r.head
	first, ok := pickServing(good.tree, d, "")
	if !ok {
		return
	}
	second, ok := pickServing(good.tree, d, first)
	if !ok {
		return
	}
	r.push(good, good.tree.with(good.tree.at(first).next(broken)).with(good.tree.at(second).next("")), careful)
	const during = 40 * time.Second
	w.schedule(drawFaults(w.chance, "going back", during, d.in(4), []faultKind{killControl, crashControl, cutControl}))
	w.wait(during + time.Millisecond)
	for _, p := range w.processes {
		p.crashAt = 0
		p.start()
	}
	missing := func() []string {
		why := slices.Concat(w.missing(good.tree.at(first)), w.missing(good.tree.at(second)))
		for _, name := range []string{first, second} {
			if !w.isBack(good.tree.at(name).ref()) {
				why = append(why, fmt.Sprintf("no report says that %s went back", name))
			}
		}
		return why
	}
	w.runUntilDone(func() bool { return w.failed() || len(missing()) == 0 })
	w.wait(quietTime)
	if why := missing(); len(why) > 0 && !w.failed() {
		w.violate(together, "commit %d failed, and not all that it changed is as before: %s", r.head.number, strings.Join(why, "; "))
	}
	if !w.failed() {
		r.push(r.head, good.tree, careful)
		w.settle("commit of which nothing was wanted")
	}
}

// isBack reports whether the controller says of a workload that it has its last good template.
func (w *world) isBack(ref api.Ref) bool {
	return w.store.report != nil && slices.ContainsFunc(w.store.report.Workloads, func(s api.WorkloadStatus) bool { return s.Ref == ref && s.Back != "" })
}
