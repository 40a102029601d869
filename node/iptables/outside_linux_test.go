package iptables_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
	"headway.dev/headway/internal/testnet"
	"headway.dev/headway/node"
)

const (
	nodePort = 30080
	loadIP   = "198.51.100.7" // an address of a service from outside
	briefly  = 300 * time.Millisecond
)

// A client is outside of the cluster, on the nodes' switch: it knows no way to pods and services.
const clientIP = "172.29.0.50"

// newClient connects a client to the first machine's side of the switch.
func newClient(t *testing.T, ms []*machine) *testnet.Namespace {
	t.Helper()
	client := testnet.New(t)
	testnet.Connect(t, client, "eth0", netip.MustParsePrefix(clientIP+"/24"), ms[0].hub, "client", netip.Prefix{})
	ms[0].hub.Run(t, "", "ip", "link", "set", "client", "master", "hub0")
	return client
}

// open is a service that can be reached from outside.
func open(change func(*api.Route), pods ...*pod) api.Route {
	r := web(pods...)
	for i := range r.Endpoints {
		r.Endpoints[i].Node = pods[i].node
	}
	r.Ports[0].NodePort, r.Ports[1].NodePort = nodePort, nodePort
	if change != nil {
		change(&r)
	}
	return r
}

// applyAll applies routes on every machine.
func applyAll(t *testing.T, ms []*machine, routes ...api.Route) {
	t.Helper()
	for _, m := range ms {
		m.apply(t, routes...)
	}
}

// fails asserts that nobody answers, and how that shows: refused at once, or silence.
func fails(t *testing.T, from *testnet.Namespace, address string, refused bool) {
	t.Helper()
	timeout := briefly
	if refused {
		timeout = patient
	}
	server, _, err := ask(from, address, timeout)
	var silence net.Error
	switch {
	case err == nil:
		t.Errorf("%s is answered by %s", address, server)
	case refused && !errors.Is(err, syscall.ECONNREFUSED), !refused && (!errors.As(err, &silence) || !silence.Timeout()):
		t.Errorf("%s: %v", address, err)
	}
}

func TestPortOfTheNodes(t *testing.T) {
	forBackends(t, func(t *testing.T, backend string) {
		ms := newMachines(t, backend, 2)
		client := newClient(t, ms)
		a, b := ms[0].newPod(t, "a"), ms[1].newPod(t, "b")
		for _, m := range ms {
			m.Run(t, "", "iptables-"+backend, "-P", "FORWARD", "DROP")
		}
		applyAll(t, ms, open(nil, a, b))
		for i, m := range ms {
			address := fmt.Sprintf("%s:%d", m.address, nodePort)
			for name, from := range map[string]*testnet.Namespace{"client": client, "a": a.Namespace, "b": b.Namespace, "node1": ms[0].Namespace, "node2": ms[1].Namespace} {
				reached := map[string]string{}
				for range 30 {
					server, seen, err := ask(from, address, patient)
					if err != nil {
						t.Fatalf("%s at node%d: %v", name, i+1, err)
					}
					reached[server] = seen
				}
				if len(reached) != 2 { // fewer in one of 500,000,000 runs
					t.Errorf("%s at node%d reaches only %v", name, i+1, reached)
				}
				here, away := []string{"a", "b"}[i], []string{"b", "a"}[i]
				// A pod of the node that was asked sees the client; one of another node sees that node, which has to have the reply.
				if name == "client" && (reached[here] != clientIP || reached[away] != m.address) {
					t.Errorf("the pods see a client that asks node%d as %v", i+1, reached)
				}
			}
			udp(t, client, fmt.Sprintf("%s:%d", m.address, nodePort), "a b")
		}
		// Not on loopback, nor on the address where the node answers for names.
		fails(t, ms[0].Namespace, fmt.Sprintf("127.0.0.1:%d", nodePort), true)
		fails(t, a.Namespace, fmt.Sprintf("%s:%d", ms[0].network.Gateway(), nodePort), true)

		// Without endpoints it is refused, even where a program of the machine has the port.
		ms[0].Listen(t, fmt.Sprintf("%s:%d", ms[0].address, nodePort))
		applyAll(t, ms, open(nil))
		for _, m := range ms {
			fails(t, client, fmt.Sprintf("%s:%d", m.address, nodePort), true)
		}
		// Without the service the program has its port back.
		applyAll(t, ms)
		if conn, err := client.Dial("tcp4", fmt.Sprintf("%s:%d", ms[0].address, nodePort), patient); err != nil {
			t.Errorf("the machine's own program: %v", err)
		} else {
			conn.Close()
		}
	})
}

// udp asserts that a datagram is answered by one of some servers.
func udp(t *testing.T, from *testnet.Namespace, address, servers string) {
	t.Helper()
	conn, err := from.Dial("udp4", address, patient)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(patient)); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 100)
	n, err := conn.Read(buffer)
	server, _, _ := strings.Cut(string(buffer[:n]), " ")
	if err != nil || !strings.Contains(servers, server) {
		t.Errorf("UDP to %s: %q, %v", address, buffer[:n], err)
	}
}

func TestOnlyEndpointsOfTheNode(t *testing.T) {
	forBackends(t, func(t *testing.T, backend string) {
		ms := newMachines(t, backend, 2)
		client := newClient(t, ms)
		a, c := ms[0].newPod(t, "a"), ms[1].newPod(t, "c")
		applyAll(t, ms, open(func(r *api.Route) { r.ExternalLocal = true }, a))
		at := func(m *machine) string { return fmt.Sprintf("%s:%d", m.address, nodePort) }
		if server, seen, err := ask(client, at(ms[0]), patient); err != nil || server != "a" || seen != clientIP {
			t.Errorf("from outside: %s sees %s, %v", server, seen, err)
		}
		fails(t, client, at(ms[1]), false)
		for name, from := range map[string]*testnet.Namespace{"a pod": c.Namespace, "the node": ms[1].Namespace} { // they may reach all
			if server, _, err := ask(from, at(ms[1]), patient); err != nil || server != "a" {
				t.Errorf("%s at its own node: %s, %v", name, server, err)
			}
		}
		applyAll(t, ms, open(func(r *api.Route) { r.InternalLocal = true }, a))
		if server, _, err := ask(a.Namespace, webIP+":80", patient); err != nil || server != "a" {
			t.Errorf("inside, with an endpoint: %s, %v", server, err)
		}
		fails(t, c.Namespace, webIP+":80", true)
		if server, _, err := ask(client, at(ms[1]), patient); err != nil || server != "a" {
			t.Errorf("from outside, with another policy inside: %s, %v", server, err)
		}
	})
}

func TestLoadBalancer(t *testing.T) {
	forBackends(t, func(t *testing.T, backend string) {
		ms := newMachines(t, backend, 2)
		client := newClient(t, ms)
		a := ms[0].newPod(t, "a")
		balanced := func(ranges ...string) api.Route {
			return open(func(r *api.Route) { r.OnNodes, r.ExternalIPs, r.SourceRanges = true, []string{loadIP}, ranges }, a)
		}
		for _, m := range ms { // as machines have it: without, the kernel gives up before it asks any rule
			m.Run(t, "", "ip", "route", "add", "default", "via", "172.29.0.200")
		}
		applyAll(t, ms, balanced())
		client.Run(t, "", "ip", "route", "add", loadIP, "via", ms[1].address) // as a router outside would send it
		for _, address := range []string{ms[0].address + ":80", ms[1].address + ":80", loadIP + ":80"} {
			if server, _, err := ask(client, address, patient); err != nil || server != "a" {
				t.Errorf("%s: %s, %v", address, server, err)
			}
		}
		for name, from := range map[string]*testnet.Namespace{"pod": a.Namespace, "node": ms[1].Namespace} { // which has no way to it
			if server, _, err := ask(from, loadIP+":80", patient); err != nil || server != "a" {
				t.Errorf("%s to the service's address: %s, %v", name, server, err)
			}
		}
		applyAll(t, ms, balanced("192.0.2.0/24", clientIP+"/32"))
		if server, _, err := ask(client, ms[1].address+":80", patient); err != nil || server != "a" {
			t.Errorf("from a range that is let in: %s, %v", server, err)
		}
		applyAll(t, ms, balanced("192.0.2.0/24"))
		for _, address := range []string{ms[1].address + ":80", loadIP + ":80", fmt.Sprintf("%s:%d", ms[0].address, nodePort)} {
			fails(t, client, address, false)
		}
		if server, _, err := ask(a.Namespace, webIP+":80", patient); err != nil || server != "a" {
			t.Errorf("the cluster IP: %s, %v", server, err)
		}
		gone := balanced()
		gone.Endpoints = nil
		applyAll(t, ms, gone)
		fails(t, client, loadIP+":80", true)
	})
}

func TestEndpointOutsideOfTheCluster(t *testing.T) {
	forBackends(t, func(t *testing.T, backend string) {
		ms := newMachines(t, backend, 1)
		client := newClient(t, ms)
		a := ms[0].newPod(t, "a")
		server := testnet.New(t) // knows only the switch
		testnet.Connect(t, server, "eth0", netip.MustParsePrefix("172.29.0.60/24"), ms[0].hub, "server", netip.Prefix{})
		ms[0].hub.Run(t, "", "ip", "link", "set", "server", "master", "hub0")
		l := server.Listen(t, "172.29.0.60:5432")
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				host, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
				fmt.Fprintf(conn, "db %s\n", host)
				conn.Close()
			}
		}()
		t.Cleanup(func() { l.Close(); <-done })
		ms[0].Run(t, "", "iptables-"+backend, "-P", "FORWARD", "DROP")
		db := open(nil)
		db.Endpoints = []api.Endpoint{{IP: "172.29.0.60", TargetPorts: []int32{5432, 0}}}
		ms[0].apply(t, db)
		for name, way := range map[string]struct {
			from *testnet.Namespace
			to   string
		}{
			"pod":    {a.Namespace, webIP + ":80"},
			"node":   {ms[0].Namespace, webIP + ":80"},
			"client": {client, fmt.Sprintf("%s:%d", ms[0].address, nodePort)},
		} {
			if who, seen, err := ask(way.from, way.to, patient); err != nil || who != "db" || seen != ms[0].address {
				t.Errorf("%s: %s sees %s, %v", name, who, seen, err)
			}
		}
	})
}

func TestPortsOfPods(t *testing.T) {
	forBackends(t, func(t *testing.T, backend string) {
		m := newMachines(t, backend, 1)[0]
		client := newClient(t, []*machine{m})
		a, b := m.newPod(t, "a"), m.newPod(t, "b")
		set := func(ports ...node.HostPort) {
			t.Helper()
			m.Must(t, func() error { return m.router.SetHostPorts(context.Background(), ports) })
		}
		held := func(p *pod, protocol corev1.Protocol, port uint16, on string) node.HostPort {
			h := node.HostPort{Pod: api.PodRef("shop", p.name), Protocol: protocol, Port: port, To: netip.AddrPortFrom(p.ip, webPort)}
			if on != "" {
				h.HostIP = netip.MustParseAddr(on)
			}
			return h
		}
		set(held(a, "", 80, ""), held(b, "", 81, m.address), held(b, "", 82, "172.29.0.99"), held(a, corev1.ProtocolUDP, 80, ""))
		m.apply(t, web())
		for port, want := range map[int]string{80: "a", 81: "b"} {
			for name, from := range map[string]*testnet.Namespace{"client": client, "pod": a.Namespace, "node": m.Namespace} {
				if server, _, err := ask(from, fmt.Sprintf("%s:%d", m.address, port), patient); err != nil || server != want {
					t.Errorf("%s at port %d: %s, %v", name, port, server, err)
				}
			}
		}
		udp(t, client, m.address+":80", "a")
		fails(t, client, m.address+":82", true)
		// A daemon that starts leaves them until it knows its pods.
		m.router = openRouter(t, "node1", netip.MustParsePrefix("10.244.1.0/24"), backend)
		m.apply(t, web(a))
		if server, _, err := ask(client, m.address+":80", patient); err != nil || server != "a" {
			t.Errorf("after a restart: %s, %v", server, err)
		}
		set(held(b, "", 80, ""), held(b, corev1.ProtocolUDP, 80, ""))
		if server, _, err := ask(client, m.address+":80", patient); err != nil || server != "b" {
			t.Errorf("after another pod has it: %s, %v", server, err)
		}
		udp(t, client, m.address+":80", "b")
		fails(t, client, m.address+":81", true)
		set()
		fails(t, client, m.address+":80", true)
	})
}

// TestClientOfUDPIsNotLeftBehind has one client send on while the port of the node changes hands.
func TestClientOfUDPIsNotLeftBehind(t *testing.T) {
	forBackends(t, func(t *testing.T, backend string) {
		m := newMachines(t, backend, 1)[0]
		client := newClient(t, []*machine{m})
		a, b := m.newPod(t, "a"), m.newPod(t, "b")
		m.apply(t)
		conn, err := client.Dial("udp4", fmt.Sprintf("%s:%d", m.address, nodePort), patient)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for i, step := range []struct {
			routes []api.Route
			want   string
		}{
			{nil, "refused"},
			{[]api.Route{open(nil, a)}, "a"},
			{[]api.Route{open(nil, b)}, "b"},
			{[]api.Route{open(nil)}, "refused"},
			{[]api.Route{open(nil, a)}, "a"},
			{nil, "refused"},
		} {
			m.apply(t, step.routes...)
			got := "refused"
			buffer := make([]byte, 100)
			if _, err := conn.Write([]byte("x")); err == nil {
				if err := conn.SetReadDeadline(time.Now().Add(patient)); err != nil {
					t.Fatal(err)
				}
				n, err := conn.Read(buffer)
				if got, _, _ = strings.Cut(string(buffer[:n]), " "); err != nil {
					got = err.Error()
				}
			}
			if !strings.Contains(got, step.want) {
				t.Errorf("step %d: %s answers, not %s", i, got, step.want)
			}
		}
	})
}

// TestNothingIsLeftToDo applies the same again by another router: what the kernel prints is what was written.
func TestNothingIsLeftToDo(t *testing.T) {
	forBackends(t, func(t *testing.T, backend string) {
		m := newMachines(t, backend, 1)[0]
		pods := netip.MustParsePrefix("10.244.1.0/24")
		a := &pod{name: "a", ip: netip.MustParseAddr("10.244.1.9"), node: "node1"}
		var routes []api.Route
		for i, change := range []func(*api.Route){
			nil,
			func(r *api.Route) { r.OnNodes, r.ExternalIPs = true, []string{loadIP, "203.0.113.9"} },
			func(r *api.Route) { r.ExternalLocal, r.InternalLocal, r.AffinitySeconds = true, true, 10 },
			func(r *api.Route) { r.SourceRanges = []string{"192.0.2.0/24", "0.0.0.0/0"} },
			func(r *api.Route) { r.Endpoints[0].IP = "172.29.0.60" },
			func(r *api.Route) { r.OnNodes, r.Endpoints = true, nil },
		} {
			r := open(change, a)
			r.ClusterIP, r.Service.Name = fmt.Sprintf("10.96.0.%d", 20+i), fmt.Sprint("s", i)
			for p := range r.Ports {
				r.Ports[p].Port += int32(1000 * i)
				r.Ports[p].NodePort += int32(i)
			}
			routes = append(routes, r)
		}
		for i := range 70 { // more than one chain holds
			r := open(nil, a)
			r.ClusterIP, r.Service.Name = fmt.Sprintf("10.96.1.%d", i), fmt.Sprint("many", i)
			r.Ports[0].NodePort, r.Ports[1].NodePort = int32(31000+i), int32(31000+i)
			routes = append(routes, r)
		}
		host := node.HostPort{Pod: api.PodRef("shop", "a"), Port: 8080, HostIP: netip.MustParseAddr("172.29.0.101"), To: netip.AddrPortFrom(a.ip, 80)}
		m.Must(t, func() error { return m.router.SetHostPorts(context.Background(), []node.HostPort{host}) })
		m.apply(t, routes...)
		restores := m.countRestores(t, backend)
		m.router = openRouter(t, "node1", pods, backend)
		m.Must(t, func() error { return m.router.SetHostPorts(context.Background(), []node.HostPort{host}) })
		m.apply(t, routes...)
		if got := restores(); got != "" {
			t.Errorf("the second time it loads\n%s", got)
		}
	})
}
