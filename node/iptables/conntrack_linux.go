package iptables

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// udpServices are the endpoints of each cluster IP and port of UDP.
//
// The kernel remembers where it sent the packets of a UDP client, and sends all that follow there, past the rules, for
// as long as the client goes on; UDP has no connection that would end. A TCP connection is left to end by itself.
type udpServices map[netip.AddrPort][]netip.AddrPort

func udpServicesOf(ports []servicePort) udpServices {
	services := udpServices{}
	for _, p := range ports {
		if p.protocol == "udp" {
			services[netip.AddrPortFrom(p.ip, p.port)] = p.endpoints
		}
	}
	return services
}

// lost reports whether an endpoint is no longer there.
func (u udpServices) lost(now udpServices) bool {
	for service, endpoints := range u {
		for _, e := range endpoints {
			if !slices.Contains(now[service], e) {
				return true
			}
		}
	}
	return false
}

// forgetStale has the kernel forget every UDP client of the service range that it does not send to an endpoint.
func (u udpServices) forgetStale(services netip.Prefix) error {
	for {
		_, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, unix.AF_INET, staleFlows{services, u})
		if errors.Is(err, netlink.ErrDumpInterrupted) {
			continue // the list has changed while it was read
		}
		if err != nil {
			return fmt.Errorf("forget the UDP clients of endpoints that have gone: %w", err)
		}
		return nil
	}
}

// staleFlows chooses the connections to forget.
type staleFlows struct {
	services  netip.Prefix
	endpoints udpServices
}

// MatchConntrackFlow implements netlink.CustomConntrackFilter.
func (s staleFlows) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	to, ok := addrPort(flow.Forward.DstIP, flow.Forward.DstPort)
	if !ok || flow.Forward.Protocol != unix.IPPROTO_UDP || !s.services.Contains(to.Addr()) {
		return false
	}
	sentTo, ok := addrPort(flow.Reverse.SrcIP, flow.Reverse.SrcPort)
	return !ok || !slices.Contains(s.endpoints[to], sentTo)
}

func addrPort(ip net.IP, port uint16) (netip.AddrPort, bool) {
	addr, ok := netip.AddrFromSlice(ip)
	return netip.AddrPortFrom(addr.Unmap(), port), ok
}
