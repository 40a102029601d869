package schema

import (
	"fmt"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

// measurable warns of an autoscaler whose metrics will never be known, since its target does not say what they are held against.
func (l *linker) measurable(scaler *declared, target *declared) {
	spec := podSpecOf(target.value)
	if spec == nil || l.ranged(target.ref.Namespace) {
		return
	}
	for n, m := range scaler.value.(*autoscalingv2.HorizontalPodAutoscaler).Spec.Metrics {
		switch {
		case m.Resource != nil:
			if m.Resource.Target.AverageUtilization != nil && !asks(api.MeasuredRequests(spec), m.Resource.Name) {
				l.at(scaler.ref, true, fmt.Sprintf("spec.metrics[%d].resource.target.averageUtilization", n),
					"is a share of what the containers of %s ask for, and not all ask for %s: write resources.requests there", target.ref, m.Resource.Name)
			}
		case m.ContainerResource != nil:
			l.measurableContainer(scaler.ref, target.ref, spec, n, m.ContainerResource)
		}
	}
}

func (l *linker) measurableContainer(scaler, target api.Ref, spec *corev1.PodSpec, n int, s *autoscalingv2.ContainerResourceMetricSource) {
	at := fmt.Sprintf("spec.metrics[%d].containerResource.", n)
	switch {
	case !hasContainer(spec, s.Container):
		l.at(scaler, true, at+"container", "%s has no container %s", target, s.Container)
	case s.Target.AverageUtilization != nil && !asks(api.ContainerRequests(spec, s.Container), s.Name):
		l.at(scaler, true, at+"target.averageUtilization",
			"is a share of what container %s of %s asks for, and it asks for no %s: write resources.requests there", s.Container, target, s.Name)
	}
}

// ranged reports whether containers of a namespace may get requests that they do not write.
func (l *linker) ranged(namespace string) bool {
	for _, d := range l.declared {
		if d.ref.Kind == "LimitRange" && d.ref.Namespace == namespace {
			return true
		}
	}
	return false
}

func asks(r api.Resources, name corev1.ResourceName) bool {
	return name == corev1.ResourceCPU && r.MilliCPU > 0 || name == corev1.ResourceMemory && r.Memory > 0
}

func hasContainer(spec *corev1.PodSpec, name string) bool {
	for _, containers := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range containers {
			if containers[i].Name == name {
				return true
			}
		}
	}
	return false
}
