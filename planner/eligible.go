package planner

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
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
	return required == nil || slices.ContainsFunc(required.NodeSelectorTerms, func(t corev1.NodeSelectorTerm) bool {
		return api.MeetsTerm(&t, n.Name, n.Labels)
	})
}

// repels gives the first taint with one of the effects that the tolerations do not bear; nil is none.
func (n *Node) repels(tolerations []corev1.Toleration, effects ...corev1.TaintEffect) *corev1.Taint {
	for i := range n.Taints {
		taint := &n.Taints[i]
		if slices.Contains(effects, taint.Effect) && !api.Tolerate(tolerations, taint) {
			return taint
		}
	}
	return nil
}
