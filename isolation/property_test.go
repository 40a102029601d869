package isolation

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"pgregory.net/rapid"

	"headway.dev/headway/api"
)

// A packet asks to begin a connection between a pod of the cluster and any address.
type packet struct {
	pod      *Pod
	inwards  bool
	peer     netip.Addr
	protocol corev1.Protocol
	port     int32
}

// passesByTheBook decides about a packet as the documentation of NetworkPolicy reads, one sentence after the other, and
// as slowly.
func passesByTheBook(in Input, p packet) bool {
	isolated := false
	for _, policy := range in.Policies {
		if policy.Namespace != p.pod.Namespace || !matches(&policy.Spec.PodSelector, p.pod.Labels) {
			continue
		}
		types := policy.Spec.PolicyTypes
		if len(types) == 0 {
			types = append(types, networkingv1.PolicyTypeIngress)
			if len(policy.Spec.Egress) > 0 {
				types = append(types, networkingv1.PolicyTypeEgress)
			}
		}
		if p.inwards && slices.Contains(types, networkingv1.PolicyTypeIngress) {
			isolated = true
			for _, r := range policy.Spec.Ingress {
				if peerByTheBook(in, policy.Namespace, r.From, p) && portByTheBook(r.Ports, p, p.pod) {
					return true
				}
			}
		}
		if !p.inwards && slices.Contains(types, networkingv1.PolicyTypeEgress) {
			isolated = true
			for _, r := range policy.Spec.Egress {
				if peerByTheBook(in, policy.Namespace, r.To, p) && portByTheBook(r.Ports, p, podAt(in, p.peer)) {
					return true
				}
			}
		}
	}
	return !isolated
}

func podAt(in Input, ip netip.Addr) *Pod {
	for i := range in.Pods {
		if in.Pods[i].IP == ip {
			return &in.Pods[i]
		}
	}
	return nil
}

func matches(s *metav1.LabelSelector, set map[string]string) bool {
	selector, err := metav1.LabelSelectorAsSelector(s)
	return err == nil && selector.Matches(labels.Set(set))
}

func peerByTheBook(in Input, namespace string, peers []networkingv1.NetworkPolicyPeer, p packet) bool {
	if len(peers) == 0 {
		return true
	}
	for _, peer := range peers {
		if b := peer.IPBlock; b != nil {
			inside := netip.MustParsePrefix(b.CIDR).Contains(p.peer)
			for _, e := range b.Except {
				inside = inside && !netip.MustParsePrefix(e).Contains(p.peer)
			}
			if inside {
				return true
			}
			continue
		}
		pod := podAt(in, p.peer)
		if pod == nil {
			continue
		}
		there := maps.Clone(in.Namespaces[pod.Namespace])
		if there == nil {
			there = map[string]string{}
		}
		there["kubernetes.io/metadata.name"] = pod.Namespace
		right := pod.Namespace == namespace
		if peer.NamespaceSelector != nil {
			right = matches(peer.NamespaceSelector, there)
		}
		if right && (peer.PodSelector == nil || matches(peer.PodSelector, pod.Labels)) {
			return true
		}
	}
	return false
}

func portByTheBook(ports []networkingv1.NetworkPolicyPort, p packet, receiver *Pod) bool {
	if len(ports) == 0 {
		return true
	}
	for _, port := range ports {
		protocol := corev1.ProtocolTCP
		if port.Protocol != nil {
			protocol = *port.Protocol
		}
		if protocol != p.protocol {
			continue
		}
		switch {
		case port.Port == nil:
			return true
		case port.Port.Type == intstr.String:
			if receiver != nil && slices.Contains(receiver.Ports, api.ContainerPort{Name: port.Port.StrVal, Port: p.port, Protocol: protocol}) {
				return true
			}
		case port.EndPort != nil:
			if port.Port.IntVal <= p.port && p.port <= *port.EndPort {
				return true
			}
		case port.Port.IntVal == p.port:
			return true
		}
	}
	return false
}

// passesByTable decides by what was computed.
func passesByTable(tables map[string]*api.Isolation, p packet) bool {
	table := tables[p.pod.Node]
	if table == nil {
		return true
	}
	for _, g := range table.Pods {
		if !slices.Contains(g.UIDs, p.pod.UID) {
			continue
		}
		side := g.Egress
		if p.inwards {
			side = g.Ingress
		}
		if side == nil {
			return true
		}
		for _, f := range side.Flows {
			for _, n := range f.Networks {
				if netip.MustParsePrefix(n).Contains(p.peer) {
					return len(f.Ports) == 0 || slices.ContainsFunc(f.Ports, func(r api.PortRange) bool {
						return r.Protocol == p.protocol && int32(r.First) <= p.port && p.port <= int32(r.Last)
					})
				}
			}
		}
		return false
	}
	return true
}

// The worlds are small, so that what is drawn meets.
func drawInput(t *rapid.T) Input {
	in := Input{Namespaces: map[string]map[string]string{"one": {"team": "a"}, "two": {"team": "b", "env": "x"}}}
	namespaces := rapid.SampledFrom([]string{"one", "two", "three"})
	for i := range rapid.IntRange(1, 8).Draw(t, "pods") {
		p := Pod{
			UID: fmt.Sprintf("pod-%d", i), Namespace: namespaces.Draw(t, "namespace"), Node: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "node"),
			Labels: drawLabels(t),
		}
		if rapid.IntRange(0, 5).Draw(t, "addressed") > 0 {
			p.IP = netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})
		}
		for _, name := range []string{"http", "dns"} {
			if rapid.Bool().Draw(t, "has a port") {
				p.Ports = append(p.Ports, api.ContainerPort{Name: name, Port: rapid.Int32Range(1, 4).Draw(t, "port"), Protocol: drawProtocol(t)})
			}
		}
		in.Pods = append(in.Pods, p)
	}
	for i := range rapid.IntRange(0, 4).Draw(t, "policies") {
		p := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: namespaces.Draw(t, "namespace"), Name: fmt.Sprint(i)}}
		p.Spec.PodSelector = *drawSelector(t)
		p.Spec.PolicyTypes = rapid.SampledFrom([][]networkingv1.PolicyType{nil, {"Ingress"}, {"Egress"}, {"Ingress", "Egress"}}).Draw(t, "types")
		for range rapid.IntRange(0, 2).Draw(t, "ingress") {
			p.Spec.Ingress = append(p.Spec.Ingress, networkingv1.NetworkPolicyIngressRule{From: drawPeers(t), Ports: drawPorts(t)})
		}
		for range rapid.IntRange(0, 2).Draw(t, "egress") {
			p.Spec.Egress = append(p.Spec.Egress, networkingv1.NetworkPolicyEgressRule{To: drawPeers(t), Ports: drawPorts(t)})
		}
		in.Policies = append(in.Policies, p)
	}
	return in
}

func drawLabels(t *rapid.T) map[string]string {
	set := map[string]string{}
	for _, key := range []string{"app", "role"} {
		if v := rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, key); v != "" {
			set[key] = v
		}
	}
	return set
}

func drawSelector(t *rapid.T) *metav1.LabelSelector {
	key := rapid.SampledFrom([]string{"app", "role", "team"}).Draw(t, "key")
	switch rapid.IntRange(0, 3).Draw(t, "selector") {
	case 0:
		return &metav1.LabelSelector{MatchLabels: map[string]string{key: rapid.SampledFrom([]string{"x", "a"}).Draw(t, "value")}}
	case 1:
		return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: key, Operator: metav1.LabelSelectorOpExists}}}
	case 2:
		return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{
			Key: corev1.LabelMetadataName, Operator: metav1.LabelSelectorOpNotIn, Values: []string{"one"},
		}}}
	}
	return &metav1.LabelSelector{}
}

func drawPeers(t *rapid.T) []networkingv1.NetworkPolicyPeer {
	var peers []networkingv1.NetworkPolicyPeer
	for range rapid.IntRange(0, 2).Draw(t, "peers") {
		var p networkingv1.NetworkPolicyPeer
		switch rapid.IntRange(0, 3).Draw(t, "peer") {
		case 0:
			block := rapid.SampledFrom([]string{"0.0.0.0/0", "10.0.0.0/28", "10.0.0.0/30", "255.255.255.0/24"}).Draw(t, "block")
			p.IPBlock = &networkingv1.IPBlock{CIDR: block, Except: rapid.SampledFrom([][]string{nil, {"10.0.0.2/31"}, {"10.0.0.1/32", "10.0.0.0/31"}}).Draw(t, "except")}
		case 1:
			p.PodSelector = drawSelector(t)
		case 2:
			p.NamespaceSelector = drawSelector(t)
		case 3:
			p.PodSelector, p.NamespaceSelector = drawSelector(t), drawSelector(t)
		}
		peers = append(peers, p)
	}
	return peers
}

func drawProtocol(t *rapid.T) corev1.Protocol {
	return rapid.SampledFrom([]corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP}).Draw(t, "protocol")
}

func drawPorts(t *rapid.T) []networkingv1.NetworkPolicyPort {
	var ports []networkingv1.NetworkPolicyPort
	for range rapid.IntRange(0, 2).Draw(t, "ports") {
		var p networkingv1.NetworkPolicyPort
		if rapid.Bool().Draw(t, "has a protocol") {
			protocol := drawProtocol(t)
			p.Protocol = &protocol
		}
		number := intstr.FromInt32(rapid.Int32Range(1, 4).Draw(t, "port"))
		name := intstr.FromString(rapid.SampledFrom([]string{"http", "dns"}).Draw(t, "name"))
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			p.Port = &number
		case 1:
			p.Port = &name
		case 2:
			end := number.IntVal + rapid.Int32Range(0, 2).Draw(t, "more")
			p.Port, p.EndPort = &number, &end
		}
		ports = append(ports, p)
	}
	return ports
}

// TestAsByTheBook compares the tables with the documentation, for every pod, direction, address that matters, protocol
// and port, and checks their form.
func TestAsByTheBook(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		tables := Compute(in)
		peers := []netip.Addr{netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("255.255.255.255"), netip.MustParseAddr("192.0.2.1")}
		for i := range 20 {
			peers = append(peers, netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}))
		}
		for i := range in.Pods {
			for _, peer := range peers {
				for _, protocol := range []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP} {
					for port := int32(1); port <= 7; port++ {
						for _, inwards := range []bool{true, false} {
							p := packet{&in.Pods[i], inwards, peer, protocol, port}
							if want, got := passesByTheBook(in, p), passesByTable(tables, p); want != got {
								t.Fatalf("pod %s, inwards %t, peer %s, %s %d: %t, where the book says %t\n%s", p.pod.UID, inwards, peer, protocol, port, got, want, printTables(tables))
							}
						}
					}
				}
			}
		}
		checkForm(t, tables)

		slices.Reverse(in.Pods)
		slices.Reverse(in.Policies)
		if again := Compute(in); !reflect.DeepEqual(again, tables) {
			t.Fatalf("in another order of the input:\n%s\nand not\n%s", printTables(again), printTables(tables))
		}
	})
}

// checkForm holds what api says of the form: ordered, without overlaps, and as few networks as can be.
func checkForm(t *rapid.T, tables map[string]*api.Isolation) {
	for _, table := range tables {
		for _, g := range table.Pods {
			for _, side := range []*api.Allowed{g.Ingress, g.Egress} {
				if side == nil {
					continue
				}
				var all []netip.Prefix
				for _, f := range side.Flows {
					for i, n := range f.Networks {
						p := netip.MustParsePrefix(n)
						if slices.ContainsFunc(all, p.Overlaps) {
							t.Fatalf("%s is there twice:\n%s", n, printTables(tables))
						}
						all = append(all, p)
						if i == 0 {
							continue
						}
						before := netip.MustParsePrefix(f.Networks[i-1])
						joined := netip.PrefixFrom(before.Addr(), before.Bits()-1).Masked()
						if !before.Addr().Less(p.Addr()) || before.Bits() == p.Bits() && joined.Contains(p.Addr()) {
							t.Fatalf("%s follows %s:\n%s", n, before, printTables(tables))
						}
					}
				}
			}
		}
	}
}
