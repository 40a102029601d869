package node_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"headway.dev/headway/api"
)

// fakeWitnesses are peers of which so many have lost the leader.
type fakeWitnesses struct {
	mu   sync.Mutex
	lost int
}

func (w *fakeWitnesses) Ask(_ context.Context, _ []api.NodeInfo, _ int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lost
}

// doLeader has each beat answered from now on by a leader of three nodes and a lease of 40 s, with a refusal if a reason is
// given; or none by "silent".
func (s *scenario) doLeader(d *datadriven.TestData) string {
	s.bus.change(func() {
		if arg(d, 0) == "silent" {
			s.bus.leader = nil
			return
		}
		s.bus.leader = &api.Grant{
			Echo: api.Echo{Term: 1}, Held: arg(d, 0) == "", Known: true, Reason: arg(d, 0), Lease: 40 * time.Second, Fleet: 3, Voters: 3,
		}
	})
	return s.rest(time.Second)
}

// doWitnesses says how many of the other nodes have lost the leader.
func (s *scenario) doWitnesses(d *datadriven.TestData) string {
	s.witnesses.mu.Lock()
	defer s.witnesses.mu.Unlock()
	d.ScanArgs(s.TB.(*testing.T), "lost", &s.witnesses.lost)
	return ""
}
