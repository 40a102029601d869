package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"syscall"
	"time"

	"headway.dev/headway/api"
	"headway.dev/headway/tenure"
)

// A guard keeps the node's right to run what must not run twice (see package tenure), and what follows from it: such pods
// start only while it lasts, and are stopped when it ends.
type guard struct {
	agent *Agent
	wake  signal // it may have changed
	urge  signal // a beat is wanted at once

	mu     sync.Mutex // the agent's goes before it
	keeper *tenure.Keeper
	saved  tenure.Kept // on disk
	lapsed bool        // pods are being kept stopped
	// refused is why the leader would not let such pods run, by its last answer.
	refused string
}

// A savedTenure is what is kept for one start of the machine.
type savedTenure struct {
	Boot string `json:"boot"`
	tenure.Run
}

func newGuard(a *Agent) *guard {
	return &guard{agent: a, wake: newSignal(), urge: newSignal(), keeper: tenure.NewKeeper(tenure.Kept{}, tenure.Run{}, a.config.Uptime(), 1)}
}

// restore goes on from where the daemon was before. What cannot be read is taken for a tenure that has ended.
func (g *guard) restore() {
	var kept tenure.Kept
	var run savedTenure
	for _, err := range []error{g.agent.disk.read(tenureFile, &kept), g.agent.disk.readRun(tenureFile, &run)} {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			g.agent.log.Error("the node's tenure cannot be read: what must not run twice waits for the leader", "error", err)
		}
	}
	if run.Boot != g.agent.config.Boot {
		run.Run = tenure.Run{}
	}
	now := g.agent.config.Uptime()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.saved = kept
	g.keeper = tenure.NewKeeper(kept, run.Run, now, uint64(time.Now().UnixNano()))
	g.lapsed = g.keeper.Lapsed(now)
}

// save writes what has changed. What is not written is forgotten by a restart, which ends tenure early; only of an answer
// that was forgotten the leader must not know.
func (g *guard) save(changed bool) {
	err := g.agent.disk.writeRun(tenureFile, savedTenure{g.agent.config.Boot, g.keeper.Run})
	if err != nil {
		g.keeper.Conceal()
	}
	if changed && g.saved != g.keeper.Kept {
		g.saved = g.keeper.Kept
		err = errors.Join(err, g.agent.disk.write(tenureFile, g.saved, false))
	}
	if err != nil {
		g.agent.log.Warn("the node's tenure cannot be written", "error", err)
	}
}

// beat gives signs of life until ctx is done.
func (g *guard) beat(ctx context.Context) {
	a := g.agent
	for {
		if err := a.config.Bus.Beat(ctx, g.nextBeat()); err != nil {
			a.log.Debug("a heartbeat did not go out", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-g.urge:
		case <-time.After(g.pace()):
		}
	}
}

// pace is how often the node beats.
func (g *guard) pace() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.keeper.Lease == 0 {
		return g.agent.config.Heartbeat
	}
	return min(g.agent.config.Heartbeat, tenure.Of(g.keeper.Lease).Beat)
}

func (g *guard) nextBeat() api.Heartbeat {
	mark := g.agent.mark()
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.keeper.Beat(api.Heartbeat{Node: g.agent.config.Info.Name}, mark, g.agent.config.Uptime())
}

// mark names the assignment in force.
func (a *Agent) mark() tenure.Mark {
	a.mu.Lock()
	defer a.mu.Unlock()
	return markOf(a.assignment)
}

// markOf names an assignment; nil is none.
func markOf(a *api.Assignment) tenure.Mark {
	if a == nil {
		return tenure.Mark{}
	}
	return tenure.Mark{Term: a.Term, Sequence: a.Sequence}
}

// watchGrants takes in the leader's answers until ctx is done.
func (g *guard) watchGrants(ctx context.Context) {
	g.agent.watch(ctx, "the leader's answers", func(ctx context.Context) error {
		g.urge.set()
		return g.agent.config.Bus.WatchGrants(ctx, g.agent.config.Info.Name, g.take)
	})
}

func (g *guard) take(grant api.Grant) {
	g.mu.Lock()
	before := g.keeper.Kept
	g.save(g.keeper.Take(grant, g.agent.config.Uptime()))
	refused := grant.Reason != g.refused && !grant.Held
	g.refused = grant.Reason
	news, voters := g.keeper.Kept != before, g.keeper.Voters != before.Voters
	g.mu.Unlock()
	if refused {
		g.agent.log.Warn("what must not run twice may not run here", "reason", grant.Reason)
	}
	if voters {
		g.agent.status.set()
	}
	if news {
		g.agent.wakeExclusive()
	}
	g.wake.set()
}

// permits reports whether a container may be started of a pod that must not run twice, and that came with an assignment.
func (g *guard) permits(since tenure.Mark) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.keeper.Holds(g.agent.config.Uptime()) && g.keeper.Confirms(since)
}

// grace is how long processes have to end once tenure has ended.
func (g *guard) grace() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return tenure.Of(g.keeper.Lease).Grace
}

func (g *guard) isLapsed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.lapsed
}

// voters is how many nodes this one counts in a vote.
func (g *guard) voters() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.keeper.Voters
}

// Vouches is what the node answers a peer that has lost the leader: whether it has too, or only just found one again.
func (a *Agent) Vouches() bool {
	a.guard.mu.Lock()
	defer a.guard.mu.Unlock()
	return a.guard.keeper.Vouches(a.config.Uptime())
}

// poll asks the peers while the leader is lost, until ctx is done.
func (g *guard) poll(ctx context.Context) {
	for pause(ctx, g.pace()) {
		asked := g.agent.config.Uptime()
		g.mu.Lock()
		asks, voters, patience := g.keeper.Asks(asked), g.keeper.Voters, tenure.Of(g.keeper.Lease).Extend/4
		g.mu.Unlock()
		if !asks || g.agent.config.Witnesses == nil {
			continue
		}
		asking, cancel := context.WithTimeout(ctx, patience)
		lost := g.agent.config.Witnesses.Ask(asking, g.agent.peers.list(), (voters+1)/2-1)
		cancel()
		g.mu.Lock()
		kept := g.keeper.Extend(asked, lost)
		g.save(false)
		g.mu.Unlock()
		g.agent.log.Info("the leader is silent, and the other nodes were asked", "lost it too", lost, "of", voters, "go on", kept)
		g.wake.set()
	}
}

// watch stops pods when tenure ends, and has them run again when there is one, until ctx is done.
func (g *guard) watch(ctx context.Context) {
	for {
		wait, kill := g.turn(g.agent.config.Uptime())
		if kill {
			g.agent.killExclusive(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-g.wake:
		case <-time.After(wait):
		}
	}
}

// turn does what is due by the tenure, and says when to look again, and whether all that still runs is to be killed.
func (g *guard) turn(now time.Duration) (wait time.Duration, kill bool) {
	g.mu.Lock()
	k := g.keeper
	lapsed, before := k.Lapsed(now), g.lapsed
	g.lapsed = lapsed
	times := tenure.Of(k.Lease)
	until, reason := k.Until, g.reason(now)
	wait = g.agent.config.Heartbeat
	switch {
	case lapsed:
		kill = now >= until+times.Grace
		wait = min(wait, max(until+times.Grace-now, times.Beat))
	case k.Lease > 0 && until > now:
		wait = min(wait, until-now)
	}
	g.mu.Unlock()
	if lapsed != before {
		g.agent.fence(lapsed, reason)
	}
	return wait, kill
}

// reason is why tenure has ended. The guard is locked.
func (g *guard) reason(now time.Duration) string {
	if g.refused != "" && !g.keeper.Lost(now) {
		return "the leader does not let what must not run twice run here: " + g.refused
	}
	return fmt.Sprintf("the leader has been silent for %s, and too few nodes have lost it too: others may run what must not run twice", g.keeper.Silence(now).Round(time.Second))
}

// fence stops the pods that must not run twice, or has them run again.
func (a *Agent) fence(stop bool, reason string) {
	kind, warn := "Fenced", warning
	if !stop {
		kind, warn, reason = "Unfenced", normal, "the leader says that what must not run twice may run here"
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	some := false
	for _, uid := range slices.Sorted(maps.Keys(a.pods)) {
		if p := a.pods[uid]; p.isExclusive() {
			some = true
			p.deliver(func(in *inbox) { in.fence, in.resume = stop, !stop })
		}
	}
	a.log.Warn("tenure", "ended", stop, "reason", reason)
	if some {
		a.event(kind, api.Ref{Kind: "Node", Name: a.config.Info.Name}, reason, "", warn)
	}
}

// wakeExclusive has the pods that must not run twice look whether they may be started.
func (a *Agent) wakeExclusive() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.pods {
		if p.isExclusive() {
			p.wake.set()
		}
	}
}

// killExclusive kills what must not run twice past the pods' own steps, one of which may hang.
func (a *Agent) killExclusive(ctx context.Context) {
	exclusive := map[string]bool{}
	a.mu.Lock()
	for uid, p := range a.pods {
		exclusive[uid] = p.isExclusive()
	}
	a.mu.Unlock()
	if !slices.Contains(slices.Collect(maps.Values(exclusive)), true) {
		return
	}
	containers, err := a.config.Runtime.Containers(ctx)
	if err != nil {
		a.log.Error("what must not run twice cannot be listed to be killed", "error", err)
		return
	}
	for _, c := range containers {
		if !exclusive[c.PodUID] || c.State != ContainerRunning {
			continue
		}
		if err := a.config.Runtime.Signal(ctx, c.ID, syscall.SIGKILL); err != nil {
			a.log.Error("what must not run twice cannot be killed", "container", c.ID, "error", err)
		}
		a.look.want(c.PodUID)
	}
}

// isExclusive reports whether the pod must not run twice.
func (p *pod) isExclusive() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status.Placement.Exclusive()
}

// isPermitted reports whether containers of the pod may be started.
func (p *pod) isPermitted() bool {
	return !p.record.Placement.Exclusive() || p.host.guard.permits(p.since)
}

// beginFence has the pod's processes end for as long as the node has no tenure.
func (p *pod) beginFence(now time.Time) {
	p.fenced = now
	clear(p.failures)
	p.event("Killing", "another node may run it: the leader has been silent for too long", warning)
}

// resumes reports whether a pod that was fenced is to begin anew, and nothing of it runs any more.
func (p *pod) resumes() bool {
	if !p.resume || p.fenced.IsZero() || !p.isInterrupted() || !p.shutdown.IsZero() {
		return false
	}
	for _, k := range p.known {
		if k.State == ContainerRunning {
			return false
		}
	}
	return true
}

// renew begins a pod anew that was fenced, as a restart of the daemon would.
func (a *Agent) renew(ctx context.Context, old *pod) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.newPod(old.record)
	p.known, p.since = old.known, old.since
	a.add(ctx, p)
	a.reconcile(ctx)
	a.look.want(p.uid)
}
