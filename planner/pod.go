package planner

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// podMeta is what a declared Pod has of its metadata when it runs: what it depends on is no part of that, so that a change of
// it replaces no pod.
func podMeta(pod *corev1.Pod) *metav1.ObjectMeta {
	if _, ok := pod.Annotations[DependsAnnotation]; !ok {
		return &pod.ObjectMeta
	}
	m := pod.ObjectMeta
	m.Annotations = maps.Clone(m.Annotations)
	delete(m.Annotations, DependsAnnotation)
	if len(m.Annotations) == 0 {
		m.Annotations = nil
	}
	return &m
}

// barePod plans a Pod that is declared as such. It bears its own name, so that a changed one is stopped, and made anew
// when it is gone. One that ended by its own restart policy is left as it is until its template changes.
func (p *pass) barePod(w workload, pod *corev1.Pod) {
	policy := pod.Spec.RestartPolicy
	r := p.newRollout(w, rollout{
		name:     w.Ref.Name,
		replicas: 1,
		mayEnd:   policy == corev1.RestartPolicyNever || policy == corev1.RestartPolicyOnFailure,
	})
	r.stopGone()
	r.stopSurplus(r.of[ClassSurplus], r.surplusReason())
	if r.held != "" {
		return
	}
	r.stopOutdated(r.of[ClassOutdated])
	for _, observed := range r.pods {
		if !observed.Lost {
			return // it bears the name until it is gone
		}
	}
	r.fill(1, r.template)
}
