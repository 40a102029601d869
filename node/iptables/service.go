package iptables

import (
	"fmt"
	"net/netip"
	"strconv"
)

// A tree's chain that has more rules than maxLeaf splits by the next fanBits bits of the address. Both were chosen by
// measurement: a chain costs more than a rule when rules are loaded, and a rule little when packets pass.
const (
	maxLeaf = 64
	fanBits = 4
)

// buildTree adds the chain that leads from a prefix of the service range to the chains of the ports in it, and the chains
// below. The ports are ordered by address.
func buildTree(t *table, chain string, prefix netip.Prefix, ports []servicePort) {
	var b []byte
	if len(ports) <= maxLeaf || prefix.Bits() == prefix.Addr().BitLen() {
		for _, p := range ports {
			b = p.appendMatch(b, chain)
		}
		t.chains[chain] = string(b)
		return
	}
	bits := min(prefix.Bits()+fanBits, prefix.Addr().BitLen())
	for len(ports) > 0 {
		child, _ := ports[0].ip.Prefix(bits) // never fails: the bits fit the address
		n := 1
		for n < len(ports) && child.Contains(ports[n].ip) {
			n++
		}
		name := fmt.Sprintf("%s%x-%02d", dispatchPrefix, child.Addr().As4(), bits)
		b = append(b, "-A "+chain+" -d "+child.String()+" -j "+name+"\n"...)
		buildTree(t, name, child, ports[:n])
		ports = ports[n:]
	}
	t.chains[chain] = string(b)
}

// appendMatch appends the rule of a tree's chain that leads to the service's own.
func (p servicePort) appendMatch(b []byte, chain string) []byte {
	b = append(append(b, "-A "...), chain...)
	b = p.ip.AppendTo(append(b, " -d "...))
	b = append(append(b, "/32 -p "...), p.protocol...)
	b = append(append(append(b, ` -m comment --comment "`...), p.comment...), `" -m `...)
	b = append(append(b, p.protocol...), " --dport "...)
	b = strconv.AppendUint(b, uint64(p.port), 10)
	b = append(append(b, " -j "...), p.chain...)
	return append(b, '\n')
}

// rules gives the service's own chain. With affinity a client that was here goes where it went; any other is sent to each
// endpoint with the same probability: the first of n takes one in n, the next one in n-1 of what is left, the last all.
func (p servicePort) rules() string {
	b := make([]byte, 0, 160*len(p.endpoints))
	start := func() { b = append(append(append(append(b, "-A "...), p.chain...), " -p "...), p.protocol...) }
	finish := func(e netip.AddrPort) { b = append(e.AppendTo(append(b, " -j DNAT --to-destination "...)), '\n') }
	recent := func(e netip.AddrPort, action string) {
		b = append(b, " -m recent "+action+" --name "...)
		b = append(append(append(b, p.chain...), '-'), e.String()...)
		b = append(b, " --mask 255.255.255.255 --rsource"...)
	}
	if p.affinity > 0 {
		for _, e := range p.endpoints {
			start()
			recent(e, "--update --seconds "+strconv.Itoa(int(p.affinity))+" --reap")
			finish(e)
		}
	}
	for i, e := range p.endpoints {
		start()
		if left := len(p.endpoints) - i; left > 1 {
			b = appendProbability(append(b, " -m statistic --mode random --probability "...), left)
		}
		if p.affinity > 0 {
			recent(e, "--set")
		}
		finish(e)
	}
	return string(b)
}

// appendProbability appends one in n as iptables-save prints it: the kernel counts in units of 2^-31.
func appendProbability(b []byte, n int) []byte {
	const unit = 1 << 31
	return strconv.AppendFloat(b, float64((unit+n/2)/n)/unit, 'f', 11, 64)
}
