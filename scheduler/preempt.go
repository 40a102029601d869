package scheduler

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"headway.dev/headway/api"
)

// A tenant is a running pod on its node.
type tenant struct {
	*Running
	kind     *kind // nil where nobody has rules
	priority int32
	ending   bool // told to end, or a victim
	// budgets are those that its end counts against, once they have been looked for.
	budgeted bool
	budgets  []*budget
}

// An eviction is what makes room on a node: no victims where pods that end already do.
type eviction struct {
	node    *node
	victims []*tenant // the lowest priority first, then the youngest
}

// preempt finds the node where the fewest pods of lower priority have to end for the pod to fit, marks these as ending, and
// keeps their room for the pod. False is that there is none.
func (f *fleet) preempt(a *ask) (*node, []*tenant, bool) {
	if a.spec.PreemptionPolicy != nil && *a.spec.PreemptionPolicy == corev1.PreemptNever {
		return nil, nil, false
	}
	f.visit()
	p := priority(a.spec)
	if p <= f.lowest {
		return nil, nil, false
	}
	var best *eviction
	for _, n := range f.candidates(a) {
		if e := f.evict(a, n, p); e != nil && (best == nil || e.compare(best) < 0) {
			best = e
		}
		if best != nil && len(best.victims) == 0 {
			break
		}
	}
	if best == nil {
		return nil, nil, false
	}
	for _, v := range best.victims {
		v.ending = true
		v.spend(1)
		best.node.later.add(v.room())
	}
	best.node.promise(a)
	f.join(best.node, a, true)
	return best.node, best.victims, true
}

// compare orders evictions, the better first: fewer victims, of lower priority, that are younger.
func (e *eviction) compare(o *eviction) int {
	if c := cmp.Compare(len(e.victims), len(o.victims)); c != 0 {
		return c
	}
	for i := len(e.victims) - 1; i >= 0; i-- { // the highest priorities first
		if c := cmp.Compare(e.victims[i].priority, o.victims[i].priority); c != 0 {
			return c
		}
	}
	for i := len(e.victims) - 1; i >= 0; i-- {
		if c := o.victims[i].Started.Compare(e.victims[i].Started); c != 0 {
			return c
		}
	}
	return 0
}

// evict finds the victims on one node; nil is that the pod does not fit there whoever ends.
func (f *fleet) evict(a *ask, n *node, p int32) *eviction {
	tenants := f.tenants[n.index]
	if !slices.ContainsFunc(tenants, func(t *tenant) bool { return t.ending || t.isBelow(p) }) {
		return nil
	}
	trial := newTrial(a, n, tenants)
	defer trial.undo()
	if trial.fits() {
		return &eviction{node: n}
	}
	lower := slices.DeleteFunc(slices.Clone(tenants), func(t *tenant) bool { return t.ending || !t.isBelow(p) })
	slices.SortFunc(lower, compareTenants)
	var removed []*tenant
	for _, t := range lower {
		if f.mayEnd(t) {
			t.spend(1)
			trial.remove(t)
			removed = append(removed, t)
		}
	}
	defer func() {
		for _, t := range removed {
			t.spend(-1)
		}
	}()
	if len(removed) == 0 || !trial.fits() {
		return nil
	}
	e := &eviction{node: n}
	for _, t := range slices.Backward(removed) { // the highest priority and the oldest stay if they can
		if trial.restore(t); !trial.fits() {
			trial.remove(t)
			e.victims = append(e.victims, t)
		}
	}
	slices.Reverse(e.victims)
	return e
}

// compareTenants orders pods by who goes first: the lower priority, then the younger.
func compareTenants(a, b *tenant) int {
	return cmp.Or(cmp.Compare(a.priority, b.priority), b.Started.Compare(a.Started), cmp.Compare(a.UID, b.UID))
}

// isBelow reports whether the pod is known to be of a lower priority.
func (t *tenant) isBelow(p int32) bool { return t.Spec != nil && t.priority < p }

func (t *tenant) room() room { return room{t.Requests, t.Extended, 1} }

// visit makes the list of who runs where.
func (f *fleet) visit() {
	if f.tenants != nil {
		return
	}
	f.tenants, f.lowest = make([][]*tenant, len(f.nodes)), math.MaxInt32
	for _, b := range f.in.Budgets {
		f.budgets = append(f.budgets, &budget{b.Ref.Namespace, selectorOf(b.Selector, marks{}, nil, nil), b.Left})
	}
	for i := range f.in.Running {
		r := &f.in.Running[i]
		n := f.named[r.Node]
		if n == nil {
			continue
		}
		t := &tenant{Running: r, ending: r.Stopping}
		if r.Spec != nil {
			t.priority = priority(r.Spec)
			f.lowest = min(f.lowest, t.priority)
		}
		if f.pods != nil {
			t.kind = f.kindOfRunning(r)
		}
		if t.ending {
			n.later.add(t.room())
		}
		f.tenants[n.index] = append(f.tenants[n.index], t)
	}
}

// A budget bounds victims.
type budget struct {
	namespace string
	selector  labels.Selector
	left      int
}

// mayEnd reports whether all budgets of the pod have something left.
func (f *fleet) mayEnd(t *tenant) bool {
	if !t.budgeted {
		t.budgeted = true
		for _, b := range f.budgets {
			if !t.Unready && b.namespace == t.Owner.Namespace && b.selector.Matches(labels.Set(t.Labels)) {
				t.budgets = append(t.budgets, b)
			}
		}
	}
	return !slices.ContainsFunc(t.budgets, func(b *budget) bool { return b.left <= 0 })
}

func (t *tenant) spend(n int) {
	for _, b := range t.budgets {
		b.left -= n
	}
}

// makesRoom says how a refused pod comes to its room.
func makesRoom(n *node, victims []*tenant) string {
	if len(victims) == 0 {
		return n.Name + " has room once the pods that end there are gone"
	}
	var names []string
	for _, v := range victims {
		name := v.Pod.String()
		if v.Pod.IsZero() {
			name = "pod " + v.UID
		}
		names = append(names, fmt.Sprintf("%s (priority %d)", name, v.priority))
	}
	return fmt.Sprintf("room is made on %s by ending %s", n.Name, strings.Join(names, ", "))
}

func identities(victims []*tenant) []api.PodIdentity {
	var all []api.PodIdentity
	for _, v := range victims {
		all = append(all, api.PodIdentity{Pod: v.Pod, UID: v.UID, Owner: v.Owner, Template: v.Template})
	}
	return all
}
