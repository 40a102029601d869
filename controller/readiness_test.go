package controller

import (
	"testing"
	"time"

	"headway.dev/headway/api"
)

// TestReadiness: a node whose clock is ahead does not have its pods wait to count as available until that time has come, for
// a rollout would fail by it, and be taken back.
func TestReadiness(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)
	s := newState(limits{nodeLease: time.Minute}, nil, 1, State{}, now)
	report := func(at, since time.Duration) time.Duration {
		st := api.PodStatus{Placement: api.Placement{Node: "n1", PodIdentity: api.PodIdentity{UID: "u1"}}, Phase: api.PodRunning, Ready: since != 0}
		if st.Ready {
			st.ReadySince = now.Add(since)
		}
		s.observeStatus(api.NodeStatus{Node: "n1", Time: now.Add(at), Pods: []api.PodStatus{st}}, now.Add(at))
		if o := s.observed(s.nodes["n1"].pods["u1"]); !o.ReadySince.IsZero() {
			return o.ReadySince.Sub(now)
		}
		return 0
	}
	const sec, hour = time.Second, time.Hour
	for _, c := range []struct{ at, since, want time.Duration }{
		{1 * sec, 0, 0},
		{3 * sec, 2 * sec, 2 * sec},
		{4 * sec, 2 * sec, 2 * sec},
		{5 * sec, hour, 5 * sec},
		{6 * sec, hour, 5 * sec}, // as it was
		{7 * sec, 0, 0},
		{8 * sec, hour + sec, 8 * sec}, // anew
		{9 * sec, -hour, -hour},        // one that is behind keeps nobody waiting
	} {
		if got := report(c.at, c.since); got != c.want {
			t.Errorf("at %s, a pod ready since %s counts since %s, want %s", c.at, c.since, got, c.want)
		}
	}
}
