package controller

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
	"headway.dev/headway/tenure"
)

// hear takes in what a beat says of the node's contact with this leader, and of the fleet.
func (s *state) hear(n *node, beat api.Heartbeat, at time.Time) {
	if beat.Echo.Term == s.term && s.term != 0 {
		n.contact.Hear(at, s.started.Add(beat.Echo.Time), beat.Age, s.times)
	}
	n.obeys = tenure.Mark{Term: beat.Obeys, Sequence: beat.Sequence}
	if beat.Voters > 0 {
		n.voters = beat.Voters
	}
	s.fleet = max(s.fleet, beat.Fleet)
}

// raised takes in the leader's later term. To nodes it is another leader, which begins to be in touch with them.
func (s *state) raised(term api.Term) {
	s.term = term
	for _, n := range s.nodes {
		n.contact = tenure.Contact{}
	}
}

// countFleet gives how many nodes there are, as far as anybody remembers, and how many of them may be running: all but those
// that Git says are out of service.
func (s *state) countFleet() (fleet, voters int) {
	running, out := 0, 0
	for _, n := range s.nodes {
		if n.joined() {
			fleet++
		}
		switch {
		case n.outOfService():
			out++
		case n.joined():
			running++
		}
	}
	s.fleet = max(s.fleet, fleet)
	return s.fleet, max(s.fleet-out, running)
}

// majority reports whether the leader is in steady touch with so many nodes that those which are not cannot have taken it
// for lost together, as far as they know of so many voters.
func (s *state) majority(known int, now time.Time) bool {
	_, voters := s.countFleet()
	heard := 0
	for _, n := range s.nodes {
		if n.joined() && !n.outOfService() && n.contact.Steady(now, s.times) {
			heard++
		}
	}
	return tenure.Moves(heard, voters, known)
}

// lapsed reports whether a lost node has stopped by now what must not run twice: it was silent for the whole of the lease
// that it keeps itself, and cannot have prolonged that with others.
func (s *state) lapsed(n *node) bool { return n.lost && n.lapsed }

// expireTenures finds the nodes that have stopped what must not run twice.
func (s *state) expireTenures(now time.Time) {
	for _, n := range s.sortedNodes() {
		if !n.lost {
			n.lapsed = false
			continue
		}
		if n.lapsed || !n.joined() || now.Before(n.seen.Add(s.times.Lease)) {
			continue
		}
		known := n.voters
		if known == 0 {
			_, known = s.countFleet()
		}
		if n.lapsed = s.majority(known, now); n.lapsed {
			s.event(api.Event{
				Time: now, Kind: "NodeFenced", Ref: nodeRef(n.name), Warning: true,
				Reason: fmt.Sprintf("silent for %s: it has stopped by itself what must not run twice, which is replaced", s.times.Lease),
			})
		}
	}
}

// tenuresDue is when a lost node's tenure may end; zero is never. What keeps it from ending is looked at with every beat.
func (s *state) tenuresDue(now time.Time) time.Time {
	var due time.Time
	for _, n := range s.nodes {
		if !n.lost || n.lapsed || !n.joined() {
			continue
		}
		at := n.seen.Add(s.times.Lease)
		if !at.After(now) {
			at = now.Add(s.times.Beat)
		}
		due = earlier(due, at)
	}
	if s.unseen != "" {
		due = earlier(due, now.Add(s.times.Beat))
	}
	return due
}

// whatIsUnseen says why pods may run that nobody has told this leader of; empty if none can. After the store was lost, nodes
// that are cut off are not known even by name.
func (s *state) whatIsUnseen(now time.Time) string {
	fleet, voters := s.countFleet()
	seen, silent := 0, ""
	for _, n := range s.sortedNodes() {
		switch {
		case n.outOfService(), n.joined() && (n.reported || s.lapsed(n)):
			seen++
		case n.joined():
			silent = n.name
		}
	}
	if seen >= fleet {
		return ""
	}
	if silent != "" {
		return fmt.Sprintf("node %s has not said what it runs", silent)
	}
	if !now.Before(s.started.Add(s.times.Lease)) && s.majority(voters, now) {
		return "" // those that are away have stopped what they had
	}
	return fmt.Sprintf("of %d nodes that there were, %d have turned up", fleet, seen)
}

// whatIsUntold says why data may be on nodes that nobody has told this leader of; empty if none can. Unlike pods, data does
// not go by itself.
func (s *state) whatIsUntold() string {
	fleet, _ := s.countFleet()
	told := 0
	for _, n := range s.nodes {
		if n.outOfService() || n.joined() && n.reported {
			told++
		}
	}
	if told >= fleet {
		return ""
	}
	return fmt.Sprintf("of %d nodes that there were, %d have said what they have; declare a Node with the taint %s for one that is gone for good",
		fleet, told, corev1.TaintNodeOutOfService)
}

// grant answers a heartbeat. Before the first plan there is none: the leader does not know what it would grant.
func (s *state) grant(beat api.Heartbeat, now time.Time) (g api.Grant, ok bool) {
	n := s.nodes[beat.Node]
	if n == nil || !s.planned || beat.ID == 0 {
		return g, false
	}
	g = api.Grant{
		Node: n.name, Beat: beat.ID, Lease: s.times.Lease,
		Echo: api.Echo{Term: s.term, Time: now.Sub(s.started)},
	}
	obeys := tenure.Mark{Term: beat.Obeys, Sequence: beat.Sequence}
	g.Reason = s.refusal(n, beat.Term, obeys)
	g.Fleet, g.Voters = s.countFleet()
	g.Held, g.Known = g.Reason == "", !n.told().Before(obeys)
	return g, true
}

// told names the assignment by which the node last said what it runs.
func (n *node) told() tenure.Mark {
	return tenure.Mark{Term: n.status.Term, Sequence: n.status.Sequence}
}

// gave reports whether an assignment is one of this leader's own.
func (s *state) gave(n *node, m tenure.Mark) bool {
	return n.ours && m.Term == s.term && m.Sequence <= n.sequence
}

// refusal says why a node that knows of a term, and obeys an assignment, must not run what must not run twice; empty if it
// may. What started there was told of before it did, so that this leader knows of it. It is enough then that it knows what
// the node has been given since: a node that is slow to reach the store stops nothing.
func (s *state) refusal(n *node, term api.Term, obeys tenure.Mark) string {
	switch {
	case term > s.term:
		return fmt.Sprintf("the node knows of term %d, and this leader's is %d", term, s.term)
	case !n.reported || !n.taken:
		return "the node has not said what it runs"
	case n.told().Before(obeys) && !s.gave(n, obeys):
		return "the node obeys an assignment that this leader did not give, and has not said what it runs by it"
	}
	for _, p := range n.pods {
		if p.placement.Exclusive() && !p.runs() && mayStart(p.phase()) {
			if other := s.holder(p); other != "" {
				return fmt.Sprintf("pod %s has been replaced on node %s", p.placement.Pod, other)
			}
		}
	}
	return ""
}

// mayStart reports whether containers of a pod in that phase may yet be started.
func mayStart(phase api.PodPhase) bool { return phase == api.PodPending || phase == api.PodRunning }

// holder gives the node that has another pod of the same name, be it on its way out; empty if none has.
func (s *state) holder(p *pod) string {
	for _, n := range s.sortedNodes() {
		for _, other := range n.pods {
			if other != p && (other.assigned || other.occupies()) && other.placement.Pod == p.placement.Pod && n.name != p.placement.Node {
				return n.name
			}
		}
	}
	return ""
}
