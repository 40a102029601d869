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

// A servicePort is one port of a service, with all the ways that lead to it.
type servicePort struct {
	ip        netip.Addr
	protocol  string // as iptables spells it
	port      uint16
	comment   string
	id        string           // names its chains, so that names sort as addresses do
	endpoints []netip.AddrPort // of all nodes
	local     []netip.AddrPort // of this node; only where one of the policies asks for them
	// weights are the endpoints' parts of new connections; nil where all have the same.
	weights  map[netip.AddrPort]int64
	affinity int32 // seconds
	// internalLocal has connections to the cluster IP reach only local endpoints.
	internalLocal bool
	outside       outside
}

// outside is how a port of a service is reached other than by its cluster IP.
type outside struct {
	ports      []uint16     // of the node's own addresses
	addresses  []netip.Addr // that the node takes connections to the service's port for
	local      bool         // they reach only local endpoints
	restricted bool         // only those from the ranges are taken
	ranges     []netip.Prefix
}

func (o outside) any() bool { return len(o.ports)+len(o.addresses) > 0 }

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
		out, bad := outsideOf(c, route)
		left = append(left, bad...)
		for i, port := range route.Ports {
			protocol, ok := protocols[port.Protocol]
			if !ok || port.Port < 1 || port.Port > 65535 {
				left = append(left, fmt.Sprintf("%s: %d/%s is not a port", route.Service, port.Port, port.Protocol))
				continue
			}
			p := servicePort{
				ip: ip, protocol: protocol, port: uint16(port.Port), comment: comment(route.Service, port),
				id: fmt.Sprintf("%x-%c-%04x", ip.As4(), protocol[0], port.Port), affinity: route.AffinitySeconds,
				internalLocal: route.InternalLocal, outside: out,
			}
			if port.NodePort > 0 && port.NodePort <= 65535 {
				p.outside.ports = append(p.outside.ports, uint16(port.NodePort))
			}
			if route.OnNodes {
				p.outside.ports = append(p.outside.ports, p.port)
			}
			left = append(left, p.setEndpoints(c, route, i)...)
			if len(p.endpoints) > 0 || p.outside.any() {
				ports = append(ports, p)
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

// outsideOf gives what all ports of a service have in common. Addresses of the cluster's own ranges are left out: they
// are others' to answer for.
func outsideOf(c Config, route api.Route) (o outside, left []string) {
	o = outside{local: route.ExternalLocal, restricted: len(route.SourceRanges) > 0}
	for _, text := range route.ExternalIPs {
		ip, err := netip.ParseAddr(text)
		if err != nil || !ip.Is4() || ip.IsUnspecified() || ip.IsLoopback() || c.ServiceCIDR.Contains(ip) || c.ClusterCIDR.Contains(ip) {
			left = append(left, fmt.Sprintf("%s: %q is not an IPv4 address from outside of the cluster", route.Service, text))
			continue
		}
		o.addresses = append(o.addresses, ip)
	}
	slices.SortFunc(o.addresses, netip.Addr.Compare)
	o.addresses = slices.Compact(o.addresses)
	for _, text := range route.SourceRanges {
		prefix, err := netip.ParsePrefix(strings.TrimSpace(text))
		if err != nil || !prefix.Addr().Is4() {
			left = append(left, fmt.Sprintf("%s: the source range %q is not an IPv4 network", route.Service, text))
			continue
		}
		o.ranges = append(o.ranges, prefix.Masked())
	}
	return o, left
}

// setEndpoints finds the places that take connections of the service's i-th port.
func (p *servicePort) setEndpoints(c Config, route api.Route, i int) (left []string) {
	p.endpoints = make([]netip.AddrPort, 0, len(route.Endpoints))
	for _, e := range route.Endpoints {
		if i >= len(e.TargetPorts) || e.TargetPorts[i] == 0 {
			continue // the pod has no port of that name
		}
		ip, err := netip.ParseAddr(e.IP)
		if port := e.TargetPorts[i]; err == nil && ip.Is4() && port > 0 && port <= 65535 {
			at := netip.AddrPortFrom(ip, uint16(port))
			p.endpoints = append(p.endpoints, at)
			if e.Weight != 0 && p.weights == nil {
				p.weights = weightsOf(route, i)
			}
			if e.Node == c.Node && (p.internalLocal || p.outside.local) {
				p.local = append(p.local, at)
			}
			continue
		}
		left = append(left, fmt.Sprintf("%s: endpoint %s has no IPv4 address and port, but %q and %d", route.Service, e.Pod, e.IP, e.TargetPorts[i]))
	}
	return left
}

// weightsOf gives the weights of all that take connections of the service's i-th port.
func weightsOf(route api.Route, i int) map[netip.AddrPort]int64 {
	weights := map[netip.AddrPort]int64{}
	for _, e := range route.Endpoints {
		if ip, err := netip.ParseAddr(e.IP); err == nil && i < len(e.TargetPorts) {
			weights[netip.AddrPortFrom(ip, uint16(e.TargetPorts[i]))] = int64(e.Share())
		}
	}
	return weights
}

// comment names a service's port to a person who reads the rules.
func comment(service api.Ref, port api.RoutePort) string {
	s := service.Namespace + "/" + service.Name
	if port.Name != "" {
		s += ":" + port.Name
	}
	return printable(s)
}

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return '?'
		}
		return r
	}, s)
}
