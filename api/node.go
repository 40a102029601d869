package api

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

// NodeInfo is what a node says of itself when it joins. Written by the node.
type NodeInfo struct {
	Name        string            `json:"name"`
	Labels      map[string]string `json:"labels,omitempty"`
	Addresses   []string          `json:"addresses"` // reachable from other nodes, best first
	PodCIDR     string            `json:"podCIDR"`
	Capacity    Resources         `json:"capacity"`
	Allocatable Resources         `json:"allocatable"` // capacity less what the system keeps
	MaxPods     int               `json:"maxPods"`
	OS          string            `json:"os"`
	Arch        string            `json:"arch"`
	Kernel      string            `json:"kernel,omitempty"`
	Runtime     string            `json:"runtime,omitempty"` // such as containerd://1.6.20
	Version     string            `json:"version,omitempty"` // of headway
}

// A Heartbeat renews a node's lease.
type Heartbeat struct {
	Node string `json:"node"`
	Term Term   `json:"term"` // the highest term the node has obeyed
}

// NodeStatus is the observed state of every pod on a node, as a whole. Written by the node.
type NodeStatus struct {
	Node string    `json:"node"`
	Time time.Time `json:"time"`
	// Term and Sequence name the newest assignment that the node has taken up.
	Term     Term        `json:"term"`
	Sequence uint64      `json:"sequence"`
	Pods     []PodStatus `json:"pods"` // ordered by pod ref, then UID
	// Jobs are the records of that assignment, as the node keeps them for a controller that lost them.
	Jobs []JobRecord `json:"jobs,omitempty"`
}

// A PodPhase is where a pod is in its life; it never goes back.
type PodPhase string

// The phases, in order. Kubernetes' words, with Stopping for a pod that has been told to end.
const (
	PodPending   PodPhase = "Pending"
	PodRunning   PodPhase = "Running"
	PodSucceeded PodPhase = "Succeeded"
	PodFailed    PodPhase = "Failed"
	PodStopping  PodPhase = "Stopping"
)

// PodStatus is what a node observes of one pod, with the placement it runs by, so that a new controller can learn all
// from the nodes.
type PodStatus struct {
	Placement  Placement         `json:"placement"`
	Phase      PodPhase          `json:"phase"`
	Reason     string            `json:"reason,omitempty"`  // one word, as Kubernetes has it: ImagePullBackOff
	Message    string            `json:"message,omitempty"` // for a person
	IP         string            `json:"ip,omitempty"`
	Ready      bool              `json:"ready"`
	ReadySince time.Time         `json:"readySince,omitzero"` // when Ready last became true
	Started    time.Time         `json:"started,omitzero"`
	Containers []ContainerStatus `json:"containers,omitempty"` // in the order of the spec
}

// ContainerStatus is what a node observes of one container.
type ContainerStatus struct {
	Name     string    `json:"name"`
	ID       string    `json:"id,omitempty"`
	Image    string    `json:"image,omitempty"`
	PID      int       `json:"pid,omitempty"` // in the machine's own process table
	State    string    `json:"state"`         // waiting, running or terminated
	Reason   string    `json:"reason,omitempty"`
	Message  string    `json:"message,omitempty"`
	ExitCode int       `json:"exitCode,omitempty"`
	Restarts int       `json:"restarts"`
	Ready    bool      `json:"ready"`
	Started  time.Time `json:"started,omitzero"`
	Finished time.Time `json:"finished,omitzero"`
}

// A Route is one service as nodes program it. Written by the controller.
type Route struct {
	Service   Ref         `json:"service"`
	ClusterIP string      `json:"clusterIP,omitempty"` // empty for a headless service
	Ports     []RoutePort `json:"ports"`               // ordered as declared
	Endpoints []Endpoint  `json:"endpoints"`           // ready pods, ordered by IP
	// AffinitySeconds keeps a client on one endpoint that long; 0 is no affinity.
	AffinitySeconds int32 `json:"affinitySeconds,omitempty"`
}

// A RoutePort is one port of a service.
type RoutePort struct {
	Name     string          `json:"name,omitempty"`
	Protocol corev1.Protocol `json:"protocol"`
	Port     int32           `json:"port"`
}

// An Endpoint is a pod that takes a service's connections.
type Endpoint struct {
	Pod  Ref    `json:"pod"`
	UID  string `json:"uid"`
	IP   string `json:"ip"`
	Node string `json:"node"`
	// TargetPorts are the pod's ports, one for each of the route's Ports, in that order; 0 where the pod has none of that name.
	TargetPorts []int32 `json:"targetPorts"`
}

// A RouteTable is every route, as of one revision of the routes bucket.
type RouteTable struct {
	Revision uint64  `json:"revision"`
	Routes   []Route `json:"routes"` // ordered by service ref
}

// An Ack says which revision of the routes a node's kernel has. Written by the node.
type Ack struct {
	Node     string `json:"node"`
	Revision uint64 `json:"revision"`
}

// An Event says what happened to what, why, and by which commit.
type Event struct {
	Time    time.Time `json:"time"`
	Origin  string    `json:"origin"` // controller, or node/NAME
	Kind    string    `json:"kind"`   // one word: Created, Stopped, Quarantined, ...
	Ref     Ref       `json:"ref"`
	Reason  string    `json:"reason"`
	Commit  string    `json:"commit,omitempty"`
	Warning bool      `json:"warning,omitempty"`
}
