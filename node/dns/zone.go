package dns

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"

	mdns "github.com/miekg/dns"

	"headway.dev/headway/api"
)

// ttl is how long a client may keep an answer, in seconds: about as long as a rollout takes from one pod to the next.
const ttl = 5

// A zone is all names of the cluster, as of one table of routes. It never changes.
type zone struct {
	domain     string // with a dot at its end
	nameserver netip.Addr
	revision   uint32
	services   map[string]*service // by name.namespace
	namespaces map[string]bool     // those that have services
	// reverse are the names of addresses, made when the first is asked for: few ever are.
	reverse func() map[netip.Addr][]string
}

// A service is a route in the form in which it answers.
type service struct {
	clusterIP netip.Addr // zero for a headless service
	alias     string     // the name that it is another name of, with a dot at its end; empty for most
	ports     []api.RoutePort
	endpoints func() []endpoint // made when they are first asked for
}

type endpoint struct {
	ip    netip.Addr
	label string // its hostname, or its address with dashes
	ports []int32
}

// newZone reads a table of routes. What is no IPv4 address has no record.
func newZone(domain string, nameserver netip.Addr, table api.RouteTable) *zone {
	z := &zone{
		domain: domain, nameserver: nameserver, revision: uint32(table.Revision),
		services: make(map[string]*service, len(table.Routes)), namespaces: map[string]bool{},
	}
	for _, route := range table.Routes {
		s := &service{ports: route.Ports, endpoints: sync.OnceValue(func() []endpoint { return endpointsOf(route) })}
		z.services[route.Service.Name+"."+route.Service.Namespace] = s
		z.namespaces[route.Service.Namespace] = true
		if route.ExternalName != "" {
			s.alias = strings.ToLower(mdns.Fqdn(route.ExternalName))
		} else if ip, err := netip.ParseAddr(route.ClusterIP); err == nil && ip.Is4() {
			s.clusterIP = ip
		}
	}
	z.reverse = sync.OnceValue(z.namesOfAddresses)
	return z
}

// namesOfAddresses are the names of cluster IPs and of endpoints. What a headless service calls a pod goes before what a
// service with an address does.
func (z *zone) namesOfAddresses() map[netip.Addr][]string {
	names, balanced := map[netip.Addr][]string{}, map[netip.Addr][]string{}
	for _, name := range slices.Sorted(maps.Keys(z.services)) {
		s := z.services[name]
		of := names
		if s.clusterIP.IsValid() {
			names[s.clusterIP] = append(names[s.clusterIP], name+".svc."+z.domain)
			of = balanced
		}
		for _, e := range s.endpoints() {
			if full := e.label + "." + name + ".svc." + z.domain; !slices.Contains(of[e.ip], full) {
				of[e.ip] = append(of[e.ip], full)
			}
		}
	}
	for ip, called := range balanced {
		if len(names[ip]) == 0 {
			names[ip] = called
		}
	}
	return names
}

func endpointsOf(route api.Route) []endpoint {
	endpoints := make([]endpoint, 0, len(route.Endpoints))
	for _, e := range route.Endpoints {
		ip, err := netip.ParseAddr(e.IP)
		if err != nil || !ip.Is4() {
			continue
		}
		label := strings.ToLower(e.Hostname)
		if label == "" {
			label = strings.ReplaceAll(e.IP, ".", "-")
		}
		endpoints = append(endpoints, endpoint{ip: ip, label: label, ports: e.TargetPorts})
	}
	return endpoints
}

// exists reports whether the service's name does. A headless service without endpoints is nothing that could be named:
// CoreDNS says so too, and clients that wait for the first pod rely on it.
func (s *service) exists() bool {
	return s != nil && (s.clusterIP.IsValid() || s.alias != "" || len(s.endpoints()) > 0)
}

// addresses are the A records of the service's own name.
func (s *service) addresses() []netip.Addr {
	if s.clusterIP.IsValid() {
		return []netip.Addr{s.clusterIP}
	}
	return addressesOf(s.endpoints(), "")
}

// addressesOf are those of the endpoints of a name, or of all, each once: one that was written by hand may be there for
// each of its ports.
func addressesOf(endpoints []endpoint, label string) []netip.Addr {
	ips := make([]netip.Addr, 0, len(endpoints))
	seen := make(map[netip.Addr]bool, len(endpoints))
	for _, e := range endpoints {
		if (label == "" || e.label == label) && !seen[e.ip] {
			seen[e.ip] = true
			ips = append(ips, e.ip)
		}
	}
	return ips
}

// An answer is what the zone says to a question: records, and whether the name exists at all.
type answer struct {
	exists  bool
	records []mdns.RR
	extra   []mdns.RR
	// alias is the name that has to be asked for what the question wants; records then lead to it.
	alias string
}

// lookUp answers for a name in lower case, if it is the zone's to answer; records carry it as it was asked.
func (z *zone) lookUp(q mdns.Question, name string) (a answer, ours bool) {
	switch {
	case z == nil:
		return answer{}, false
	case mdns.IsSubDomain(z.domain, name):
		return z.answer(q, name), true
	}
	return z.answerReverse(q, name)
}

func (z *zone) answer(q mdns.Question, name string) answer {
	if name == z.domain {
		a := answer{exists: true}
		switch q.Qtype {
		case mdns.TypeSOA:
			a.records = []mdns.RR{z.soa()}
		case mdns.TypeNS:
			a.records = []mdns.RR{&mdns.NS{Hdr: header(q.Name, mdns.TypeNS), Ns: z.nameserverName()}}
			a.extra = []mdns.RR{address(z.nameserverName(), z.nameserver)}
		}
		return a
	}
	labels := strings.Split(strings.TrimSuffix(name, "."+z.domain), ".")
	last := len(labels) - 1
	switch labels[last] {
	case "svc":
		return z.answerService(q, labels[:last])
	case "pod":
		return z.answerPod(q, labels[:last])
	case "dns":
		return addressAnswer(q, last == 0 || last == 1 && labels[0] == "ns", z.nameserver, last == 1)
	case "dns-version":
		if last == 0 && q.Qtype == mdns.TypeTXT {
			return answer{exists: true, records: []mdns.RR{&mdns.TXT{Hdr: header(q.Name, mdns.TypeTXT), Txt: []string{"1.1.0"}}}}
		}
		return answer{exists: last == 0}
	}
	return answer{}
}

// addressAnswer is that of a name that has one address, or only names below it.
func addressAnswer(q mdns.Question, exists bool, ip netip.Addr, has bool) answer {
	a := answer{exists: exists}
	if exists && has && q.Qtype == mdns.TypeA {
		a.records = []mdns.RR{address(q.Name, ip)}
	}
	return a
}

// answerService answers for what stands before ".svc": nothing, a namespace, a service in it, one of its endpoints, or a
// port.
func (z *zone) answerService(q mdns.Question, labels []string) answer {
	n := len(labels)
	if n == 0 {
		return answer{exists: true}
	}
	if n == 1 {
		return answer{exists: z.namespaces[labels[0]]}
	}
	s := z.services[labels[n-2]+"."+labels[n-1]]
	if !s.exists() {
		return answer{}
	}
	target := strings.Join(labels[n-2:], ".") + ".svc." + z.domain
	switch rest := labels[:n-2]; {
	case len(rest) == 0 && s.alias != "":
		return aliasAnswer(q, s.alias)
	case len(rest) == 0:
		return addressesAnswer(q, s.addresses())
	case len(rest) == 1 && strings.HasPrefix(rest[0], "_"):
		return answer{exists: s.hasProtocol(rest[0])}
	case len(rest) == 1:
		if ips := addressesOf(s.endpoints(), rest[0]); len(ips) > 0 {
			return addressesAnswer(q, ips)
		}
	case len(rest) == 2:
		return s.answerPort(q, rest[0], rest[1], target)
	}
	return answer{}
}

// aliasAnswer is that of a name which is another name of something. A number is no name, and leads nowhere.
func aliasAnswer(q mdns.Question, alias string) answer {
	a := answer{exists: true}
	if _, err := netip.ParseAddr(strings.TrimSuffix(alias, ".")); err == nil {
		return a
	}
	a.records = []mdns.RR{&mdns.CNAME{Hdr: header(q.Name, mdns.TypeCNAME), Target: alias}}
	if q.Qtype != mdns.TypeCNAME {
		a.alias = alias
	}
	return a
}

func addressesAnswer(q mdns.Question, ips []netip.Addr) answer {
	a := answer{exists: true}
	if q.Qtype == mdns.TypeA {
		for _, ip := range ips {
			a.records = append(a.records, address(q.Name, ip))
		}
	}
	return a
}

// hasProtocol reports whether a named port of the service speaks the protocol, such as _tcp.
func (s *service) hasProtocol(label string) bool {
	for _, p := range s.ports {
		if p.Name != "" && label == protocolLabel(p) {
			return true
		}
	}
	return false
}

func protocolLabel(p api.RoutePort) string {
	if p.Protocol == "" {
		return "_tcp"
	}
	return "_" + strings.ToLower(string(p.Protocol))
}

// answerPort gives the SRV records of a port: the service itself, or each endpoint of a headless one.
func (s *service) answerPort(q mdns.Question, port, protocol, target string) answer {
	for i, p := range s.ports {
		if p.Name == "" || port != "_"+p.Name || protocol != protocolLabel(p) {
			continue
		}
		a := answer{exists: true}
		if q.Qtype != mdns.TypeSRV {
			return a
		}
		add := func(name string, port int32, ip netip.Addr) {
			a.records = append(a.records, &mdns.SRV{Hdr: header(q.Name, mdns.TypeSRV), Weight: 1, Port: uint16(port), Target: name})
			a.extra = append(a.extra, address(name, ip))
		}
		if s.clusterIP.IsValid() {
			add(target, p.Port, s.clusterIP)
			return a
		}
		type place struct {
			label string
			ip    netip.Addr
			port  int32
		}
		seen := make(map[place]bool, len(s.endpoints()))
		for _, e := range s.endpoints() {
			if i >= len(e.ports) || e.ports[i] == 0 || seen[place{e.label, e.ip, e.ports[i]}] {
				continue
			}
			seen[place{e.label, e.ip, e.ports[i]}] = true
			add(e.label+"."+target, e.ports[i], e.ip)
		}
		return a
	}
	return answer{}
}

// answerPod answers for a-b-c-d.namespace: the address that the name holds. Which pods there are is not asked.
func (z *zone) answerPod(q mdns.Question, labels []string) answer {
	switch len(labels) {
	case 0, 1:
		return answer{exists: true}
	case 2:
		ip, err := netip.ParseAddr(strings.ReplaceAll(labels[0], "-", "."))
		return addressAnswer(q, err == nil && ip.Is4(), ip, true)
	}
	return answer{}
}

// answerReverse answers for d.c.b.a.in-addr.arpa. with the names of an address that the zone knows.
func (z *zone) answerReverse(q mdns.Question, name string) (a answer, known bool) {
	labels, isReverse := strings.CutSuffix(name, ".in-addr.arpa.")
	parts := strings.Split(labels, ".")
	slices.Reverse(parts)
	ip, err := netip.ParseAddr(strings.Join(parts, "."))
	if !isReverse || err != nil {
		return answer{}, false
	}
	names := z.reverse()[ip]
	if len(names) == 0 {
		return answer{}, false
	}
	a.exists = true
	if q.Qtype == mdns.TypePTR {
		for _, target := range names {
			a.records = append(a.records, &mdns.PTR{Hdr: header(q.Name, mdns.TypePTR), Ptr: target})
		}
	}
	return a, true
}

// soa is the record that goes with every answer that something is not there: its last field is how long that holds.
func (z *zone) soa() mdns.RR {
	return &mdns.SOA{
		Hdr: header(z.domain, mdns.TypeSOA), Ns: z.nameserverName(), Mbox: "hostmaster." + z.domain,
		Serial: z.revision, Refresh: 3600, Retry: 600, Expire: 86400, Minttl: ttl,
	}
}

func (z *zone) nameserverName() string { return "ns.dns." + z.domain }

func header(name string, kind uint16) mdns.RR_Header {
	return mdns.RR_Header{Name: name, Rrtype: kind, Class: mdns.ClassINET, Ttl: ttl}
}

func address(name string, ip netip.Addr) mdns.RR {
	return &mdns.A{Hdr: header(name, mdns.TypeA), A: ip.AsSlice()}
}
