package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"headway.dev/headway/internal/thread"
)

// hubBridge joins the nodes and the control plane, in the hub's namespace.
const hubBridge = "lab0"

// outside is the namespace that the lab was started from: the machine's own.
const outside = "outside"

func (o Options) netnsDir() string             { return filepath.Join("/run/headway/lab", o.Name, "netns") }
func (o Options) netnsPath(name string) string { return filepath.Join(o.netnsDir(), name) }

// port is the hub's end of the cable to the n-th node.
func port(n int) string { return "port" + strconv.Itoa(n) }

// makeTopology makes the hub and the nodes' namespaces, joined by a bridge that has no other port.
func (o Options) makeTopology() error {
	if err := os.MkdirAll(o.netnsDir(), 0o755); err != nil {
		return err
	}
	if err := pin("/proc/self/ns/net", o.netnsPath(outside)); err != nil {
		return err
	}
	if err := newNetns(o.netnsPath("hub")); err != nil {
		return err
	}
	hub, handle, err := open(o.netnsPath("hub"))
	if err != nil {
		return err
	}
	defer hub.Close()
	defer handle.Close()
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: hubBridge}}
	if err := handle.LinkAdd(bridge); err != nil {
		return fmt.Errorf("make the hub's bridge: %w", err)
	}
	if err := address(handle, bridge, hubAddress()); err != nil {
		return err
	}
	for n := 1; n <= o.Nodes; n++ {
		if err := o.plugIn(hub, handle, bridge, n); err != nil {
			return fmt.Errorf("plug in %s: %w", nodeName(n), err)
		}
	}
	return nil
}

// plugIn makes the namespace of the n-th node and its cable to the hub.
func (o Options) plugIn(hub netns.NsHandle, hubHandle *netlink.Handle, bridge netlink.Link, n int) error {
	path := o.netnsPath(nodeName(n))
	if err := newNetns(path); err != nil {
		return err
	}
	node, handle, err := open(path)
	if err != nil {
		return err
	}
	defer node.Close()
	defer handle.Close()
	cable := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: port(n), MasterIndex: bridge.Attrs().Index, Namespace: netlink.NsFd(int(hub))},
		PeerName:      "eth0",
		PeerNamespace: netlink.NsFd(int(node)),
	}
	if err := hubHandle.LinkAdd(cable); err != nil {
		return err
	}
	end, err := hubHandle.LinkByName(port(n))
	if err != nil {
		return err
	}
	if err := hubHandle.LinkSetUp(end); err != nil {
		return err
	}
	eth0, err := handle.LinkByName("eth0")
	if err != nil {
		return err
	}
	return address(handle, eth0, nodeAddress(n))
}

// address gives a link its address on the hub's network and brings it up.
func address(handle *netlink.Handle, link netlink.Link, ip netip.Addr) error {
	bits := netip.MustParsePrefix(hubNetwork).Bits()
	addr := &netlink.Addr{IPNet: &net.IPNet{IP: ip.AsSlice(), Mask: net.CIDRMask(bits, 32)}}
	if err := handle.AddrAdd(link, addr); err != nil {
		return err
	}
	return handle.LinkSetUp(link)
}

// setCable connects a node to the hub, or cuts it off.
func (o Options) setCable(n int, up bool) error {
	hub, handle, err := open(o.netnsPath("hub"))
	if err != nil {
		return err
	}
	defer hub.Close()
	defer handle.Close()
	end, err := handle.LinkByName(port(n))
	if err != nil {
		return err
	}
	if up {
		return handle.LinkSetUp(end)
	}
	return handle.LinkSetDown(end)
}

// removeTopology removes every namespace; the links in them go with them.
func (o Options) removeTopology() error {
	entries, err := os.ReadDir(o.netnsDir())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		path := o.netnsPath(e.Name())
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			errs = append(errs, fmt.Errorf("unmount %s: %w", path, err))
		}
		errs = append(errs, os.Remove(path))
	}
	own := filepath.Dir(o.netnsDir())
	errs = append(errs, os.RemoveAll(own))
	// The directories above belong to all labs: the last one removes them.
	for dir := filepath.Dir(own); dir != "/run" && os.Remove(dir) == nil; {
		dir = filepath.Dir(dir)
	}
	return errors.Join(errs...)
}

// open gives a namespace and a netlink socket in it.
func open(path string) (netns.NsHandle, *netlink.Handle, error) {
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return 0, nil, fmt.Errorf("%s: %w", path, err)
	}
	handle, err := netlink.NewHandleAt(ns)
	if err != nil {
		ns.Close()
		return 0, nil, err
	}
	return ns, handle, nil
}

// newNetns makes a network namespace and pins it to a path, so that it needs no process.
func newNetns(path string) error {
	return thread.Do(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w", err)
		}
		if err := pin("/proc/thread-self/ns/net", path); err != nil {
			return err
		}
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(lo)
	})
}

// pin binds a namespace to a file of its own.
func pin(namespace, path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o444)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := unix.Mount(namespace, path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("pin the namespace to %s: %w", path, err)
	}
	return nil
}

// within runs fn in the namespace at a path; a process that fn starts is born there.
func within(path string, fn func() error) error {
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer ns.Close()
	return thread.Do(func() error {
		if err := netns.Set(ns); err != nil {
			return fmt.Errorf("enter %s: %w", path, err)
		}
		return fn()
	})
}
