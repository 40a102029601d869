package node

import (
	"context"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

// A HostPort is a port of the machine's addresses that leads to one of its pods.
type HostPort struct {
	Pod      api.Ref
	Protocol corev1.Protocol
	HostIP   netip.Addr // the address that has it; zero or unspecified is every one
	Port     uint16
	To       netip.AddrPort // the pod
}

// A HostPorter is a Router that can open ports of the machine.
type HostPorter interface {
	// SetHostPorts makes these the ports that lead to pods, and no others.
	SetHostPorts(ctx context.Context, ports []HostPort) error
}

// openHostPorts has the router open the ports that the node's pods hold.
func (a *Agent) openHostPorts(ctx context.Context, status api.NodeStatus) error {
	if porter, ok := a.config.Router.(HostPorter); ok {
		return porter.SetHostPorts(ctx, hostPorts(status.Pods))
	}
	return nil
}

// hostPorts are the ports that pods hold and have not ended with. Where one that stops and its successor hold the same,
// the successor has it. A pod on the machine's own network needs none: it listens there itself.
func hostPorts(pods []api.PodStatus) []HostPort {
	type held struct {
		ip       netip.Addr
		protocol corev1.Protocol
		port     uint16
	}
	var ports []HostPort
	taken := map[held]bool{}
	for _, phases := range [][]api.PodPhase{{api.PodPending, api.PodRunning}, {api.PodStopping}} {
		for i := range pods {
			pod := &pods[i]
			ip, err := netip.ParseAddr(pod.IP)
			if err != nil || !slices.Contains(phases, pod.Phase) {
				continue
			}
			for _, p := range pod.Placement.HostPorts {
				at, err := hostIP(p.HostIP)
				key := held{at, p.Protocol, uint16(p.HostPort)}
				if err != nil || taken[key] {
					continue
				}
				taken[key] = true
				ports = append(ports, HostPort{
					Pod: pod.Placement.Pod, Protocol: p.Protocol, HostIP: at, Port: key.port,
					To: netip.AddrPortFrom(ip, uint16(p.ContainerPort)),
				})
			}
		}
	}
	return ports
}

// hostIP reads the address of the machine that a port is for; unspecified is every one.
func hostIP(text string) (netip.Addr, error) {
	if text == "" {
		return netip.IPv4Unspecified(), nil
	}
	return netip.ParseAddr(text)
}
