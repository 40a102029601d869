package sim

import (
	"time"

	"headway.dev/headway/api"
	"headway.dev/headway/tenure"
)

// uptime is a clock of the machine that no fault sets.
func (m *machine) uptime() time.Duration { return time.Since(m.world.start) }

func (m *machine) mark() tenure.Mark {
	if m.assignment == nil {
		return tenure.Mark{}
	}
	return tenure.Mark{Term: m.assignment.Term, Sequence: m.assignment.Sequence}
}

// learnPeers takes in who has joined.
func (m *machine) learnPeers() {
	for _, info := range valuesOf[api.NodeInfo](m.world.store, inNodes) {
		m.peers[info.Name] = info.Name != m.name
	}
}

// granted takes in an answer of the leader.
func (m *machine) granted(g api.Grant) {
	if m.keeper.Take(g, m.uptime()) {
		m.kept = m.keeper.Kept
		for _, p := range m.sorted() {
			p.advance()
		}
	}
	m.guard()
}

// guard stops what must not run twice when tenure is over, and has it run again when there is one.
func (m *machine) guard() {
	now := m.uptime()
	m.run = m.keeper.Run
	if lapsed := m.keeper.Lapsed(now); lapsed != m.lapsed {
		m.lapsed = lapsed
		m.world.note("%s: its tenure has ended: %t", m.name, lapsed)
	}
	for _, p := range m.sorted() {
		switch {
		case !p.placement.Exclusive() || p.fenced == m.lapsed:
		case m.lapsed:
			p.fence()
		default:
			p.unfence()
		}
	}
	if m.keeper.Asks(now) {
		m.poll(now)
	}
}

// reaches reports whether a message gets from the machine to another now.
func (m *machine) reaches(other *machine) bool {
	return m.up && other.up && (m.cut == 0 && other.cut == 0 || m.cut > 0 && other.cut > 0 && m.side == other.side)
}

// poll asks the other machines whether they have lost the leader.
func (m *machine) poll(asked time.Duration) {
	w, session := m.world, m.session
	lost := 0
	for _, other := range w.machines {
		if !m.peers[other.name] {
			continue
		}
		d := w.chance.roll("ask " + m.name + " " + other.name)
		if d.percent(w.weather.lost) {
			continue
		}
		there, back := w.weather.latency(d), w.weather.latency(d)
		w.after(there, func() {
			if !m.reaches(other) || !other.daemon || !other.keeper.Vouches(other.uptime()) {
				return
			}
			w.after(back, func() {
				if other.reaches(m) {
					lost++
				}
			})
		})
	}
	w.after(tenure.Of(failover).Extend/4, func() {
		if m.session != session || !m.daemon {
			return
		}
		if m.keeper.Extend(asked, lost) {
			m.run = m.keeper.Run
		}
	})
}
