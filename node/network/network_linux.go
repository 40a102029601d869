package network

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"headway.dev/headway/node"
)

// Options say what network a node has.
type Options struct {
	Node        string       // its name
	PodCIDR     netip.Prefix // the addresses of its own pods
	ClusterCIDR netip.Prefix // the addresses of all pods; PodCIDR lies within
	ServiceCIDR netip.Prefix // the cluster IPs of services
	Bridge      string       // the bridge's name; empty is headway0
	Dir         string       // where pods' namespaces are found: lost, like them, with a reboot
	StateDir    string       // where addresses are remembered
	MTU         int          // of pods' interfaces, in bytes; 0 takes that of the default route's interface
}

// DefaultBridge is the name of the bridge where none is given.
const DefaultBridge = "headway0"

func (o Options) validate() error {
	var errs []error
	for _, p := range []struct {
		name   string
		prefix netip.Prefix
	}{{"pod", o.PodCIDR}, {"cluster", o.ClusterCIDR}, {"service", o.ServiceCIDR}} {
		if !p.prefix.IsValid() || !p.prefix.Addr().Is4() || p.prefix != p.prefix.Masked() {
			errs = append(errs, fmt.Errorf("the %s range must be an IPv4 network such as 10.244.0.0/16, not %s", p.name, p.prefix))
		}
	}
	if len(errs) == 0 && !within(o.PodCIDR, o.ClusterCIDR) {
		errs = append(errs, fmt.Errorf("the pod range %s of the node is not within the cluster's %s", o.PodCIDR, o.ClusterCIDR))
	}
	if len(errs) == 0 && o.ServiceCIDR.Overlaps(o.ClusterCIDR) {
		errs = append(errs, fmt.Errorf("the service range %s overlaps the pods' %s: give them ranges apart", o.ServiceCIDR, o.ClusterCIDR))
	}
	if o.PodCIDR.Bits() > 30 {
		errs = append(errs, fmt.Errorf("the pod range %s has no room for a pod: take a /30 or wider", o.PodCIDR))
	}
	if o.Bridge == "" || len(o.Bridge) >= unix.IFNAMSIZ {
		errs = append(errs, fmt.Errorf("the bridge's name must have 1 to %d characters, not %q", unix.IFNAMSIZ-1, o.Bridge))
	}
	if !filepath.IsAbs(o.Dir) || !filepath.IsAbs(o.StateDir) {
		errs = append(errs, fmt.Errorf("directories must be absolute, not %q and %q", o.Dir, o.StateDir))
	}
	return errors.Join(errs...)
}

// within says whether all of a lies in b.
func within(a, b netip.Prefix) bool { return a.Bits() >= b.Bits() && b.Contains(a.Addr()) }

// A Network is the network of one node, in the namespace that it was opened in. Its methods may be called together.
type Network struct {
	options   Options
	gateway   netip.Addr
	host      *netlink.Handle // bound to the node's namespace, whatever thread uses it
	addresses *addresses
	pins      *pins

	setup sync.Mutex     // held while the bridge and the routes of the ranges are made
	pods  [64]sync.Mutex // by a hash of the UID: the steps of one pod do not mix
}

var _ node.Network = (*Network)(nil)

// Open makes the node's bridge and the routes that keep the cluster's ranges off the default route, or finds them, in
// the network namespace of the calling thread.
func Open(o Options) (*Network, error) {
	if o.Bridge == "" {
		o.Bridge = DefaultBridge
	}
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("network of node %s: %w", o.Node, err)
	}
	for _, dir := range []string{o.Dir, o.StateDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("network of node %s: %w", o.Node, err)
		}
	}
	addresses, err := openAddresses(o.StateDir, o.PodCIDR)
	if err != nil {
		return nil, fmt.Errorf("network of node %s: %w", o.Node, err)
	}
	host, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("network of node %s: netlink: %w", o.Node, err)
	}
	n := &Network{options: o, gateway: gatewayOf(o.PodCIDR), host: host, addresses: addresses}
	err = n.setUp()
	if err == nil {
		n.pins, err = openPins(o.Dir)
	}
	if err != nil {
		host.Close()
		return nil, fmt.Errorf("network of node %s: %w", o.Node, err)
	}
	return n, nil
}

// Close lets go of the kernel's socket. All that was made stays.
func (n *Network) Close() {
	n.host.Close()
	n.pins.close()
}

// Bridge is the name of the node's bridge.
func (n *Network) Bridge() string { return n.options.Bridge }

// Gateway is the node's own address among its pods.
func (n *Network) Gateway() netip.Addr { return n.gateway }

// Attach makes the pod's sandbox, or mends what is there of it: each step finds what an earlier call has done.
// A hostname longer than 63 bytes is cut, as Kubernetes does.
func (n *Network) Attach(ctx context.Context, uid, hostname string) (node.Sandbox, error) {
	if err := ctx.Err(); err != nil {
		return node.Sandbox{}, err
	}
	if err := checkUID(uid); err != nil {
		return node.Sandbox{}, err
	}
	defer n.lock(uid)()
	ip, err := n.addresses.acquire(uid)
	if err != nil {
		return node.Sandbox{}, fmt.Errorf("network of pod %s: %w", uid, err)
	}
	s := n.sandbox(uid, ip)
	if err := n.attach(s, hostname); err != nil {
		return node.Sandbox{}, fmt.Errorf("network of pod %s: %w", uid, err)
	}
	return s, nil
}

// Detach removes the pod's interface, route and namespaces, and frees its address last: until then Sandboxes lists it.
func (n *Network) Detach(ctx context.Context, uid string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := checkUID(uid); err != nil {
		return err
	}
	defer n.lock(uid)()
	if err := n.detach(n.sandbox(uid, n.addresses.of(uid))); err != nil {
		return fmt.Errorf("remove the network of pod %s: %w", uid, err)
	}
	return n.addresses.release(uid)
}

// Sandboxes lists the sandboxes ordered by UID. One half made has an empty path for a namespace, or no address.
func (n *Network) Sandboxes(ctx context.Context) ([]node.Sandbox, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	uids := n.addresses.pods()
	there, err := n.pins.pods()
	if err != nil {
		return nil, fmt.Errorf("sandboxes: %w", err)
	}
	uids = append(uids, there...)
	slices.Sort(uids)
	uids = slices.Compact(uids)
	all := make([]node.Sandbox, len(uids))
	for i, uid := range uids {
		s := n.sandbox(uid, n.addresses.of(uid))
		for _, path := range []*string{&s.NetNS, &s.IPCNS, &s.UTSNS} {
			if !pinned(*path) {
				*path = ""
			}
		}
		all[i] = s
	}
	return all, nil
}

// Cleanup removes every sandbox, the routes, the bridge and what was remembered. Forwarding stays on: others may rely on it.
func (n *Network) Cleanup(ctx context.Context) error {
	all, err := n.Sandboxes(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range all {
		errs = append(errs, n.Detach(ctx, s.UID))
	}
	errs = append(errs, n.tearDown())
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return errors.Join(n.pins.remove(), os.RemoveAll(n.options.Dir), n.addresses.remove())
}

// lock keeps other calls for the pod out until the function that it gives is called.
func (n *Network) lock(uid string) func() {
	h := fnv.New32a()
	_, _ = h.Write([]byte(uid)) // never fails
	m := &n.pods[h.Sum32()%uint32(len(n.pods))]
	m.Lock()
	return m.Unlock
}

// checkUID refuses what would be no plain file name.
func checkUID(uid string) error {
	if uid == "" || len(uid) > 200 || strings.HasPrefix(uid, ".") || strings.ContainsAny(uid, "/\x00") {
		return fmt.Errorf("%q cannot be the UID of a pod: it has to be usable as a file's name", uid)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// single is the range of one address.
func single(ip netip.Addr) netip.Prefix { return netip.PrefixFrom(ip, ip.BitLen()) }
