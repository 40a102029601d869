package planner

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"headway.dev/headway/api"
)

// report says how far the workload is, and dates it by what the last plan said.
func (r *rollout) report() {
	s := &r.status
	*s = api.WorkloadStatus{Ref: r.owner, Template: r.digest, Desired: r.replicas, Paused: r.held != "" && r.held != r.waits, Waits: r.waits, Back: r.back}
	for _, pod := range r.live {
		switch {
		case pod.Template == r.template.Digest:
			s.Updated++
		case r.outdated(pod):
			s.Outdated++
		default:
			r.exempted++
		}
		if pod.Ready {
			s.Ready++
		}
		if r.available(pod) {
			s.Available++
		}
	}
	if r.previous != nil {
		s.Stable = r.previous.Stable
	}
	if r.name != "" {
		s.Replaced = r.replaced()
	}
	if r.previous != nil && r.previous.Template == s.Template {
		r.resume()
	} else {
		r.begin()
	}
	r.steps()
	s.State, s.Reason = r.state()
	r.judgeFailure()
	if s.State == api.RolloutComplete {
		if s.Completed.IsZero() {
			s.Completed = r.now()
		}
		if r.exempted == 0 {
			s.Stable = s.Template
		}
	}
	r.plan.Workloads = append(r.plan.Workloads, *s)
}

// begin dates a rollout to a template that was not wanted before. If nothing is known of before, pods that run the
// template already tell by which commit.
func (r *rollout) begin() {
	s := &r.status
	s.Began, s.Progressed = r.now(), r.now()
	s.Commit = r.in.Revision.Commit
	s.Cause = r.cause()
	if r.previous != nil {
		return
	}
	s.Stable = r.serving()
	updated := slices.DeleteFunc(slices.Clone(r.pods), func(pod *Pod) bool { return pod.Template != s.Template })
	if len(updated) > 0 {
		first := slices.MinFunc(updated, func(a, b *Pod) int {
			return cmp.Or(cmp.Compare(a.Incarnation, b.Incarnation), cmp.Compare(a.Slot, b.Slot), comparePods(a, b))
		})
		s.Commit = first.Commit
	}
}

// serving is the other template whose pods serve; empty is none. Where nothing is known of before, that one is good.
func (r *rollout) serving() api.Digest {
	for _, pod := range r.live {
		if pod.Template != r.digest && r.available(pod) {
			return pod.Template
		}
	}
	return ""
}

// resume carries the dates over from the last plan. Whatever brought the rollout nearer to its end, or gave it more to do,
// starts its deadline anew.
func (r *rollout) resume() {
	s, before := &r.status, r.previous
	s.Commit, s.Cause = before.Commit, before.Cause
	s.Began, s.Progressed, s.Completed = before.Began, before.Progressed, before.Completed
	nearer := s.Updated > before.Updated || s.Outdated < before.Outdated || s.Ready > before.Ready || s.Available > before.Available
	more := s.Desired != before.Desired || before.State == api.RolloutComplete && !r.complete() ||
		before.Back != s.Back || before.Paused && !s.Paused || before.Waits != "" && s.Waits == ""
	if nearer || more {
		s.Progressed = r.now()
	}
}

// complete reports whether the wanted pods, and no others, are there and available.
func (r *rollout) complete() bool {
	return r.status.Updated+r.exempted == r.replicas && r.status.Outdated == 0 && r.status.Available == r.replicas
}

// state judges the rollout, and says why in a sentence.
func (r *rollout) state() (api.RolloutState, string) {
	if kept := r.of[ClassKeep]; len(kept) > 0 && isEnded(kept[0]) { // by its own restart policy
		if kept[0].Phase == api.PodSucceeded {
			return api.RolloutComplete, "the pod succeeded"
		}
		return api.RolloutStalled, "the pod " + ending(kept[0]) + ", and its restart policy is to leave it so: change it in a commit"
	}
	switch {
	case r.back != "" && r.held == "":
		return api.RolloutStalled, "back at the template before, since " + r.back + ": " + r.progress()
	case r.back != "":
		return api.RolloutStalled, r.held + ": " + r.progress()
	case r.blocked: // whatever runs: only a commit helps
		return api.RolloutStalled, r.held
	case r.complete() && r.replicas == 0:
		return api.RolloutComplete, "no pods are wanted"
	case r.complete() && r.exempted > 0:
		return api.RolloutComplete, fmt.Sprintf("%d of %d pods available, %d of them keep their template", r.status.Available, r.replicas, r.exempted)
	case r.complete():
		return api.RolloutComplete, fmt.Sprintf("%d of %d pods available", r.status.Available, r.replicas)
	case r.held != "":
		return api.RolloutProgressing, r.held + ": " + r.progress()
	case r.deadline == 0:
		return api.RolloutProgressing, r.progress()
	}
	if pod := r.crashLooping(); pod != nil {
		return api.RolloutStalled, fmt.Sprintf("%s crash-loops, and the last good pods keep serving: %s", pod.Pod.Name, r.progress())
	}
	if r.onStep() && !r.status.Canary.Reached.IsZero() && r.status.Progressed.Equal(r.now()) {
		return api.RolloutProgressing, r.progress() // it waits as it was asked to, and no deadline runs
	}
	end := r.status.Progressed.Add(r.deadline)
	if r.passed(end) {
		return api.RolloutStalled, fmt.Sprintf("no progress for %s: %s", r.deadline, r.progress())
	}
	r.wakeAt(end)
	return api.RolloutProgressing, r.progress()
}

// crashLoop is how many restarts of a container that waits to be started again make a rollout a failure.
const crashLoop = 3

// crashLooping gives a pod of the wanted template that does not come up however often it is started, where pods of another
// template still serve: waiting for the deadline would teach nothing more. Where none do, what helps may yet come from outside.
func (r *rollout) crashLooping() *Pod {
	if r.status.Outdated == 0 {
		return nil
	}
	for _, pod := range r.of[ClassKeep] {
		if pod.Ready || pod.Template != r.template.Digest {
			continue
		}
		for _, c := range pod.all() {
			if c.Restarts >= crashLoop && c.Reason == "CrashLoopBackOff" {
				return pod
			}
		}
	}
	return nil
}

// judgeFailure says of a rollout that has stalled, though its template can be made, what its pods show.
func (r *rollout) judgeFailure() {
	s := &r.status
	if r.back != "" {
		s.Failure = r.previous.Failure // it is told until Git wants another template
		return
	}
	if s.State != api.RolloutStalled || r.blocked {
		return
	}
	s.Failure = &api.RolloutFailure{Commit: s.Commit, Reason: s.Reason, Evidence: evidence(r.of[ClassKeep])}
	if before := r.previous; before != nil && before.Template == s.Template && before.Failure != nil {
		s.Failure.Since = before.Failure.Since
	} else {
		s.Failure.Since = r.now()
	}
}

// progress counts what is done, and names the pod that is most in the way.
func (r *rollout) progress() string {
	s := fmt.Sprintf("%d of %d pods updated, %d available", r.status.Updated, r.replicas, r.status.Available)
	if r.onStep() {
		s = r.describeStep() + ": " + s
	}
	if r.status.Outdated > 0 {
		s += fmt.Sprintf(", %d old", r.status.Outdated)
	}
	if n := len(r.of[ClassStopping]); n > 0 {
		s += fmt.Sprintf(", %d stopping", n)
	}
	for _, pod := range r.of[ClassEnded] {
		if until := r.restsUntil(pod); !r.passed(until) {
			return fmt.Sprintf("%s; %s %s again, and is replaced after %s", s, pod.Pod.Name, ending(pod), until.UTC().Format(time.TimeOnly))
		}
	}
	for _, pod := range slices.Backward(r.of[ClassKeep]) {
		switch {
		case r.available(pod):
		case pod.Reason != "":
			return fmt.Sprintf("%s; %s: %s", s, pod.Pod.Name, pod.Reason)
		case pod.Node == "":
			return fmt.Sprintf("%s; %s has no node", s, pod.Pod.Name)
		}
	}
	return s
}
