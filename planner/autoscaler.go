package planner

import (
	"fmt"
	"slices"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"

	"headway.dev/headway/api"
)

const (
	// scalePeriod is how often an autoscaler reckons, and longestWindow how long it remembers, as in Kubernetes.
	scalePeriod   = 15 * time.Second
	longestWindow = time.Hour
	// defaultDownWindow is how long fewer pods have to be enough before any is taken away.
	defaultDownWindow = 300
)

// An autoscaler is a HorizontalPodAutoscaler in one pass. It moves the number of pods inside the bounds that Git declares;
// what Git says of the target's own replicas counts only when nothing is there yet, or to have none at all.
type autoscaler struct {
	*pass
	source  api.Object
	spec    *autoscalingv2.HorizontalPodAutoscalerSpec
	target  api.Ref
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

// autoscale reckons one workload's replicas, if it has an autoscaler and is to have any pods.
func (p *pass) autoscale(w workload, declared int) {
	object, scaled := p.want.scalers[w.Ref]
	if !scaled || declared == 0 {
		return
	}
	a := autoscaler{pass: p, source: object, target: w.Ref}
	a.spec = &object.Value.(*autoscalingv2.HorizontalPodAutoscaler).Spec
	a.recall(declared)
	if a.record.Time.IsZero() || !p.in.Now.Before(a.record.Time.Add(scalePeriod)) {
		a.reckon()
	}
	a.record.Replicas = a.bounded(a.record.Replicas)
	p.wakeLater(a.record.Time.Add(scalePeriod))
	p.plan.Scales = append(p.plan.Scales, a.record)
	p.scaled[w.Ref] = a.record.Replicas
}

// recall finds how many pods the target has been given: by the record, by what the last plan said, or by what is observed.
func (a *autoscaler) recall(declared int) {
	a.record = api.ScaleRecord{Autoscaler: a.source.Ref, Target: a.target}
	for _, r := range a.in.Scales {
		if r.Autoscaler == a.source.Ref && r.Target == a.target {
			a.record = r
			a.current = r.Replicas
			return
		}
	}
	for _, pod := range a.owned[a.target] {
		if isLive(pod) {
			a.current++
		}
	}
	if before := a.previous[a.target]; before != nil {
		a.current = before.Desired
	}
	if a.current == 0 {
		a.current = declared
	}
}

func (a *autoscaler) bounded(n int) int {
	least := 1
	if a.spec.MinReplicas != nil {
		least = int(*a.spec.MinReplicas)
	}
	return max(least, min(n, int(a.spec.MaxReplicas)))
}

// reckon is one round of Kubernetes' algorithm: the largest number that any metric asks for, steadied by the windows, within
// the policies and the bounds.
func (a *autoscaler) reckon() {
	now := a.in.Now
	wanted, reason := a.asked()
	if n := a.bounded(a.current); n != a.current { // the bounds do not wait for metrics
		wanted, reason = n, fmt.Sprintf("the bounds are %d to %d", a.bounded(0), a.spec.MaxReplicas)
	} else {
		a.record.Recommendations = append(recent(a.record.Recommendations, now.Add(-longestWindow)), api.ScaleStep{Time: now, Pods: wanted})
		wanted = a.paced(a.steadied(wanted))
	}
	wanted = a.bounded(wanted)
	a.record.Changes = recent(a.record.Changes, now.Add(-longestWindow))
	if wanted != a.current {
		a.record.Changes = append(a.record.Changes, api.ScaleStep{Time: now, Pods: wanted - a.current})
	}
	a.record.Replicas, a.record.Time, a.record.Reason = wanted, now, reason
}

// asked is the largest number that a metric asks for. Where one cannot be had, no pod is taken away.
func (a *autoscaler) asked() (int, string) {
	most, reason, blind := -1, "", ""
	for i := range a.spec.Metrics {
		n, why, ok := a.metric(&a.spec.Metrics[i])
		switch {
		case !ok:
			blind = why
		case n > most:
			most, reason = n, why
		}
	}
	if most < 0 || blind != "" && most < a.current {
		return a.current, blind
	}
	return most, reason
}

// recent leaves out the steps that were before a time.
func recent(steps []api.ScaleStep, from time.Time) []api.ScaleStep {
	return slices.DeleteFunc(slices.Clone(steps), func(s api.ScaleStep) bool { return s.Time.Before(from) })
}

// steadied takes, of what was asked for within the windows, the least that is more than there is, or the most that is fewer.
func (a *autoscaler) steadied(wanted int) int {
	up, down := window(a.up(), 0), window(a.down(), defaultDownWindow)
	least, most := wanted, wanted
	for _, r := range a.record.Recommendations {
		age := a.in.Now.Sub(r.Time)
		if age < up {
			least = min(least, r.Pods)
		}
		if age < down {
			most = max(most, r.Pods)
		}
	}
	return min(max(a.current, least), most)
}

func (a *autoscaler) up() *autoscalingv2.HPAScalingRules {
	if a.spec.Behavior == nil {
		return nil
	}
	return a.spec.Behavior.ScaleUp
}

func (a *autoscaler) down() *autoscalingv2.HPAScalingRules {
	if a.spec.Behavior == nil {
		return nil
	}
	return a.spec.Behavior.ScaleDown
}

func window(rules *autoscalingv2.HPAScalingRules, standard int32) time.Duration {
	if rules != nil && rules.StabilizationWindowSeconds != nil {
		standard = *rules.StabilizationWindowSeconds
	}
	return time.Duration(standard) * time.Second
}

// defaultUp and defaultDown are the policies of Kubernetes for who declares none.
var (
	defaultUp = []autoscalingv2.HPAScalingPolicy{
		{Type: autoscalingv2.PercentScalingPolicy, Value: 100, PeriodSeconds: 15},
		{Type: autoscalingv2.PodsScalingPolicy, Value: 4, PeriodSeconds: 15},
	}
	defaultDown = []autoscalingv2.HPAScalingPolicy{{Type: autoscalingv2.PercentScalingPolicy, Value: 100, PeriodSeconds: 15}}
)

// paced bounds a change by what the policies allow in their periods.
func (a *autoscaler) paced(wanted int) int {
	rules, policies, sign := a.up(), defaultUp, 1
	if wanted < a.current {
		rules, policies, sign = a.down(), defaultDown, -1
	}
	choice := autoscalingv2.MaxChangePolicySelect
	if rules != nil {
		if len(rules.Policies) > 0 {
			policies = rules.Policies
		}
		if rules.SelectPolicy != nil {
			choice = *rules.SelectPolicy
		}
	}
	if choice == autoscalingv2.DisabledPolicySelect {
		return a.current
	}
	allowed := -1
	for _, policy := range policies {
		change := max(0, a.allowed(policy, sign))
		if allowed < 0 || (choice == autoscalingv2.MinChangePolicySelect) == (change < allowed) {
			allowed = change
		}
	}
	return a.current + sign*min(allowed, sign*(wanted-a.current))
}

// allowed is how many pods a policy still lets come or go, after what came or went within its period.
func (a *autoscaler) allowed(policy autoscalingv2.HPAScalingPolicy, sign int) int {
	done := 0
	since := a.in.Now.Add(-time.Duration(policy.PeriodSeconds) * time.Second)
	for _, c := range a.record.Changes {
		if c.Time.After(since) && c.Pods*sign > 0 {
			done += c.Pods * sign
		}
	}
	step := int(policy.Value)
	if policy.Type == autoscalingv2.PercentScalingPolicy {
		start := a.current - sign*done
		step = (start*step + 99) / 100 // rounded so that there is always some change
	}
	return step - done
}
