package api

import corev1 "k8s.io/api/core/v1"

// An Isolation is what network policies let through to and from the pods of one node. A pod that no policy selects is in
// none of its lists: everything passes. It comes with the assignment of its pods, so that no pod is ever assigned without
// what isolates it.
type Isolation struct {
	Pods []IsolatedPods `json:"pods,omitempty"` // ordered by the first UID
	// Partial tells that policies may be missing that were in force: a pod goes on as it was in a direction of which
	// nothing is said.
	Partial bool `json:"partial,omitempty"`
}

// IsolatedPods are pods with the same rules.
type IsolatedPods struct {
	UIDs []string `json:"uids"` // ordered
	// Ingress is what may come to them, and Egress what may go out from them; nil is everything. Replies may always pass,
	// and so may what goes between a pod and its own node.
	Ingress *Allowed `json:"ingress,omitempty"`
	Egress  *Allowed `json:"egress,omitempty"`
}

// Allowed is what passes in one direction; without flows that is nothing.
type Allowed struct {
	Flows []Flow `json:"flows,omitempty"` // ordered by the first network; no two have an address in common
}

// A Flow is the ports that can be reached from some addresses, or at them.
type Flow struct {
	Networks []string `json:"networks"` // such as 10.244.3.7/32; ordered, as few as can be
	// Ports are at the receiving end; none is every port of every protocol. They are ordered, and none overlaps.
	Ports []PortRange `json:"ports,omitempty"`
}

// A PortRange is some ports of a protocol: those from First to Last.
type PortRange struct {
	Protocol corev1.Protocol `json:"protocol"`
	First    uint16          `json:"first"`
	Last     uint16          `json:"last"`
}
