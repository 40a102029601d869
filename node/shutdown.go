package node

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Shutdown ends the processes of all pods, for a machine that is about to stop: those of the least priority first, each
// with its preStop hooks and its grace, and the next when the last of them has ended. The pods stay assigned, and what
// their policy restarts runs again under the next agent. It is called while Run runs. When ctx ends first, the error says
// what still runs.
func (a *Agent) Shutdown(ctx context.Context) error {
	a.mu.Lock()
	a.halted = true
	classes := map[int32][]*pod{}
	for _, uid := range slices.Sorted(maps.Keys(a.pods)) {
		p := a.pods[uid]
		p.mu.Lock()
		classes[p.importance] = append(classes[p.importance], p)
		p.mu.Unlock()
	}
	a.mu.Unlock()
	for _, priority := range slices.Sorted(maps.Keys(classes)) {
		for _, p := range classes[priority] {
			p.deliver(func(in *inbox) { in.shutdown = true })
		}
		for _, p := range classes[priority] {
			select {
			case <-p.still:
			case <-ctx.Done():
				return fmt.Errorf("shut down the pods: %w; left are %s", context.Cause(ctx), a.moving(classes))
			}
		}
	}
	return nil
}

// moving are the pods that have not come to rest.
func (a *Agent) moving(classes map[int32][]*pod) string {
	var left []string
	for _, priority := range slices.Sorted(maps.Keys(classes)) {
		for _, p := range classes[priority] {
			select {
			case <-p.still:
			default:
				left = append(left, p.uid)
			}
		}
	}
	return strings.Join(left, ", ")
}

// beginShutdown has the pod's processes end because the machine does.
func (p *pod) beginShutdown(now time.Time) {
	p.shutdown = now
	if p.isShutDown() {
		clear(p.failures)
		p.event("Killing", "the machine shuts down", normal)
	}
}

// isShutDown says whether the pod ends only for as long as the machine is down.
func (p *pod) isShutDown() bool {
	return !p.shutdown.IsZero() && p.record.Stopping.IsZero() && p.record.Outcome.Phase == ""
}

// rests tells who waits for it that nothing of the pod runs any more, and that this is on disk.
func (p *pod) rests() {
	if p.shutdown.IsZero() || p.rested {
		return
	}
	for _, k := range p.known {
		if k.State != ContainerExited && k.State != ContainerCreated {
			return
		}
	}
	p.rested = true
	close(p.still)
}
