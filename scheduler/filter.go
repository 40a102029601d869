package scheduler

import (
	"cmp"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// A filter is one reason for which a node cannot take a pod.
type filter struct {
	refuses func(a *ask, n *node) bool
	// says what is wrong with the node. Nodes of which the same is said are counted together.
	says func(a *ask, n *node) phrase
	// room is how much the node has of what it lacks, and aside what is said of the one among several that has the most. Nil
	// where it is not a matter of room.
	room  func(a *ask, n *node) int64
	aside func(a *ask, best *node) string
}

// A phrase says something of one node, or of several.
type phrase struct{ one, many string }

func (p phrase) of(count int) string {
	if count == 1 {
		return p.one
	}
	return p.many
}

// with ends the phrase with what is the same for all.
func (p phrase) with(text string) phrase { return phrase{p.one + text, p.many + text} }

var (
	is   = phrase{"is ", "are "}
	has  = phrase{"has ", "have "}
	lack = phrase{"lacks ", "lack "}
	run  = phrase{"runs ", "run "}
)

// filters are in the order in which they are asked; the first one that refuses a node counts for it. What an author asked
// for comes first, then what is wrong with the node, then what it lacks, then what runs around it.
var filters = []filter{
	{refuses: isOtherNode, says: func(a *ask, _ *node) phrase { return is.with("not " + a.node + ", the one asked for") }},
	{refuses: isLost, says: always(is.with("lost"))},
	{refuses: isCordoned, says: always(is.with("cordoned"))},
	{refuses: lacksLabel, says: func(a *ask, n *node) phrase {
		label := a.class.lacking(n)
		return lack.with("the label " + label.key + "=" + label.value)
	}},
	{refuses: isUnwanted, says: func(a *ask, _ *node) phrase {
		return phrase{"does", "do"}.with(" not match its node affinity " + describe(a.class.required))
	}},
	{refuses: isTainted, says: func(a *ask, n *node) phrase {
		if pressure, ok := pressures[a.class.repelled(n).Key]; ok {
			return is.with(pressure)
		}
		return has.with("the taint " + a.class.repelled(n).ToString() + ", which it does not tolerate")
	}},
	{refuses: lacksVolume, says: func(a *ask, n *node) phrase { return a.withoutVolume(n) }},
	{
		refuses: lacksCPU, says: always(lack.with("cpu")),
		room:  func(_ *ask, n *node) int64 { return n.free.MilliCPU },
		aside: func(a *ask, best *node) string { return scarce(cpu(a.requests.MilliCPU), cpu(best.free.MilliCPU)) },
	},
	{
		refuses: lacksMemory, says: always(lack.with("memory")),
		room:  func(_ *ask, n *node) int64 { return n.free.Memory },
		aside: func(a *ask, best *node) string { return scarce(memory(a.requests.Memory), memory(best.free.Memory)) },
	},
	{refuses: hasNone, says: func(a *ask, n *node) phrase { return has.with("no " + a.none(n)) }},
	{
		refuses: lacksExtended, says: func(a *ask, n *node) phrase { return lack.with(a.scarce(n).name) },
		room: func(a *ask, n *node) int64 { return n.extended[a.scarce(n).name] },
		aside: func(a *ask, best *node) string {
			e := a.scarce(best)
			return scarce(quantity(e.name, e.value), quantity(e.name, best.extended[e.name]))
		},
	},
	{
		refuses: isFull, says: always(run.with("as many pods as allowed")),
		room:  func(_ *ask, n *node) int64 { return int64(n.MaxPods) },
		aside: func(_ *ask, best *node) string { return fmt.Sprintf(" (%d at most)", best.MaxPods) },
	},
	{refuses: hasPortTaken, says: func(a *ask, n *node) phrase { return has.with("the host port " + a.portTaken(n) + " taken") }},
	ruleFilter(spread), ruleFilter(near), ruleFilter(apart), ruleFilter(shunned),
}

// pressures are the taints by which a machine itself says that it has nothing left to give.
var pressures = map[string]string{
	corev1.TaintNodeMemoryPressure: "under memory pressure, where no pod goes that requests nothing",
	corev1.TaintNodeDiskPressure:   "under disk pressure",
}

func always(p phrase) func(*ask, *node) phrase { return func(*ask, *node) phrase { return p } }

func scarce(asked, free string) string { return fmt.Sprintf(" (ask %s, %s free at best)", asked, free) }

// ruleFilter is for the rules of one kind that must be kept to.
func ruleFilter(what ruleKind) filter {
	first := func(a *ask, n *node) *rule {
		i := slices.IndexFunc(a.strict, func(r *rule) bool { return r.what == what && r.refuses(n) })
		if i < 0 {
			return nil
		}
		return a.strict[i]
	}
	return filter{
		refuses: func(a *ask, n *node) bool { return first(a, n) != nil },
		says:    func(a *ask, n *node) phrase { return first(a, n).says(n) },
	}
}

func isOtherNode(a *ask, n *node) bool { return a.node != "" && a.node != n.Name }

func isLost(_ *ask, n *node) bool { return n.Lost }

func isCordoned(a *ask, n *node) bool { return a.class.shutOut(n) }

func lacksLabel(a *ask, n *node) bool { return a.class.lacking(n) != nil }

func isUnwanted(a *ask, n *node) bool { return !a.class.verdicts[n.index].wanted }

func isTainted(a *ask, n *node) bool { return a.class.repelled(n) != nil }

// hasRoom reports whether the node has what the pod takes of it.
func (n *node) hasRoom(a *ask) bool {
	return !lacksCPU(a, n) && !lacksMemory(a, n) && !isFull(a, n) &&
		(len(a.extended) == 0 || !hasNone(a, n) && !lacksExtended(a, n)) && (len(a.ports) == 0 || !hasPortTaken(a, n))
}

// A pod that asks for nothing of a kind fits where that is overcommitted already.
func lacksCPU(a *ask, n *node) bool {
	return a.requests.MilliCPU > 0 && a.requests.MilliCPU > n.free.MilliCPU
}

func lacksMemory(a *ask, n *node) bool {
	return a.requests.Memory > 0 && a.requests.Memory > n.free.Memory
}

func isFull(_ *ask, n *node) bool { return n.MaxPods > 0 && n.pods >= n.MaxPods }

// unbounded is a resource of which a node that says nothing has enough.
const unbounded = string(corev1.ResourceEphemeralStorage)

func hasNone(a *ask, n *node) bool { return a.none(n) != "" }

// none is what the node has nothing of, whoever runs there.
func (a *ask) none(n *node) string {
	for i := range a.extended {
		if name := a.extended[i].name; n.Extended[name] == 0 && name != unbounded {
			return name
		}
	}
	return ""
}

func lacksExtended(a *ask, n *node) bool { return a.scarce(n) != nil }

// scarce is what the node has less of than the pod asks for.
func (a *ask) scarce(n *node) *amount {
	for i := range a.extended {
		e := &a.extended[i]
		if free, ok := n.extended[e.name]; ok && e.value > free {
			return e
		}
	}
	return nil
}

func hasPortTaken(a *ask, n *node) bool { return a.portTaken(n) != "" }

func (a *ask) portTaken(n *node) string {
	for _, p := range a.ports {
		if slices.ContainsFunc(n.ports, func(held corev1.ContainerPort) bool { return collide(p, held) }) {
			return fmt.Sprintf("%d/%s", p.HostPort, p.Protocol)
		}
	}
	return ""
}

// collide reports whether two ports of a node are the same. One without an address holds it on every address.
func collide(a, b corev1.ContainerPort) bool {
	return a.HostPort == b.HostPort && transport(a) == transport(b) &&
		(isAnyAddress(a.HostIP) || isAnyAddress(b.HostIP) || a.HostIP == b.HostIP)
}

func transport(p corev1.ContainerPort) corev1.Protocol { return cmp.Or(p.Protocol, corev1.ProtocolTCP) }

func isAnyAddress(ip string) bool { return ip == "" || ip == "0.0.0.0" || ip == "::" }

// forbids reports whether what runs around the node keeps the pod off.
func (a *ask) forbids(n *node) bool {
	for _, r := range a.strict {
		if r.refuses(n) {
			return true
		}
	}
	return false
}
