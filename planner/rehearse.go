package planner

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"headway.dev/headway/api"
)

// A Rehearsal is everything that would be done until nothing is left to do, if every pod did as it is told.
type Rehearsal struct {
	// Steps are what is done together, in order; a step begins when what the one before it did has come to pass.
	Steps []Step `json:"steps"`
	// Final is the fleet at the end. The next commit can be rehearsed from there.
	Final Input `json:"-"`
	// Last is the plan at the end: no actions, and the state of every workload and route.
	Last Plan `json:"-"`
}

// A Step is what one plan does.
type Step struct {
	// After is how long the rules of rollouts make it wait since the beginning, such as minReadySeconds.
	After   time.Duration `json:"after"`
	Actions []Action      `json:"actions"`
	Updates []Update      `json:"updates,omitempty"`
}

// Actions are the actions of all steps, in order.
func (r Rehearsal) Actions() []Action {
	var all []Action
	for _, s := range r.Steps {
		all = append(all, s.Actions...)
	}
	return all
}

// Rehearse runs Compute to its end against an ideal fleet: a pod that is created becomes ready at once, or
// succeeds where it is a Job's, one that is stopped is gone at once, and time passes only where a rule asks for it. Pods that were observed unready recover as well; lost
// nodes stay lost. It fails when there is no end, which would be a fault of the planner.
func Rehearse(in Input) (Rehearsal, error) {
	r := Rehearsal{Steps: []Step{}}
	began := in.Now
	// A pod is stopped at most once and created at most once; every wait is for a pod or a workload.
	bound := 16 + 4*len(in.Pods)
	var m memory
	for steps := 0; steps <= bound; steps++ {
		plan := m.plan(in, observe(in.Pods, uint64(steps)))
		if steps == 0 {
			bound += 4 * len(m.want.workloads)
			for _, w := range plan.Workloads {
				bound += 4 * w.Desired
			}
		}
		acts := len(plan.Actions) > 0 || len(plan.Updates) > 0
		if acts {
			r.Steps = append(r.Steps, Step{After: in.Now.Sub(began), Actions: plan.Actions, Updates: plan.Updates})
		}
		learnt := !reflect.DeepEqual(in.Jobs, plan.Jobs) // ended pods are cleared away once that is on record
		in = Apply(in, plan)
		if settle(in) || acts || learnt {
			in.Pods = slices.DeleteFunc(in.Pods, func(pod Pod) bool { return isStopping(&pod) })
			continue
		}
		if plan.settles.IsZero() {
			r.Final, r.Last = in, plan
			return r, nil
		}
		in.Now = plan.settles
	}
	return r, fmt.Errorf("rehearsal of commit %s: after %d steps there is still something to do, such as %s; this is a fault of the planner",
		in.Revision.Short(), bound, lastAction(r.Steps))
}

func lastAction(steps []Step) string {
	if len(steps) == 0 {
		return "to wait"
	}
	last := steps[len(steps)-1]
	if len(last.Actions) == 0 {
		return fmt.Sprintf("to update %s (%s)", last.Updates[0].Pod.Pod, last.Updates[0].Reason)
	}
	a := last.Actions[0]
	return fmt.Sprintf("%s %s (%s)", a.Kind, a.Pod.Pod, a.Reason)
}

// Apply gives the input as it is once a plan has been carried out: what is created is pending, what is stopped is
// stopping, and routes and rollouts are as planned. The input itself is left as it is.
func Apply(in Input, plan Plan) Input {
	stopped := map[string]bool{}
	pods := make([]Pod, 0, len(in.Pods)+len(plan.Actions))
	templates := maps.Clone(in.Templates)
	if templates == nil {
		templates = map[api.Digest]*api.PodTemplate{}
	}
	f := forecast{taken: map[string]api.Ref{}, of: map[api.Ref]string{}}
	for _, a := range plan.Actions {
		if a.Kind == StopPod {
			stopped[a.Pod.UID] = true
			continue
		}
		volumes, fits := f.bind(&a)
		if !fits {
			continue
		}
		pod := Pod{Placement: a.Placement(), Phase: api.PodPending}
		pod.Volumes = volumes
		pods = append(pods, pod)
		templates[a.Pod.Template] = a.Template
	}
	live := map[string]*api.LiveConfig{}
	for _, u := range plan.Updates {
		live[u.Pod.UID] = u.Live
	}
	for _, pod := range in.Pods {
		if next, ok := live[pod.UID]; ok {
			pod.Live = next
		}
		pod.Stopping = pod.Stopping || stopped[pod.UID]
		pods = append(pods, pod)
	}
	slices.SortStableFunc(pods, func(a, b Pod) int {
		return cmp.Or(a.Pod.Compare(b.Pod), cmp.Compare(a.UID, b.UID), cmp.Compare(a.Node, b.Node))
	})
	in.Pods, in.Templates = pods, templates
	in.Deployed = inForce(in.Desired, plan.Kept)
	in.Routes, in.Rollouts, in.Jobs, in.Scales = plan.Routes, plan.Workloads, plan.Jobs, plan.Scales
	return in
}

// settle is the ideal fleet: every pod that is to run becomes ready. It reports whether anything changed, or is about to
// because a pod is stopping.
func settle(in Input) bool {
	changed := false
	for i := range in.Pods {
		pod := &in.Pods[i]
		switch {
		case isStopping(pod):
			changed = true
		case isLive(pod) && pod.Owner.Kind == "Job":
			pod.Phase, pod.Finished = api.PodSucceeded, in.Now
			changed = true
		case isLive(pod) && !pod.Ready:
			pod.Phase, pod.Ready, pod.ReadySince, pod.Reason = api.PodRunning, true, in.Now, ""
			changed = true
		}
	}
	return changed
}
