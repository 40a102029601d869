package iptables

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"headway.dev/headway/api"
	"headway.dev/headway/node"
)

// The chains that are always there. The tree of prefixes begins at servicesChain.
const (
	servicesChain    = ownPrefix + "SERVICES"    // nat: connections to the service range
	postroutingChain = ownPrefix + "POSTROUTING" // nat: connections of the node's pods, on their way out
	hairpinChain     = ownPrefix + "HAIRPIN"     // nat: connections that a service sent to a pod of this node
	forwardChain     = ownPrefix + "FORWARD"     // filter: packets of pods, and to pods
	inputChain       = ownPrefix + "INPUT"       // filter: packets of pods to the node's own address among them
	refuseChain      = ownPrefix + "REFUSE"      // filter: packets to the service range that no service took

	dispatchPrefix = ownPrefix + "D-" // nat: the services of a prefix of addresses, as 0a600100-24
	servicePrefix  = ownPrefix + "S-" // nat: one port of a service, as 0a600105-t-0050
	localPrefix    = ownPrefix + "L-" // nat: the same, with the endpoints of this node alone
)

// The chains for connections from outside, which are there as far as there are any.
const (
	nodeChain       = ownPrefix + "NODE"       // nat: connections to addresses of the node
	hostPortsChain  = ownPrefix + "HOSTPORTS"  // nat: the same, to ports that pods hold
	addressesChain  = ownPrefix + "ADDRESSES"  // nat: connections to services' addresses from outside
	masqueradeChain = ownPrefix + "MASQUERADE" // nat: connections from outside, on their way to an endpoint
	closedChain     = ownPrefix + "CLOSED"     // filter: new connections from outside that were sent nowhere

	portsPrefix    = ownPrefix + "P-" // nat: 64 ports of the node, as t-7540
	externalPrefix = ownPrefix + "E-" // nat: one port of a service from outside, where only local endpoints are to be reached
	rangesPrefix   = ownPrefix + "R-" // nat: one port of a service from outside, where only some senders are let in
)

// Render gives all rules of a node, as iptables-restore reads them and as iptables-save would print them. Equal input
// gives equal output. What cannot be written as a rule (a cluster IP outside of the service range, an endpoint without
// an IPv4 address) is left out, so that it harms no other service; connections to it are refused.
func Render(c Config, routes api.RouteTable, hosts []node.HostPort) []byte {
	r, _ := rulesFor(c, routes, hosts)
	return r.bytes()
}

// rulesFor gives all rules, and says what is left out.
func rulesFor(c Config, routes api.RouteTable, hosts []node.HostPort) (r ruleset, left []string) {
	ports, left := servicePorts(c, routes)
	in, taken := newEntrances(c, ports, hosts)
	return build(c, ports, in), append(left, taken...)
}

// build gives the rules for these ports of services, and these ways to them from outside.
func build(c Config, ports []servicePort, in entrances) ruleset {
	r := newRuleset()
	buildFilter(c, r["filter"])
	in.buildFilter(c, r["filter"])
	nat := r["nat"]
	ways := make([]way, 0, len(ports))
	for _, p := range ports {
		if w, ok := p.wayInside(); ok {
			ways = append(ways, w)
		}
		p.chains(c, nat)
	}
	buildTree(nat, servicesChain, c.ServiceCIDR, ways)
	buildPostrouting(c, nat, ports, in.toHost)
	match := " -d " + c.ServiceCIDR.String() + " -j " + servicesChain
	nat.jumps["PREROUTING"] = []string{"-A PREROUTING" + match}
	nat.jumps["OUTPUT"] = []string{"-A OUTPUT" + match}
	nat.jumps["POSTROUTING"] = []string{"-A POSTROUTING -s " + c.PodCIDR.String() + " -j " + postroutingChain}
	in.buildNAT(c, nat)
	return r
}

// buildFilter refuses what no service took, before it can go anywhere. TCP is reset, since the kernel sends ICMP to one
// address but sparingly. Packets of the node's pods pass whatever the machine's policy for forwarding is.
func buildFilter(c Config, t *table) {
	services, pods := c.ServiceCIDR.String(), c.PodCIDR.String()
	t.set(refuseChain, "-p tcp -j REJECT --reject-with tcp-reset", "-j REJECT --reject-with icmp-port-unreachable")
	t.set(forwardChain, "-d "+services+" -j "+refuseChain,
		"-s "+pods+" -i "+c.Bridge+" -j ACCEPT",
		"-d "+pods+" -o "+c.Bridge+" -j ACCEPT")
	t.set(inputChain, "-p udp -m udp --dport 53 -j ACCEPT", "-p tcp -m tcp --dport 53 -j ACCEPT")
	t.jumps["FORWARD"] = []string{"-A FORWARD -j " + forwardChain}
	t.jumps["INPUT"] = []string{"-A INPUT -d " + c.gateway().String() + "/32 -i " + c.Bridge + " -j " + inputChain}
	t.jumps["OUTPUT"] = []string{"-A OUTPUT -d " + services + " -j " + refuseChain}
}

// buildPostrouting has the node stand for a pod where the pod's own address cannot: towards the pod itself, which would
// take a packet from its own address for a forgery, and outside of the cluster, where nobody knows the way back.
func buildPostrouting(c Config, t *table, ports []servicePort, toHost []netip.Addr) {
	local := slices.Clone(toHost)
	for _, p := range ports {
		for _, e := range p.endpoints {
			if c.PodCIDR.Contains(e.Addr()) {
				local = append(local, e.Addr())
			}
		}
	}
	slices.SortFunc(local, netip.Addr.Compare)
	var hairpins []string
	for _, ip := range slices.Compact(local) {
		hairpins = append(hairpins, fmt.Sprintf("-s %s/32 -d %s/32 -j MASQUERADE --random-fully", ip, ip))
	}
	t.set(hairpinChain, hairpins...)
	t.set(postroutingChain, "-o lo -j RETURN",
		"-d "+c.PodCIDR.String()+" -m conntrack --ctstate DNAT -j "+hairpinChain,
		"-d "+c.ClusterCIDR.String()+" -j RETURN",
		"-j MASQUERADE --random-fully")
}

// set gives a chain its rules, without the "-A NAME" before each.
func (t *table) set(chain string, rules ...string) {
	var b strings.Builder
	for _, rule := range rules {
		b.WriteString("-A " + chain + " " + rule + "\n")
	}
	t.chains[chain] = b.String()
}
