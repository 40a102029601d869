package testnet

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"headway.dev/headway/internal/thread"
)

// A Namespace is a network namespace of a test.
type Namespace struct {
	handle netns.NsHandle
}

// New makes a namespace with lo up. Nothing pins it: it is gone with the test.
func New(t testing.TB) *Namespace {
	t.Helper()
	if unix.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	var handle netns.NsHandle
	err := thread.Do(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		if err := netlink.LinkSetUp(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: 1}}); err != nil {
			return err
		}
		var err error
		handle, err = netns.Get()
		return err
	})
	if err != nil {
		t.Fatalf("make a network namespace: %v", err)
	}
	return own(t, handle)
}

// Open opens a namespace that is pinned to a path, such as that of a pod.
func Open(t testing.TB, path string) *Namespace {
	t.Helper()
	handle, err := netns.GetFromPath(path)
	if err != nil {
		t.Fatalf("open the namespace: %v", err)
	}
	return own(t, handle)
}

func own(t testing.TB, handle netns.NsHandle) *Namespace {
	t.Cleanup(func() {
		if err := handle.Close(); err != nil {
			t.Errorf("close the namespace: %v", err)
		}
	})
	return &Namespace{handle: handle}
}

// Do runs fn in the namespace. What fn starts in goroutines of its own is not there; a process that it starts is.
func (n *Namespace) Do(fn func() error) error {
	return thread.Do(func() error {
		if err := netns.Set(n.handle); err != nil {
			return fmt.Errorf("enter the namespace: %w", err)
		}
		return fn()
	})
}

// Must is Do for what has to succeed.
func (n *Namespace) Must(t testing.TB, fn func() error) {
	t.Helper()
	if err := n.Do(fn); err != nil {
		t.Fatal(err)
	}
}

// Run runs a command in the namespace, with input if there is any, and gives what it prints.
func (n *Namespace) Run(t testing.TB, input string, command ...string) string {
	t.Helper()
	var out []byte
	n.Must(t, func() error {
		cmd := exec.Command(command[0], command[1:]...)
		cmd.Stdin = strings.NewReader(input)
		var err error
		if out, err = cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(command, " "), err, out)
		}
		return nil
	})
	return string(out)
}

// Dial connects from the namespace.
func (n *Namespace) Dial(network, address string, timeout time.Duration) (net.Conn, error) {
	var conn net.Conn
	err := n.Do(func() error {
		var err error
		conn, err = net.DialTimeout(network, address, timeout)
		return err
	})
	return conn, err
}

// Listen listens for TCP in the namespace.
func (n *Namespace) Listen(t testing.TB, address string) net.Listener {
	t.Helper()
	var l net.Listener
	n.Must(t, func() error {
		var err error
		l, err = (&net.ListenConfig{}).Listen(context.Background(), "tcp4", address)
		return err
	})
	t.Cleanup(func() { l.Close() })
	return l
}

// ListenPacket listens for UDP in the namespace.
func (n *Namespace) ListenPacket(t testing.TB, address string) net.PacketConn {
	t.Helper()
	var c net.PacketConn
	n.Must(t, func() error {
		var err error
		c, err = (&net.ListenConfig{}).ListenPacket(context.Background(), "udp4", address)
		return err
	})
	t.Cleanup(func() { c.Close() })
	return c
}

// Connect joins two namespaces by a cable: an interface of this name and address in each.
func Connect(t testing.TB, a *Namespace, aName string, aAddr netip.Prefix, b *Namespace, bName string, bAddr netip.Prefix) {
	t.Helper()
	a.Must(t, func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = aName
		veth := netlink.NewVeth(attrs)
		veth.PeerName = bName
		veth.PeerNamespace = netlink.NsFd(int(b.handle))
		return netlink.LinkAdd(veth)
	})
	a.Up(t, aName, aAddr)
	b.Up(t, bName, bAddr)
}

// Up gives an interface an address, unless that is the zero Prefix, and brings it up.
func (n *Namespace) Up(t testing.TB, name string, addr netip.Prefix) {
	t.Helper()
	n.Must(t, func() error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		if addr.IsValid() {
			if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: IPNet(addr)}); err != nil {
				return err
			}
		}
		return netlink.LinkSetUp(link)
	})
}

// IPNet gives a prefix in the older type.
func IPNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
