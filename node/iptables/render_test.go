package iptables

import (
	"bytes"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

// TestRules shows the rules of tables of routes, and what is loaded to go from one to the next.
func TestRules(t *testing.T) {
	datadriven.RunTest(t, "testdata/rules.txt", func(t *testing.T, d *datadriven.TestData) string {
		switch d.Cmd {
		case "render":
			return string(Render(config(), readTable(t, d.Input)))
		case "chains": // only chains of nat whose names have the prefix
			var prefix string
			d.ScanArgs(t, "prefix", &prefix)
			return chainsOf(build(config(), portsOf(readTable(t, d.Input)))["nat"], prefix)
		case "left-out":
			_, left := servicePorts(config(), readTable(t, d.Input))
			return strings.Join(left, "\n")
		case "difference":
			before, after, _ := strings.Cut(d.Input, "to\n")
			inputs := difference(build(config(), portsOf(readTable(t, before))), build(config(), portsOf(readTable(t, after))), 2)
			return string(bytes.Join(inputs, []byte("and then\n")))
		}
		d.Fatalf(t, "unknown command %s", d.Cmd)
		return ""
	})
}

func portsOf(table api.RouteTable) []servicePort {
	ports, _ := servicePorts(config(), table)
	return ports
}

func chainsOf(t *table, prefix string) string {
	var b strings.Builder
	for _, line := range strings.SplitAfter(string(ruleset{"nat": t}.bytes()), "\n") {
		if strings.HasPrefix(line, "-A "+prefix) {
			b.WriteString(line)
		}
	}
	return b.String()
}

// readTable reads a table, one service a line: "namespace/name clusterIP port[/name/protocol],… [affinity=seconds] ->
// endpoint…". An endpoint is an address and a target port for each port of the service. A line "many N" stands for N
// services of one endpoint.
func readTable(t *testing.T, text string) api.RouteTable {
	var table api.RouteTable
	for line := range strings.Lines(text) {
		var many int
		if n, _ := fmt.Sscanf(line, "many %d", &many); n == 1 {
			table.Routes = append(table.Routes, tableOf(many, 1).Routes...)
			continue
		}
		service, endpoints, _ := strings.Cut(strings.TrimSpace(line), "->")
		words := strings.Fields(service)
		if len(words) == 0 {
			continue
		}
		namespace, name, _ := strings.Cut(words[0], "/")
		route := api.Route{Service: api.Ref{Kind: "Service", Namespace: namespace, Name: name}}
		if words[1] != "headless" {
			route.ClusterIP = words[1]
		}
		for _, p := range strings.Split(words[2], ",") {
			parts := append(strings.Split(p, "/"), "", "")
			route.Ports = append(route.Ports, api.RoutePort{Port: int32(atoi(t, parts[0])), Name: parts[1], Protocol: corev1.Protocol(parts[2])})
		}
		if len(words) > 3 {
			route.AffinitySeconds = int32(atoi(t, strings.TrimPrefix(words[3], "affinity=")))
		}
		for _, e := range strings.Fields(endpoints) {
			parts := strings.Split(e, ":")
			endpoint := api.Endpoint{IP: parts[0], Pod: api.PodRef(namespace, name+"-1")}
			for _, p := range parts[1:] {
				endpoint.TargetPorts = append(endpoint.TargetPorts, int32(atoi(t, p)))
			}
			route.Endpoints = append(route.Endpoints, endpoint)
		}
		table.Routes = append(table.Routes, route)
	}
	return table
}

func atoi(t *testing.T, s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestWayIsShort counts the rules that a connection to each of many services passes.
func TestWayIsShort(t *testing.T) {
	for _, services := range []int{10, 1000, 10000} {
		table := tableOf(services, 1)
		nat := build(config(), portsOf(table))["nat"]
		longest := 0
		for _, route := range table.Routes {
			passed, found := pass(nat.chains, servicesChain, netip.MustParseAddr(route.ClusterIP))
			if !found {
				t.Fatalf("no rule leads to %s", route.ClusterIP)
			}
			longest = max(longest, passed)
		}
		if longest > 100 {
			t.Errorf("of %d services, one is behind %d rules", services, longest)
		}
	}
}

// pass walks the tree from a chain to the rule of an address and counts the rules on the way.
func pass(chains map[string]string, chain string, ip netip.Addr) (passed int, found bool) {
	for rule := range strings.Lines(chains[chain]) {
		words := strings.Fields(rule)
		passed++
		if !netip.MustParsePrefix(words[3]).Contains(ip) {
			continue
		}
		target := words[len(words)-1]
		if strings.HasPrefix(target, servicePrefix) {
			return passed, true
		}
		below, found := pass(chains, target, ip)
		return passed + below, found
	}
	return passed, false
}

func TestRenderIsDeterministic(t *testing.T) {
	table := tableOf(500, 3)
	first := Render(config(), table)
	if !bytes.Equal(Render(config(), table), first) {
		t.Error("the same table gives other rules")
	}
	parsed, err := parse(first)
	if err != nil || !bytes.Equal(parsed.bytes(), first) {
		t.Errorf("the rules are not those that are read back: %v", err)
	}
}
