package sim

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"headway.dev/headway/api"
	"headway.dev/headway/tenure"
)

// A machine is a simulated node: a machine with its runtime and its kernel, and the daemon that drives it. It obeys by the
// rules of package node: it refuses assignments older than the one it obeys, keeps its inventory on its own disk, reports
// every pod as a whole set, and acknowledges the routes that its kernel has.
type machine struct {
	world *world
	name  string
	info  api.NodeInfo
	skew  time.Duration // of its clock
	slow  time.Duration // how long its kernel takes for routes

	up     bool // the machine is; pods die with it
	daemon bool // the node's daemon is: pods run on without it
	cut    int  // faults that cut it off
	side   int  // which side of a parted network it is on, while it is cut off
	since  time.Time

	// On its disk.
	assignment *api.Assignment
	pods       map[string]*pod
	saved      api.RouteTable
	kept       tenure.Kept
	run        tenure.Run // in memory that outlives the daemon
	peers      map[string]bool

	keeper  *tenure.Keeper
	lapsed  bool
	kernel  api.RouteTable // the routes in force
	ack     api.Ack        // what was last said; zero is nothing
	status  api.NodeStatus
	dirty   bool // a status is about to be put
	last    time.Time
	session int // counts the lives of its daemon and of its connection: what belongs to an earlier one is dropped
	next    int // of the addresses
	boots   int
}

func newMachine(w *world, index int) *machine {
	name := fmt.Sprintf("n%d", index)
	room := api.Resources{MilliCPU: 16000, Memory: 8 << 30}
	return &machine{
		world: w, name: name, pods: map[string]*pod{}, peers: map[string]bool{}, keeper: tenure.NewKeeper(tenure.Kept{}, tenure.Run{}, 0, 1),
		info: api.NodeInfo{
			Name: name, PodCIDR: fmt.Sprintf("10.244.%d.0/24", index), Addresses: []string{fmt.Sprintf("10.0.0.%d", index)},
			Capacity: room, Allocatable: room, MaxPods: 110, OS: "linux", Arch: "amd64", SealKey: "key of " + name,
		},
	}
}

// clock is what the machine takes for the time.
func (m *machine) clock() time.Time { return time.Now().Add(m.skew) }

// connected reports whether the daemon can reach the bus.
func (m *machine) connected() bool { return m.up && m.daemon && m.cut == 0 }

// boot turns the machine on. Pods that ran when it died begin anew, but for those that run only once.
func (m *machine) boot() {
	if m.up {
		return
	}
	m.up = true
	m.boots++
	m.kernel = api.RouteTable{}
	m.run = tenure.Run{}
	m.startDaemon()
}

// die turns the machine off, at once.
func (m *machine) die() {
	if !m.up {
		return
	}
	m.up, m.daemon = false, false
	m.session++
	m.since = time.Now()
	for _, p := range m.sorted() {
		p.killed()
	}
}

// wipe is a machine whose disk is lost: it comes back as one that has never run anything.
func (m *machine) wipe() {
	m.assignment, m.pods, m.saved = nil, map[string]*pod{}, api.RouteTable{}
	m.kept, m.peers = tenure.Kept{}, map[string]bool{}
	m.ack, m.status = api.Ack{}, api.NodeStatus{}
}

func (m *machine) startDaemon() {
	if !m.up || m.daemon {
		return
	}
	m.daemon = true
	m.since = time.Now()
	if len(m.kernel.Routes) == 0 {
		m.kernel = m.saved // acknowledged to nobody: who waits, waits for a table of now
	}
	m.ack, m.status = api.Ack{}, api.NodeStatus{}
	m.keeper = tenure.NewKeeper(m.kept, m.run, m.uptime(), uint64(m.session)<<32)
	m.lapsed = false
	m.guard()
	m.connect()
	m.reconcile()
	for _, p := range m.sorted() {
		p.advance()
	}
	m.changed()
	m.beat(m.session)
}

func (m *machine) stopDaemon() {
	m.daemon = false
	m.session++
	m.since = time.Now()
}

// disconnect cuts the machine off; several faults may.
func (m *machine) disconnect(side int) {
	m.cut++
	m.side = side
	m.since = time.Now()
}

// heal ends one cut.
func (m *machine) heal() {
	m.cut--
	m.since = time.Now()
	if m.connected() {
		m.connect()
	}
}

// connect says all levels again and reads those that the machine follows.
func (m *machine) connect() {
	if !m.connected() {
		return
	}
	m.sayAgain()
	d := m.world.chance.roll("connect " + m.name)
	m.arrive(d.between(time.Millisecond, 500*time.Millisecond), func() {
		if a, ok := valueOf[api.Assignment](m.world.store, inAssignments, m.name); ok {
			m.obey(a)
		}
	})
	m.arrive(d.between(time.Millisecond, 500*time.Millisecond), func() {
		if table := m.world.store.table(); table.Revision != 0 {
			m.apply(table)
		}
	})
}

// sayAgain puts what the machine has said before, for a bus that may have lost it.
func (m *machine) sayAgain() {
	m.put(inNodes, m.info)
	if m.status.Node != "" {
		m.put(inStatuses, m.status)
	}
	if m.ack.Node != "" {
		m.put(inAcks, m.ack)
	}
}

// put sends a level to the store. If it does not get there it is tried again; a new connection says all again anyway.
func (m *machine) put(bucket string, value any) {
	if !m.connected() {
		return
	}
	w := m.world
	d := w.chance.roll("put " + m.name + " " + bucket)
	if d.percent(w.weather.lost) {
		session := m.session
		w.after(patience, func() {
			if m.session != session {
				return
			}
			switch bucket { // the newest, for another may have followed
			case inNodes:
				m.put(bucket, m.info)
			case inStatuses:
				m.put(bucket, m.status)
			case inAcks:
				m.put(bucket, m.ack)
			}
		})
		return
	}
	at := time.Now().Add(w.weather.latency(d))
	if at.Before(m.last) {
		at = m.last // one connection keeps its order
	}
	m.last = at
	w.after(time.Until(at), func() {
		if m.cut == 0 && m.up {
			w.put(bucket, m.name, value)
		}
	})
}

// beat gives signs of life as long as the daemon lives.
func (m *machine) beat(session int) {
	if m.session != session || !m.daemon {
		return
	}
	m.guard()
	if b := m.keeper.Beat(api.Heartbeat{Node: m.name}, m.mark(), m.uptime()); m.connected() {
		m.learnPeers()
		for _, c := range m.world.conns() {
			c.beat(b)
		}
	}
	m.world.after(heartbeat, func() { m.beat(session) })
}

// arrive has something come to the daemon after a while, if it is still connected then.
func (m *machine) arrive(wait time.Duration, do func()) {
	session := m.session
	m.world.after(wait, func() {
		if m.connected() && m.session == session {
			do()
		}
	})
}

// assigned brings the machine an assignment that was stored.
func (m *machine) assigned(a api.Assignment) {
	d := m.world.chance.roll("assigned " + m.name)
	if d.percent(m.world.weather.lost) {
		m.arrive(recheck, func() {
			if a, ok := valueOf[api.Assignment](m.world.store, inAssignments, m.name); ok {
				m.obey(a)
			}
		})
		return
	}
	for range 1 + d.pick01(m.world.weather.doubled) {
		m.arrive(m.world.weather.latency(d), func() { m.obey(a) })
	}
}

// obey takes up an assignment unless it is older than the one in force.
func (m *machine) obey(a api.Assignment) {
	if last := m.assignment; last != nil {
		if a.Term < last.Term || a.Term == last.Term && a.Sequence < last.Sequence {
			m.world.note("%s refuses an assignment of term %d.%d: it obeys %d.%d", m.name, a.Term, a.Sequence, last.Term, last.Sequence)
			m.changed()
			return
		}
		if a.Term == last.Term && a.Sequence == last.Sequence {
			m.changed()
			return
		}
	}
	m.world.checkObeyed(m, a)
	m.assignment = &a
	m.reconcile()
	m.changed()
}

// reconcile starts what is assigned and not there, and stops what is there and not assigned.
func (m *machine) reconcile() {
	if m.assignment == nil {
		return
	}
	assigned := map[string]bool{}
	for _, placement := range m.assignment.Pods {
		assigned[placement.UID] = true
		if p := m.pods[placement.UID]; p != nil {
			p.placement = placement
			continue
		}
		p := newPod(m, placement)
		p.cameWith = m.mark()
		m.pods[placement.UID] = p
		p.advance()
	}
	for _, p := range m.sorted() {
		if !assigned[p.placement.UID] {
			p.stop()
		}
	}
}

// sorted are the pods by ref and UID.
func (m *machine) sorted() []*pod {
	return slices.SortedFunc(maps.Values(m.pods), func(a, b *pod) int {
		if c := a.placement.Pod.Compare(b.placement.Pod); c != 0 {
			return c
		}
		if a.placement.UID < b.placement.UID {
			return -1
		}
		return 1
	})
}

// changed has the status reported.
func (m *machine) changed() {
	if m.dirty || !m.daemon {
		return
	}
	m.dirty = true
	session := m.session
	m.world.after(time.Millisecond, func() {
		m.dirty = false
		if m.session != session || !m.daemon {
			return
		}
		m.status = m.report()
		m.put(inStatuses, m.status)
	})
}

// report is the state of every pod.
func (m *machine) report() api.NodeStatus {
	s := api.NodeStatus{Node: m.name, Time: m.clock(), Pods: []api.PodStatus{}, Voters: m.keeper.Voters}
	if a := m.assignment; a != nil {
		s.Term, s.Sequence, s.Jobs = a.Term, a.Sequence, a.Jobs
	}
	for _, p := range m.sorted() {
		s.Pods = append(s.Pods, p.status())
	}
	return s
}

// hearRoutes brings the machine a whole table.
func (m *machine) hearRoutes(table api.RouteTable) {
	d := m.world.chance.roll("routes " + m.name)
	wait := m.world.weather.latency(d) + m.slow
	if d.percent(m.world.weather.lost) {
		m.arrive(wait+recheck, func() {
			if table := m.world.store.table(); table.Revision != 0 {
				m.apply(table)
			}
		})
		return
	}
	m.arrive(wait, func() { m.apply(table) })
}

// apply makes a table the kernel's, unless it has a later one, and acknowledges it.
func (m *machine) apply(table api.RouteTable) {
	if table.Revision < m.ack.Revision {
		return
	}
	m.kernel, m.saved = table, table
	m.ack = api.Ack{Node: m.name, Revision: table.Revision}
	m.put(inAcks, m.ack)
}

// routesTo reports whether the kernel sends connections to the pod. After a loss of the store another machine may run one of
// the same UID.
func (m *machine) routesTo(p *pod) bool {
	for _, r := range m.kernel.Routes {
		for _, e := range r.Endpoints {
			if e.UID == p.placement.UID && e.Node == p.machine.name {
				return true
			}
		}
	}
	return false
}
