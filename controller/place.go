package controller

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
	"headway.dev/headway/planner"
	"headway.dev/headway/scheduler"
)

// place finds a node for each pod that the plan creates. One that no node can take is pending: the next plan creates it
// again, under the same name, and it is tried again.
func (s *state) place(plan planner.Plan, now time.Time) {
	creations := map[string]planner.Action{}
	var unplaced []scheduler.Pod
	for _, a := range plan.Actions {
		if a.Kind == planner.CreatePod && s.pods.get(a.Pod.UID) == nil {
			creations[a.Pod.UID] = a
			unplaced = append(unplaced, unplacedPod(a))
		}
	}
	s.pending = nil
	announced := map[string]bool{}
	if len(unplaced) > 0 {
		s.pods.unswept = true
		decisions := scheduler.Compute(scheduler.Input{
			Nodes: s.schedulable(), Running: s.running(), Pods: unplaced, Namespaces: namespaceLabels(s.desired.objects),
		})
		for _, d := range decisions {
			a := creations[d.Pod.UID]
			s.preempt(d, a.Commit, now)
			if d.Node != "" {
				err := s.create(a, d, plan.Blobs, now)
				if err == nil {
					continue
				}
				d.Reason = err.Error()
			}
			s.pending = append(s.pending, api.PendingPod{Pod: d.Pod.Pod, Owner: d.Pod.Owner, Reason: d.Reason})
			announced[d.Pod.Pod.String()] = true
			if !s.announced[d.Pod.Pod.String()] {
				s.event(api.Event{Time: now, Kind: "Unschedulable", Ref: d.Pod.Pod, Reason: d.Reason, Commit: a.Commit, Warning: true})
			}
		}
	}
	s.announced = announced
	slices.SortFunc(s.pending, func(a, b api.PendingPod) int { return a.Pod.Compare(b.Pod) })
	if s.pods.unswept {
		s.forgetTemplates()
		s.pods.unswept = false
	}
}

// preempt begins to stop the pods of lower priority that are in the way of one.
func (s *state) preempt(d scheduler.Decision, commit string, now time.Time) {
	for _, victim := range d.Victims {
		if p := s.pods.get(victim.UID); p != nil {
			s.stop(p, stop{kind: "Preempted", reason: "makes room for " + d.Pod.Pod.String() + ", whose priority is higher", commit: commit}, now)
		}
	}
}

// namespaceLabels are the labels of the declared namespaces, by name.
func namespaceLabels(objects []api.Object) map[string]map[string]string {
	labels := map[string]map[string]string{}
	for _, o := range objects {
		if n, ok := o.Value.(*corev1.Namespace); ok {
			labels[n.Name] = n.Labels
		}
	}
	return labels
}

// create gives a pod to a node. The error says why that cannot be.
func (s *state) create(a planner.Action, d scheduler.Decision, blobs map[api.Digest][]byte, now time.Time) error {
	node, placement := d.Node, a.Placement()
	placement.Node, placement.Volumes = node, a.Bound(d.Volumes)
	var err error
	if placement.Sealed, err = s.seal(a.Pod.Template, a.Template, a.Pod.Pod.Namespace, node); err != nil {
		return err
	}
	if placement.Live, err = s.sealLive(placement.Live, a.Pod.Pod.Namespace, node); err != nil {
		return err
	}
	placement.Pull = s.pullSecrets(s.pulls.names(&a.Template.Spec, a.Pod.Pod.Namespace), a.Pod.Pod.Namespace, node)
	s.noteRecipient(&placement)
	needs := append([]api.Digest{a.Pod.Template}, slices.Collect(maps.Values(a.Template.ConfigMaps))...)
	if placement.Sealed != "" {
		needs = append(needs, placement.Sealed)
	}
	needs = append(needs, placement.Live.Blobs()...)
	s.want(needs, blobs)
	s.addPod(s.nodes[node], &pod{placement: placement, assigned: true, needs: needs})
	s.templates[a.Pod.Template] = a.Template
	s.event(api.Event{Time: now, Kind: "Created", Ref: a.Pod.Pod, Reason: fmt.Sprintf("%s; on node %s", a.Reason, node), Commit: a.Commit})
	return nil
}

// provide has content stored that pods which have not started need, where this leader does not know that the store has it:
// the store that it was written to may have been lost.
func (s *state) provide(plan planner.Plan) {
	for _, n := range s.nodes {
		if !n.census.bare {
			continue
		}
		for _, p := range n.pods {
			if p.isBare() {
				s.provideFor(p, plan.Blobs)
			}
		}
	}
}

// isBare reports whether the pod may yet need what this leader does not know to be stored.
func (p *pod) isBare() bool {
	return p.needs == nil && !p.provided && p.runs() && p.phase() == api.PodPending
}

func (s *state) provideFor(p *pod, blobs map[api.Digest][]byte) {
	data, ok := blobs[p.placement.Template]
	var t api.PodTemplate
	if !ok || json.Unmarshal(data, &t) != nil {
		return
	}
	// It stays assigned even if this cannot be stored: the node may have it, and have started the pod by now.
	p.provided = true
	s.want(append([]api.Digest{p.placement.Template}, slices.Collect(maps.Values(t.ConfigMaps))...), blobs)
}

// schedulable are the nodes that may take pods, by name.
func (s *state) schedulable() []scheduler.Node {
	var nodes []scheduler.Node
	claims := s.claimsByNode()
	for _, n := range s.sortedNodes() {
		if n.usable() {
			nodes = append(nodes, n.schedulable(claims[n.name]))
		}
	}
	return nodes
}

// forgetTemplates drops the templates that no pod has any more.
func (s *state) forgetTemplates() {
	used := map[api.Digest]bool{}
	for _, n := range s.nodes {
		for _, p := range n.pods {
			used[p.placement.Template] = true
		}
	}
	for _, w := range s.workloads { // one that goes back needs what it goes back to
		used[w.Stable] = true
	}
	maps.DeleteFunc(s.templates, func(d api.Digest, _ *api.PodTemplate) bool { return !used[d] })
	maps.DeleteFunc(s.sealed, func(k sealedKey, _ api.Digest) bool { return !used[k.template] })
	s.forgetPulls()
	s.forgetLive()
}
