package controller

import (
	"sync"
	"time"

	"headway.dev/headway/api"
)

// An inbox holds the newest of everything that the leader's watches deliver until the loop takes it. It keeps levels, so
// that a burst costs one pass and no memory.
type inbox struct {
	mu   sync.Mutex
	mail mail
	wake chan struct{} // holds a token while there is mail
}

// mail is what came since the last look.
type mail struct {
	nodes    []api.NodeInfo
	statuses map[string]seen[api.NodeStatus]
	beats    map[string]seen[api.Heartbeat]
	acks     map[string]api.Ack
	usages   map[string]seen[api.NodeUsage]
	commits  []compiled // the newest that stands by itself, and those after it
	trouble  *string
	reverted []reverted
}

// A seen thing has the time at which it came, for that is what renews a lease.
type seen[T any] struct {
	it T
	at time.Time
}

func newInbox() *inbox { return &inbox{mail: newMail(), wake: make(chan struct{}, 1)} }

func newMail() mail {
	return mail{
		statuses: map[string]seen[api.NodeStatus]{},
		beats:    map[string]seen[api.Heartbeat]{},
		acks:     map[string]api.Ack{},
		usages:   map[string]seen[api.NodeUsage]{},
	}
}

// put changes the mail and wakes the loop.
func (b *inbox) put(change func(m *mail)) {
	b.mu.Lock()
	change(&b.mail)
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// take gives what came since the last look.
func (b *inbox) take() mail {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := b.mail
	b.mail = newMail()
	return m
}

func (b *inbox) nodes(infos []api.NodeInfo) { b.put(func(m *mail) { m.nodes = infos }) }

func (b *inbox) status(status api.NodeStatus) {
	at := time.Now()
	b.put(func(m *mail) { m.statuses[status.Node] = seen[api.NodeStatus]{status, at} })
}

func (b *inbox) beat(beat api.Heartbeat) {
	at := time.Now()
	b.put(func(m *mail) { m.beats[beat.Node] = seen[api.Heartbeat]{beat, at} })
}

// usage keeps the newest of each node, whatever order they come in.
func (b *inbox) usage(usage api.NodeUsage) {
	at := time.Now()
	b.put(func(m *mail) {
		if known, ok := m.usages[usage.Node]; !ok || usage.Time.After(known.it.Time) {
			m.usages[usage.Node] = seen[api.NodeUsage]{usage, at}
		}
	})
}

func (b *inbox) ack(ack api.Ack) { b.put(func(m *mail) { m.acks[ack.Node] = ack }) }

// commit delivers the newest commit, which also says that the repository can be read. What is broken in it is taken from
// those before, so they stay until one stands by itself.
func (b *inbox) commit(c compiled) {
	b.put(func(m *mail) {
		if c.stands() {
			m.commits = nil
		}
		m.commits, m.trouble = append(m.commits, c), nil
	})
}

// repository delivers why the repository or its head cannot be read; empty when it can be.
func (b *inbox) repository(trouble string) { b.put(func(m *mail) { m.trouble = &trouble }) }

// reverted delivers what came of the order to revert a commit.
func (b *inbox) reverted(r reverted) { b.put(func(m *mail) { m.reverted = append(m.reverted, r) }) }

// observe takes in the mail. It reports whether there is any news to reconcile; the beat of a living node is none.
func (s *state) observe(m mail, now time.Time) (changed bool) {
	changed = s.observeNodes(m.nodes, now)
	for _, b := range m.beats {
		changed = s.observeBeat(b.it, b.at) || changed
	}
	for _, status := range m.statuses {
		changed = s.observeStatus(status.it, status.at) || changed
	}
	for _, usage := range m.usages {
		s.observeUsage(usage.it, usage.at)
	}
	for _, ack := range m.acks {
		changed = s.observeAck(ack) || changed
	}
	for _, r := range m.reverted {
		s.observeReverted(r, now)
		changed = true
	}
	for _, c := range m.commits {
		s.observeCommit(c, now)
		changed = true
	}
	if m.trouble != nil {
		changed = s.observeTrouble(*m.trouble, now) || changed
	}
	return changed
}
