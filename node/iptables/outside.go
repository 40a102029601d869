package iptables

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"headway.dev/headway/node"
)

// hostPortRule gives the rule that leads to the pod, if there can be one.
func hostPortRule(c Config, h node.HostPort) (string, bool) {
	protocol, ok := protocols[h.Protocol]
	if !ok || h.Port == 0 || h.To.Port() == 0 || !c.PodCIDR.Contains(h.To.Addr()) {
		return "", false // a pod on the machine's own network holds its port itself
	}
	at := ""
	if h.HostIP.IsValid() && !h.HostIP.IsUnspecified() {
		at = "-d " + h.HostIP.String() + "/32 "
	}
	return fmt.Sprintf("%s-p %s -m comment --comment %q -m %s --dport %d -j DNAT --to-destination %s",
		at, protocol, printable("pod "+h.Pod.Namespace+"/"+h.Pod.Name), protocol, h.Port, h.To), true
}

// outsideChains adds the chains that connections from outside pass before they come to those with the endpoints. Where
// only local endpoints are to be reached, the cluster's own clients still reach all: nothing of theirs would be kept by
// a detour, and their node may have none.
func (p servicePort) outsideChains(c Config, t *table) {
	if p.outside.local {
		rules := []string{
			"-s " + c.ClusterCIDR.String() + " -j " + servicePrefix + p.id,
			"-m addrtype --src-type LOCAL -j " + servicePrefix + p.id,
		}
		if len(p.local) > 0 {
			rules = append(rules, "-j "+localPrefix+p.id)
		}
		t.set(externalPrefix+p.id, rules...)
	}
	if p.outside.restricted {
		rules := make([]string, 0, len(p.outside.ranges))
		for _, r := range p.outside.ranges {
			from := ""
			if r.Bits() > 0 {
				from = "-s " + r.String() + " "
			}
			rules = append(rules, from+"-j "+p.behindRanges())
		}
		t.set(rangesPrefix+p.id, rules...)
	}
}

// behindRanges is the chain for connections from outside whose sender has been let in.
func (p servicePort) behindRanges() string {
	if p.outside.local {
		return externalPrefix + p.id
	}
	return servicePrefix + p.id
}

// waysOutside are the ways to the port from outside: by ports of the node's addresses, and by addresses of its own.
func (p servicePort) waysOutside() (onNode, atAddress []way) {
	w := way{ip: netip.IPv4Unspecified(), protocol: p.protocol, comment: p.comment, chain: p.behindRanges()}
	if p.outside.restricted {
		w.chain = rangesPrefix + p.id
	}
	for _, port := range p.outside.ports {
		w.port = port
		onNode = append(onNode, w)
	}
	w.port = p.port
	for _, ip := range p.outside.addresses {
		w.ip = ip
		atAddress = append(atAddress, w)
	}
	return onNode, atAddress
}

// closed is the target for what comes to the port from outside and has been sent nowhere; empty: there is nothing of
// the kind. Where others may get through it is dropped, so that a balancer asks another node.
func (p servicePort) closed() string {
	switch {
	case !p.outside.any():
		return ""
	case len(p.endpoints) == 0:
		return refuseChain
	case p.outside.local || p.outside.restricted:
		return "DROP"
	}
	return ""
}

// entrances are all ways into the cluster.
type entrances struct {
	onNode, atAddress []way    // ordered; those that no endpoint stands behind are only in closed
	closed            []way    // where each leads to a target of the filter
	hostPorts         []string // rules
	toHost            []netip.Addr
	// foreign are endpoints that are not pods with an address of their own, ordered.
	foreign []netip.Addr
}

func (e *entrances) any() bool {
	return len(e.onNode)+len(e.atAddress)+len(e.closed)+len(e.hostPorts) > 0
}

// newEntrances gathers the ways from outside, and says which it left out because others have them.
func newEntrances(c Config, ports []servicePort, hosts []node.HostPort) (e entrances, left []string) {
	type key struct {
		ip       netip.Addr
		protocol string
		port     uint16
	}
	holders := map[key]string{}
	take := func(ways []way) []way {
		return slices.DeleteFunc(ways, func(w way) bool {
			k := key{w.ip, w.protocol, w.port}
			holder, taken := holders[k]
			if !taken {
				holders[k] = w.comment
			} else if holder != w.comment {
				left = append(left, fmt.Sprintf("%s: %s has port %d/%s from outside already", w.comment, holder, w.port, w.protocol))
			}
			return taken
		})
	}
	for _, p := range ports {
		if !p.outside.any() {
			continue
		}
		onNode, atAddress := p.waysOutside()
		onNode, atAddress = take(onNode), take(atAddress)
		if target := p.closed(); target != "" {
			for _, w := range slices.Concat(onNode, atAddress) {
				w.chain = target
				e.closed = append(e.closed, w)
			}
		}
		if len(p.endpoints) > 0 {
			e.onNode, e.atAddress = append(e.onNode, onNode...), append(e.atAddress, atAddress...)
		}
		for _, endpoint := range p.endpoints {
			if !c.ClusterCIDR.Contains(endpoint.Addr()) {
				e.foreign = append(e.foreign, endpoint.Addr())
			}
		}
	}
	for _, h := range hosts {
		if rule, ok := hostPortRule(c, h); ok {
			e.hostPorts, e.toHost = append(e.hostPorts, rule), append(e.toHost, h.To.Addr())
		}
	}
	slices.Sort(e.hostPorts)
	for _, ways := range [][]way{e.onNode, e.atAddress, e.closed} {
		slices.SortFunc(ways, way.compare)
	}
	slices.SortFunc(e.foreign, netip.Addr.Compare)
	e.foreign = slices.Compact(e.foreign)
	return e, left
}

func (w way) compare(o way) int {
	return cmp.Or(w.ip.Compare(o.ip), cmp.Compare(w.protocol, o.protocol), cmp.Compare(w.port, o.port))
}

// buildNAT adds the chains for connections from outside, and the jumps to them. The node's address among its pods is left
// out, for its name server answers there; so is loopback, where a reply would not find its way back.
func (e *entrances) buildNAT(c Config, t *table) {
	if len(e.onNode)+len(e.hostPorts) > 0 {
		t.set(nodeChain, "-d "+c.gateway().String()+"/32 -j RETURN")
		if len(e.hostPorts) > 0 {
			t.set(hostPortsChain, e.hostPorts...)
			t.chains[nodeChain] += "-A " + nodeChain + " -j " + hostPortsChain + "\n"
		}
		e.buildPorts(t)
		t.jumpToNode()
	}
	if len(e.atAddress) > 0 {
		buildTree(t, addressesChain, netip.PrefixFrom(netip.IPv4Unspecified(), 0), e.atAddress)
		for _, builtin := range []string{"PREROUTING", "OUTPUT"} {
			t.jumps[builtin] = append(t.jumps[builtin], "-A "+builtin+" -j "+addressesChain)
		}
	}
	if !e.any() {
		return
	}
	rules := []string{"-d " + c.PodCIDR.String() + " -j RETURN", "-d " + c.ClusterCIDR.String() + " -j MASQUERADE --random-fully"}
	for _, ip := range e.foreign {
		rules = append(rules, "-d "+ip.String()+"/32 -j MASQUERADE --random-fully")
	}
	t.set(masqueradeChain, rules...)
	t.jumps["POSTROUTING"] = append(t.jumps["POSTROUTING"],
		"-A POSTROUTING ! -s "+c.PodCIDR.String()+" -m conntrack --ctstate DNAT -j "+masqueradeChain)
}

// keepHostPorts has the rules for ports of pods stay as they are, until it is known which there should be.
func keepHostPorts(c Config, have, want *table) {
	rules, there := have.chains[hostPortsChain]
	if _, wanted := want.chains[hostPortsChain]; !there || wanted {
		return
	}
	want.chains[hostPortsChain] = rules
	first, rest := "-A "+nodeChain+" -d "+c.gateway().String()+"/32 -j RETURN\n", want.chains[nodeChain]
	if _, there := want.chains[nodeChain]; !there {
		want.jumpToNode()
	}
	want.chains[nodeChain] = first + "-A " + nodeChain + " -j " + hostPortsChain + "\n" + strings.TrimPrefix(rest, first)
}

// jumpToNode adds the jumps for connections to addresses of the node.
func (t *table) jumpToNode() {
	for _, builtin := range []string{"PREROUTING", "OUTPUT"} {
		t.jumps[builtin] = append(t.jumps[builtin], "-A "+builtin+" ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j "+nodeChain)
	}
}

// buildPorts adds the ways by ports of the node to its chain. Where they are many, they are split by protocol and by the
// upper bits of the port.
func (e *entrances) buildPorts(t *table) {
	chain := []byte(t.chains[nodeChain])
	if len(e.onNode) <= maxLeaf {
		for _, w := range e.onNode {
			chain = w.appendRule(chain, nodeChain)
		}
		t.chains[nodeChain] = string(chain)
		return
	}
	for ways := e.onNode; len(ways) > 0; {
		protocol, block := ways[0].protocol, ways[0].port/maxLeaf
		n := 1
		for n < len(ways) && ways[n].protocol == protocol && ways[n].port/maxLeaf == block {
			n++
		}
		name := fmt.Sprintf("%s%c-%04x", portsPrefix, protocol[0], block*maxLeaf)
		chain = fmt.Appendf(chain, "-A %s -p %s -m %s --dport %d:%d -j %s\n", nodeChain, protocol, protocol, block*maxLeaf, block*maxLeaf+maxLeaf-1, name)
		var b []byte
		for _, w := range ways[:n] {
			b = w.appendRule(b, name)
		}
		t.chains[name] = string(b)
		ways = ways[n:]
	}
	t.chains[nodeChain] = string(chain)
}

// buildFilter lets through what came from outside and was sent to an endpoint, whatever the machine's policy is, and
// stops what was sent nowhere before a program of the machine could take it for its own.
func (e *entrances) buildFilter(c Config, t *table) {
	if !e.any() {
		return
	}
	var b strings.Builder
	for _, to := range append([]netip.Prefix{c.ClusterCIDR}, prefixes(e.foreign)...) {
		for _, side := range []string{"-d", "-s"} {
			fmt.Fprintf(&b, "-A %s %s %s -m conntrack --ctstate DNAT -j ACCEPT\n", forwardChain, side, to)
		}
	}
	t.chains[forwardChain] += b.String()
	if len(e.closed) == 0 {
		return
	}
	rules := []string{"-m conntrack --ctstate DNAT -j RETURN", "-d " + c.gateway().String() + "/32 -j RETURN", "-d 127.0.0.0/8 -j RETURN"}
	for _, w := range e.closed {
		at, local := "-d "+w.ip.String()+"/32 ", ""
		if w.ip.IsUnspecified() {
			at, local = "", "-m addrtype --dst-type LOCAL "
		}
		rules = append(rules, fmt.Sprintf("%s-p %s %s-m comment --comment %q -m %s --dport %d -j %s", at, w.protocol, local, w.comment, w.protocol, w.port, w.chain))
	}
	t.set(closedChain, rules...)
	for _, builtin := range []string{"INPUT", "FORWARD", "OUTPUT"} {
		jump := "-A " + builtin + " -m conntrack --ctstate NEW -j " + closedChain
		t.jumps[builtin] = append([]string{jump}, t.jumps[builtin]...)
	}
}

func prefixes(ips []netip.Addr) []netip.Prefix {
	hosts := make([]netip.Prefix, len(ips))
	for i, ip := range ips {
		hosts[i] = netip.PrefixFrom(ip, ip.BitLen())
	}
	return hosts
}
