package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Every route that headway makes carries its protocol number, by which it knows them again, and one of its metrics, so
// that it never takes the place of a route that somebody else made for the same range.
const (
	routeProtocol     netlink.RouteProtocol = 72
	metric                                  = 72
	unreachableMetric                       = 1 << 20 // behind any other route of the range
)

// setUp makes the bridge with the gateway's address, turns on forwarding, and makes the routes of the ranges. What is
// there already stays.
func (n *Network) setUp() error {
	n.setup.Lock()
	defer n.setup.Unlock()
	bridge, err := n.makeBridge()
	if err != nil {
		return fmt.Errorf("bridge %s: %w", n.options.Bridge, err)
	}
	if err := setSysctl("net/ipv4/ip_forward", "1"); err != nil {
		return err
	}
	for _, r := range n.baseRoutes(bridge) {
		if err := n.host.RouteReplace(&r); err != nil {
			return fmt.Errorf("route of %s: %w", r.Dst, err)
		}
	}
	return nil
}

// baseRoutes are the routes of the cluster's ranges. Connections of the node's own processes to a cluster IP pass the
// first look for a route by that to the bridge, and take the gateway's address for theirs; the rules then send them
// elsewhere. All else that is for the ranges and that no rule or narrower route knows is unreachable.
func (n *Network) baseRoutes(bridge netlink.Link) []netlink.Route {
	unreachable := func(p netip.Prefix) netlink.Route {
		return netlink.Route{Dst: ipNet(p), Type: unix.RTN_UNREACHABLE, Protocol: routeProtocol, Priority: unreachableMetric}
	}
	return []netlink.Route{
		unreachable(n.options.ClusterCIDR),
		unreachable(n.options.ServiceCIDR),
		{
			Dst: ipNet(n.options.ServiceCIDR), LinkIndex: bridge.Attrs().Index, Scope: netlink.SCOPE_LINK, Src: n.gateway.AsSlice(),
			Protocol: routeProtocol, Priority: metric,
		},
	}
}

// podRoute sends a pod's address to the bridge, by way of itself: a pod that has a gateway on the bridge, though it is its
// own, is no neighbour of the other pods to the kernel, which so does not tell them of a shorter way past the rules.
func (n *Network) podRoute(bridge netlink.Link, ip netip.Addr) netlink.Route {
	return netlink.Route{
		Dst: ipNet(single(ip)), LinkIndex: bridge.Attrs().Index, Gw: ip.AsSlice(), Flags: int(netlink.FLAG_ONLINK), Src: n.gateway.AsSlice(),
		Protocol: routeProtocol, Priority: metric,
	}
}

// makeBridge makes the bridge or finds it.
func (n *Network) makeBridge() (netlink.Link, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = n.options.Bridge
	// A bridge without an address of its own takes the lowest of its ports', and so changes under the pods' caches.
	attrs.HardwareAddr = hardwareAddr(n.gateway)
	snooping := false
	err := n.host.LinkAdd(&netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &snooping})
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, err
	}
	link, err := n.host.LinkByName(n.options.Bridge)
	if err != nil {
		return nil, err
	}
	if link.Type() != "bridge" {
		return nil, fmt.Errorf("an interface of this name is there, and it is no bridge but of type %s: name another with --bridge, or remove it", link.Type())
	}
	if n.options.MTU == 0 {
		n.options.MTU = n.defaultMTU()
	}
	if err := n.host.LinkSetMTU(link, n.options.MTU); err != nil {
		return nil, fmt.Errorf("MTU %d: %w", n.options.MTU, err)
	}
	if err := n.host.AddrReplace(link, &netlink.Addr{IPNet: ipNet(single(n.gateway))}); err != nil {
		return nil, err
	}
	if err := setSysctl("net/ipv4/conf/"+n.options.Bridge+"/send_redirects", "0"); err != nil {
		return nil, err
	}
	if err := n.noIPv6(n.host, link); err != nil {
		return nil, err
	}
	return link, n.host.LinkSetUp(link)
}

// bridge gives the bridge, which it makes again if somebody has removed it.
func (n *Network) bridge() (netlink.Link, error) {
	link, err := n.host.LinkByName(n.options.Bridge)
	if isNotFound(err) {
		if err := n.setUp(); err != nil {
			return nil, err
		}
		link, err = n.host.LinkByName(n.options.Bridge)
	}
	if err != nil {
		return nil, fmt.Errorf("bridge %s: %w", n.options.Bridge, err)
	}
	return link, nil
}

// tearDown removes our routes and the bridge.
func (n *Network) tearDown() error {
	routes, err := n.routes()
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range routes {
		if err := n.host.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, fmt.Errorf("remove the route of %s: %w", r.Dst, err))
		}
	}
	link, err := n.host.LinkByName(n.options.Bridge)
	if err == nil && link.Type() == "bridge" {
		err = n.host.LinkDel(link)
	}
	if err != nil && !isNotFound(err) {
		errs = append(errs, fmt.Errorf("remove bridge %s: %w", n.options.Bridge, err))
	}
	return errors.Join(errs...)
}

// routes lists the routes of our making. A list that changes while it is read is read again, a few times.
func (n *Network) routes() (routes []netlink.Route, err error) {
	for range 10 {
		routes, err = n.host.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Protocol: routeProtocol}, netlink.RT_FILTER_PROTOCOL)
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("list the routes: %w", err)
	}
	return routes, nil
}

// defaultMTU is that of the interface with the default route, or Ethernet's.
func (n *Network) defaultMTU() int {
	const ethernet = 1500
	routes, err := n.host.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Dst: nil}, netlink.RT_FILTER_DST)
	if err != nil || len(routes) == 0 {
		return ethernet
	}
	link, err := n.host.LinkByIndex(routes[0].LinkIndex)
	if err != nil || link.Attrs().MTU == 0 {
		return ethernet
	}
	return link.Attrs().MTU
}

// hardwareAddr derives a local one from the IPv4 address, so that a neighbour's cache holds true when an address moves.
func hardwareAddr(ip netip.Addr) net.HardwareAddr {
	b := ip.As4()
	return append(net.HardwareAddr{0x0a, 0x58}, b[:]...)
}

// setSysctl sets a kernel parameter of the calling thread's network namespace, unless it is set so.
func setSysctl(name, value string) error {
	path := filepath.Join("/proc/sys", name)
	have, err := os.ReadFile(path)
	if err == nil && strings.TrimSpace(string(have)) == value {
		return nil
	}
	if err == nil {
		err = os.WriteFile(path, []byte(value), 0)
	}
	if err != nil {
		return fmt.Errorf("kernel parameter %s=%s: %w", strings.ReplaceAll(name, "/", "."), value, err)
	}
	return nil
}

// isNotFound reports whether the error is netlink's for an interface that is not there.
func isNotFound(err error) bool {
	var notFound netlink.LinkNotFoundError
	return errors.As(err, &notFound) || errors.Is(err, unix.ENODEV)
}
