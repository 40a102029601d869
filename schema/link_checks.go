package schema

import (
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	"headway.dev/headway/api"
)

// podLabels are the labels of the pods that an object is, or makes; false if it makes none.
func podLabels(object runtime.Object) (labels.Set, bool) {
	switch v := object.(type) {
	case *corev1.Pod:
		return v.Labels, true
	case *corev1.ReplicationController:
		if v.Spec.Template == nil {
			return nil, false
		}
		return v.Spec.Template.Labels, true
	case *appsv1.ReplicaSet:
		return v.Spec.Template.Labels, true
	case *appsv1.Deployment:
		return v.Spec.Template.Labels, true
	case *appsv1.StatefulSet:
		return v.Spec.Template.Labels, true
	case *appsv1.DaemonSet:
		return v.Spec.Template.Labels, true
	case *batchv1.Job:
		return v.Spec.Template.Labels, true
	case *batchv1.CronJob:
		return v.Spec.JobTemplate.Spec.Template.Labels, true
	}
	return nil, false
}

// at reports a problem at a field of an object; it is said at the object, whose parts are not kept.
func (l *linker) at(ref api.Ref, warning bool, field, format string, args ...any) {
	l.problems = append(l.problems, api.Problem{
		Source: l.find(ref).source, Ref: ref, Field: field, Message: fmt.Sprintf(format, args...), Warning: warning,
	})
}

// selections warns of services, disruption budgets and network policies that no pod answers.
func (l *linker) selections() {
	var pods *podIndex
	for _, d := range l.declared {
		if l.blind || l.open[d.ref.Namespace] {
			continue
		}
		var selector labels.Selector
		field := "spec.selector"
		switch v := d.value.(type) {
		case *corev1.Service:
			if len(v.Spec.Selector) == 0 {
				l.unselective(d.ref, v)
				continue
			}
			selector = labels.SelectorFromSet(v.Spec.Selector)
		case *policyv1.PodDisruptionBudget:
			s, err := metav1.LabelSelectorAsSelector(v.Spec.Selector)
			if err != nil {
				continue
			}
			selector = s
		case *networkingv1.NetworkPolicy:
			s, err := metav1.LabelSelectorAsSelector(&v.Spec.PodSelector)
			if err != nil {
				continue
			}
			selector, field = s, "spec.podSelector"
		default:
			continue
		}
		if pods == nil {
			pods = indexPods(l.declared)
		}
		switch {
		case pods.selected(d.ref.Namespace, selector):
		case selector.String() == "":
			l.at(d.ref, true, field, "selects no pod of the namespace")
		default:
			l.at(d.ref, true, field, "%s selects no pod of the namespace", selector)
		}
	}
}

// unselective warns of a service that neither selects pods nor has addresses written by hand.
func (l *linker) unselective(ref api.Ref, s *corev1.Service) {
	if s.Spec.Type == corev1.ServiceTypeExternalName || l.addressed()[ref] {
		return
	}
	l.at(ref, true, "spec.selector", "is empty, and no Endpoints or EndpointSlice has addresses for it: write the labels of the pods that take the connections")
}

// addressed are the services that have addresses written by hand.
func (l *linker) addressed() map[api.Ref]bool {
	if l.byHand != nil {
		return l.byHand
	}
	l.byHand = map[api.Ref]bool{}
	for _, d := range l.declared {
		service := api.Ref{Kind: "Service", Namespace: d.ref.Namespace, Name: d.ref.Name}
		if slice, ok := d.value.(*discoveryv1.EndpointSlice); ok {
			service.Name = slice.Labels[discoveryv1.LabelServiceName]
		} else if d.ref.Kind != "Endpoints" {
			continue
		}
		l.byHand[service] = true
	}
	return l.byHand
}

// clusters finds the settings of the fleet, of which there may be one.
func (l *linker) clusters() {
	var found []api.Ref
	for _, d := range l.declared {
		if c, ok := d.value.(*api.Cluster); ok {
			found = append(found, d.ref)
			l.strict = l.strict || c.Spec.Unsupported == api.UnsupportedRefuse
		}
	}
	if len(found) < 2 {
		return
	}
	for _, ref := range found {
		l.at(ref, false, "", "is one of %d Cluster objects (%s): a repository has one at most", len(found), names(found))
		l.quarantine(ref)
	}
}

func names(refs []api.Ref) string {
	all := make([]string, len(refs))
	for i, r := range refs {
		all[i] = r.Name
	}
	return strings.Join(all, ", ")
}

// nodePorts finds ports of the nodes that two services ask for.
func (l *linker) nodePorts() {
	type id struct {
		port     int32
		protocol corev1.Protocol
	}
	type holder struct {
		ref   api.Ref
		index int
	}
	held := map[id][]holder{}
	for _, d := range l.declared {
		s, ok := d.value.(*corev1.Service)
		if !ok || d.faulty {
			continue
		}
		for n, p := range s.Spec.Ports {
			if p.NodePort != 0 {
				k := id{p.NodePort, p.Protocol}
				held[k] = append(held[k], holder{d.ref, n})
			}
		}
	}
	for k, holders := range held {
		for i, h := range holders {
			if len(holders) < 2 {
				break
			}
			other := holders[(i+1)%len(holders)].ref
			l.at(h.ref, false, fmt.Sprintf("spec.ports[%d].nodePort", h.index), "%d/%s is asked for by %s too: a port of the nodes belongs to one service", k.port, k.protocol, other)
			l.quarantine(h.ref)
		}
	}
}

// scaling finds workloads that two autoscalers would set, and leaves the replicas of a workload open where an autoscaler
// sets them and its author did not: that nobody wrote a number means the number that there is.
func (l *linker) scaling() {
	scalers := map[api.Ref][]api.Ref{}
	for _, d := range l.declared {
		h, ok := d.value.(*autoscalingv2.HorizontalPodAutoscaler)
		if !ok || !d.right() {
			continue
		}
		target := api.Ref{Kind: h.Spec.ScaleTargetRef.Kind, Namespace: d.ref.Namespace, Name: h.Spec.ScaleTargetRef.Name}
		scalers[target] = append(scalers[target], d.ref)
	}
	for target, by := range scalers {
		if len(by) > 1 {
			for i, ref := range by {
				l.at(ref, false, "spec.scaleTargetRef", "%s is scaled by %s too: a workload has one autoscaler", target, by[(i+1)%len(by)])
				l.quarantine(ref)
			}
			continue
		}
		d, scaler := l.find(target), l.find(by[0])
		if d == nil || !d.stands() || !scaler.stands() {
			continue
		}
		l.measurable(scaler, d)
		if d.unscaled {
			l.change(target, func(d *declared) { d.value = withoutReplicas(d.value) })
		}
	}
}

// withoutReplicas is a shallow copy of a workload whose replicas are left open.
func withoutReplicas(object runtime.Object) runtime.Object {
	object = shallow(object)
	switch v := object.(type) {
	case *appsv1.Deployment:
		v.Spec.Replicas = nil
	case *appsv1.StatefulSet:
		v.Spec.Replicas = nil
	case *appsv1.ReplicaSet:
		v.Spec.Replicas = nil
	case *corev1.ReplicationController:
		v.Spec.Replicas = nil
	}
	return object
}
