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
	// Extended is what pods can have of other resources, by name: devices such as nvidia.com/gpu by number, ephemeral-storage
	// and pages such as hugepages-2Mi in bytes.
	Extended map[string]int64 `json:"extended,omitempty"`
	MaxPods  int              `json:"maxPods"`
	OS       string           `json:"os"`
	Arch     string           `json:"arch"`
	Kernel   string           `json:"kernel,omitempty"`
	Runtime  string           `json:"runtime,omitempty"` // such as containerd://1.6.20
	Version  string           `json:"version,omitempty"` // of headway
	SealKey  string           `json:"sealKey,omitempty"` // the public key that secrets for its pods are sealed to (age)
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
	// Voters is how many nodes this one counts in a vote on whether the leader is lost.
	Voters int `json:"voters,omitempty"`
	// Claims are those whose data is on the node.
	Claims []HeldClaim `json:"claims,omitempty"` // ordered by ref
	// Pressures are what the node runs short of: it evicts pods, and new ones are kept away.
	Pressures []Pressure `json:"pressures,omitempty"` // ordered by condition
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
	Placement  Placement      `json:"placement"`
	Phase      PodPhase       `json:"phase"`
	Reason     string         `json:"reason,omitempty"`  // one word, as Kubernetes has it: ImagePullBackOff
	Message    string         `json:"message,omitempty"` // for a person
	IP         string         `json:"ip,omitempty"`
	Ready      bool           `json:"ready"`
	ReadySince time.Time      `json:"readySince,omitzero"` // when Ready last became true
	Created    time.Time      `json:"created,omitzero"`    // when the node first heard of the pod
	Started    time.Time      `json:"started,omitzero"`    // when the last of its containers had first started
	Finished   time.Time      `json:"finished,omitzero"`   // when the last of its containers ended, of a pod that Succeeded or Failed
	Conditions []PodCondition `json:"conditions,omitempty"`
	// InitContainers and Containers are in the order of the spec; sidecars are among the former.
	InitContainers []ContainerStatus `json:"initContainers,omitempty"`
	Containers     []ContainerStatus `json:"containers,omitempty"`
}

// A PodCondition is something that holds of a pod or not, in Kubernetes' words: PodScheduled, Initialized,
// ContainersReady, Ready.
type PodCondition struct {
	Type    corev1.PodConditionType `json:"type"`
	True    bool                    `json:"true"`
	Since   time.Time               `json:"since"` // when it last began or ceased to hold
	Reason  string                  `json:"reason,omitempty"`
	Message string                  `json:"message,omitempty"`
}

// A ContainerEnd is how a run of a container ended.
type ContainerEnd struct {
	ID       string    `json:"id,omitempty"`
	Reason   string    `json:"reason"` // Completed, Error, OOMKilled or StartError
	Message  string    `json:"message,omitempty"`
	ExitCode int       `json:"exitCode"`
	Started  time.Time `json:"started,omitzero"`
	Finished time.Time `json:"finished,omitzero"`
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
	// Pulling is how far its image is, while it is on its way.
	Pulling *PullProgress `json:"pulling,omitempty"`
	// RestartAt is when a container that waits for its next run has it.
	RestartAt time.Time `json:"restartAt,omitzero"`
	// Devices are those that it has to itself, by their names, such as nvidia.com/gpu=0.
	Devices []string `json:"devices,omitempty"`
	// LastState is how the run before this one ended; of a container that waits, the last one.
	LastState *ContainerEnd `json:"lastState,omitempty"`
}

// A Route is one service as nodes program it. Written by the controller.
type Route struct {
	Service   Ref         `json:"service"`
	ClusterIP string      `json:"clusterIP,omitempty"` // empty for a headless service, and one that is another name
	Ports     []RoutePort `json:"ports"`               // ordered as declared
	Endpoints []Endpoint  `json:"endpoints"`           // ready pods, ordered by IP
	// AffinitySeconds keeps a client on one endpoint that long; 0 is no affinity.
	AffinitySeconds int32 `json:"affinitySeconds,omitempty"`
	// ExternalName is the DNS name that the service is another name of. It has no address and no endpoints then.
	ExternalName string `json:"externalName,omitempty"`
	// InternalLocal has connections to the cluster IP reach only the endpoints of the node that they come from.
	InternalLocal bool `json:"internalLocal,omitempty"`
	// ExternalLocal has connections from outside reach only the endpoints of the node that they come to.
	ExternalLocal bool `json:"externalLocal,omitempty"`
	// OnNodes opens the service's own ports on every node's addresses, which is what a load balancer is here.
	OnNodes bool `json:"onNodes,omitempty"`
	// ExternalIPs are addresses for which every node takes the service's connections, if they come by it.
	ExternalIPs []string `json:"externalIPs,omitempty"`
	// SourceRanges are the networks whose connections are taken from outside; none is every network.
	SourceRanges []string `json:"sourceRanges,omitempty"`
	// HealthCheckPort is where each node says over HTTP whether it has endpoints of its own; 0 is nowhere.
	HealthCheckPort int32 `json:"healthCheckPort,omitempty"`
}

// A RoutePort is one port of a service.
type RoutePort struct {
	Name     string          `json:"name,omitempty"`
	Protocol corev1.Protocol `json:"protocol"`
	Port     int32           `json:"port"`
	NodePort int32           `json:"nodePort,omitempty"` // open on every node's addresses; 0 is none
}

// An Endpoint is a pod that takes a service's connections, or an address that was written by hand.
type Endpoint struct {
	Pod  Ref    `json:"pod,omitzero"` // zero for an address that was written by hand
	UID  string `json:"uid,omitempty"`
	IP   string `json:"ip"`
	Node string `json:"node,omitempty"`
	// Hostname names the endpoint below the service's own name in DNS.
	Hostname string `json:"hostname,omitempty"`
	// TargetPorts are the pod's ports, one for each of the route's Ports, in that order; 0 where the pod has none of that name.
	TargetPorts []int32 `json:"targetPorts"`
	// Weight is the endpoint's part of new connections, in millionths of what it would have if all had the same; 0 is the same,
	// and negative is none.
	Weight int32 `json:"weight,omitempty"`
}

// EvenWeight is the weight of an endpoint that has the same part as every other.
const EvenWeight = 1_000_000

// Share is the endpoint's weight as it counts: EvenWeight where nothing else is said, and never negative.
func (e Endpoint) Share() int32 {
	if e.Weight == 0 {
		return EvenWeight
	}
	return max(0, e.Weight)
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
