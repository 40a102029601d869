package schema

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

func finishService(i *inspection, s *corev1.Service) {
	defaultService(s)
	spec := []any{"spec"}
	headless, external := s.Spec.ClusterIP == corev1.ClusterIPNone, s.Spec.Type == corev1.ServiceTypeExternalName
	if len(s.Spec.Ports) == 0 && !headless && !external {
		i.fail(under(spec, "ports"), "has 0 items, but must be a list with at least 1 item")
	}
	i.servicePorts(under(spec, "ports"), s.Spec.Ports)
	if ips := s.Spec.ClusterIPs; len(ips) > 0 && ips[0] != s.Spec.ClusterIP {
		i.fail(under(spec, "clusterIPs"), "%s is not the clusterIP: write clusterIP alone", ips[0])
	}
	switch {
	case external && s.Spec.ExternalName == "":
		i.fail(under(spec, "externalName"), "is required where type is ExternalName: a DNS name")
	case external && s.Spec.ClusterIP != "":
		i.fail(under(spec, "clusterIP"), "%q may not be set where type is ExternalName", s.Spec.ClusterIP)
	case headless && s.Spec.Type != corev1.ServiceTypeClusterIP:
		i.fail(under(spec, "clusterIP"), "None may be set only where type is ClusterIP, not %s", s.Spec.Type)
	}
	for n, ip := range s.Spec.ExternalIPs {
		i.address(under(spec, "externalIPs", n), ip)
	}
	for n, r := range s.Spec.LoadBalancerSourceRanges {
		i.network(under(spec, "loadBalancerSourceRanges", n), r)
	}
	i.nodePorts(s)
}

// nodePorts checks that ports of the nodes are asked for only where the type has them.
func (i *inspection) nodePorts(s *corev1.Service) {
	open := s.Spec.Type == corev1.ServiceTypeNodePort || s.Spec.Type == corev1.ServiceTypeLoadBalancer
	for n, p := range s.Spec.Ports {
		if p.NodePort != 0 && !open {
			i.fail([]any{"spec", "ports", n, "nodePort"}, "%d may be set only where type is NodePort or LoadBalancer, not %s", p.NodePort, s.Spec.Type)
		}
	}
	if s.Spec.ExternalTrafficPolicy != "" && !open && len(s.Spec.ExternalIPs) == 0 {
		i.fail([]any{"spec", "externalTrafficPolicy"}, "%q may be set only where type is NodePort or LoadBalancer, not %s", s.Spec.ExternalTrafficPolicy, s.Spec.Type)
	}
}

func (i *inspection) servicePorts(at []any, ports []corev1.ServicePort) {
	type id struct {
		port     int32
		protocol corev1.Protocol
	}
	seen := map[id]int{}
	for n, p := range ports {
		if p.Name == "" && len(ports) > 1 {
			i.fail(under(at, n, "name"), "is required where there are several ports")
		}
		if first, ok := seen[id{p.Port, p.Protocol}]; ok {
			i.fail(under(at, n, "port"), "%d/%s is taken by ports[%d]", p.Port, p.Protocol, first)
		}
		seen[id{p.Port, p.Protocol}] = n
	}
}

//nolint:staticcheck // Kubernetes advises against Endpoints, but still serves them, and teams keep them in Git
func finishEndpoints(i *inspection, e *corev1.Endpoints) {
	for n, s := range e.Subsets {
		at := []any{"subsets", n}
		for _, group := range []struct {
			name      string
			addresses []corev1.EndpointAddress
		}{{"addresses", s.Addresses}, {"notReadyAddresses", s.NotReadyAddresses}} {
			for k, a := range group.addresses {
				i.endpointAddress(under(at, group.name, k, "ip"), a.IP)
			}
		}
		if len(s.Addresses) == 0 && len(s.NotReadyAddresses) == 0 {
			i.fail(at, "needs addresses or notReadyAddresses")
		}
		for k, p := range s.Ports {
			if p.Name == "" && len(s.Ports) > 1 {
				i.fail(under(at, "ports", k, "name"), "is required where there are several ports")
			}
		}
	}
	i.mention([]any{"metadata", "name"}, "Service", e.Name)
}

// endpointAddress refuses addresses that only the machine itself, or its link, can reach.
func (i *inspection) endpointAddress(at []any, address string) {
	ip, err := netip.ParseAddr(address)
	switch {
	case err != nil:
		i.address(at, address)
	case ip.IsUnspecified() || ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsLinkLocalMulticast():
		i.fail(at, "%s cannot be reached from other machines", address)
	}
}

func finishEndpointSlice(i *inspection, s *discoveryv1.EndpointSlice) {
	for n, e := range s.Endpoints {
		for k, a := range e.Addresses {
			if s.AddressType != discoveryv1.AddressTypeFQDN {
				i.endpointAddress([]any{"endpoints", n, "addresses", k}, a)
			}
		}
	}
	if name := s.Labels[discoveryv1.LabelServiceName]; name != "" {
		i.mention([]any{"metadata", "labels", discoveryv1.LabelServiceName}, "Service", name)
		return
	}
	i.warn([]any{"metadata", "labels"}, "has no label %s: no service uses it", discoveryv1.LabelServiceName)
}
