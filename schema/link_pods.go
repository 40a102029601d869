package schema

import (
	"slices"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

// A podIndex finds the labels of pods by one of them, so that thousands of services need not each look at thousands of
// pods.
type podIndex struct {
	byNamespace map[string][]labels.Set
	byLabel     map[labelKey][]labels.Set
}

type labelKey struct{ namespace, key, value string }

// indexPods takes in the pods that objects are, or make.
func indexPods(objects []*declared) *podIndex {
	x := &podIndex{map[string][]labels.Set{}, map[labelKey][]labels.Set{}}
	for _, d := range objects {
		set, ok := podLabels(d.value)
		if !ok {
			continue
		}
		x.byNamespace[d.ref.Namespace] = append(x.byNamespace[d.ref.Namespace], set)
		for k, v := range set {
			key := labelKey{d.ref.Namespace, k, v}
			x.byLabel[key] = append(x.byLabel[key], set)
		}
	}
	return x
}

// selected tells whether any pod of a namespace has what a selector asks for.
func (x *podIndex) selected(namespace string, selector labels.Selector) bool {
	candidates := x.byNamespace[namespace]
	requirements, _ := selector.Requirements()
	for _, r := range requirements {
		values := r.ValuesUnsorted()
		if r.Operator() != selection.Equals && r.Operator() != selection.In || len(values) != 1 {
			continue
		}
		if having := x.byLabel[labelKey{namespace, r.Key(), values[0]}]; len(having) < len(candidates) {
			candidates = having
		}
	}
	return slices.ContainsFunc(candidates, func(set labels.Set) bool { return selector.Matches(set) })
}
