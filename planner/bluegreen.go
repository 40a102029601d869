package planner

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"headway.dev/headway/api"
)

// A blue-green rollout makes all pods of a new template beside the old ones, which keep all connections until the new ones are
// available and the step's time is over, or a commit promotes it. Then one plan takes the connections over and stops the old
// pods. At any time one template alone serves; pods of any other are idle, and go as soon as nobody wants them.

// isBlueGreen reports whether the template changes so.
func (r *rollout) isBlueGreen() bool { return r.canary != nil && r.canary.BlueGreen }

// switchOver finds the template that serves, and goes over to the wanted one when its time has come.
func (r *rollout) switchOver() {
	s := &r.status
	serving := r.servingNow()
	if serving == r.template.Digest {
		s.Canary = nil
		return
	}
	now := &api.CanaryStatus{Step: 1, Serving: serving, Reason: r.describeBegin(1)}
	if before := r.previous; before != nil && before.Template == s.Template && before.Canary != nil && before.Canary.Serving == serving {
		*now = *before.Canary
	}
	s.Canary = now
	if kept := r.of[ClassKeep]; r.held != "" || len(kept) < r.replicas || r.countAvailable(kept) < len(kept) {
		return
	}
	if now.Reached.IsZero() {
		now.Reached = r.now()
		now.Reason = r.describeStep()
	}
	s.Progressed = r.now() // it waits as it was asked to
	why := r.liftsStep()
	if r.back != "" || s.Stable == s.Template {
		why = "they were complete before"
	}
	if why != "" {
		*now = api.CanaryStatus{Step: 2, Serving: r.template.Digest, Reason: r.describeNext(why)}
	}
}

// servingNow is the template that has the connections. Where nothing is known of that, it is the one with most available pods,
// and between equals the last good one.
func (r *rollout) servingNow() api.Digest {
	available := map[api.Digest]int{}
	for _, pod := range r.live {
		n := available[pod.Template]
		if r.available(pod) {
			n++
		}
		available[pod.Template] = n
	}
	if before := r.previous; before != nil && before.Canary != nil {
		if _, lives := available[before.Canary.Serving]; lives {
			return before.Canary.Serving
		}
	}
	if len(available) == 0 || !r.status.Completed.IsZero() {
		return r.template.Digest
	}
	good := func(template api.Digest) int {
		if template == r.status.Stable {
			return 1
		}
		return 0
	}
	return slices.MaxFunc(slices.Collect(maps.Keys(available)), func(a, b api.Digest) int {
		return cmp.Or(cmp.Compare(available[a], available[b]), cmp.Compare(good(a), good(b)), cmp.Compare(a, b))
	})
}

// active is the template of which alone the rollout's pods have connections; empty is that all have.
func (r *rollout) active() api.Digest {
	switch {
	case !r.isBlueGreen():
		return ""
	case r.status.Canary == nil:
		return r.template.Digest
	}
	return r.status.Canary.Serving
}

// stopIdle stops the pods that neither serve nor are to. They cost nobody a connection, and no budget.
func (r *rollout) stopIdle() {
	wanted, serving := r.template.Digest, r.active()
	idle := func(pod *Pod) bool {
		return isLive(pod) && pod.Template != serving && (pod.Template != wanted || r.drained(pod))
	}
	for _, pod := range r.live {
		if !idle(pod) {
			continue
		}
		reason := r.changeFrom(pod.Template)
		if pod.Template == wanted {
			reason = fmt.Sprintf("node %s is being drained", pod.Node)
		}
		r.stop(pod, ClassOutdated, reason)
	}
	r.live = slices.DeleteFunc(slices.Clone(r.live), idle)
	r.of[ClassOutdated] = slices.DeleteFunc(slices.Clone(r.of[ClassOutdated]), idle)
}

// beside plans a step while the old pods serve: there are as many of them as are wanted, and as many of the new ones.
func (r *rollout) beside() {
	r.stopSurplus(r.of[ClassSurplus], r.surplusReason())
	serving := r.status.Canary.Serving
	old := slices.DeleteFunc(slices.Clone(r.live), func(pod *Pod) bool { return pod.Template != serving }) // the best first
	if len(old) > r.replicas {
		r.stopSurplus(old[r.replicas:], r.surplusReason())
		old = old[:r.replicas]
	}
	if template, known := r.restore(serving); known {
		r.fill(r.replicas-len(old)+r.leaveDrained(old), template)
	}
	if r.held == "" {
		r.fill(r.replicas-len(r.of[ClassKeep]), r.template)
	}
}

// noteServing has services lead to the serving template alone.
func (r *rollout) noteServing() {
	if serving := r.active(); serving != "" {
		r.pass.serving[r.owner] = serving
	} else {
		delete(r.pass.serving, r.owner)
	}
}

// isIdle reports whether the pod is of a blue-green rollout, and of a template that does not serve.
func (p *pass) isIdle(pod *Pod) bool {
	serving, ok := p.serving[pod.Owner]
	return ok && pod.Template != serving
}

// withoutIdle leaves out of the pods that a service selects those that are idle. A service that selects none of the serving ones
// is there to look at the new ones, and leads to them.
func (p *pass) withoutIdle(pods []*Pod) []*Pod {
	if !slices.ContainsFunc(pods, p.isIdle) {
		return pods
	}
	serve := map[api.Ref]bool{}
	for _, pod := range pods {
		if isLive(pod) && !p.isIdle(pod) {
			serve[pod.Owner] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(pods), func(pod *Pod) bool { return p.isIdle(pod) && serve[pod.Owner] })
}
