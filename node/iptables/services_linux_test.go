package iptables_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
	"headway.dev/headway/internal/testnet"
	"headway.dev/headway/node/iptables"
	"headway.dev/headway/node/network"
)

var (
	clusterCIDR = netip.MustParsePrefix("10.244.0.0/16")
	serviceCIDR = netip.MustParsePrefix("10.96.0.0/16")
)

const (
	webIP   = "10.96.0.10"
	webPort = 8080
	patient = 10 * time.Second // no test waits that long for what works
	atOnce  = 500 * time.Millisecond
)

// forBackends runs a test with each back end of iptables that is installed.
func forBackends(t *testing.T, test func(t *testing.T, backend string)) {
	for _, backend := range []string{"nft", "legacy"} {
		t.Run(backend, func(t *testing.T) {
			if _, err := exec.LookPath("iptables-" + backend + "-restore"); err != nil {
				t.Skipf("the %s back end of iptables is not installed", backend)
			}
			test(t, backend)
		})
	}
}

// A machine is a node in a namespace of its own, with the way it has pods and services.
type machine struct {
	*testnet.Namespace
	network *network.Network
	router  *iptables.Router
	name    string
	address string             // on the switch
	hub     *testnet.Namespace // which has it
}

// A pod listens at port 8080, by TCP and UDP, and answers with its name and the address that it sees.
type pod struct {
	*testnet.Namespace
	name string
	ip   netip.Addr
	node string
}

// newMachines makes so many nodes on a switch that leads nowhere else, with routes to one another's pods.
func newMachines(t *testing.T, backend string, n int) []*machine {
	t.Helper()
	hub := testnet.New(t)
	hub.Run(t, "", "ip", "link", "add", "hub0", "type", "bridge")
	hub.Up(t, "hub0", netip.Prefix{})
	var peers []api.NodeInfo
	machines := make([]*machine, n)
	for i := range machines {
		pods := netip.MustParsePrefix(fmt.Sprintf("10.244.%d.0/24", i+1))
		name, address := fmt.Sprint("node", i+1), netip.MustParsePrefix(fmt.Sprintf("172.29.0.%d/24", 101+i))
		m := &machine{Namespace: testnet.New(t), name: name, address: address.Addr().String(), hub: hub}
		testnet.Connect(t, m.Namespace, "uplink", address, hub, name, netip.Prefix{})
		hub.Run(t, "", "ip", "link", "set", name, "master", "hub0")
		dir := t.TempDir()
		m.Must(t, func() error {
			var err error
			m.network, err = network.Open(network.Options{
				Node: name, PodCIDR: pods, ClusterCIDR: clusterCIDR, ServiceCIDR: serviceCIDR,
				Dir: filepath.Join(dir, "ns"), StateDir: filepath.Join(dir, "addresses"),
			})
			return err
		})
		t.Cleanup(func() {
			if err := m.network.Cleanup(context.Background()); err != nil {
				t.Errorf("clean up: %v", err)
			}
			m.network.Close()
		})
		m.router = openRouter(t, name, pods, backend)
		peers = append(peers, api.NodeInfo{Name: name, Addresses: []string{address.Addr().String()}, PodCIDR: pods.String()})
		machines[i] = m
	}
	for _, m := range machines {
		if err := m.network.SetPeers(t.Context(), peers); err != nil {
			t.Fatal(err)
		}
	}
	return machines
}

func openRouter(t *testing.T, name string, pods netip.Prefix, backend string) *iptables.Router {
	t.Helper()
	r, err := iptables.Open(iptables.Options{
		Node: name, PodCIDR: pods, ClusterCIDR: clusterCIDR, ServiceCIDR: serviceCIDR, Bridge: network.DefaultBridge, Backend: backend,
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (m *machine) apply(t testing.TB, routes ...api.Route) {
	t.Helper()
	m.Must(t, func() error { return m.router.Apply(context.Background(), api.RouteTable{Routes: routes}) })
}

// newPod makes a pod with servers.
func (m *machine) newPod(t testing.TB, name string) *pod {
	t.Helper()
	s, err := m.network.Attach(context.Background(), name, name)
	if err != nil {
		t.Fatal(err)
	}
	p := &pod{Namespace: testnet.Open(t, s.NetNS), name: name, ip: s.IP, node: m.name}
	at := netip.AddrPortFrom(s.IP, webPort).String()
	streams, packets := p.Listen(t, at), p.ListenPacket(t, at)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := streams.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { p.answer(conn) })
		}
	})
	serving.Go(func() {
		buffer := make([]byte, 100)
		for {
			_, from, err := packets.ReadFrom(buffer)
			if err != nil {
				return
			}
			_, _ = packets.WriteTo([]byte(name+" "+from.String()), from) // a client that has gone gets no answer
		}
	})
	t.Cleanup(func() {
		streams.Close()
		packets.Close()
		serving.Wait()
	})
	return p
}

// answer says who it is, and then repeats what it hears until the client leaves.
func (p *pod) answer(conn net.Conn) {
	defer conn.Close()
	host, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
	if _, err := fmt.Fprintf(conn, "%s %s\n", p.name, host); err == nil {
		_, _ = io.Copy(conn, conn)
	}
}

// ask connects and gives the server's name and the client's address that it sees.
func ask(from *testnet.Namespace, address string, timeout time.Duration) (server, client string, err error) {
	conn, err := from.Dial("tcp4", address, timeout)
	if err != nil {
		return "", "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return "", "", err
	}
	_, err = fmt.Fscan(conn, &server, &client)
	return server, client, err
}

// web is a service of these pods, by TCP and UDP.
func web(pods ...*pod) api.Route {
	r := api.Route{
		Service: api.Ref{Kind: "Service", Namespace: "shop", Name: "web"}, ClusterIP: webIP,
		Ports: []api.RoutePort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80}, {Name: "udp", Protocol: corev1.ProtocolUDP, Port: 53}},
	}
	for _, p := range pods {
		r.Endpoints = append(r.Endpoints, api.Endpoint{Pod: api.PodRef("shop", p.name), IP: p.ip.String(), TargetPorts: []int32{webPort, webPort}})
	}
	return r
}

func TestServiceReachesEveryEndpoint(t *testing.T) {
	forBackends(t, func(t *testing.T, backend string) {
		for _, frames := range []string{"0", "1"} { // whether the kernel hands bridged frames to iptables
			t.Run("bridged frames "+frames, func(t *testing.T) {
				ms := newMachines(t, backend, 2)
				for _, m := range ms {
					m.Run(t, "", "sh", "-c", "! test -e /proc/sys/net/bridge || echo "+frames+" > /proc/sys/net/bridge/bridge-nf-call-iptables")
				}
				a, b, c := ms[0].newPod(t, "a"), ms[0].newPod(t, "b"), ms[1].newPod(t, "c")
				for _, m := range ms {
					m.apply(t, web(a, b, c))
				}
				gateway := ms[0].network.Gateway().String()
				for name, from := range map[string]*testnet.Namespace{a.name: a.Namespace, c.name: c.Namespace, "node": ms[0].Namespace} {
					reached := map[string]int{}
					for range 60 {
						server, client, err := ask(from, webIP+":80", patient)
						if err != nil {
							t.Fatalf("from %s: %v", name, err)
						}
						want := map[string]string{"a": a.ip.String(), "c": c.ip.String(), "node": gateway}[name]
						if server == name { // to itself: the node stands for it
							want = map[string]string{"a": gateway, "c": "10.244.2.1"}[name]
						}
						if client != want {
							t.Errorf("%s sees its client %s as %s, not %s", server, name, client, want)
						}
						reached[server]++
					}
					for _, p := range []*pod{a, b, c} {
						if reached[p.name] < 5 { // of 20 expected: fewer in one of 100,000 runs
							t.Errorf("of 60 connections from %s, %d reach %s", name, reached[p.name], p.name)
						}
					}
				}
			})
		}
	})
}

func TestWhatNobodyServesIsRefusedAtOnce(t *testing.T) {
	forBackends(t, func(t *testing.T, backend string) {
		m := newMachines(t, backend, 1)[0]
		outside := testnet.New(t)
		testnet.Connect(t, m.Namespace, "way-out", netip.MustParsePrefix("198.51.100.2/24"), outside, "way-in", netip.MustParsePrefix("198.51.100.1/24"))
		m.Run(t, "", "ip", "route", "add", "default", "via", "198.51.100.1")
		a := m.newPod(t, "a")
		none := web()
		none.Service.Name, none.ClusterIP = "none", "10.96.0.11"
		m.apply(t, web(a), none)
		received := func() string { return outside.Run(t, "", "grep", "^Ip: [0-9]", "/proc/thread-self/net/snmp") }
		before := received()
		for name, from := range map[string]*testnet.Namespace{"pod": a.Namespace, "node": m.Namespace} {
			for range 20 { // more than the ICMP that the kernel sends to one address
				for _, address := range []string{"10.96.0.11:80", webIP + ":81", "10.96.77.1:80"} {
					begin := time.Now()
					if _, _, err := ask(from, address, patient); !errors.Is(err, syscall.ECONNREFUSED) {
						t.Fatalf("connect to %s from the %s: %v", address, name, err)
					}
					if took := time.Since(begin); took > atOnce {
						t.Errorf("connect to %s from the %s: refused after %v", address, name, took)
					}
				}
			}
			conn, err := from.Dial("udp4", "10.96.0.11:53", patient)
			if err != nil {
				t.Fatal(err)
			}
			// What the kernel refuses to send it calls a lack of permission.
			if err := sendAndWait(conn); !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.EPERM) {
				t.Errorf("UDP from the %s: %v", name, err)
			}
			conn.Close()
		}
		if after := received(); after != before {
			t.Errorf("packets for services have left by the default route:\n%s%s", before, after)
		}
		if server, client, err := ask(a.Namespace, webIP+":80", patient); err != nil {
			t.Errorf("the service that is there: %s %s %v", server, client, err)
		}
	})
}

// sendAndWait sends a datagram and waits for an answer or its refusal.
func sendAndWait(conn net.Conn) error {
	if _, err := conn.Write([]byte("x")); err != nil {
		return err
	}
	if err := conn.SetReadDeadline(time.Now().Add(patient)); err != nil {
		return err
	}
	_, err := conn.Read(make([]byte, 100))
	return err
}

func TestPodsLeaveTheClusterInTheNodesName(t *testing.T) {
	forBackends(t, func(t *testing.T, backend string) {
		ms := newMachines(t, backend, 1)
		m := ms[0]
		outside := testnet.New(t)
		testnet.Connect(t, m.Namespace, "way-out", netip.MustParsePrefix("198.51.100.2/24"), outside, "way-in", netip.MustParsePrefix("198.51.100.1/24"))
		a := m.newPod(t, "a")
		m.Run(t, "", "iptables-"+backend, "-P", "FORWARD", "DROP") // as container engines have it
		m.apply(t)
		l := outside.Listen(t, "198.51.100.1:80")
		seen := make(chan string, 1)
		go func() {
			defer close(seen)
			if conn, err := l.Accept(); err == nil {
				seen <- conn.RemoteAddr().String()
				conn.Close()
			}
		}()
		conn, err := a.Dial("tcp4", "198.51.100.1:80", patient)
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		if got := <-seen; !strings.HasPrefix(got, "198.51.100.2:") {
			t.Errorf("the server sees %s", got)
		}
	})
}

func TestAffinity(t *testing.T) {
	forBackends(t, func(t *testing.T, backend string) {
		m := newMachines(t, backend, 1)[0]
		a, b, client := m.newPod(t, "a"), m.newPod(t, "b"), m.newPod(t, "client")
		sticky := web(a, b)
		sticky.AffinitySeconds = 600
		m.apply(t, sticky)
		home, _, err := ask(client.Namespace, webIP+":80", patient)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 30 {
			if i == 15 { // another endpoint comes: who was here stays
				sticky = web(a, b, m.newPod(t, "c"))
				sticky.AffinitySeconds = 600
				m.apply(t, sticky)
			}
			if server, _, err := ask(client.Namespace, webIP+":80", patient); err != nil || server != home {
				t.Fatalf("connection %d goes to %s, the first went to %s: %v", i, server, home, err)
			}
		}
	})
}

func TestEstablishedConnectionsStay(t *testing.T) {
	forBackends(t, func(t *testing.T, backend string) {
		m := newMachines(t, backend, 1)[0]
		a, b, client := m.newPod(t, "a"), m.newPod(t, "b"), m.newPod(t, "client")
		m.apply(t, web(a))
		conn, err := client.Dial("tcp4", webIP+":80", patient)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		var server, seen, echo string
		for i, routes := range [][]api.Route{{web(a, b)}, {web(b)}, {}} {
			m.apply(t, routes...)
			if err := conn.SetDeadline(time.Now().Add(patient)); err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				if _, err := fmt.Fscan(conn, &server, &seen); err != nil || server != "a" {
					t.Fatalf("%s %v", server, err)
				}
			}
			if _, err := fmt.Fprintf(conn, "hello%d\n", i); err != nil {
				t.Fatal(err)
			}
			if _, err := fmt.Fscan(conn, &echo); err != nil || echo != fmt.Sprint("hello", i) {
				t.Errorf("after change %d the connection says %q, %v", i, echo, err)
			}
		}
	})
}

func TestUDPLeavesAnEndpointThatHasGone(t *testing.T) {
	forBackends(t, func(t *testing.T, backend string) {
		m := newMachines(t, backend, 1)[0]
		a, b, client := m.newPod(t, "a"), m.newPod(t, "b"), m.newPod(t, "client")
		conn, err := client.Dial("udp4", webIP+":53", patient) // one port throughout: one flow to the kernel
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		answer := func() string {
			t.Helper()
			buffer := make([]byte, 100)
			if _, err := conn.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			if err := conn.SetReadDeadline(time.Now().Add(patient)); err != nil {
				t.Fatal(err)
			}
			n, err := conn.Read(buffer)
			if err != nil {
				return err.Error()
			}
			server, _, _ := strings.Cut(string(buffer[:n]), " ")
			return server
		}
		for i, step := range []struct {
			routes []api.Route
			want   string
		}{{[]api.Route{web(a)}, "a"}, {[]api.Route{web(a, b)}, "a"}, {[]api.Route{web(b)}, "b"}, {[]api.Route{web()}, "refused"}, {[]api.Route{web(a)}, "a"}, {nil, "refused"}} {
			m.apply(t, step.routes...)
			if got := answer(); !strings.Contains(got, step.want) {
				t.Errorf("step %d: %s answers, not %s", i, got, step.want)
			}
		}
		// A daemon that starts knows nothing of what was before.
		m.apply(t, web(a))
		if got := answer(); got != "a" {
			t.Fatal(got)
		}
		m.router = openRouter(t, "node1", netip.MustParsePrefix("10.244.1.0/24"), backend)
		m.apply(t, web(b))
		if got := answer(); got != "b" {
			t.Errorf("after a restart %s answers, not b", got)
		}
	})
}

// TestChangesUnderLoad changes the routes 200 times while clients connect as fast as they can. No connection fails.
func TestChangesUnderLoad(t *testing.T) {
	forBackends(t, func(t *testing.T, backend string) {
		m := newMachines(t, backend, 1)[0]
		a, b, c, client := m.newPod(t, "a"), m.newPod(t, "b"), m.newPod(t, "c"), m.newPod(t, "client")
		m.apply(t, web(a, b))
		stop := make(chan struct{})
		counts := make([]int, 2)
		var clients sync.WaitGroup
		for i, from := range []*testnet.Namespace{client.Namespace, m.Namespace} {
			clients.Go(func() {
				err := from.Do(func() error { // one thread for all: making one is slower than a connection
					for {
						select {
						case <-stop:
							return nil
						default:
						}
						conn, err := net.DialTimeout("tcp4", webIP+":80", patient)
						if err != nil {
							return err
						}
						var server, seen string
						_, err = fmt.Fscan(conn, &server, &seen)
						conn.Close()
						if err != nil {
							return err
						}
						counts[i]++
					}
				})
				if err != nil {
					t.Errorf("after %d connections: %v", counts[i], err)
				}
			})
		}
		sets := [][]*pod{{a}, {a, b, c}, {c}, {b, c}, {b}, {a, b}}
		other := web(a)
		other.Service.Name = "other"
		for i := range 200 {
			other.ClusterIP = fmt.Sprintf("10.96.1.%d", i)
			m.apply(t, other, web(sets[i%len(sets)]...))
		}
		close(stop)
		clients.Wait()
		t.Logf("%v connections", counts)
		for _, n := range counts {
			if n < 200 {
				t.Errorf("only %d connections: too few to see a gap", n)
			}
		}
	})
}

func TestDriftIsRepaired(t *testing.T) {
	forBackends(t, func(t *testing.T, backend string) {
		m := newMachines(t, backend, 1)[0]
		a := m.newPod(t, "a")
		command := "iptables-" + backend
		m.apply(t, web(a))
		want := m.own(t, backend)
		for _, spoil := range []string{
			"-t nat -F HEADWAY-SERVICES",
			"-t nat -F PREROUTING",
			"-t nat -F",
			"-F",
			"-t nat -D OUTPUT 1",
			"-t nat -A HEADWAY-SERVICES -j RETURN",
			"-t nat -I HEADWAY-SERVICES -j RETURN",
			"-t nat -N HEADWAY-UNKNOWN",
			"-t nat -I PREROUTING -j HEADWAY-SERVICES",
			"-I FORWARD -d 10.96.0.0/16 -j DROP", // before ours
			"-I OUTPUT -j ACCEPT",
		} {
			m.Run(t, "", append([]string{command}, strings.Fields(spoil)...)...)
			m.apply(t, web(a))
			if got := m.own(t, backend); got != want {
				t.Errorf("after %s there is\n%s\nnot\n%s", spoil, got, want)
			}
			if _, _, err := ask(a.Namespace, webIP+":80", patient); err != nil {
				t.Errorf("after %s: %v", spoil, err)
			}
		}
	})
}

// own gives the rules of headway's, and the first of each built-in chain.
func (m *machine) own(t testing.TB, backend string) string {
	t.Helper()
	var own []string
	for line := range strings.Lines(m.Run(t, "", "iptables-"+backend+"-save")) {
		if strings.Contains(line, "HEADWAY") {
			own = append(own, line)
		}
	}
	slices.Sort(own)
	return strings.Join(own, "")
}

func TestApplyWritesOnlyWhatChanges(t *testing.T) {
	forBackends(t, func(t *testing.T, backend string) {
		m := newMachines(t, backend, 1)[0]
		a, b := m.newPod(t, "a"), m.newPod(t, "b")
		routes := []api.Route{web(a)}
		for i := range 300 {
			r := web(a, b)
			r.Service.Name, r.ClusterIP = fmt.Sprint("s", i), fmt.Sprintf("10.96.%d.%d", 4+i/100, i%100)
			routes = append(routes, r)
		}
		restores := m.countRestores(t, backend)
		for _, step := range []struct {
			what  string
			do    func()
			lines int // at most
		}{
			{"the same routes", func() {}, 0},
			{"an endpoint more", func() { routes[0] = web(a, b) }, 8},
			{"the same routes again", func() {}, 0},
			{"a rule of others", func() { m.Run(t, "", "iptables-"+backend, "-A", "FORWARD", "-d", "192.0.2.1", "-j", "DROP") }, 0},
			{"a new daemon", func() { m.router = openRouter(t, "node1", netip.MustParsePrefix("10.244.1.0/24"), backend) }, 0},
		} {
			m.apply(t, routes...)
			restores()
			step.do()
			m.apply(t, routes...)
			if got := restores(); len(got) > 0 != (step.lines > 0) || strings.Count(got, "\n") > step.lines {
				t.Errorf("%s: loaded\n%s", step.what, got)
			}
		}
	})
}

// countRestores puts a wrapper of iptables-restore first in PATH. The function that it gives tells what was loaded since.
func (m *machine) countRestores(t *testing.T, backend string) func() string {
	t.Helper()
	dir := t.TempDir()
	name := "iptables-" + backend + "-restore"
	real, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, "log")
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\ntee -a "+log+" | "+real+" \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return func() string {
		data, err := os.ReadFile(log)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		if err := os.WriteFile(log, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
}

func TestCleanupLeavesOthersRules(t *testing.T) {
	forBackends(t, func(t *testing.T, backend string) {
		m := newMachines(t, backend, 1)[0]
		m.Run(t, `*nat
:FOREIGN - [0:0]
-A PREROUTING -d 203.0.113.1/32 -j FOREIGN
-A FOREIGN -p tcp -m comment --comment "not HEADWAY- at all" -j DNAT --to-destination 203.0.113.2
COMMIT
*filter
:FORWARD DROP [0:0]
-A FORWARD -s 203.0.113.0/24 -m comment --comment "a -j HEADWAY-X" -j ACCEPT
-A OUTPUT -d 203.0.113.9/32 -j REJECT
COMMIT
`, "iptables-"+backend+"-restore")
		save := func() string {
			var kept []string
			for line := range strings.Lines(m.Run(t, "", "iptables-"+backend+"-save")) {
				if line[0] != '#' {
					kept = append(kept, strings.Split(line, " [")[0])
				}
			}
			return strings.Join(kept, "\n")
		}
		before := save()
		if err := m.Do(func() error { return m.router.Cleanup(t.Context()) }); err != nil || save() != before {
			t.Errorf("cleaning up before there is anything: %v\n%s", err, save())
		}
		m.apply(t, web(m.newPod(t, "a")))
		if save() == before {
			t.Fatal("there are no rules")
		}
		m.Must(t, func() error { return m.router.Cleanup(t.Context()) })
		if after := save(); after != before {
			t.Errorf("after the clean-up there is\n%s\nwhere there was\n%s", after, before)
		}
		m.apply(t) // it can be used again
	})
}

// TestOtherBackend changes the back end, as an upgrade of the machine does.
func TestOtherBackend(t *testing.T) {
	forBackends(t, func(t *testing.T, backend string) {
		other := map[string]string{"nft": "legacy", "legacy": "nft"}[backend]
		if _, err := exec.LookPath("iptables-" + other + "-restore"); err != nil {
			t.Skipf("the %s back end of iptables is not installed", other)
		}
		m := newMachines(t, backend, 1)[0]
		a, b := m.newPod(t, "a"), m.newPod(t, "b")
		m.apply(t, web(a))
		m.router = openRouter(t, "node1", netip.MustParsePrefix("10.244.1.0/24"), other)
		m.apply(t, web(b))
		if left := m.own(t, backend); left != "" {
			t.Errorf("the rules of %s are still there:\n%s", backend, left)
		}
		if server, _, err := ask(a.Namespace, webIP+":80", patient); err != nil || server != "b" {
			t.Errorf("%s answers: %v", server, err)
		}
	})
}

func TestOpenRefuses(t *testing.T) {
	good := iptables.Options{Node: "n", PodCIDR: netip.MustParsePrefix("10.244.1.0/24"), ClusterCIDR: clusterCIDR, ServiceCIDR: serviceCIDR, Bridge: "b"}
	for explain, spoil := range map[string]func(*iptables.Options){
		"the pod range must":     func(o *iptables.Options) { o.PodCIDR = netip.Prefix{} },
		"the service range must": func(o *iptables.Options) { o.ServiceCIDR = netip.MustParsePrefix("fd00::/64") },
		"bridge's name":          func(o *iptables.Options) { o.Bridge = "" },
		"nft or legacy":          func(o *iptables.Options) { o.Backend = "ipvs" },
	} {
		o := good
		spoil(&o)
		if _, err := iptables.Open(o); err == nil || !strings.Contains(err.Error(), explain) {
			t.Errorf("%s: %v", explain, err)
		}
	}
}
