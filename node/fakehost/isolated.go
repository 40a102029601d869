package fakehost

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

// Reaches reports whether what the machine filters lets a pod open a connection to another's TCP port.
func (h *Host) Reaches(from, to netip.Addr, port uint16) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.isolated {
		if p.IP == from && !lets(p.Egress, to, port) || p.IP == to && !lets(p.Ingress, from, port) {
			return false
		}
	}
	return true
}

// lets reports whether a direction is open for an address at the other end.
func lets(a *api.Allowed, ip netip.Addr, port uint16) bool {
	return a == nil || slices.ContainsFunc(a.Flows, func(f api.Flow) bool {
		in := slices.ContainsFunc(f.Networks, func(network string) bool {
			p, err := netip.ParsePrefix(network)
			return err == nil && p.Contains(ip)
		})
		return in && (len(f.Ports) == 0 || slices.ContainsFunc(f.Ports, func(r api.PortRange) bool {
			return r.Protocol == corev1.ProtocolTCP && r.First <= port && port <= r.Last
		}))
	})
}
