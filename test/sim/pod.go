package sim

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
	"headway.dev/headway/tenure"
)

// A pod is one on a simulated machine. It has a single container. Its process lives and dies by itself; all else is done
// by the daemon, when there is one.
type pod struct {
	machine   *machine
	placement api.Placement
	dice      dice
	image     string // known once the template was fetched
	restart   corev1.RestartPolicy

	phase    api.PodPhase
	stopping bool
	fenced   bool        // its node may not run it
	cameWith tenure.Mark // the assignment
	told     bool        // it was sent SIGTERM
	ip       string
	created  time.Time // by the machine's clock, as the next two
	started  time.Time
	finished time.Time

	running  bool
	ready    bool
	since    time.Time // ready since, by the machine's clock
	ran      time.Time // when the process began
	exit     int       // how it ended
	exited   bool      // it ended, and the daemon does not know yet
	starts   int       // of the container, ever
	fetchAt  time.Time // when the daemon goes on with it
	startAt  time.Time
	readyAt  time.Time
	exitAt   time.Time // when the process ends by itself; zero is never
	wakeSent time.Time
}

func newPod(m *machine, placement api.Placement) *pod {
	p := &pod{machine: m, placement: placement, phase: api.PodPending, created: m.clock()}
	p.dice = m.world.chance.roll("pod " + placement.UID + " on " + m.name)
	p.fetchAt = time.Now().Add(p.dice.between(time.Millisecond, 50*time.Millisecond))
	return p
}

// advance takes every step that is due, and comes back when the next is.
func (p *pod) advance() {
	m := p.machine
	if !m.up || m.pods[p.placement.UID] != p {
		return
	}
	now := time.Now()
	if p.running && passed(p.exitAt, now) {
		p.end(p.exitCode())
	}
	if m.daemon {
		for p.step(now) {
			m.changed()
		}
	}
	p.sleep(now)
}

func passed(t, now time.Time) bool { return !t.IsZero() && !now.Before(t) }

// step is one step of the daemon. It reports whether there was one to take.
func (p *pod) step(now time.Time) bool {
	m := p.machine
	switch {
	case p.exited:
		p.observeEnd(now)
	case p.stopping && !p.running:
		delete(m.pods, p.placement.UID)
		m.world.note("%s: %s is gone", m.name, describe(p.placement))
		m.changed()
		return false
	case p.stopping && !p.told:
		p.told = true
		m.world.checkEnding(p)
		p.exitAt = now.Add(p.dice.between(0, 3*time.Second))
	case p.fenced:
		return false
	case p.stopping || p.phase == api.PodSucceeded || p.phase == api.PodFailed:
		return false
	case p.image == "":
		if now.Before(p.fetchAt) {
			return false
		}
		return p.fetch(now)
	case !p.running:
		if now.Before(p.startAt) {
			return false
		}
		if p.placement.Exclusive() && (!m.keeper.Holds(m.uptime()) || !m.keeper.Confirms(p.cameWith)) {
			p.startAt = now.Add(heartbeat)
			return false
		}
		p.start(now)
	case !p.ready && passed(p.readyAt, now):
		p.ready, p.since = true, m.clock()
	default:
		return false
	}
	return true
}

// sleep asks to be woken when the next step is due.
func (p *pod) sleep(now time.Time) {
	if p.machine.pods[p.placement.UID] != p {
		return
	}
	var due time.Time
	for _, t := range []time.Time{p.fetchAt, p.startAt, p.readyAt, p.exitAt} {
		if t.After(now) && (due.IsZero() || t.Before(due)) {
			due = t
		}
	}
	if due.IsZero() || due.Equal(p.wakeSent) {
		return
	}
	p.wakeSent = due
	p.machine.world.after(due.Sub(now), p.advance)
}

// fetch gets the template and what it needs. What the store lacks may come yet.
func (p *pod) fetch(now time.Time) bool {
	w := p.machine.world
	t, ok := w.templates[p.placement.Template]
	store := w.store.blobs
	ok = ok && store[p.placement.Template] != nil
	if ok {
		for _, d := range t.ConfigMaps {
			ok = ok && store[d] != nil
		}
	}
	if !ok || !p.machine.connected() {
		p.fetchAt = now.Add(time.Second)
		return false
	}
	p.image, p.restart = t.Spec.Containers[0].Image, t.Spec.RestartPolicy
	p.startAt = now.Add(p.dice.between(10*time.Millisecond, time.Second))
	return true
}

// start starts the process.
func (p *pod) start(now time.Time) {
	m := p.machine
	m.world.checkStart(p)
	p.running, p.exited, p.ran = true, false, now
	p.starts++
	p.phase = api.PodRunning
	if p.started.IsZero() {
		p.started = m.clock()
	}
	if p.ip == "" {
		m.next++
		p.ip = fmt.Sprintf("10.244.%s.%d", strings.TrimPrefix(m.name, "n"), m.next)
	}
	p.readyAt, p.exitAt = now.Add(p.dice.between(0, 500*time.Millisecond)), time.Time{}
	switch {
	case p.restart == corev1.RestartPolicyNever:
		p.exitAt = now.Add(p.dice.between(500*time.Millisecond, 8*time.Second))
	case strings.HasSuffix(p.image, broken):
		p.readyAt, p.exitAt = time.Time{}, now.Add(p.dice.between(10*time.Millisecond, time.Second))
	case strings.HasSuffix(p.image, never):
		p.readyAt = time.Time{}
	case strings.HasSuffix(p.image, slow):
		p.readyAt = now.Add(p.dice.between(5*time.Second, 15*time.Second))
	}
	m.world.note("%s: %s runs %s", m.name, describe(p.placement), p.image)
}

// exitCode is how the process ends by itself.
func (p *pod) exitCode() int {
	switch {
	case p.stopping:
		return 143
	case strings.HasSuffix(p.image, broken), strings.HasSuffix(p.image, flaky) && p.dice.percent(40):
		return 1
	}
	return 0
}

// end ends the process. The daemon notices when it can.
func (p *pod) end(code int) {
	p.running, p.exited, p.exit = false, true, code
	p.exitAt = time.Time{}
	p.machine.world.checkEnd(p)
}

// fail ends the process as if by a fault of its own.
func (p *pod) fail() {
	if !p.running {
		return
	}
	p.machine.world.note("fault: %s on %s crashes", describe(p.placement), p.machine.name)
	p.end(137)
	p.advance()
}

// killed is what becomes of a pod when its machine dies.
func (p *pod) killed() {
	p.wakeSent = time.Time{}
	if p.running {
		p.end(137)
	}
	p.ready = false
}

// observeEnd takes in that the process ended.
func (p *pod) observeEnd(now time.Time) {
	p.exited, p.ready = false, false
	p.finished = p.machine.clock()
	switch {
	case p.stopping:
	case p.restart == corev1.RestartPolicyNever && p.exit == 0:
		p.phase = api.PodSucceeded
	case p.restart == corev1.RestartPolicyNever:
		p.phase = api.PodFailed
	default:
		p.startAt = now.Add(min(30*time.Second, time.Second<<min(p.starts, 5)))
	}
}

// stop has the pod end, for it is not assigned any more.
func (p *pod) stop() {
	if p.stopping {
		return
	}
	p.stopping, p.phase, p.ready = true, api.PodStopping, false
	p.machine.changed()
	p.advance()
}

// fence stops the process, which has its grace.
func (p *pod) fence() {
	p.fenced, p.ready = true, false
	if p.running {
		at := time.Now().Add(p.dice.between(0, tenure.Of(failover).Grace))
		if p.exitAt.IsZero() || at.Before(p.exitAt) {
			p.exitAt = at
		}
	}
	p.machine.changed()
	p.advance()
}

// unfence has it run again.
func (p *pod) unfence() {
	p.fenced = false
	p.startAt = time.Now().Add(p.dice.between(10*time.Millisecond, time.Second))
	p.machine.changed()
	p.advance()
}

// status is the pod as its node reports it.
func (p *pod) status() api.PodStatus {
	s := api.PodStatus{
		Placement: p.placement, Phase: p.phase, IP: p.ip, Ready: p.ready, Created: p.created, Started: p.started,
	}
	if p.ready {
		s.ReadySince = p.since
	}
	c := api.ContainerStatus{Name: "main", Image: p.image, State: "waiting", Reason: "ContainerCreating", Restarts: max(0, p.starts-1), Ready: p.ready}
	switch {
	case p.running || p.exited:
		c.State, c.Reason, c.Started = "running", "", p.started
	case p.phase == api.PodSucceeded || p.phase == api.PodFailed:
		c.State, c.ExitCode, c.Started, c.Finished = "terminated", p.exit, p.started, p.finished
		c.Reason = map[bool]string{true: "Completed", false: "Error"}[p.exit == 0]
		s.Finished = p.finished
	case p.starts > 0:
		c.Reason = "CrashLoopBackOff"
		c.LastState = &api.ContainerEnd{Reason: "Error", ExitCode: p.exit, Finished: p.finished}
		s.Reason = c.Reason
	}
	s.Containers = []api.ContainerStatus{c}
	return s
}
