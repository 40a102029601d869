package scheduler

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// A rule is what a pod asks of the pods around it, or they of it: it counts pods by the domains of a topology key. Everything
// but the counts stays as it is while replicas of one template are placed.
type rule struct {
	what ruleKind
	term *term // the pods that are counted; nil for shunned and leaned
	*domains
	// of is the domain of each node, as the rule sees it: -1 is none.
	of     []int32
	counts []int64 // by domain; of leaned what the pods' wishes weigh
	total  int64   // of all counts
	self   bool    // a pod that asks is one of those that are counted
	kinds  []*kind // that are counted
	// bearing are the terms of others, of shunned.
	bearing []bearing
	weight  int64 // of a wish; negative against it
	// maxSkew, minDomains, known and least are of spread: domains in which the pod could be, and the lowest count of them.
	maxSkew, minDomains int64
	known               []int32
	least               int64
}

// A ruleKind is what a rule is for.
type ruleKind uint8

const (
	near    ruleKind = iota // be in a domain with pods that match
	apart                   // be in a domain with none that match
	shunned                 // be in a domain with none that keep away from the pod
	leaned                  // be where others would have the pod
	spread                  // be in a domain that has not more pods that match than others
)

// Domains are the parts of a fleet by a topology key.
type domains struct {
	key string
	all []int32 // of each node by index, -1 where it lacks the label
	n   int
}

// A bearing is a term of pods that may concern others.
type bearing struct {
	*term
	kind *kind
}

// haveRules reports whether any pod has rules about others.
func (in *Input) haveRules() bool {
	for i := range in.Pods {
		if hasRules(in.Pods[i].Spec) {
			return true
		}
	}
	var last *corev1.PodSpec
	for i := range in.Running {
		if spec := in.Running[i].Spec; spec != last && spec != nil {
			if hasRules(spec) {
				return true
			}
			last = spec
		}
	}
	return false
}

func hasRules(spec *corev1.PodSpec) bool {
	return len(spec.TopologySpreadConstraints) > 0 ||
		spec.Affinity != nil && (spec.Affinity.PodAffinity != nil || spec.Affinity.PodAntiAffinity != nil)
}

func (f *fleet) domains(key string) *domains {
	if d := f.pods.domains[key]; d != nil {
		return d
	}
	d := &domains{key: key, all: make([]int32, len(f.nodes))}
	numbers := map[string]int32{}
	for i, n := range f.nodes {
		value, ok := n.Labels[key]
		if !ok {
			d.all[i] = -1
			continue
		}
		number, ok := numbers[value]
		if !ok {
			number = int32(len(numbers))
			numbers[value] = number
		}
		d.all[i] = number
	}
	d.n = len(numbers)
	f.pods.domains[key] = d
	return d
}

func (f *fleet) newRule(what ruleKind, key string) *rule {
	r := &rule{what: what, domains: f.domains(key)}
	r.of, r.counts = r.all, make([]int64, r.n)
	return r
}

// bear notes which terms of the kind's pods concern others: whom they keep away from, and whom they would have near or not.
func (c *census) bear(k *kind) {
	if k.spec == nil || k.spec.Affinity == nil {
		return
	}
	note := func(t *corev1.PodAffinityTerm, weight int64) {
		b := bearing{newTerm(t, k.namespace, k.marks, weight), k}
		label, values := telling(b.selector)
		for _, value := range values {
			c.bearing[pair{label, value}] = append(c.bearing[pair{label, value}], b)
		}
		if len(values) == 0 {
			c.wanderers = append(c.wanderers, b)
		}
	}
	if anti := k.spec.Affinity.PodAntiAffinity; anti != nil {
		for i := range anti.RequiredDuringSchedulingIgnoredDuringExecution {
			note(&anti.RequiredDuringSchedulingIgnoredDuringExecution[i], 0)
		}
		for i := range anti.PreferredDuringSchedulingIgnoredDuringExecution {
			w := &anti.PreferredDuringSchedulingIgnoredDuringExecution[i]
			note(&w.PodAffinityTerm, -int64(w.Weight))
		}
	}
	if affinity := k.spec.Affinity.PodAffinity; affinity != nil {
		for i := range affinity.PreferredDuringSchedulingIgnoredDuringExecution {
			w := &affinity.PreferredDuringSchedulingIgnoredDuringExecution[i]
			note(&w.PodAffinityTerm, int64(w.Weight))
		}
	}
}

// addRules finds the rules that pods which ask are under, and counts for them.
func (f *fleet) addRules(a *ask) {
	f.addConcerns(a)
	if affinity := a.spec.Affinity; affinity != nil && affinity.PodAffinity != nil {
		f.addNear(a, affinity.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution)
		f.addWishes(a, near, affinity.PodAffinity.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	if affinity := a.spec.Affinity; affinity != nil && affinity.PodAntiAffinity != nil {
		required := affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution
		for i := range required {
			t := newTerm(&required[i], a.kind.namespace, a.kind.marks, 0)
			a.strict = append(a.strict, f.newTermRule(a, apart, t))
		}
		f.addWishes(a, apart, affinity.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	f.addSpreads(a)
}

func (f *fleet) newTermRule(a *ask, what ruleKind, t *term) *rule {
	r := f.newRule(what, t.topology)
	r.term, r.weight, r.self = t, t.weight, f.pods.matches(t, a.kind)
	r.countAll(f.pods.meant(t))
	return r
}

// countAll counts the pods of kinds. Who must not be near another keeps away until that has ended.
func (r *rule) countAll(kinds []*kind) {
	r.kinds = kinds
	for _, k := range kinds {
		for _, n := range k.settled {
			r.add(n, 1)
		}
		if r.countsLeaving() {
			for _, n := range k.leaving {
				r.add(n, 1)
			}
		}
	}
}

func (r *rule) countsLeaving() bool { return r.what == shunned || r.what == apart && r.weight == 0 }

// addNear adds the terms of required affinity. A pod counts for them if it matches all; that none does lets the first one of
// pods that want to be near each other go anywhere.
func (f *fleet) addNear(a *ask, required []corev1.PodAffinityTerm) {
	var rules []*rule
	for i := range required {
		r := f.newRule(near, required[i].TopologyKey)
		r.term = newTerm(&required[i], a.kind.namespace, a.kind.marks, 0)
		rules = append(rules, r)
	}
	if len(rules) == 0 {
		return
	}
	matchesAll := func(k *kind) bool {
		return !slices.ContainsFunc(rules, func(r *rule) bool { return !f.pods.matches(r.term, k) })
	}
	kinds := slices.DeleteFunc(f.pods.meant(rules[0].term), func(k *kind) bool { return !matchesAll(k) })
	self := matchesAll(a.kind)
	for _, r := range rules {
		r.self = self
		r.countAll(kinds)
	}
	a.strict = append(a.strict, rules...)
}

func (f *fleet) addWishes(a *ask, what ruleKind, wishes []corev1.WeightedPodAffinityTerm) {
	for i := range wishes {
		weight := int64(wishes[i].Weight)
		if what == apart {
			weight = -weight
		}
		t := newTerm(&wishes[i].PodAffinityTerm, a.kind.namespace, a.kind.marks, weight)
		a.soft = append(a.soft, f.newTermRule(a, what, t))
	}
}

// addConcerns adds the rules that other pods bring with them. What those of the same template wish is in its own rules.
func (f *fleet) addConcerns(a *ask) {
	type at struct {
		what ruleKind
		key  string
	}
	rules := map[at]*rule{}
	for _, b := range f.pods.concerning(a.kind) {
		what := shunned
		if b.weight != 0 {
			what = leaned
		}
		if what == leaned && b.kind.spec == a.kind.spec {
			continue
		}
		r := rules[at{what, b.topology}]
		if r == nil {
			r = f.newRule(what, b.topology)
			rules[at{what, b.topology}] = r
			if what == shunned {
				a.strict = append(a.strict, r)
			} else {
				a.soft = append(a.soft, r)
			}
		}
		by := int64(1)
		if what == leaned {
			by = b.weight
		}
		r.bearing, r.kinds = append(r.bearing, b), append(r.kinds, b.kind)
		for _, n := range b.kind.settled {
			r.add(n, by)
		}
		if what == shunned {
			for _, n := range b.kind.leaving {
				r.add(n, by)
			}
		}
	}
	slices.SortFunc(a.strict, func(a, b *rule) int { return cmp.Compare(a.key, b.key) })
}

// concerning are the terms of all pods that are about pods of the kind.
func (c *census) concerning(k *kind) []bearing {
	var all []bearing
	for label, value := range k.marks.labels {
		for _, b := range c.bearing[pair{label, value}] {
			if c.matches(b.term, k) {
				all = append(all, b)
			}
		}
	}
	for _, b := range c.wanderers {
		if c.matches(b.term, k) {
			all = append(all, b)
		}
	}
	return all
}

// add counts a pod on the node, or takes it away again.
func (r *rule) add(n *node, by int64) {
	if d := r.of[n.index]; d >= 0 {
		r.counts[d] += by
		r.total += by
	}
}

// count is add for one pod, after which the rule is up to date.
func (r *rule) count(n *node, by int64) {
	r.add(n, by)
	if r.what == spread {
		r.level()
	}
}

// refuses reports whether a rule that must be kept to forbids the node.
func (r *rule) refuses(n *node) bool {
	d := r.of[n.index]
	switch r.what {
	case near:
		return d < 0 || r.counts[d] == 0 && (r.total > 0 || !r.self)
	case apart, shunned:
		return d >= 0 && r.counts[d] > 0
	case spread:
		return d < 0 || r.skew(d) > r.maxSkew
	}
	return false
}
