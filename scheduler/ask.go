package scheduler

import (
	"cmp"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

// An ask is what a pod, and every other replica of its template, needs of a node.
type ask struct {
	spec     *corev1.PodSpec
	node     string // the only one that will do; empty: any
	owner    api.Ref
	template api.Digest
	requests api.Resources
	extended []amount // ordered by name
	ports    []corev1.ContainerPort
	class    *class
	claims   []string
	home     *home // nil: its claims lie nowhere yet
	volumes  []VolumeClaim
	bound    *volumes // of the pods decided before
	// kind is what its pods are to the rules of others; nil where nobody has rules.
	kind *kind
	// strict are the rules that a node must keep to, soft those that it had better.
	strict, soft []*rule
}

// An amount is how much of a resource is asked for.
type amount struct {
	name  string
	value int64
}

func (f *fleet) newAsk(pod *Pod) *ask {
	a := &ask{
		spec:     pod.Spec,
		node:     cmp.Or(pod.Pinned, pod.Spec.NodeName),
		owner:    pod.Identity.Owner,
		template: pod.Identity.Template,
		requests: pod.Requests,
		ports:    api.HostPorts(pod.Spec),
		class:    f.classOf(pod.Spec),
		claims:   qualified(pod.Identity.Pod.Namespace, pod.Claims),
		volumes:  pod.Volumes,
		bound:    &f.volumes,
	}
	extended := api.PodExtended(pod.Spec)
	for _, name := range slices.Sorted(maps.Keys(extended)) {
		a.extended = append(a.extended, amount{name, extended[name]})
	}
	a.home = f.homeOf(a.claims)
	if f.pods != nil {
		a.kind = f.kindOf(kindKey{owner: a.owner, namespace: pod.Identity.Pod.Namespace, template: a.template, spec: a.spec}, pod.Labels)
		f.addRules(a)
	}
	return a
}

// candidates are the nodes that may do, as far as they themselves go.
func (f *fleet) candidates(a *ask) []*node {
	only := f.named[a.node]
	switch {
	case a.home != nil && a.home.apart:
		return nil
	case a.home != nil:
		only = a.home.node
	case a.node == "" && len(a.volumes) > 0:
		return slices.DeleteFunc(slices.Clone(a.class.open), func(n *node) bool { return lacksVolume(a, n) })
	case a.node == "":
		return a.class.open
	}
	if only == nil || !a.class.verdicts[only.index].open || a.node != "" && only.Name != a.node || lacksVolume(a, only) {
		return nil
	}
	return []*node{only}
}
