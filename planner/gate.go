package planner

import (
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"headway.dev/headway/api"
)

// gate says what a workload waits for before its pods are made of a template; empty is nothing. It opens when all that the
// workload depends on is there and healthy at once, and stays open for that template: pods that are gone are replaced, and
// an edge that is added later holds nothing up.
func (p *pass) gate(ref api.Ref, template api.Digest) string {
	if p.want.order == nil {
		return ""
	}
	if before := p.previous[ref]; before != nil && before.Template == template && before.Waits == "" {
		return ""
	}
	for _, pod := range p.seen.of(ref) {
		if pod.Template == template {
			return "" // it was open once, whoever remembers
		}
	}
	p.reads.alone = true
	return p.unmet(ref)
}

// unmet names the first thing that an object depends on and that is not there or not healthy.
func (p *pass) unmet(ref api.Ref) string {
	for _, need := range p.want.order.needs[ref] {
		if why := p.unhealthy(need); why != "" {
			return fmt.Sprintf("waits for %s, which %s", need, why)
		}
	}
	return ""
}

// unhealthy says what is amiss with something that is depended on, as the predicate of a sentence.
func (p *pass) unhealthy(ref api.Ref) string {
	o := p.want.order
	object, ok := o.declared[ref]
	if !ok {
		return "is not declared"
	}
	if o.cycles[ref] != "" {
		return "depends on itself"
	}
	if s := p.states[ref]; s != nil {
		return unfinished(object, s)
	}
	if _, ranked := o.rank[ref]; !ranked {
		return "depends on what depends on itself"
	}
	if why := p.unmet(ref); why != "" {
		return why
	}
	if s, ok := object.Value.(*corev1.Service); ok && !p.hasEndpoint(ref, s) {
		return "has no endpoint"
	}
	return ""
}

// unfinished says how a workload is not complete.
func unfinished(o api.Object, s *api.WorkloadStatus) string {
	_, isJob := o.Value.(*batchv1.Job)
	_, isCron := o.Value.(*batchv1.CronJob)
	switch {
	case isCron || s.State == api.RolloutComplete:
		return ""
	case s.Waits != "":
		return s.Waits
	case s.State == api.RolloutStalled:
		return "has failed"
	case isJob && s.Paused:
		return "is suspended"
	case s.Paused:
		return "is paused"
	case isJob:
		return "is running"
	}
	return "is being rolled out"
}

// hasEndpoint reports whether the service leads anywhere: to a pod, or to what its author wrote down.
func (p *pass) hasEndpoint(ref api.Ref, s *corev1.Service) bool {
	if isAlias(&s.Spec) || len(s.Spec.Selector) == 0 {
		return true
	}
	selector := labels.SelectorFromSet(s.Spec.Selector)
	for pod := range p.seen.in(ref.Namespace) {
		if (pod.Ready || s.Spec.PublishNotReadyAddresses) && p.serves(pod) &&
			selector.Matches(labels.Set(pod.Labels)) {
			return true
		}
	}
	return false
}
