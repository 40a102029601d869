package planner

import (
	"fmt"

	"headway.dev/headway/api"
)

// An atomic cluster promotes together what a commit changes, or not at all: the workloads whose templates a commit made new
// are a group. As soon as one of them has failed, all go back to the template that was last known to be good, and
// stay there until a commit gives the failed one another template; what has none such stays as it is. Until all of a group
// have completed none of their templates counts as good.

// findFailed finds the commits of which a rollout failed, where the cluster is atomic.
func (p *pass) findFailed() {
	p.failed = map[string]api.Ref{}
	if c := clusterOf(p.in.Desired); c == nil || !c.Spec.Atomic {
		return
	}
	p.atomic = true
	for i := range p.want.workloads {
		w := &p.want.workloads[i]
		before := p.previous[w.Ref]
		if before == nil || before.Failure == nil || w.err != nil ||
			before.Template != w.template.Digest || before.Template == before.Stable { // what was good once is no failed rollout
			continue
		}
		if _, known := p.failed[before.Commit]; !known { // the first by ref is told
			p.failed[before.Commit] = w.Ref
		}
	}
}

// goesBack says why a workload is not to have the template that Git wants: another of its commit failed, or it did itself.
func (p *pass) goesBack(w workload) string {
	before := p.previous[w.Ref]
	if before == nil || before.Template != w.template.Digest {
		return ""
	}
	culprit, ok := p.failed[before.Commit]
	switch {
	case !ok:
		return ""
	case culprit == w.Ref:
		return "the rollout failed: " + before.Failure.Reason
	}
	return fmt.Sprintf("%s of the same commit failed", culprit)
}

// retreat has the rollout run the last good template in place of the wanted one, or change nothing where there is none.
func (r *rollout) retreat(w workload) {
	why := r.goesBack(w)
	if why == "" {
		return
	}
	r.back = why
	stable, known := Template{}, false
	if r.previous.Stable != "" && r.previous.Stable != w.template.Digest {
		stable, known = r.restore(r.previous.Stable)
	}
	if !known {
		r.held = "held, since " + why
		return
	}
	r.template = stable
}

// promote lets the templates of a commit count as good when all workloads that it changed have completed.
func (p *pass) promote() {
	if !p.atomic {
		return
	}
	waits := map[string]bool{} // by commit
	for i := range p.plan.Workloads {
		s := &p.plan.Workloads[i]
		if !p.want.owners[s.Ref] {
			continue // a run of a CronJob
		}
		waits[s.Commit] = waits[s.Commit] || s.Completed.IsZero() && s.State != api.RolloutComplete || s.Failure != nil
	}
	for i := range p.plan.Workloads {
		s := &p.plan.Workloads[i]
		if !waits[s.Commit] {
			continue
		}
		s.Stable = ""
		if before := p.previous[s.Ref]; before != nil {
			s.Stable = before.Stable
		}
	}
}
