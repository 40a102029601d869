package planner

import (
	"cmp"
	"slices"

	"headway.dev/headway/api"
)

// recordKey is what a record is of.
type recordKey struct {
	job      api.Ref
	template api.Digest
}

// keptTemplates is how many templates of a Job are remembered: a revert to one of them does not run it again.
const keptTemplates = 10

// mergeRecords joins the records that came in, from wherever they did, and finds the runs of CronJobs in them and the pods.
func (p *pass) mergeRecords() {
	for _, r := range p.in.Jobs {
		key := recordKey{r.Job, r.Template}
		if known, ok := p.records[key]; ok {
			r = known.Merge(r)
		}
		p.records[key] = r
	}
	runs := map[api.Ref]bool{}
	for key, r := range p.records {
		p.recordsOf[key.job] = append(p.recordsOf[key.job], &r)
		runs[key.job] = true
	}
	for _, g := range p.seen.sorted {
		if g.owner.Kind == "Job" {
			runs[g.owner] = true
		}
	}
	for ref := range runs {
		if cron, _, ok := cronOf(ref); ok && p.want.owners[cron] {
			p.runRefs[cron] = append(p.runRefs[cron], ref)
		}
	}
	for _, refs := range p.runRefs {
		slices.SortFunc(refs, api.Ref.Compare)
	}
}

// recordOf is what is known of a job and template from before.
func (p *pass) recordOf(job api.Ref, template api.Digest) api.JobRecord {
	r := p.records[recordKey{job, template}]
	r.Job, r.Template = job, template
	return r
}

// keepRecord puts a record into the plan in place of the one that came in.
func (p *pass) keepRecord(r api.JobRecord) { p.kept[recordKey{r.Job, r.Template}] = r }

// finishRecords puts the records into the plan that are to be kept: of declared Jobs those of the newest templates, of
// CronJobs what their file decided, and without leave to prune all.
func (p *pass) finishRecords() {
	for key, r := range p.records {
		if _, ok := p.kept[key]; !ok && (p.want.owners[key.job] || p.stays(key.job)) {
			p.kept[key] = r
		}
	}
	byJob := map[api.Ref][]api.JobRecord{}
	for _, r := range p.kept {
		byJob[r.Job] = append(byJob[r.Job], r)
	}
	for _, records := range byJob {
		slices.SortFunc(records, func(a, b api.JobRecord) int {
			return cmp.Or(b.Started.Compare(a.Started), cmp.Compare(a.Template, b.Template))
		})
		p.plan.Jobs = append(p.plan.Jobs, records[:min(len(records), keptTemplates)]...)
	}
	slices.SortFunc(p.plan.Jobs, func(a, b api.JobRecord) int {
		return cmp.Or(a.Job.Compare(b.Job), cmp.Compare(a.Template, b.Template))
	})
}
