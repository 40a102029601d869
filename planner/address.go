package planner

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

// keptForExplicit is how many addresses at the start of the range are given only to services that ask for them.
const keptForExplicit = 16

// addresses are what the services have for connections, by what it was given by.
type addresses struct {
	of       []address // of each service, in their order
	problems []api.Problem
	version  uint64

	want    *wanted
	cidr    string
	inForce []api.Route // what was in force
	left    []bool      // those of them that are left alone, though Git does not hold the service
}

// An address is where a service takes connections.
type address struct {
	routable  bool
	clusterIP string
	entrance  *entrance // nil: it has none
}

// addresses gives every service its cluster IP, and its ways from outside.
func (p *pass) addresses() *addresses {
	a := &p.memory.addresses
	left := make([]bool, len(p.in.Routes))
	for i := range p.in.Routes {
		ref := p.in.Routes[i].Service
		left[i] = !p.want.declared[ref] && p.stays(ref)
	}
	if a.want != p.want || a.cidr != p.in.ServiceCIDR || !slices.Equal(a.left, left) ||
		!slices.EqualFunc(a.inForce, p.in.Routes, sameAddress) {
		before := p.plan.Problems
		p.plan.Problems = nil
		clusterIPs := p.assignAddresses()
		entrances := p.assignEntrances(clusterIPs)
		*a = addresses{
			of: make([]address, len(p.want.services)), problems: p.plan.Problems, version: a.version + 1,
			want: p.want, cidr: p.in.ServiceCIDR, inForce: slices.Clone(p.in.Routes), left: left,
		}
		for i, s := range p.want.services {
			a.of[i].clusterIP, a.of[i].routable = clusterIPs[s.ref]
			a.of[i].entrance = entrances[s.ref]
		}
		p.plan.Problems = before
	}
	p.plan.Problems = append(p.plan.Problems, a.problems...)
	return a
}

// sameAddress reports whether two routes take connections in the same places, wherever they lead.
func sameAddress(a, b api.Route) bool {
	return a.Service == b.Service && a.ClusterIP == b.ClusterIP && slices.Equal(a.Ports, b.Ports) && a.OnNodes == b.OnNodes &&
		slices.Equal(a.ExternalIPs, b.ExternalIPs) && a.HealthCheckPort == b.HealthCheckPort
}

// assignAddresses gives every declared service its cluster IP; a headless one, and an alias, the empty address. First come those that
// their author declared, then those in force, then new ones. A service that can have none is left out, and a problem told.
func (p *pass) assignAddresses() map[api.Ref]string {
	given := make(map[api.Ref]string, len(p.want.services))
	current := make(map[api.Ref]string, len(p.in.Routes))
	for _, route := range p.in.Routes {
		current[route.Service] = route.ClusterIP
	}
	holders := map[string]api.Ref{}
	p.giveDeclared(given, holders, current)

	pool := newPool(p.in.ServiceCIDR)
	for _, route := range p.in.Routes { // those that are left alone hold theirs
		if route.ClusterIP == "" || p.want.declared[route.Service] || !p.stays(route.Service) {
			continue
		}
		if _, taken := holders[route.ClusterIP]; !taken {
			holders[route.ClusterIP] = route.Service
		}
	}
	var without []service
	for _, s := range p.want.services {
		if s.spec.ClusterIP != "" || isAlias(s.spec) {
			continue
		}
		address := current[s.ref]
		if _, taken := holders[address]; taken || !pool.contains(address) {
			without = append(without, s)
			continue
		}
		given[s.ref], holders[address] = address, s.ref
	}
	for _, s := range without {
		address, ok := pool.pick(s.ref, holders)
		if !ok {
			p.problem(s.ref, s.source, "spec.clusterIP",
				fmt.Sprintf("no cluster IP is left for it in the service range %q; give the cluster a larger range", p.in.ServiceCIDR))
			continue
		}
		given[s.ref], holders[address] = address, s.ref
	}
	return given
}

// giveDeclared settles the services that declare an address or are headless. Of two that declare the same one, the one
// that has it keeps it.
func (p *pass) giveDeclared(given map[api.Ref]string, holders map[string]api.Ref, current map[api.Ref]string) {
	for _, having := range []bool{true, false} {
		for _, s := range p.want.services {
			address := s.spec.ClusterIP
			switch {
			case isAlias(s.spec):
				given[s.ref] = ""
			case address == "":
			case address == corev1.ClusterIPNone:
				given[s.ref] = ""
			case having != (current[s.ref] == address):
			default:
				if holder, taken := holders[address]; taken {
					p.problem(s.ref, s.source, "spec.clusterIP",
						fmt.Sprintf("%s has the cluster IP %s already; declare another, or none to be given one", holder, address))
					continue
				}
				given[s.ref], holders[address] = address, s.ref
			}
		}
	}
}

// A pool is the range that cluster IPs are given from.
type pool struct {
	prefix netip.Prefix
	// first and size bound the addresses given to services that ask for none, as offsets from the network's address.
	first, size uint64
}

// newPool reads the range. One that cannot be read, or is too small, holds nothing.
func newPool(cidr string) pool {
	prefix, err := netip.ParsePrefix(cidr)
	if err != nil {
		return pool{}
	}
	p := pool{prefix: prefix.Masked(), first: 1 + keptForExplicit}
	hostBits := min(prefix.Addr().BitLen()-prefix.Bits(), 32)
	if total := uint64(1) << hostBits; total > p.first+1 {
		p.size = total - p.first - 1 // without the broadcast address
	}
	return p
}

func (p pool) contains(address string) bool {
	a, err := netip.ParseAddr(address)
	return err == nil && p.prefix.Contains(a)
}

// pick gives a free address, the first one from where the hash of the service's name points. Services that are declared
// together get the same addresses whenever they are, as long as no two point to the same.
func (p pool) pick(ref api.Ref, holders map[string]api.Ref) (string, bool) {
	if p.size == 0 {
		return "", false
	}
	sum := sha256.Sum256([]byte(ref.Namespace + "/" + ref.Name))
	start := binary.BigEndian.Uint64(sum[:]) % p.size
	for i := range p.size {
		address := p.at(p.first + (start+i)%p.size).String()
		if _, taken := holders[address]; !taken {
			return address, true
		}
	}
	return "", false
}

// at gives the address at an offset from the network's.
func (p pool) at(offset uint64) netip.Addr {
	b := p.prefix.Addr().As16()
	binary.BigEndian.PutUint64(b[8:], binary.BigEndian.Uint64(b[8:])+offset) // masked: it stays within the low half
	a := netip.AddrFrom16(b)
	if p.prefix.Addr().Is4() {
		return a.Unmap()
	}
	return a
}
