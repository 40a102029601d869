package node

import (
	"context"
	"encoding/json"
	"time"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

// decide finds out whether the pod has ended by itself. The first row that holds is how.
func (p *pod) decide(now time.Time) {
	if p.template == nil || p.isClosing() {
		return
	}
	if at := p.deadline(); !at.IsZero() && !now.Before(at) {
		p.finish(outcome{
			Phase: api.PodFailed, Reason: "DeadlineExceeded", Since: now,
			Message: "Pod was active on the node longer than the specified deadline",
		})
		p.event("DeadlineExceeded", p.record.Outcome.Message, warning)
		return
	}
	over, failed := true, false
	for _, c := range p.containers {
		e := p.record.Ends[c.spec.Name]
		given := c.settled && !c.restart // up, or done
		if c.kind == initContainer && p.record.Initialized.IsZero() && given && e.ExitCode != 0 {
			p.finish(outcome{Phase: api.PodFailed, Since: now})
			return
		}
		if c.kind == mainContainer {
			over = over && given
			failed = failed || e.ExitCode != 0 || e.Shutdown
		}
	}
	switch {
	case !over || len(p.containers) == 0:
	case failed:
		p.finish(outcome{Phase: api.PodFailed, Since: now})
	default:
		p.finish(outcome{Phase: api.PodSucceeded, Since: now})
	}
}

// finish notes that the pod has ended, for good.
func (p *pod) finish(o outcome) {
	if o.Phase == api.PodFailed && o.Reason == "" && p.wasShutDown() {
		o.Reason, o.Message = "Terminated", "Pod was terminated in response to imminent node shutdown."
	}
	p.record.Outcome, p.dirty = o, true
	clear(p.failures)
	p.doHalt()
}

// wasShutDown says whether one of the containers was ended by a shutdown of the machine, and none failed before.
func (p *pod) wasShutDown() bool {
	for _, c := range p.containers {
		if c.kind == mainContainer && p.record.Ends[c.spec.Name].Shutdown {
			return true
		}
	}
	return false
}

// deadline is when the pod has been active for as long as it may; zero is never.
func (p *pod) deadline() time.Time {
	if p.template == nil || p.template.Spec.ActiveDeadlineSeconds == nil {
		return time.Time{}
	}
	return p.record.Created.Add(time.Duration(*p.template.Spec.ActiveDeadlineSeconds) * time.Second)
}

// hasEnded says whether the pod has ended by itself and none of its processes runs any more.
func (p *pod) hasEnded() bool {
	if p.record.Outcome.Phase == "" {
		return false
	}
	for _, k := range p.known {
		if k.State == ContainerRunning {
			return false
		}
	}
	return true
}

func (p *pod) dueRecall(time.Time) []target { return itself(p.template == nil && !p.recalled) }

// recall learns what a pod that ends was made from, if that is still on disk: its grace and its hooks are there. Without
// it the pod ends as best it can.
func (p *pod) recall(context.Context, target) error {
	p.remember()
	p.uses([]api.Digest{p.record.Placement.Template})
	p.closeRuns()
	return nil
}

// remember reads the template from disk, and takes it for absent if that cannot be.
func (p *pod) remember() {
	p.recalled = true
	t := new(api.PodTemplate)
	if data, err := p.host.disk.blob(p.record.Placement.Template); err == nil && json.Unmarshal(data, t) == nil {
		p.setTemplate(t)
	}
}

func (p *pod) dueClose(time.Time) []target { return itself(p.detached && !p.record.Cleared) }

// close notes that nothing is left to do for a pod that has ended.
func (p *pod) close(context.Context, target) error {
	p.record.Cleared, p.dirty = true, true
	return nil
}

// priority is how important the pod is, in the order of which the machine's pods are shut down.
func (p *pod) priority() int32 {
	if p.template == nil {
		return 0
	}
	return priorityOf(&p.template.Spec)
}

func priorityOf(spec *corev1.PodSpec) int32 {
	switch {
	case spec.Priority != nil:
		return *spec.Priority
	case spec.PriorityClassName == "system-node-critical":
		return 2000001000
	case spec.PriorityClassName == "system-cluster-critical":
		return 2000000000
	}
	return 0
}
