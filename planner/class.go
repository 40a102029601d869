package planner

import (
	"cmp"
	"slices"

	"headway.dev/headway/api"
)

// A Class is what an observed pod is to its workload.
type Class string

// The classes of pods. Only actions have the last two: a pod to be pruned has no workload, a missing one is not there yet.
const (
	ClassStopping Class = "stopping"
	ClassLost     Class = "lost"
	ClassEnded    Class = "ended"
	ClassOutdated Class = "outdated"
	ClassKeep     Class = "keep"
	ClassSurplus  Class = "surplus"
	ClassPruned   Class = "pruned"
	ClassMissing  Class = "missing"
)

// classes is the decision on a pod of a workload: the first row that matches. Pods are asked in the order of their worth,
// so that what is kept is the best there is.
var classes = []struct {
	class Class
	match func(pod *Pod, r *rollout) bool
}{
	// It has been told to end, and counts for nothing any more. It is gone when its node says so.
	{ClassStopping, func(pod *Pod, _ *rollout) bool { return isStopping(pod) }},
	// Nobody can say when its silent node returns: it is told to stop when that does, and another takes its place now.
	{ClassLost, func(pod *Pod, _ *rollout) bool { return pod.Lost }},
	// It was evicted, or ended though it should run on. One that may end by its own policy is kept, as the record of that.
	{ClassEnded, func(pod *Pod, r *rollout) bool {
		return isEnded(pod) && (!r.mayEnd || pod.Template != r.template.Digest)
	}},
	// Its very identity is not wanted any more: an ordinal beyond the number of replicas, a node that matches no longer.
	{ClassSurplus, func(pod *Pod, r *rollout) bool { return r.beyond != nil && r.beyond(pod) }},
	// It runs another template than the one wanted, or where no pod is to stay; the limits of the rollout say when it goes.
	{ClassOutdated, func(pod *Pod, r *rollout) bool { return r.outdated(pod) || r.drained(pod) }},
	// It is one of the wanted number.
	{ClassKeep, func(_ *Pod, r *rollout) bool { return r.beyond != nil || len(r.of[ClassKeep]) < r.replicas }},
	// It is beyond that number.
	{ClassSurplus, func(*Pod, *rollout) bool { return true }},
}

// order is the place of the class in a plan.
func (c Class) order() int {
	return slices.Index([]Class{ClassLost, ClassEnded, ClassOutdated, ClassSurplus, ClassPruned, ClassMissing}, c)
}

// classify sorts the pods of the workload into classes, the best of each first.
func (r *rollout) classify() {
	r.sortByWorth()
	for _, pod := range r.pods {
		if isLive(pod) {
			r.live = append(r.live, pod)
		}
		for _, row := range classes {
			if row.match(pod, r) {
				r.of[row.class] = append(r.of[row.class], pod)
				break
			}
		}
	}
}

// A rankedPod has beside a pod what it is sorted by: pods are large, and looking into them is what takes the time.
type rankedPod struct {
	pod                      *Pod
	worth, slot, incarnation int
}

// sortByWorth orders pods by how much the workload would miss them, the best first. A higher slot was filled later, so
// that between equals the older pod stays.
func (r *rollout) sortByWorth() {
	ranked := make([]rankedPod, len(r.pods))
	for i, pod := range r.pods {
		ranked[i] = rankedPod{pod, r.worth(pod), pod.Slot, pod.Incarnation}
	}
	slices.SortFunc(ranked, func(a, b rankedPod) int {
		switch {
		case a.worth != b.worth:
			return cmp.Compare(b.worth, a.worth)
		case a.slot != b.slot:
			return cmp.Compare(a.slot, b.slot)
		case a.incarnation != b.incarnation:
			return cmp.Compare(a.incarnation, b.incarnation)
		}
		return comparePods(a.pod, b.pod)
	})
	for i := range ranked {
		r.pods[i] = ranked[i].pod
	}
}

// worth grows with how far the pod has come: available, ready, running, placed.
func (r *rollout) worth(pod *Pod) int {
	switch {
	case r.available(pod):
		return 4
	case pod.Ready:
		return 3
	case pod.Phase == api.PodRunning:
		return 2
	case pod.Node != "":
		return 1
	}
	return 0
}

func isStopping(pod *Pod) bool { return pod.Stopping || pod.Phase == api.PodStopping }

func isEnded(pod *Pod) bool { return pod.Phase == api.PodSucceeded || pod.Phase == api.PodFailed }

// isLive reports whether the pod counts for its workload.
func isLive(pod *Pod) bool { return !isStopping(pod) && !pod.Lost && !isEnded(pod) }
