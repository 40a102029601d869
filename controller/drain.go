package controller

import (
	"fmt"
	"time"

	"headway.dev/headway/api"
)

// stop begins to end a pod: first it leaves the routes, and once every living node has acknowledged that, its assignment.
// A pod that is already being stopped keeps its first reason and deadline.
func (s *state) stop(p *pod, why stop, now time.Time) {
	if !p.runs() {
		return
	}
	why.deadline = now.Add(s.drainTimeout)
	p.stopping = &why
	n := s.nodes[p.placement.Node]
	n.touch()
	n.census.idle = append(n.census.idle, p)
}

// finishStops takes the pods out of their assignments that no new connection can reach any more, or that have waited long
// enough.
func (s *state) finishStops(now time.Time) {
	var routed map[podKey]bool
	s.draining = 0
	for _, p := range s.idle() {
		if !p.draining() {
			continue
		}
		if routed == nil {
			routed = s.routes.routed()
		}
		if s.lapsed(s.nodes[p.placement.Node]) && p.placement.Exclusive() {
			// It has ended already. It leaves its assignment before another is given its name.
			s.take(p, now)
			continue
		}
		behind, acked := s.acked(p.left)
		if routed[p.key()] || !acked {
			if now.Before(p.stopping.deadline) {
				s.draining++
				continue
			}
			s.event(api.Event{
				Time: now, Kind: "DrainTimedOut", Ref: p.placement.Pod, Commit: p.stopping.commit, Warning: true,
				Reason: s.timedOut(routed[p.key()], behind),
			})
		}
		s.take(p, now)
	}
}

// take takes a pod out of its assignment.
func (s *state) take(p *pod, now time.Time) {
	p.assigned = false
	s.nodes[p.placement.Node].touch()
	s.event(api.Event{Time: now, Kind: p.stopping.kind, Ref: p.placement.Pod, Reason: p.stopping.reason, Commit: p.stopping.commit})
}

// timedOut says what a drain waited for in vain.
func (s *state) timedOut(routed bool, behind string) string {
	if routed {
		return fmt.Sprintf("it ends after %s although the routes without it could not be written", s.drainTimeout)
	}
	return fmt.Sprintf("it ends after %s although %s has not acknowledged the routes without it", s.drainTimeout, behind)
}

func (p *pod) key() podKey { return podKey{p.placement.UID, p.placement.Node} }
