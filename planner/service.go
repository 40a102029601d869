package planner

import (
	"cmp"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"headway.dev/headway/api"
)

// defaultAffinity is how long Kubernetes keeps a client on one endpoint when the service does not say, in seconds.
const defaultAffinity = 3 * 60 * 60

// routes plans one route for each service. A pod that this plan stops is out of them at once: it drains before it ends.
func (p *pass) routes() {
	given := p.addresses()
	for i := range p.want.services {
		if given.of[i].routable { // of the others the problem has been told
			p.plan.Routes = append(p.plan.Routes, p.servicePart(&p.memory.services[i], &p.want.services[i], &given.of[i]))
		}
	}
	p.keepRoutes()
	byService := func(a, b api.Route) int { return a.Service.Compare(b.Service) }
	if !slices.IsSortedFunc(p.plan.Routes, byService) {
		slices.SortStableFunc(p.plan.Routes, byService)
	}
}

// routeTo is the service's route.
func (p *pass) routeTo(s *service, at *address, behind []*group) api.Route {
	route := p.route(*s, at.clusterIP)
	at.entrance.openTo(&route)
	switch {
	case isAlias(s.spec):
	case len(s.spec.Selector) == 0:
		route.Endpoints = p.writtenBehind(*s)
	default:
		route.Endpoints = p.endpoints(s, behind)
	}
	slices.SortStableFunc(route.Endpoints, compareEndpoints)
	return route
}

// isAlias reports whether the service is only another name of something: it has neither address nor endpoints.
func isAlias(spec *corev1.ServiceSpec) bool { return spec.Type == corev1.ServiceTypeExternalName }

// route is the service's route, but for its endpoints and the ways to it from outside.
func (p *pass) route(s service, address string) api.Route {
	route := api.Route{Service: s.ref, ClusterIP: address, Ports: []api.RoutePort{}, Endpoints: []api.Endpoint{}}
	if isAlias(s.spec) {
		route.ExternalName = s.spec.ExternalName
		return route
	}
	for _, port := range s.spec.Ports {
		route.Ports = append(route.Ports, api.RoutePort{Name: port.Name, Protocol: protocol(port.Protocol), Port: port.Port})
	}
	if s.spec.SessionAffinity == corev1.ServiceAffinityClientIP {
		route.AffinitySeconds = defaultAffinity
		if c := s.spec.SessionAffinityConfig; c != nil && c.ClientIP != nil && c.ClientIP.TimeoutSeconds != nil {
			route.AffinitySeconds = *c.ClientIP.TimeoutSeconds
		}
	}
	policy := s.spec.InternalTrafficPolicy
	route.InternalLocal = policy != nil && *policy == corev1.ServiceInternalTrafficPolicyLocal
	return route
}

// endpoints are the pods that the service selects and that may take connections now. They are among those of the groups.
func (p *pass) endpoints(s *service, behind []*group) []api.Endpoint {
	var selected, taking []*Pod
	for _, g := range behind {
		for _, pod := range g.pods {
			if pod.Pod.Namespace == s.ref.Namespace && hasLabels(pod.Labels, s.spec.Selector) {
				selected = append(selected, pod)
			}
		}
	}
	endpoints := []api.Endpoint{}
	for _, pod := range p.withoutIdle(selected) {
		if pod.IP == "" || !p.serves(pod) || !pod.Ready && !s.spec.PublishNotReadyAddresses {
			continue
		}
		endpoint := api.Endpoint{
			Pod: pod.Pod, UID: pod.UID, IP: pod.IP, Node: pod.Node, Hostname: p.hostnameBehind(s.ref, pod), TargetPorts: []int32{},
		}
		for _, port := range s.spec.Ports {
			endpoint.TargetPorts = append(endpoint.TargetPorts, targetPort(port, pod))
		}
		endpoints, taking = append(endpoints, endpoint), append(taking, pod)
	}
	p.weigh(endpoints, taking)
	return endpoints
}

func compareEndpoints(a, b api.Endpoint) int {
	return cmp.Or(compareIPs(a.IP, b.IP), cmp.Compare(a.UID, b.UID), cmp.Compare(a.Hostname, b.Hostname), slices.Compare(a.TargetPorts, b.TargetPorts))
}

// serves reports whether the pod may take connections, as far as it is ready.
func (p *pass) serves(pod *Pod) bool { return isLive(pod) && !p.stopped[pod] }

// targetPort is where the pod takes connections to the service's port, or 0 where it has no port of that name.
func targetPort(port corev1.ServicePort, pod *Pod) int32 {
	if port.TargetPort.Type == intstr.Int {
		if port.TargetPort.IntVal == 0 {
			return port.Port
		}
		return port.TargetPort.IntVal
	}
	for _, named := range pod.Ports {
		if named.Name == port.TargetPort.StrVal && protocol(named.Protocol) == protocol(port.Protocol) {
			return named.Port
		}
	}
	return 0
}

func protocol(p corev1.Protocol) corev1.Protocol {
	if p == "" {
		return corev1.ProtocolTCP
	}
	return p
}

// keepRoutes leaves the routes of services that are no longer declared as they are, without leave to delete them; only pods
// that are gone or go are taken out, because nothing answers there.
func (p *pass) keepRoutes() {
	var serving map[string]bool
	for _, route := range p.in.Routes {
		if p.want.declared[route.Service] || !p.stays(route.Service) {
			continue
		}
		if serving == nil {
			serving = map[string]bool{}
			for pod := range p.seen.all() {
				serving[pod.UID] = serving[pod.UID] || p.serves(pod)
			}
		}
		route.Endpoints = slices.DeleteFunc(slices.Clone(route.Endpoints), func(e api.Endpoint) bool { return e.UID != "" && !serving[e.UID] })
		p.plan.Routes = append(p.plan.Routes, route)
	}
}

// compareIPs orders addresses by number.
func compareIPs(a, b string) int {
	x, errX := netip.ParseAddr(a)
	y, errY := netip.ParseAddr(b)
	if errX != nil || errY != nil {
		return cmp.Compare(a, b)
	}
	return x.Compare(y)
}

func hasLabels(labels, selector map[string]string) bool {
	for key, value := range selector {
		if v, ok := labels[key]; !ok || v != value {
			return false
		}
	}
	return true
}
