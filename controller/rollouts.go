package controller

import (
	"time"

	"headway.dev/headway/api"
)

// tellRollouts notes what became of rollouts since the plan before: that one is at another step, was given up, or is taken
// back.
func (s *state) tellRollouts(now time.Time, before []api.WorkloadStatus) {
	known := make(map[api.Ref]*api.WorkloadStatus, len(before))
	for i := range before {
		known[before[i].Ref] = &before[i]
	}
	for i := range s.workloads {
		w, last := &s.workloads[i], known[s.workloads[i].Ref]
		if last == nil || last.Template != w.Template {
			last = &api.WorkloadStatus{}
		}
		e := api.Event{Time: now, Ref: w.Ref, Commit: w.Commit}
		if c := w.Canary; c != nil && (last.Canary == nil || last.Canary.Reason != c.Reason) {
			e.Kind, e.Reason = "RolloutStep", c.Reason
			s.event(e)
		}
		e.Warning = true
		if w.Failure != nil && last.Failure == nil {
			e.Kind, e.Reason = "RolloutFailed", w.Failure.Reason
			s.event(e)
		}
		if w.Back != "" && last.Back == "" {
			e.Kind, e.Reason = "GoesBack", "the last good template is wanted again, since "+w.Back
			s.event(e)
		}
	}
}
