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

// A way is an address and port that lead to a chain.
type way struct {
	ip       netip.Addr // unspecified: any that the chain is asked for
	protocol string
	port     uint16
	comment  string
	chain    string
}

// buildTree adds the chain that leads from a prefix to the chains of the ways in it, and the chains below. The ways are
// ordered by address.
func buildTree(t *table, chain string, prefix netip.Prefix, ways []way) {
	var b []byte
	if len(ways) <= maxLeaf || prefix.Bits() == prefix.Addr().BitLen() {
		for _, w := range ways {
			b = w.appendRule(b, chain)
		}
		t.chains[chain] = string(b)
		return
	}
	bits := min(prefix.Bits()+fanBits, prefix.Addr().BitLen())
	for len(ways) > 0 {
		child, _ := ways[0].ip.Prefix(bits) // never fails: the bits fit the address
		n := 1
		for n < len(ways) && child.Contains(ways[n].ip) {
			n++
		}
		name := fmt.Sprintf("%s%x-%02d", dispatchPrefix, child.Addr().As4(), bits)
		b = append(b, "-A "+chain+" -d "+child.String()+" -j "+name+"\n"...)
		buildTree(t, name, child, ways[:n])
		ways = ways[n:]
	}
	t.chains[chain] = string(b)
}

// appendRule appends the rule of a chain that leads to the way's own.
func (w way) appendRule(b []byte, chain string) []byte {
	b = append(append(b, "-A "...), chain...)
	if !w.ip.IsUnspecified() {
		b = append(w.ip.AppendTo(append(b, " -d "...)), "/32"...)
	}
	b = append(append(b, " -p "...), w.protocol...)
	b = append(append(append(b, ` -m comment --comment "`...), w.comment...), `" -m `...)
	b = append(append(b, w.protocol...), " --dport "...)
	b = strconv.AppendUint(b, uint64(w.port), 10)
	b = append(append(b, " -j "...), w.chain...)
	return append(b, '\n')
}

// wayInside gives the way from the cluster IP; none where no endpoint may be reached by it.
func (p servicePort) wayInside() (way, bool) {
	w := way{ip: p.ip, protocol: p.protocol, port: p.port, comment: p.comment, chain: servicePrefix + p.id}
	if p.internalLocal {
		w.chain = localPrefix + p.id
		return w, len(p.local) > 0
	}
	return w, len(p.endpoints) > 0
}

// chains adds the chains of the port.
func (p servicePort) chains(c Config, t *table) {
	if len(p.endpoints) == 0 {
		return
	}
	if !p.internalLocal || p.outside.any() {
		t.chains[servicePrefix+p.id] = p.rules(servicePrefix+p.id, p.endpoints)
	}
	if len(p.local) > 0 {
		t.chains[localPrefix+p.id] = p.rules(localPrefix+p.id, p.local)
	}
	if p.outside.any() {
		p.outsideChains(c, t)
	}
}

// rules gives a chain that picks an endpoint. With affinity a client that was here goes where it went; any other is sent
// to each endpoint by its weight: the first of n equal ones takes one in n, the next one in n-1 of what is left, the last all.
func (p servicePort) rules(chain string, endpoints []netip.AddrPort) string {
	b := make([]byte, 0, 160*len(endpoints))
	start := func() { b = append(append(append(append(b, "-A "...), chain...), " -p "...), p.protocol...) }
	finish := func(e netip.AddrPort) { b = append(e.AppendTo(append(b, " -j DNAT --to-destination "...)), '\n') }
	recent := func(e netip.AddrPort, action string) {
		b = append(b, " -m recent "+action+" --name "...)
		b = append(append(append(b, chain...), '-'), e.String()...)
		b = append(b, " --mask 255.255.255.255 --rsource"...)
	}
	if p.affinity > 0 {
		for _, e := range endpoints {
			start()
			recent(e, "--update --seconds "+strconv.Itoa(int(p.affinity))+" --reap")
			finish(e)
		}
	}
	taking, left := p.weighed(endpoints)
	for i, e := range taking {
		start()
		if i < len(taking)-1 {
			b = appendProbability(append(b, " -m statistic --mode random --probability "...), p.weight(e), left)
			left -= p.weight(e)
		}
		if p.affinity > 0 {
			recent(e, "--set")
		}
		finish(e)
	}
	return string(b)
}

// weight is an endpoint's part of new connections.
func (p servicePort) weight(e netip.AddrPort) int64 {
	if p.weights == nil {
		return 1
	}
	return p.weights[e]
}

// weighed gives the endpoints that have a part of new connections, and the sum of the parts. Where none has, all have the same.
func (p *servicePort) weighed(endpoints []netip.AddrPort) (taking []netip.AddrPort, sum int64) {
	if p.weights == nil {
		return endpoints, int64(len(endpoints))
	}
	for _, e := range endpoints {
		if w := p.weight(e); w > 0 {
			taking, sum = append(taking, e), sum+w
		}
	}
	if len(taking) == 0 {
		p.weights = nil
		return endpoints, int64(len(endpoints))
	}
	return taking, sum
}

// appendProbability appends a part of a sum as iptables-save prints it: the kernel counts in units of 2^-31.
func appendProbability(b []byte, part, sum int64) []byte {
	const unit = 1 << 31
	return strconv.AppendFloat(b, float64((unit*part+sum/2)/sum)/unit, 'f', 11, 64)
}
