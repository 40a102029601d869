package iptables_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
	"headway.dev/headway/internal/testnet"
	"headway.dev/headway/node"
)

// isolate makes these the isolated pods of the machine.
func (m *machine) isolate(t testing.TB, pods ...node.IsolatedPod) {
	t.Helper()
	m.Must(t, func() error { return m.router.Isolate(context.Background(), pods) })
}

// allow opens some ports, or all, of the networks or pods.
func allow(ports []api.PortRange, networks ...string) *api.Allowed {
	return &api.Allowed{Flows: []api.Flow{{Networks: networks, Ports: ports}}}
}

func (p *pod) host() string { return p.ip.String() + "/32" }

func (p *pod) at(port int) string { return netip.AddrPortFrom(p.ip, uint16(port)).String() }

func tcp(first, last uint16) []api.PortRange {
	return []api.PortRange{{Protocol: corev1.ProtocolTCP, First: first, Last: last}}
}

// passes asserts that a server answers.
func passes(t *testing.T, from *testnet.Namespace, address string) {
	t.Helper()
	if _, _, err := ask(from, address, patient); err != nil {
		t.Errorf("%s: %v", address, err)
	}
}

// TestIsolatedPods sends packets to and from pods that are isolated: on one node and between two, by their addresses and
// by services, and beyond the cluster.
func TestIsolatedPods(t *testing.T) {
	forBackends(t, func(t *testing.T, backend string) {
		ms := newMachines(t, backend, 2)
		client := newClient(t, ms)
		a, b, c, d := ms[0].newPod(t, "a"), ms[0].newPod(t, "b"), ms[1].newPod(t, "c"), ms[1].newPod(t, "d")
		applyAll(t, ms, open(nil, a))
		ways := map[string]string{"address": a.at(webPort), "service": webIP + ":80"}
		from := map[string]*testnet.Namespace{"same node": b.Namespace, "other node": c.Namespace}
		check := func(what string, passing bool) {
			t.Helper()
			for way, address := range ways {
				for where, ns := range from {
					if _, _, err := ask(ns, address, patient); (err == nil) != passing {
						t.Errorf("%s: from the %s by the %s: %v", what, where, way, err)
					}
				}
			}
		}
		always := func() {
			t.Helper()
			passes(t, ms[0].Namespace, a.at(webPort)) // its node
			passes(t, a.Namespace, webIP+":80")       // the pod itself
			passes(t, d.Namespace, c.at(webPort))     // others
		}
		check("nobody is isolated", true)

		ms[0].isolate(t, node.IsolatedPod{IP: a.ip, Ingress: &api.Allowed{}})
		check("nothing may come in", false)
		always()
		passes(t, a.Namespace, c.at(webPort)) // and the reply comes in
		fails(t, client, ms[0].address+":"+fmt.Sprint(nodePort), true)

		ms[0].isolate(t, node.IsolatedPod{IP: a.ip, Ingress: allow(tcp(webPort, webPort), b.host(), c.host(), clientIP+"/32")})
		check("two pods and the client may come in", true)
		always()
		fails(t, d.Namespace, a.at(webPort), true)
		fails(t, b.Namespace, a.at(webPort+1), true)
		passes(t, client, ms[0].address+":"+fmt.Sprint(nodePort))
		if err := datagram(t, b.Namespace, a.at(webPort)); err == nil {
			t.Error("UDP passes where TCP is allowed")
		}

		// The port is the pod's, not the service's.
		ms[0].isolate(t, node.IsolatedPod{IP: a.ip, Ingress: allow(tcp(80, 80), "10.244.0.0/16")})
		check("the service's port may come in", false)
		ms[0].isolate(t, node.IsolatedPod{IP: a.ip, Ingress: allow(tcp(8000, 9000), "10.244.0.0/16")})
		check("a range may come in", true)

		// On the way out: with both ends isolated, both must allow it.
		ms[0].isolate(t, node.IsolatedPod{IP: a.ip, Ingress: allow(nil, "0.0.0.0/0")}, node.IsolatedPod{IP: b.ip, Egress: allow(nil, c.host())})
		fails(t, b.Namespace, a.at(webPort), true)
		fails(t, b.Namespace, d.at(webPort), true)
		passes(t, b.Namespace, c.at(webPort))
		passes(t, c.Namespace, b.at(webPort)) // what comes in is another matter
		ms[0].isolate(t, node.IsolatedPod{IP: a.ip, Ingress: &api.Allowed{}}, node.IsolatedPod{IP: b.ip, Egress: allow(nil, "0.0.0.0/0")})
		fails(t, b.Namespace, a.at(webPort), true)

		ms[0].isolate(t)
		check("nobody is isolated any more", true)
		if rules := ms[0].own(t, backend); strings.Contains(rules, "HEADWAY-ISOLATE") || strings.Contains(rules, "HEADWAY-A-") {
			t.Errorf("something is left of what isolated pods:\n%s", rules)
		}
	})
}

// datagram sends one and waits for the answer.
func datagram(t *testing.T, from *testnet.Namespace, address string) error {
	t.Helper()
	conn, err := from.Dial("udp4", address, patient)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return sendAndWait(conn)
}

// TestOutOfTheClusterButForAPart lets a pod out to a network but for a hole in it.
func TestOutOfTheClusterButForAPart(t *testing.T) {
	forBackends(t, func(t *testing.T, backend string) {
		ms := newMachines(t, backend, 1)
		a := ms[0].newPod(t, "a")
		applyAll(t, ms)
		outside := newClient(t, ms)
		addresses := []string{clientIP, "172.29.0.51", "172.29.0.66"}
		for _, ip := range addresses {
			if ip != clientIP {
				outside.Run(t, "", "ip", "addr", "add", ip+"/24", "dev", "eth0")
			}
			listener := outside.Listen(t, ip+":80")
			go func() {
				for conn, err := listener.Accept(); err == nil; conn, err = listener.Accept() {
					_, _ = fmt.Fprintln(conn, "outside x")
					conn.Close()
				}
			}()
			t.Cleanup(func() { listener.Close() })
		}
		// 172.29.0.0/24 but for .51 and .64/26.
		ms[0].isolate(t, node.IsolatedPod{IP: a.ip, Egress: allow(tcp(80, 80), "172.29.0.0/27", "172.29.0.32/28", "172.29.0.48/31",
			"172.29.0.50/32", "172.29.0.52/30", "172.29.0.56/29", "172.29.0.128/25")})
		passes(t, a.Namespace, clientIP+":80")
		fails(t, a.Namespace, "172.29.0.51:80", true)
		fails(t, a.Namespace, "172.29.0.66:80", true)
	})
}

// TestIsolationIsAdopted keeps pods isolated over a restart of the daemon, with and without services, until it knows
// better, and lets what is established go on.
func TestIsolationIsAdopted(t *testing.T) {
	forBackends(t, func(t *testing.T, backend string) {
		ms := newMachines(t, backend, 1)
		m := ms[0]
		a, b := m.newPod(t, "a"), m.newPod(t, "b")
		// Before any service is known, too.
		m.isolate(t, node.IsolatedPod{IP: a.ip, Ingress: allow(nil, b.host())})
		conn, err := b.Dial("tcp4", a.at(webPort), patient)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		m.isolate(t, node.IsolatedPod{IP: a.ip, Ingress: &api.Allowed{}})
		m.apply(t, web(a))
		closed := func(when string) {
			t.Helper()
			if _, _, err := ask(b.Namespace, a.at(webPort), patient); err == nil {
				t.Errorf("the pod is open %s", when)
			}
		}
		closed("after services were applied")
		before := m.own(t, backend)

		m.router = openRouter(t, m.name, netip.MustParsePrefix("10.244.1.0/24"), backend)
		m.apply(t, web(a))
		closed("after a restart that applies services first")
		m.router = openRouter(t, m.name, netip.MustParsePrefix("10.244.1.0/24"), backend)
		m.isolate(t, node.IsolatedPod{IP: a.ip, Ingress: &api.Allowed{}})
		closed("after a restart that isolates first")
		if after := m.own(t, backend); after != before {
			t.Errorf("a restart changes the rules from\n%s\nto\n%s", before, after)
		}
		passes(t, a.Namespace, webIP+":80")

		// What was established before goes on.
		if err := conn.SetDeadline(time.Now().Add(patient)); err != nil {
			t.Fatal(err)
		}
		heard := make([]byte, 100)
		if _, err := conn.Read(heard); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprint(conn, "still here"); err != nil {
			t.Fatal(err)
		}
		if n, err := conn.Read(heard); err != nil || string(heard[:n]) != "still here" {
			t.Errorf("the connection from before: %q, %v", heard[:n], err)
		}
		m.Must(t, func() error { return m.router.Cleanup(context.Background()) })
		if rules := m.own(t, backend); strings.Contains(rules, "HEADWAY") {
			t.Errorf("left after the clean-up:\n%s", rules)
		}
	})
}

// TestManyPeers looks peers up in a tree, where there are a thousand of them.
func TestManyPeers(t *testing.T) {
	forBackends(t, func(t *testing.T, backend string) {
		ms := newMachines(t, backend, 1)
		m := ms[0]
		a, b, c := m.newPod(t, "a"), m.newPod(t, "b"), m.newPod(t, "c")
		many := []string{b.host()}
		for i := range 1000 {
			many = append(many, fmt.Sprintf("10.244.%d.%d/32", 10+i/100, i%100*2))
		}
		m.isolate(t, node.IsolatedPod{IP: a.ip, Ingress: allow(tcp(webPort, webPort), many...)})
		passes(t, b.Namespace, a.at(webPort))
		if _, _, err := ask(c.Namespace, a.at(webPort), patient); err == nil {
			t.Error("a pod that is no peer comes in")
		}
		m.isolate(t, node.IsolatedPod{IP: a.ip, Ingress: allow(tcp(webPort, webPort), append(many[1:], c.host())...)})
		passes(t, c.Namespace, a.at(webPort))
	})
}
