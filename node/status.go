package node

import (
	"cmp"
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"

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
	s := api.PodStatus{
		Placement: p.record.Placement, Phase: p.phase(), IP: p.record.IP, Created: p.record.Created, Started: p.record.Started,
	}
	ready := s.Phase == api.PodRunning && !p.isClosing()
	for _, c := range p.containers {
		cs := p.describeContainer(c)
		if c.kind == mainContainer {
			s.Containers = append(s.Containers, cs)
		} else {
			s.InitContainers = append(s.InitContainers, cs)
		}
		ready = ready && (cs.Ready || c.kind == initContainer)
	}
	if p.containers == nil {
		s.Containers = p.describeKnown()
		// What is not known yet takes no pod out of the routes.
		runs := func(c api.ContainerStatus) bool { return c.State == stateRunning }
		ready = ready && !p.record.ReadySince.IsZero() && slices.ContainsFunc(s.Containers, runs)
	}
	if s.Phase == api.PodSucceeded || s.Phase == api.PodFailed {
		s.Finished = p.finishedAt()
	}
	p.noteReady(ready)
	s.Ready, s.ReadySince = ready, p.record.ReadySince
	s.Reason, s.Message = p.why(s)
	p.noteConditions(s)
	s.Conditions = p.record.Conditions
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

// finishedAt is when the last of the pod's containers ended; or else when the pod was found to have.
func (p *pod) finishedAt() time.Time {
	var last time.Time
	for _, e := range p.record.Ends {
		if e.Finished.After(last) {
			last = e.Finished
		}
	}
	if last.IsZero() {
		return p.record.Outcome.Since
	}
	return last
}

// phase is where the pod is in its life. The first row that holds is it.
func (p *pod) phase() api.PodPhase {
	switch {
	case p.stopping():
		return api.PodStopping
	case p.hasEnded():
		return p.record.Outcome.Phase
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
	if o := p.record.Outcome; !p.stopping() && o.Reason != "" {
		return o.Reason, o.Message
	}
	if p.isInterrupted() && p.shutdown.IsZero() {
		return "Fenced", "the leader has been silent for too long: another node may run it"
	}
	if p.isInterrupted() {
		return "NodeShutdown", "the machine shuts down"
	}
	if p.isClosing() && !p.hasEnded() {
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
	if p.initializing() {
		reason = reasonInitializing
	}
	for _, c := range slices.Concat(s.InitContainers, s.Containers) {
		switch {
		case c.State == stateWaiting && (c.Reason == reasonCreating || c.Reason == reasonInitializing):
		case c.State != stateRunning && c.Reason != "" && c.Reason != reasonCompleted:
			return c.Reason, "container " + c.Name + ": " + strings.TrimSpace(c.Message)
		case c.State == stateRunning && !c.Ready && c.Message != "" && reason == "":
			reason, message = reasonNotReady, "container "+c.Name+": "+c.Message
		}
	}
	return reason, message
}

// initializing says whether there are init containers that are not done.
func (p *pod) initializing() bool {
	return p.record.Initialized.IsZero() && len(p.containers) > 0 && p.containers[0].kind != mainContainer
}

// The reasons for states of pods and containers, in Kubernetes' words.
const (
	reasonCreating     = "ContainerCreating"
	reasonInitializing = "PodInitializing"
	reasonCompleted    = "Completed"
	reasonNotReady     = "ContainersNotReady"
	reasonError        = "Error"
	reasonOOM          = "OOMKilled"
	reasonStartError   = "StartError"
	reasonRunError     = "RunContainerError"
	reasonCrashLoop    = "CrashLoopBackOff"
	reasonKillFailed   = "FailedKillPod"
)

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
	k := p.view(c)
	e := p.record.Ends[c.spec.Name]
	s := api.ContainerStatus{
		Name: c.spec.Name, ID: c.id, Image: c.spec.Image, PID: k.PID, Restarts: c.attempt,
		ExitCode: k.ExitCode, Started: k.Started, Finished: k.Finished, Devices: p.record.Devices[c.spec.Name],
	}
	switch t := p.troubleOf(c); {
	case k.State == ContainerRunning:
		s.State = stateRunning
		s.Ready = p.isReady(c)
		if !s.Ready && !p.isClosing() && c.kind != initContainer {
			s.Message = cmp.Or(c.unready, p.awaited(c))
		}
	case k.State == ContainerExited && (!c.restart || p.isClosing()):
		s.State, s.Reason, s.Message = stateTerminated, e.reason(), e.text()
		s.Ready = c.kind == initContainer && p.isDone(c)
		s.LastState = lastState(e.Before)
		return s
	case t.reason != "":
		s.State, s.Reason, s.Message = stateWaiting, t.reason, t.message
	default:
		s.State, s.Reason = stateWaiting, reasonCreating
		if p.initializing() {
			s.Reason = reasonInitializing
		}
		if c.settled && c.waits.reason != "" {
			s.Reason, s.Message, s.RestartAt = c.waits.reason, c.waits.message, c.restartAt
		}
	}
	if e.ID != "" {
		s.LastState = lastState(&e)
	}
	return s
}

// isReady says whether a container that runs does what it is there for.
func (p *pod) isReady(c *container) bool {
	n := p.noteOf(c)
	return c.kind != initContainer && !p.isClosing() && n.Ending.Since.IsZero() && p.isStarted(c) && p.isBegun(c) &&
		(c.spec.ReadinessProbe == nil || n.Ready)
}

// awaited says what a container that is not ready has not said yet.
func (p *pod) awaited(c *container) string {
	switch {
	case !p.isStarted(c):
		return "its postStart hook is not done yet"
	case !p.isBegun(c):
		return "its startup probe has not answered yet"
	}
	return "its readiness probe has not answered yet"
}

// lastState is how a run ended, for the status of the container.
func lastState(e *end) *api.ContainerEnd {
	if e == nil {
		return nil
	}
	return &api.ContainerEnd{
		ID: e.ID, Reason: e.reason(), Message: e.text(), ExitCode: e.ExitCode, Started: e.Started, Finished: e.Finished,
	}
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
			s.State, s.Reason = stateTerminated, end{ExitCode: k.ExitCode, OOM: k.OOM}.reason()
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
		s.Term, s.Sequence, s.Jobs = a.assignment.Term, a.assignment.Sequence, a.assignment.Jobs
	}
	s.Claims, s.Pressures, s.Voters = a.claims.list(), a.pressures, a.guard.voters()
	for _, p := range a.pods {
		p.mu.Lock()
		if !p.status.Placement.Pod.IsZero() {
			s.Pods = append(s.Pods, withPulls(p.status, p.pulls))
		}
		p.mu.Unlock()
	}
	slices.SortFunc(s.Pods, func(a, b api.PodStatus) int {
		return cmp.Or(a.Placement.Pod.Compare(b.Placement.Pod), cmp.Compare(a.Placement.UID, b.Placement.UID))
	})
	return s
}

// statusPause, for each pod of the node, lies between statuses that follow many others: where many pods change together, each of
// their changes would have the status of all told. A node of few pods tells each at once.
const statusPause = 500 * time.Microsecond

// report puts the status whenever it changed, at once unless very many went before. What changes while it is being put goes with
// the next, which a failure of the one before does not put off: the leader may be waiting for what has changed.
func (a *Agent) report(ctx context.Context) {
	pace := rate.NewLimiter(rate.Inf, a.config.StatusBurst)
	complain := a.complain("put status")
	failures := 0
	var again <-chan time.Time // nil while nothing failed
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.status:
		case <-again:
		}
		if pace.Wait(ctx) != nil {
			return
		}
		a.status.clear() // what was set until now goes with this one
		status := a.nodeStatus()
		pace.SetLimit(rate.Every(time.Duration(len(status.Pods)) * statusPause))
		err := errors.Join(a.openHostPorts(ctx, status), a.config.Bus.PutStatus(ctx, status))
		if err == nil || ctx.Err() != nil {
			failures, again = 0, nil
			continue
		}
		failures++
		wait := busSchedule.after(failures)
		complain(err, wait)
		again = time.After(wait)
	}
}
