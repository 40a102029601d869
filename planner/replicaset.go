package planner

import "time"

// replicaSet plans a ReplicaSet or a ReplicationController: a number of equal pods, which are its own because it made them
// and not because their labels match.
//
// A changed template replaces the pods, as a Deployment that does not say how would. Kubernetes leaves them be and only
// makes new ones by it, so that what runs depends on when each pod was made; here what Git says is what runs
// (docs/decisions/0007-replica-sets-roll.md).
func (p *pass) replicaSet(w workload, replicas *int32, minReadySeconds int32) {
	limits := rollout{
		replicas: p.replicasOf(w, replicas),
		minReady: time.Duration(minReadySeconds) * time.Second,
		deadline: defaultDeadline,
	}
	limits.surge, limits.unavailable = rollingLimits(nil, limits.replicas)
	r := p.newRollout(w, limits)
	r.stopGone()
	if r.held != "" {
		r.hold()
		return
	}
	r.roll()
}

// count is a number of replicas, which is one where nothing is said.
func count(replicas *int32) int {
	if replicas == nil {
		return 1
	}
	return max(0, int(*replicas))
}
