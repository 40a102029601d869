package planner

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"headway.dev/headway/api"
)

// A budget is a PodDisruptionBudget in one pass: how many of its pods may still be taken away. Rollouts, drains and
// preemption keep to it, of which in Kubernetes only the latter two do; scaling down and pruning do not, since there a commit
// says how many there are to be. A pod that is not ready serves nobody, and goes whatever the budget.
type budget struct {
	ref      api.Ref
	selector labels.Selector
	spec     *policyv1.PodDisruptionBudgetSpec
	counted  bool
	left     int
}

func (w *wanted) addBudget(ref api.Ref, spec *policyv1.PodDisruptionBudgetSpec) {
	selector, err := metav1.LabelSelectorAsSelector(spec.Selector)
	if err != nil {
		return // the compiler lets no such selector be
	}
	w.budgets = append(w.budgets, budget{ref: ref, selector: selector, spec: spec})
}

// disrupt takes a pod's share of all budgets that it falls under, or of none where one is used up, and names that.
func (p *pass) disrupt(pod *Pod) (used api.Ref, ok bool) {
	if !pod.Ready || len(p.budgets) == 0 {
		return api.Ref{}, true
	}
	p.reads.alone = true
	var under []*budget
	for i := range p.budgets {
		b := &p.budgets[i]
		if b.ref.Namespace != pod.Pod.Namespace || !b.selector.Matches(labels.Set(pod.Labels)) {
			continue
		}
		p.count(b)
		if b.left <= 0 {
			return b.ref, false
		}
		under = append(under, b)
	}
	for _, b := range under {
		b.left--
	}
	return api.Ref{}, true
}

// count reckons a budget on its first use, as Kubernetes' disruption controller does. What has been stopped before by this
// plan serves no more.
func (p *pass) count(b *budget) {
	if b.counted {
		return
	}
	b.counted = true
	healthy, expected := 0, 0
	owners := map[api.Ref]bool{}
	for pod := range p.seen.in(b.ref.Namespace) {
		if !b.selector.Matches(labels.Set(pod.Labels)) {
			continue
		}
		if isLive(pod) && pod.Ready && !p.stopped[pod] && !p.isIdle(pod) {
			healthy++
		}
		n, known := p.want.replicas[pod.Owner]
		if scaled, ok := p.scaled[pod.Owner]; ok {
			n = scaled
		}
		switch {
		case !known && isLive(pod):
			expected++
		case known && !owners[pod.Owner]:
			owners[pod.Owner] = true
			expected += n
		}
	}
	needed := expected - scaled(b.spec.MaxUnavailable, expected)
	if b.spec.MinAvailable != nil {
		needed = scaled(b.spec.MinAvailable, expected)
	}
	b.left = healthy - needed
}

// scaled is a number or percentage of pods, rounded up; nothing is one.
func scaled(value *intstr.IntOrString, total int) int {
	if value == nil {
		return 1
	}
	n, err := intstr.GetScaledValueFromIntOrPercent(value, total, true)
	if err != nil {
		return 0
	}
	return n
}

// replicasOf is how many pods an object wants, where it says so by number.
func replicasOf(o api.Object) (int, bool) {
	switch v := o.Value.(type) {
	case *appsv1.Deployment:
		return count(v.Spec.Replicas), true
	case *appsv1.ReplicaSet:
		return count(v.Spec.Replicas), true
	case *appsv1.StatefulSet:
		return count(v.Spec.Replicas), true
	case *corev1.ReplicationController:
		return count(v.Spec.Replicas), true
	}
	return 0, false
}

// waitsForBudget tells that a workload's pods stay for now.
func (p *pass) waitsForBudget(owner, budget api.Ref) {
	p.refuse(owner, fmt.Sprintf("%s lets no more of its pods be taken away for now", budget))
}
