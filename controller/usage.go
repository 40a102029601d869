package controller

import (
	"context"
	"fmt"
	"slices"
	"time"

	"headway.dev/headway/api"
	"headway.dev/headway/planner"
)

// A UsageWatcher is a bus that carries what containers use. Without it nobody is asked, and autoscalers hold what there is.
type UsageWatcher interface {
	// WatchUsage calls fn with what nodes say, until ctx is done. Messages may be lost, doubled, late, and out of order.
	WatchUsage(ctx context.Context, fn func(api.NodeUsage)) error
}

const (
	// freshFor is for how many periods what a node said stands for what its pods use now.
	freshFor = 4
	// lateBy is how many periods later than others of its node a message may come and still be taken for the present.
	lateBy = 2
	// shortest is the least share of a period that makes a rate: over a shorter time the use of processors means little.
	shortest = 3
)

// A meter makes rates of what one node says its containers have used since they began. Times of the node are compared with
// each other only: its clock may be off.
type meter struct {
	heard time.Time // when the newest that counted came, by the controller's clock
	said  time.Time // when it was measured, by the node's
	// delay is the least that lay between the two: what comes much later than that was measured long ago.
	delay time.Duration
	pods  map[string]podMeter // by UID
}

// A podMeter is the last two measurements of each container of a pod.
type podMeter map[string]twoPoints

type twoPoints struct{ before, last api.ContainerUsage }

// observe takes in a message. One that is not newer than what is known, or was long on its way, is left out; of a node that
// was not heard of for a while everything begins anew, its clock too.
func (m *meter) observe(usage api.NodeUsage, at time.Time, period time.Duration) {
	delay := at.Sub(usage.Time)
	if m.pods == nil || at.Sub(m.heard) > freshFor*period {
		*m = meter{delay: delay}
	} else if !usage.Time.After(m.said) || delay > m.delay+lateBy*period {
		return
	}
	pods := map[string]podMeter{}
	for _, c := range usage.Containers {
		points := pods[c.UID]
		if points == nil {
			points = podMeter{}
			pods[c.UID] = points
		}
		points[c.Container] = m.pods[c.UID][c.Container].next(c, period)
	}
	m.heard, m.said, m.delay, m.pods = at, usage.Time, min(m.delay, delay), pods
}

// next moves on to a newer measurement. Of a container that was started again nothing before counts.
func (p twoPoints) next(c api.ContainerUsage, period time.Duration) twoPoints {
	switch {
	case !p.last.Started.Equal(c.Started) || c.CPU < p.last.CPU:
		return twoPoints{last: c}
	case c.Time.Sub(p.last.Time) < period/shortest && !p.before.Time.IsZero():
		return twoPoints{before: p.before, last: c}
	}
	return twoPoints{before: p.last, last: c}
}

// of gives what a pod uses, unless that is not known of all of its containers, or is old.
func (m *meter) of(uid string, now time.Time, period time.Duration) (planner.Usage, bool) {
	points := m.pods[uid]
	if len(points) == 0 || now.Sub(m.heard) > freshFor*period {
		return planner.Usage{}, false
	}
	u := planner.Usage{UID: uid, Time: m.said, Containers: map[string]api.Resources{}}
	for name, p := range points {
		window := p.last.Time.Sub(p.before.Time)
		if p.before.Time.IsZero() || window < period/shortest {
			return planner.Usage{}, false
		}
		used := api.Resources{MilliCPU: p.last.MilliCPU(p.before.Usage), Memory: int64(p.last.Memory)}
		u.Window, u.Used, u.Containers[name] = max(u.Window, window), u.Used.Add(used), used
	}
	return u, true
}

// observeUsage takes in what a node says its containers use. It is no news to reconcile: autoscalers have their times.
func (s *state) observeUsage(usage api.NodeUsage, at time.Time) {
	if n, known := s.nodes[usage.Node]; known && len(s.scales) > 0 {
		n.meter.observe(usage, at, s.scalePeriod)
	}
}

// usage is what pods use, each as the node says that has it: what another says of it counts for nothing.
func (s *state) usage(now time.Time) []planner.Usage {
	var all []planner.Usage
	scaled := s.scaled()
	if len(scaled) == 0 {
		return nil
	}
	for _, p := range s.allPods() {
		if scaled[p.placement.Owner] && s.pods.get(p.placement.UID) == p {
			if u, known := s.nodes[p.placement.Node].meter.of(p.placement.UID, now, s.scalePeriod); known {
				all = append(all, u)
			}
		}
	}
	return all
}

// scaled are the workloads that autoscalers set.
func (s *state) scaled() map[api.Ref]bool {
	if len(s.scales) == 0 {
		return nil
	}
	targets := make(map[api.Ref]bool, len(s.scales))
	for _, r := range s.scales {
		targets[r.Target] = true
	}
	return targets
}

// meterEvery is how often a node is to say what its containers use: not at all without a pod that an autoscaler counts.
func (s *state) meterEvery(n *node, scaled map[api.Ref]bool) time.Duration {
	if len(scaled) == 0 {
		return 0
	}
	for _, p := range n.pods {
		if scaled[p.placement.Owner] && p.assigned {
			return s.scalePeriod
		}
	}
	return 0
}

// resumeScales goes on from the records of the leader before. For as long as the windows reach, this one counts as having
// been asked for the number that there is: what was asked for while nobody looked is not known.
func (s *state) resumeScales(records []api.ScaleRecord) {
	for _, r := range records {
		r.Recommendations = append(r.Recommendations[:len(r.Recommendations):len(r.Recommendations)], api.ScaleStep{Time: s.started, Pods: r.Replicas})
		s.scales = append(s.scales, r)
	}
}

// noteScales tells what autoscalers have made of their targets, and which of them cannot tell any more.
func (s *state) noteScales(next []api.ScaleRecord, now time.Time) {
	before := map[api.Ref]api.ScaleRecord{}
	for _, r := range s.scales {
		before[r.Autoscaler] = r
	}
	for _, r := range next {
		was, known := before[r.Autoscaler]
		if n := len(r.Changes); n > 0 && r.Changes[n-1].Time.Equal(now) && (!known || was.Replicas != r.Replicas) {
			s.event(api.Event{Time: now, Kind: "Scaled", Ref: r.Autoscaler, Commit: s.desired.head.Commit, Reason: fmt.Sprintf("%s has %d pods in place of %d: %s", r.Target, r.Replicas, r.Replicas-r.Changes[n-1].Pods, r.Reason)})
		}
		if known && measures(was, true) && measures(r, false) {
			s.event(api.Event{
				Time: now, Kind: "ScalingInactive", Ref: r.Autoscaler, Commit: s.desired.head.Commit, Warning: true,
				Reason: r.Target.String() + " keeps the pods that it has: " + r.Reason,
			})
		}
	}
	s.scales = next
}

// measures reports whether the record says that the metrics are known, or that they are not.
func measures(r api.ScaleRecord, known bool) bool {
	return slices.ContainsFunc(r.Conditions, func(c api.ScaleCondition) bool { return c.Type == "ScalingActive" && c.True == known })
}
