package iptables

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"math/bits"
	"net/netip"
	"slices"
	"strings"

	"headway.dev/headway/api"
	"headway.dev/headway/node"
)

// The chains of the filter that isolate pods. They are there while any pod is isolated, and are those of no service: one
// may change without the other.
const (
	isolateChain = ownPrefix + "ISOLATE" // new connections that the node forwards
	egressChain  = ownPrefix + "EGRESS"  // those from its pods, by pod
	ingressChain = ownPrefix + "INGRESS" // those to its pods, by pod
	denyChain    = ownPrefix + "DENY"    // what is not allowed

	// allowedPrefix begins the names of chains for what is allowed, by address or by port. The rest of the name is of what
	// they hold: a chain never changes, and pods of equal rules have the same ones.
	allowedPrefix = ownPrefix + "A-"
)

func isolates(chain string) bool {
	return strings.HasPrefix(chain, allowedPrefix) || slices.Contains([]string{isolateChain, egressChain, ingressChain, denyChain}, chain)
}

// isolateJump leads the packets of all pods through isolateChain. It stands before all others.
const isolateJump = "-A FORWARD -j " + isolateChain

// isolate adds the rules that isolate pods to the filter. Each direction is one walk without a way back, by the pod's
// address, the peer's and the port, that ends in a refusal or back in isolateChain.
//
// What has been let in once goes on, in both directions. What passes between a pod and its own node is not forwarded, and
// so never comes here; that is as Kubernetes has it. A pod is never kept from itself, which a service may lead it to.
func (t *table) isolate(c Config, pods []node.IsolatedPod) {
	var egress, ingress []string
	for _, p := range pods {
		if !c.PodCIDR.Contains(p.IP) {
			continue // on the machine's own network
		}
		itself := fmt.Sprintf("-s %s/32 -d %s/32 -j RETURN", p.IP, p.IP)
		if p.Egress != nil {
			egress = append(egress, itself, fmt.Sprintf("-s %s/32 -g %s", p.IP, t.allow("-d", p.Egress)))
		}
		if p.Ingress != nil {
			ingress = append(ingress, itself, fmt.Sprintf("-d %s/32 -g %s", p.IP, t.allow("-s", p.Ingress)))
		}
	}
	if len(egress)+len(ingress) == 0 {
		return
	}
	rules := []string{"-m conntrack --ctstate RELATED,ESTABLISHED -j RETURN"}
	if len(egress) > 0 {
		t.set(egressChain, egress...)
		rules = append(rules, "-s "+c.PodCIDR.String()+" -i "+c.Bridge+" -j "+egressChain)
	}
	if len(ingress) > 0 {
		t.set(ingressChain, ingress...)
		rules = append(rules, "-d "+c.PodCIDR.String()+" -o "+c.Bridge+" -j "+ingressChain)
	}
	t.set(isolateChain, rules...)
	// A packet that belongs to no connection may be a late one of a connection that lives: to reset that would end it.
	t.set(denyChain, "-m conntrack --ctstate INVALID -j DROP", "-p tcp -j REJECT --reject-with tcp-reset", "-j REJECT --reject-with icmp-port-unreachable")
	t.jumps["FORWARD"] = append([]string{isolateJump}, t.jumps["FORWARD"]...)
}

// An exit is where connections with some addresses go on to.
type exit struct {
	net    netip.Prefix
	target string // such as -j RETURN
}

// allow adds the chains for what is allowed in one direction, and gives the first: peer is the match of the peer's address.
func (t *table) allow(peer string, a *api.Allowed) string {
	var exits []exit
	for _, flow := range a.Flows {
		target := "-j RETURN"
		if len(flow.Ports) > 0 {
			target = "-g " + t.allowPorts(flow.Ports)
		}
		for _, text := range flow.Networks {
			if n, err := netip.ParsePrefix(text); err == nil && n.Addr().Is4() {
				exits = append(exits, exit{n.Masked(), target})
			}
		}
	}
	slices.SortFunc(exits, func(a, b exit) int { return a.net.Addr().Compare(b.net.Addr()) })
	return t.exitTree(peer, exits)
}

// allowPorts adds the chain for some ports.
func (t *table) allowPorts(ranges []api.PortRange) string {
	var rules []string
	for _, r := range ranges {
		protocol, ok := protocols[r.Protocol]
		switch {
		case !ok:
		case r.First == 0 && r.Last == ^uint16(0):
			rules = append(rules, fmt.Sprintf("-p %s -j RETURN", protocol))
		case r.First == r.Last:
			rules = append(rules, fmt.Sprintf("-p %s -m %s --dport %d -j RETURN", protocol, protocol, r.First))
		default:
			rules = append(rules, fmt.Sprintf("-p %s -m %s --dport %d:%d -j RETURN", protocol, protocol, r.First, r.Last))
		}
	}
	return t.addAllowed(append(rules, "-g "+denyChain))
}

// fewExits are not worth a chain of their own.
const fewExits = 4

// exitTree adds the chains that lead from exits' addresses to their targets, and gives the first. The exits are ordered,
// and no two have an address in common. Many are split by the next fanBits bits after those that they have in common.
func (t *table) exitTree(peer string, exits []exit) string {
	var rules []string
	width := 0
	if len(exits) > maxLeaf {
		width = min(commonBits(exits)+fanBits, 32)
	}
	for len(exits) > 0 {
		n := 1
		part := netip.PrefixFrom(exits[0].net.Addr(), width).Masked()
		for n < len(exits) && width > 0 && part.Contains(exits[n].net.Addr()) {
			n++
		}
		if width > 0 && n > fewExits {
			rules = append(rules, fmt.Sprintf("%s %s -g %s", peer, part, t.exitTree(peer, exits[:n])))
		} else {
			for _, e := range exits[:n] {
				rules = append(rules, strings.TrimPrefix(fmt.Sprintf("%s %s %s", peer, e.net, e.target), peer+" 0.0.0.0/0 "))
			}
		}
		exits = exits[n:]
	}
	return t.addAllowed(append(rules, "-g "+denyChain))
}

// commonBits is how many of their first bits all addresses of the exits share.
func commonBits(exits []exit) int {
	first, last := exits[0].net.Addr().As4(), exits[len(exits)-1].net.Addr().As4()
	for i := range first {
		if different := first[i] ^ last[i]; different != 0 {
			return 8*i + bits.LeadingZeros8(different)
		}
	}
	return 32
}

// addAllowed adds a chain under the name that its rules have.
func (t *table) addAllowed(rules []string) string {
	sum := sha256.Sum256([]byte(strings.Join(rules, "\n")))
	name := allowedPrefix + hex.EncodeToString(sum[:8])
	t.set(name, rules...)
	return name
}

// withoutIsolation gives the table without what isolates pods. Its chains are those of the table.
func (t *table) withoutIsolation() *table {
	rest := &table{chains: maps.Clone(t.chains), jumps: maps.Clone(t.jumps), displaced: map[string]bool{}}
	maps.DeleteFunc(rest.chains, func(chain, _ string) bool { return isolates(chain) })
	rest.jumps["FORWARD"] = slices.DeleteFunc(slices.Clone(rest.jumps["FORWARD"]), func(jump string) bool { return jump == isolateJump })
	if len(rest.jumps["FORWARD"]) == 0 {
		delete(rest.jumps, "FORWARD")
	}
	return rest
}

// keepIsolation has the rules that isolate pods stay as they are, until it is known which there should be.
func keepIsolation(have, want *table) {
	for chain, rules := range have.chains {
		if isolates(chain) {
			want.chains[chain] = rules
		}
	}
	if slices.Contains(have.jumps["FORWARD"], isolateJump) {
		want.jumps["FORWARD"] = append([]string{isolateJump}, want.jumps["FORWARD"]...)
	}
}
