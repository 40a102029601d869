package isolation

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"headway.dev/headway/api"
)

// A policy is a NetworkPolicy with its selectors read.
type policy struct {
	namespace                       string
	pods                            labels.Selector
	isolatesIngress, isolatesEgress bool
	ingress, egress                 []*rule
}

// A rule opens ports to peers, or of peers.
type rule struct {
	peers []peer // none is every address
	ports []networkingv1.NetworkPolicyPort
	spans []span // of the peers, once they are known
	known bool
}

// A peer is pods, or a block of addresses.
type peer struct {
	namespaces labels.Selector // nil is the policy's own namespace
	pods       labels.Selector // nil with a block
	block      []span
}

// readPolicy reads a policy; false if the selector of its pods cannot be read.
func readPolicy(p *networkingv1.NetworkPolicy) (*policy, bool) {
	read := &policy{namespace: p.Namespace}
	var err error
	if read.pods, err = metav1.LabelSelectorAsSelector(&p.Spec.PodSelector); err != nil {
		return nil, false
	}
	read.isolatesIngress, read.isolatesEgress = Directions(p)
	for _, r := range p.Spec.Ingress {
		read.ingress = append(read.ingress, readRule(r.From, r.Ports))
	}
	for _, r := range p.Spec.Egress {
		read.egress = append(read.egress, readRule(r.To, r.Ports))
	}
	return read, true
}

// Directions tells in which directions a policy isolates: those it names, or else what comes in, and what goes out if it
// has rules for that.
func Directions(p *networkingv1.NetworkPolicy) (ingress, egress bool) {
	if len(p.Spec.PolicyTypes) == 0 {
		return true, len(p.Spec.Egress) > 0
	}
	return slices.Contains(p.Spec.PolicyTypes, networkingv1.PolicyTypeIngress), slices.Contains(p.Spec.PolicyTypes, networkingv1.PolicyTypeEgress)
}

func readRule(peers []networkingv1.NetworkPolicyPeer, ports []networkingv1.NetworkPolicyPort) *rule {
	r := &rule{ports: ports}
	for _, p := range peers {
		r.peers = append(r.peers, readPeer(p))
	}
	return r
}

// readPeer reads a peer. One that cannot be read is nobody, and so is one of IPv6 addresses: pods have none.
func readPeer(p networkingv1.NetworkPolicyPeer) peer {
	if p.IPBlock != nil {
		return peer{block: blockOf(p.IPBlock)}
	}
	read := peer{pods: labels.Everything()}
	var noNamespaces, noPods error
	if p.NamespaceSelector != nil {
		read.namespaces, noNamespaces = metav1.LabelSelectorAsSelector(p.NamespaceSelector)
	}
	if p.PodSelector != nil {
		read.pods, noPods = metav1.LabelSelectorAsSelector(p.PodSelector)
	}
	if noNamespaces != nil || noPods != nil {
		return peer{}
	}
	return read
}

func blockOf(b *networkingv1.IPBlock) []span {
	block, err := netip.ParsePrefix(b.CIDR)
	if err != nil || !block.Addr().Is4() {
		return nil
	}
	var holes []span
	for _, e := range b.Except {
		hole, err := netip.ParsePrefix(e)
		if err != nil || !hole.Addr().Is4() {
			return nil
		}
		holes = append(holes, spanOf(hole))
	}
	return spanOf(block).without(union(holes))
}

func (p *policy) selects(pod *Pod) bool { return p.pods.Matches(labels.Set(pod.Labels)) }

// admits reports whether a pod is among the peers of a rule in a namespace: it is in a block by its address.
func (r *rule) admits(pod *Pod, namespace string, labelsThere map[string]string) bool {
	if len(r.peers) == 0 {
		return true
	}
	return slices.ContainsFunc(r.peers, func(p peer) bool {
		switch {
		case p.pods == nil:
			return pod.IP.Is4() && slices.ContainsFunc(p.block, func(s span) bool { ip := number(pod.IP); return s.lo <= ip && ip <= s.hi })
		case p.namespaces == nil && pod.Namespace != namespace:
			return false
		case p.namespaces != nil && !p.namespaces.Matches(labels.Set(labelsThere)):
			return false
		}
		return p.pods.Matches(labels.Set(pod.Labels))
	})
}

// named reports whether a port is told by its name.
func (r *rule) named() bool {
	return slices.ContainsFunc(r.ports, byName)
}

func byName(p networkingv1.NetworkPolicyPort) bool {
	return p.Port != nil && p.Port.Type == intstr.String
}

// numbers are the rule's ports but for those told by name: all of them, where it tells none.
func (r *rule) numbers() ports { return r.portsAt(&Pod{}) }

// portsAt are the rule's ports at a pod, where names stand for the pod's own.
func (r *rule) portsAt(pod *Pod) ports {
	if len(r.ports) == 0 {
		return ports{all: true}
	}
	var ranges []api.PortRange
	for _, p := range r.ports {
		protocol := corev1.ProtocolTCP
		if p.Protocol != nil {
			protocol = *p.Protocol
		}
		switch {
		case p.Port == nil:
			ranges = append(ranges, api.PortRange{Protocol: protocol, First: 0, Last: ^uint16(0)})
		case byName(p):
			for _, own := range pod.Ports {
				if own.Name == p.Port.StrVal && protocolOf(own) == protocol {
					ranges = append(ranges, api.PortRange{Protocol: protocol, First: uint16(own.Port), Last: uint16(own.Port)})
				}
			}
		default:
			last := p.Port.IntVal
			if p.EndPort != nil {
				last = *p.EndPort
			}
			ranges = append(ranges, api.PortRange{Protocol: protocol, First: uint16(p.Port.IntVal), Last: uint16(last)})
		}
	}
	return portsOf(ranges)
}

func protocolOf(p api.ContainerPort) corev1.Protocol {
	if p.Protocol == "" {
		return corev1.ProtocolTCP
	}
	return p.Protocol
}
