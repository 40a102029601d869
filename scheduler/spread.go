package scheduler

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// addSpreads adds the topology spread constraints. Nodes that the pod could not go to are no part of the picture, as far as
// its policies have it, nor are lost ones.
func (f *fleet) addSpreads(a *ask) {
	var strict []string
	for i := range a.spec.TopologySpreadConstraints {
		if c := &a.spec.TopologySpreadConstraints[i]; c.WhenUnsatisfiable != corev1.ScheduleAnyway {
			strict = append(strict, c.TopologyKey)
		}
	}
	for i := range a.spec.TopologySpreadConstraints {
		c := &a.spec.TopologySpreadConstraints[i]
		r := f.newRule(spread, c.TopologyKey)
		r.maxSkew, r.minDomains = int64(c.MaxSkew), 1
		if c.MinDomains != nil {
			r.minDomains = int64(*c.MinDomains)
		}
		r.of = f.seen(a, c, strict)
		known := make([]bool, r.n)
		for _, d := range r.of {
			if d >= 0 && !known[d] {
				known[d] = true
				r.known = append(r.known, d)
			}
		}
		r.term = &term{topology: c.TopologyKey, names: []string{a.kind.namespace}}
		r.term.selector = selectorOf(c.LabelSelector, a.kind.marks, c.MatchLabelKeys, nil)
		r.self = f.pods.matches(r.term, a.kind)
		r.countAll(f.pods.meant(r.term))
		r.level()
		if c.WhenUnsatisfiable == corev1.ScheduleAnyway {
			a.soft = append(a.soft, r)
		} else {
			a.strict = append(a.strict, r)
		}
	}
}

// seen gives the domain of each node, as a spread sees it. One that must be kept to leaves out nodes that lack the label of
// another such.
func (f *fleet) seen(a *ask, c *corev1.TopologySpreadConstraint, strict []string) []int32 {
	of := slices.Clone(f.domains(c.TopologyKey).all)
	wanted := c.NodeAffinityPolicy == nil || *c.NodeAffinityPolicy == corev1.NodeInclusionPolicyHonor
	tolerated := c.NodeTaintsPolicy != nil && *c.NodeTaintsPolicy == corev1.NodeInclusionPolicyHonor
	for i := range of {
		v := &a.class.verdicts[i]
		if wanted && !v.wanted || tolerated && !v.tolerated || f.nodes[i].Lost {
			of[i] = -1
		}
	}
	if c.WhenUnsatisfiable == corev1.ScheduleAnyway {
		return of
	}
	for _, key := range strict {
		for i, d := range f.domains(key).all {
			if d < 0 {
				of[i] = -1
			}
		}
	}
	return of
}

// level brings all spreads that must be kept to up to date.
func (a *ask) level() {
	for _, r := range a.strict {
		if r.what == spread {
			r.level()
		}
	}
}

// level finds the lowest count of all domains. Too few of them are as if there was an empty one.
func (r *rule) level() {
	r.least = 0
	if int64(len(r.known)) < max(1, r.minDomains) {
		return
	}
	r.least = r.counts[r.known[0]]
	for _, d := range r.known {
		r.least = min(r.least, r.counts[d])
	}
}

// skew is by how many pods the domain would be ahead with one more.
func (r *rule) skew(d int32) int64 {
	skew := r.counts[d] - r.least
	if r.self {
		skew++
	}
	return skew
}

// most is the highest count of all domains.
func (r *rule) most() int64 {
	var most int64
	for _, d := range r.known {
		most = max(most, r.counts[d])
	}
	return most
}
