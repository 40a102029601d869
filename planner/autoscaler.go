package planner

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"

	"headway.dev/headway/api"
)

const (
	// defaultScalePeriod is how often autoscalers reckon, as in Kubernetes.
	defaultScalePeriod = 15 * time.Second
	// defaultDownWindow is how many seconds fewer pods have to be enough before any is taken away.
	defaultDownWindow = 300
)

// An autoscaler is a HorizontalPodAutoscaler in one pass. It moves the number of pods inside the bounds that Git declares;
// what Git says of the target's own replicas counts only when nothing is there yet, or to have none at all.
type autoscaler struct {
	*pass
	spec    *autoscalingv2.HorizontalPodAutoscalerSpec
	target  workload
	record  api.ScaleRecord
	current int
}

// scale asks all autoscalers, before any workload is planned: a budget of disruption may count pods of several.
func (p *pass) scale() {
	if len(p.want.scalers) == 0 {
		return
	}
	for _, w := range p.want.workloads {
		if n, ok := p.want.replicas[w.Ref]; ok {
			p.autoscale(w, n)
		}
	}
}

// replicasOf is how many pods a workload is to have: what its autoscaler makes of it, or what Git says.
func (p *pass) replicasOf(w workload, declared *int32) int {
	if n, ok := p.scaled[w.Ref]; ok {
		return n
	}
	return count(declared)
}

// autoscale reckons one workload's replicas, if it has an autoscaler and is to have any pods. All autoscalers reckon at the
// same times, so that a fleet with many of them is planned no more often than one with a single one.
func (p *pass) autoscale(w workload, declared int) {
	object, scaled := p.want.scalers[w.Ref]
	if !scaled || declared == 0 {
		return
	}
	a := autoscaler{pass: p, target: w, spec: &object.Value.(*autoscalingv2.HorizontalPodAutoscaler).Spec}
	a.recall(object.Ref, declared)
	period := cmp.Or(p.in.ScalePeriod, defaultScalePeriod)
	turn := p.in.Now.Truncate(period)
	if a.record.Time.Before(turn) || a.bounded(a.current) != a.current {
		a.reckon()
	}
	p.wakeLater(turn.Add(period))
	p.plan.Scales = append(p.plan.Scales, a.record)
	p.scaled[w.Ref] = a.record.Replicas
}

// recall finds how many pods the target has been given: by the record, by what the last plan said, or by what is observed.
// Where there is no record, the number that is there is the first that was asked for: no pod goes before the window has
// passed once.
func (a *autoscaler) recall(by api.Ref, declared int) {
	for _, r := range a.in.Scales {
		if r.Autoscaler == by && r.Target == a.target.Ref {
			a.record = r
			a.current = r.Replicas
			return
		}
	}
	for _, pod := range a.seen.of(a.target.Ref) {
		if isLive(pod) {
			a.current++
		}
	}
	if before := a.previous[a.target.Ref]; before != nil {
		a.current = before.Desired
	}
	if a.current == 0 {
		a.current = declared
	}
	a.record = api.ScaleRecord{Autoscaler: by, Target: a.target.Ref, Replicas: a.current}
	a.remember(a.current)
}

// ScaleBounds are the fewest and the most pods that an autoscaler may make.
func ScaleBounds(spec *autoscalingv2.HorizontalPodAutoscalerSpec) (least, most int) {
	if spec.MinReplicas != nil {
		return int(*spec.MinReplicas), int(spec.MaxReplicas)
	}
	return 1, int(spec.MaxReplicas)
}

func (a *autoscaler) least() int {
	least, _ := ScaleBounds(a.spec)
	return least
}

func (a *autoscaler) bounded(n int) int {
	least, most := ScaleBounds(a.spec)
	return max(least, min(n, most))
}

// reckon is one round of Kubernetes' algorithm: the largest number that any metric asks for, steadied by the windows, within
// the policies and the bounds.
func (a *autoscaler) reckon() {
	now, r := a.in.Now, &a.record
	r.Changes = since(r.Changes, now.Add(-a.longestPeriod()))
	r.Recommendations = since(r.Recommendations, now.Add(-max(a.up().window, a.down().window)))
	wanted := a.bounded(a.current)
	if wanted != a.current { // the bounds do not wait for metrics
		r.Reason = fmt.Sprintf("the bounds are %d to %d", a.least(), a.spec.MaxReplicas)
	} else {
		wanted = a.measured()
	}
	if wanted != a.current {
		r.Changes = append(r.Changes, api.ScaleStep{Time: now, Pods: wanted - a.current})
		a.condition(ableToScale, true, "SucceededRescale", fmt.Sprintf("scaled from %d to %d pods: %s", a.current, wanted, r.Reason))
	}
	r.Replicas, r.Time = wanted, now
}

// measured is the number of pods by the metrics; the one that there is where they cannot tell.
func (a *autoscaler) measured() int {
	asked, why, ok := a.asked()
	a.record.Reason = why
	if !ok {
		a.condition(scalingActive, false, "FailedGetResourceMetric", why)
		a.condition(ableToScale, true, "ReadyForNewScale", "as many pods as there are, until the metrics are known")
		return a.current
	}
	a.condition(scalingActive, true, "ValidMetricFound", why)
	if len(a.record.Recommendations) == 0 { // nothing was known for as long as the windows reach: they begin anew
		a.remember(a.current)
	}
	a.remember(asked)
	steady := a.steadied(asked)
	switch {
	case steady > asked:
		a.condition(ableToScale, true, "ScaleDownStabilized", fmt.Sprintf("%d pods would do, but %d did not within the last %s", asked, steady, a.down().window))
	case steady < asked:
		a.condition(ableToScale, true, "ScaleUpStabilized", fmt.Sprintf("%d pods are asked for, but %d were enough within the last %s", asked, steady, a.up().window))
	default:
		a.condition(ableToScale, true, "ReadyForNewScale", "as many pods as the metrics ask for")
	}
	paced := a.paced(steady)
	wanted := a.bounded(paced)
	switch {
	case wanted < paced || steady > wanted && wanted == int(a.spec.MaxReplicas):
		a.condition(scalingLimited, true, "TooManyReplicas", fmt.Sprintf("%d pods are asked for, more than maxReplicas, %d", steady, a.spec.MaxReplicas))
	case wanted > paced || steady < wanted && wanted == a.least():
		a.condition(scalingLimited, true, "TooFewReplicas", fmt.Sprintf("%d pods are asked for, fewer than minReplicas, %d", steady, a.least()))
	case paced < steady:
		a.condition(scalingLimited, true, "ScaleUpLimit", fmt.Sprintf("%d pods are asked for; the policies let %d come for now", steady, paced-a.current))
	case paced > steady:
		a.condition(scalingLimited, true, "ScaleDownLimit", fmt.Sprintf("%d pods are asked for; the policies let %d go for now", steady, a.current-paced))
	default:
		a.condition(scalingLimited, false, "DesiredWithinRange", "the number is within the bounds and the policies")
	}
	return wanted
}

// asked is the largest number that a metric asks for. Where one cannot be had, no pod is taken away for the others.
func (a *autoscaler) asked() (n int, why string, ok bool) {
	most, blind := -1, ""
	a.record.Metrics = make([]api.ScaleMetric, len(a.spec.Metrics))
	for i := range a.spec.Metrics {
		one := a.metric(&a.spec.Metrics[i])
		a.record.Metrics[i] = one.reading
		switch {
		case !one.ok:
			blind = one.why
		case one.pods > most:
			most, why = one.pods, one.why
		}
	}
	if most < 0 || blind != "" && most < a.current {
		return a.current, blind, false
	}
	return most, why, true
}

// remember notes what is asked for now.
func (a *autoscaler) remember(pods int) {
	a.record.Recommendations = append(slices.Clip(a.record.Recommendations), api.ScaleStep{Time: a.in.Now, Pods: pods})
}

// since leaves out the steps that were before a time.
func since(steps []api.ScaleStep, from time.Time) []api.ScaleStep {
	return slices.DeleteFunc(slices.Clone(steps), func(s api.ScaleStep) bool { return s.Time.Before(from) })
}

// The conditions of an autoscaler, by Kubernetes' names.
const (
	ableToScale    = "AbleToScale"
	scalingActive  = "ScalingActive"
	scalingLimited = "ScalingLimited"
)

// condition notes what holds of the autoscaler, and since when.
func (a *autoscaler) condition(kind string, holds bool, reason, message string) {
	c := api.ScaleCondition{Type: kind, True: holds, Since: a.in.Now, Reason: reason, Message: message}
	all := slices.Clone(a.record.Conditions)
	i, known := slices.BinarySearchFunc(all, kind, func(c api.ScaleCondition, kind string) int { return cmp.Compare(c.Type, kind) })
	if !known {
		all = slices.Insert(all, i, c)
	} else if all[i].True == holds {
		c.Since = all[i].Since
	}
	all[i] = c
	a.record.Conditions = all
}
