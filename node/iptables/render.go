package iptables

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

// The chains that are always there. The tree of prefixes begins at servicesChain.
const (
	servicesChain    = ownPrefix + "SERVICES"    // nat: connections to the service range
	postroutingChain = ownPrefix + "POSTROUTING" // nat: connections of the node's pods, on their way out
	hairpinChain     = ownPrefix + "HAIRPIN"     // nat: connections that a service sent to a pod of this node
	forwardChain     = ownPrefix + "FORWARD"     // filter: packets of pods, and to pods
	inputChain       = ownPrefix + "INPUT"       // filter: packets of pods to the node's own address among them
	refuseChain      = ownPrefix + "REFUSE"      // filter: packets to the service range that no service took

	dispatchPrefix = ownPrefix + "D-" // nat: the services of a prefix of addresses, as 0a600100-24
	servicePrefix  = ownPrefix + "S-" // nat: one port of a service, as 0a600105-t-0050
)

// Render gives all rules of a node, as iptables-restore reads them and as iptables-save would print them. Equal input
// gives equal output. What cannot be written as a rule (a cluster IP outside of the service range, an endpoint without
// an IPv4 address) is left out, so that it harms no other service; connections to it are refused.
func Render(c Config, routes api.RouteTable) []byte {
	ports, _ := servicePorts(c, routes)
	return build(c, ports).bytes()
}

// build gives the rules for these ports of services.
func build(c Config, ports []servicePort) ruleset {
	r := newRuleset()
	buildFilter(c, r["filter"])
	nat := r["nat"]
	buildTree(nat, servicesChain, c.ServiceCIDR, ports)
	for _, p := range ports {
		nat.chains[p.chain] = p.rules()
	}
	buildPostrouting(c, nat, ports)
	match := " -d " + c.ServiceCIDR.String() + " -j " + servicesChain
	nat.jumps["PREROUTING"] = []string{"-A PREROUTING" + match}
	nat.jumps["OUTPUT"] = []string{"-A OUTPUT" + match}
	nat.jumps["POSTROUTING"] = []string{"-A POSTROUTING -s " + c.PodCIDR.String() + " -j " + postroutingChain}
	return r
}

// buildFilter refuses what no service took, before it can go anywhere. TCP is reset, since the kernel sends ICMP to one
// address but sparingly. Packets of the node's pods pass whatever the machine's policy for forwarding is.
func buildFilter(c Config, t *table) {
	services, pods := c.ServiceCIDR.String(), c.PodCIDR.String()
	t.set(refuseChain, "-p tcp -j REJECT --reject-with tcp-reset", "-j REJECT --reject-with icmp-port-unreachable")
	t.set(forwardChain, "-d "+services+" -j "+refuseChain,
		"-s "+pods+" -i "+c.Bridge+" -j ACCEPT",
		"-d "+pods+" -o "+c.Bridge+" -j ACCEPT")
	t.set(inputChain, "-p udp -m udp --dport 53 -j ACCEPT", "-p tcp -m tcp --dport 53 -j ACCEPT")
	t.jumps["FORWARD"] = []string{"-A FORWARD -j " + forwardChain}
	t.jumps["INPUT"] = []string{"-A INPUT -d " + c.gateway().String() + "/32 -i " + c.Bridge + " -j " + inputChain}
	t.jumps["OUTPUT"] = []string{"-A OUTPUT -d " + services + " -j " + refuseChain}
}

// buildPostrouting has the node stand for a pod where the pod's own address cannot: towards the pod itself, which would
// take a packet from its own address for a forgery, and outside of the cluster, where nobody knows the way back.
func buildPostrouting(c Config, t *table, ports []servicePort) {
	var local []netip.Addr
	for _, p := range ports {
		for _, e := range p.endpoints {
			if c.PodCIDR.Contains(e.Addr()) {
				local = append(local, e.Addr())
			}
		}
	}
	slices.SortFunc(local, netip.Addr.Compare)
	var hairpins []string
	for _, ip := range slices.Compact(local) {
		hairpins = append(hairpins, fmt.Sprintf("-s %s/32 -d %s/32 -j MASQUERADE --random-fully", ip, ip))
	}
	t.set(hairpinChain, hairpins...)
	t.set(postroutingChain, "-o lo -j RETURN",
		"-d "+c.PodCIDR.String()+" -m conntrack --ctstate DNAT -j "+hairpinChain,
		"-d "+c.ClusterCIDR.String()+" -j RETURN",
		"-j MASQUERADE --random-fully")
}

// set gives a chain its rules, without the "-A NAME" before each.
func (t *table) set(chain string, rules ...string) {
	var b strings.Builder
	for _, rule := range rules {
		b.WriteString("-A " + chain + " " + rule + "\n")
	}
	t.chains[chain] = b.String()
}

// A servicePort is one port of a service that has an endpoint for it.
type servicePort struct {
	ip        netip.Addr
	protocol  string // as iptables spells it
	port      uint16
	comment   string
	chain     string
	endpoints []netip.AddrPort
	affinity  int32 // seconds
}

// compare orders by address, protocol and port: what tells connections apart.
func (p servicePort) compare(o servicePort) int {
	return cmp.Or(p.ip.Compare(o.ip), cmp.Compare(p.protocol, o.protocol), cmp.Compare(p.port, o.port))
}

// servicePorts gives the ports to program, in order, and says what it left out. Of two services that claim the same
// port of the same address the first has it.
func servicePorts(c Config, routes api.RouteTable) (ports []servicePort, left []string) {
	for _, route := range routes.Routes {
		if route.ClusterIP == "" {
			continue
		}
		ip, err := netip.ParseAddr(route.ClusterIP)
		if err != nil || !c.ServiceCIDR.Contains(ip) {
			left = append(left, fmt.Sprintf("%s: its cluster IP %q is not an address of the service range %s", route.Service, route.ClusterIP, c.ServiceCIDR))
			continue
		}
		for i, port := range route.Ports {
			protocol, ok := protocols[port.Protocol]
			if !ok || port.Port < 1 || port.Port > 65535 {
				left = append(left, fmt.Sprintf("%s: %d/%s is not a port", route.Service, port.Port, port.Protocol))
				continue
			}
			endpoints, bad := endpointsOf(route, i)
			left = append(left, bad...)
			if len(endpoints) > 0 {
				ports = append(ports, servicePort{
					ip: ip, protocol: protocol, port: uint16(port.Port), comment: comment(route.Service, port),
					chain: chainOf(ip, protocol, port.Port), endpoints: endpoints, affinity: route.AffinitySeconds,
				})
			}
		}
	}
	slices.SortStableFunc(ports, servicePort.compare)
	ports = slices.CompactFunc(ports, func(p, kept servicePort) bool {
		same := p.compare(kept) == 0
		if same {
			left = append(left, fmt.Sprintf("%s: %s has port %d of %s already", p.comment, kept.comment, p.port, p.ip))
		}
		return same
	})
	return ports, left
}

var protocols = map[corev1.Protocol]string{"": "tcp", corev1.ProtocolTCP: "tcp", corev1.ProtocolUDP: "udp", corev1.ProtocolSCTP: "sctp"}

// endpointsOf gives the places that take connections of a service's i-th port.
func endpointsOf(route api.Route, i int) (endpoints []netip.AddrPort, left []string) {
	endpoints = make([]netip.AddrPort, 0, len(route.Endpoints))
	for _, e := range route.Endpoints {
		if i >= len(e.TargetPorts) || e.TargetPorts[i] == 0 {
			continue // the pod has no port of that name
		}
		ip, err := netip.ParseAddr(e.IP)
		if port := e.TargetPorts[i]; err == nil && ip.Is4() && port > 0 && port <= 65535 {
			endpoints = append(endpoints, netip.AddrPortFrom(ip, uint16(port)))
			continue
		}
		left = append(left, fmt.Sprintf("%s: endpoint %s has no IPv4 address and port, but %q and %d", route.Service, e.Pod, e.IP, e.TargetPorts[i]))
	}
	return endpoints, left
}

// chainOf names the chain of a service's port, so that names sort as addresses do. iptables allows 28 characters.
func chainOf(ip netip.Addr, protocol string, port int32) string {
	return fmt.Sprintf("%s%x-%c-%04x", servicePrefix, ip.As4(), protocol[0], port)
}

// comment names a service's port to a person who reads the rules.
func comment(service api.Ref, port api.RoutePort) string {
	s := service.Namespace + "/" + service.Name
	if port.Name != "" {
		s += ":" + port.Name
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return '?'
		}
		return r
	}, s)
}
