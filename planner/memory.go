package planner

import (
	"cmp"
	"maps"
	"reflect"
	"slices"

	"headway.dev/headway/api"
)

// A memory is what plans that follow on each other keep of what they found. Each part of it knows what it was made of, and is
// made anew where that has changed.
type memory struct {
	revision  api.Revision
	prune     bool
	declared  declared
	want      *wanted
	beside    []api.Object // what want has beside the desired objects
	nodes     machines
	parts     []part // of the workloads of want, in their sequence
	index     labelIndex
	addresses addresses
	services  []servicePart // of the services of want
}

// plan makes one plan of what is seen.
func (m *memory) plan(in Input, seen *observed) Plan {
	in.Pods = nil
	m.declared.note(&in)
	pruning := newPruning(&in, &m.declared, seen)
	m.note(&in, pruning.kept())
	m.index.note(m.want, seen)
	p := planAll(in, m, seen, pruning)
	if p.failsAnew() {
		p.promote()
		in.Rollouts = p.plan.Workloads
		p = planAll(in, m, seen, pruning)
	}
	return p.finish()
}

// note forgets what is not known any more by what Git wants, and looks at the nodes.
func (m *memory) note(in *Input, beside []api.Object) {
	m.nodes.note(in.Nodes)
	if m.want != nil && m.want.objects == m.declared.version && sameObjects(m.beside, beside) {
		if m.revision == in.Revision && m.prune == in.Prune {
			return
		}
	} else {
		m.want = newWanted(inForce(in.Desired, beside))
		m.want.objects, m.beside = m.declared.version, beside
	}
	m.revision, m.prune = in.Revision, in.Prune
	m.parts, m.services = make([]part, len(m.want.sequence)), make([]servicePart, len(m.want.services))
}

// declared are the names of what Git holds, and what it held until now.
type declared struct {
	desired, deployed []api.Object // as they were given
	version           int          // of desired
	refs              map[api.Ref]bool
	dropped           []api.Object // deployed, and desired no more
}

// note takes in the desired and deployed objects.
func (d *declared) note(in *Input) {
	same := d.refs != nil && sameObjects(d.desired, in.Desired)
	if !same {
		d.desired = slices.Clone(in.Desired)
		d.version++
		d.refs = make(map[api.Ref]bool, len(in.Desired))
		for i := range in.Desired {
			d.refs[in.Desired[i].Ref] = true
		}
	}
	if same && sameObjects(d.deployed, in.Deployed) {
		return
	}
	d.deployed, d.dropped = slices.Clone(in.Deployed), nil
	for i := range in.Deployed {
		if !d.refs[in.Deployed[i].Ref] {
			d.dropped = append(d.dropped, in.Deployed[i])
		}
	}
}

// desires reports whether Git holds the owner of pods, or the CronJob that it is a run of.
func (d *declared) desires(owner api.Ref) bool {
	if d.refs[owner] {
		return true
	}
	cron, _, isRun := cronOf(owner)
	return isRun && d.refs[cron]
}

// sameObjects reports whether two lists hold the very same objects. None of them ever changes.
func sameObjects(a, b []api.Object) bool { return slices.Equal(a, b) }

// machines are the nodes, as far as planning depends on them.
type machines struct {
	known    bool
	list     []Node // as they were given
	sorted   []*Node
	draining map[string]bool // the nodes that are
	// version counts changes of any node, drains those of which are drained.
	version, drains uint64
}

// note takes in the nodes.
func (m *machines) note(nodes []Node) {
	if m.known && slices.EqualFunc(m.list, nodes, sameNode) {
		return
	}
	m.known, m.list, m.sorted = true, slices.Clone(nodes), make([]*Node, len(nodes))
	m.version++
	draining := map[string]bool{}
	for i := range m.list {
		m.sorted[i] = &m.list[i]
		if m.list[i].Draining {
			draining[m.list[i].Name] = true
		}
	}
	slices.SortFunc(m.sorted, func(a, b *Node) int { return cmp.Compare(a.Name, b.Name) })
	if !maps.Equal(draining, m.draining) {
		m.draining = draining
		m.drains++
	}
}

// sameNode compares labels and taints only where they are not one map, and in one place.
func sameNode(a, b Node) bool {
	return a.Name == b.Name && a.Cordoned == b.Cordoned && a.Draining == b.Draining && a.Lost == b.Lost &&
		sameMap(a.Labels, b.Labels) && slices.Equal(a.Taints, b.Taints)
}

// sameMap compares maps that do not change once they are made.
func sameMap(a, b map[string]string) bool {
	return reflect.ValueOf(a).Pointer() == reflect.ValueOf(b).Pointer() || maps.Equal(a, b)
}
