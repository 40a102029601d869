package node

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// An inventory is all that is on the machine, by pod.
type inventory struct {
	seen      listing
	records   map[string]*record // nil for a pod that has files but no record
	ips       map[string]string
	uids      []string // of all, in order
	container map[string][]Container
}

func (a *Agent) inventory(ctx context.Context) (inventory, error) {
	var inv inventory
	var err error
	if inv.seen, err = a.look.at(ctx, everyPod); err != nil {
		return inv, fmt.Errorf("list containers: %w", err)
	}
	sandboxes, err := a.config.Network.Sandboxes(ctx)
	if err != nil {
		return inv, fmt.Errorf("list sandboxes: %w", err)
	}
	volumes, err := a.config.Volumes.Pods(ctx)
	if err != nil {
		return inv, fmt.Errorf("list volumes: %w", err)
	}
	if inv.records, err = a.disk.records(); err != nil {
		a.log.Error("some of the inventory cannot be read: these pods are known by their containers' labels only", "error", err)
	}
	uids := map[string]bool{}
	inv.container, inv.ips = map[string][]Container{}, map[string]string{}
	for _, c := range inv.seen.containers {
		uids[c.PodUID] = true
		inv.container[c.PodUID] = append(inv.container[c.PodUID], c)
	}
	for _, s := range sandboxes {
		uids[s.UID] = true
		if s.IP.IsValid() {
			inv.ips[s.UID] = s.IP.String()
		}
	}
	for _, uid := range volumes {
		uids[uid] = true
	}
	for uid := range inv.records {
		uids[uid] = true
	}
	inv.uids = slices.Sorted(maps.Keys(uids))
	return inv, nil
}

// takeUp makes a pod of all that is on the machine, each to be run on or to be ended, and then starts what else is
// assigned.
func (a *Agent) takeUp(ctx context.Context) error {
	inv, err := a.inventory(ctx)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.holdDevices(inv)
	a.restoreIsolation(inv)
	for _, uid := range inv.uids {
		if a.pods[uid] == nil {
			a.take(ctx, inv, uid)
		}
	}
	a.reconcile(ctx)
	// Without a pod nobody else does what an agent left that was killed before it had pruned.
	a.pruneBlobs()
	a.status.set()
	return nil
}

// take adopts one pod. The agent is locked.
func (a *Agent) take(ctx context.Context, inv inventory, uid string) {
	kept := inv.records[uid]
	r := recordOf(uid, kept, inv.container[uid])
	if r.Placement.Node == "" {
		r.Placement.Node = a.config.Info.Name
	}
	if ip := inv.ips[uid]; ip != "" {
		r.IP = ip
	}
	p := a.newPod(r)
	p.see(inv.seen)
	p.since = markOf(a.assignment)
	runs := slices.ContainsFunc(inv.container[uid], func(c Container) bool { return c.State == ContainerRunning })
	if a.assignment == nil && kept == nil && !runs {
		// Nothing says what it is, and nothing of it runs: it was cut off while it was made or removed.
		p.stop("it was left half made", "")
	}
	a.add(ctx, p)
}

// recordOf gives what is kept of a pod; or else what its containers' labels say. Of its devices they always have the last
// word.
func recordOf(uid string, kept *record, containers []Container) record {
	var r record
	if kept != nil {
		r = *kept
		r.Devices = maps.Clone(r.Devices)
	}
	for _, c := range containers {
		if len(c.Devices) > 0 {
			if r.Devices == nil {
				r.Devices = map[string][]string{}
			}
			r.Devices[c.Name] = c.Devices
		}
	}
	if kept != nil {
		return r
	}
	r.Placement.UID = uid
	for _, c := range containers {
		r.Placement.Pod, r.Placement.Template = c.Pod, c.Template
		if c.State != ContainerRunning {
			continue
		}
		// Nobody remembers whether it was ready. It served until now, and goes on until a probe says otherwise.
		if r.Runs == nil {
			r.Runs = map[string]runNote{}
		}
		r.Runs[c.Name] = runNote{ID: c.ID, Ready: true, Begun: true, PostStart: true}
		if c.Started.After(r.Started) {
			r.Started, r.ReadySince = c.Started, c.Started
		}
	}
	return r
}

// tell hands a look to the pods that it concerns, and takes up containers of pods that nobody knows.
func (a *Agent) tell(ctx context.Context, seen listing) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for uid, p := range a.pods {
		if seen.pod == everyPod || seen.pod == uid {
			p.deliver(func(in *inbox) { in.seen = &seen })
		}
	}
	if seen.number <= a.forgotten {
		return // it may show what was just removed
	}
	strays := inventory{seen: seen, container: map[string][]Container{}}
	for _, c := range seen.containers {
		if a.pods[c.PodUID] == nil {
			strays.container[c.PodUID] = append(strays.container[c.PodUID], c)
		}
	}
	strays.uids = slices.Sorted(maps.Keys(strays.container))
	a.holdDevices(strays)
	for _, uid := range strays.uids {
		a.take(ctx, strays, uid)
		a.reconcile(ctx)
	}
}

// A run is one run of a container, for those who read its log.
type run struct {
	path    string
	began   time.Time
	attempt int
	over    bool
	ended   chan struct{}
}

func newRun(path string, k Container) *run {
	return &run{path: path, began: k.Started, attempt: k.Attempt, ended: make(chan struct{})}
}

// end tells the readers that nothing more comes. The pod is locked.
func (r *run) end() {
	if !r.over {
		r.over = true
		close(r.ended)
	}
}

// endRuns tells all readers.
func (p *pod) endRuns() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.runs {
		r.end()
	}
}
