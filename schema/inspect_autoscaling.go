package schema

import (
	"fmt"
	"slices"
	"strings"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
)

func finishHorizontalPodAutoscaler(i *inspection, h *autoscalingv2.HorizontalPodAutoscaler) {
	defaultHorizontalPodAutoscaler(h)
	if h.Spec.MinReplicas != nil && *h.Spec.MinReplicas > h.Spec.MaxReplicas {
		i.fail([]any{"spec", "minReplicas"}, "%d is more than maxReplicas, %d", *h.Spec.MinReplicas, h.Spec.MaxReplicas)
	}
	for n := range h.Spec.Metrics {
		i.metric([]any{"spec", "metrics", n}, &h.Spec.Metrics[n])
	}
	if h.Spec.MinReplicas != nil && *h.Spec.MinReplicas == 0 {
		i.fail([]any{"spec", "minReplicas"}, "is 0, but without pods there is no use to measure: write 1 or more")
	}
	if b := h.Spec.Behavior; b != nil {
		i.stabilization([]any{"spec", "behavior", "scaleUp"}, b.ScaleUp)
		i.stabilization([]any{"spec", "behavior", "scaleDown"}, b.ScaleDown)
	}
	i.scaleTarget(h.Spec.ScaleTargetRef)
}

// scaleTarget notes the workload that is to be scaled. One of a kind that is not Kubernetes' own is not run here.
func (i *inspection) scaleTarget(target autoscalingv2.CrossVersionObjectReference) {
	at := []any{"spec", "scaleTargetRef"}
	scalable := []string{"Deployment", "StatefulSet", "ReplicaSet", "ReplicationController"}
	switch {
	case slices.Contains(scalable, target.Kind):
		i.use(under(at, "name"), target.Kind, target.Name, "", nil)
	case slices.Contains(ownGroups(), groupOf(target.APIVersion)):
		hint := ""
		if near := nearest(target.Kind, scalable); near != "" {
			hint = "; did you mean " + near + "?"
		}
		i.fail(under(at, "kind"), "%s is not one of %s%s", shorten(target.Kind), strings.Join(scalable, ", "), hint)
	default:
		i.effectless = fmt.Sprintf("%s of %s is not run here, so that there is nothing to scale", target.Kind, target.APIVersion)
	}
}

func (i *inspection) stabilization(at []any, r *autoscalingv2.HPAScalingRules) {
	if r != nil && r.Tolerance != nil && r.Tolerance.MilliValue() > 1000 {
		i.fail(under(at, "tolerance"), "%s is more than 1, which is 100%%", r.Tolerance.String())
	}
}

// metric holds a metric's type against the one source that it has, and its target against the source.
func (i *inspection) metric(at []any, m *autoscalingv2.MetricSpec) {
	for _, s := range []struct {
		typ    autoscalingv2.MetricSourceType
		field  string
		target *autoscalingv2.MetricTarget
	}{
		{autoscalingv2.ResourceMetricSourceType, "resource", targetOf(m.Resource, func(s *autoscalingv2.ResourceMetricSource) *autoscalingv2.MetricTarget { return &s.Target })},
		{autoscalingv2.ContainerResourceMetricSourceType, "containerResource", targetOf(m.ContainerResource, func(s *autoscalingv2.ContainerResourceMetricSource) *autoscalingv2.MetricTarget { return &s.Target })},
		{autoscalingv2.PodsMetricSourceType, "pods", targetOf(m.Pods, func(s *autoscalingv2.PodsMetricSource) *autoscalingv2.MetricTarget { return &s.Target })},
		{autoscalingv2.ObjectMetricSourceType, "object", targetOf(m.Object, func(s *autoscalingv2.ObjectMetricSource) *autoscalingv2.MetricTarget { return &s.Target })},
		{autoscalingv2.ExternalMetricSourceType, "external", targetOf(m.External, func(s *autoscalingv2.ExternalMetricSource) *autoscalingv2.MetricTarget { return &s.Target })},
	} {
		switch {
		case s.typ == m.Type && s.target == nil:
			i.fail(under(at, s.field), "is required where type is %s", m.Type)
		case s.typ != m.Type && s.target != nil:
			i.fail(under(at, s.field), "may not be set where type is %s", m.Type)
		case s.target != nil:
			i.metricTarget(under(at, s.field, "target"), s.target)
			own := m.Type == autoscalingv2.ResourceMetricSourceType || m.Type == autoscalingv2.ContainerResourceMetricSourceType
			if own && s.target.Type == autoscalingv2.ValueMetricType {
				i.fail(under(at, s.field, "target", "type"), "Value is not for what pods use: write Utilization or AverageValue")
			}
		}
	}
}

func targetOf[S any](source *S, target func(*S) *autoscalingv2.MetricTarget) *autoscalingv2.MetricTarget {
	if source == nil {
		return nil
	}
	return target(source)
}

func (i *inspection) metricTarget(at []any, t *autoscalingv2.MetricTarget) {
	for _, f := range []struct {
		typ  autoscalingv2.MetricTargetType
		name string
		set  bool
	}{
		{autoscalingv2.UtilizationMetricType, "averageUtilization", t.AverageUtilization != nil},
		{autoscalingv2.AverageValueMetricType, "averageValue", t.AverageValue != nil},
		{autoscalingv2.ValueMetricType, "value", t.Value != nil},
	} {
		switch {
		case f.typ == t.Type && !f.set:
			i.fail(under(at, f.name), "is required where type is %s", t.Type)
		case f.typ != t.Type && f.set:
			i.fail(under(at, f.name), "may not be set where type is %s", t.Type)
		}
	}
}
