package iptables

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	"headway.dev/headway/api"
	"headway.dev/headway/node"
)

// A fakeKernel holds rules as iptables does, and refuses what that refuses.
type fakeKernel map[string]map[string][]string // by table and chain

func newFakeKernel() fakeKernel {
	return fakeKernel{
		"filter": {"INPUT": nil, "FORWARD": {"-A FORWARD -j ACCEPT"}, "OUTPUT": nil},
		"nat":    {"PREROUTING": {"-A PREROUTING -j FOREIGN"}, "INPUT": nil, "OUTPUT": nil, "POSTROUTING": nil, "FOREIGN": {"-A FOREIGN -j RETURN"}},
	}
}

// restore takes in one input of iptables-restore --noflush.
func (k fakeKernel) restore(input string) error {
	var table map[string][]string
	for line := range strings.Lines(input) {
		line = strings.TrimSpace(line)
		words := strings.Fields(line)
		var err error
		switch {
		case strings.HasPrefix(line, "*"):
			table = k[line[1:]]
		case line == "COMMIT":
			err = check(table)
		case strings.HasPrefix(line, ":"):
			table[words[0][1:]] = nil
		default:
			err = command(table, words)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", line, err)
		}
	}
	return nil
}

func command(table map[string][]string, words []string) error {
	chain := words[1]
	rules, there := table[chain]
	if !there {
		return fmt.Errorf("no chain %s", chain)
	}
	switch words[0] {
	case "-A":
		table[chain] = append(slices.Clone(rules), strings.Join(words, " "))
	case "-I":
		at, err := strconv.Atoi(words[2])
		if err != nil || at < 1 || at > len(rules)+1 {
			return fmt.Errorf("no place %s in %v", words[2], rules)
		}
		table[chain] = slices.Insert(slices.Clone(rules), at-1, "-A "+chain+" "+strings.Join(words[3:], " "))
	case "-D":
		at := slices.Index(rules, "-A "+strings.Join(words[1:], " "))
		if at < 0 {
			return fmt.Errorf("no such rule among %v", rules)
		}
		table[chain] = slices.Delete(slices.Clone(rules), at, at+1)
	case "-X":
		if len(rules) > 0 {
			return fmt.Errorf("chain %s is not empty", chain)
		}
		delete(table, chain)
	default:
		return fmt.Errorf("unknown command")
	}
	return nil
}

var targets = []string{"DNAT", "DROP", "REJECT", "ACCEPT", "RETURN", "MASQUERADE"}

// check refuses jumps to chains that are not there.
func check(table map[string][]string) error {
	for _, rules := range table {
		for _, rule := range rules {
			words := strings.Fields(rule)
			target := words[slices.Index(words, "-j")+1]
			if _, there := table[target]; !there && !slices.Contains(targets, target) {
				return fmt.Errorf("no chain %s", target)
			}
		}
	}
	return nil
}

// save prints the rules as iptables-save does.
func (k fakeKernel) save() string {
	var b strings.Builder
	for _, name := range []string{"filter", "nat"} {
		b.WriteString("# Generated\n*" + name + "\n")
		for chain := range k[name] {
			b.WriteString(":" + chain + " ACCEPT [5:300]\n")
		}
		for _, rules := range k[name] {
			for _, rule := range rules {
				b.WriteString(rule + "\n")
			}
		}
		b.WriteString("COMMIT\n# Completed\n")
	}
	return b.String()
}

// foreign are the rules that are not ours.
func (k fakeKernel) foreign() map[string][]string {
	foreign := map[string][]string{}
	for name, table := range k {
		for chain, rules := range table {
			for _, rule := range rules {
				if !strings.Contains(rule, ownPrefix) {
					foreign[name+" "+chain] = append(foreign[name+" "+chain], rule)
				}
			}
		}
	}
	return foreign
}

func drawTable(t *rapid.T) api.RouteTable {
	var table api.RouteTable
	for s := range rapid.IntRange(0, 200).Draw(t, "services") {
		route := api.Route{
			Service:         api.Ref{Kind: "Service", Namespace: "n", Name: fmt.Sprint("s", s)},
			ClusterIP:       fmt.Sprintf("10.96.%d.%d", rapid.IntRange(0, 2).Draw(t, "third"), rapid.IntRange(0, 255).Draw(t, "fourth")),
			Ports:           []api.RoutePort{{Port: 80}, {Port: 53, Protocol: corev1.ProtocolUDP}},
			AffinitySeconds: int32(rapid.SampledFrom([]int{0, 0, 10}).Draw(t, "affinity")),
		}
		if rapid.IntRange(0, 3).Draw(t, "outside") == 0 {
			route.Ports[0].NodePort = int32(rapid.IntRange(30000, 30200).Draw(t, "node port"))
			route.OnNodes = rapid.Bool().Draw(t, "on nodes")
			route.ExternalIPs = rapid.SampledFrom([][]string{nil, {"198.51.100.7"}, {"198.51.100.8", "203.0.113.9"}}).Draw(t, "addresses")
			route.SourceRanges = rapid.SampledFrom([][]string{nil, {"0.0.0.0/0"}, {"192.0.2.0/24", "198.51.100.0/24"}}).Draw(t, "ranges")
			route.ExternalLocal, route.InternalLocal = rapid.Bool().Draw(t, "external local"), rapid.Bool().Draw(t, "internal local")
		}
		for e := range rapid.IntRange(0, 3).Draw(t, "endpoints") {
			route.Endpoints = append(route.Endpoints, api.Endpoint{IP: fmt.Sprintf("10.244.%d.%d", e, s), Node: fmt.Sprint("node", e), TargetPorts: []int32{8080, 5353}})
		}
		table.Routes = append(table.Routes, route)
	}
	return table
}

func drawHostPorts(t *rapid.T) []node.HostPort {
	var hosts []node.HostPort
	for i := range rapid.IntRange(0, 3).Draw(t, "host ports") {
		hosts = append(hosts, node.HostPort{Pod: api.PodRef("n", "p"), Port: uint16(8000 + i), To: netip.AddrPortFrom(netip.MustParseAddr("10.244.1.9"), 80)})
	}
	return hosts
}

// TestDifference holds that from any state that tables and others' hands leave, the difference leads to the rules wanted,
// touches nothing of others', and is then nothing.
func TestDifference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kernel := newFakeKernel()
		foreign := fmt.Sprint(kernel.foreign())
		prepare := rapid.SampledFrom([]int{1, 50, 1 << 30}).Draw(t, "prepare")
		for step := range rapid.IntRange(1, 4).Draw(t, "steps") {
			if step > 0 && rapid.Bool().Draw(t, "drift") {
				drift(t, kernel)
			}
			want := rules(drawTable(t), drawHostPorts(t)...)
			if rapid.IntRange(0, 5).Draw(t, "clean up") == 0 {
				want = newRuleset()
			}
			reconcile(t, kernel, want, prepare)
		}
		reconcile(t, kernel, newRuleset(), prepare)
		if strings.Contains(kernel.save(), ownPrefix) {
			t.Fatalf("the clean-up leaves\n%s", kernel.save())
		}
		if got := fmt.Sprint(kernel.foreign()); got != foreign {
			t.Fatalf("others' rules were %s and are %s", foreign, got)
		}
	})
}

func reconcile(t *rapid.T, kernel fakeKernel, want ruleset, prepare int) {
	have, err := parse([]byte(kernel.save()))
	if err != nil {
		t.Fatal(err)
	}
	for _, input := range difference(have, want, prepare) {
		if err := kernel.restore(string(input)); err != nil {
			t.Fatalf("%v in\n%s\nfor\n%s", err, input, kernel.save())
		}
	}
	now, err := parse([]byte(kernel.save()))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(now.bytes()); got != string(want.bytes()) {
		t.Fatalf("got\n%s\nwant\n%s", got, want.bytes())
	}
	if again := difference(now, want, prepare); len(again) > 0 {
		t.Fatalf("after the difference there is still one:\n%s", again[0])
	}
}

// drift does to our rules what others might.
func drift(t *rapid.T, kernel fakeKernel) {
	for range rapid.IntRange(1, 5).Draw(t, "changes") {
		table := kernel[rapid.SampledFrom([]string{"filter", "nat"}).Draw(t, "table")]
		chains := make([]string, 0, len(table))
		for chain := range table {
			chains = append(chains, chain)
		}
		slices.Sort(chains)
		chain := rapid.SampledFrom(chains).Draw(t, "chain")
		rules := slices.Clone(table[chain])
		switch {
		case strings.HasPrefix(chain, ownPrefix) && rapid.Bool().Draw(t, "flush"):
			rules = nil
		case strings.HasPrefix(chain, ownPrefix):
			rules = append(rules, "-A "+chain+" -j ACCEPT")
		default: // our jumps move behind another rule, or are there twice
			if len(rules) > 0 && strings.Contains(rules[0], ownPrefix) {
				rules = append(rules, rules[0])
			}
			if len(rules) > 1 && rapid.Bool().Draw(t, "remove") && strings.Contains(rules[0], ownPrefix) {
				rules = rules[1:]
			}
		}
		table[chain] = rules
	}
}

// FuzzParse looks for rules that cannot be read, or read as they are not.
func FuzzParse(f *testing.F) {
	f.Add([]byte(newFakeKernel().save()))
	f.Add(Render(config(), tableOf(3, 2), nil))
	f.Add([]byte("*nat\n-A HEADWAY-X\n-A\nCOMMIT\n:HEADWAY"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parse(data)
		if err != nil {
			return
		}
		again, err := parse(r.bytes())
		if err != nil {
			t.Fatalf("what was read cannot be read again: %v\n%s", err, r.bytes())
		}
		if string(again.bytes()) != string(r.bytes()) {
			t.Fatalf("read\n%s\nthen\n%s", r.bytes(), again.bytes())
		}
	})
}
