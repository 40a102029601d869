package conformance

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

// NetworkPolicyCases are what is asked of an agent whose machine filters packets (Machine.Reaches).
func NetworkPolicyCases() []PodCase {
	var cases []PodCase
	for _, c := range []struct {
		name string
		test func(*netpolStage)
	}{
		{"Netpol should support a 'default-deny-ingress' policy", denyIngress},
		{"Netpol should support a 'default-deny-all' policy", denyAll},
		{"Netpol should enforce policy to allow ingress traffic from pods in all namespaces", allowIngress},
		{"Netpol should enforce egress policy allowing traffic to a server in a different namespace based on PodSelector and NamespaceSelector", allowEgress},
		{"Netpol should enforce policy based on Ports", allowPort},
		{"Netpol should enforce updated policy", updatedPolicy},
		{"Netpol should stop enforcing policies after they are deleted", deletedPolicy},
		{"Netpol should keep enforcing policies over a restart of the node's daemon", policyOverRestart},
	} {
		cases = append(cases, PodCase{Name: c.name, Test: func(t testing.TB, m Machine) {
			s := &netpolStage{stage: newStage(t, m)}
			for i, name := range []string{"server", "client", "other"} {
				uid := s.run(name, "terminationGracePeriodSeconds: 0\ncontainers:\n- {name: main, image: IMAGE, command: [/bin/sh, -c, \"sleep 100000\"]}")
				s.three[i] = s.comes(uid, "it runs", func(p api.PodStatus) bool { return p.Ready && p.IP != "" })
			}
			s.reach("before any policy", allWays)
			c.test(s)
		}})
	}
	return cases
}

// netpolPort is where pods are asked for an answer.
const netpolPort = 8080

// A netpolStage has three pods: a server, a client and another.
type netpolStage struct {
	*stage
	three [3]api.PodStatus
}

const (
	server = iota
	client
	other
)

// A way goes from one of the pods to another.
type way struct{ from, to int }

// allWays are those from pod to pod.
var allWays = []way{{server, client}, {server, other}, {client, server}, {client, other}, {other, server}, {other, client}}

// isolate has one pod isolated so from now on; the others are not.
func (s *netpolStage) isolate(pod int, ingress, egress *api.Allowed) {
	s.Helper()
	s.bus.isolate(&api.Isolation{Pods: []api.IsolatedPods{{UIDs: []string{s.three[pod].Placement.UID}, Ingress: ingress, Egress: egress}}})
}

// allowed allows what some of the pods take part in, at some ports or all.
func (s *netpolStage) allowed(ports []api.PortRange, pods ...int) *api.Allowed {
	flow := api.Flow{Ports: ports}
	for _, pod := range pods {
		flow.Networks = append(flow.Networks, s.three[pod].IP+"/32")
	}
	return &api.Allowed{Flows: []api.Flow{flow}}
}

// reach waits until these are all the ways on which one pod reaches another, and says of each that is not so.
func (s *netpolStage) reach(when string, open []way) {
	s.Helper()
	for _, w := range allWays {
		want := false
		for _, o := range open {
			want = want || o == w
		}
		names := []string{"the server", "the client", "the other"}
		what := " does not reach "
		if want {
			what = " reaches "
		}
		s.until(when+": "+names[w.from]+what+names[w.to], func() bool {
			return s.machine.Reaches(s, s.three[w.from], s.three[w.to], netpolPort) == want
		})
	}
}

var (
	noIngress = []way{{server, client}, {server, other}, {client, other}, {other, client}}
	noneOfIt  = []way{{client, other}, {other, client}}
)

func denyIngress(s *netpolStage) {
	s.isolate(server, &api.Allowed{}, nil)
	s.reach("nothing may come in", noIngress)
}

func denyAll(s *netpolStage) {
	s.isolate(server, &api.Allowed{}, &api.Allowed{})
	s.reach("nothing may come in or go out", noneOfIt)
}

func allowIngress(s *netpolStage) {
	s.isolate(server, s.allowed(nil, client), nil)
	s.reach("the client may come in", append([]way{{client, server}}, noIngress...))
}

func allowEgress(s *netpolStage) {
	s.isolate(client, nil, s.allowed(nil, server))
	s.reach("the client may go to the server", []way{{server, client}, {server, other}, {client, server}, {other, server}, {other, client}})
}

func allowPort(s *netpolStage) {
	port := func(n uint16) []api.PortRange {
		return []api.PortRange{{Protocol: corev1.ProtocolTCP, First: n, Last: n}}
	}
	s.isolate(server, s.allowed(port(netpolPort+1), client), nil)
	s.reach("the client may come in at another port", noIngress)
	s.isolate(server, s.allowed(port(netpolPort), client), nil)
	s.reach("the client may come in at the port", append([]way{{client, server}}, noIngress...))
}

func updatedPolicy(s *netpolStage) {
	s.isolate(server, s.allowed(nil, client), nil)
	s.reach("the client may come in", append([]way{{client, server}}, noIngress...))
	s.isolate(server, s.allowed(nil, other), nil)
	s.reach("the other may come in instead", append([]way{{other, server}}, noIngress...))
}

func deletedPolicy(s *netpolStage) {
	s.isolate(server, &api.Allowed{}, &api.Allowed{})
	s.reach("nothing may come in or go out", noneOfIt)
	s.bus.isolate(nil)
	s.reach("there is no policy any more", allWays)
}

func policyOverRestart(s *netpolStage) {
	s.isolate(server, s.allowed(nil, client), nil)
	s.reach("the client may come in", append([]way{{client, server}}, noIngress...))
	s.start()
	for _, w := range []way{{other, server}, {client, server}} { // at once, and not only after a while
		if s.machine.Reaches(s, s.three[w.from], s.three[w.to], netpolPort) != (w.from == client) {
			s.Errorf("just after the restart, %v reaches %v or not as it should", w.from, w.to)
		}
	}
	s.comes(s.three[server].Placement.UID, "the server is taken up", func(p api.PodStatus) bool { return p.Ready })
	s.reach("after the restart", append([]way{{client, server}}, noIngress...))
}
