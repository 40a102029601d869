package controller

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
	"headway.dev/headway/planner"
	"headway.dev/headway/scheduler"
	"headway.dev/headway/tenure"
)

// The states of a node, as the report has them.
const (
	nodeReady    = "Ready"
	nodeCordoned = "Cordoned"
	nodeLost     = "Lost"
)

// A node is a machine as the controller sees it.
type node struct {
	name     string
	info     *api.NodeInfo // nil: it has not joined
	declared *corev1.Node  // nil: Git does not speak of it

	seen     time.Time // its last sign of life, or when its lease began to count
	term     api.Term  // the highest that it has obeyed
	reported bool      // a status of it is known
	status   api.NodeStatus

	// remembered is a machine of which the report of an earlier leader tells, and at first nothing else does.
	remembered bool

	lost bool // silent past its lease
	// lapsed is a lost node that runs nothing any more of what must not run twice.
	lapsed  bool
	contact tenure.Contact
	obeys   tenure.Mark // the assignment in force, by its newest beat
	voters  int         // how many it counts in a vote; 0 is unknown
	// mourned is a loss that was announced, by this leader or the one before, with no sign of life since. Such a node gets
	// no new pods; what it is thought to run is given up only once it is lost.
	mourned bool

	meter meter // of what its containers use

	pods map[string]*pod // by UID: all that it was given or reports
	// census is what was found when it was last looked at. unlooked is that something may have changed since, uncompared
	// that its pods may not be those of the assignment written.
	census               census
	unlooked, uncompared bool
	labelled             labelled

	// written is the assignment that the store holds, as far as known. It was found when the leader began, or written since.
	written  api.Assignment
	known    bool   // the store had an assignment: one that is missing is not an empty one
	taken    bool   // this leader knows what the node was given, and may write its assignment
	ours     bool   // this leader has written it
	doubtful bool   // the last write failed: nobody knows what the store holds
	sequence uint64 // the highest that was tried
}

// node gives the node of that name, and makes its acquaintance if need be.
func (s *state) node(name string, now time.Time) *node {
	n, ok := s.nodes[name]
	if !ok {
		n = &node{name: name, seen: now, pods: map[string]*pod{}, unlooked: true, uncompared: true}
		s.nodes[name] = n
		s.newcomer = now
		s.ordered = nil
	}
	return n
}

// observeNodes takes in the nodes that have joined. One that is missing from the list is not gone: only its silence
// would tell.
func (s *state) observeNodes(infos []api.NodeInfo, now time.Time) (changed bool) {
	for _, info := range infos {
		n := s.node(info.Name, now)
		if n.info != nil && reflect.DeepEqual(*n.info, info) {
			continue
		}
		if n.info != nil && n.info.SealKey != info.SealKey {
			s.forgetSealed(info.Name)
		}
		s.alive(n, now)
		n.info, changed = &info, true
		n.touch()
	}
	return changed
}

// observeStatus takes in what a node reports. The bus delivers a status again when it reconnects, so only one that says
// something new is a sign of life.
func (s *state) observeStatus(status api.NodeStatus, now time.Time) (changed bool) {
	n := s.node(status.Node, now)
	if n.reported && n.status.Time.Equal(status.Time) && reflect.DeepEqual(n.status, status) {
		return false
	}
	s.alive(n, now)
	n.reported, n.status = true, status
	n.term = max(n.term, status.Term)
	if status.Voters > 0 {
		n.voters = status.Voters
		s.fleet = max(s.fleet, status.Voters) // beats, which tell of all, may be yet to come
	}
	s.mergePods(n, now)
	return true
}

// observeBeat renews a node's lease. It reports whether that is news.
func (s *state) observeBeat(beat api.Heartbeat, at time.Time) (changed bool) {
	n, known := s.nodes[beat.Node]
	if !known {
		n = s.node(beat.Node, at)
	}
	changed = !known || n.lost || n.mourned || beat.Term > max(n.term, s.term)
	s.alive(n, at)
	n.term = max(n.term, beat.Term)
	s.hear(n, beat, at)
	return changed
}

// observeAck takes in which routes a node has. It reports whether a stopping pod may wait for it.
func (s *state) observeAck(ack api.Ack) (changed bool) {
	changed = s.acks[ack.Node] != ack.Revision
	s.acks[ack.Node] = ack.Revision
	return changed && s.draining > 0
}

// declareNodes takes in what Git says of nodes.
func (s *state) declareNodes(objects []api.Object, now time.Time) {
	for _, n := range s.nodes {
		n.declared = nil
	}
	for _, o := range objects {
		if declared, ok := o.Value.(*corev1.Node); ok {
			s.node(o.Ref.Name, now).declared = declared
		}
	}
}

// alive renews the lease of a node. The first sign of life after a silence of all begins every lease anew: it was the
// controller that heard nothing, so the others must have the time to be heard.
func (s *state) alive(n *node, at time.Time) {
	if none := !s.anyAlive(); none || at.Sub(s.heard) >= s.nodeLease/2 {
		for _, other := range s.nodes {
			if other.joined() && (none || !other.lost) && at.After(other.seen) {
				other.lost, other.seen = false, at
			}
		}
	}
	if at.After(s.heard) {
		s.heard = at
	}
	n.lost = false
	if at.After(n.seen) {
		n.seen = at
	}
	if n.mourned {
		n.mourned = false
		s.event(api.Event{Time: at, Kind: "NodeReady", Ref: nodeRef(n.name), Reason: "it gives signs of life again"})
	}
}

// expireLeases finds the nodes that have been silent for too long.
func (s *state) expireLeases(now time.Time) {
	s.hush = time.Time{}
	if now.Sub(s.heard) >= s.nodeLease/2 {
		s.hush = s.heard.Add(s.nodeLease)
	}
	for _, n := range s.sortedNodes() {
		if n.lost || now.Before(s.leaseEnd(n)) {
			continue
		}
		n.lost = true
		if n.joined() && !n.mourned {
			n.mourned = true
			s.event(api.Event{Time: now, Kind: "NodeLost", Ref: nodeRef(n.name), Reason: n.silence(), Warning: true})
		}
	}
}

// leaseEnd is when the lease of a node that is not lost ends. While nobody at all is heard that is for all at once, when it
// is for the last one: it is the controller that hears nothing.
func (s *state) leaseEnd(n *node) time.Time {
	if end := n.seen.Add(s.nodeLease); s.hush.IsZero() || end.After(s.hush) {
		return end
	}
	return s.hush
}

// anyAlive reports whether a node is not lost. When all are silent at once, it is the controller that is cut off, or
// that slept: then no pod is given up, for there would be no node to put it on either.
func (s *state) anyAlive() bool {
	for _, n := range s.nodes {
		if n.joined() && !n.lost {
			return true
		}
	}
	return false
}

// joined tells a machine from a name in Git.
func (n *node) joined() bool { return n.info != nil || n.reported || n.known || n.remembered }

// silence explains a loss. It says nothing that changes while the loss lasts.
func (n *node) silence() string {
	if !n.joined() {
		return "declared in Git; it has not joined"
	}
	return fmt.Sprintf("silent since %s: its lease has passed", n.seen.UTC().Format(time.RFC3339))
}

// usable reports whether the node may be considered for new pods. Before its first status nobody knows what it runs.
func (n *node) usable() bool { return n.info != nil && n.reported }

// drainAnnotation, on a Node in Git, moves the pods of a machine elsewhere, within the limits of their workloads.
const drainAnnotation = "headway.dev/drain"

func (n *node) draining() bool {
	return n.declared != nil && n.declared.Annotations[drainAnnotation] == "true"
}

func (n *node) cordoned() bool {
	return n.draining() || n.declared != nil && n.declared.Spec.Unschedulable
}

// outOfService reports whether Git says that the machine runs nothing any more: that it is off, or gone for good.
func (n *node) outOfService() bool {
	return slices.ContainsFunc(n.taints(), func(t corev1.Taint) bool { return t.Key == corev1.TaintNodeOutOfService })
}

// taints are those that Git's Node object has, and those of what the machine runs short of.
func (n *node) taints() []corev1.Taint {
	var taints []corev1.Taint
	if n.declared != nil {
		taints = n.declared.Spec.Taints
	}
	for _, p := range n.status.Pressures {
		taints = append(slices.Clip(taints), p.Taint())
	}
	return taints
}

// pressed says what the machine runs short of; empty if nothing.
func (n *node) pressed() string {
	var all []string
	for _, p := range n.status.Pressures {
		all = append(all, fmt.Sprintf("%s: %s", p.Condition, p.Message))
	}
	return strings.Join(all, "; ")
}

// labelled are the labels of a node, by what they were made of.
type labelled struct {
	info     *api.NodeInfo
	declared *corev1.Node
	labels   map[string]string
}

// labels are the node's own, with those of Git's Node object over them. They are made once, and never changed.
func (n *node) labels() map[string]string {
	if l := &n.labelled; l.labels != nil && l.info == n.info && l.declared == n.declared {
		return l.labels
	}
	labels := map[string]string{}
	if n.info != nil {
		maps.Copy(labels, n.info.Labels)
	}
	if n.declared != nil {
		maps.Copy(labels, n.declared.Labels)
	}
	n.labelled = labelled{n.info, n.declared, labels}
	return labels
}

// schedulable is the node as the scheduler sees it.
func (n *node) schedulable(claims []api.Ref) scheduler.Node {
	return scheduler.Node{
		Name: n.name, Labels: n.labels(), Taints: n.taints(), Cordoned: n.cordoned(), Lost: n.lost || n.mourned,
		Allocatable: n.info.Allocatable, Extended: n.info.Extended, MaxPods: n.info.MaxPods, Claims: claims,
	}
}

// plannable are the nodes as the planner sees them, by name.
func (s *state) plannable() []planner.Node {
	var nodes []planner.Node
	for _, n := range s.sortedNodes() {
		if n.usable() {
			nodes = append(nodes, planner.Node{
				Name: n.name, Labels: n.labels(), Taints: n.taints(), Cordoned: n.cordoned(), Draining: n.draining(),
				Lost: n.lost && s.anyAlive(),
			})
		}
	}
	return nodes
}

// condition is the node as the report shows it.
func (s *state) condition(n *node, pods int) api.NodeCondition {
	c := api.NodeCondition{Name: n.name, State: nodeReady, Pods: pods}
	switch {
	case n.lost || n.mourned:
		c.State, c.Reason = nodeLost, n.silence()
		if n.joined() {
			c.LastSeen = n.seen
		}
		if n.joined() && !s.anyAlive() {
			c.Reason += "; every node is silent, so its pods are not given up"
		}
	case n.draining():
		c.State, c.Reason = nodeCordoned, "draining: "+drainAnnotation+" in Git"
	case n.cordoned():
		c.State, c.Reason = nodeCordoned, "spec.unschedulable in Git"
	case !n.reported:
		c.Reason = "it has not reported its pods yet: nothing is placed on it before"
	}
	if pressed := n.pressed(); pressed != "" && c.State != nodeLost {
		c.Reason = strings.TrimPrefix(c.Reason+"; "+pressed, "; ")
	}
	return c
}

// notYet says what the first plan must wait for, for a plan made in ignorance of what runs would start it a second time,
// or stop it; empty when all is known.
func (s *state) notYet(now time.Time) string {
	var silent []string
	for _, n := range s.sortedNodes() {
		// Of one that only Git speaks of a store that is not fresh would know, had it ever been given anything.
		if !n.reported && !n.lost && (n.joined() || s.fresh) {
			silent = append(silent, n.name)
		}
	}
	switch {
	case len(silent) > 0:
		return fmt.Sprintf("waiting for %s to report what runs there, or for the lease to pass", strings.Join(silent, ", "))
	case s.fresh && now.Before(s.newcomer.Add(s.settle)):
		return "waiting for nodes to turn up: the store knew of none"
	}
	return ""
}

// newer reports whether the node has taken up a later assignment than the store holds: a store that was restored from
// an older copy, or a node that obeyed a leader whose store is lost.
func (n *node) newer() bool {
	return mark{n.status.Term, n.status.Sequence}.compare(mark{n.written.Term, n.written.Sequence}) > 0
}

// caughtUp reports whether the node has taken up the newest assignment written.
func (n *node) caughtUp() bool {
	return n.reported && mark{n.status.Term, n.status.Sequence}.compare(mark{n.written.Term, n.written.Sequence}) >= 0
}

func nodeRef(name string) api.Ref { return api.Ref{Kind: "Node", Name: name} }
