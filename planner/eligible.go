package planner

import (
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
)

// matches reports whether a pod of the spec wants to be on the node, by its node selector and the node affinity that it
// requires.
func (n *Node) matches(spec *corev1.PodSpec) bool {
	if spec.NodeName != "" && spec.NodeName != n.Name {
		return false
	}
	for key, value := range spec.NodeSelector {
		if v, ok := n.Labels[key]; !ok || v != value {
			return false
		}
	}
	if spec.Affinity == nil || spec.Affinity.NodeAffinity == nil {
		return true
	}
	required := spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	return required == nil || slices.ContainsFunc(required.NodeSelectorTerms, n.meets)
}

// meets reports whether the node meets all of a term. An empty term is met by none.
func (n *Node) meets(term corev1.NodeSelectorTerm) bool {
	if len(term.MatchExpressions) == 0 && len(term.MatchFields) == 0 {
		return false
	}
	for _, r := range term.MatchExpressions {
		value, ok := n.Labels[r.Key]
		if !requires(r, value, ok) {
			return false
		}
	}
	for _, r := range term.MatchFields {
		if r.Key != "metadata.name" || !requires(r, n.Name, true) {
			return false
		}
	}
	return true
}

func requires(r corev1.NodeSelectorRequirement, value string, present bool) bool {
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

// repels gives the first taint with one of the effects that the tolerations do not bear; nil is none.
func (n *Node) repels(tolerations []corev1.Toleration, effects ...corev1.TaintEffect) *corev1.Taint {
	for i := range n.Taints {
		taint := &n.Taints[i]
		if slices.Contains(effects, taint.Effect) && !slices.ContainsFunc(tolerations, func(t corev1.Toleration) bool { return tolerates(&t, taint) }) {
			return taint
		}
	}
	return nil
}

func tolerates(t *corev1.Toleration, taint *corev1.Taint) bool {
	switch {
	case t.Effect != "" && t.Effect != taint.Effect:
		return false
	case t.Key == "":
		return t.Operator == corev1.TolerationOpExists
	case t.Key != taint.Key:
		return false
	}
	return t.Operator == corev1.TolerationOpExists || t.Value == taint.Value
}
