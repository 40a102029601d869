package scheduler

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

// A term says which pods a rule is about, and what the parts are that it sees a fleet in.
type term struct {
	topology string
	selector labels.Selector
	// names are the namespaces that it reaches, beside those that wide selects; nil for wide is none.
	names []string
	wide  labels.Selector
	// weight is how much the author prefers it, and against it where it is negative; 0 is required.
	weight int64
}

// newTerm reads a term of pods in a namespace with the labels given.
func newTerm(t *corev1.PodAffinityTerm, namespace string, of marks, weight int64) *term {
	out := &term{topology: t.TopologyKey, names: t.Namespaces, weight: weight}
	out.selector = selectorOf(t.LabelSelector, of, t.MatchLabelKeys, t.MismatchLabelKeys)
	if t.NamespaceSelector != nil {
		out.wide = selectorOf(t.NamespaceSelector, marks{}, nil, nil)
	} else if len(t.Namespaces) == 0 {
		out.names = []string{namespace}
	}
	return out
}

// selectorOf reads a selector, with the labels that pods must have, or not have, in common with the one that asks. One that
// makes no sense, which the compiler lets nobody write, selects nothing.
func selectorOf(s *metav1.LabelSelector, of marks, same, other []string) labels.Selector {
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return labels.Nothing()
	}
	add := func(keys []string, operator selection.Operator) {
		for _, key := range keys {
			if value, ok := of.Lookup(key); ok {
				if r, err := labels.NewRequirement(key, operator, []string{value}); err == nil {
					selector = selector.Add(*r)
				}
			}
		}
	}
	add(same, selection.In)
	add(other, selection.NotIn)
	return selector
}

// reaches reports whether the term is about pods in a namespace.
func (c *census) reaches(t *term, namespace string) bool {
	return slices.Contains(t.names, namespace) || t.wide != nil && t.wide.Matches(c.district(namespace).labels)
}

// matches reports whether the term is about pods of the kind.
func (c *census) matches(t *term, k *kind) bool {
	return c.reaches(t, k.namespace) && t.selector.Matches(k.marks)
}

// meant are the kinds that the term is about.
func (c *census) meant(t *term) []*kind {
	var all []*kind
	ask := func(d *district) {
		for _, k := range d.likely(t.selector) {
			if t.selector.Matches(k.marks) {
				all = append(all, k)
			}
		}
	}
	if t.wide == nil && len(t.names) == 1 {
		ask(c.district(t.names[0]))
		return all
	}
	for name, d := range c.namespaces {
		if c.reaches(t, name) {
			ask(d)
		}
	}
	return all
}

// likely are kinds among which are all that the selector matches.
func (d *district) likely(s labels.Selector) []*kind {
	key, values := telling(s)
	switch len(values) {
	case 0:
		return d.kinds
	case 1:
		return d.marked[pair{key, values[0]}]
	}
	var all []*kind
	for _, value := range slices.Compact(slices.Sorted(slices.Values(values))) {
		all = append(all, d.marked[pair{key, value}]...)
	}
	return all
}

// telling is a label that pods must have to be selected, with the values that it may have; none where any pod may be.
func telling(s labels.Selector) (key string, values []string) {
	requirements, _ := s.Requirements()
	for _, r := range requirements {
		if op := r.Operator(); op != selection.In && op != selection.Equals && op != selection.DoubleEquals {
			continue
		}
		if !isTemplateLabel(r.Key()) {
			return r.Key(), r.ValuesUnsorted()
		}
	}
	return "", nil
}
