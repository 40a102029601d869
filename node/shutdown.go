package node

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// A ShutdownStage is how long pods may take to end, with the machine, that have at least a priority, and less than that of the
// next stage. The first stage also holds those of less.
type ShutdownStage struct {
	Priority int32
	Grace    time.Duration // bounds the pods' own
}

// ShutdownStages gives the stages for a machine that has a time in all, of which the last part is for what is critical to the
// system, as the kubelet's shutdownGracePeriod and shutdownGracePeriodCriticalPods. No time is no bound.
func ShutdownStages(whole, critical time.Duration) ([]ShutdownStage, error) {
	switch {
	case whole < 0 || critical < 0 || critical > whole:
		return nil, fmt.Errorf("the %v for critical pods are not a part of %v", critical, whole)
	case whole == 0:
		return nil, nil
	}
	return []ShutdownStage{{Grace: whole - critical}, {Priority: leastCritical, Grace: critical}}, nil
}

// A wave is pods that end at the same time.
type wave struct {
	pods []*pod
	// grace bounds that of the pods; negative is no bound.
	grace time.Duration
}

// Shutdown ends the processes of all pods, for a machine that is about to stop: those of the least priority first, each
// with its preStop hooks and its grace, and the next when the last of them has ended. Where the configuration has stages, the
// pods of a stage end together, within its time. The pods stay assigned, and what their policy restarts runs again under the
// next agent. It is called while Run runs. When ctx ends first, the error says what still runs.
func (a *Agent) Shutdown(ctx context.Context) error {
	waves := a.waves()
	for _, w := range waves {
		for _, p := range w.pods {
			p.deliver(func(in *inbox) { in.shutdown, in.shutdownGrace = true, w.grace })
		}
		for _, p := range w.pods {
			select {
			case <-p.still:
			case <-ctx.Done():
				return fmt.Errorf("shut down the pods: %w; left are %s", context.Cause(ctx), moving(waves))
			}
		}
	}
	return nil
}

// waves halts the agent and puts its pods into the order in which they end.
func (a *Agent) waves() []wave {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.halted = true
	stages := a.config.Shutdown
	byKey := map[int32]*wave{}
	for _, uid := range slices.Sorted(maps.Keys(a.pods)) {
		p := a.pods[uid]
		p.mu.Lock()
		key, grace := p.importance, time.Duration(-1)
		p.mu.Unlock()
		if len(stages) > 0 {
			stage := stageOf(stages, key)
			key, grace = stage.Priority, stage.Grace
		}
		if byKey[key] == nil {
			byKey[key] = &wave{grace: grace}
		}
		byKey[key].pods = append(byKey[key].pods, p)
	}
	var waves []wave
	for _, key := range slices.Sorted(maps.Keys(byKey)) {
		waves = append(waves, *byKey[key])
	}
	return waves
}

// stageOf is the last stage of which a priority has the least.
func stageOf(stages []ShutdownStage, priority int32) ShutdownStage {
	found := stages[0]
	for _, s := range stages {
		if priority >= s.Priority {
			found = s
		}
	}
	return found
}

// checkStages says what is wrong with stages.
func checkStages(stages []ShutdownStage) error {
	for i, s := range stages {
		if s.Grace < 0 || i > 0 && s.Priority <= stages[i-1].Priority {
			return fmt.Errorf("node: Shutdown: stage %+v has a negative time, or is out of the order of priorities", s)
		}
	}
	return nil
}

// moving are the pods that have not come to rest.
func moving(waves []wave) string {
	var left []string
	for _, w := range waves {
		for _, p := range w.pods {
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
func (p *pod) beginShutdown(now time.Time, grace time.Duration) {
	p.shutdown, p.shutdownGrace = now, grace
	if p.isInterrupted() {
		clear(p.failures)
		p.event("Killing", "the machine shuts down", normal)
	}
}

// isInterrupted says whether the pod ends only for as long as the machine is down, or may not run it.
func (p *pod) isInterrupted() bool {
	return (!p.shutdown.IsZero() || !p.fenced.IsZero()) && p.record.Stopping.IsZero() && p.record.Outcome.Phase == ""
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
