// Package planner compares what Git wants with what the nodes report, and says what to do about it.
//
// It is pure: equal input gives equal output, byte for byte. Time is an argument, and a plan is data that the controller
// carries out and that headway plan prints. Compute plans anew; a Keeper keeps of each plan what the next would only find again
// (docs/decisions/0029-plans-keep-what-did-not-change.md).
//
// A kind of workload is a file of its own here (deployment.go, statefulset.go): it puts each observed pod into a class
// (class.go), and stops and creates pods by those. To add a kind, write its file, and name its type in podsOf and in
// pass.workload. What it goes by, beside its pods and what Git wants, has to be noted in its part (part.go, reads.go).
package planner

import (
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

// Input is all that a plan depends on. The order of its lists makes no difference.
type Input struct {
	Revision api.Revision
	// Desired are the objects in force, ordered by ref.
	Desired []api.Object
	// Deployed are the objects that were in force until now: the Desired and the Kept of the plan before. None is unknown,
	// and then only what runs tells what there was.
	Deployed []api.Object
	// Prune allows deleting what Desired does not hold. It is false while a commit does not wholly evaluate.
	Prune bool
	// Pods are all pods assigned or reported, ordered by ref and UID.
	Pods []Pod
	// Nodes are all nodes that are known, by the controller's view of them. A DaemonSet has a pod on each that it matches.
	Nodes []Node
	// Templates are the templates of Pods, as far as they are at hand. They let reasons say what changed, and a rollout
	// that is paused replace a pod of a template that Git no longer holds. Compute does without.
	Templates map[api.Digest]*api.PodTemplate
	// Routes are the routes in force, ordered by service: a service keeps the cluster IP that it has.
	Routes []api.Route
	// ServiceCIDR is the range of cluster IPs.
	ServiceCIDR string
	// Rollouts are what the last plan said of each workload, as the report keeps it: when its rollout began and last moved.
	Rollouts []api.WorkloadStatus
	// Jobs are the records of what Jobs ran: those of the last plan, and those that nodes report. They are joined; a record
	// is to be given only once it is stored where it outlives the controller, since ended pods are cleared away by it.
	Jobs []api.JobRecord
	// Usage is what pods used of late, as nodes measured it; of several of one pod the newest counts.
	Usage []Usage
	// Claims are the claims whose data nodes have, of every node as it last said.
	Claims []api.HeldClaim
	// Scales are what the last plan said of the autoscalers. Without them their targets keep the pods that they have.
	Scales []api.ScaleRecord
	// ScalePeriod is how often autoscalers reckon; zero is 15 s.
	ScalePeriod time.Duration
	// Unseen is why pods may run that are not among Pods; empty if none can. Until then no pod is made whose identity must
	// not be there twice.
	Unseen string
	// Untold is why claims may have data that are not among Claims; empty if none can. Until then no pod is given a new
	// directory for one: its data would seem to be gone.
	Untold string
	Now    time.Time
}

// A Pod is an observed pod: placed, or still without a node.
type Pod struct {
	api.Placement
	Phase      api.PodPhase
	Reason     string
	IP         string
	Ready      bool
	ReadySince time.Time
	// Lost is a pod on a node that has been silent past its lease.
	Lost bool
	// Fenced is a lost pod that is known to run no more: its node ends what may run only once when its own lease is over,
	// and that time has passed; or the machine is known to be gone. Only then may another pod have the same identity.
	Fenced bool
	// Started is when the pod began to run, Finished when the last of its containers ended; zero is not yet, or unknown.
	Started, Finished time.Time
	// Containers are as the node reports them, and so are InitContainers, sidecars among them.
	Containers, InitContainers []api.ContainerStatus
	// Stopping is a pod that has been told to end, or is being drained for it.
	Stopping bool
	// Rekeyed is a pod whose secrets are to be sealed anew, since its node has another key: for that its template is wanted.
	Rekeyed bool
}

// wantsTemplate reports whether the plan is to hold what the pod is made from: its node may lack it yet, and so may a store
// that was lost; or its secrets are to be sealed anew.
func (p *Pod) wantsTemplate() bool { return p.Phase == api.PodPending || p.Rekeyed }

// A Node is a machine as far as planning depends on it.
type Node struct {
	Name   string
	Labels map[string]string
	Taints []corev1.Taint
	// Cordoned takes no new pods but a DaemonSet's; Draining also loses those that it has, within what the limits of
	// their workloads and the budgets of disruption allow.
	Cordoned, Draining bool
	// Lost has been silent past its lease.
	Lost bool
}

// A Plan is one step towards the desired state.
type Plan struct {
	// Deletions are the objects that Git does not hold any more, whether they go or stay; ordered by ref.
	Deletions []Deletion  `json:"deletions,omitempty"`
	Actions   []Action    `json:"actions"`           // stops first, then creations; ordered by class, owner and slot
	Updates   []Update    `json:"updates,omitempty"` // ordered by pod
	Routes    []api.Route `json:"routes"`            // ordered by service
	// Ingress are the rules for HTTP from outside.
	Ingress   api.IngressRules     `json:"ingress,omitzero"`
	Workloads []api.WorkloadStatus `json:"workloads"`
	// Jobs are the records to keep in place of those that came in; ordered by job and template.
	Jobs []api.JobRecord `json:"jobs,omitempty"`
	// Scales are the records of autoscalers to keep; ordered by target.
	Scales []api.ScaleRecord `json:"scales,omitempty"`
	// Claims are all claims that are to stay, wanted or kept; ordered by ref. Released are those of the Input whose data is
	// to be deleted, ordered by ref and node: only by a retention policy or an approval, and never while a pod uses them.
	Claims   []api.Claim         `json:"claims,omitempty"`
	Released []api.ReleasedClaim `json:"released,omitempty"`
	// Kept are the objects that Git does not hold and that are in force nonetheless; ordered by ref.
	Kept []api.Object `json:"-"`
	// Problems are objects that cannot be carried out as declared.
	Problems []api.Problem `json:"problems,omitempty"`
	// Blobs is the content that the actions name by digest, and of pods that have not started, or whose
	// secrets are to be sealed anew.
	Blobs map[api.Digest][]byte `json:"-"`
	// Wake is when the same input would next plan something else only because time went by; zero is never.
	Wake time.Time `json:"wake,omitzero"`
	// settles is when a rollout goes on that now waits; Wake also has what never ends, such as the times of CronJobs.
	settles time.Time
}

// ActionKind is what an action does.
type ActionKind string

// The kinds of action.
const (
	CreatePod ActionKind = "create"
	StopPod   ActionKind = "stop"
)

// An Action is one thing to do, and why.
type Action struct {
	Kind ActionKind      `json:"kind"`
	Pod  api.PodIdentity `json:"pod"`
	// Class is what the pod is to its workload: what is stopped for having been pruned, say, counts against the budget of deletions.
	Class  Class  `json:"class"`
	Reason string `json:"reason"`
	Commit string `json:"commit"`
	// Pinned is the only node that a created pod may run on: a DaemonSet's, or the one that has its data. Empty leaves the
	// choice to the scheduler.
	Pinned string `json:"pinned,omitempty"`
	// Template is what a created pod runs; nil for a stop.
	Template *api.PodTemplate `json:"-"`
	own      own
}

// own is what a created pod has for itself, beside its template.
type own struct {
	labels, annotations map[string]string
	hostname            string
	claims              map[string]string
	choices             []VolumeChoice
	protected           bool
	dependsOn           []api.Ref
	live                *api.LiveConfig
}

// Placement is the pod that a creation makes, before it has a node and volumes (Bound).
func (a Action) Placement() api.Placement {
	p := api.Placement{PodIdentity: a.Pod}
	if a.Template != nil {
		p.Labels = a.Template.Labels
		p.Requests, p.Extended = api.PodRequests(&a.Template.Spec), api.PodExtended(&a.Template.Spec)
		p.Ports = api.NamedPorts(&a.Template.Spec)
		p.HostPorts = api.HostPorts(&a.Template.Spec)
	}
	if len(a.own.labels) > 0 {
		p.Labels = maps.Clone(p.Labels)
		if p.Labels == nil {
			p.Labels = map[string]string{}
		}
		maps.Copy(p.Labels, a.own.labels)
	}
	p.Node, p.Annotations, p.Hostname, p.Claims, p.Protected = a.Pinned, a.own.annotations, a.own.hostname, a.own.claims, a.own.protected
	p.DependsOn, p.Live = a.own.dependsOn, a.own.live
	return p
}

// Compute plans one step. What it does not get done in one step, because pods have to become ready or to end first, it
// plans when it is called with what is then observed, or at Wake.
func Compute(in Input) Plan { return new(memory).plan(in, observe(in.Pods, 0)) }

// planAll plans everything, up to what has to see the whole of it.
func planAll(in Input, m *memory, seen *observed, pruning *pruning) *pass {
	p, want := newPass(in, m, seen), m.want
	p.takeOver(pruning)
	p.plan.Problems = append(p.plan.Problems, want.storage.problems...)
	if want.order != nil {
		p.plan.Problems = append(p.plan.Problems, want.order.problems...)
	}
	p.scale()
	for i := range want.sequence {
		p.part(&m.parts[i], &want.sequence[i])
	}
	p.countObjects()
	p.prune()
	p.updateInPlace()
	p.claims()
	p.routes()
	p.ingress()
	return p
}

// inForce gives the objects of Git and those that are kept beside them.
func inForce(desired, kept []api.Object) []api.Object {
	if len(kept) == 0 {
		return desired
	}
	return append(slices.Clip(desired), kept...)
}
