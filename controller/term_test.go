package controller

import (
	"testing"
	"time"

	"headway.dev/headway/api"
)

// TestOutrankedByRoutes: where the lease and the assignments are lost, but the routes are not, terms begin again below the one
// that wrote them. The leader raises its own, or it could never change them.
func TestOutrankedByRoutes(t *testing.T) {
	for _, c := range []struct{ own, wrote, above api.Term }{{1, 0, 0}, {2, 3, 3}, {3, 3, 0}, {4, 3, 0}} {
		s := newState(limits{}, nil, c.own, State{RouteTerm: c.wrote}, time.Unix(1000, 0))
		if above := s.outranked(); above != c.above {
			t.Errorf("a leader of term %d that finds routes of term %d is outranked by %d, want %d", c.own, c.wrote, above, c.above)
		}
	}
}

// TestFleetByStatuses: after a loss of the store the first nodes to report tell how many there were, before any beat is heard.
func TestFleetByStatuses(t *testing.T) {
	now := time.Unix(1000, 0)
	s := newState(limits{nodeLease: time.Minute}, nil, 1, State{Nodes: []api.NodeInfo{{Name: "n1"}}, Statuses: []api.NodeStatus{{Node: "n1", Time: now, Voters: 3}}}, now)
	if got, want := s.whatIsUnseen(now), "of 3 nodes that there were, 1 have turned up"; got != want {
		t.Errorf("what may run unseen: %q, want %q", got, want)
	}
}
