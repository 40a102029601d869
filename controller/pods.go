package controller

import (
	"slices"
	"time"

	"headway.dev/headway/api"
	"headway.dev/headway/planner"
	"headway.dev/headway/scheduler"
)

// A pod is one that a node was given, or reports.
type pod struct {
	placement api.Placement
	assigned  bool           // in its node's assignment, as wanted
	given     bool           // it may have been in an assignment that the store held
	adopted   bool           // assigned because its node reported it, and for no other reason
	status    *api.PodStatus // nil: not in its node's newest status
	readiness readiness
	stopping  *stop // nil: it is not being stopped
	// left is the revision of the routes that the pod is out of, if it is in none: once every node has that, no new
	// connection reaches the pod.
	left uint64
	// reached is what it had in the newest assignment that was written, of what changes in place.
	reached *api.LiveConfig
	needs   []api.Digest // blobs that must be in the store before the pod is assigned
	// provided is set when what a pod needs that an earlier leader assigned has been stored again, or is about to be.
	provided bool
}

// A stop is why a pod ends, and until when its end may wait for the nodes' routes.
type stop struct {
	kind     string // of the event that tells of it
	reason   string
	commit   string
	deadline time.Time
}

// A readiness is since when a pod has been ready: by its node's clock, which may be wrong, and when this leader heard of it.
type readiness struct{ since, heard time.Time }

// hear takes in what the node says.
func (r *readiness) hear(since, now time.Time) {
	if !r.since.Equal(since) {
		*r = readiness{since, now}
	}
}

// began is since when the pod has been ready: at the latest since that was heard.
func (r readiness) began() time.Time {
	if r.since.After(r.heard) {
		return r.heard
	}
	return r.since
}

// draining reports whether the pod waits to leave its assignment.
func (p *pod) draining() bool { return p.assigned && p.stopping != nil }

// runs reports whether the pod is meant to run.
func (p *pod) runs() bool { return p.assigned && p.stopping == nil }

func (p *pod) phase() api.PodPhase {
	switch {
	case p.status != nil:
		return p.status.Phase
	case p.assigned:
		return api.PodPending
	}
	return api.PodStopping
}

// occupies reports whether the pod takes room on its node: from when it is decided until the node no longer reports it.
func (p *pod) occupies() bool {
	phase := p.phase()
	return phase != api.PodSucceeded && phase != api.PodFailed
}

// mergePods joins what the node reports with what it was given. Pods that are new to the controller left the routes by
// their present revision, if ever they were in them.
func (s *state) mergePods(n *node, now time.Time) {
	n.touch()
	for _, p := range n.pods {
		p.status = nil
	}
	for _, status := range n.status.Pods {
		uid := status.Placement.UID
		p, ok := n.pods[uid]
		if !ok {
			p = &pod{placement: status.Placement, given: true, left: s.routes.left(), reached: status.Placement.Live}
			p.placement.Node = n.name
			s.addPod(n, p)
		}
		p.status = &status
		p.readiness.hear(status.ReadySince, now)
	}
}

// forget drops the pods that have ended, or were never given to their node. It reports whether there were any.
func (s *state) forget() (some bool) {
	for _, n := range s.nodes {
		if !n.unlooked {
			continue
		}
		ended := n.caughtUp() && !n.doubtful
		for uid, p := range n.pods {
			if !p.assigned && p.status == nil && (ended || !p.given) {
				s.dropPod(n, uid)
				some = true
			}
		}
	}
	return some
}

// adopt settles what each node was given. Where the store has no assignment, or an older one than the node has taken up,
// what the node reports is what it was given: a store that was lost stops nothing.
func (s *state) adopt() {
	for _, n := range s.nodes {
		if n.taken || !n.reported && !n.known {
			continue
		}
		n.taken, s.unprovided = true, true
		n.touch()
		if n.known && (!n.reported || !n.newer()) {
			continue
		}
		for _, p := range n.pods {
			p.adopted = !p.assigned
			p.assigned = p.status != nil && p.status.Phase != api.PodStopping
		}
	}
}

func (p *pod) ready() bool { return p.status != nil && p.status.Ready }

// started is when the pod began to run; far in the future if it has not.
func (p *pod) started() time.Time {
	if p.status == nil || p.status.Started.IsZero() {
		return time.Unix(1<<40, 0)
	}
	return p.status.Started
}

// observed is the pod as the planner sees it.
func (s *state) observed(p *pod) planner.Pod {
	n := s.nodes[p.placement.Node]
	lost := n.lost && s.anyAlive()
	o := planner.Pod{
		Placement: p.placement,
		Phase:     p.phase(),
		Lost:      lost,
		Fenced:    lost && (n.outOfService() || p.placement.Exclusive() && s.lapsed(n)),
		Stopping:  !p.runs() || p.phase() == api.PodStopping,
		Rekeyed:   s.isRekeyed(p),
	}
	if st := p.status; st != nil {
		o.Reason, o.IP, o.Ready, o.ReadySince = st.Reason, st.IP, st.Ready, p.readiness.began()
		o.Started, o.Finished, o.Containers, o.InitContainers = st.Started, finished(st), st.Containers, st.InitContainers
	}
	return o
}

// finished is when the last container of an ended pod ended, or else the pod itself; zero as long as it has not.
func finished(s *api.PodStatus) time.Time {
	if s.Phase != api.PodSucceeded && s.Phase != api.PodFailed {
		return time.Time{}
	}
	var last time.Time
	for _, c := range slices.Concat(s.InitContainers, s.Containers) {
		if c.Finished.After(last) {
			last = c.Finished
		}
	}
	if last.IsZero() {
		return s.Finished
	}
	return last
}

// running are the pods that take room, as the scheduler sees them.
func (s *state) running() []scheduler.Running {
	var out []scheduler.Running
	for _, p := range s.allPods() {
		if p.occupies() {
			r := occupied(p.placement, s.templates[p.placement.Template])
			r.Stopping, r.Unready = !p.runs(), !p.ready()
			if p.status != nil {
				r.Started = p.status.Started
			}
			out = append(out, r)
		}
	}
	return out
}

// occupied is the room that a placed pod takes. The template is nil where it is not at hand.
func occupied(p api.Placement, template *api.PodTemplate) scheduler.Running {
	r := scheduler.Running{
		Node: p.Node, Pod: p.Pod, Owner: p.Owner, Template: p.Template, UID: p.UID, Labels: p.Labels,
		Requests: p.Requests, Extended: p.Extended, HostPorts: p.HostPorts,
	}
	if template != nil {
		r.Spec = &template.Spec
	}
	r.Claims = claimNames(r.Spec, p)
	return r
}

// unplacedPod is a pod to be created, as the scheduler sees it.
func unplacedPod(a planner.Action) scheduler.Pod {
	p := a.Placement()
	p.Volumes = a.Bound(nil)
	return scheduler.Pod{
		Identity: a.Pod, Spec: &a.Template.Spec, Labels: p.Labels, Requests: p.Requests, Pinned: a.Pinned,
		Claims: claimNames(&a.Template.Spec, p), Volumes: volumeClaims(a),
	}
}

// volumeClaims are the claims of a pod to be created that need declared volumes.
func volumeClaims(a planner.Action) []scheduler.VolumeClaim {
	var claims []scheduler.VolumeClaim
	for _, choice := range a.VolumeChoices() {
		c := scheduler.VolumeClaim{Claim: choice.Claim}
		for _, v := range choice.Volumes {
			volume := scheduler.Volume{Name: v.Name}
			if v.Spec.NodeAffinity != nil {
				volume.Affinity = v.Spec.NodeAffinity.Required
			}
			c.Choices = append(c.Choices, volume)
		}
		claims = append(claims, c)
	}
	return claims
}
