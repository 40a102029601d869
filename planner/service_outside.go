package planner

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

// LoadBalancerClass is the class of load balancers that headway itself is: the service's ports on every node's addresses.
// It is what a LoadBalancer without a class has.
const LoadBalancerClass = "headway.dev/nodes"

// The ports of the nodes that services are given, as in Kubernetes.
const (
	firstNodePort = 30000
	lastNodePort  = 32767
)

// An entrance is what a service has for connections from outside.
type entrance struct {
	nodePorts    []int32 // one for each of its ports; 0 is none
	onNodes      bool
	addresses    []string
	sourceRanges []string
	local        bool
	healthCheck  int32
}

// openTo writes the entrance into the service's route.
func (e *entrance) openTo(route *api.Route) {
	if e == nil {
		return
	}
	for i := range route.Ports {
		route.Ports[i].NodePort = e.nodePorts[i]
	}
	route.OnNodes, route.ExternalIPs, route.SourceRanges = e.onNodes, e.addresses, e.sourceRanges
	route.ExternalLocal, route.HealthCheckPort = e.local, e.healthCheck
}

// A gate is a port that one service alone can have: of an address from outside, or of the nodes' own.
type gate struct {
	address  string // empty: the nodes' own
	protocol corev1.Protocol
	port     int32
}

func (g gate) String() string {
	at := "of the nodes"
	if g.address != "" {
		at = "of the address " + g.address
	}
	return fmt.Sprintf("port %d/%s %s", g.port, g.protocol, at)
}

// gates are the ports that are taken, and by whom.
type gates struct {
	*pass
	holders map[gate]api.Ref
	current map[api.Ref]*api.Route // the routes in force
	opened  map[api.Ref]*entrance
}

// assignEntrances gives each service with a cluster IP its ways from outside. What its author declared comes before what
// is given, and of two that ask for the same, the one that has it keeps it. A service that does not get what it asked
// for is told, and has the rest.
func (p *pass) assignEntrances(addresses map[api.Ref]string) map[api.Ref]*entrance {
	g := gates{pass: p, holders: map[gate]api.Ref{}, current: map[api.Ref]*api.Route{}, opened: map[api.Ref]*entrance{}}
	var asking []service
	for _, s := range p.want.services {
		if addresses[s.ref] == "" || s.spec.Type != corev1.ServiceTypeNodePort && s.spec.Type != corev1.ServiceTypeLoadBalancer && len(s.spec.ExternalIPs) == 0 {
			continue
		}
		asking = append(asking, s)
		g.opened[s.ref] = &entrance{
			nodePorts: make([]int32, len(s.spec.Ports)),
			local:     s.spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal,
		}
	}
	if len(asking) == 0 {
		return g.opened
	}
	g.note()
	for _, having := range []bool{true, false} {
		for _, s := range asking {
			g.declared(s, having)
		}
	}
	for _, give := range []func(service, int){g.keep, g.pick} {
		for _, s := range asking {
			for i := range s.spec.Ports {
				if g.opened[s.ref].nodePorts[i] == 0 && s.spec.Ports[i].NodePort == 0 && givesNodePorts(s.spec) {
					give(s, i)
				}
			}
		}
	}
	return g.opened
}

// givesNodePorts reports whether ports of the nodes are given for ports that declare none.
func givesNodePorts(spec *corev1.ServiceSpec) bool {
	allocate := spec.AllocateLoadBalancerNodePorts
	return spec.Type == corev1.ServiceTypeNodePort || spec.Type == corev1.ServiceTypeLoadBalancer && (allocate == nil || *allocate)
}

// note notes what the routes in force have. Those that are left alone hold it.
func (g *gates) note() {
	for i := range g.in.Routes {
		route := &g.in.Routes[i]
		g.current[route.Service] = route
		if g.want.declared[route.Service] || !g.stays(route.Service) {
			continue
		}
		for _, held := range gatesOf(route) {
			if _, taken := g.holders[held]; !taken {
				g.holders[held] = route.Service
			}
		}
	}
}

// gatesOf are the gates that a route in force has.
func gatesOf(route *api.Route) []gate {
	var held []gate
	for _, port := range route.Ports {
		if port.NodePort != 0 {
			held = append(held, gate{"", port.Protocol, port.NodePort})
		}
		if route.OnNodes {
			held = append(held, gate{"", port.Protocol, port.Port})
		}
		for _, address := range route.ExternalIPs {
			held = append(held, gate{address, port.Protocol, port.Port})
		}
	}
	if route.HealthCheckPort != 0 {
		held = append(held, gate{"", corev1.ProtocolTCP, route.HealthCheckPort})
	}
	return held
}

// declared settles what the service declares: in the round of those that have it already, or in that of the others.
func (g *gates) declared(s service, having bool) {
	e := g.opened[s.ref]
	for i, port := range s.spec.Ports {
		asked := gate{"", protocol(port.Protocol), port.NodePort}
		field := "spec.ports[" + strconv.Itoa(i) + "].nodePort"
		switch {
		case port.NodePort == 0 || having != g.has(s.ref, asked):
		case port.NodePort < firstNodePort || port.NodePort > lastNodePort:
			g.problem(s.ref, s.source, field, fmt.Sprintf("%d is not one of the ports %d to %d: declare one of these, or none to be given one", port.NodePort, firstNodePort, lastNodePort))
		case g.take(s, field, asked):
			e.nodePorts[i] = port.NodePort
		}
	}
	for i, address := range s.spec.ExternalIPs {
		g.address(s, "spec.externalIPs["+strconv.Itoa(i)+"]", address, having)
	}
	if s.spec.Type != corev1.ServiceTypeLoadBalancer {
		return
	}
	e.sourceRanges = s.spec.LoadBalancerSourceRanges
	if port := s.spec.HealthCheckNodePort; port != 0 && e.local {
		asked := gate{"", corev1.ProtocolTCP, port}
		if having == g.has(s.ref, asked) && g.take(s, "spec.healthCheckNodePort", asked) {
			e.healthCheck = port
		}
	}
	switch class := s.spec.LoadBalancerClass; {
	case class != nil && *class != LoadBalancerClass:
		if having {
			g.plan.Problems = append(g.plan.Problems, api.Problem{
				Ref: s.ref, Source: s.source, Field: "spec.loadBalancerClass", Warning: true,
				Message: fmt.Sprintf("load balancers of the class %s are not run here: the service has its ports of the nodes alone; leave the class out, or write %s, for its own ports on every node", *class, LoadBalancerClass),
			})
		}
	case s.spec.LoadBalancerIP != "":
		g.address(s, "spec.loadBalancerIP", s.spec.LoadBalancerIP, having)
	default:
		g.onNodes(s, having)
	}
}

// has reports whether the service has the gate by the routes in force.
func (g *gates) has(ref api.Ref, asked gate) bool {
	route := g.current[ref]
	return route != nil && slices.Contains(gatesOf(route), asked)
}

// take gives a service a gate, unless another has it, which is then told.
func (g *gates) take(s service, field string, asked gate) bool {
	if holder, taken := g.holders[asked]; taken && holder != s.ref {
		g.problem(s.ref, s.source, field, fmt.Sprintf("%s has %s already: ask for another", holder, asked))
		return false
	}
	g.holders[asked] = s.ref
	return true
}

// address opens all ports of the service at an address from outside, or none.
func (g *gates) address(s service, field, address string, having bool) {
	e := g.opened[s.ref]
	ip, err := netip.ParseAddr(address)
	if err != nil || !ip.Is4() {
		if having {
			g.problem(s.ref, s.source, field, fmt.Sprintf("%q is not an IPv4 address: headway's addresses are", address))
		}
		return
	}
	var asked []gate
	had := true
	for _, port := range s.spec.Ports {
		at := gate{address, protocol(port.Protocol), port.Port}
		asked, had = append(asked, at), had && g.has(s.ref, at)
	}
	if having != had || slices.Contains(e.addresses, address) {
		return
	}
	if g.takeAll(s, field, asked) {
		e.addresses = append(e.addresses, address)
	}
}

// onNodes opens the service's own ports on all nodes, or none.
func (g *gates) onNodes(s service, having bool) {
	var asked []gate
	had := true
	for _, port := range s.spec.Ports {
		at := gate{"", protocol(port.Protocol), port.Port}
		asked, had = append(asked, at), had && g.has(s.ref, at)
	}
	if having == had {
		g.opened[s.ref].onNodes = g.takeAll(s, "spec.type", asked)
	}
}

// takeAll gives a service all of some gates, or none.
func (g *gates) takeAll(s service, field string, asked []gate) bool {
	for _, one := range asked {
		if holder, taken := g.holders[one]; taken && holder != s.ref {
			g.problem(s.ref, s.source, field, fmt.Sprintf("%s has %s already: give one of them another port, or an address of its own by spec.loadBalancerIP", holder, one))
			return false
		}
	}
	for _, one := range asked {
		g.holders[one] = s.ref
	}
	return true
}

// keep gives a port of the service the port of the nodes that it has.
func (g *gates) keep(s service, i int) {
	route := g.current[s.ref]
	if route == nil {
		return
	}
	port := s.spec.Ports[i]
	for _, had := range route.Ports {
		kept := gate{"", had.Protocol, had.NodePort}
		if had.Port != port.Port || had.Protocol != protocol(port.Protocol) || had.NodePort < firstNodePort || had.NodePort > lastNodePort {
			continue
		}
		if _, taken := g.holders[kept]; !taken {
			g.holders[kept] = s.ref
			g.opened[s.ref].nodePorts[i] = had.NodePort
		}
	}
}

// pick gives a port of the service a free one, the first from where the hash of the service's name and port points: one
// number for all protocols of a port, as far as it is free.
func (g *gates) pick(s service, i int) {
	const size = lastNodePort - firstNodePort + 1
	port := s.spec.Ports[i]
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%s:%d", s.ref.Namespace, s.ref.Name, port.Port))
	start := int32(binary.BigEndian.Uint64(sum[:]) % size)
	for n := range int32(size) {
		free := gate{"", protocol(port.Protocol), firstNodePort + (start+n)%size}
		if _, taken := g.holders[free]; !taken {
			g.holders[free] = s.ref
			g.opened[s.ref].nodePorts[i] = free.port
			return
		}
	}
	g.problem(s.ref, s.source, "spec.ports["+strconv.Itoa(i)+"].nodePort", fmt.Sprintf("none of the ports %d to %d of the nodes is left for it", firstNodePort, lastNodePort))
}
