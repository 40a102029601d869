package node

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"headway.dev/headway/api"
	"headway.dev/headway/tenure"
)

// A pod is the life of one pod on this machine. One goroutine moves it, a step at a time: it takes in what others left
// in its inbox, says how the pod is, does the first step that is due, and waits when none is.
type pod struct {
	uid  string
	host *Agent
	log  *slog.Logger
	wake signal

	// halt ends what brings the pod up, once it is told to end.
	halt   context.Context
	doHalt context.CancelFunc

	mu     sync.Mutex
	inbox  inbox
	status api.PodStatus               // as last computed
	blobs  []api.Digest                // content that the pod uses; nil while that is not known
	runs   map[string]*run             // the newest run of each container
	pulls  map[string]api.PullProgress // of images on their way, by container
	// importance is the pod's priority, once it is known.
	importance int32
	still      chan struct{} // closed when nothing of the pod runs any more, while the machine shuts down

	// What follows belongs to the pod's goroutine.

	record     record
	dirty      bool // record differs from the disk
	commit     string
	template   *api.PodTemplate
	configs    map[string]api.ConfigData
	rekeyed    bool            // what is sealed to the node's new key may not be on disk yet
	nextLive   *api.LiveConfig // what changes in place comes to be this; nil: it is as the record's placement says
	updated    bool            // the files that change in place are known to be those of the record's placement
	sandbox    *Sandbox
	mounts     map[string]string    // paths of volumes by name
	containers []*container         // in the order of the spec; nil until the template is known
	known      map[string]Container // what is on the machine, by ID
	changed    uint64               // the number of the newest look that had begun when the pod last made, started or removed a container
	failures   map[failing]*failure
	told       map[string]bool // containers that no run of the spec's is, and that were told to end, by ID
	killed     map[string]bool // containers that were killed, by ID
	taken      map[string]bool // containers that somebody else took away, by ID
	rebooted   bool            // the machine was started anew since the pod last ran
	lacking    string          // what the newest pull lacked of the pull secrets
	recalled   bool
	rested     bool
	shutdown   time.Time   // since when the machine shuts down; zero: it does not
	fenced     time.Time   // since when the node may not run it; zero: it may
	resume     bool        // it is to run again when it has been stopped for that
	renewed    bool        // this is done: another goroutine begins it anew
	since      tenure.Mark // the assignment that it came with, as far as this agent knows
	empty      bool        // no container of it is left
	unmounted  bool
	detached   bool
	gone       bool
	beside     sync.WaitGroup // what goes on beside the pod's own steps: probes, hooks, pulls
	slot       chan struct{}  // held while a container is made and started

	shutdownGrace time.Duration // as in the inbox
}

// An inbox is what others leave for the pod's goroutine to take in.
type inbox struct {
	placement *api.Placement
	stop      string // why the pod is to end; empty: it is not
	commit    string // that says so
	seen      *listing
	probes    []probeResult
	hooks     []hookResult
	pulls     []pullResult
	shutdown  bool
	fence     bool // the node may not run it now
	resume    bool // the node may run it again
	evict     eviction
	again     bool // the bus is there again
	devices   bool // devices came, or others were freed
	// shutdownGrace bounds how long the pod may take to end with the machine; negative: only its own grace does.
	shutdownGrace time.Duration
}

// trouble is why a pod or container makes no progress.
type trouble struct{ reason, message string }

func (a *Agent) newPod(r record) *pod {
	rebooted := r.Boot != "" && r.Boot != a.config.Boot
	r.reboot(a.config.Boot)
	if r.Created.IsZero() {
		r.Created = time.Now()
	}
	p := &pod{
		uid: r.Placement.UID, host: a, wake: newSignal(), record: r, commit: r.Placement.Commit,
		log:   a.log.With("pod", r.Placement.Pod.String(), "uid", r.Placement.UID),
		known: map[string]Container{}, runs: map[string]*run{}, pulls: map[string]api.PullProgress{}, told: map[string]bool{}, killed: map[string]bool{}, taken: map[string]bool{}, rebooted: rebooted, still: make(chan struct{}), failures: map[failing]*failure{}, dirty: true,
	}
	p.halt, p.doHalt = context.WithCancel(context.Background())
	if p.isClosing() {
		p.doHalt()
	}
	if r.Outcome.Phase != "" {
		// Not for a moment does it look as if the pod had no containers: how they ended may be asked for.
		p.remember()
		p.blobs = []api.Digest{r.Placement.Template}
	}
	if r.Cleared {
		p.empty, p.unmounted, p.detached = true, true, true
	}
	return p
}

// run moves the pod until it is gone or ctx is done.
func (p *pod) run(ctx context.Context) {
	defer p.doHalt()
	defer p.release()
	ctx, cancel := context.WithCancel(ctx)
	defer p.beside.Wait()
	defer cancel()
	defer p.endRuns()
	defer func() {
		if (p.gone || p.renewed) && !p.rested {
			close(p.still)
		}
	}()
	for ctx.Err() == nil {
		now := time.Now()
		p.absorb(now)
		p.supervise(ctx)
		p.publish()
		if p.gone {
			return
		}
		p.keep()
		p.rests()
		if p.renewed = p.resumes(); p.renewed {
			return
		}
		action, due := p.next(now)
		if !due {
			p.release()
			p.rest(ctx, now)
			continue
		}
		if p.acquire(ctx, action) {
			p.do(ctx, action)
		}
	}
}

// do carries out one action, and remembers how it failed.
func (p *pod) do(ctx context.Context, a action) {
	err := a.step.do(p, ctx, a.target)
	switch {
	case err == nil:
		if !a.step.begins {
			p.succeeded(a)
		}
	case ctx.Err() != nil:
	case p.halt.Err() != nil && !p.isClosing():
		// It was cut off because the pod is to end.
	default:
		p.fail(a.step.name, a.step.reason, a.target, err)
	}
}

// rest waits until there is something to take in, or until time alone makes a step due.
func (p *pod) rest(ctx context.Context, now time.Time) {
	var alarm <-chan time.Time
	if at := p.alarm(now); !at.IsZero() {
		timer := time.NewTimer(at.Sub(now))
		defer timer.Stop()
		alarm = timer.C
	}
	select {
	case <-ctx.Done():
	case <-p.wake:
	case <-alarm:
	}
}

// acquire takes the slot that the action needs, and gives back one that it does not. It reports false if something came
// in first that may make another action due.
func (p *pod) acquire(ctx context.Context, a action) bool {
	slots := a.step.slots(p.host)
	if p.slot == slots {
		return true
	}
	p.release()
	if slots == nil {
		return true
	}
	select {
	case slots <- struct{}{}:
		p.slot = slots
		return true
	case <-p.wake:
	case <-ctx.Done():
	}
	return false
}

func (p *pod) release() {
	if p.slot != nil {
		<-p.slot
		p.slot = nil
	}
}

// deliver leaves something in the inbox.
func (p *pod) deliver(leave func(*inbox)) {
	p.mu.Lock()
	leave(&p.inbox)
	if p.inbox.stop != "" || p.inbox.shutdown || p.inbox.fence {
		p.doHalt()
	}
	p.mu.Unlock()
	p.wake.set()
}

// stop tells the pod to end, for good.
func (p *pod) stop(reason, commit string) {
	p.deliver(func(in *inbox) {
		if in.stop == "" {
			in.stop, in.commit = reason, commit
		}
	})
}

// absorb takes in the inbox.
func (p *pod) absorb(now time.Time) {
	p.mu.Lock()
	in := p.inbox
	p.inbox = inbox{stop: in.stop, commit: in.commit, shutdown: in.shutdown, shutdownGrace: in.shutdownGrace}
	p.mu.Unlock()
	if in.placement != nil {
		p.takePlacement(*in.placement)
	}
	for _, step := range []string{stepFetch, stepUnseal, stepUpdate} {
		if f := p.failures[failing{step: step}]; f != nil && in.again {
			f.until = time.Time{}
		}
	}
	for _, f := range p.failures {
		if in.devices && f.reason == reasonNoDevice {
			f.until = time.Time{}
		}
	}
	if in.seen != nil {
		p.see(*in.seen)
	}
	for _, r := range in.probes {
		p.probed(r, now)
	}
	for _, r := range in.hooks {
		p.hooked(r, now)
	}
	for _, r := range in.pulls {
		p.pulled(r)
	}
	if in.stop != "" && p.record.Stopping.IsZero() {
		p.beginStop(now, in.stop, in.commit)
	}
	if in.shutdown && p.shutdown.IsZero() {
		p.beginShutdown(now, in.shutdownGrace)
	}
	p.resume = in.resume || p.resume && !in.fence
	if in.fence && p.fenced.IsZero() {
		p.beginFence(now)
	}
	for _, c := range p.containers {
		p.settle(c, now)
	}
	p.initialize(now)
	p.evicted(in.evict, now)
	p.decide(now)
	p.closeRuns()
}

// see compares what a look saw with what the pod knows. A look that began before the pod's last own change may show an
// older state: from it only the states of containers that both know are taken, and only forwards.
func (p *pod) see(seen listing) {
	current := seen.number > p.changed
	listed := map[string]bool{}
	for _, c := range seen.containers {
		if c.PodUID != p.uid {
			continue
		}
		listed[c.ID] = true
		have, known := p.known[c.ID]
		if !known && current {
			p.empty = false
		}
		if known && current && have.State == ContainerRunning && c.State == ContainerCreated {
			p.vanish(have) // somebody took its process away, and left the rest
			continue
		}
		if known && c.State.rank() >= have.State.rank() || !known && current {
			p.known[c.ID] = c
		}
	}
	for id, c := range p.known {
		if current && !listed[id] && c.State != ContainerExited {
			p.vanish(c)
		}
	}
	p.adopt()
}

// vanish takes in that somebody took a container away. What is left of it is that it has ended.
func (p *pod) vanish(c Container) {
	p.taken[c.ID] = true
	c.State, c.PID, c.ExitCode, c.Finished = ContainerExited, 0, exitUnknown, time.Now()
	p.known[c.ID] = c
}

// exitUnknown is the exit code of a container that vanished, as Kubernetes gives it.
const exitUnknown = 137

// rank orders the states of a container: none goes back.
func (s ContainerState) rank() int {
	return slices.Index([]ContainerState{ContainerCreated, ContainerRunning, ContainerExited}, s)
}

// publish says how the pod is, if that is news.
func (p *pod) publish() {
	status := p.describe()
	p.mu.Lock()
	news := !equalStatus(p.status, status)
	p.status = status
	p.mu.Unlock()
	if news {
		p.host.status.set()
	}
}

// keep writes the record, if it changed. That it cannot be written is no reason to stop: the node knows less after a
// restart.
func (p *pod) keep() {
	if !p.dirty || p.record.Placement.UID == "" {
		return
	}
	if err := p.host.disk.saveRecord(p.record); err != nil {
		p.log.Error("the pod's record cannot be written", "error", err)
		return
	}
	p.dirty = false
}
