package api

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

// LocalClass is the one class of storage: a directory that stays on its node, with its data. LocalProvisioner in a
// StorageClass makes that another name of it.
const (
	LocalClass       = "local"
	LocalProvisioner = "headway.dev/local"
	// NoProvisioner in a StorageClass says that its claims take declared volumes, and nothing is made for them.
	NoProvisioner = "kubernetes.io/no-provisioner"
)

// A Claim is storage that outlives the pods that use it. Written by the planner.
type Claim struct {
	Ref Ref `json:"ref"`
	// Owner is the StatefulSet that it was made for, or the claim itself where it is declared. Ordinal is that of its pod.
	Owner   Ref `json:"owner"`
	Ordinal int `json:"ordinal,omitempty"`
	// Size is what was asked for, in bytes; 0 is unknown.
	Size  int64  `json:"size,omitempty"`
	Class string `json:"class,omitempty"`
	// WhenDeleted and WhenScaled say that the data goes when the owner is deleted, or has fewer pods. Else it stays.
	WhenDeleted bool `json:"whenDeleted,omitempty"`
	WhenScaled  bool `json:"whenScaled,omitempty"`
	// Volume is the PersistentVolume that the claim is bound to; empty is a directory of the claim's own. The node that
	// holds the claim says so, and the planner repeats it.
	Volume string `json:"volume,omitempty"`
}

// A BoundVolume is a PersistentVolume as a pod has it through its claim, with what its node needs to mount it. Written by
// the controller, as part of a placement.
type BoundVolume struct {
	Claim  string              `json:"claim"`  // its name, in the pod's namespace
	Volume string              `json:"volume"` // name of the PersistentVolume
	Path   string              `json:"path"`   // on the machine
	Type   corev1.HostPathType `json:"type,omitempty"`
	// Local is a volume of the source local: its directory is there before, and takes the group of the pod.
	Local bool `json:"local,omitempty"`
}

// A HeldClaim is a claim whose data a node has, with what the node was last told of it, so that a new controller can learn
// that from the nodes. Written by the node.
type HeldClaim struct {
	Claim
	Node string `json:"node"`
	// Time is when the data was last in use, or else made. Of one claim on two nodes the later one counts.
	Time time.Time `json:"time"`
}

// A ReleasedClaim is one whose data its nodes are to delete, and why. Written by the planner.
type ReleasedClaim struct {
	Ref    Ref    `json:"ref"`
	Node   string `json:"node"`
	Reason string `json:"reason"`
	Commit string `json:"commit"`
}
