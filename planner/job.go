package planner

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

// A job is one Job in one pass: declared, or made by a CronJob. It runs once for each template that Git gives it; a changed
// template is another Job by the same name (docs/decisions/0009-jobs-run-once-a-template.md).
//
// What has run is told by the pods that ended, which stay on their nodes, and by the record that outlives them.
type job struct {
	*pass
	ref      api.Ref
	spec     *batchv1.JobSpec
	template Template
	// blocked says why no pod can be made; empty is nothing.
	blocked string
	// waits says what has to be healthy before it begins.
	waits string
	// scheduled is the time of its CronJob that it runs for, as its pods have it; empty for a declared Job.
	scheduled string

	known  api.JobRecord // as it came in
	record api.JobRecord // with what is observed now
	pods   []*Pod        // those of the template
	active []*Pod        // that may yet succeed
	// going are those that have been told to stop, or are lost and may still run.
	going []*Pod
	// predecessor is another template's pod that has not ended yet.
	predecessor *Pod
}

// job plans a declared Job.
func (p *pass) job(w workload, declared *batchv1.Job) {
	p.reads.alone = true // it goes by its records, and by the time
	j := &job{pass: p, ref: w.Ref, spec: &declared.Spec, template: w.template}
	if w.err != nil {
		j.blocked = w.err.Error()
		if !w.told {
			p.problem(w.Ref, w.Source, "spec", j.blocked)
		}
	}
	j.look()
	p.plan.Workloads = append(p.plan.Workloads, j.act())
}

// jobSpec is the spec of a Job's pods: each container of an Indexed one is told its index.
func jobSpec(job *batchv1.JobSpec) *corev1.PodSpec {
	spec := job.Template.Spec
	if !isIndexed(job) {
		return &spec
	}
	index := corev1.EnvVar{Name: "JOB_COMPLETION_INDEX", ValueFrom: &corev1.EnvVarSource{
		FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.annotations['" + batchv1.JobCompletionIndexAnnotation + "']"},
	}}
	told := func(containers []corev1.Container) []corev1.Container {
		out := slices.Clone(containers)
		for i := range out {
			if !slices.ContainsFunc(out[i].Env, func(e corev1.EnvVar) bool { return e.Name == index.Name }) {
				out[i].Env = append(slices.Clone(out[i].Env), index)
			}
		}
		return out
	}
	spec.InitContainers, spec.Containers = told(spec.InitContainers), told(spec.Containers)
	return &spec
}

func isIndexed(spec *batchv1.JobSpec) bool {
	return spec.CompletionMode != nil && *spec.CompletionMode == batchv1.IndexedCompletion
}

// suspended reports whether the author holds the job.
func (j *job) suspended() bool { return j.spec.Suspend != nil && *j.spec.Suspend }

// look takes down what is observed, and decides whether the job is over.
func (j *job) look() {
	j.known = j.recordOf(j.ref, j.template.Digest)
	if j.scheduled == "" && j.blocked == "" && j.known.Started.IsZero() {
		j.waits = j.gate(j.ref, j.template.Digest)
	}
	j.leaveOthers()
	j.record = j.known
	if j.blocked == "" && j.record.Commit == "" {
		j.record.Commit = j.in.Revision.Commit
	}
	j.observe()
	switch {
	case j.record.Outcome != "" || j.blocked != "" || j.waits != "":
	case j.suspended():
		j.record.Started = time.Time{}
	default:
		if j.record.Started.IsZero() {
			j.record.Started = j.began()
		}
		j.judge()
	}
}

// act plans one step of the job, and says how far it is.
func (j *job) act() api.WorkloadStatus {
	switch {
	case j.record.Outcome != "":
		j.stopActive(j.active, "the job is over: "+j.record.Reason)
		j.expire()
	case j.blocked != "" || j.waits != "":
	case j.suspended():
		j.stopActive(j.active, "the job is suspended")
	default:
		j.drive()
	}
	if j.blocked == "" || j.known.Commit != "" {
		j.keepRecord(j.record)
	}
	return j.status()
}

// leaveOthers stops what still runs of other templates of the job, and takes down how the others ended.
func (j *job) leaveOthers() {
	others := map[api.Digest]*job{}
	for _, pod := range j.seen.of(j.ref) {
		if pod.Template == j.template.Digest {
			j.pods = append(j.pods, pod)
			continue
		}
		o := others[pod.Template]
		if o == nil {
			o = &job{pass: j.pass, ref: j.ref, spec: j.spec}
			o.template.Digest = pod.Template
			o.record = j.recordOf(j.ref, pod.Template)
			o.known = o.record
			others[pod.Template] = o
		}
		o.pods = append(o.pods, pod)
	}
	for _, digest := range slices.Sorted(maps.Keys(others)) {
		o := others[digest]
		o.observe()
		for _, pod := range o.pods {
			if !isEnded(pod) && !pod.Lost {
				j.predecessor = pod
			}
			if j.blocked == "" && j.waits == "" && (!isEnded(pod) || o.counted(pod)) {
				j.stop(pod, ClassOutdated, "the job has another template now")
			}
		}
		j.keepRecord(o.record)
	}
}

// began is when the job began, as far as its pods can tell.
func (j *job) began() time.Time {
	began := j.in.Now
	for _, pod := range j.pods {
		if !pod.Started.IsZero() && pod.Started.Before(began) {
			began = pod.Started
		}
	}
	return began
}

// expire removes the pods of a job that is over when their time is up, of those whose end is on record.
func (j *job) expire() {
	if j.spec.TTLSecondsAfterFinished == nil {
		return
	}
	end := j.record.Finished.Add(time.Duration(*j.spec.TTLSecondsAfterFinished) * time.Second)
	if j.in.Now.Before(end) {
		if len(j.pods) > 0 {
			j.wakeLater(end)
		}
		return
	}
	j.removeEnded(fmt.Sprintf("the job ended %s ago", j.in.Now.Sub(j.record.Finished)))
}

// removeEnded clears away ended pods whose results have been kept.
func (j *job) removeEnded(reason string) {
	for _, pod := range j.pods {
		if isEnded(pod) && j.counted(pod) {
			j.stop(pod, ClassEnded, reason)
		}
	}
}

// stopActive stops pods that may yet succeed.
func (j *job) stopActive(pods []*Pod, reason string) {
	for _, pod := range pods {
		j.stop(pod, ClassSurplus, reason)
	}
}

// drive makes as many pods as may run, and stops those beyond.
func (j *job) drive() {
	room := j.most() - len(j.active)
	if room < 0 {
		j.stopActive(j.active[j.most():], fmt.Sprintf("at most %d pods may run", j.most()))
		return
	}
	if j.replacesLate() {
		room -= len(j.going)
	}
	if room <= 0 || j.predecessor != nil { // two templates never run at once: they may do the same work
		return
	}
	if isIndexed(j.spec) {
		j.fillIndexes(room)
		return
	}
	if wait := j.backoff(sum(j.record.Failed)); j.in.Now.Before(wait) {
		j.wakeLater(wait)
		return
	}
	next := j.record.Succeeded.Next()
	for _, sets := range [][]api.SlotSet{j.record.Failed, j.record.Ignored} {
		for _, s := range sets {
			next = max(next, s.Next())
		}
	}
	for _, pod := range j.pods {
		next = max(next, pod.Slot+1)
	}
	for range room {
		j.make(next, 0)
		next++
	}
}

// most is how many pods may run at once.
func (j *job) most() int {
	parallelism := 1
	if j.spec.Parallelism != nil {
		parallelism = max(0, int(*j.spec.Parallelism))
	}
	if j.spec.Completions == nil {
		if j.record.Succeeded.Len() > 0 {
			return min(parallelism, len(j.active)) // one has found the queue empty: the others finish
		}
		return parallelism
	}
	return max(0, min(parallelism, j.completions()-j.record.Succeeded.Len()))
}

func (j *job) completions() int {
	if j.spec.Completions == nil {
		return 1
	}
	return int(*j.spec.Completions)
}

// replacesLate reports whether a pod that is on its way out stands in the way of its successor.
func (j *job) replacesLate() bool {
	if policy := j.spec.PodReplacementPolicy; policy != nil {
		return *policy == batchv1.Failed
	}
	return j.spec.PodFailurePolicy != nil // as in Kubernetes, where the outcome has to be known for the policy
}

// fillIndexes makes pods for the lowest indexes that are still to be done.
func (j *job) fillIndexes(room int) {
	taken := map[int]bool{}
	for _, pod := range j.active {
		taken[pod.Slot] = true
	}
	if j.replacesLate() {
		for _, pod := range j.going {
			taken[pod.Slot] = true
		}
	}
	perIndex := j.spec.BackoffLimitPerIndex != nil
	for index := 0; index < j.completions() && room > 0; index++ {
		if taken[index] || j.record.Succeeded.Has(index) || j.record.FailedIndexes.Has(index) {
			continue
		}
		failures := sum(j.record.Failed)
		if perIndex {
			failures = j.failures(index)
		}
		if wait := j.backoff(failures); failures > 0 && j.in.Now.Before(wait) {
			j.wakeLater(wait)
			continue
		}
		j.make(index, j.incarnation(index))
		room--
	}
}

// incarnation is how often the index was tried.
func (j *job) incarnation(index int) int {
	n := 0
	for _, sets := range [][]api.SlotSet{j.record.Failed, j.record.Ignored} {
		for i, s := range sets {
			if s.Has(index) {
				n = max(n, i+1)
			}
		}
	}
	for _, pod := range j.pods {
		if pod.Slot == index {
			n = max(n, pod.Incarnation+1)
		}
	}
	return n
}

// backoff is until when the next pod waits after failures: 10 s and twice as long each time, ten minutes at most, as in
// Kubernetes. A success in between ends it.
func (j *job) backoff(failures int) time.Time {
	if failures == 0 || j.record.LastSuccess.After(j.record.LastFailure) {
		return time.Time{}
	}
	const first, most = 10 * time.Second, 10 * time.Minute
	return j.record.LastFailure.Add(min(most, first<<min(failures-1, 10)))
}

func (j *job) make(slot, incarnation int) {
	reason := fmt.Sprintf("run %d", slot)
	if isIndexed(j.spec) {
		reason = fmt.Sprintf("index %d", slot)
	}
	if failed := sum(j.record.Failed); failed > 0 {
		reason += fmt.Sprintf(", after %d failed", failed)
	}
	a := Action{Pod: identify(j.ref, j.template.Digest, slot, incarnation), Reason: reason}
	a.own.labels = map[string]string{batchv1.JobNameLabel: j.ref.Name, "job-name": j.ref.Name}
	a.own.annotations = map[string]string{}
	if j.scheduled != "" {
		a.own.annotations[batchv1.CronJobScheduledTimestampAnnotation] = j.scheduled
	}
	if isIndexed(j.spec) {
		a.own.labels[batchv1.JobCompletionIndexAnnotation] = strconv.Itoa(slot)
		a.own.annotations[batchv1.JobCompletionIndexAnnotation] = strconv.Itoa(slot)
		a.own.hostname = j.ref.Name + "-" + strconv.Itoa(slot)
	}
	j.add(a, j.template)
}

// status says how far the job is.
func (j *job) status() api.WorkloadStatus {
	r := &j.record
	s := api.WorkloadStatus{
		Ref: j.ref, Commit: r.Commit, Template: j.template.Digest, Desired: j.completions(), Paused: j.suspended(), Waits: j.waits,
		Began: r.Started, Progressed: mergeLatest(r.Started, r.LastSuccess), Completed: r.Finished,
		Active: len(j.active), Succeeded: r.Succeeded.Len(), Failed: sum(r.Failed),
	}
	for _, pod := range j.active {
		s.Updated++
		if pod.Ready {
			s.Ready++
		}
	}
	s.Reason = fmt.Sprintf("%d of %d runs succeeded, %d active", s.Succeeded, s.Desired, s.Active)
	if s.Failed > 0 {
		s.Reason += fmt.Sprintf(", %d failed", s.Failed)
	}
	if j.predecessor != nil {
		s.Reason += fmt.Sprintf("; waits for %s of the template before to end", j.predecessor.Pod.Name)
	}
	switch {
	case r.Outcome == api.JobComplete:
		s.State, s.Stable = api.RolloutComplete, s.Template
	case r.Outcome == api.JobReplaced:
		s.State, s.Reason = api.RolloutComplete, r.Reason
	case r.Outcome != "":
		s.State, s.Reason = api.RolloutStalled, r.Reason+": "+s.Reason
		s.Failure = &api.RolloutFailure{Since: r.Finished, Commit: r.Commit, Reason: r.Reason, Evidence: evidence(j.pods)}
	case j.blocked != "":
		s.State, s.Reason = api.RolloutStalled, j.blocked
	case j.waits != "":
		s.State, s.Reason = api.RolloutProgressing, j.waits
	case j.suspended():
		s.State, s.Reason = api.RolloutProgressing, "suspended: "+s.Reason
	default:
		s.State = api.RolloutProgressing
	}
	return s
}

func mergeLatest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func sum(sets []api.SlotSet) int {
	n := 0
	for _, s := range sets {
		n += s.Len()
	}
	return n
}
