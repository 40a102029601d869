package iptables

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
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
	flows, err := udpFlows()
	if err != nil {
		return fmt.Errorf("list the kernel's UDP clients: %w", err)
	}
	for _, f := range flows {
		if !services.Contains(f.to.Addr()) || slices.Contains(u[f.to], f.sentTo) {
			continue
		}
		if err := f.forget(); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("have the kernel forget a client of %s that it sends to %s: %w", f.to, f.sentTo, err)
		}
	}
	return nil
}

// A flow is one UDP client of one address, as the kernel remembers it.
type flow struct {
	to, sentTo netip.AddrPort
	message    []byte // by which the kernel knows it
}

// What of linux/netfilter/nfnetlink_conntrack.h the libraries lack.
const (
	ctaFilter           = 25
	ctaFilterOrigFlags  = 1
	ctaFilterReplyFlags = 2
	filterProtocol      = 1 << 3 // among the flags: compare the protocol's number
)

// udpFlows lists what the kernel remembers of UDP. It asks for UDP alone: a busy machine has a hundred thousand TCP
// connections. Kernels before 5.8 send these too.
func udpFlows() ([]flow, error) {
	tuple := nl.NewRtAttr(nl.CTA_TUPLE_ORIG|unix.NLA_F_NESTED, nil)
	tuple.AddRtAttr(nl.CTA_TUPLE_PROTO|unix.NLA_F_NESTED, nil).AddRtAttr(nl.CTA_PROTO_NUM, []byte{unix.IPPROTO_UDP})
	filter := nl.NewRtAttr(ctaFilter|unix.NLA_F_NESTED, nil)
	filter.AddRtAttr(ctaFilterOrigFlags, nl.Uint32Attr(filterProtocol))
	filter.AddRtAttr(ctaFilterReplyFlags, nl.Uint32Attr(0))
	request := conntrackRequest(nl.IPCTNL_MSG_CT_GET, unix.NLM_F_DUMP)
	request.AddData(tuple)
	request.AddData(filter)
	messages, err := request.Execute(unix.NETLINK_NETFILTER, 0)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) { // what came meanwhile follows the rules that are
		return nil, err
	}
	var flows []flow
	for _, message := range messages {
		attributes, err := attributesOf(message[nl.SizeofNfgenmsg:])
		if err != nil {
			return nil, err
		}
		_, to, isUDP, err := parseTuple(attributes[nl.CTA_TUPLE_ORIG])
		if err != nil {
			return nil, err
		}
		sentTo, _, _, err := parseTuple(attributes[nl.CTA_TUPLE_REPLY])
		if err != nil {
			return nil, err
		}
		if isUDP {
			flows = append(flows, flow{to: to, sentTo: sentTo, message: message})
		}
	}
	return flows, nil
}

// forget deletes the flow.
func (f flow) forget() error {
	request := conntrackRequest(nl.IPCTNL_MSG_CT_DELETE, unix.NLM_F_ACK)
	request.AddRawData(f.message[nl.SizeofNfgenmsg:])
	_, err := request.Execute(unix.NETLINK_NETFILTER, 0)
	return err
}

func conntrackRequest(message, flags int) *nl.NetlinkRequest {
	request := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_CTNETLINK<<8|message, flags)
	request.AddData(&nl.Nfgenmsg{NfgenFamily: unix.AF_INET, Version: nl.NFNETLINK_V0})
	return request
}

// parseTuple reads the two ends of one direction. Protocols without ports have port 0.
func parseTuple(tuple []byte) (from, to netip.AddrPort, isUDP bool, err error) {
	parts, err := attributesOf(tuple)
	if err != nil {
		return from, to, false, err
	}
	addresses, err := attributesOf(parts[nl.CTA_TUPLE_IP])
	if err != nil {
		return from, to, false, err
	}
	protocol, err := attributesOf(parts[nl.CTA_TUPLE_PROTO])
	if err != nil {
		return from, to, false, err
	}
	end := func(address, port int) netip.AddrPort {
		ip, _ := netip.AddrFromSlice(addresses[address])
		if p := protocol[port]; len(p) == 2 {
			return netip.AddrPortFrom(ip, binary.BigEndian.Uint16(p))
		}
		return netip.AddrPortFrom(ip, 0)
	}
	number := protocol[nl.CTA_PROTO_NUM]
	isUDP = len(number) == 1 && number[0] == unix.IPPROTO_UDP
	return end(nl.CTA_IP_V4_SRC, nl.CTA_PROTO_SRC_PORT), end(nl.CTA_IP_V4_DST, nl.CTA_PROTO_DST_PORT), isUDP, nil
}

// attributesOf gives the attributes in a message or in another attribute, by type.
func attributesOf(b []byte) (map[int][]byte, error) {
	list, err := nl.ParseRouteAttr(b)
	if err != nil {
		return nil, err
	}
	attributes := make(map[int][]byte, len(list))
	for _, a := range list {
		attributes[int(a.Attr.Type&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER))] = a.Value
	}
	return attributes, nil
}
