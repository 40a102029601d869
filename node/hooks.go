package node

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// A hook is a moment in the life of a run at which its author has something done.
type hook string

const (
	postStartHook hook = "postStart"
	preStopHook   hook = "preStop"
)

// A hookResult is how a hook of a run of a container ended.
type hookResult struct {
	container, id string
	hook          hook
	err           error
}

func postStartOf(c *container) *corev1.LifecycleHandler {
	if c.spec.Lifecycle == nil {
		return nil
	}
	return c.spec.Lifecycle.PostStart
}

func preStopOf(c *container) *corev1.LifecycleHandler {
	if c.spec.Lifecycle == nil {
		return nil
	}
	return c.spec.Lifecycle.PreStop
}

func (p *pod) duePostStart(time.Time) []target {
	return p.onContainers(func(c *container) bool {
		return p.isRunning(c) && !p.isStarted(c) && c.hook == "" && p.noteOf(c).Ending.Since.IsZero()
	})
}

// postStart begins the hook of a run that has started. It has no time but the run's own. What is not known to be done is
// begun again by the next agent: hooks are delivered at least once.
func (p *pod) postStart(ctx context.Context, t target) error {
	p.beginHook(ctx, t.container, postStartHook, *postStartOf(t.container), time.Time{})
	return nil
}

func (p *pod) duePreStop(now time.Time) []target {
	return p.onContainers(func(c *container) bool {
		e := p.noteOf(c).Ending
		return p.isRunning(c) && !e.Since.IsZero() && !p.preStopped(c) && c.hook == "" && now.Before(p.graceEnd(c))
	})
}

// preStopped says whether the hook of a run that is to end is over, or not to be waited for.
func (p *pod) preStopped(c *container) bool {
	e := p.noteOf(c).Ending
	return preStopOf(c) == nil || e.PreStop || e.Grace <= 0
}

// preStop begins the hook of a run that is to end, within its grace.
func (p *pod) preStop(ctx context.Context, t target) error {
	p.beginHook(ctx, t.container, preStopHook, *preStopOf(t.container), p.graceEnd(t.container))
	return nil
}

// beginHook runs a hook beside the pod's own steps. Without a time until which it must end it has all of it.
func (p *pod) beginHook(ctx context.Context, c *container, h hook, handler corev1.LifecycleHandler, until time.Time) {
	var cancel context.CancelFunc
	daemon := ctx
	if until.IsZero() {
		ctx, cancel = context.WithCancel(ctx)
	} else {
		ctx, cancel = context.WithDeadline(ctx, until)
	}
	c.hook, c.stopHook = h, cancel
	result := hookResult{container: c.spec.Name, id: c.id, hook: h}
	ip, _ := netip.ParseAddr(p.record.IP) // without an address what asks for it fails and says so
	call := p.host.hook(handler, c.id, ip, c.spec.Ports)
	p.beside.Go(func() {
		defer cancel()
		result.err = call(ctx)
		if daemon.Err() != nil {
			return // it was cut off: how it ended is not known, and the next daemon does it again
		}
		if result.err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			result.err = errors.New("it was not done within the grace period")
		}
		p.deliver(func(in *inbox) { in.hooks = append(in.hooks, result) })
	})
}

// hook gives the function that does what a handler asks for. A tcpSocket asks for nothing: it is kept in Kubernetes only
// so that old manifests go on being valid.
func (a *Agent) hook(handler corev1.LifecycleHandler, id string, ip netip.Addr, ports []corev1.ContainerPort) func(context.Context) error {
	switch {
	case handler.Exec != nil:
		return a.command(id, handler.Exec.Command)
	case handler.HTTPGet != nil:
		return func(ctx context.Context) error {
			return a.config.Prober.Probe(ctx, corev1.ProbeHandler{HTTPGet: handler.HTTPGet}, ip, ports)
		}
	case handler.Sleep != nil:
		return func(ctx context.Context) error {
			if !pause(ctx, time.Duration(handler.Sleep.Seconds)*time.Second) {
				return ctx.Err()
			}
			return nil
		}
	}
	return func(context.Context) error { return nil }
}

// command gives the function that runs a command in a container, which is to succeed.
func (a *Agent) command(id string, command []string) func(context.Context) error {
	return func(ctx context.Context) error {
		var output tail
		code, err := a.config.Runtime.Exec(ctx, id, command, Streams{Stdout: &output, Stderr: &output})
		if err != nil {
			return err
		}
		if code != 0 {
			return &commandError{fmt.Sprintf("%s ended with exit code %d: %s", strings.Join(command, " "), code, output.lastLine())}
		}
		return nil
	}
}

// A commandError says that a command ran, and that it failed.
type commandError struct{ message string }

func (e *commandError) Error() string { return e.message }

// hooked takes in how a hook ended. That of a run that is over counts no more.
func (p *pod) hooked(r hookResult, now time.Time) {
	c := p.named(r.container)
	if c == nil || c.id != r.id {
		return
	}
	c.hook, c.stopHook = "", nil
	if c.settled {
		return
	}
	if r.hook == preStopHook {
		if r.err != nil {
			p.event("FailedPreStopHook", "container "+c.spec.Name+": "+r.err.Error(), warning)
		}
		p.note(c, func(n *runNote) { n.Ending.PreStop = true })
		return
	}
	switch {
	case r.err == nil:
		p.note(c, func(n *runNote) { n.PostStart = true })
	case p.noteOf(c).Ending.Since.IsZero():
		p.event("FailedPostStartHook", "container "+c.spec.Name+": "+r.err.Error(), warning)
		p.endRun(c, ending{Since: now, Grace: p.grace(), Why: "after its postStart hook failed"})
		c.unready = "postStart hook: " + r.err.Error()
	}
}
