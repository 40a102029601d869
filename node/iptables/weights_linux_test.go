package iptables_test

import "testing"

// TestWeights sends 10,000 connections to a service of which one pod is to have a tenth, and one nothing.
func TestWeights(t *testing.T) {
	forBackends(t, func(t *testing.T, backend string) {
		m := newMachines(t, backend, 1)[0]
		a, b, canary, none := m.newPod(t, "a"), m.newPod(t, "b"), m.newPod(t, "canary"), m.newPod(t, "none")
		route := web(a, canary, b, none)
		for i, weight := range []int32{1_350_000, 300_000, 1_350_000, -1} {
			route.Endpoints[i].Weight = weight
		}
		m.apply(t, route)
		const connections = 10_000
		reached := map[string]int{}
		for range connections {
			server, _, err := ask(m.Namespace, webIP+":80", patient)
			if err != nil {
				t.Fatal(err)
			}
			reached[server]++
		}
		// Five standard deviations of the binomial distribution: outside in one of two million runs.
		for name, bounds := range map[string][2]int{"canary": {850, 1150}, "a": {4251, 4749}, "b": {4251, 4749}, "none": {0, 0}} {
			if n := reached[name]; n < bounds[0] || n > bounds[1] {
				t.Errorf("%s took %d of %d connections, not %d to %d", name, n, connections, bounds[0], bounds[1])
			}
		}
		t.Logf("%v", reached)
	})
}
