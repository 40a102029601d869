// Package scheduler places pods on nodes: filters say where a pod can run, scores where it runs best, and every refusal
// explains itself. It is pure: equal input gives equal output, whatever the order of the input.
package scheduler

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

// A Node is a machine that could run pods.
type Node struct {
	Name        string
	Labels      map[string]string
	Taints      []corev1.Taint
	Cordoned    bool // takes no new pods
	Lost        bool // silent past its lease
	Allocatable api.Resources
	MaxPods     int // 0 is no limit
}

// A Running pod takes room on its node.
type Running struct {
	Node     string
	Owner    api.Ref
	Template api.Digest
	UID      string
	Requests api.Resources
	// HostPorts that it holds on the node.
	HostPorts []corev1.ContainerPort
	// Stopping is a pod that has been told to end: it takes room, but pods of its owner need not keep away from it.
	Stopping bool
}

// A Pod waits for a node.
type Pod struct {
	Identity api.PodIdentity
	Spec     *corev1.PodSpec
	Requests api.Resources
	// Pinned is the only node that the pod may run on, whatever its spec says; empty leaves the choice.
	Pinned string
}

// A Decision binds a pod to a node, or refuses it and says why.
type Decision struct {
	Pod  api.PodIdentity
	Node string // empty when refused
	// Reason says why this node, or what every node lacks: "0 of 3 nodes fit: 2 lack memory (ask 512Mi, 100Mi free at best),
	// 1 is cordoned".
	Reason string
}

// Place decides on every pod, with the room that those decided before it leave. Of pods that compete for the last room, those
// of the higher priority come first, then those of the lower slot. The decisions are ordered by pod and UID.
func Place(nodes []Node, running []Running, pods []Pod) []Decision {
	f := newFleet(nodes, running)
	waiting := slices.Clone(pods)
	slices.SortFunc(waiting, compareWaiting)
	decisions := make([]Decision, 0, len(pods))
	for len(waiting) > 0 {
		n := 1
		for n < len(waiting) && alike(&waiting[0], &waiting[n]) {
			n++
		}
		decisions = f.placeAlike(waiting[:n], decisions)
		waiting = waiting[n:]
	}
	slices.SortFunc(decisions, func(a, b Decision) int {
		return cmp.Or(a.Pod.Pod.Compare(b.Pod.Pod), cmp.Compare(a.Pod.UID, b.Pod.UID))
	})
	return decisions
}

// compareWaiting is the order in which pods are decided on. The replicas of a template come one after the other.
func compareWaiting(a, b Pod) int {
	return cmp.Or(
		-cmp.Compare(priority(a.Spec), priority(b.Spec)),
		a.Identity.Owner.Compare(b.Identity.Owner),
		cmp.Compare(a.Identity.Template, b.Identity.Template),
		cmp.Compare(a.Pinned, b.Pinned),
		cmp.Compare(a.Identity.Slot, b.Identity.Slot),
		cmp.Compare(a.Identity.Incarnation, b.Identity.Incarnation),
		cmp.Compare(a.Identity.UID, b.Identity.UID),
	)
}

func priority(spec *corev1.PodSpec) int32 {
	if spec.Priority == nil {
		return 0
	}
	return *spec.Priority
}

// alike reports whether two pods are replicas of one template, so that what is found out for one holds for the other.
func alike(a, b *Pod) bool {
	return a.Identity.Template != "" && a.Identity.Template == b.Identity.Template && a.Pinned == b.Pinned &&
		a.Identity.Owner == b.Identity.Owner && a.Requests == b.Requests
}

// placeAlike decides on replicas of one template. Nodes are asked once: where a replica goes, only that node changes.
func (f *fleet) placeAlike(pods []Pod, decisions []Decision) []Decision {
	a := newAsk(&pods[0])
	f.countPeers(a)
	fitting := f.fitting(a)
	for i := range pods {
		d := Decision{Pod: pods[i].Identity}
		if len(fitting) == 0 {
			d.Reason = f.refusal(a)
			decisions = append(decisions, d)
			continue
		}
		best := choose(fitting, hash(pods[i].Identity.UID))
		c := &fitting[best]
		d.Node, d.Reason = c.node.Name, c.reason(a, len(fitting), len(f.nodes))
		decisions = append(decisions, d)
		f.take(c.node, a)
		if refused, _ := a.refuses(c.node); refused != nil {
			fitting = slices.Delete(fitting, best, best+1)
		} else {
			c.score = a.score(c.node)
		}
	}
	return decisions
}
