package planner

import (
	"iter"
	"slices"

	"headway.dev/headway/api"
)

// observed are pods by their owners.
type observed struct {
	groups map[api.Ref]*group
	sorted []*group // by owner, unless they are others now
	others bool
	shape  uint64 // counts how often they were others
	// version counts changes: no two states of the pods of an owner have the same.
	version uint64
}

// A group is the pods of one owner.
type group struct {
	owner api.Ref
	pods  []*Pod // ordered by ref, UID and node
	// version is that of the last change; since then the pods may be out of order until they are put in order.
	version    uint64
	disordered bool
	// surveyed is the version that the traits are of.
	surveyed uint64
	traits   traits
	// claims are those that the pods use, live is what they have that changes in place, and labels are those that services
	// select by; as each was last found.
	claims keptClaims
	live   keptLive
	labels keptLabels
}

// traits are what few pods have, so that for its sake most groups need not be looked at.
type traits struct {
	volumes   bool // some have declared volumes
	live      bool // some have content that changes in place
	dependent bool // some depend on something
}

// observe groups a list of pods, in which a pod may be twice. It keeps the list. Versions go on after the one given.
func observe(pods []Pod, after uint64) *observed {
	o := &observed{groups: map[api.Ref]*group{}, version: after + 1}
	var g *group
	for i := range pods {
		if g == nil || g.owner != pods[i].Owner { // those of one owner mostly come one after the other
			g = o.group(pods[i].Owner)
		}
		g.pods = append(g.pods, &pods[i])
	}
	o.settle()
	return o
}

// group gives the group of an owner, which is made if there is none.
func (o *observed) group(owner api.Ref) *group {
	g := o.groups[owner]
	if g == nil {
		g = &group{owner: owner, version: o.version, disordered: true}
		o.groups[owner], o.others = g, true
	}
	return g
}

// touch notes that a group has changed.
func (o *observed) touch(g *group) {
	o.version++
	g.version = o.version
}

// remove forgets a group.
func (o *observed) remove(g *group) {
	delete(o.groups, g.owner)
	o.others = true
}

// of gives the pods of an owner, ordered by ref, UID and node.
func (o *observed) of(owner api.Ref) []*Pod {
	if g := o.groups[owner]; g != nil {
		return g.pods
	}
	return nil
}

// versionOf is the version of an owner's pods; 0 where there are none.
func (o *observed) versionOf(owner api.Ref) uint64 {
	if g := o.groups[owner]; g != nil {
		return g.version
	}
	return 0
}

// all gives every pod, by owner.
func (o *observed) all() iter.Seq[*Pod] {
	return func(yield func(*Pod) bool) {
		for _, g := range o.sorted {
			for _, pod := range g.pods {
				if !yield(pod) {
					return
				}
			}
		}
	}
}

// in gives the pods of a namespace, which is that of their owners, too.
func (o *observed) in(namespace string) iter.Seq[*Pod] {
	return func(yield func(*Pod) bool) {
		for _, g := range o.sorted {
			if g.owner.Namespace != namespace {
				continue
			}
			for _, pod := range g.pods {
				if pod.Pod.Namespace == namespace && !yield(pod) {
					return
				}
			}
		}
	}
}

// settle puts in order what has changed.
func (o *observed) settle() {
	if o.others {
		o.sorted, o.others = o.sorted[:0], false
		o.shape++
		for _, g := range o.groups {
			o.sorted = append(o.sorted, g)
		}
		slices.SortFunc(o.sorted, func(a, b *group) int { return a.owner.Compare(b.owner) })
	}
	for _, g := range o.sorted {
		if g.disordered && !slices.IsSortedFunc(g.pods, comparePods) {
			slices.SortFunc(g.pods, comparePods)
		}
		g.disordered = false
		g.survey()
	}
}

// survey looks for what few pods have.
func (g *group) survey() {
	if g.surveyed == g.version {
		return
	}
	g.surveyed = g.version
	g.traits = traits{}
	for _, pod := range g.pods {
		g.traits.volumes = g.traits.volumes || len(pod.Volumes) > 0
		g.traits.live = g.traits.live || pod.Live != nil
		g.traits.dependent = g.traits.dependent || len(pod.DependsOn) > 0
	}
}
