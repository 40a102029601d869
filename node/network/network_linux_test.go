package network

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"headway.dev/headway/api"
	"headway.dev/headway/internal/testnet"
	"headway.dev/headway/node"
)

var (
	clusterCIDR = netip.MustParsePrefix("10.244.0.0/16")
	serviceCIDR = netip.MustParsePrefix("10.96.0.0/16")
)

// A machine is a node in a namespace of its own.
type machine struct {
	*testnet.Namespace
	*Network
}

func podCIDR(n int) netip.Prefix { return netip.MustParsePrefix(fmt.Sprintf("10.244.%d.0/24", n)) }

// newMachine makes the n-th node.
func newMachine(t testing.TB, n int) *machine {
	t.Helper()
	dir := t.TempDir()
	return openMachine(t, testnet.New(t), Options{
		Node: fmt.Sprintf("node%d", n), PodCIDR: podCIDR(n), ClusterCIDR: clusterCIDR, ServiceCIDR: serviceCIDR,
		Dir: filepath.Join(dir, "ns"), StateDir: filepath.Join(dir, "addresses"),
	})
}

func openMachine(t testing.TB, ns *testnet.Namespace, o Options) *machine {
	t.Helper()
	m := &machine{Namespace: ns}
	ns.Must(t, func() error {
		var err error
		m.Network, err = Open(o)
		return err
	})
	t.Cleanup(func() {
		if err := m.Cleanup(context.Background()); err != nil {
			t.Errorf("clean up: %v", err)
		}
		m.Close()
	})
	return m
}

// crash is a crash of the daemon and its next start: the same machine, with nothing in memory.
func (m *machine) crash(t testing.TB) {
	t.Helper()
	m.Close()
	m.Must(t, func() error {
		var err error
		m.Network, err = Open(m.options)
		return err
	})
}

func (m *machine) attach(t testing.TB, uid string) (node.Sandbox, *testnet.Namespace) {
	t.Helper()
	s, err := m.Attach(t.Context(), uid, uid)
	if err != nil {
		t.Fatal(err)
	}
	return s, testnet.Open(t, s.NetNS)
}

// connects says how a TCP connection from a namespace to a listener fares, and the address that the listener saw.
func connects(t testing.TB, from, to *testnet.Namespace, ip netip.Addr) netip.Addr {
	t.Helper()
	l := to.Listen(t, netip.AddrPortFrom(ip, 8080).String())
	defer l.Close()
	seen := make(chan netip.Addr, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		seen <- conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr()
		conn.Close()
	}()
	conn, err := from.Dial("tcp4", l.Addr().String(), 2*time.Second)
	if err != nil {
		t.Fatalf("connect to %s: %v", ip, err)
	}
	conn.Close()
	return <-seen
}

func TestPodsOfOneNodeReachEachOther(t *testing.T) {
	m := newMachine(t, 1)
	for _, frames := range []string{"0", "1"} { // whether the kernel hands bridged frames to iptables
		m.setBridgeNetfilter(t, frames)
		a, aNet := m.attach(t, "a")
		b, bNet := m.attach(t, "b")
		if a.IP == b.IP {
			t.Fatalf("both pods have %s", a.IP)
		}
		if got := connects(t, aNet, bNet, b.IP); got != a.IP {
			t.Errorf("b sees the client %s, which is %s", got, a.IP)
		}
		if got := connects(t, m.Namespace, bNet, b.IP); got != m.Gateway() {
			t.Errorf("b sees the node as %s, not as %s", got, m.Gateway())
		}
		if got := connects(t, aNet, m.Namespace, m.Gateway()); got != a.IP {
			t.Errorf("the node sees the client %s, which is %s", got, a.IP)
		}
	}
}

// TestNodeStaysBetweenPods lets the kernel tell the machine's neighbours of shorter ways, which it must find none of: they
// would lead past the rules.
func TestNodeStaysBetweenPods(t *testing.T) {
	m := newMachine(t, 1)
	m.Must(t, func() error { return setSysctl("net/ipv4/conf/all/send_redirects", "1") })
	_, a := m.attach(t, "a")
	b, bNet := m.attach(t, "b")
	connects(t, a, bNet, b.IP)
	counters := strings.Split(strings.TrimSpace(m.Run(t, "", "grep", "^Icmp:", "/proc/thread-self/net/snmp")), "\n")
	at := slices.Index(strings.Fields(counters[0]), "OutRedirects")
	if sent := strings.Fields(counters[1])[at]; sent != "0" {
		t.Errorf("the node has sent %s redirects", sent)
	}
}

// setBridgeNetfilter sets whether bridged frames pass iptables. A kernel without br_netfilter never does it.
func (m *machine) setBridgeNetfilter(t testing.TB, value string) {
	t.Helper()
	m.Must(t, func() error {
		err := setSysctl("net/bridge/bridge-nf-call-iptables", value)
		if os.IsNotExist(err) {
			return nil
		}
		return err
	})
}

func TestSandbox(t *testing.T) {
	m := newMachine(t, 1)
	long := strings.Repeat("a", 62) + "-b"
	s, err := m.Attach(t.Context(), "uid-1", long)
	if err != nil {
		t.Fatal(err)
	}
	own := map[string]string{}
	for _, path := range []string{s.NetNS, s.IPCNS, s.UTSNS} {
		own[path] = inode(t, path)
		if machine := inode(t, "/proc/self/ns/"+filepath.Base(path)); own[path] == machine {
			t.Errorf("%s is the machine's own namespace", path)
		}
	}
	out := m.Run(t, "", "nsenter", "--net="+s.NetNS, "--uts="+s.UTSNS, "sh", "-c", "hostname; ip -o -4 addr; ip route")
	for _, want := range []string{
		strings.Repeat("a", 62) + "\n", "eth0    inet " + s.IP.String() + "/32", "default via 10.244.1.1 dev eth0 onlink", "127.0.0.1/8",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the pod lacks %q:\n%s", want, out)
		}
	}
	all, err := m.Sandboxes(t.Context())
	if err != nil || !slices.Equal(all, []node.Sandbox{s}) {
		t.Errorf("sandboxes %+v, %v; want %+v", all, err, s)
	}
	m.crash(t)
	again, err := m.Attach(t.Context(), "uid-1", long)
	if err != nil || again != s {
		t.Errorf("attached again: %+v, %v; want %+v", again, err, s)
	}
	for path, before := range own {
		if now := inode(t, path); now != before {
			t.Errorf("attaching again has made %s anew", path)
		}
	}
}

func inode(t testing.TB, path string) string {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(st.Dev, ":", st.Ino)
}

func TestAttachRefusesWhatIsNoUID(t *testing.T) {
	m := newMachine(t, 1)
	for _, uid := range []string{"", ".", "..", ".last", "../x", "a/b", strings.Repeat("x", 300)} {
		if _, err := m.Attach(t.Context(), uid, "h"); err == nil {
			t.Errorf("attached a pod of UID %q", uid)
		}
		if err := m.Detach(t.Context(), uid); err == nil {
			t.Errorf("detached a pod of UID %q", uid)
		}
	}
}

// TestAttachAfterCrash takes away each part of a sandbox, as if the daemon had died before making it, or a person had
// removed it, and attaches again.
func TestAttachAfterCrash(t *testing.T) {
	m := newMachine(t, 1)
	_, other := m.attach(t, "other")
	for name, spoil := range map[string]func(t *testing.T, s node.Sandbox){
		"nothing made": func(t *testing.T, s node.Sandbox) {
			if err := m.Detach(t.Context(), s.UID); err != nil {
				t.Fatal(err)
			}
		},
		"address only": func(t *testing.T, s node.Sandbox) {
			if err := m.detach(s); err != nil {
				t.Fatal(err)
			}
		},
		"empty file for a namespace": func(t *testing.T, s node.Sandbox) {
			if err := m.detach(s); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(filepath.Dir(s.NetNS), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(s.NetNS, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"namespaces without an interface": func(t *testing.T, s node.Sandbox) { m.Run(t, "", "ip", "link", "del", hostInterface(s.UID)) },
		"one namespace not pinned": func(t *testing.T, s node.Sandbox) {
			if err := m.pins.do(func() error { return unix.Unmount(filepath.Join("/", s.UID, "uts"), unix.MNT_DETACH) }); err != nil {
				t.Fatal(err)
			}
		},
		"interface of a namespace that is gone": func(t *testing.T, s node.Sandbox) {
			held := testnet.Open(t, s.NetNS) // as by a process
			if err := m.pins.unpin(s.UID); err != nil {
				t.Fatal(err)
			}
			held.Must(t, func() error { return nil })
		},
		"not on the bridge": func(t *testing.T, s node.Sandbox) {
			m.Run(t, "", "ip", "link", "set", hostInterface(s.UID), "nomaster", "down")
		},
		"no address in the pod": func(t *testing.T, s node.Sandbox) {
			m.Run(t, "", "nsenter", "--net="+s.NetNS, "ip", "addr", "flush", "dev", "eth0")
		},
		"pod's interface is down": func(t *testing.T, s node.Sandbox) {
			m.Run(t, "", "nsenter", "--net="+s.NetNS, "ip", "link", "set", "eth0", "down")
		},
		"no route to the pod": func(t *testing.T, s node.Sandbox) { m.Run(t, "", "ip", "route", "del", s.IP.String()) },
		"torn address file": func(t *testing.T, s node.Sandbox) {
			if err := os.WriteFile(filepath.Join(m.options.StateDir, s.UID), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := m.detach(s); err != nil { // a torn file is what a power failure leaves: no namespace outlives it
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := m.attach(t, "pod")
			spoil(t, s)
			m.crash(t)
			all, err := m.Sandboxes(t.Context())
			if err != nil || name != "nothing made" && !slices.ContainsFunc(all, func(s node.Sandbox) bool { return s.UID == "pod" }) {
				t.Errorf("%+v, %v does not list the half-made sandbox", all, err)
			}
			s, ns := m.attach(t, "pod")
			connects(t, other, ns, s.IP)
			if err := m.Detach(t.Context(), "pod"); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestBridgeRemovedByOthers(t *testing.T) {
	m := newMachine(t, 1)
	_, a := m.attach(t, "a")
	b, bNet := m.attach(t, "b")
	m.Run(t, "", "ip", "link", "del", DefaultBridge)
	for _, uid := range []string{"a", "b"} {
		m.Must(t, func() error {
			_, err := m.Attach(t.Context(), uid, uid)
			return err
		})
	}
	connects(t, a, bNet, b.IP)
}

func TestDetachIsComplete(t *testing.T) {
	m := newMachine(t, 1)
	before := m.Run(t, "", "sh", "-c", "ip -o link | sed 's/state.*//; s/<.*>//'; ip route | sed 's/ linkdown//'")
	s, _ := m.attach(t, "pod")
	if err := m.Detach(t.Context(), "pod"); err != nil {
		t.Fatal(err)
	}
	if after := m.Run(t, "", "sh", "-c", "ip -o link | sed 's/state.*//; s/<.*>//'; ip route | sed 's/ linkdown//'"); after != before {
		t.Errorf("detaching leaves\n%s\nwhere there was\n%s", after, before)
	}
	if _, err := os.Stat(filepath.Dir(s.NetNS)); !os.IsNotExist(err) {
		t.Errorf("the sandbox's directory is still there: %v", err)
	}
	if all, err := m.Sandboxes(t.Context()); err != nil || len(all) > 0 {
		t.Errorf("sandboxes %v, %v", all, err)
	}
	if err := m.Detach(t.Context(), "pod"); err != nil {
		t.Errorf("detach what is not there: %v", err)
	}
	if next, _ := m.attach(t, "next"); next.IP == s.IP {
		t.Errorf("%s is in use again at once", s.IP)
	}
}

func TestParallelAttach(t *testing.T) {
	m := newMachine(t, 1)
	const pods = 24
	ips := make([]netip.Addr, pods)
	var wg sync.WaitGroup
	for i := range pods {
		wg.Go(func() {
			s, err := m.Attach(t.Context(), fmt.Sprint("pod", i), "h")
			if err != nil {
				t.Error(err)
			}
			ips[i] = s.IP
		})
	}
	wg.Wait()
	slices.SortFunc(ips, netip.Addr.Compare)
	if distinct := slices.Compact(slices.Clone(ips)); len(distinct) != pods {
		t.Errorf("%d pods have %d addresses: %v", pods, len(distinct), ips)
	}
	for i := range pods {
		wg.Go(func() {
			if err := m.Detach(t.Context(), fmt.Sprint("pod", i)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// twoMachines joins two nodes by a switch that leads nowhere else.
func twoMachines(t testing.TB) (a, b *machine) {
	t.Helper()
	a, b = newMachine(t, 1), newMachine(t, 2)
	testnet.Connect(t, a.Namespace, "uplink", netip.MustParsePrefix("172.29.0.101/24"), b.Namespace, "uplink", netip.MustParsePrefix("172.29.0.102/24"))
	return a, b
}

func peers() []api.NodeInfo {
	return []api.NodeInfo{
		{Name: "node1", Addresses: []string{"172.29.0.101"}, PodCIDR: "10.244.1.0/24"},
		{Name: "node2", Addresses: []string{"fe80::1", "172.29.0.102"}, PodCIDR: "10.244.2.0/24"},
	}
}

func TestPodsOfTwoNodesReachEachOther(t *testing.T) {
	one, two := twoMachines(t)
	for _, m := range []*machine{one, two} {
		if err := m.SetPeers(t.Context(), peers()); err != nil {
			t.Fatal(err)
		}
	}
	a, aNet := one.attach(t, "a")
	b, bNet := two.attach(t, "b")
	if got := connects(t, aNet, bNet, b.IP); got != a.IP {
		t.Errorf("b sees the client %s, which is %s", got, a.IP)
	}
	if got := connects(t, bNet, aNet, a.IP); got != b.IP {
		t.Errorf("a sees the client %s, which is %s", got, b.IP)
	}
}

func TestSetPeersIsExact(t *testing.T) {
	one, _ := twoMachines(t)
	one.Run(t, "", "ip", "route", "add", "10.244.9.0/24", "via", "172.29.0.109") // a route of somebody else
	one.attach(t, "a")
	base := one.Run(t, "", "ip", "route")
	set := func(wantErr string, peers ...api.NodeInfo) string {
		t.Helper()
		err := one.SetPeers(t.Context(), peers)
		if (err == nil) != (wantErr == "") || err != nil && !strings.Contains(err.Error(), wantErr) {
			t.Errorf("set peers: %v, want %q", err, wantErr)
		}
		return one.Run(t, "", "ip", "route")
	}
	peer := func(name, ip, pods string) api.NodeInfo {
		return api.NodeInfo{Name: name, Addresses: []string{ip}, PodCIDR: pods}
	}
	line := func(pods, ip string) string { return pods + " via " + ip + " dev uplink proto 72 metric 72" }

	if got := set("", peer("node2", "172.29.0.102", "10.244.2.0/24"), peer("node3", "172.29.0.103", "10.244.3.0/24")); !strings.Contains(got, line("10.244.2.0/24", "172.29.0.102")) ||
		!strings.Contains(got, line("10.244.3.0/24", "172.29.0.103")) {
		t.Errorf("the routes of two peers are missing:\n%s", got)
	}
	if got := set("", peer("node2", "172.29.0.112", "10.244.2.0/24")); !strings.Contains(got, line("10.244.2.0/24", "172.29.0.112")) || strings.Contains(got, "10.244.3.0") {
		t.Errorf("node2 has moved and node3 has gone:\n%s", got)
	}
	for _, bad := range []struct {
		peer    api.NodeInfo
		explain string
	}{
		{peer("node4", "172.29.0.104", "192.168.0.0/24"), "not a network within the cluster's"},
		{peer("node4", "172.29.0.104", "0.0.0.0/0"), "not a network within the cluster's"},
		{peer("node4", "172.29.0.104", "10.244.1.128/25"), "overlaps this node's"},
		{peer("node4", "172.29.0.104", "10.244.0.0/16"), "overlaps this node's"},
		{peer("node4", "172.29.0.104", "10.244.2.0/25"), "overlaps another node's"},
		{peer("node4", "10.244.1.9", "10.244.4.0/24"), "outside of the cluster's own ranges"},
		{peer("node4", "127.0.0.1", "10.244.4.0/24"), "outside of the cluster's own ranges"},
		{peer("node4", "8.8.8.8", "10.244.4.0/24"), "without a router between"},
		{peer("node4", "172.29.0.104", ""), "not a network"},
	} {
		if got := set(bad.explain, peer("node2", "172.29.0.112", "10.244.2.0/24"), bad.peer); !strings.Contains(got, line("10.244.2.0/24", "172.29.0.112")) {
			t.Errorf("%+v has taken the route of node2 away:\n%s", bad.peer, got)
		}
	}
	if got := set(""); got != base {
		t.Errorf("without peers there is\n%s\nwhere there was\n%s", got, base)
	}
}

// TestNothingLeaksByTheDefaultRoute gives the node a default route to a neighbour that counts what it gets.
func TestNothingLeaksByTheDefaultRoute(t *testing.T) {
	m := newMachine(t, 1)
	outside := testnet.New(t)
	testnet.Connect(t, m.Namespace, "uplink", netip.MustParsePrefix("172.29.0.101/24"), outside, "uplink", netip.MustParsePrefix("172.29.0.1/24"))
	m.Run(t, "", "ip", "route", "add", "default", "via", "172.29.0.1")
	_, pod := m.attach(t, "a")
	// A link carries packets some time after it is up, so the way out is asked for until it is seen.
	before := 0
	for deadline := time.Now().Add(10 * time.Second); before == 0 && time.Now().Before(deadline); before = received(t, outside) {
		if conn, err := m.Dial("tcp4", "198.51.100.1:80", 100*time.Millisecond); err == nil { // of a range kept for documentation
			conn.Close()
			t.Error("198.51.100.1 answers")
		}
	}
	if before == 0 {
		t.Fatal("the neighbour gets nothing by the default route: the test would see no leak")
	}
	// The node learns it from its own routes; a pod from ICMP, which the kernel sends sparingly.
	for name, from := range map[string]*testnet.Namespace{"pod": pod, "node": m.Namespace} {
		for i, address := range []string{"10.244.1.200:80", "10.244.77.1:80", "10.244.255.254:80"} {
			begin, patience := time.Now(), 5*time.Second
			if i > 0 && from == pod {
				patience = 100 * time.Millisecond
			}
			if conn, err := from.Dial("tcp4", address, patience); err == nil {
				conn.Close()
				t.Errorf("%s answers", address)
			}
			if took := time.Since(begin); took > time.Second {
				t.Errorf("from the %s it took %v to learn that nobody has %s", name, took, address)
			}
		}
	}
	// No rules are here: a cluster IP is a neighbour that does not answer.
	for _, from := range []*testnet.Namespace{pod, m.Namespace} {
		if conn, err := from.Dial("tcp4", "10.96.0.1:80", 100*time.Millisecond); err == nil {
			conn.Close()
			t.Error("10.96.0.1 answers")
		}
	}
	if after := received(t, outside); after != before {
		t.Errorf("%d packets have left by the default route", after-before)
	}
	if m.Run(t, "", "ip", "link", "del", DefaultBridge); received(t, outside) != before {
		t.Error("removing the bridge sends packets")
	}
	if conn, err := m.Dial("tcp4", "10.96.0.1:80", time.Second); err == nil {
		conn.Close()
		t.Error("10.96.0.1 answers without a bridge")
	}
	if after := received(t, outside); after != before {
		t.Errorf("without the bridge %d packets have left by the default route", after-before)
	}
}

// received counts the IPv4 packets that came to a namespace, which are not neighbours' questions.
func received(t testing.TB, ns *testnet.Namespace) int {
	t.Helper()
	var packets, unused int
	out := ns.Run(t, "", "grep", "^Ip: [0-9]", "/proc/thread-self/net/snmp")
	if _, err := fmt.Sscanf(out, "Ip: %d %d %d", &unused, &unused, &packets); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	return packets
}

func TestCleanupLeavesWhatItFound(t *testing.T) {
	ns := testnet.New(t)
	peer := testnet.New(t)
	testnet.Connect(t, ns, "uplink", netip.MustParsePrefix("172.29.0.101/24"), peer, "uplink", netip.MustParsePrefix("172.29.0.1/24"))
	ns.Run(t, "", "ip", "link", "add", "foreign0", "type", "bridge")
	ns.Run(t, "", "ip", "route", "add", "10.244.0.0/16", "via", "172.29.0.1", "metric", "5000")
	state := func() string { return ns.Run(t, "", "sh", "-c", "ip -o link; ip -o addr; ip route; ip -6 route") }
	before := state()
	dir := t.TempDir()
	o := Options{
		Node: "node1", PodCIDR: podCIDR(1), ClusterCIDR: clusterCIDR, ServiceCIDR: serviceCIDR, Bridge: "custom0",
		Dir: filepath.Join(dir, "ns"), StateDir: filepath.Join(dir, "addresses"),
	}
	m := openMachine(t, ns, o)
	m.attach(t, "a")
	m.attach(t, "b")
	if err := m.SetPeers(t.Context(), []api.NodeInfo{{Name: "node2", Addresses: []string{"172.29.0.1"}, PodCIDR: "10.244.2.0/24"}}); err != nil {
		t.Fatal(err)
	}
	if err := m.Cleanup(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := state(); after != before {
		t.Errorf("after the clean-up there is\n%s\nwhere there was\n%s", after, before)
	}
	if left, err := filepath.Glob(dir + "/*"); err != nil || len(left) > 0 {
		t.Errorf("the clean-up leaves %v", left)
	}
	if err := m.Cleanup(t.Context()); err != nil {
		t.Errorf("clean up twice: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	ns := testnet.New(t)
	dir := t.TempDir()
	good := Options{Node: "n", PodCIDR: podCIDR(1), ClusterCIDR: clusterCIDR, ServiceCIDR: serviceCIDR, Dir: dir + "/ns", StateDir: dir + "/state"}
	for explain, spoil := range map[string]func(*Options){
		"not within the cluster's": func(o *Options) { o.PodCIDR = netip.MustParsePrefix("10.1.0.0/24") },
		"overlaps the pods'":       func(o *Options) { o.ServiceCIDR = netip.MustParsePrefix("10.244.9.0/24") },
		"IPv4 network":             func(o *Options) { o.PodCIDR = netip.MustParsePrefix("fd00::/64") },
		"the service range must":   func(o *Options) { o.ServiceCIDR = netip.Prefix{} },
		"no room for a pod":        func(o *Options) { o.PodCIDR = netip.MustParsePrefix("10.244.1.0/31") },
		"must be absolute":         func(o *Options) { o.Dir = "ns" },
		"the bridge's name":        func(o *Options) { o.Bridge = "a-name-that-is-too-long" },
		"is no bridge":             func(o *Options) { o.Bridge = "lo" },
	} {
		o := good
		spoil(&o)
		err := ns.Do(func() error {
			_, err := Open(o)
			return err
		})
		if err == nil || !strings.Contains(err.Error(), explain) {
			t.Errorf("%s: %v", explain, err)
		}
	}
}

func BenchmarkAttach(b *testing.B) {
	m := newMachine(b, 1)
	ctx := context.Background()
	i := 0
	for b.Loop() {
		i++
		uid := fmt.Sprint("pod", i)
		if _, err := m.Attach(ctx, uid, "h"); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := m.Detach(ctx, uid); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func BenchmarkDetach(b *testing.B) {
	m := newMachine(b, 1)
	ctx := context.Background()
	i := 0
	for b.Loop() {
		i++
		uid := fmt.Sprint("pod", i)
		b.StopTimer()
		if _, err := m.Attach(ctx, uid, "h"); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if err := m.Detach(ctx, uid); err != nil {
			b.Fatal(err)
		}
	}
}
