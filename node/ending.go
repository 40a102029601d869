package node

import (
	"context"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// leastGrace is what a process has between being asked to end and SIGKILL if its grace was spent before: by its preStop hook, or by
// waiting for its turn.
const leastGrace = 2 * time.Second

// askedWithPod is why a container ends with its pod.
const askedWithPod = "after the pod was told to end"

// grace is how long the pod's processes have to end by themselves.
func (p *pod) grace() time.Duration {
	if p.record.Outcome.AtOnce {
		return evictionGrace
	}
	grace := corev1.DefaultTerminationGracePeriodSeconds * time.Second
	if p.template != nil && p.template.Spec.TerminationGracePeriodSeconds != nil {
		grace = time.Duration(*p.template.Spec.TerminationGracePeriodSeconds) * time.Second
	}
	if !p.shutdown.IsZero() && p.shutdownGrace >= 0 {
		grace = min(grace, p.shutdownGrace)
	}
	if !p.fenced.IsZero() {
		grace = min(grace, p.host.guard.grace())
	}
	return grace
}

// closing is since when all of the pod's processes are to end: it is stopped, has ended, or the machine shuts down. Zero
// is not at all.
func (p *pod) closing() time.Time {
	var first time.Time
	for _, t := range []time.Time{p.record.Stopping, p.record.Outcome.Since, p.shutdown, p.fenced} {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}

func (p *pod) isClosing() bool { return !p.closing().IsZero() }

// endRun has the current run of a container end, unless it is to end already.
func (p *pod) endRun(c *container, e ending) {
	p.note(c, func(n *runNote) {
		if n.Ending.Since.IsZero() {
			n.Ending = e
		}
	})
}

// closeRuns has all containers end once the pod is to.
func (p *pod) closeRuns() {
	since := p.closing()
	if since.IsZero() {
		return
	}
	shutdown := p.isInterrupted()
	why := askedWithPod
	switch {
	case shutdown && p.shutdown.IsZero():
		why = "because another node may run it"
	case shutdown:
		why = "when the machine shut down"
	}
	for _, c := range p.containers {
		if !p.isRunning(c) {
			continue
		}
		p.endRun(c, ending{Since: since, Grace: p.grace(), Why: why, Shutdown: shutdown})
		if c.hook == postStartHook {
			c.stopHook()
		}
	}
}

// graceEnd is when the grace of a run that is to end is over.
func (p *pod) graceEnd(c *container) time.Time {
	e := p.noteOf(c).Ending
	at := e.Since.Add(e.Grace)
	if since := p.closing(); !since.IsZero() && since.Add(p.grace()).Before(at) {
		at = since.Add(p.grace())
	}
	return at
}

// killTime is when a run that is to end is killed.
func (p *pod) killTime(c *container) time.Time {
	e, at := p.noteOf(c).Ending, p.graceEnd(c)
	told := e.Told
	if told.IsZero() {
		told = at
	}
	if least := told.Add(min(leastGrace, e.Grace)); least.After(at) {
		return least
	}
	return at
}

func (p *pod) dueTerminate(now time.Time) []target {
	return p.onKnown(func(k Container) bool {
		if k.State != ContainerRunning {
			return false
		}
		c := p.current(k.ID)
		if c == nil {
			return p.isClosing() && !p.told[k.ID]
		}
		e := p.noteOf(c).Ending
		return !e.Since.IsZero() && e.Told.IsZero() && (p.preStopped(c) && p.isLast(c) || !now.Before(p.graceEnd(c)))
	})
}

// isLast says whether all that a sidecar serves has ended: sidecars end after the main containers, in the reverse of the
// order in which they began.
func (p *pod) isLast(c *container) bool {
	if c.kind != sidecar || !p.isClosing() {
		return true
	}
	for _, other := range p.containers {
		if p.isRunning(other) && (other.kind != sidecar || other.index > c.index) {
			return false
		}
	}
	return true
}

// terminate asks a container's first process to end.
func (p *pod) terminate(ctx context.Context, t target) error {
	if err := p.host.config.Runtime.Stop(ctx, t.id); err != nil {
		return err
	}
	if c := p.current(t.id); c != nil {
		p.note(c, func(n *runNote) { n.Ending.Told = time.Now() })
		return nil
	}
	p.told[t.id] = true
	return nil
}

// isOverdue says whether a container that runs has had its time to end.
func (p *pod) isOverdue(k Container, now time.Time) bool {
	c := p.current(k.ID)
	if c == nil {
		return p.isClosing() && !now.Before(p.closing().Add(p.grace()))
	}
	return !p.noteOf(c).Ending.Since.IsZero() && !now.Before(p.killTime(c))
}

func (p *pod) dueKill(now time.Time) []target {
	return p.onKnown(func(k Container) bool {
		return k.State == ContainerRunning && !p.killed[k.ID] && p.isOverdue(k, now)
	})
}

// kill ends a container by force.
func (p *pod) kill(ctx context.Context, t target) error {
	if err := p.host.config.Runtime.Signal(ctx, t.id, syscall.SIGKILL); err != nil {
		return err
	}
	p.killed[t.id] = true
	return nil
}
