package scheduler

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

// meetsAny reports whether the node meets one of the terms.
func meetsAny(s *corev1.NodeSelector, n *Node) bool {
	for i := range s.NodeSelectorTerms {
		if api.MeetsTerm(&s.NodeSelectorTerms[i], n.Name, n.Labels) {
			return true
		}
	}
	return false
}

// describe writes what a node selector asks for: zone=a and disk in (nvme, ssd), or gpu.
func describe(s *corev1.NodeSelector) string {
	var terms []string
	for _, term := range s.NodeSelectorTerms {
		var all []string
		for _, r := range append(slices.Clip(term.MatchExpressions), term.MatchFields...) {
			all = append(all, describeRequirement(r))
		}
		if len(all) > 0 {
			terms = append(terms, strings.Join(all, " and "))
		}
	}
	if len(terms) == 0 {
		return "(empty: no node does)"
	}
	return strings.Join(terms, ", or ")
}

func describeRequirement(r corev1.NodeSelectorRequirement) string {
	operator := map[corev1.NodeSelectorOperator][2]string{ // for one value, and for several
		corev1.NodeSelectorOpIn: {"=", " in "}, corev1.NodeSelectorOpNotIn: {"!=", " not in "},
		corev1.NodeSelectorOpGt: {">"}, corev1.NodeSelectorOpLt: {"<"},
	}[r.Operator]
	switch {
	case r.Operator == corev1.NodeSelectorOpDoesNotExist:
		return "!" + r.Key
	case r.Operator == corev1.NodeSelectorOpExists:
		return r.Key
	case len(r.Values) == 1:
		return r.Key + operator[0] + r.Values[0]
	}
	return r.Key + operator[1] + "(" + strings.Join(r.Values, ", ") + ")"
}
