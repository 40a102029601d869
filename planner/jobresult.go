package planner

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

// defaultBackoffLimit is how many runs may fail where a Job does not say.
const defaultBackoffLimit = 6

// observe sorts the pods, and takes down how the ended ones ended.
func (j *job) observe() {
	for _, pod := range j.pods {
		switch {
		case pod.Phase == api.PodSucceeded:
			if !j.record.Succeeded.Has(pod.Slot) {
				j.record.Succeeded = j.record.Succeeded.With(pod.Slot)
				j.record.LastSuccess = mergeLatest(j.record.LastSuccess, j.ended(pod))
			}
		case j.isKnown(pod): // told before
			if mayRun(pod) {
				j.going = append(j.going, pod)
			}
		case isStopping(pod): // by our own doing: it counts for nothing, and its number is not given again
			j.record.Ignored = note(j.record.Ignored, pod)
			if mayRun(pod) {
				j.going = append(j.going, pod)
			}
		case pod.Lost && !pod.Fenced && j.replacesLate(): // it may come back with a result
			j.going = append(j.going, pod)
		case pod.Lost:
			j.fail(pod)
			j.stop(pod, ClassLost, fmt.Sprintf("lost with node %s, which has been silent past its lease", pod.Node))
		case pod.Phase == api.PodFailed:
			j.fail(pod)
		case j.draining[pod.Node] && j.leaves(pod):
			j.going = append(j.going, pod)
		default:
			j.active = append(j.active, pod)
			if pod.wantsTemplate() {
				maps.Copy(j.plan.Blobs, j.template.Blobs)
			}
		}
	}
	slices.SortStableFunc(j.active, func(a, b *Pod) int { return a.Slot - b.Slot })
}

// leaves stops a pod on a node that is being drained, unless a budget of disruption keeps it.
func (j *job) leaves(pod *Pod) bool {
	used, ok := j.disrupt(pod)
	if !ok {
		j.waitsForBudget(j.ref, used)
		return false
	}
	j.stop(pod, ClassOutdated, fmt.Sprintf("node %s is being drained", pod.Node))
	return true
}

// mayRun reports whether the pod may still be doing something, wherever it is.
func mayRun(pod *Pod) bool { return !isEnded(pod) && (!pod.Lost || !pod.Fenced) }

// ended is when the pod ended; now, when its node does not say.
func (j *job) ended(pod *Pod) time.Time {
	if pod.Finished.IsZero() {
		return j.in.Now
	}
	return pod.Finished
}

// isKnown reports whether the record says already how the pod's run failed, or that it does not count.
func (j *job) isKnown(pod *Pod) bool {
	return noted(j.record.Failed, pod) || noted(j.record.Ignored, pod)
}

// counted reports whether the record that came in has the pod's result: it is kept, and the pod itself no longer needed.
func (j *job) counted(pod *Pod) bool {
	return j.known.Succeeded.Has(pod.Slot) || noted(j.known.Failed, pod) || noted(j.known.Ignored, pod)
}

func noted(sets []api.SlotSet, pod *Pod) bool {
	return pod.Incarnation < len(sets) && sets[pod.Incarnation].Has(pod.Slot)
}

// note gives the sets with the pod's run.
func note(sets []api.SlotSet, pod *Pod) []api.SlotSet {
	sets = slices.Clone(sets)
	for len(sets) <= pod.Incarnation {
		sets = append(sets, nil)
	}
	sets[pod.Incarnation] = sets[pod.Incarnation].With(pod.Slot)
	return sets
}

// fail takes down a failed run, by the first rule of the failure policy that it meets.
func (j *job) fail(pod *Pod) {
	action := batchv1.PodFailurePolicyActionCount
	rule := 0
	if policy := j.spec.PodFailurePolicy; policy != nil {
		for i := range policy.Rules {
			if j.meets(&policy.Rules[i], pod) {
				action, rule = policy.Rules[i].Action, i
				break
			}
		}
	}
	if action == batchv1.PodFailurePolicyActionIgnore {
		j.record.Ignored = note(j.record.Ignored, pod)
		return
	}
	j.record.Failed = note(j.record.Failed, pod)
	j.record.LastFailure = mergeLatest(j.record.LastFailure, j.ended(pod))
	switch {
	case action == batchv1.PodFailurePolicyActionFailJob:
		j.end(api.JobFailed, fmt.Sprintf("pod %s %s, which rule %d of the failure policy makes the job's failure", pod.Pod.Name, ending(pod), rule))
	case action == batchv1.PodFailurePolicyActionFailIndex,
		j.spec.BackoffLimitPerIndex != nil && j.failures(pod.Slot) > int(*j.spec.BackoffLimitPerIndex):
		j.record.FailedIndexes = j.record.FailedIndexes.With(pod.Slot)
	}
}

// meets reports whether a failed run is one that the rule is for. Of conditions the pod can have only that it was
// disrupted: taken from it by the fleet, not ended by its own fault.
func (j *job) meets(rule *batchv1.PodFailurePolicyRule, pod *Pod) bool {
	if codes := rule.OnExitCodes; codes != nil {
		return slices.ContainsFunc(pod.all(), func(c api.ContainerStatus) bool {
			if c.ExitCode == 0 || codes.ContainerName != nil && *codes.ContainerName != c.Name {
				return false
			}
			in := slices.Contains(codes.Values, int32(c.ExitCode))
			return in == (codes.Operator == batchv1.PodFailurePolicyOnExitCodesOpIn)
		})
	}
	disrupted := corev1.ConditionFalse
	if pod.Lost || pod.Reason == "Evicted" || pod.Reason == "Preempted" {
		disrupted = corev1.ConditionTrue
	}
	return slices.ContainsFunc(rule.OnPodConditions, func(c batchv1.PodFailurePolicyOnPodConditionsPattern) bool {
		return c.Type == corev1.DisruptionTarget && (c.Status == disrupted || c.Status == "" && disrupted == corev1.ConditionTrue)
	})
}

// failures counts the failed runs of an index.
func (j *job) failures(index int) int {
	n := 0
	for _, s := range j.record.Failed {
		if s.Has(index) {
			n++
		}
	}
	return n
}

func (j *job) end(outcome api.JobOutcome, reason string) {
	if j.record.Outcome == "" {
		j.record.Outcome, j.record.Reason, j.record.Finished = outcome, reason, j.in.Now
	}
}

// judge decides whether the job is over.
func (j *job) judge() {
	if reason := j.success(); reason != "" {
		j.end(api.JobComplete, reason)
		return
	}
	limit := defaultBackoffLimit
	if j.spec.BackoffLimit != nil {
		limit = int(*j.spec.BackoffLimit)
	} else if j.spec.BackoffLimitPerIndex != nil {
		limit = int(^uint(0) >> 1)
	}
	restarts := 0
	if j.spec.Template.Spec.RestartPolicy == corev1.RestartPolicyOnFailure {
		for _, pod := range j.active {
			for _, c := range pod.all() {
				restarts += c.Restarts
			}
		}
	}
	failed := sum(j.record.Failed)
	if failed > limit || restarts > 0 && failed+restarts >= max(1, limit) {
		j.end(api.JobFailed, fmt.Sprintf("%d runs failed, and the backoff limit is %d", failed+restarts, limit))
		return
	}
	given := j.record.FailedIndexes.Len()
	if most := j.spec.MaxFailedIndexes; most != nil && given > int(*most) {
		j.end(api.JobFailed, fmt.Sprintf("%d indexes failed, where %d may", given, *most))
		return
	}
	if isIndexed(j.spec) && given > 0 && j.record.FailedIndexes.Union(j.record.Succeeded).Len() >= j.completions() {
		j.end(api.JobFailed, fmt.Sprintf("%d of %d indexes failed", given, j.completions()))
		return
	}
	if s := j.spec.ActiveDeadlineSeconds; s != nil {
		end := j.record.Started.Add(time.Duration(*s) * time.Second)
		if !j.in.Now.Before(end) {
			j.end(api.JobFailed, fmt.Sprintf("it ran for longer than %d s", *s))
			return
		}
		j.wakeLater(end)
	}
}

// success says what makes the job complete; empty is nothing yet.
func (j *job) success() string {
	succeeded := j.record.Succeeded
	switch {
	case j.spec.Completions == nil && succeeded.Len() > 0 && len(j.active) == 0:
		return "a run succeeded, and the others ended"
	case j.spec.Completions != nil && succeeded.Len() >= j.completions():
		return fmt.Sprintf("%d runs succeeded", succeeded.Len())
	case j.spec.SuccessPolicy == nil || !isIndexed(j.spec):
		return ""
	}
	for i, rule := range j.spec.SuccessPolicy.Rules {
		var counted, of int
		if rule.SucceededIndexes == nil {
			counted, of = succeeded.Len(), 1
		} else {
			indexes := parseIndexes(*rule.SucceededIndexes)
			of = indexes.Len()
			for _, r := range indexes {
				for n := r[0]; n <= r[1]; n++ {
					if succeeded.Has(n) {
						counted++
					}
				}
			}
		}
		if rule.SucceededCount != nil {
			of = int(*rule.SucceededCount)
		}
		if of > 0 && counted >= of {
			return fmt.Sprintf("rule %d of the success policy is met", i)
		}
	}
	return ""
}

// parseIndexes reads indexes as Kubernetes writes them: 1,3-5. What cannot be read, which the compiler lets nothing be, is left out.
func parseIndexes(s string) api.SlotSet {
	var set api.SlotSet
	for _, part := range strings.Split(s, ",") {
		from, to, ranged := strings.Cut(part, "-")
		if !ranged {
			to = from
		}
		first, errFirst := strconv.Atoi(from)
		last, errLast := strconv.Atoi(to)
		if errFirst == nil && errLast == nil && first <= last {
			set = set.Union(api.SlotSet{{first, last}})
		}
	}
	return set
}
