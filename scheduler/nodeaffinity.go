package scheduler

import (
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// meetsAny reports whether the node meets one of the terms.
func meetsAny(s *corev1.NodeSelector, n *Node) bool {
	for i := range s.NodeSelectorTerms {
		if meets(&s.NodeSelectorTerms[i], n) {
			return true
		}
	}
	return false
}

// meets reports whether the node meets all of a term. An empty term is met by none.
func meets(term *corev1.NodeSelectorTerm, n *Node) bool {
	for i := range term.MatchExpressions {
		r := &term.MatchExpressions[i]
		value, ok := n.Labels[r.Key]
		if !requires(r, value, ok) {
			return false
		}
	}
	for i := range term.MatchFields {
		if r := &term.MatchFields[i]; r.Key != "metadata.name" || !requires(r, n.Name, true) {
			return false
		}
	}
	return len(term.MatchExpressions)+len(term.MatchFields) > 0
}

func requires(r *corev1.NodeSelectorRequirement, value string, present bool) bool {
	switch r.Operator {
	case corev1.NodeSelectorOpIn:
		return present && slices.Contains(r.Values, value)
	case corev1.NodeSelectorOpNotIn:
		return !present || !slices.Contains(r.Values, value)
	case corev1.NodeSelectorOpExists:
		return present
	case corev1.NodeSelectorOpDoesNotExist:
		return !present
	case corev1.NodeSelectorOpGt, corev1.NodeSelectorOpLt:
		if !present || len(r.Values) != 1 {
			return false
		}
		have, errHave := strconv.ParseInt(value, 10, 64)
		want, errWant := strconv.ParseInt(r.Values[0], 10, 64)
		if errHave != nil || errWant != nil {
			return false
		}
		return r.Operator == corev1.NodeSelectorOpGt && have > want || r.Operator == corev1.NodeSelectorOpLt && have < want
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
