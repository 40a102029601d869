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
