// Package scheduler places pods on nodes: filters say where a pod can run, scores where it runs best, and every refusal
// explains itself. It is pure: equal input gives equal output, whatever the order of the input.
package scheduler

import (
	"cmp"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
	// Extended is what pods can have of other resources, by name. A node that says nothing of ephemeral-storage is not
	// bounded by it; of all others it has none then.
	Extended map[string]int64
	MaxPods  int // 0 is no limit
	// Claims are the local claims (PersistentVolumeClaim) whose data lies there. A node that has left stays in the list as lost as long as it has
	// any, so that no pod begins anew elsewhere.
	Claims []api.Ref
}

// A Running pod takes room on its node.
type Running struct {
	Node string
	// Pod names it, for victims.
	Pod      api.Ref
	Owner    api.Ref // in the pod's own namespace
	Template api.Digest
	UID      string
	Requests api.Resources
	Extended map[string]int64
	// HostPorts that it holds on the node.
	HostPorts []corev1.ContainerPort
	// Labels are the pod's own and its template's together.
	Labels map[string]string
	// Spec says which pods it keeps away from, and its priority. Nil is unknown: it keeps away from none then, and is no
	// victim. Pods of one template share it.
	Spec *corev1.PodSpec
	// Claims are the names of the local claims that it uses: they lie on its node.
	Claims []string
	// Started is when it began to run; of two victims the younger one goes.
	Started time.Time
	// Unready is a pod that serves nobody: its end counts against no budget.
	Unready bool
	// Stopping is a pod that has been told to end: it takes room, and who must keep away from it does, but it counts for
	// nothing else.
	Stopping bool
}

// A Pod waits for a node.
type Pod struct {
	Identity api.PodIdentity
	Spec     *corev1.PodSpec
	Labels   map[string]string
	Requests api.Resources
	// Claims are the names of the local claims that it uses. It goes only where they lie; one that lies nowhere yet will
	// lie where the pod goes.
	Claims []string
	// Volumes are the claims that need declared volumes. Each of those is bound to one claim at most.
	Volumes []VolumeClaim
	// Pinned is the only node that the pod may run on, whatever its spec says; empty leaves the choice.
	Pinned string
}

// A VolumeClaim is a claim that may have one of some volumes. One that is bound already has one choice.
type VolumeClaim struct {
	Claim   api.Ref
	Choices []Volume // the best first; the same for all pods that have the claim
}

// A Volume is a declared one.
type Volume struct {
	Name string
	// Affinity says which nodes have it; nil is every node.
	Affinity *corev1.NodeSelector
}

// A Budget bounds how many of the pods that it selects may be ended to make room for others.
type Budget struct {
	Ref      api.Ref // in the namespace of its pods
	Selector *metav1.LabelSelector
	Left     int // how many more
}

// Input is all that decisions depend on. The order of its lists makes no difference.
type Input struct {
	Nodes   []Node
	Running []Running
	Pods    []Pod
	// Namespaces are the labels of namespaces, by name. Each has kubernetes.io/metadata.name whether or not it is in there.
	Namespaces map[string]map[string]string
	// Budgets bound preemption.
	Budgets []Budget
}

// A Decision binds a pod to a node, or refuses it and says why.
type Decision struct {
	Pod  api.PodIdentity
	Node string // empty when refused
	// Reason says why this node, or what every node lacks: "0 of 3 nodes fit: 2 lack memory (ask 512Mi, 100Mi free at best),
	// 1 is cordoned".
	Reason string
	// Victims are running pods of lower priority whose end makes room for a refused pod, the lowest first. It is placed once
	// they are gone. Their slot, incarnation and commit are left out.
	Victims []api.PodIdentity
	// Volumes are the names of the volumes that the pod's claims take, by the claim's name.
	Volumes map[string]string
}

// Place decides on every pod where nothing is known of budgets and the labels of namespaces.
func Place(nodes []Node, running []Running, pods []Pod) []Decision {
	return Compute(Input{Nodes: nodes, Running: running, Pods: pods})
}

// Compute decides on every pod, with the room that those decided before it leave. Of pods that compete for the last room,
// those of the higher priority come first, then those of the lower slot. The decisions are ordered by pod and UID.
func Compute(in Input) []Decision {
	f := newFleet(&in)
	waiting := slices.Clone(in.Pods)
	slices.SortFunc(waiting, compareWaiting)
	decisions := make([]Decision, 0, len(waiting))
	for len(waiting) > 0 {
		n := 1
		for n < len(waiting) && f.alike(&waiting[0], &waiting[n]) {
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
	if c := cmp.Compare(priority(b.Spec), priority(a.Spec)); c != 0 {
		return c
	}
	if c := a.Identity.Owner.Compare(b.Identity.Owner); c != 0 {
		return c
	}
	return cmp.Or(
		cmp.Compare(a.Identity.Template, b.Identity.Template),
		cmp.Compare(a.Pinned, b.Pinned),
		cmp.Compare(a.Identity.Slot, b.Identity.Slot),
		cmp.Compare(a.Identity.Incarnation, b.Identity.Incarnation),
		cmp.Compare(a.Identity.UID, b.Identity.UID),
	)
}

// The priorities of the classes that every cluster has (Kubernetes: pkg/apis/scheduling/types.go).
const (
	nodeCritical    = 2_000_001_000
	clusterCritical = 2_000_000_000
)

func priority(spec *corev1.PodSpec) int32 {
	switch {
	case spec.Priority != nil:
		return *spec.Priority
	case spec.PriorityClassName == "system-node-critical":
		return nodeCritical
	case spec.PriorityClassName == "system-cluster-critical":
		return clusterCritical
	}
	return 0
}

// alike reports whether two pods are replicas of one template, so that what is found out for one holds for the other. Those
// with claims are not: each has its own, or they have to follow one another.
func (f *fleet) alike(a, b *Pod) bool {
	return a.Identity.Template != "" && a.Identity.Template == b.Identity.Template && a.Pinned == b.Pinned &&
		a.Identity.Owner == b.Identity.Owner && a.Requests == b.Requests && len(a.Claims)+len(a.Volumes) == 0 && len(b.Claims)+len(b.Volumes) == 0 &&
		(f.pods == nil || maps.Equal(a.Labels, b.Labels))
}

// placeAlike decides on replicas of one template. Nodes are asked once: where a replica goes, only that node changes, and
// what the pods of a rule's domain amount to.
func (f *fleet) placeAlike(pods []Pod, decisions []Decision) []Decision {
	a := f.newAsk(&pods[0])
	f.countPeers(a)
	fitting := f.fitting(a, pods[0].Identity.UID)
	refusal, hopeless := "", false
	for i := range pods {
		d := Decision{Pod: pods[i].Identity}
		best, fit := fitting.choose(a)
		if best >= 0 {
			c := &fitting.list[best]
			d.Node, d.Reason = c.node.Name, c.reason(a, fit, len(f.nodes))
			d.Volumes = f.bind(a, c.node)
			f.take(c.node, a)
			fitting.asked(a, best)
			refusal = ""
		} else {
			if refusal == "" {
				refusal = f.refusal(a)
			}
			d.Reason = refusal
			if !hopeless {
				n, victims, found := f.preempt(a)
				if hopeless = !found; found {
					d.Reason, d.Victims = refusal+"; "+makesRoom(n, victims), identities(victims)
					fitting.without(a, n)
					refusal = ""
				}
			}
		}
		decisions = append(decisions, d)
	}
	return decisions
}
