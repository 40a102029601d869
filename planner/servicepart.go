package planner

import (
	"cmp"
	"maps"
	"slices"

	"headway.dev/headway/api"
)

// A servicePart is the route of one service, with what it was made of. The next plan has it as it is, if it would come out the
// same.
type servicePart struct {
	reads
	made      bool
	addresses uint64 // their version
	index     uint64 // the version of the index by which the groups were found
	groups    []*group
	behind    []behind // of the groups
	route     api.Route
}

// behind is what is behind a service: a group of pods, in a state of it.
type behind struct {
	pods     uint64 // their version
	serving  api.Digest
	weighing weighing
}

// servicePart plans the route of one service, or takes over what the last plan had for it.
func (p *pass) servicePart(k *servicePart, s *service, at *address) api.Route {
	index := &p.memory.index
	if !k.made || k.index != index.version {
		groups := index.behind(s)
		k.made = k.made && slices.Equal(k.groups, groups)
		k.index, k.groups = index.version, groups
	}
	if !k.made || k.addresses != p.memory.addresses.version || !k.same(&p.in) || !p.standBehind(k) {
		k.made, k.addresses, k.behind = true, p.memory.addresses.version, k.behind[:0]
		for _, g := range k.groups {
			k.behind = append(k.behind, p.behind(g))
		}
		done := p.read(&k.reads)
		k.route = p.routeTo(s, at, k.groups)
		p.reads.alone = p.reads.alone || slices.ContainsFunc(k.groups, func(g *group) bool { return p.stops[g.owner] })
		done()
	}
	return k.route
}

// standBehind reports whether the pods behind a service are as they were.
func (p *pass) standBehind(k *servicePart) bool {
	for i, g := range k.groups {
		if k.behind[i] != p.behind(g) || p.stops[g.owner] {
			return false
		}
	}
	return true
}

func (p *pass) behind(g *group) behind {
	return behind{g.version, p.serving[g.owner], p.canaries[g.owner]}
}

// A label is one label of a pod, in its namespace.
type label struct{ namespace, key, value string }

func compareLabels(a, b label) int {
	return cmp.Or(cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.key, b.key), cmp.Compare(a.value, b.value))
}

// A labelIndex finds the groups of pods of which some have a label that some service selects by.
type labelIndex struct {
	want     *wanted
	seen     *observed
	shape    uint64         // of what is seen
	selected map[label]bool // by some service
	groups   map[label][]*group
	version  uint64
}

// keptLabels are those of an owner's pods that services select by.
type keptLabels struct {
	want *wanted
	pods uint64  // their version
	of   []label // ordered
}

// note brings the index up to date.
func (x *labelIndex) note(want *wanted, seen *observed) {
	if x.want != want {
		x.selected = map[label]bool{}
		for i := range want.services {
			for key, value := range want.services[i].spec.Selector {
				x.selected[label{want.services[i].ref.Namespace, key, value}] = true
			}
		}
	}
	same := x.want == want && x.seen == seen && x.shape == seen.shape
	for _, g := range seen.sorted {
		if g.labels.want == want && g.labels.pods == g.version {
			continue
		}
		of := x.labelsOf(g)
		same = same && slices.Equal(of, g.labels.of)
		g.labels = keptLabels{want, g.version, of}
	}
	if same {
		return
	}
	x.want, x.seen, x.shape = want, seen, seen.shape
	x.groups = make(map[label][]*group, len(x.selected))
	x.version++
	for _, g := range seen.sorted {
		for _, l := range g.labels.of {
			x.groups[l] = append(x.groups[l], g)
		}
	}
}

// labelsOf are the labels of a group's pods that services select by.
func (x *labelIndex) labelsOf(g *group) []label {
	found := map[label]bool{}
	var last map[string]string // most pods of an owner have the same
	for i, pod := range g.pods {
		if i > 0 && sameMap(pod.Labels, last) {
			continue
		}
		last = pod.Labels
		for key, value := range pod.Labels {
			if l := (label{pod.Pod.Namespace, key, value}); x.selected[l] {
				found[l] = true
			}
		}
	}
	return slices.SortedFunc(maps.Keys(found), compareLabels)
}

// behind gives the groups, by owner, among whose pods all are that the service selects. Without a selector that is none.
func (x *labelIndex) behind(s *service) []*group {
	var fewest []*group
	first := true
	for key, value := range s.spec.Selector {
		if groups := x.groups[label{s.ref.Namespace, key, value}]; first || len(groups) < len(fewest) {
			fewest, first = groups, false
		}
	}
	return fewest
}
