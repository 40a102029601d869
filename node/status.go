package node

import (
	"cmp"
	"context"
	"reflect"
	"slices"
	"time"

	"headway.dev/headway/api"
)

// The states of a container, as a status has them.
const (
	stateWaiting    = "waiting"
	stateRunning    = "running"
	stateTerminated = "terminated"
)

func equalStatus(a, b api.PodStatus) bool { return reflect.DeepEqual(a, b) }

// describe says how the pod is.
func (p *pod) describe() api.PodStatus {
	s := api.PodStatus{Placement: p.record.Placement, Phase: p.phase(), IP: p.record.IP, Started: p.record.Started}
	ready := s.Phase == api.PodRunning
	for _, c := range p.containers {
		cs := p.describeContainer(c)
		ready = ready && cs.Ready
		s.Containers = append(s.Containers, cs)
	}
	if p.containers == nil {
		s.Containers = p.describeKnown()
		// What is not known yet takes no pod out of the routes.
		runs := func(c api.ContainerStatus) bool { return c.State == stateRunning }
		ready = ready && !p.record.ReadySince.IsZero() && slices.ContainsFunc(s.Containers, runs)
	}
	p.noteReady(ready)
	s.Ready, s.ReadySince = ready, p.record.ReadySince
	s.Reason, s.Message = p.why(s)
	return s
}

func (p *pod) noteReady(ready bool) {
	switch {
	case ready && p.record.ReadySince.IsZero():
		p.record.ReadySince, p.dirty = time.Now(), true
	case !ready && !p.record.ReadySince.IsZero():
		p.record.ReadySince, p.dirty = time.Time{}, true
	}
}

// phase is where the pod is in its life. The first row that holds is it.
func (p *pod) phase() api.PodPhase {
	over, failed := len(p.containers) > 0, false
	for _, c := range p.containers {
		over = over && c.settled && !c.restart
		failed = failed || p.known[c.id].ExitCode != 0
	}
	switch {
	case p.stopping():
		return api.PodStopping
	case over && failed:
		return api.PodFailed
	case over:
		return api.PodSucceeded
	case !p.record.Started.IsZero():
		return api.PodRunning
	}
	return api.PodPending
}

// why gives the pod's reason and message: of what stands in its way as a whole, else of the first container that is not
// as it should be.
func (p *pod) why(s api.PodStatus) (reason, message string) {
	for _, step := range p.steps() {
		if f := p.failures[failing{step: step.name}]; f != nil {
			return f.reason, f.message
		}
	}
	if p.stopping() {
		// All that is left are failures on single containers: any of them will do, but always the same.
		for key := range p.failures {
			if f := p.failures[key]; reason == "" || f.message < message {
				reason, message = f.reason, f.message
			}
		}
		return reason, message
	}
	switch s.Phase {
	case api.PodSucceeded:
		return "", ""
	case api.PodPending:
		reason = reasonCreating
	}
	for _, c := range s.Containers {
		switch {
		case c.State == stateWaiting && c.Reason == reasonCreating:
		case c.State != stateRunning && c.Reason != "" && c.Reason != reasonCompleted:
			return c.Reason, "container " + c.Name + ": " + c.Message
		case c.State == stateRunning && !c.Ready && reason == "":
			reason, message = "ContainersNotReady", "container "+c.Name+": "+c.Message
		}
	}
	return reason, message
}

const (
	reasonCreating  = "ContainerCreating"
	reasonCompleted = "Completed"
)

func (p *pod) steps() []step {
	if p.stopping() {
		return p.host.ending
	}
	return p.host.living
}

// troubleOf is what a container's steps fail with.
func (p *pod) troubleOf(c *container) trouble {
	for _, step := range p.steps() {
		if f := p.failures[failing{step.name, c.spec.Name}]; f != nil {
			return f.trouble
		}
	}
	return trouble{}
}

func (p *pod) describeContainer(c *container) api.ContainerStatus {
	k := p.known[c.id]
	if k.State == "" && p.stopping() {
		k = c.removed
	}
	s := api.ContainerStatus{
		Name: c.spec.Name, ID: c.id, Image: c.spec.Image, PID: k.PID, Restarts: c.attempt,
		ExitCode: k.ExitCode, Started: k.Started, Finished: k.Finished,
	}
	t := p.troubleOf(c)
	switch {
	case k.State == ContainerRunning:
		s.State = stateRunning
		s.Ready = !p.stopping() && c.unhealthy == "" && (c.spec.ReadinessProbe == nil || c.ready)
		if !s.Ready && !p.stopping() {
			s.Message = cmp.Or(c.unhealthy, c.unready, "its readiness probe has not answered yet")
		}
	case k.State == ContainerExited && (!c.restart || p.stopping()), k.State != "" && p.stopping():
		s.State, s.Reason = stateTerminated, exitReason(k)
		if k.ExitCode != 0 {
			s.Message = c.ended
		}
	case t.reason != "":
		s.State, s.Reason, s.Message = stateWaiting, t.reason, t.message
	default:
		s.State = stateWaiting
		s.Reason, s.Message = cmp.Or(c.waits.reason, reasonCreating), c.waits.message
	}
	return s
}

func exitReason(k Container) string {
	switch {
	case k.OOM:
		return "OOMKilled"
	case k.ExitCode != 0:
		return "Error"
	}
	return reasonCompleted
}

// describeKnown describes the containers of a pod whose template is not known.
func (p *pod) describeKnown() []api.ContainerStatus {
	var all []api.ContainerStatus
	for _, k := range p.known {
		s := api.ContainerStatus{
			Name: k.Name, ID: k.ID, PID: k.PID, State: stateWaiting, Restarts: k.Attempt,
			ExitCode: k.ExitCode, Started: k.Started, Finished: k.Finished,
		}
		switch k.State {
		case ContainerRunning:
			s.State, s.Ready = stateRunning, !p.stopping()
		case ContainerExited:
			s.State, s.Reason = stateTerminated, exitReason(k)
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b api.ContainerStatus) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Restarts, b.Restarts))
	})
	return all
}

// nodeStatus is the state of all pods. Debris that nothing says the pod of is left out.
func (a *Agent) nodeStatus() api.NodeStatus {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := api.NodeStatus{Node: a.config.Info.Name, Time: time.Now(), Pods: []api.PodStatus{}}
	if a.assignment != nil {
		s.Term, s.Sequence = a.assignment.Term, a.assignment.Sequence
	}
	for _, p := range a.pods {
		p.mu.Lock()
		if !p.status.Placement.Pod.IsZero() {
			s.Pods = append(s.Pods, p.status)
		}
		p.mu.Unlock()
	}
	slices.SortFunc(s.Pods, func(a, b api.PodStatus) int {
		return cmp.Or(a.Placement.Pod.Compare(b.Placement.Pod), cmp.Compare(a.Placement.UID, b.Placement.UID))
	})
	return s
}

// report puts the status at once whenever it changed. What changes while it is being put goes with the next.
func (a *Agent) report(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.status:
		}
		_ = persist(ctx, busSchedule, a.complain("put status"), func(ctx context.Context) error {
			return a.config.Bus.PutStatus(ctx, a.nodeStatus())
		})
	}
}
