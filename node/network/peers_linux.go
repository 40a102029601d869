package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"headway.dev/headway/api"
)

// SetPeers routes the other nodes' pod ranges to them and takes away the routes of nodes that are no longer there. A node
// whose range or address cannot be used gets no route and is told of in the error; the others do.
func (n *Network) SetPeers(ctx context.Context, peers []api.NodeInfo) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	bridge, err := n.bridge()
	if err != nil {
		return err
	}
	want, err := n.peerRoutes(peers)
	errs := []error{err}
	have, err := n.routes()
	if err != nil {
		return err
	}
	for _, r := range have {
		pods, ok := prefixOf(r)
		if !ok || r.LinkIndex == bridge.Attrs().Index || r.Type != unix.RTN_UNICAST {
			continue
		}
		if gateway, wanted := want[pods]; wanted && r.Gw.Equal(gateway.AsSlice()) {
			delete(want, pods)
		} else if !wanted {
			errs = append(errs, n.removeRoute(r))
		}
	}
	for pods, gateway := range want {
		route := netlink.Route{Dst: ipNet(pods), Gw: gateway.AsSlice(), Protocol: routeProtocol, Priority: metric}
		if err := n.host.RouteReplace(&route); err != nil {
			errs = append(errs, fmt.Errorf("route of %s via %s: %w (a node has to reach the others' addresses without a router between)", pods, gateway, err))
		}
	}
	return errors.Join(errs...)
}

// peerRoutes gives the way to each range. The first of two nodes with the same range has it.
func (n *Network) peerRoutes(peers []api.NodeInfo) (map[netip.Prefix]netip.Addr, error) {
	routes := map[netip.Prefix]netip.Addr{}
	var errs []error
	for _, peer := range peers {
		if peer.Name == n.options.Node {
			continue
		}
		pods, gateway, err := n.checkPeer(peer)
		if err == nil {
			for other := range routes {
				if other.Overlaps(pods) {
					err = fmt.Errorf("its pod range %s overlaps another node's %s: give each node a range of its own", pods, other)
				}
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("no route to the pods of node %s: %w", peer.Name, err))
			continue
		}
		routes[pods] = gateway
	}
	return routes, errors.Join(errs...)
}

// checkPeer reads what a node says of itself, and believes nothing that would lead packets astray.
func (n *Network) checkPeer(peer api.NodeInfo) (netip.Prefix, netip.Addr, error) {
	pods, err := netip.ParsePrefix(peer.PodCIDR)
	if err != nil || pods != pods.Masked() || !within(pods, n.options.ClusterCIDR) {
		return netip.Prefix{}, netip.Addr{}, fmt.Errorf("its pod range %q is not a network within the cluster's %s", peer.PodCIDR, n.options.ClusterCIDR)
	}
	if pods.Overlaps(n.options.PodCIDR) {
		return netip.Prefix{}, netip.Addr{}, fmt.Errorf("its pod range %s overlaps this node's %s: give each node a range of its own", pods, n.options.PodCIDR)
	}
	for _, a := range peer.Addresses {
		ip, err := netip.ParseAddr(a)
		if err == nil && ip.Is4() && ip.IsGlobalUnicast() && !n.options.ClusterCIDR.Contains(ip) && !n.options.ServiceCIDR.Contains(ip) {
			return pods, ip, nil
		}
	}
	return netip.Prefix{}, netip.Addr{}, fmt.Errorf("none of its addresses %q is an IPv4 address outside of the cluster's own ranges", peer.Addresses)
}

func (n *Network) removeRoute(r netlink.Route) error {
	if err := n.host.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("remove the route of %s: %w", r.Dst, err)
	}
	return nil
}

// prefixOf is the range that a route is for.
func prefixOf(r netlink.Route) (netip.Prefix, bool) {
	if r.Dst == nil {
		return netip.Prefix{}, false
	}
	ip, ok := netip.AddrFromSlice(r.Dst.IP)
	bits, _ := r.Dst.Mask.Size()
	return netip.PrefixFrom(ip.Unmap(), bits), ok
}
