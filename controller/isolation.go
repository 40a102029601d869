package controller

import (
	"net/netip"
	"reflect"

	networkingv1 "k8s.io/api/networking/v1"

	"headway.dev/headway/api"
	"headway.dev/headway/isolation"
)

// isolate computes what isolates the pods of each node, by the network policies in force. It comes after placing, so that
// a pod and what isolates it are assigned together.
func (s *state) isolate() {
	s.isolation = nil
	in := isolation.Input{Policies: policies(s.inForce)}
	if len(in.Policies) == 0 {
		return
	}
	in.Namespaces = namespaceLabels(s.inForce)
	for _, p := range s.allPods() {
		in.Pods = append(in.Pods, isolation.Pod{
			UID: p.placement.UID, Namespace: p.placement.Pod.Namespace, Node: p.placement.Node,
			Labels: p.placement.Labels, Ports: p.placement.Ports, IP: s.ownAddress(p),
		})
	}
	s.isolation = isolation.Compute(in)
}

func policies(objects []api.Object) []*networkingv1.NetworkPolicy {
	var found []*networkingv1.NetworkPolicy
	for _, o := range objects {
		if p, ok := o.Value.(*networkingv1.NetworkPolicy); ok {
			found = append(found, p)
		}
	}
	return found
}

// ownAddress is the pod's own address; zero for one that has none yet, or no more, and for one that has its node's.
func (s *state) ownAddress(p *pod) netip.Addr {
	n := s.nodes[p.placement.Node]
	if p.status == nil || !p.occupies() || n.info == nil {
		return netip.Addr{}
	}
	ip, err := netip.ParseAddr(p.status.IP)
	if err != nil {
		return netip.Addr{}
	}
	if own, err := netip.ParsePrefix(n.info.PodCIDR); err == nil && !own.Contains(ip) {
		return netip.Addr{}
	}
	return ip
}

// isolationOf is what the assignment of a node says of its pods' isolation. Where the objects have gaps, it does not say
// that a pod is open: the policy that isolates it may be among what they lack.
func (s *state) isolationOf(n *node) *api.Isolation {
	table := s.isolation[n.name]
	if !s.desired.gaps {
		return table
	}
	partial := &api.Isolation{Partial: true}
	if table != nil {
		partial.Pods = table.Pods
	}
	return partial
}

// equalIsolations compares two tables; an empty list is as good as none.
func equalIsolations(a, b *api.Isolation) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Partial == b.Partial && len(a.Pods) == len(b.Pods) && (len(a.Pods) == 0 || reflect.DeepEqual(a.Pods, b.Pods))
}
