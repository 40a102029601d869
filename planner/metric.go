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
	// defaultTolerance is how far usage may be off its target without anything being done about it.
	defaultTolerance = 0.1
	// cpuInitialization is how long a pod is taken to be starting, when its CPU tells nothing unless it is ready and was so
	// for the whole time that was measured.
	cpuInitialization = 5 * time.Minute
)

// A Usage is what a pod used, as its node measured it.
type Usage struct {
	UID string
	// Time is when that was, by the node's clock; the CPU is the mean of the Window before.
	Time   time.Time
	Window time.Duration
	Used   api.Resources
	// Containers are its parts, by name; those whose use is not known are missing, and then Used is not to be had either.
	Containers map[string]api.Resources
}

// newer orders usages of one pod; at last by what they say, so that their own order makes no difference.
func (u Usage) newer(other Usage) bool {
	if c := u.Time.Compare(other.Time); c != 0 {
		return c > 0
	}
	return fmt.Sprint(u.Used, u.Containers) > fmt.Sprint(other.Used, other.Containers)
}

// used gives the newest of what a pod used, as far as it is known.
func (p *pass) used(uid string) (Usage, bool) {
	if p.usage == nil {
		p.usage = make(map[string]Usage, len(p.in.Usage))
		for _, u := range p.in.Usage {
			if known, ok := p.usage[u.UID]; !ok || u.newer(known) {
				p.usage[u.UID] = u
			}
		}
	}
	u, known := p.usage[uid]
	return u, known
}

// A sample is what is known of one pod for one metric, in the metric's unit.
type sample struct {
	used, requested float64
}

// samples are the pods of a target for one metric: those that count, those of which nothing is known, and those that start.
type samples struct{ counted, missing, starting []sample }

// A measurement is what came of a metric: how many pods it asks for, or not ok, and why.
type measurement struct {
	pods    int
	why     string
	ok      bool
	reading api.ScaleMetric
}

// A gauge is what a metric looks at, and what that should be.
type gauge struct {
	name      corev1.ResourceName
	container string // empty: the whole pod
	target    autoscalingv2.MetricTarget
}

func gaugeOf(m *autoscalingv2.MetricSpec) (g gauge, ok bool) {
	switch {
	case m.Type == autoscalingv2.ResourceMetricSourceType && m.Resource != nil:
		g = gauge{name: m.Resource.Name, target: m.Resource.Target}
	case m.Type == autoscalingv2.ContainerResourceMetricSourceType && m.ContainerResource != nil:
		g = gauge{name: m.ContainerResource.Name, container: m.ContainerResource.Container, target: m.ContainerResource.Target}
	}
	return g, g.name == corev1.ResourceCPU || g.name == corev1.ResourceMemory
}

func (g gauge) String() string {
	if g.container != "" {
		return fmt.Sprintf("%s of container %s", g.name, g.container)
	}
	return string(g.name)
}

// metric says how many pods one metric asks for, by Kubernetes' algorithm.
func (a *autoscaler) metric(m *autoscalingv2.MetricSpec) measurement {
	g, ok := gaugeOf(m)
	out := measurement{reading: api.ScaleMetric{Resource: string(g.name), Container: g.container}}
	if !ok {
		out.reading.Resource = string(m.Type)
		out.why = fmt.Sprintf("metrics of type %s are not known here, of resources only cpu and memory", m.Type)
		return out
	}
	s := a.samples(g)
	used, requested, pods := total(s.counted)
	if pods == 0 {
		out.why = fmt.Sprintf("no usage of %s is known", g)
		return out
	}
	var ratio func(all ...[]sample) float64
	full := 1.0 // what a pod that nothing is known of is taken to use, as a share of its request, when pods might go
	switch {
	case g.target.AverageUtilization != nil && *g.target.AverageUtilization > 0:
		if lacks(s) {
			out.why = fmt.Sprintf("its pods ask for no %s, so that there is nothing to measure use by", g)
			return out
		}
		share := float64(*g.target.AverageUtilization) / 100
		full = max(1, share)
		ratio = func(all ...[]sample) float64 {
			used, requested, _ := total(all...)
			return used / requested / share
		}
		out.reading.Utilization = int(math.Round(100 * used / requested))
	case g.target.AverageValue != nil && g.target.AverageValue.Sign() > 0:
		each := g.target.AverageValue.AsApproximateFloat64()
		ratio = func(all ...[]sample) float64 {
			used, _, pods := total(all...)
			return used / float64(pods) / each
		}
		for i := range s.missing {
			s.missing[i].requested = each // the whole of the target
		}
	default:
		out.why = "the metric has no target"
		return out
	}
	out.reading.Known, out.reading.Average = true, used/float64(pods)
	first := ratio(s.counted)
	out.why = fmt.Sprintf("%s is at %.0f%% of its target", g, first*100)
	out.pods, out.ok = a.settle(s, first, full, ratio), true
	return out
}

// lacks reports whether some pod asks for nothing, so that no use is a share of that.
func lacks(s samples) bool {
	for _, group := range [][]sample{s.counted, s.missing, s.starting} {
		for _, one := range group {
			if one.requested <= 0 {
				return true
			}
		}
	}
	return false
}

// settle gives the number of pods for a ratio. What is not known counts against change: as idle when pods might be added,
// as fully used when some might go.
func (a *autoscaler) settle(s samples, first, full float64, ratio func(...[]sample) float64) int {
	if len(s.missing) == 0 && (len(s.starting) == 0 || first <= 1) {
		if a.near(first) {
			return a.current
		}
		return rounded(first * float64(len(s.counted)))
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
	n := rounded(second * float64(pods))
	if a.near(second) || (first < 1) != (second < 1) || second < 1 && n > a.current || second > 1 && n < a.current {
		return a.current
	}
	return n
}

// rounded is a number of pods that is enough, whatever floating point makes of a whole one.
func rounded(pods float64) int {
	const most = math.MaxInt32
	return int(math.Ceil(min(pods, most) - 1e-9))
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
func (a *autoscaler) samples(g gauge) samples {
	var s samples
	for _, pod := range a.seen.of(a.target.Ref) {
		if !isLive(pod) || a.isIdle(pod) {
			continue
		}
		usage, known := a.used(pod.UID)
		used := usage.Used
		if g.container != "" && known {
			used, known = usage.Containers[g.container], hasKey(usage.Containers, g.container)
		}
		one := sample{used: amount(used, g.name), requested: amount(a.requested(pod, g.container), g.name)}
		switch {
		case pod.Phase == api.PodPending, g.name == corev1.ResourceCPU && known && a.starts(pod, usage):
			one.used = 0
			s.starting = append(s.starting, one)
		case !known:
			one.used = 0
			s.missing = append(s.missing, one)
		default:
			s.counted = append(s.counted, one)
		}
	}
	return s
}

func hasKey[K comparable, V any](m map[K]V, key K) bool { _, ok := m[key]; return ok }

// starts reports whether a pod's CPU tells only of its beginning.
func (a *autoscaler) starts(pod *Pod, usage Usage) bool {
	if !pod.Started.IsZero() && a.in.Now.Sub(pod.Started) >= cpuInitialization {
		return false
	}
	return !pod.Ready || usage.Time.Before(pod.ReadySince.Add(usage.Window))
}

// requested is what a pod, or one container of it, asks for. Of a template that is not at hand, the one that is wanted now
// tells what the container asks for.
func (a *autoscaler) requested(pod *Pod, container string) api.Resources {
	spec := a.specOf(pod)
	switch {
	case container == "" && spec == nil:
		return pod.Requests
	case container == "":
		return api.MeasuredRequests(spec)
	case spec == nil:
		spec = &a.target.template.Pod.Spec
	}
	return api.ContainerRequests(spec, container)
}

// amount is in cores or bytes.
func amount(r api.Resources, name corev1.ResourceName) float64 {
	if name == corev1.ResourceCPU {
		return float64(r.MilliCPU) / 1000
	}
	return float64(r.Memory)
}
