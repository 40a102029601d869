package controller

import (
	"testing"
	"time"

	"headway.dev/headway/api"
)

// TestRevertsSwitchedOff: a failed rollout is left alone once Git does not ask for reverts any more; nothing is due for it, or the
// loop would never rest.
func TestRevertsSwitchedOff(t *testing.T) {
	began := time.Unix(1000, 0)
	s := newState(limits{revertGrace: time.Minute}, nil, 1, State{}, began)
	s.workloads = []api.WorkloadStatus{{Failure: &api.RolloutFailure{Commit: "bad"}}}
	wanted := &api.Cluster{Spec: api.ClusterSpec{Rollback: api.RollbackRevert}}
	s.desired.objects = []api.Object{{Value: wanted}}
	if orders := s.orderReverts(began); len(orders) > 0 || s.due().IsZero() {
		t.Fatalf("at first %v are ordered, and the next is due at %s", orders, s.due())
	}
	wanted.Spec.Rollback = api.RollbackHold
	if orders := s.orderReverts(began.Add(time.Hour)); len(orders) > 0 || !s.due().IsZero() {
		t.Errorf("%v are ordered, and the next is due at %s", orders, s.due())
	}
}
