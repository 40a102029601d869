package schema

import (
	"slices"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func finishNetworkPolicy(i *inspection, p *networkingv1.NetworkPolicy) {
	defaultNetworkPolicy(p)
	i.labelSelector([]any{"spec", "podSelector"}, &p.Spec.PodSelector)
	i.idleRules(p, networkingv1.PolicyTypeIngress, "ingress", len(p.Spec.Ingress))
	i.idleRules(p, networkingv1.PolicyTypeEgress, "egress", len(p.Spec.Egress))
	for n := range p.Spec.Ingress {
		at := []any{"spec", "ingress", n}
		i.peers(under(at, "from"), p.Spec.Ingress[n].From)
		i.policyPorts(under(at, "ports"), p.Spec.Ingress[n].Ports)
	}
	for n := range p.Spec.Egress {
		at := []any{"spec", "egress", n}
		i.peers(under(at, "to"), p.Spec.Egress[n].To)
		i.policyPorts(under(at, "ports"), p.Spec.Egress[n].Ports)
	}
}

// idleRules warns of rules for a direction that the policy does not isolate.
func (i *inspection) idleRules(p *networkingv1.NetworkPolicy, direction networkingv1.PolicyType, field string, rules int) {
	if rules > 0 && !slices.Contains(p.Spec.PolicyTypes, direction) {
		i.warn([]any{"spec", field}, "has no effect: policyTypes is without %s, so that all may pass in this direction", direction)
	}
}

func (i *inspection) peers(at []any, peers []networkingv1.NetworkPolicyPeer) {
	for n, p := range peers {
		here := under(at, n)
		i.labelSelector(under(here, "podSelector"), p.PodSelector)
		i.labelSelector(under(here, "namespaceSelector"), p.NamespaceSelector)
		switch {
		case p.IPBlock != nil && (p.PodSelector != nil || p.NamespaceSelector != nil):
			i.fail(under(here, "ipBlock"), "may not be set beside podSelector or namespaceSelector: write two peers")
		case p.IPBlock == nil && p.PodSelector == nil && p.NamespaceSelector == nil:
			i.fail(here, "needs one of podSelector, namespaceSelector, ipBlock")
		case p.IPBlock != nil:
			block := i.network(under(here, "ipBlock", "cidr"), p.IPBlock.CIDR)
			if block.IsValid() && !block.Addr().Is4() {
				i.warn(under(here, "ipBlock", "cidr"), "%s is nobody's: pods have IPv4 addresses alone", p.IPBlock.CIDR)
			}
			for k, e := range p.IPBlock.Except {
				hole := i.network(under(here, "ipBlock", "except", k), e)
				if block.IsValid() && hole.IsValid() && (hole.Bits() <= block.Bits() || !block.Contains(hole.Addr())) {
					i.fail(under(here, "ipBlock", "except", k), "%s is not a part of %s", e, p.IPBlock.CIDR)
				}
			}
		}
	}
}

func (i *inspection) policyPorts(at []any, ports []networkingv1.NetworkPolicyPort) {
	for n, p := range ports {
		if p.EndPort == nil {
			continue
		}
		here := under(at, n, "endPort")
		switch {
		case p.Port == nil || p.Port.Type == intstr.String:
			i.fail(here, "may be set only where port is a number")
		case *p.EndPort < p.Port.IntVal:
			i.fail(here, "%d is less than port, %d", *p.EndPort, p.Port.IntVal)
		}
	}
}
