package node

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"
)

// A step is one kind of call that moves a pod on. Taken again after a crash at any point, it does no harm.
type step struct {
	name string
	// due gives all that the step is to be done to, in order.
	due func(p *pod, now time.Time) []target
	do  func(p *pod, ctx context.Context, t target) error
	// slots bounds how many pods do it at the same time; nil does not.
	slots func(a *Agent) chan struct{}
	// begins is set when it only begins what goes on beside the pod's steps, and whose end is taken in later.
	begins bool
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
	stepFetch  = "fetch"
	stepUnseal = "unseal"
	stepUpdate = "update"
	stepKill   = "kill"
	stepStart  = "start"
	stepImage  = "image"
)

func unbounded(*Agent) chan struct{} { return nil }

func starts(a *Agent) chan struct{} { return a.starts }

func removes(a *Agent) chan struct{} { return a.removes }

// The tables of steps: the first that is due is done. living are those of a pod that is to run, finishing of one that has
// ended by itself, ending of one that is to go, and shutdown of one that ends with the machine and runs again after that.
// Nothing leads from a later table back to an earlier one.
type tables struct{ living, finishing, ending, shutdown []step }

func newTables() tables {
	stop := []step{
		{name: "recall", due: (*pod).dueRecall, do: (*pod).recall, slots: unbounded, reason: "FailedFetch"},
		{name: "preStop", due: (*pod).duePreStop, do: (*pod).preStop, slots: unbounded, begins: true},
		{name: "terminate", due: (*pod).dueTerminate, do: (*pod).terminate, slots: unbounded, reason: reasonKillFailed},
		{name: stepKill, due: (*pod).dueKill, do: (*pod).kill, slots: unbounded, reason: reasonKillFailed},
	}
	clear := []step{
		// Those that have ended.
		{name: "discard", due: (*pod).dueDiscard, do: (*pod).remove, slots: removes, reason: "RemoveFailed"},
		// What the pod does not know of must not keep its volumes and sandbox in use.
		{name: "recount", due: (*pod).dueRecount, do: (*pod).recount, slots: unbounded, reason: "RemoveFailed"},
		{name: "unmount", due: (*pod).dueUnmount, do: (*pod).unmount, slots: unbounded, reason: "FailedUnmount"},
		{name: "detach", due: (*pod).dueDetach, do: (*pod).detach, slots: unbounded, reason: "FailedKillPodSandBox"},
	}
	return tables{
		living: slices.Concat(
			[]step{
				{name: stepFetch, due: (*pod).dueFetch, do: (*pod).fetch, slots: unbounded, reason: "FailedFetch"},
				{name: stepUnseal, due: (*pod).dueUnseal, do: (*pod).unseal, slots: unbounded, reason: "FailedFetch"},
				{name: stepUpdate, due: (*pod).dueUpdate, do: (*pod).update, slots: unbounded, reason: "FailedUpdate"},
				{name: stepImage, due: (*pod).dueImage, do: (*pod).image, slots: unbounded, begins: true, reason: errImagePull},
				{name: "prepare", due: (*pod).duePrepare, do: (*pod).prepare, slots: unbounded, reason: "FailedPrepare"},
			},
			stop[1:],
			[]step{
				{name: "postStart", due: (*pod).duePostStart, do: (*pod).postStart, slots: unbounded, begins: true},
				// A container that is made is started before the next one is made.
				{name: stepStart, due: (*pod).dueStart, do: (*pod).start, slots: starts, reason: reasonRunError},
				{name: "clear", due: (*pod).dueClear, do: (*pod).remove, slots: removes, reason: "RemoveFailed"},
				{name: "create", due: (*pod).dueCreate, do: (*pod).create, slots: starts, reason: "CreateContainerError"},
			}),
		finishing: slices.Concat(stop, clear,
			[]step{{name: "close", due: (*pod).dueClose, do: (*pod).close, slots: unbounded}}),
		ending: slices.Concat(stop[:3], clear,
			// The record goes last: until then a new agent knows that there is something left to do.
			[]step{{name: "erase", due: (*pod).dueErase, do: (*pod).erase, slots: unbounded, reason: "EraseFailed"}}),
		shutdown: stop,
	}
}

// steps is the table that the pod goes by now.
func (p *pod) steps() []step {
	switch t := &p.host.tables; {
	case !p.record.Stopping.IsZero():
		return t.ending
	case p.record.Outcome.Phase != "":
		return t.finishing
	case !p.shutdown.IsZero() || !p.fenced.IsZero():
		return t.shutdown
	default:
		return t.living
	}
}

// next finds the action that is due. What waits after a failure holds up only itself.
func (p *pod) next(now time.Time) (action, bool) {
	steps := p.steps()
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
	if since := p.closing(); !since.IsZero() {
		at(since.Add(p.grace()))
	} else {
		at(p.deadline())
	}
	for _, c := range p.containers {
		if !p.isClosing() {
			at(c.restartAt)
		}
		if p.isRunning(c) && !p.noteOf(c).Ending.Since.IsZero() {
			at(p.graceEnd(c))
			at(p.killTime(c))
		}
	}
	return next
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

// dueDiscard finds what has ended, and of a pod that is to go also what has had its time to: removing kills.
func (p *pod) dueDiscard(now time.Time) []target {
	return p.onKnown(func(k Container) bool {
		return k.State != ContainerRunning || p.stopping() && p.isOverdue(k, now)
	})
}

// remove removes a container of the pod.
func (p *pod) remove(ctx context.Context, t target) error {
	if err := p.host.config.Runtime.Remove(ctx, t.id); err != nil {
		return err
	}
	removed := p.known[t.id]
	delete(p.known, t.id)
	p.changed = p.host.look.number()
	c := p.current(t.id)
	if c == nil {
		return nil
	}
	if removed.State == ContainerRunning {
		removed.State, removed.ExitCode, removed.Finished = ContainerExited, exitUnknown, time.Now()
		p.countEnd(c, removed)
	}
	if c.broken = false; p.view(c).State != ContainerExited {
		c.id = ""
	}
	return nil
}

func (p *pod) dueRecount(time.Time) []target { return itself(len(p.known) == 0 && !p.empty) }

func (p *pod) recount(ctx context.Context, _ target) error {
	seen, err := p.host.look.at(ctx, p.uid)
	if err != nil {
		return err
	}
	p.empty = true
	p.see(seen)
	return nil
}

func (p *pod) dueUnmount(time.Time) []target { return itself(p.empty && !p.unmounted) }

func (p *pod) unmount(ctx context.Context, _ target) error {
	p.freeDevices()
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
	p.host.isolations.leave(p.uid)
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
