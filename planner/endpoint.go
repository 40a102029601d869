package planner

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"headway.dev/headway/api"
)

// hostnameBehind is the name that the pod has below the service's own in DNS; empty for one that has none. As in
// Kubernetes a pod has one that says its hostname and, as its subdomain, the service. Pods of a StatefulSet always do.
func (p *pass) hostnameBehind(service api.Ref, pod *Pod) string {
	spec := p.specOf(pod)
	if spec == nil {
		return p.hostnameBefore(service, pod)
	}
	if spec.Subdomain != service.Name {
		return ""
	}
	switch {
	case pod.Hostname != "":
		return pod.Hostname
	case spec.Hostname != "":
		return spec.Hostname
	case pod.Owner.Kind == "StatefulSet":
		return pod.Pod.Name
	}
	return ""
}

// specOf is what the pod runs, as far as it is at hand.
func (p *pass) specOf(pod *Pod) *corev1.PodSpec {
	if t := p.templateAt(pod.Template); t != nil {
		return &t.Spec
	}
	if t := p.want.template(pod.Template); t != nil {
		return &t.Spec
	}
	return nil
}

// hostnameBefore is what the route in force says.
func (p *pass) hostnameBefore(service api.Ref, pod *Pod) string {
	p.reads.alone = true
	if route := p.routeOf(service); route != nil {
		for _, e := range route.Endpoints {
			if e.UID == pod.UID {
				return e.Hostname
			}
		}
	}
	return ""
}

// routeOf is the service's route in force; nil if it has none.
func (p *pass) routeOf(service api.Ref) *api.Route {
	i := slices.IndexFunc(p.in.Routes, func(r api.Route) bool { return r.Service == service })
	if i < 0 {
		return nil
	}
	return &p.in.Routes[i]
}

// writtenBehind are the addresses in Git of a service that selects no pods. Without leave to delete anything, those in
// force stay where none can be read.
func (p *pass) writtenBehind(s service) []api.Endpoint {
	p.reads.alone = true
	if p.written == nil {
		p.written = p.writtenEndpoints()
	}
	written := p.written
	if _, any := written[s.ref]; any || p.in.Prune {
		return written.of(s)
	}
	kept := []api.Endpoint{}
	if route := p.routeOf(s.ref); route != nil {
		for _, e := range route.Endpoints {
			if e.UID == "" && len(e.TargetPorts) == len(s.spec.Ports) {
				kept = append(kept, e)
			}
		}
	}
	return kept
}

// writtenEndpoints are the addresses that stand in Git, by the service that they are behind.
type writtenEndpoints map[api.Ref][]writtenEndpoint

// A writtenEndpoint is one address, with the ports that it has by the names of the service's.
type writtenEndpoint struct {
	endpoint api.Endpoint
	ready    bool
	ports    []writtenPort
}

type writtenPort struct {
	name     string
	protocol corev1.Protocol
	number   int32
}

// writtenEndpoints reads the Endpoints and EndpointSlices in force.
func (p *pass) writtenEndpoints() writtenEndpoints {
	w := writtenEndpoints{}
	for _, o := range inForce(p.in.Desired, p.plan.Kept) {
		switch v := o.Value.(type) {
		case *corev1.Endpoints: //nolint:staticcheck // Kubernetes advises against Endpoints, but still serves them, and teams keep them in Git
			w.add(o.Ref.Namespace, v.Name, endpointsOf(v))
		case *discoveryv1.EndpointSlice:
			if v.AddressType == discoveryv1.AddressTypeIPv4 {
				w.add(o.Ref.Namespace, v.Labels[discoveryv1.LabelServiceName], endpointsOfSlice(v))
			}
		}
	}
	return w
}

func (w writtenEndpoints) add(namespace, service string, endpoints []writtenEndpoint) {
	ref := api.Ref{Kind: "Service", Namespace: namespace, Name: service}
	w[ref] = append(w[ref], endpoints...)
}

//nolint:staticcheck // as above
func endpointsOf(e *corev1.Endpoints) []writtenEndpoint {
	var endpoints []writtenEndpoint
	for _, subset := range e.Subsets {
		var ports []writtenPort
		for _, port := range subset.Ports {
			ports = append(ports, writtenPort{port.Name, protocol(port.Protocol), port.Port})
		}
		for _, group := range []struct {
			ready     bool
			addresses []corev1.EndpointAddress
		}{{true, subset.Addresses}, {false, subset.NotReadyAddresses}} {
			for _, a := range group.addresses {
				endpoint := api.Endpoint{IP: a.IP, Hostname: a.Hostname, Node: valueOr(a.NodeName)}
				endpoints = append(endpoints, writtenEndpoint{endpoint, group.ready, ports})
			}
		}
	}
	return endpoints
}

func endpointsOfSlice(s *discoveryv1.EndpointSlice) []writtenEndpoint {
	var ports []writtenPort
	for _, port := range s.Ports {
		if port.Port == nil {
			continue // every port: there is none that connections could be sent to
		}
		var p corev1.Protocol
		if port.Protocol != nil {
			p = *port.Protocol
		}
		ports = append(ports, writtenPort{valueOr(port.Name), protocol(p), *port.Port})
	}
	var endpoints []writtenEndpoint
	for _, e := range s.Endpoints {
		if len(e.Addresses) == 0 {
			continue
		}
		// Of several addresses they all lead to the same: Kubernetes looks at the first.
		endpoint := api.Endpoint{IP: e.Addresses[0], Hostname: valueOr(e.Hostname), Node: valueOr(e.NodeName)}
		ready := e.Conditions.Ready == nil || *e.Conditions.Ready
		endpoints = append(endpoints, writtenEndpoint{endpoint, ready, ports})
	}
	return endpoints
}

func valueOr(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// of gives the endpoints of a service, whose ports are found by name.
func (w writtenEndpoints) of(s service) []api.Endpoint {
	endpoints := []api.Endpoint{}
	for _, e := range w[s.ref] {
		ip, err := netip.ParseAddr(e.endpoint.IP)
		if err != nil || !ip.Is4() || !e.ready && !s.spec.PublishNotReadyAddresses {
			continue
		}
		e.endpoint.TargetPorts = make([]int32, len(s.spec.Ports))
		for i, port := range s.spec.Ports {
			for _, written := range e.ports {
				if written.name == port.Name && written.protocol == protocol(port.Protocol) {
					e.endpoint.TargetPorts[i] = written.number
				}
			}
		}
		endpoints = append(endpoints, e.endpoint)
	}
	return endpoints
}
