package planner

import (
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// A daemonSet is a DaemonSet in one pass: a pod on every node that it matches.
type daemonSet struct {
	*rollout
	wanted []*Node           // the nodes that are to have a pod, without the lost ones; ordered by name
	there  map[string][]*Pod // all observed on a node, the best first
	// surge is how many nodes may have a new pod beside the old one, disruption how many may have none that is available.
	surge, disruption int
}

// daemonSet plans a DaemonSet. A node that is lost keeps its pod, and is not waited for: it belongs to no other node, and
// is brought up to date when the node is back. What is on a node that nobody knows is left alone.
func (p *pass) daemonSet(w workload, set *appsv1.DaemonSet) {
	d := daemonSet{there: map[string][]*Pod{}}
	stay := map[string]bool{}
	spec := daemonSpec(set)
	p.reads.nodes = true
	has := map[string]bool{} // the nodes on which a pod of it counts
	for _, pod := range p.seen.of(w.Ref) {
		has[pod.Node] = has[pod.Node] || isLive(pod)
	}
	for _, n := range p.nodes {
		known := p.daemonFits(n, spec, has[n.Name])
		stay[n.Name] = known || n.Lost
		if known && !n.Lost {
			d.wanted = append(d.wanted, n)
		}
	}
	known := map[string]bool{}
	for _, n := range p.nodes {
		known[n.Name] = true
	}
	strangers := 0
	for _, pod := range p.seen.of(w.Ref) {
		if isLive(pod) && !known[pod.Node] {
			strangers++
		}
	}
	onDelete := set.Spec.UpdateStrategy.Type == appsv1.OnDeleteDaemonSetStrategyType
	d.surge, d.disruption = daemonLimits(set.Spec.UpdateStrategy.RollingUpdate, len(d.wanted))
	d.rollout = p.newRollout(w, rollout{
		replicas: len(d.wanted) + strangers,
		minReady: time.Duration(set.Spec.MinReadySeconds) * time.Second,
		deadline: defaultDeadline,
		beyond:   func(pod *Pod) bool { return known[pod.Node] && !stay[pod.Node] },
		exempt:   func(pod *Pod) bool { return onDelete || !known[pod.Node] },
		resident: true,
	})
	for _, pod := range d.pods {
		d.there[pod.Node] = append(d.there[pod.Node], pod)
	}
	d.stopEnded()
	for _, pod := range d.of[ClassSurplus] {
		d.stop(pod, ClassSurplus, fmt.Sprintf("node %s does not match any more", pod.Node))
	}
	d.stopTwins()
	d.fillNodes()
	if d.held == "" {
		d.update()
	}
}

// daemonTolerations are what Kubernetes lets every pod of a DaemonSet bear: it goes where others may not yet, or no longer.
var daemonTolerations = []corev1.Toleration{
	{Key: corev1.TaintNodeNotReady, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute},
	{Key: corev1.TaintNodeUnreachable, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute},
	{Key: corev1.TaintNodeDiskPressure, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule},
	{Key: corev1.TaintNodeMemoryPressure, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule},
	{Key: corev1.TaintNodePIDPressure, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule},
	{Key: corev1.TaintNodeUnschedulable, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule},
}

// daemonSpec is the spec of a set's pods, with the tolerations that all of the kind have.
func daemonSpec(set *appsv1.DaemonSet) *corev1.PodSpec {
	spec := set.Spec.Template.Spec
	spec.Tolerations = slices.Clone(spec.Tolerations)
	added := daemonTolerations
	if spec.HostNetwork {
		added = append(slices.Clip(added), corev1.Toleration{
			Key: corev1.TaintNodeNetworkUnavailable, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule,
		})
	}
	for _, t := range added {
		if !slices.Contains(spec.Tolerations, t) {
			spec.Tolerations = append(spec.Tolerations, t)
		}
	}
	return &spec
}

// daemonFits reports whether the node is to have a pod. One that is there already stays while only a taint against new pods
// has been added.
func (p *pass) daemonFits(n *Node, spec *corev1.PodSpec, there bool) bool {
	effects := []corev1.TaintEffect{corev1.TaintEffectNoExecute, corev1.TaintEffectNoSchedule}
	if there {
		effects = effects[:1]
	}
	return n.matches(spec) && n.repels(spec.Tolerations, effects...) == nil
}

// daemonLimits are maxSurge and maxUnavailable in nodes; a percentage rounds up. Where both come to nothing one node may be
// without, or else no rollout could move.
func daemonLimits(u *appsv1.RollingUpdateDaemonSet, nodes int) (surge, unavailable int) {
	if u == nil {
		return 0, 1
	}
	scale := func(value *intstr.IntOrString, standard int) int {
		if value == nil {
			return standard
		}
		n, err := intstr.GetScaledValueFromIntOrPercent(value, nodes, true)
		if err != nil {
			return standard
		}
		return max(0, n)
	}
	surge, unavailable = scale(u.MaxSurge, 0), scale(u.MaxUnavailable, 1)
	if surge == 0 && unavailable == 0 {
		unavailable = 1
	}
	return surge, unavailable
}

// on gives the best live pod of the wanted template on a node, and the best of another.
func (d *daemonSet) on(node string) (current, old *Pod) {
	for _, pod := range d.there[node] {
		switch {
		case !isLive(pod):
		case !d.outdated(pod) && current == nil:
			current = pod
		case d.outdated(pod) && old == nil:
			old = pod
		}
	}
	return current, old
}

// stopTwins leaves at most one pod of the wanted template and one other on each node.
func (d *daemonSet) stopTwins() {
	for _, n := range d.wanted {
		current, old := d.on(n.Name)
		for _, pod := range d.there[n.Name] {
			if isLive(pod) && pod != current && pod != old {
				d.stop(pod, ClassSurplus, fmt.Sprintf("node %s has another", n.Name))
			}
		}
	}
}

// fillNodes makes pods on the nodes that have none: what stops there still may hold a port, and is waited for.
func (d *daemonSet) fillNodes() {
	template, known := d.template, true
	if d.held != "" {
		template, known = d.heldTemplate()
	}
	if !known {
		return
	}
	for _, n := range d.wanted {
		if len(d.there[n.Name]) == 0 {
			d.put(n, template)
		}
	}
}

func (d *daemonSet) put(n *Node, template Template) {
	var last *Pod
	incarnation := 0
	for _, pod := range d.there[n.Name] {
		if pod.Template == template.Digest && pod.Incarnation >= incarnation {
			last, incarnation = pod, pod.Incarnation+1
		}
	}
	reason := d.creationReason(last)
	if last == nil && d.status.Cause == "" {
		reason = fmt.Sprintf("node %s matches and has none", n.Name)
	}
	d.add(Action{Pod: identifyOn(d.owner, template.Digest, n.Name, incarnation), Pinned: n.Name, Reason: reason}, template)
}

// update replaces old pods, those that serve nobody at once. With surge a node gets its new pod first, and loses the old one
// when the new one is available; without, the old one goes first, as long as few enough nodes are without.
func (d *daemonSet) update() {
	without, surging := 0, 0
	for _, n := range d.wanted {
		switch current, old := d.on(n.Name); {
		case current != nil && d.available(current):
		case old == nil || !d.available(old):
			without++
		case current != nil:
			surging++
		}
	}
	for _, n := range d.wanted {
		current, old := d.on(n.Name)
		switch {
		case old == nil:
		case current != nil && (d.available(current) || !d.available(old)):
			d.stopOutdated([]*Pod{old})
		case current != nil:
		case d.surge > 0 && !d.available(old):
			d.put(n, d.template)
			d.stopOutdated([]*Pod{old})
		case surging < d.surge:
			surging++
			d.put(n, d.template)
		case d.surge > 0:
		case !d.available(old):
			d.stopOutdated([]*Pod{old})
		case without < d.disruption:
			without++
			d.stopOutdated([]*Pod{old})
		}
	}
}
