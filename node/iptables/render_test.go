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
	"headway.dev/headway/node"
)

// TestRules shows the rules of tables of routes, and what is loaded to go from one to the next.
func TestRules(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, runRules)
	})
}

func runRules(t *testing.T, d *datadriven.TestData) string {
	switch d.Cmd {
	case "render":
		return string(Render(config(), readTable(t, d.Input), hostPorts(d)))
	case "chains": // only those whose names have the prefix
		var prefix string
		d.ScanArgs(t, "prefix", &prefix)
		return chainsOf(rules(readTable(t, d.Input), hostPorts(d)...), prefix)
	case "left-out":
		_, left := rulesFor(config(), readTable(t, d.Input), nil)
		return strings.Join(left, "\n")
	case "difference":
		before, after, _ := strings.Cut(d.Input, "to\n")
		inputs := difference(rules(readTable(t, before)), rules(readTable(t, after)), 2)
		return string(bytes.Join(inputs, []byte("and then\n")))
	}
	d.Fatalf(t, "unknown command %s", d.Cmd)
	return ""
}

func rules(table api.RouteTable, hosts ...node.HostPort) ruleset {
	r, _ := rulesFor(config(), table, hosts)
	return r
}

// hostPorts reads the argument hosts=([IP:]port[/protocol]@pod:port, …).
func hostPorts(d *datadriven.TestData) []node.HostPort {
	var hosts []node.HostPort
	for _, arg := range d.CmdArgs {
		for _, value := range arg.Vals {
			if arg.Key != "hosts" {
				continue
			}
			at, to, _ := strings.Cut(value, "@")
			h := node.HostPort{Pod: api.PodRef("shop", "pod"), To: netip.MustParseAddrPort(to)}
			if ip, port, ok := strings.Cut(at, ":"); ok {
				h.HostIP, at = netip.MustParseAddr(ip), port
			}
			at, protocol, _ := strings.Cut(at, "/")
			h.Protocol = corev1.Protocol(protocol)
			port, _ := strconv.Atoi(at)
			h.Port = uint16(port)
			hosts = append(hosts, h)
		}
	}
	return hosts
}

// chainsOf gives the rules of chains whose names have the prefix, and the jumps to them.
func chainsOf(r ruleset, prefix string) string {
	var b strings.Builder
	for _, line := range strings.SplitAfter(string(r.bytes()), "\n") {
		if strings.HasPrefix(line, "-A "+prefix) || strings.HasPrefix(line, "-A ") && !strings.HasPrefix(line, "-A "+ownPrefix) && strings.Contains(line, "-j "+prefix) {
			b.WriteString(line)
		}
	}
	return b.String()
}

// readTable reads a table, one service a line: "namespace/name clusterIP port[/name/protocol[/node port]],… [option…] ->
// endpoint…". An endpoint is an address and a target port for each port of the service; pods of 10.244.1.0/24 are the
// node's own. A line "many N" stands for N services of one endpoint.
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
			parts := append(strings.Split(p, "/"), "", "", "0")
			port := api.RoutePort{Port: int32(atoi(t, parts[0])), Name: parts[1], Protocol: corev1.Protocol(parts[2])}
			if parts[3] != "" {
				port.NodePort = int32(atoi(t, parts[3]))
			}
			route.Ports = append(route.Ports, port)
		}
		for _, option := range words[3:] {
			key, value, _ := strings.Cut(option, "=")
			switch key {
			case "affinity":
				route.AffinitySeconds = int32(atoi(t, value))
			case "on-nodes":
				route.OnNodes = true
			case "internal-local":
				route.InternalLocal = true
			case "external-local":
				route.ExternalLocal = true
			case "at":
				route.ExternalIPs = strings.Split(value, ",")
			case "from":
				route.SourceRanges = strings.Split(value, ",")
			default:
				t.Fatalf("unknown option %s", option)
			}
		}
		for _, e := range strings.Fields(endpoints) {
			parts := strings.Split(e, ":")
			endpoint := api.Endpoint{IP: parts[0], Pod: api.PodRef(namespace, name+"-1")}
			if strings.HasPrefix(endpoint.IP, "10.244.1.") {
				endpoint.Node = config().Node
			}
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
		nat := rules(table)["nat"]
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
	first := Render(config(), table, nil)
	if !bytes.Equal(Render(config(), table, nil), first) {
		t.Error("the same table gives other rules")
	}
	parsed, err := parse(first)
	if err != nil || !bytes.Equal(parsed.bytes(), first) {
		t.Errorf("the rules are not those that are read back: %v", err)
	}
}
