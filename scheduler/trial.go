package scheduler

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// A trial is a node as it would be without some of its pods, those that are ending to begin with. Until it is undone the
// rules of the ask count as if these were gone.
type trial struct {
	ask   *ask
	node  node // a copy
	stay  []*tenant
	away  []*tenant
	newer []corev1.ContainerPort // that pods placed now hold
}

func newTrial(a *ask, n *node, tenants []*tenant) *trial {
	t := &trial{ask: a, node: *n, newer: n.ports[n.held:]}
	t.node.extended = maps.Clone(n.extended)
	t.node.gain(n.later)
	for _, tenant := range tenants {
		if tenant.ending {
			t.away = append(t.away, tenant)
			t.count(tenant, -1)
		} else {
			t.stay = append(t.stay, tenant)
		}
	}
	return t
}

// remove takes a pod off the node.
func (t *trial) remove(tenant *tenant) {
	t.node.gain(tenant.room())
	t.count(tenant, -1)
	t.stay, t.away = moved(t.stay, t.away, tenant)
}

// restore puts a pod back that was removed.
func (t *trial) restore(tenant *tenant) {
	t.node.give(tenant.room())
	t.count(tenant, 1)
	t.away, t.stay = moved(t.away, t.stay, tenant)
}

func moved(from, to []*tenant, tenant *tenant) (less, more []*tenant) {
	i := slices.Index(from, tenant)
	return slices.Delete(from, i, i+1), append(to, tenant)
}

// count has the rules count a pod, or not any more.
func (t *trial) count(tenant *tenant, by int64) {
	for _, r := range t.ask.strict {
		if tenant.Stopping && !r.countsLeaving() {
			continue
		}
		for _, k := range r.kinds {
			if k == tenant.kind {
				r.add(&t.node, by)
			}
		}
	}
}

// fits reports whether the pod could be placed on the node as it now is.
func (t *trial) fits() bool {
	if len(t.ask.ports) > 0 {
		t.node.ports = slices.Clone(t.newer)
		for _, tenant := range t.stay {
			t.node.ports = append(t.node.ports, tenant.HostPorts...)
		}
	}
	if !t.node.hasRoom(t.ask) {
		return false
	}
	t.ask.level()
	return !t.ask.forbids(&t.node)
}

// undo has the rules count all pods again.
func (t *trial) undo() {
	for _, tenant := range t.away {
		t.count(tenant, 1)
	}
	t.ask.level()
}
