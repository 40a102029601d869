package controller

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"headway.dev/headway/api"
)

// A machine is a node that runs its pods in no time: what it is assigned is ready at once, and what it is not is gone.
type machine struct {
	bus     *fakeBus
	info    api.NodeInfo
	pods    map[string]api.PodStatus
	claims  []api.HeldClaim // with declared volumes
	given   api.Assignment  // the newest taken up
	started []string        // every start of a pod, ever
	next    int             // of the addresses
	slow    bool            // what it starts does not get ready
	deaf    bool            // it does not acknowledge routes
	cut     bool            // nothing reaches it, nothing comes from it
	untold  bool            // it took up an assignment and has not reported since
	away    bool            // it was cut off, and has not obeyed since
	peers   []*machine      // whose routes must be without a pod that ends, where the test runs by hand
	mu      sync.Mutex
}

func newMachine(bus *fakeBus, name string) *machine {
	index := strings.TrimPrefix(name, "n")
	return &machine{
		bus: bus, pods: map[string]api.PodStatus{},
		info: api.NodeInfo{
			Name: name, PodCIDR: "10.244." + index + ".0/24", Addresses: []string{"10.0.0." + index},
			Allocatable: api.Resources{MilliCPU: 4000, Memory: 1 << 30}, MaxPods: 100, SealKey: "key of " + name,
		},
	}
}

// join tells the bus of the machine and of what it runs.
func (m *machine) join(now time.Time) {
	m.bus.mu.Lock()
	m.bus.nodes[m.info.Name] = m.info
	m.bus.mu.Unlock()
	m.report(now)
}

// obey takes up the newest assignment and the newest routes. It reports whether anything changed.
func (m *machine) obey(now time.Time) bool {
	m.bus.mu.Lock()
	_, joined := m.bus.nodes[m.info.Name]
	revision, complete, acked := m.bus.revision, m.bus.complete, m.bus.acks[m.info.Name].Revision
	m.bus.mu.Unlock()
	changed := !joined
	if !joined { // the store was lost
		m.bus.mu.Lock()
		m.bus.nodes[m.info.Name] = m.info
		m.bus.mu.Unlock()
	}
	changed = m.takeUp(now) || changed || m.untold
	for uid, p := range m.pods {
		if !m.slow && !p.Ready && p.Phase == api.PodRunning {
			p.Ready, p.ReadySince, changed = true, now, true
			m.pods[uid] = p
		}
	}
	if changed {
		m.report(now)
	}
	if !m.deaf && complete && revision != acked {
		_ = m.bus.write("ack", "", func() error {
			m.bus.acks[m.info.Name] = api.Ack{Node: m.info.Name, Revision: revision}
			return nil
		})
		changed = true
	}
	m.away = false
	return changed
}

// takeUp takes up the newest assignment, if there is one that it has not.
func (m *machine) takeUp(now time.Time) bool {
	m.bus.mu.Lock()
	a, ok := m.bus.assignments[m.info.Name]
	m.bus.mu.Unlock()
	if !ok || cmp.Or(cmp.Compare(a.Term, m.given.Term), cmp.Compare(a.Sequence, m.given.Sequence)) <= 0 {
		return false
	}
	m.given, m.untold = a, true
	m.take(a, now)
	return true
}

// take makes the pods those of the assignment.
func (m *machine) take(a api.Assignment, now time.Time) {
	assigned := map[string]bool{}
	for _, p := range a.Pods {
		assigned[p.UID] = true
		known, ok := m.pods[p.UID]
		if !ok || !p.Live.Same(known.Placement.Live) {
			m.checkStored(p)
		}
		if ok {
			known.Placement = p
			m.pods[p.UID] = known
			continue
		}
		m.next++
		m.started = append(m.started, describePod(p))
		m.bindClaims(p, now)
		m.pods[p.UID] = api.PodStatus{
			Placement: p, Phase: api.PodRunning, Started: now,
			IP: fmt.Sprintf("10.244.%s.%d", strings.TrimPrefix(m.info.Name, "n"), m.next),
		}
	}
	for uid, p := range m.pods {
		if !assigned[uid] {
			m.bus.checkDrained(p, m.info.Name, m.peers)
			delete(m.pods, uid)
		}
	}
}

// checkStored asks that a machine can have what changes in place.
func (m *machine) checkStored(p api.Placement) {
	m.bus.mu.Lock()
	defer m.bus.mu.Unlock()
	for _, d := range p.Live.Blobs() {
		if m.bus.blobs[d] == nil {
			m.bus.misdeeds = append(m.bus.misdeeds, describePod(p)+" is to have a blob that is not stored: "+d.Short())
		}
	}
}

// end ends a pod as if by itself.
func (m *machine) end(name string, phase api.PodPhase, now time.Time) {
	for uid, p := range m.pods {
		if p.Placement.Owner.Name+describeSlot(p.Placement) == name {
			p.Phase, p.Ready = phase, false
			m.pods[uid] = p
			m.report(now)
		}
	}
}

// report tells the bus of every pod.
func (m *machine) report(now time.Time) {
	m.untold = false
	status := api.NodeStatus{Node: m.info.Name, Time: now, Term: m.given.Term, Sequence: m.given.Sequence, Pods: []api.PodStatus{}, Jobs: m.given.Jobs, Claims: m.claims}
	for _, p := range m.pods {
		status.Pods = append(status.Pods, p)
	}
	slices.SortFunc(status.Pods, func(a, b api.PodStatus) int { return a.Placement.Pod.Compare(b.Placement.Pod) })
	_ = m.bus.write("status", "", func() error { m.bus.statuses[m.info.Name] = status; return nil })
}

// run is the machine's life until ctx is done.
func (m *machine) run(ctx context.Context, heartbeat time.Duration) {
	m.join(time.Now())
	turns := make(chan struct{}, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = m.bus.turn.watch(ctx, func(int) {
			select {
			case turns <- struct{}{}:
			default:
			}
		})
	}()
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			<-done
			return
		case <-turns:
		case <-beat.C:
			m.do(func() {
				if !m.cut {
					m.bus.beat(api.Heartbeat{Node: m.info.Name, Term: m.given.Term})
				}
			})
		}
		m.do(func() {
			if !m.cut {
				m.obey(time.Now())
			}
		})
	}
}

// do looks at a running machine, or changes it.
func (m *machine) do(fn func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	fn()
}

// String lists what runs.
func (m *machine) String() string {
	var pods []string
	for _, p := range m.pods {
		s := describePod(p.Placement)
		if !p.Ready {
			s += "!"
		}
		pods = append(pods, s)
	}
	slices.Sort(pods)
	return fmt.Sprintf("%s: [%s]", m.info.Name, strings.Join(pods, " "))
}
