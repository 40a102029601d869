package tenure_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"headway.dev/headway/api"
	"headway.dev/headway/tenure"
)

// tick is the step of a fleet's time.
const tick = lease / 80

// A fleet is nodes, one leader after another, and what lies between them. Every clock has its own pace.
type fleet struct {
	nodes []*member
	pace  float64 // of the leader's clock
	now   time.Duration
	term  api.Term
	since time.Duration // when the leader began
	away  bool          // there is none
	mail  []letter
}

// A member is one node, and what the leader knows of it.
type member struct {
	keeper  *tenure.Keeper
	pace    float64
	begun   uint64 // how many daemons before this one
	cut     bool   // from the leader
	side    int    // nodes of one side reach each other
	contact tenure.Contact
	seen    time.Duration
}

// A letter is an answer on its way.
type letter struct {
	to    *member
	due   time.Duration
	grant api.Grant
}

var epoch = time.Unix(1_000_000, 0)

func (f *fleet) leaderTime() time.Time          { return epoch.Add(scaled(f.now, f.pace)) }
func (f *fleet) timeOf(m *member) time.Duration { return scaled(f.now, m.pace) }
func scaled(d time.Duration, pace float64) time.Duration {
	return time.Duration(float64(d) * pace)
}

// lead begins a leader that knows nothing, with a later term.
func (f *fleet) lead() {
	f.term++
	f.since, f.away = f.now, false
	for _, m := range f.nodes {
		m.contact, m.seen = tenure.Contact{}, f.now
	}
}

// beat has a node give a sign of life, and the leader answer after a while.
func (f *fleet) beat(m *member, delay time.Duration) {
	b := m.keeper.Beat(api.Heartbeat{}, tenure.Mark{}, f.timeOf(m))
	if f.away || m.cut {
		return
	}
	m.seen = f.now
	began := epoch.Add(scaled(f.since, f.pace))
	if b.Echo.Term == f.term {
		m.contact.Hear(f.leaderTime(), began.Add(b.Echo.Time), b.Age, tenure.Of(lease))
	}
	f.mail = append(f.mail, letter{m, f.now + delay, api.Grant{
		Beat: b.ID, Echo: api.Echo{Term: f.term, Time: f.leaderTime().Sub(began)}, Held: true, Known: true,
		Lease: lease, Fleet: len(f.nodes), Voters: len(f.nodes),
	}})
}

// deliver hands out the answers that are due.
func (f *fleet) deliver() {
	var later []letter
	for _, l := range f.mail {
		switch {
		case l.due > f.now:
			later = append(later, l)
		case !l.to.cut:
			l.to.keeper.Take(l.grant, f.timeOf(l.to))
		}
	}
	f.mail = later
}

// poll has a node ask those that it reaches.
func (f *fleet) poll(m *member) {
	if !m.keeper.Asks(f.timeOf(m)) {
		return
	}
	vouchers := 0
	for _, other := range f.nodes {
		if other != m && other.side == m.side && other.keeper.Vouches(f.timeOf(other)) {
			vouchers++
		}
	}
	m.keeper.Extend(f.timeOf(m), vouchers)
}

// moves reports whether the leader would replace what runs on a node.
func (f *fleet) moves(m *member) bool {
	x := tenure.Of(lease)
	if f.away || scaled(f.now-m.seen, f.pace) < x.Lease {
		return false
	}
	heard := 0
	for _, other := range f.nodes {
		if other.contact.Steady(f.leaderTime(), x) {
			heard++
		}
	}
	return tenure.Moves(heard, len(f.nodes), len(f.nodes))
}

// restart begins another daemon on each of some nodes.
func (f *fleet) restart(t *rapid.T) {
	for _, m := range f.nodes {
		if rapid.Bool().Draw(t, "restarts") {
			m.begun++
			m.keeper = tenure.NewKeeper(m.keeper.Kept, m.keeper.Run, f.timeOf(m), m.begun<<32)
		}
	}
}

// change draws what happens next: leaders and daemons come and go, and nodes are cut off from leaders and from each other.
func (f *fleet) change(t *rapid.T) {
	switch rapid.IntRange(0, 6).Draw(t, "what") {
	case 0:
		f.away = true
	case 1, 2:
		f.lead()
	case 3:
		f.restart(t)
	default:
		for _, m := range f.nodes {
			m.cut = rapid.Bool().Draw(t, "cut")
			m.side = rapid.IntRange(0, 1).Draw(t, "side")
		}
	}
}

// TestNeverBothOverTime draws the ways of leaders and partitions through several leases, with clocks that differ by a tenth: the
// leader never replaces what a node may still run, or has not had the time to stop.
func TestNeverBothOverTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pace := rapid.Float64Range(0.95, 1.05)
		f := &fleet{pace: pace.Draw(t, "leader's pace"), now: lease}
		for range rapid.IntRange(3, 5).Draw(t, "nodes") {
			f.nodes = append(f.nodes, &member{keeper: tenure.NewKeeper(tenure.Kept{}, tenure.Run{}, lease, 1), pace: pace.Draw(t, "pace")})
		}
		f.lead()
		for range rapid.IntRange(2, 12).Draw(t, "changes") {
			for end := f.now + time.Duration(rapid.IntRange(1, 100).Draw(t, "ticks"))*tick; f.now < end; f.now += tick {
				delay := time.Duration(rapid.IntRange(0, 4).Draw(t, "delay")) * tick
				f.deliver()
				for _, m := range f.nodes {
					f.beat(m, delay)
					f.poll(m)
				}
				for i, m := range f.nodes {
					if grace := tenure.Of(lease).Grace; f.moves(m) && f.timeOf(m) < m.keeper.Until+grace {
						t.Fatalf("after %s the leader replaces what node %d may run until %s from now", f.now-lease, i, m.keeper.Until+grace-f.timeOf(m))
					}
				}
			}
			f.change(t)
		}
	})
}
