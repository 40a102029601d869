package planner

import (
	"slices"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
)

// jitter is how much nearer than a policy's period two rounds may be that are meant to be that far apart.
const jitter = time.Second

// A scaleRule says how a target may move in one direction.
type scaleRule struct {
	sign      int // 1 is up, -1 is down
	window    time.Duration
	policies  []autoscalingv2.HPAScalingPolicy
	choice    autoscalingv2.ScalingPolicySelect
	tolerance float64
}

func (a *autoscaler) up() scaleRule {
	r := scaleRule{sign: 1, policies: []autoscalingv2.HPAScalingPolicy{
		{Type: autoscalingv2.PercentScalingPolicy, Value: 100, PeriodSeconds: 15},
		{Type: autoscalingv2.PodsScalingPolicy, Value: 4, PeriodSeconds: 15},
	}}
	if b := a.spec.Behavior; b != nil {
		return r.with(b.ScaleUp)
	}
	return r.with(nil)
}

func (a *autoscaler) down() scaleRule {
	r := scaleRule{sign: -1, window: defaultDownWindow * time.Second, policies: []autoscalingv2.HPAScalingPolicy{
		{Type: autoscalingv2.PercentScalingPolicy, Value: 100, PeriodSeconds: 15},
	}}
	if b := a.spec.Behavior; b != nil {
		return r.with(b.ScaleDown)
	}
	return r.with(nil)
}

// with gives the rule with what its author declares in place of Kubernetes' defaults.
func (r scaleRule) with(declared *autoscalingv2.HPAScalingRules) scaleRule {
	r.choice, r.tolerance = autoscalingv2.MaxChangePolicySelect, defaultTolerance
	if declared == nil {
		return r
	}
	if s := declared.StabilizationWindowSeconds; s != nil {
		r.window = time.Duration(*s) * time.Second
	}
	if len(declared.Policies) > 0 {
		r.policies = declared.Policies
	}
	if declared.SelectPolicy != nil {
		r.choice = *declared.SelectPolicy
	}
	if t := declared.Tolerance; t != nil {
		r.tolerance = t.AsApproximateFloat64()
	}
	return r
}

// longestPeriod is how long changes have to be remembered.
func (a *autoscaler) longestPeriod() time.Duration {
	var longest int32
	for _, p := range slices.Concat(a.up().policies, a.down().policies) {
		longest = max(longest, p.PeriodSeconds)
	}
	return time.Duration(longest) * time.Second
}

// near reports whether usage is so close to its target that nothing is to be done.
func (a *autoscaler) near(ratio float64) bool {
	return 1-a.down().tolerance <= ratio && ratio <= 1+a.up().tolerance
}

// steadied takes, of what was asked for within the windows, the least that is more than there is, or the most that is fewer.
func (a *autoscaler) steadied(asked int) int {
	up, down := a.up().window, a.down().window
	least, most := asked, asked
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

// paced bounds a change by what the policies allow in their periods.
func (a *autoscaler) paced(wanted int) int {
	rule := a.up()
	if wanted < a.current {
		rule = a.down()
	}
	if rule.choice == autoscalingv2.DisabledPolicySelect {
		return a.current
	}
	allowed := -1
	for _, policy := range rule.policies {
		change := max(0, a.allowed(policy, rule.sign))
		if allowed < 0 || (rule.choice == autoscalingv2.MinChangePolicySelect) == (change < allowed) {
			allowed = change
		}
	}
	return a.current + rule.sign*min(allowed, rule.sign*(wanted-a.current))
}

// allowed is how many pods a policy still lets come or go, counted from how many there were when its period began.
func (a *autoscaler) allowed(policy autoscalingv2.HPAScalingPolicy, sign int) int {
	start := a.current
	from := a.in.Now.Add(jitter - time.Duration(policy.PeriodSeconds)*time.Second)
	for _, c := range a.record.Changes {
		if c.Time.After(from) {
			start -= c.Pods
		}
	}
	step := int(policy.Value)
	if policy.Type == autoscalingv2.PercentScalingPolicy {
		step = (max(0, start)*step + 99) / 100 // rounded so that there is always some change
	}
	return step - sign*(a.current-start)
}
