package scheduler

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"headway.dev/headway/api"
)

// An ask is what a pod, and every other replica of its template, needs of a node.
type ask struct {
	spec     *corev1.PodSpec
	node     string // the only one that will do; empty: any
	owner    api.Ref
	template api.Digest
	requests api.Resources
	selector []pair // ordered by key
	ports    []corev1.ContainerPort
}

// A pair is a label that the node must have.
type pair struct{ key, value string }

func newAsk(pod *Pod) *ask {
	a := &ask{
		spec:     pod.Spec,
		node:     cmp.Or(pod.Pinned, pod.Spec.NodeName),
		owner:    pod.Identity.Owner,
		template: pod.Identity.Template,
		requests: pod.Requests,
		ports:    api.HostPorts(pod.Spec),
	}
	for _, key := range slices.Sorted(maps.Keys(pod.Spec.NodeSelector)) {
		a.selector = append(a.selector, pair{key, pod.Spec.NodeSelector[key]})
	}
	return a
}

// A filter is one reason for which a node cannot take a pod.
type filter struct {
	// refuses reports whether the node cannot. The detail tells refusals of one filter apart, such as the taint.
	refuses func(a *ask, n *node) (detail string, refused bool)
	// says what is wrong with some nodes: "2 lack memory". Best is the one of them with the most room.
	says func(a *ask, count int, detail string, best *node) string
	// room is how much a node has of what it lacks; nil where it is not a matter of room.
	room func(n *node) int64
}

// filters are in the order in which they are asked; the first one that refuses a node counts for it. What an author asked
// for comes first, then what is wrong with the node, then what it lacks.
var filters = []filter{
	{refuses: isOtherNode, says: func(a *ask, n int, _ string, _ *node) string {
		return plural(n, "is", "are") + " not " + a.node + ", the one asked for"
	}},
	{refuses: isLost, says: func(_ *ask, n int, _ string, _ *node) string {
		return plural(n, "is", "are") + " lost"
	}},
	{refuses: isCordoned, says: func(_ *ask, n int, _ string, _ *node) string {
		return plural(n, "is", "are") + " cordoned"
	}},
	{refuses: lacksLabel, says: func(_ *ask, n int, label string, _ *node) string {
		return plural(n, "lacks", "lack") + " the label " + label
	}},
	{refuses: isTainted, says: func(_ *ask, n int, taint string, _ *node) string {
		return plural(n, "has", "have") + " the taint " + taint + ", which it does not tolerate"
	}},
	{refuses: lacksCPU, room: func(n *node) int64 { return n.free.MilliCPU }, says: func(a *ask, n int, _ string, best *node) string {
		return fmt.Sprintf("%s cpu (ask %s, %s free at best)", plural(n, "lacks", "lack"), cpu(a.requests.MilliCPU), cpu(best.free.MilliCPU))
	}},
	{refuses: lacksMemory, room: func(n *node) int64 { return n.free.Memory }, says: func(a *ask, n int, _ string, best *node) string {
		return fmt.Sprintf("%s memory (ask %s, %s free at best)", plural(n, "lacks", "lack"), memory(a.requests.Memory), memory(best.free.Memory))
	}},
	{refuses: isFull, room: func(n *node) int64 { return int64(n.MaxPods) }, says: func(_ *ask, n int, _ string, best *node) string {
		return fmt.Sprintf("%s as many pods as allowed (%d at most)", plural(n, "runs", "run"), best.MaxPods)
	}},
	{refuses: hasPortTaken, says: func(_ *ask, n int, port string, _ *node) string {
		return plural(n, "has", "have") + " the host port " + port + " taken"
	}},
}

func isOtherNode(a *ask, n *node) (string, bool) {
	return "", a.node != "" && a.node != n.Name
}

func isLost(_ *ask, n *node) (string, bool) { return "", n.Lost }

// cordon is what Kubernetes taints a cordoned node with: pods of DaemonSets tolerate it.
var cordon = &corev1.Taint{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule}

func isCordoned(a *ask, n *node) (string, bool) { return "", n.Cordoned && !a.tolerates(cordon) }

func lacksLabel(a *ask, n *node) (string, bool) {
	for _, want := range a.selector {
		if value, ok := n.Labels[want.key]; !ok || value != want.value {
			return want.key + "=" + want.value, true
		}
	}
	return "", false
}

func isTainted(a *ask, n *node) (string, bool) {
	for i := range n.Taints {
		t := &n.Taints[i]
		if t.Effect != corev1.TaintEffectPreferNoSchedule && !a.tolerates(t) {
			return t.ToString(), true
		}
	}
	return "", false
}

// tolerates reports whether the pod may run in spite of the taint.
func (a *ask) tolerates(taint *corev1.Taint) bool {
	return slices.ContainsFunc(a.spec.Tolerations, func(t corev1.Toleration) bool {
		switch {
		case t.Effect != "" && t.Effect != taint.Effect:
			return false
		case t.Key == "":
			return t.Operator == corev1.TolerationOpExists // every taint
		case t.Key != taint.Key:
			return false
		}
		return t.Operator == corev1.TolerationOpExists || t.Value == taint.Value
	})
}

// A pod that asks for nothing of a kind fits where that is overcommitted already.
func lacksCPU(a *ask, n *node) (string, bool) {
	return "", a.requests.MilliCPU > 0 && a.requests.MilliCPU > n.free.MilliCPU
}

func lacksMemory(a *ask, n *node) (string, bool) {
	return "", a.requests.Memory > 0 && a.requests.Memory > n.free.Memory
}

func isFull(_ *ask, n *node) (string, bool) { return "", n.MaxPods > 0 && n.pods >= n.MaxPods }

func hasPortTaken(a *ask, n *node) (string, bool) {
	for _, p := range a.ports {
		if slices.ContainsFunc(n.ports, func(held corev1.ContainerPort) bool { return collide(p, held) }) {
			return fmt.Sprintf("%d/%s", p.HostPort, p.Protocol), true
		}
	}
	return "", false
}

// collide reports whether two ports of a node are the same. One without an address holds it on every address.
func collide(a, b corev1.ContainerPort) bool {
	return a.HostPort == b.HostPort && transport(a) == transport(b) &&
		(isAnyAddress(a.HostIP) || isAnyAddress(b.HostIP) || a.HostIP == b.HostIP)
}

func transport(p corev1.ContainerPort) corev1.Protocol { return cmp.Or(p.Protocol, corev1.ProtocolTCP) }

func isAnyAddress(ip string) bool { return ip == "" || ip == "0.0.0.0" || ip == "::" }

// refuses gives the first filter that refuses the node, and its detail; nil where the pod fits.
func (a *ask) refuses(n *node) (*filter, string) {
	for i := range filters {
		if detail, refused := filters[i].refuses(a, n); refused {
			return &filters[i], detail
		}
	}
	return nil, ""
}

// refusal says why no node fits: each node is counted once, the commonest reason first.
func (f *fleet) refusal(a *ask) string {
	if len(f.nodes) == 0 {
		return "0 of 0 nodes fit: no node has joined"
	}
	type group struct {
		filter *filter
		detail string
		count  int
		best   *node // the one with the most of what is lacking
	}
	var groups []*group
	for _, n := range f.nodes {
		by, detail := a.refuses(n)
		i := slices.IndexFunc(groups, func(g *group) bool { return g.filter == by && g.detail == detail })
		if i < 0 {
			i = len(groups)
			groups = append(groups, &group{filter: by, detail: detail, best: n})
		}
		groups[i].count++
		if by.room != nil && by.room(n) > by.room(groups[i].best) {
			groups[i].best = n
		}
	}
	slices.SortStableFunc(groups, func(a, b *group) int {
		return cmp.Or(-cmp.Compare(a.count, b.count), cmp.Compare(order(a.filter), order(b.filter)), cmp.Compare(a.detail, b.detail))
	})
	said := make([]string, len(groups))
	for i, g := range groups {
		said[i] = g.filter.says(a, g.count, g.detail, g.best)
	}
	return fmt.Sprintf("0 of %d nodes fit: %s", len(f.nodes), strings.Join(said, ", "))
}

func order(by *filter) int {
	for i := range filters {
		if &filters[i] == by {
			return i
		}
	}
	return len(filters)
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func cpu(milli int64) string {
	return resource.NewMilliQuantity(max(0, milli), resource.DecimalSI).String()
}

func memory(bytes int64) string {
	return resource.NewQuantity(max(0, bytes), resource.BinarySI).String()
}
