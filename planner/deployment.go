package planner

import (
	"math"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// defaultLimit and defaultDeadline are what Kubernetes takes for a Deployment that does not say.
const (
	defaultLimit    = "25%"
	defaultDeadline = 600 * time.Second
)

// deployment plans a Deployment: a number of equal pods.
func (p *pass) deployment(w workload, d *appsv1.Deployment) {
	limits := rollout{
		replicas: p.replicasOf(w, d.Spec.Replicas),
		minReady: time.Duration(d.Spec.MinReadySeconds) * time.Second,
		deadline: defaultDeadline,
	}
	if s := d.Spec.ProgressDeadlineSeconds; s != nil {
		limits.deadline = time.Duration(*s) * time.Second
		if *s == math.MaxInt32 { // Kubernetes' way to say never
			limits.deadline = 0
		}
	}
	if d.Spec.Paused {
		limits.held = "paused"
	}
	recreates := d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType
	limits.recreates = recreates
	if !recreates {
		limits.surge, limits.unavailable = rollingLimits(d.Spec.Strategy.RollingUpdate, limits.replicas)
	}
	limits.canary = canaryOf(d)
	if limits.isBlueGreen() {
		limits.surge = limits.replicas // whatever maxSurge says
	}
	r := p.newRollout(w, limits)
	r.noteCanary()
	r.noteServing()
	r.stopGone()
	if r.isBlueGreen() {
		r.stopIdle()
	}
	switch {
	case r.isBlueGreen() && r.active() != r.template.Digest:
		r.beside()
	case r.held != "":
		r.hold()
	case recreates:
		r.recreate()
	default:
		r.roll()
	}
}

// rollingLimits are maxSurge and maxUnavailable in pods. A percentage of surge rounds up and one of unavailability down;
// where both come to nothing one pod may be unavailable, or else no rollout could move.
func rollingLimits(u *appsv1.RollingUpdateDeployment, replicas int) (surge, unavailable int) {
	if u == nil {
		u = &appsv1.RollingUpdateDeployment{}
	}
	surge = pods(u.MaxSurge, replicas, true)
	unavailable = min(pods(u.MaxUnavailable, replicas, false), replicas)
	if surge == 0 && unavailable == 0 {
		unavailable = 1
	}
	return surge, unavailable
}

// pods scales a number or percentage of replicas. What cannot be read, which the compiler lets nothing be, is the default.
func pods(value *intstr.IntOrString, replicas int, roundUp bool) int {
	standard := intstr.FromString(defaultLimit)
	if value == nil {
		value = &standard
	}
	n, err := intstr.GetScaledValueFromIntOrPercent(value, replicas, roundUp)
	if err != nil {
		n, _ = intstr.GetScaledValueFromIntOrPercent(&standard, replicas, roundUp) // a constant that scales
	}
	return max(0, n)
}

// roll plans a step of a rolling update. At every instant at most replicas+surge pods run, of those not told to stop, and
// no stop takes the available ones below replicas-unavailable.
//
// Old pods may go while there are more pods than the least number that must be available; a new one that is not available
// yet is counted as missing there, so that a template that never gets ready stops the rollout (the rule of Kubernetes'
// Deployment controller). Those that serve nobody go first.
func (r *rollout) roll() {
	kept, old := r.of[ClassKeep], r.of[ClassOutdated] // the best first
	r.goodFirst(old)
	keptAvailable, oldAvailable := r.countAvailable(kept), r.countAvailable(old)
	oldWaiting := len(old) - oldAvailable
	available := keptAvailable + oldAvailable
	total := len(kept) + len(old)
	limit, floor := r.replicas+r.surge, max(0, r.replicas-r.unavailable)

	r.stopSurplus(r.of[ClassSurplus], r.surplusReason())

	// Only scaling down, or limits made narrower, leave an excess above the limit.
	excess := total - limit
	budget := max(excess, total-floor-(len(kept)-keptAvailable))
	budget = min(budget, max(excess, len(old)-r.stayOld()))
	going := clamp(budget, oldWaiting)
	going += clamp(min(budget-going, available-floor), oldAvailable)
	going = r.stopOutdated(old[len(old)-going:])
	if going == 0 && r.onStep() { // else a node could not be drained until the step is over
		going = r.leaveDrained(r.live)
	}
	total -= going

	// Where what is left of the excess cannot be taken from old pods, new ones that nobody relies on yet make way.
	if crowd := clamp(excess-going, len(kept)-keptAvailable); crowd > 0 {
		r.stopSurplus(kept[len(kept)-crowd:], r.crowdReason(limit))
		return
	}
	fresh := max(0, min(r.stepPods()-len(kept), limit-total))
	r.fill(fresh, r.template)
	if r.onStep() {
		r.fillOld(min(r.stayOld()-(len(old)-going), limit-total-fresh))
	}
}

// clamp bounds n to between nothing and most.
func clamp(n, most int) int { return max(0, min(n, most)) }

// recreate plans a step of replacing all pods at once: new ones are made only after every old one is gone. A lost one is
// not waited for: nobody knows when its node returns, and it has been replaced in any case.
func (r *rollout) recreate() {
	r.stopSurplus(r.of[ClassSurplus], r.surplusReason())
	staying := len(r.of[ClassOutdated]) - r.stopOutdated(r.of[ClassOutdated])
	for _, pod := range r.pods {
		if pod.Template != r.template.Digest && !pod.Lost {
			return
		}
	}
	r.fill(r.replicas-len(r.of[ClassKeep])-staying, r.template)
}
