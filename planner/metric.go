package planner

import (
	"fmt"
	"math"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

const (
	// tolerance is how far usage may be off its target without anything being done about it.
	tolerance = 0.1
	// cpuInitialization is how long a pod that is not ready yet is taken to be starting, when its CPU tells nothing.
	cpuInitialization = 5 * time.Minute
)

// A Usage is what a pod used, as its node measured it.
type Usage struct {
	UID string
	// Time is when that was; the CPU is the mean of a while before.
	Time time.Time
	Used api.Resources
}

// A sample is what is known of one pod for one metric, in the metric's unit.
type sample struct {
	used, requested float64
}

// samples are the pods of a target for one metric: those that count, those of which nothing is known, and those that start.
type samples struct{ counted, missing, starting []sample }

// metric says how many pods one metric asks for, by Kubernetes' algorithm; not ok when it cannot tell, and why.
func (a *autoscaler) metric(m *autoscalingv2.MetricSpec) (n int, why string, ok bool) {
	if m.Type != autoscalingv2.ResourceMetricSourceType || m.Resource == nil ||
		m.Resource.Name != corev1.ResourceCPU && m.Resource.Name != corev1.ResourceMemory {
		return 0, fmt.Sprintf("metrics of type %s are not known here, of resources only cpu and memory", m.Type), false
	}
	s := a.samples(m.Resource.Name)
	target := m.Resource.Target
	var ratio func(all ...[]sample) float64
	full := 1.0 // what a pod that nothing is known of is taken to use, as a share of its request, when pods might go
	switch {
	case target.AverageUtilization != nil && *target.AverageUtilization > 0:
		share := float64(*target.AverageUtilization) / 100
		full = max(1, share)
		ratio = func(all ...[]sample) float64 {
			used, requested, _ := total(all...)
			return used / requested / share
		}
	case target.AverageValue != nil && target.AverageValue.Sign() > 0:
		each := target.AverageValue.AsApproximateFloat64()
		ratio = func(all ...[]sample) float64 {
			used, _, pods := total(all...)
			return used / float64(pods) / each
		}
		for i := range s.missing {
			s.missing[i].requested = each // the whole of the target
		}
	default:
		return 0, "the metric has no target", false
	}
	if len(s.counted) == 0 {
		return 0, fmt.Sprintf("no usage of %s is known", m.Resource.Name), false
	}
	first := ratio(s.counted)
	if math.IsNaN(first) || math.IsInf(first, 0) {
		return 0, fmt.Sprintf("its pods ask for no %s, so that there is nothing to measure use by", m.Resource.Name), false
	}
	why = fmt.Sprintf("%s is at %.0f%% of its target", m.Resource.Name, first*100)
	return a.settle(s, first, full, ratio), why, true
}

// settle gives the number of pods for a ratio. What is not known counts against change: as idle when pods might be added,
// as fully used when some might go.
func (a *autoscaler) settle(s samples, first, full float64, ratio func(...[]sample) float64) int {
	if len(s.missing) == 0 && (len(s.starting) == 0 || first <= 1) {
		if math.Abs(first-1) <= tolerance {
			return a.current
		}
		return int(math.Ceil(first*float64(len(s.counted)) - 1e-9))
	}
	if first < 1 {
		for i := range s.missing {
			s.missing[i].used = s.missing[i].requested * full
		}
	}
	groups := [][]sample{s.counted, s.missing}
	if first > 1 {
		groups = append(groups, s.starting) // using nothing
	}
	second := ratio(groups...)
	_, _, pods := total(groups...)
	n := int(math.Ceil(second*float64(pods) - 1e-9))
	if math.Abs(second-1) <= tolerance || (first < 1) != (second < 1) || second < 1 && n > a.current || second > 1 && n < a.current {
		return a.current
	}
	return n
}

func total(groups ...[]sample) (used, requested float64, pods int) {
	for _, group := range groups {
		for _, s := range group {
			used, requested, pods = used+s.used, requested+s.requested, pods+1
		}
	}
	return used, requested, pods
}

// samples sorts the pods of the target.
func (a *autoscaler) samples(name corev1.ResourceName) samples {
	var s samples
	for _, pod := range a.owned[a.target] {
		if !isLive(pod) {
			continue
		}
		usage, known := a.usage[pod.UID]
		one := sample{used: amount(usage.Used, name), requested: amount(pod.Requests, name)}
		starts := !pod.Ready && (pod.Started.IsZero() || a.in.Now.Sub(pod.Started) < cpuInitialization)
		switch {
		case pod.Phase == api.PodPending, name == corev1.ResourceCPU && known && (starts || usage.Time.Before(pod.ReadySince)):
			one.used = 0
			s.starting = append(s.starting, one)
		case !known:
			s.missing = append(s.missing, one)
		default:
			s.counted = append(s.counted, one)
		}
	}
	return s
}

// amount is in cores or bytes.
func amount(r api.Resources, name corev1.ResourceName) float64 {
	if name == corev1.ResourceCPU {
		return float64(r.MilliCPU) / 1000
	}
	return float64(r.Memory)
}
