package api

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

// A Digest names immutable content by its SHA-256, in hexadecimal.
type Digest string

// Short abbreviates a digest for names and for people.
func (d Digest) Short() string {
	if len(d) > 10 {
		return string(d[:10])
	}
	return string(d)
}

// A Term numbers leaders. It only grows; a node refuses what an older leader sends.
type Term uint64

// A PodTemplate is all that a pod runs: its spec, and the configuration it uses by digest, so that a changed config map
// is a changed template. It is stored as a blob under its own digest and shared by replicas.
type PodTemplate struct {
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Spec        corev1.PodSpec    `json:"spec"`
	// ConfigMaps maps each config map that the spec uses to the blob with its content (a ConfigData in JSON). One that
	// the spec marks optional and that is not declared is absent. So is, here and below, what changes in place (LiveConfig).
	ConfigMaps map[string]Digest `json:"configMaps,omitempty"`
	// Secrets maps each secret that the spec uses to the fingerprint of its content, so that a changed secret is a changed
	// template. One that the spec marks optional and that is not declared is absent.
	Secrets map[string]Digest `json:"secrets,omitempty"`
}

// ConfigData is the content of a config map, as a blob.
type ConfigData struct {
	Data       map[string]string `json:"data,omitempty"`
	BinaryData map[string][]byte `json:"binaryData,omitempty"`
}

// SecretContents is what secrets hold, by the name of each and the key in it. It crosses the bus only sealed.
type SecretContents map[string]map[string][]byte

// Resources is what a pod asks of a node: the sum over its containers.
type Resources struct {
	MilliCPU int64 `json:"milliCPU,omitempty"` // thousandths of a core
	Memory   int64 `json:"memory,omitempty"`   // bytes
}

// Add gives the sum.
func (r Resources) Add(o Resources) Resources {
	return Resources{MilliCPU: r.MilliCPU + o.MilliCPU, Memory: r.Memory + o.Memory}
}

// Sub gives the difference.
func (r Resources) Sub(o Resources) Resources {
	return Resources{MilliCPU: r.MilliCPU - o.MilliCPU, Memory: r.Memory - o.Memory}
}

// A PodIdentity is what makes a pod that pod and no other. Name and UID derive from owner, template, slot and incarnation.
type PodIdentity struct {
	Pod         Ref    `json:"pod"`
	UID         string `json:"uid"`
	Owner       Ref    `json:"owner"`            // the workload; a bare pod owns itself
	Slot        int    `json:"slot"`             // stable ordinal among the replicas of one template
	Incarnation int    `json:"incarnation"`      // how often the slot was filled before
	Template    Digest `json:"template"`         // the PodTemplate blob
	Commit      string `json:"commit,omitempty"` // the commit that asked for this pod
}

// A Placement is a pod bound to a node. It repeats of its template what the control plane needs to know without the
// blob, so that all can be rebuilt from the nodes' inventories. Written by the controller.
type Placement struct {
	PodIdentity
	Node     string            `json:"node"`
	Labels   map[string]string `json:"labels,omitempty"`
	Requests Resources         `json:"requests"`
	// Extended is what the pod asks of other resources, as PodExtended reckons it.
	Extended map[string]int64 `json:"extended,omitempty"`
	// Ports are the container ports by name, for services that name their target.
	Ports []ContainerPort `json:"ports,omitempty"`
	// HostPorts are the ports that the pod holds on its node.
	HostPorts []corev1.ContainerPort `json:"hostPorts,omitempty"`
	// Labels above are the pod's own and its template's together. Annotations are only its own, beside its template's:
	// such as the index of an Indexed Job's pod, which its environment asks for.
	Annotations map[string]string `json:"annotations,omitempty"`
	// Sealed is the blob with what the pod's secrets hold (a SecretContents in JSON), sealed to the node. Empty is none.
	Sealed Digest `json:"sealed,omitempty"`
	// Recipient is the node's key (NodeInfo.SealKey) that all of the placement which is sealed was sealed to; empty is not known.
	Recipient string `json:"recipient,omitempty"`
	// Pull is what the node shows to registries for the pod; nil is nothing of its own.
	Pull *PullSecrets `json:"pull,omitempty"`
	// Live is what changes in place of the pod's files; nil is nothing.
	Live *LiveConfig `json:"live,omitempty"`
	// Hostname is the pod's own, where that is neither its name nor what its template says.
	Hostname string `json:"hostname,omitempty"`
	// Claims are the claims that the pod has for itself, by the volume of the template that each stands behind: the
	// claimName there is the same for all replicas of a StatefulSet, and this goes before it.
	Claims map[string]string `json:"claims,omitempty"`
	// Volumes are the declared volumes that claims of the pod are bound to, by the volume of the template.
	Volumes map[string]BoundVolume `json:"volumes,omitempty"`
	// Protected repeats the owner's annotation headway.dev/protect, for when the owner is gone from Git and nothing
	// but the pod is left to tell.
	Protected bool `json:"protected,omitempty"`
	// DependsOn repeats the owner's annotation headway.dev/depends-on, for the same: what is deleted together goes in order.
	DependsOn []Ref `json:"dependsOn,omitempty"`
}

// A ContainerPort is a named port of a pod.
type ContainerPort struct {
	Name     string          `json:"name"`
	Port     int32           `json:"port"`
	Protocol corev1.Protocol `json:"protocol,omitempty"`
}

// An Assignment is the complete set of pods of one node. What is not in it does not run there. Written by the controller.
type Assignment struct {
	Node     string      `json:"node"`
	Term     Term        `json:"term"`
	Sequence uint64      `json:"sequence"` // grows with every change within a term
	Commit   string      `json:"commit"`   // the revision that was in force
	Pods     []Placement `json:"pods"`     // ordered by pod ref
	// Jobs are records that the node keeps for the controller, and reports as they are.
	Jobs []JobRecord `json:"jobs,omitempty"` // ordered by job and template
	// Claims are what the node notes of the claims whose data it has. Released are those whose data it deletes, once no pod
	// there has them.
	Claims   []Claim         `json:"claims,omitempty"`   // ordered by ref
	Released []ReleasedClaim `json:"released,omitempty"` // ordered by ref
	// Isolation is what network policies let through to and from the pods; nil is everything.
	Isolation *Isolation `json:"isolation,omitempty"`
	// MeterEvery asks the node to say that often what its containers use, for autoscalers; zero asks for nothing.
	MeterEvery time.Duration `json:"meterEvery,omitempty"` // nanoseconds
	// Drift says what the node does about what differs from the assignment without having been asked to; empty is to heal it.
	Drift DriftPolicy `json:"drift,omitempty"`
	// Ingress is what the node serves of HTTP from outside; nil says nothing of it, and the node serves what it did.
	Ingress *IngressAssignment `json:"ingress,omitempty"`
}
