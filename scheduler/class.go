package scheduler

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

// A class is what pods have in common that want the same of a node itself, whatever runs there: where they may and had better
// go by its labels and taints. Workloads have few of them.
type class struct {
	spec     *corev1.PodSpec // of one of them
	selector []pair          // ordered by key
	required *corev1.NodeSelector
	verdicts []verdict // by index of the node
	open     []*node   // ordered by name
	// bearing is set for pods that go where memory is short, because they ask for some of it.
	bearing bool
}

// A pair is a label with its value.
type pair struct{ key, value string }

// A verdict is what a class thinks of a node.
type verdict struct {
	wanted    bool // its labels are as asked for
	tolerated bool // no taint keeps the pods off
	open      bool // both, and it takes pods
	unwanted  int32
	preferred int32
}

// classOf gives the class of pods of the spec.
func (f *fleet) classOf(spec *corev1.PodSpec) *class {
	key := classKey(spec)
	bearing := f.squeezed && api.QOSClass(spec) != corev1.PodQOSBestEffort
	if bearing {
		key = "asks for something\n" + key
	}
	if c, ok := f.classes[key]; ok {
		return c
	}
	c := &class{spec: spec, verdicts: make([]verdict, len(f.nodes)), bearing: bearing}
	for _, key := range slices.Sorted(maps.Keys(spec.NodeSelector)) {
		c.selector = append(c.selector, pair{key, spec.NodeSelector[key]})
	}
	var preferred []corev1.PreferredSchedulingTerm
	if affinity := nodeAffinity(spec); affinity != nil {
		c.required, preferred = affinity.RequiredDuringSchedulingIgnoredDuringExecution, affinity.PreferredDuringSchedulingIgnoredDuringExecution
	}
	for i, n := range f.nodes {
		v := &c.verdicts[i]
		v.wanted = c.lacking(n) == nil && (c.required == nil || meetsAny(c.required, n.Node))
		v.tolerated = c.repelled(n) == nil
		v.open = v.wanted && v.tolerated && !n.Lost && !c.shutOut(n)
		if !v.open {
			continue
		}
		c.open = append(c.open, n)
		for t := range n.Taints {
			if n.Taints[t].Effect == corev1.TaintEffectPreferNoSchedule && !api.Tolerate(spec.Tolerations, &n.Taints[t]) {
				v.unwanted++
			}
		}
		for p := range preferred {
			if api.MeetsTerm(&preferred[p].Preference, n.Name, n.Labels) {
				v.preferred += preferred[p].Weight
			}
		}
	}
	f.classes[key] = c
	return c
}

func nodeAffinity(spec *corev1.PodSpec) *corev1.NodeAffinity {
	if spec.Affinity == nil {
		return nil
	}
	return spec.Affinity.NodeAffinity
}

// classKey tells classes apart.
func classKey(spec *corev1.PodSpec) string {
	if len(spec.NodeSelector) == 0 && len(spec.Tolerations) == 0 && nodeAffinity(spec) == nil {
		return ""
	}
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(spec.NodeSelector)) {
		fmt.Fprintf(&b, "%s=%s\n", key, spec.NodeSelector[key])
	}
	for _, t := range spec.Tolerations {
		fmt.Fprintf(&b, "%q %q %q %q\n", t.Key, t.Operator, t.Value, t.Effect)
	}
	if affinity := nodeAffinity(spec); affinity != nil {
		text, err := json.Marshal(affinity)
		if err != nil {
			return fmt.Sprintf("%p", affinity) // nothing in it can fail; at worst it is a class for itself
		}
		b.Write(text)
	}
	return b.String()
}

// lacking is the first label asked for that the node does not have.
func (c *class) lacking(n *node) *pair {
	for i := range c.selector {
		if value, ok := n.Labels[c.selector[i].key]; !ok || value != c.selector[i].value {
			return &c.selector[i]
		}
	}
	return nil
}

// repelled is the first taint that keeps the pods off the node.
func (c *class) repelled(n *node) *corev1.Taint {
	for i := range n.Taints {
		t := &n.Taints[i]
		if t.Effect == corev1.TaintEffectPreferNoSchedule || c.bearing && isSqueeze(t) {
			continue
		}
		if !api.Tolerate(c.spec.Tolerations, t) {
			return t
		}
	}
	return nil
}

// isSqueeze reports whether a taint says that the node's memory is short. As in Kubernetes only pods of the best-effort class
// are kept off: they are the first that would be evicted.
func isSqueeze(t *corev1.Taint) bool {
	return t.Key == corev1.TaintNodeMemoryPressure && t.Effect == corev1.TaintEffectNoSchedule
}

// cordon is what Kubernetes taints a cordoned node with: pods of DaemonSets tolerate it.
var cordon = &corev1.Taint{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule}

func (c *class) shutOut(n *node) bool { return n.Cordoned && !api.Tolerate(c.spec.Tolerations, cordon) }
