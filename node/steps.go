package node

import (
	"context"
	"errors"
	"maps"
	"slices"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// A step is one kind of call that moves a pod on. Taken again after a crash at any point, it does no harm.
type step struct {
	name string
	// due gives all that the step is to be done to, in order.
	due func(p *pod, now time.Time) []target
	do  func(p *pod, ctx context.Context, t target) error
	// slots bounds how many pods do it at the same time; nil does not.
	slots func(a *Agent) chan struct{}
	// reason is what the status calls a failure, in Kubernetes' words where it has one.
	reason string
}

// A target is a container of the pod's spec, or one on the machine by its ID, or neither: then it is the pod.
type target struct {
	container *container
	id        string
}

// An action is a step that is due.
type action struct {
	step   *step
	target target
}

// Steps that others ask about by name.
const (
	stepFetch = "fetch"
	stepKill  = "kill"
	stepStart = "start"
	stepImage = "image"
)

func unbounded(*Agent) chan struct{} { return nil }

func starts(a *Agent) chan struct{} { return a.starts }

func removes(a *Agent) chan struct{} { return a.removes }

// ending are the steps of a pod that is to end, and living those of one that is to run: the first that is due is done.
// Nothing leads from the first table back to the second.
func ending() []step {
	return []step{
		{"terminate", (*pod).dueTerminate, (*pod).terminate, unbounded, "KillFailed"},
		// Those that have ended, and after the grace period all: removing kills.
		{"discard", (*pod).dueDiscard, (*pod).remove, removes, "RemoveFailed"},
		// What the pod does not know of must not keep its volumes and sandbox in use.
		{"recount", (*pod).dueRecount, (*pod).recount, unbounded, "RemoveFailed"},
		{"unmount", (*pod).dueUnmount, (*pod).unmount, unbounded, "FailedUnmount"},
		{"detach", (*pod).dueDetach, (*pod).detach, unbounded, "FailedKillPodSandBox"},
		// The record goes last: until then a new agent knows that there is something left to do.
		{"erase", (*pod).dueErase, (*pod).erase, unbounded, "EraseFailed"},
	}
}

func living() []step {
	return []step{
		{stepFetch, (*pod).dueFetch, (*pod).fetch, unbounded, "FailedFetch"},
		{"prepare", (*pod).duePrepare, (*pod).prepare, unbounded, "FailedPrepare"},
		{stepKill, (*pod).dueKill, (*pod).kill, unbounded, "KillFailed"},
		// A container that is made is started before the next one is made.
		{stepStart, (*pod).dueStart, (*pod).start, starts, "RunContainerError"},
		{"clear", (*pod).dueClear, (*pod).remove, removes, "RemoveFailed"},
		{"create", (*pod).dueCreate, (*pod).create, starts, "CreateContainerError"},
		{stepImage, (*pod).dueImage, (*pod).image, unbounded, errImagePull},
	}
}

// next finds the action that is due. What waits after a failure holds up only itself.
func (p *pod) next(now time.Time) (action, bool) {
	steps := p.host.living
	if p.stopping() {
		steps = p.host.ending
	}
	for i := range steps {
		for _, t := range steps[i].due(p, now) {
			if !p.waiting(steps[i].name, t, now) {
				return action{&steps[i], t}, true
			}
		}
	}
	return action{}, false
}

func (p *pod) stopping() bool { return !p.record.Stopping.IsZero() }

// A failure is that of one step on one target, until the step succeeds.
type failure struct {
	backoff
	trouble
}

// A failing names what failed: the step, and the container by its name or ID, if it is to one.
type failing struct{ step, what string }

func (t target) String() string {
	if t.container != nil {
		return t.container.spec.Name
	}
	return t.id
}

func (p *pod) waiting(step string, t target, now time.Time) bool {
	f := p.failures[failing{step, t.String()}]
	return f != nil && f.until.After(now)
}

func (p *pod) succeeded(a action) { delete(p.failures, failing{a.step.name, a.target.String()}) }

// fail has the action wait, longer from time to time, and says why.
func (p *pod) fail(step, reason string, t target, err error) {
	key := failing{step, t.String()}
	f := p.failures[key]
	if f == nil {
		f = new(failure)
		p.failures[key] = f
	}
	why, schedule := explain(reason, f.failures, err)
	wait := f.fail(time.Now(), schedule)
	if f.trouble != why {
		p.event("Failed", why.reason+": "+why.message, warning)
	}
	f.trouble = why
	p.log.Warn("a step failed", "step", step, "reason", why.reason, "error", err, "again in", wait)
}

// explain finds the words for a failure after so many others, and how the waits grow.
func explain(reason string, failures int, err error) (trouble, schedule) {
	t := trouble{reason, err.Error()}
	var own *stepError
	if errors.As(err, &own) {
		t.reason = own.reason
	}
	var image *ImageError
	if !errors.As(err, &image) {
		return t, stepSchedule
	}
	t = trouble{image.Reason, image.Image + ": " + image.Err.Error()}
	if t.reason == errImagePull && failures > 0 {
		t.reason = "ImagePullBackOff"
	}
	return t, imageSchedule
}

const errImagePull = "ErrImagePull"

// A stepError is a failure with its own word for the reason.
type stepError struct {
	reason string
	err    error
}

func (e *stepError) Error() string { return e.err.Error() }
func (e *stepError) Unwrap() error { return e.err }

// alarm is the next moment at which time alone makes a step due; zero if there is none.
func (p *pod) alarm(now time.Time) time.Time {
	var next time.Time
	at := func(t time.Time) {
		if t.After(now) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	for _, f := range p.failures {
		at(f.until)
	}
	if p.stopping() {
		at(p.record.Stopping.Add(p.grace()))
		return next
	}
	for _, c := range p.containers {
		at(c.restartAt)
		if !c.told.IsZero() {
			at(c.told.Add(p.grace()))
		}
	}
	return next
}

// grace is how long the pod's processes have to end by themselves.
func (p *pod) grace() time.Duration {
	if p.template == nil || p.template.Spec.TerminationGracePeriodSeconds == nil {
		return corev1.DefaultTerminationGracePeriodSeconds * time.Second
	}
	return time.Duration(*p.template.Spec.TerminationGracePeriodSeconds) * time.Second
}

func (p *pod) beginStop(now time.Time, reason, commit string) {
	p.record.Stopping, p.dirty, p.commit = now, true, commit
	clear(p.failures)
	p.event("Killing", reason, normal)
}

// itself is the pod as the target, if the step is due.
func itself(due bool) []target {
	if due {
		return []target{{}}
	}
	return nil
}

// onContainers gives the containers of the spec that a step is due for, in order.
func (p *pod) onContainers(due func(*container) bool) []target {
	var targets []target
	for _, c := range p.containers {
		if due(c) {
			targets = append(targets, target{container: c})
		}
	}
	return targets
}

// onKnown gives the containers on the machine that a step is due for, by ID.
func (p *pod) onKnown(due func(Container) bool) []target {
	var targets []target
	for _, id := range slices.Sorted(maps.Keys(p.known)) {
		if due(p.known[id]) {
			targets = append(targets, target{id: id})
		}
	}
	return targets
}

func (p *pod) dueTerminate(time.Time) []target {
	return p.onKnown(func(c Container) bool { return c.State == ContainerRunning && !p.told[c.ID] })
}

func (p *pod) terminate(ctx context.Context, t target) error {
	if err := p.host.config.Runtime.Signal(ctx, t.id, syscall.SIGTERM); err != nil {
		return err
	}
	p.told[t.id] = true
	return nil
}

func (p *pod) dueDiscard(now time.Time) []target {
	over := !now.Before(p.record.Stopping.Add(p.grace()))
	return p.onKnown(func(c Container) bool { return over || c.State != ContainerRunning })
}

// remove removes a container of the pod.
func (p *pod) remove(ctx context.Context, t target) error {
	if err := p.host.config.Runtime.Remove(ctx, t.id); err != nil {
		return err
	}
	removed := p.known[t.id]
	delete(p.known, t.id)
	p.changed = p.host.look.number()
	for _, c := range p.containers {
		if c.id == t.id {
			c.id, c.broken, c.removed = "", false, removed
		}
	}
	return nil
}

func (p *pod) dueRecount(time.Time) []target { return itself(len(p.known) == 0 && !p.empty) }

func (p *pod) recount(ctx context.Context, _ target) error {
	seen, err := p.host.look.now(ctx)
	if err != nil {
		return err
	}
	p.empty = true
	p.see(seen)
	return nil
}

func (p *pod) dueUnmount(time.Time) []target { return itself(p.empty && !p.unmounted) }

func (p *pod) unmount(ctx context.Context, _ target) error {
	if err := p.host.config.Volumes.Remove(ctx, p.uid); err != nil {
		return err
	}
	p.unmounted = true
	return nil
}

func (p *pod) dueDetach(time.Time) []target { return itself(p.unmounted && !p.detached) }

func (p *pod) detach(ctx context.Context, _ target) error {
	if err := p.host.config.Network.Detach(ctx, p.uid); err != nil {
		return err
	}
	p.detached = true
	return nil
}

func (p *pod) dueErase(time.Time) []target { return itself(p.detached && !p.gone) }

func (p *pod) erase(context.Context, target) error {
	if err := p.host.disk.removePod(p.uid); err != nil {
		return err
	}
	p.gone = true
	return nil
}
