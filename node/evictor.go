package node

import (
	"context"
	"errors"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

const (
	// surveyEvery is how often it is measured what the machine has left: that costs the reading of three small files.
	surveyEvery = 2 * time.Second
	// evictionWait bounds how long an evicted pod may take to end before another one has to.
	evictionWait = 30 * time.Second
)

// takeUpWait bounds how long it may take until a daemon that has begun knows the pods that it has found: before that it could
// take a less important one for the least.
const takeUpWait = 10 * time.Second

// evictionGrace is how long the processes of a pod have to end that is evicted for the others' sake, as in Kubernetes.
const evictionGrace = time.Second

// An evictor ends pods when the machine runs short.
type evictor struct {
	host    *Agent
	meter   SupplyMeter
	strain  strain
	begun   time.Time
	victim  *pod // evicted last; nil once it has ended
	evicted time.Time
	idle    bool // nothing was left to evict, and this was said
}

// watchSupplies evicts pods when the machine runs short of memory or disk, until ctx is done.
func (a *Agent) watchSupplies(ctx context.Context) {
	meter, ok := a.config.Runtime.(SupplyMeter)
	if !ok || len(a.config.Eviction.Hard) == 0 {
		return
	}
	e := evictor{host: a, meter: meter, begun: time.Now()}
	for {
		if err := e.survey(ctx, time.Now()); err != nil && ctx.Err() == nil {
			a.log.Warn("what the machine has left cannot be measured", "error", err)
		}
		if !pause(ctx, surveyEvery) {
			return
		}
	}
}

// survey measures once, says what is short, and evicts the one pod that has to go first.
func (e *evictor) survey(ctx context.Context, now time.Time) error {
	supplies, err := e.meter.Supplies(e.host.disk.dir)
	if err != nil {
		return err
	}
	var short []shortage
	before := e.strain.pressures
	e.strain, short = e.strain.measured(now, e.host.config.Eviction, supplies)
	e.announce(before)
	if len(short) == 0 {
		e.idle = false
		return nil
	}
	if e.victim != nil && e.victim.isMoving() && now.Before(e.evicted.Add(evictionWait)) {
		return nil
	}
	e.victim = nil
	if short = e.host.relieved(short, supplies.OneDisk, now); len(short) == 0 {
		return nil
	}
	for _, s := range short {
		found, err := e.evictOne(ctx, s, supplies.OneDisk, now)
		if err != nil || found {
			return err
		}
	}
	if !e.idle {
		e.idle = true
		e.host.log.Warn("the machine runs short, and no pod can be evicted for it", "short", short[0].String())
	}
	return nil
}

// relieved leaves out of what is short the disks on which room is made by removing images.
func (a *Agent) relieved(short []shortage, oneDisk bool, now time.Time) []shortage {
	return slices.DeleteFunc(slices.Clone(short), func(s shortage) bool {
		hasImages := s.signal == ImageFSAvailable || s.signal == NodeFSAvailable && oneDisk
		return hasImages && a.collector.relieve(s.threshold-s.available, now)
	})
}

// announce tells the others of what changed. The status with it goes out before that of an evicted pod.
func (e *evictor) announce(before []api.Pressure) {
	a, now := e.host, e.strain.pressures
	if slices.Equal(before, now) {
		return
	}
	a.mu.Lock()
	a.pressures = now
	a.mu.Unlock()
	a.status.set()
	ref := api.Ref{Kind: "Node", Name: a.config.Info.Name}
	has := func(list []api.Pressure, c corev1.NodeConditionType) bool {
		return slices.ContainsFunc(list, func(p api.Pressure) bool { return p.Condition == c })
	}
	for _, p := range now {
		if !has(before, p.Condition) {
			a.event("NodeHas"+string(p.Condition), ref, p.Message, "", warning)
		}
	}
	for _, p := range before {
		if !has(now, p.Condition) {
			a.event("NodeHasNo"+string(p.Condition), ref, "there is enough again", "", normal)
		}
	}
}

// evictOne evicts the pod that has to go first for a shortage. It reports whether there is one.
func (e *evictor) evictOne(ctx context.Context, s shortage, oneDisk bool, now time.Time) (bool, error) {
	pods := map[string]*pod{}
	for _, p := range e.host.writing() {
		pods[p.uid] = p
	}
	consumers, unknown, err := e.host.consumers(ctx, s.signal, oneDisk, pods)
	if err != nil {
		return false, err
	}
	if unknown && now.Before(e.begun.Add(takeUpWait)) {
		return true, nil // the next survey knows which one
	}
	ranked := rank(consumers)
	if len(ranked) == 0 || ranked[0].used == 0 {
		return false, nil
	}
	first := ranked[0]
	e.victim, e.evicted = pods[first.uid], now
	e.victim.evict(eviction{why: first.reason(s), atOnce: true})
	return true, nil
}

// consumers weighs pods by what they use of what a signal is about. Some may be unknown: their templates are not there yet.
func (a *Agent) consumers(ctx context.Context, signal Signal, oneDisk bool, pods map[string]*pod) (all []consumer, unknown bool, err error) {
	var memory map[string]map[string]int64
	if signal == MemoryAvailable {
		if memory, err = a.memoryUse(ctx); err != nil {
			return nil, false, err
		}
	}
	var failed []error
	for uid, p := range pods {
		p.mu.Lock()
		status := p.status
		p.mu.Unlock()
		t := a.blobs.known(status.Placement.Template)
		if t == nil {
			unknown = true
			continue
		}
		used, beside := memory[uid], int64(0)
		if signal != MemoryAvailable {
			var err error
			if used, beside, err = a.diskUse(ctx, p, status, signal, oneDisk); err != nil {
				failed = append(failed, err)
				continue
			}
		}
		all = append(all, newConsumer(uid, priorityOf(&t.Spec), &t.Spec, signal.resource(), used, beside))
	}
	if len(all) == 0 {
		return nil, unknown, errors.Join(failed...)
	}
	return all, unknown, nil
}

// memoryUse is what containers have of the memory, by pod and name.
func (a *Agent) memoryUse(ctx context.Context) (map[string]map[string]int64, error) {
	meter, ok := a.config.Runtime.(Meter)
	if !ok {
		return nil, errors.New("this node's runtime cannot measure its containers")
	}
	usage, err := meter.Metrics(ctx)
	if err != nil {
		return nil, err
	}
	use := map[string]map[string]int64{}
	for _, u := range usage {
		if use[u.UID] == nil {
			use[u.UID] = map[string]int64{}
		}
		use[u.UID][u.Container] = int64(u.Memory)
	}
	return use, nil
}

// diskUse is what a pod's containers have written to the disk that a signal is about, and what its volumes hold there.
func (a *Agent) diskUse(ctx context.Context, p *pod, status api.PodStatus, signal Signal, oneDisk bool) (map[string]int64, int64, error) {
	own, volumes := oneDisk || signal == ImageFSAvailable, oneDisk || signal == NodeFSAvailable
	used, beside := map[string]int64{}, int64(0)
	if meter, ok := a.config.Volumes.(VolumeMeter); ok && volumes {
		held, err := meter.VolumeUsage(ctx, p.uid)
		if err != nil {
			return nil, 0, err
		}
		for _, bytes := range held {
			beside += bytes
		}
	}
	for _, c := range slices.Concat(status.InitContainers, status.Containers) {
		if own {
			bytes, err := a.ownFiles(ctx, c)
			if err != nil {
				return nil, 0, err
			}
			used[c.Name] += bytes
		}
		if volumes {
			bytes, err := a.logFiles(p.uid, c)
			if err != nil {
				return nil, 0, err
			}
			used[c.Name] += bytes
		}
	}
	return used, beside, nil
}

// isMoving reports whether containers of the pod run. It is for others than the pod's goroutine.
func (p *pod) isMoving() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(slices.Concat(p.status.InitContainers, p.status.Containers), func(c api.ContainerStatus) bool {
		return c.State == stateRunning
	})
}
