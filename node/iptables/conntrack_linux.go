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

	"headway.dev/headway/node"
)

// udpServices are the endpoints of each address and port of UDP.
//
// The kernel remembers where it sent the packets of a UDP client, and sends all that follow there, past the rules, for
// as long as the client goes on; UDP has no connection that would end. A TCP connection is left to end by itself.
type udpServices struct {
	at     map[netip.AddrPort][]netip.AddrPort
	onNode map[uint16][]netip.AddrPort // by port of the node's addresses
}

func udpServicesOf(ports []servicePort, hosts []node.HostPort) *udpServices {
	u := &udpServices{at: map[netip.AddrPort][]netip.AddrPort{}, onNode: map[uint16][]netip.AddrPort{}}
	for _, p := range ports {
		if p.protocol != "udp" {
			continue
		}
		u.at[netip.AddrPortFrom(p.ip, p.port)] = p.endpoints
		for _, ip := range p.outside.addresses {
			u.at[netip.AddrPortFrom(ip, p.port)] = p.endpoints
		}
		for _, port := range p.outside.ports {
			u.onNode[port] = append(u.onNode[port], p.endpoints...)
		}
	}
	for _, h := range hosts {
		if protocols[h.Protocol] == "udp" {
			u.onNode[h.Port] = append(u.onNode[h.Port], h.To)
		}
	}
	return u
}

// stale reports whether the kernel may remember what is no longer so: an endpoint is not there any more, or a port of the
// node, to which clients may have sent in vain, now leads to one.
func (u *udpServices) stale(now *udpServices) bool {
	for service, endpoints := range u.at {
		if lost(endpoints, now.at[service]) {
			return true
		}
	}
	for port, endpoints := range u.onNode {
		if lost(endpoints, now.onNode[port]) {
			return true
		}
	}
	for port := range now.onNode {
		if len(u.onNode[port]) == 0 {
			return true
		}
	}
	return false
}

func lost(before, now []netip.AddrPort) bool {
	return slices.ContainsFunc(before, func(e netip.AddrPort) bool { return !slices.Contains(now, e) })
}

// forgetStale has the kernel forget every UDP client that it does not send to an endpoint of what the client asked for.
func (u *udpServices) forgetStale(c Config) error {
	flows, err := udpFlows()
	if err != nil {
		return fmt.Errorf("list the kernel's UDP clients: %w", err)
	}
	own, err := ownAddresses()
	if err != nil {
		return err
	}
	for _, f := range flows {
		if !u.misled(c, f, own) {
			continue
		}
		if err := f.forget(); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("have the kernel forget a client of %s that it sends to %s: %w", f.to, f.sentTo, err)
		}
	}
	return nil
}

// misled reports whether the kernel sends a client where the rules would not. What other programs' rules sent elsewhere
// is none of ours.
func (u *udpServices) misled(c Config, f flow, own map[netip.Addr]bool) bool {
	endpoints, known := u.at[f.to]
	switch to := f.to.Addr(); {
	case known || c.ServiceCIDR.Contains(to):
		return !slices.Contains(endpoints, f.sentTo)
	case !own[to] || to == c.gateway():
		return false
	}
	endpoints, known = u.onNode[f.to.Port()]
	return (len(endpoints) > 0 || f.sentTo != f.to && (known || c.ClusterCIDR.Contains(f.sentTo.Addr()))) && !slices.Contains(endpoints, f.sentTo)
}

// ownAddresses are the machine's own, but for loopback.
func ownAddresses() (map[netip.Addr]bool, error) {
	list, err := netlink.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("list the machine's addresses: %w", err)
	}
	own := make(map[netip.Addr]bool, len(list))
	for _, a := range list {
		if ip, ok := netip.AddrFromSlice(a.IP.To4()); ok && !ip.IsLoopback() {
			own[ip] = true
		}
	}
	return own, nil
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
