// Package scheduler places pods on nodes: filters say where a pod can run, scores where it runs best, and every refusal
// explains itself. It is pure: equal input gives equal output, whatever the order of the input.
package scheduler

import (
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
	MaxPods     int
}

// A Running pod takes room on its node.
type Running struct {
	Node     string
	Owner    api.Ref
	UID      string
	Requests api.Resources
	// HostPorts that it holds on the node.
	HostPorts []corev1.ContainerPort
}

// A Pod waits for a node.
type Pod struct {
	Identity api.PodIdentity
	Spec     *corev1.PodSpec
	Requests api.Resources
}

// A Decision binds a pod to a node, or refuses it and says why.
type Decision struct {
	Pod  api.PodIdentity
	Node string // empty when refused
	// Reason says why this node, or what every node lacks: "0 of 3 nodes fit: 2 lack memory (need 512Mi), 1 is cordoned".
	Reason string
}
