package api

import (
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
)

// What pods ask of nodes, by the rules of Kubernetes. The planner goes by them for DaemonSets and the scheduler for all others:
// two readings of one rule would place pods that are then taken away.

// MeetsTerm reports whether a node of that name and labels meets all of a term. An empty term is met by none.
func MeetsTerm(term *corev1.NodeSelectorTerm, name string, labels map[string]string) bool {
	for i := range term.MatchExpressions {
		r := &term.MatchExpressions[i]
		value, ok := labels[r.Key]
		if !MeetsRequirement(r, value, ok) {
			return false
		}
	}
	for i := range term.MatchFields {
		if r := &term.MatchFields[i]; r.Key != "metadata.name" || !MeetsRequirement(r, name, true) {
			return false
		}
	}
	return len(term.MatchExpressions)+len(term.MatchFields) > 0
}

// MeetsRequirement reports whether a value, present or not, is what the requirement asks for. Gt and Lt compare whole numbers.
func MeetsRequirement(r *corev1.NodeSelectorRequirement, value string, present bool) bool {
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

// Tolerate reports whether one of the tolerations bears the taint.
func Tolerate(tolerations []corev1.Toleration, taint *corev1.Taint) bool {
	return slices.ContainsFunc(tolerations, func(t corev1.Toleration) bool {
		switch {
		case t.Effect != "" && t.Effect != taint.Effect:
			return false
		case t.Key == "":
			return t.Operator == corev1.TolerationOpExists // every taint
		case t.Key != taint.Key:
			return false
		}
		return t.Operator == corev1.TolerationOpExists || t.Value == taint.Value
	})
}
