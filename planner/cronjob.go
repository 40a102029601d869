package planner

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"

	"headway.dev/headway/api"
)

const (
	// defaultSucceededHistory and defaultFailedHistory are how many runs stay where a CronJob does not say.
	defaultSucceededHistory = 3
	defaultFailedHistory    = 1
)

// A cronRun is one run of a CronJob: a Job named for the minute that it was due.
type cronRun struct {
	*job
	due time.Time
}

// over reports whether the run ended.
func (r *cronRun) over() bool { return r.record.Outcome != "" }

// runRef names the run that is due at a time, as Kubernetes does.
func runRef(cron api.Ref, due time.Time) api.Ref {
	return api.Ref{Kind: "Job", Namespace: cron.Namespace, Name: cron.Name + "-" + strconv.FormatInt(due.Unix()/60, 10)}
}

// cronOf names the CronJob that a Job would be a run of by its name, and when that was due.
func cronOf(job api.Ref) (cron api.Ref, due time.Time, ok bool) {
	i := strings.LastIndexByte(job.Name, '-')
	if job.Kind != "Job" || i <= 0 {
		return api.Ref{}, time.Time{}, false
	}
	minutes, err := strconv.ParseInt(job.Name[i+1:], 10, 64)
	if err != nil || minutes <= 0 || strconv.FormatInt(minutes, 10) != job.Name[i+1:] || minutes > 1<<40 {
		return api.Ref{}, time.Time{}, false
	}
	return api.Ref{Kind: "CronJob", Namespace: job.Namespace, Name: job.Name[:i]}, time.Unix(minutes*60, 0).UTC(), true
}

// owns reports whether Git wants the object that has pods: it is declared, or a run of a CronJob that is.
func (w *wanted) owns(owner api.Ref) bool {
	if w.owners[owner] {
		return true
	}
	cron, _, ok := cronOf(owner)
	return ok && w.owners[cron]
}

// protects reports whether the pods' owner, or the CronJob that it is a run of, is protected.
func (w *wanted) protects(owner api.Ref) bool {
	if len(w.protected) == 0 {
		return false
	}
	cron, _, ok := cronOf(owner)
	return w.protected[owner] || ok && w.protected[cron]
}

// dependencies are what the author says that the pods' owner, or the CronJob that it is a run of, depends on.
func (w *wanted) dependencies(owner api.Ref) []api.Ref {
	if w.order == nil {
		return nil
	}
	if !w.owners[owner] {
		if cron, _, ok := cronOf(owner); ok {
			owner = cron
		}
	}
	return w.order.written[owner]
}

// A cronJob is a CronJob in one pass.
type cronJob struct {
	*pass
	workload
	spec   *batchv1.CronJobSpec
	times  schedule
	runs   []*cronRun // the oldest first
	status api.WorkloadStatus
}

// cronJob plans a CronJob: it starts the newest run that is due, and drives those that are under way. What ran is known
// from the records and the pods, so that no run is started twice.
func (p *pass) cronJob(w workload, declared *batchv1.CronJob) {
	p.reads.alone = true // it goes by the records of its runs, and by the time
	c := cronJob{pass: p, workload: w, spec: &declared.Spec}
	c.report()
	zone := ""
	if c.spec.TimeZone != nil {
		zone = *c.spec.TimeZone
	}
	var err error
	if c.times, err = p.zones.schedule(c.spec.Schedule, zone); err == nil {
		err = w.err
	}
	c.findRuns(err)
	if err == nil && len(c.runs) == 0 {
		c.status.Waits = p.gate(w.Ref, w.template.Digest)
	}
	switch {
	case err != nil:
		c.status.State, c.status.Reason = api.RolloutStalled, err.Error()
		if !w.told {
			p.problem(w.Ref, w.Source, "spec", err.Error())
		}
	case c.status.Waits != "":
		c.status.Reason = c.status.Waits
	case c.status.Paused:
		c.status.Reason = "suspended"
	default:
		c.startDue()
		c.status.Reason = c.whenNext()
	}
	for _, run := range c.runs {
		p.plan.Workloads = append(p.plan.Workloads, run.act())
	}
	c.trimHistory()
	p.plan.Workloads = append(p.plan.Workloads, c.status)
}

// report begins the status. It dates from when Git first had the CronJob: no run that was due before is made up for.
func (c *cronJob) report() {
	c.status = api.WorkloadStatus{
		Ref: c.Ref, Commit: c.in.Revision.Commit, Template: c.template.Digest, Began: c.in.Now, State: api.RolloutComplete,
		Paused: c.spec.Suspend != nil && *c.spec.Suspend,
	}
	if before := c.previous[c.Ref]; before != nil {
		c.status.Began = before.Began
		if before.Template == c.status.Template {
			c.status.Commit = before.Commit
		}
	}
}

// findRuns looks at the known runs, but for those whose name a declared Job has. Each keeps the template that it began with.
func (c *cronJob) findRuns(err error) {
	for _, ref := range c.runRefs[c.Ref] {
		if c.want.owners[ref] {
			continue
		}
		_, due, _ := cronOf(ref)
		run := c.newRun(ref, due, err)
		if digest := c.beganWith(ref); digest != "" && digest != run.template.Digest {
			if t, ok := c.restore(digest); ok {
				run.template = t
			} else if c.recordOf(ref, digest).Outcome != "" {
				run.template = Template{Digest: digest}
			}
		}
		run.look()
		if !run.over() {
			c.status.Active++
		}
		c.runs = append(c.runs, run)
	}
	slices.SortFunc(c.runs, func(a, b *cronRun) int { return a.due.Compare(b.due) })
}

func (c *cronJob) newRun(ref api.Ref, due time.Time, err error) *cronRun {
	j := &job{pass: c.pass, ref: ref, spec: &c.spec.JobTemplate.Spec, template: c.template, scheduled: due.Format(time.RFC3339)}
	if err != nil {
		j.blocked = err.Error()
	}
	return &cronRun{job: j, due: due}
}

// beganWith is the template that a run has been on record with longest, or that its pods have.
func (c *cronJob) beganWith(ref api.Ref) api.Digest {
	var first *api.JobRecord
	for _, r := range c.recordsOf[ref] {
		if first == nil || cmp.Or(r.Started.Compare(first.Started), cmp.Compare(r.Template, first.Template)) < 0 {
			first = r
		}
	}
	switch {
	case first != nil:
		return first.Template
	case len(c.seen.of(ref)) > 0:
		return c.seen.of(ref)[0].Template
	}
	return ""
}

// last is when the newest run was due, or the CronJob began.
func (c *cronJob) last() time.Time {
	if len(c.runs) == 0 {
		return c.status.Began
	}
	return c.runs[len(c.runs)-1].due
}

// startDue adds the newest run that is due, unless the policy on runs at the same time has it wait, or it is too late. Runs
// that were missed before it are not made up for.
func (c *cronJob) startDue() {
	due := c.times.latest(c.last(), c.in.Now)
	if due.IsZero() || len(c.runs) > 0 && due.Unix()/60 <= c.last().Unix()/60 {
		return
	}
	if s := c.spec.StartingDeadlineSeconds; s != nil && c.in.Now.Sub(due) > time.Duration(*s)*time.Second {
		return
	}
	ref := runRef(c.Ref, due)
	if c.want.owners[ref] {
		c.problem(c.Ref, c.Source, "metadata.name",
			fmt.Sprintf("its run of %s would bear the name of %s, which is declared; give one of them another", due.Format(time.RFC3339), ref))
		return
	}
	if c.status.Active > 0 && c.spec.ConcurrencyPolicy == batchv1.ForbidConcurrent {
		return // it starts when the other has ended, if nothing newer is due by then
	}
	if c.spec.ConcurrencyPolicy == batchv1.ReplaceConcurrent {
		for _, run := range c.runs {
			if !run.over() {
				run.end(api.JobReplaced, "replaced by the run of "+due.In(c.times.zone).Format(time.RFC3339))
				c.status.Active--
			}
		}
	}
	run := c.newRun(ref, due, nil)
	run.look()
	c.status.Active++
	c.runs = append(c.runs, run)
}

// whenNext says when the CronJob runs next, and asks for a plan then.
func (c *cronJob) whenNext() string {
	next := c.times.next(c.last(), c.in.Now)
	if next.IsZero() {
		return fmt.Sprintf("%d active, and the schedule has no time to come", c.status.Active)
	}
	c.wakeLater(next)
	return fmt.Sprintf("%d active, next run at %s", c.status.Active, next.In(c.times.zone).Format(time.RFC3339))
}

// trimHistory clears away runs that ended, but for the newest. The newest of all stays on record: it says what ran.
func (c *cronJob) trimHistory() {
	limit := map[bool]int{true: defaultSucceededHistory, false: defaultFailedHistory} // by success
	if n := c.spec.SuccessfulJobsHistoryLimit; n != nil {
		limit[true] = int(*n)
	}
	if n := c.spec.FailedJobsHistoryLimit; n != nil {
		limit[false] = int(*n)
	}
	for i, run := range slices.Backward(c.runs) {
		if !run.over() {
			continue
		}
		succeeded := run.record.Outcome == api.JobComplete
		if limit[succeeded]--; limit[succeeded] >= 0 {
			continue
		}
		run.removeEnded("newer runs of the CronJob have ended so")
		if i < len(c.runs)-1 && len(c.seen.of(run.ref)) == 0 {
			for key := range c.kept {
				if key.job == run.ref {
					delete(c.kept, key)
				}
			}
		}
	}
}
