package network

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"headway.dev/headway/internal/thread"
	"headway.dev/headway/node"
)

// podInterface is the name of the pod's own end of the cable.
const podInterface = "eth0"

// sandbox names what a pod has, whether or not it is there.
func (n *Network) sandbox(uid string, ip netip.Addr) node.Sandbox {
	return node.Sandbox{UID: uid, IP: ip, NetNS: n.pins.path(uid, "net"), IPCNS: n.pins.path(uid, "ipc"), UTSNS: n.pins.path(uid, "uts")}
}

// hostInterface names the node's end of a pod's cable. It derives from the UID, for it has to be found after a crash.
func hostInterface(uid string) string {
	sum := sha256.Sum256([]byte(uid))
	return "hw" + hex.EncodeToString(sum[:6])
}

// attach makes the namespaces and joins the pod to the bridge.
func (n *Network) attach(s node.Sandbox, hostname string) error {
	bridge, err := n.bridge()
	if err != nil {
		return err
	}
	err = thread.Do(func() error {
		fresh, err := n.enter(s, hostname)
		if err != nil {
			return err
		}
		return n.plugIn(s, bridge, fresh)
	})
	if err != nil {
		return err
	}
	route := n.podRoute(bridge, s.IP)
	if err := n.host.RouteReplace(&route); err != nil {
		return fmt.Errorf("route of %s: %w", s.IP, err)
	}
	return nil
}

// enter takes the thread into the pod's network namespace. If one of the pod's namespaces is missing it makes them all,
// fresh: no container has started in a sandbox that lacks one.
func (n *Network) enter(s node.Sandbox, hostname string) (fresh bool, err error) {
	if n.pins.whole(s.UID) {
		ns, err := netns.GetFromPath(s.NetNS)
		if err != nil {
			return false, fmt.Errorf("%s: %w", s.NetNS, err)
		}
		defer ns.Close()
		if err := netns.Set(ns); err != nil {
			return false, fmt.Errorf("enter %s: %w", s.NetNS, err)
		}
		return false, nil
	}
	if err := n.pins.unpin(s.UID); err != nil {
		return false, err
	}
	if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS); err != nil {
		return false, fmt.Errorf("make namespaces: %w", err)
	}
	if err := unix.Sethostname([]byte(cutHostname(hostname))); err != nil {
		return false, fmt.Errorf("hostname %s: %w", hostname, err)
	}
	return true, n.pins.pin(s.UID)
}

// cutHostname shortens a name to what the kernel and DNS can hold.
func cutHostname(name string) string {
	const longest = 63
	if len(name) <= longest {
		return name
	}
	return strings.TrimRight(name[:longest], "-.")
}

// plugIn joins the pod, whose network namespace the thread is in, to the bridge, and gives it address and route.
func (n *Network) plugIn(s node.Sandbox, bridge netlink.Link, fresh bool) error {
	pod, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink in the pod: %w", err)
	}
	defer pod.Close()
	port, err := n.cable(s, fresh)
	if err == nil {
		err = n.joinBridge(port, bridge)
	}
	if err != nil {
		return fmt.Errorf("interface %s: %w", hostInterface(s.UID), err)
	}
	eth0, err := pod.LinkByName(podInterface)
	if err != nil {
		return fmt.Errorf("interface %s in the pod: %w", podInterface, err)
	}
	return n.configure(pod, eth0, s.IP)
}

// cable gives the node's end of the pair of interfaces whose other end is in the thread's namespace. A fresh namespace
// has none: a pair that is there leads to one that was given up half made, and has to go.
func (n *Network) cable(s node.Sandbox, fresh bool) (netlink.Link, error) {
	if !fresh {
		if port, err := n.host.LinkByName(hostInterface(s.UID)); !isNotFound(err) {
			return port, err
		}
	}
	own, err := netns.Get()
	if err != nil {
		return nil, err
	}
	defer own.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = hostInterface(s.UID), n.options.MTU
	cable := netlink.NewVeth(attrs)
	cable.PeerName, cable.PeerNamespace, cable.PeerHardwareAddr = podInterface, netlink.NsFd(int(own)), hardwareAddr(s.IP)
	err = n.host.LinkAdd(cable)
	if errors.Is(err, unix.EEXIST) {
		if err := n.removeCable(s.UID); err != nil {
			return nil, err
		}
		err = n.host.LinkAdd(cable)
	}
	return cable, err
}

// joinBridge makes the node's end a port of the bridge. A frame may leave by the port it came from: that is the way of a
// pod that reaches itself through a service, where the kernel hands bridged frames to iptables.
func (n *Network) joinBridge(port, bridge netlink.Link) error {
	if err := n.noIPv6(n.host, port); err != nil {
		return err
	}
	if err := n.host.LinkSetMaster(port, bridge); err != nil {
		return err
	}
	if err := n.host.LinkSetHairpin(port, true); err != nil {
		return err
	}
	return n.host.LinkSetUp(port)
}

// noIPv6 keeps an interface that is not up yet from taking a link-local address. Nobody needs it, each greets every
// pod on the bridge, and a hairpin port sends the greeting back, which looks like a second owner of the address.
func (n *Network) noIPv6(handle *netlink.Handle, link netlink.Link) error {
	const none = 1 // the kernel's IN6_ADDR_GEN_MODE_NONE
	if err := handle.LinkSetIP6AddrGenMode(link, none); err != nil && !errors.Is(err, unix.EAFNOSUPPORT) {
		return fmt.Errorf("turn IPv6 addresses off: %w", err)
	}
	return nil
}

// configure gives the pod its address and its route. The thread is in the pod's namespace.
func (n *Network) configure(pod *netlink.Handle, eth0 netlink.Link, ip netip.Addr) error {
	if err := pod.LinkSetUp(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: 1}}); err != nil {
		return fmt.Errorf("bring up lo: %w", err)
	}
	if err := n.noIPv6(pod, eth0); err != nil {
		return err
	}
	if err := pod.AddrReplace(eth0, &netlink.Addr{IPNet: ipNet(single(ip))}); err != nil {
		return fmt.Errorf("address %s: %w", ip, err)
	}
	if err := pod.LinkSetUp(eth0); err != nil {
		return fmt.Errorf("bring up %s: %w", podInterface, err)
	}
	route := netlink.Route{LinkIndex: eth0.Attrs().Index, Gw: n.gateway.AsSlice(), Flags: int(netlink.FLAG_ONLINK)}
	if err := pod.RouteReplace(&route); err != nil {
		return fmt.Errorf("default route: %w", err)
	}
	return nil
}

// detach takes away all but the address.
func (n *Network) detach(s node.Sandbox) error {
	var errs []error
	if s.IP.IsValid() {
		route := netlink.Route{Dst: ipNet(single(s.IP)), Protocol: routeProtocol, Priority: metric}
		if err := n.host.RouteDel(&route); err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, fmt.Errorf("route of %s: %w", s.IP, err))
		}
	}
	if err := n.removeCable(s.UID); err != nil {
		errs = append(errs, fmt.Errorf("interface %s: %w", hostInterface(s.UID), err))
	}
	return errors.Join(append(errs, n.pins.unpin(s.UID))...)
}

// removeCable deletes the pair of interfaces, if it is there.
func (n *Network) removeCable(uid string) error {
	link, err := n.host.LinkByName(hostInterface(uid))
	if err == nil {
		err = n.host.LinkDel(link)
	}
	if isNotFound(err) {
		return nil
	}
	return err
}
