package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"headway.dev/headway/api"
	"headway.dev/headway/controller"
	"headway.dev/headway/planner"
)

// An autoscalerState is an autoscaler as Git declares it, and what it last made of its target.
type autoscalerState struct {
	*autoscalingv2.HorizontalPodAutoscaler
	// Scale is nil until it has reckoned, and while its target is to have no pods.
	Scale *api.ScaleRecord `json:"scale,omitempty"`
}

func autoscalerView(objects []api.Object, report api.Report) view {
	v := view{
		header: []string{"NAMESPACE", "NAME", "REFERENCE", "TARGETS", "MINPODS", "MAXPODS", "REPLICAS", "STATE"},
		wide:   []string{"SINCE", "REASON", "SOURCE"},
	}
	for _, o := range objects {
		h, ok := o.Value.(*autoscalingv2.HorizontalPodAutoscaler)
		if !ok {
			continue
		}
		state := autoscalerState{HorizontalPodAutoscaler: h, Scale: scaleOf(report, o.Ref)}
		replicas, since, reason := "", "", "it has no number of pods to set: its target is to have none, or has not been planned yet"
		if s := state.Scale; s != nil {
			replicas, reason = strconv.Itoa(s.Replicas), s.Reason
			if n := len(s.Changes); n > 0 {
				since = s.Changes[n-1].Time.UTC().Format(time.RFC3339)
			}
		}
		least, most := planner.ScaleBounds(&h.Spec)
		target := h.Spec.ScaleTargetRef
		v.rows = append(v.rows, row{
			ref: o.Ref, data: state,
			cells: []string{
				o.Ref.Namespace, o.Ref.Name, target.Kind + "/" + target.Name, strings.Join(aims(state), ", "),
				strconv.Itoa(least), strconv.Itoa(most), replicas, scaleState(state.Scale),
			},
			wide: []string{since, reason, o.Source.String()},
		})
	}
	return v
}

// scaleOf finds what an autoscaler has made of its target; nil is nothing yet.
func scaleOf(report api.Report, ref api.Ref) *api.ScaleRecord {
	i := slices.IndexFunc(report.Scales, func(r api.ScaleRecord) bool { return r.Autoscaler == ref })
	if i < 0 {
		return nil
	}
	return &report.Scales[i]
}

// scaleState is the one word that tells most: that nothing can be measured, that a bound or policy holds it, or that all is well.
func scaleState(s *api.ScaleRecord) string {
	if s == nil {
		return "Disabled"
	}
	word := "Active"
	for _, c := range s.Conditions {
		switch {
		case c.Type == "ScalingActive" && !c.True:
			return c.Reason
		case c.Type == "ScalingLimited" && c.True:
			word = c.Reason
		}
	}
	return word
}

// aims are the metrics, each as what it is and what it should be: cpu: 73%/50%.
func aims(state autoscalerState) []string {
	all := make([]string, len(state.Spec.Metrics))
	for i, m := range state.Spec.Metrics {
		name, target := "", autoscalingv2.MetricTarget{}
		switch {
		case m.Resource != nil:
			name, target = string(m.Resource.Name), m.Resource.Target
		case m.ContainerResource != nil:
			name, target = m.ContainerResource.Container+"/"+string(m.ContainerResource.Name), m.ContainerResource.Target
		}
		var now api.ScaleMetric
		if s := state.Scale; s != nil && i < len(s.Metrics) {
			now = s.Metrics[i]
		}
		is, should := "unknown", ""
		switch {
		case target.AverageUtilization != nil:
			should = fmt.Sprintf("%d%%", *target.AverageUtilization)
			if now.Known {
				is = fmt.Sprintf("%d%%", now.Utilization)
			}
		case target.AverageValue != nil:
			should = target.AverageValue.String()
			if now.Known {
				is = averageOf(now)
			}
		}
		all[i] = fmt.Sprintf("%s: %s/%s", name, is, should)
	}
	return all
}

// averageOf writes what a pod uses as manifests do: 250m cores, 64Mi.
func averageOf(m api.ScaleMetric) string {
	if m.Resource == string(corev1.ResourceCPU) {
		return resource.NewMilliQuantity(int64(m.Average*1000), resource.DecimalSI).String()
	}
	return fmt.Sprintf("%dMi", int64(m.Average)>>20)
}

// printScale tells of an autoscaler what it does and why.
func printScale(w io.Writer, state autoscalerState) {
	fmt.Fprintf(w, "  %s/%s: %s\n", state.Spec.ScaleTargetRef.Kind, state.Spec.ScaleTargetRef.Name, strings.Join(aims(state), ", "))
	if state.Scale == nil {
		return
	}
	fmt.Fprintf(w, "  %d pods: %s\n", state.Scale.Replicas, state.Scale.Reason)
	for _, c := range state.Scale.Conditions {
		fmt.Fprintf(w, "  %s %t  %s: %s\n", c.Type, c.True, c.Reason, c.Message)
	}
}

// scaledBy says who sets the replicas of a workload, whatever Git says of them.
func scaledBy(s controller.PreviewScale) string {
	return fmt.Sprintf("the replicas of %s are those of %s, between %d and %d: %d now", s.Target, s.Autoscaler, s.Min, s.Max, s.Replicas)
}
