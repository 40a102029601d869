package planner

import "time"

const (
	// What replaces a pod that ended, and ends itself, is replaced after firstRest, and twice as long each time, mostRest at most:
	// as the kubelet starts containers again.
	firstRest, mostRest = 10 * time.Second, 5 * time.Minute
	// steadyRun is how long a pod has to have run for its end to be the first again.
	steadyRun = 10 * time.Minute
)

// ranSteadily reports whether a pod that ended had run for long enough to count as one that runs.
func ranSteadily(pod *Pod) bool {
	return !pod.Started.IsZero() && pod.Finished.Sub(pod.Started) >= steadyRun
}

// restsUntil is until when a pod that ended is left as it is before another takes its place; zero is that none has to wait: the
// first end in a row, and that of a pod whose template is not wanted any more.
func (r *rollout) restsUntil(pod *Pod) time.Time {
	if pod.Incarnation == 0 || pod.Finished.IsZero() || pod.Template != r.template.Digest || ranSteadily(pod) {
		return time.Time{}
	}
	return pod.Finished.Add(min(mostRest, firstRest<<min(pod.Incarnation-1, 10)))
}

// stopEnded stops the pods that ended, so that others take their places; those that end again and again rest first.
func (r *rollout) stopEnded() {
	for _, pod := range r.of[ClassEnded] {
		if until := r.restsUntil(pod); !r.passed(until) {
			r.wakeLater(until)
			r.resting[pod] = true
			continue
		}
		r.stop(pod, ClassEnded, "it "+ending(pod))
	}
}

// replaced is how many pods in a row have ended of one that bears its own name, and so is gone before the next is made: no pod
// tells of it then. It begins anew with each template, and after one that ran steadily.
func (r *rollout) replaced() int {
	n := 0
	if before := r.previous; before != nil && before.Template == r.digest {
		n = before.Replaced
	}
	for _, pod := range r.pods {
		switch {
		case pod.Template != r.digest:
		case !isEnded(pod):
			n = max(n, pod.Incarnation)
		case ranSteadily(pod):
			n = 0
		default:
			n = max(n, pod.Incarnation+1)
		}
	}
	return n
}
