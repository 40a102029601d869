package dns

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/miekg/dns"

	"headway.dev/headway/api"
)

// records are all names of one table. They are made once and only read.
type records struct {
	zone   string
	serial uint32
	byName map[string][]dns.RR // by lower-case full name; without records for a name that only has others below it
}

// newRecords makes the names of a table: addresses for services and for the pods of headless ones, SRV for named ports,
// and PTR for each address.
func newRecords(zone string, table api.RouteTable) *records {
	r := &records{zone: zone, serial: uint32(table.Revision), byName: map[string][]dns.RR{}}
	r.exists(zone)
	for _, route := range table.Routes {
		service := fmt.Sprintf("%s.%s.svc.%s", route.Service.Name, route.Service.Namespace, zone)
		r.exists(service)
		if route.ClusterIP != "" {
			r.address(service, route.ClusterIP)
			r.pointer(route.ClusterIP, service)
			r.ports(route, service, service, nil)
			continue
		}
		for i := range route.Endpoints {
			endpoint := &route.Endpoints[i]
			pod := fmt.Sprintf("%s.%s", strings.ReplaceAll(endpoint.IP, ".", "-"), service)
			r.address(service, endpoint.IP)
			r.address(pod, endpoint.IP)
			r.pointer(endpoint.IP, pod)
			r.ports(route, service, pod, endpoint)
		}
	}
	return r
}

// exists notes a name and all names above it within the zone: what has names below it exists.
func (r *records) exists(name string) {
	for ; dns.IsSubDomain(r.zone, name); name = name[strings.IndexByte(name, '.')+1:] {
		if _, ok := r.byName[name]; ok {
			return
		}
		r.byName[name] = nil
	}
}

func (r *records) add(name string, record dns.RR) {
	r.exists(name)
	r.byName[name] = append(r.byName[name], record)
}

func (r *records) address(name, ip string) {
	address, err := netip.ParseAddr(ip)
	if err != nil || !address.Is4() {
		return // the network has addresses of version 4 alone
	}
	r.add(name, &dns.A{Hdr: header(name, dns.TypeA), A: net.IP(address.AsSlice())})
}

func (r *records) pointer(ip, name string) {
	reverse, err := dns.ReverseAddr(ip)
	if err != nil {
		return
	}
	r.byName[reverse] = append(r.byName[reverse], &dns.PTR{Hdr: header(reverse, dns.TypePTR), Ptr: name})
}

// ports adds an SRV record for each named port of a service: for the endpoint's own port where one is given.
func (r *records) ports(route api.Route, service, target string, endpoint *api.Endpoint) {
	for i, port := range route.Ports {
		if port.Name == "" {
			continue
		}
		number := port.Port
		if endpoint != nil && i < len(endpoint.TargetPorts) {
			number = endpoint.TargetPorts[i]
		}
		name := fmt.Sprintf("_%s._%s.%s", port.Name, strings.ToLower(string(port.Protocol)), service)
		r.add(name, &dns.SRV{Hdr: header(name, dns.TypeSRV), Weight: 1, Port: uint16(number), Target: target})
	}
}

func header(name string, kind uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: kind, Class: dns.ClassINET, Ttl: ttl}
}

// owns reports whether these records have the last word on a name.
func (r *records) owns(name string) bool {
	_, known := r.byName[name]
	return known || dns.IsSubDomain(r.zone, name)
}

// lookup gives copies of the records of a type, and whether the name exists at all.
func (r *records) lookup(name string, kind uint16) (found []dns.RR, exists bool) {
	all, exists := r.byName[name]
	for _, record := range all {
		if kind == record.Header().Rrtype || kind == dns.TypeANY {
			found = append(found, dns.Copy(record))
		}
	}
	if name == r.zone && (kind == dns.TypeSOA || kind == dns.TypeANY) {
		found = append(found, r.authority())
	}
	return found, exists
}

// authority is the zone's SOA record; with it a resolver knows how long to remember that a name does not exist.
func (r *records) authority() dns.RR {
	return &dns.SOA{
		Hdr: header(r.zone, dns.TypeSOA), Ns: "ns.dns." + r.zone, Mbox: "hostmaster." + r.zone, Serial: r.serial,
		Refresh: 7200, Retry: 1800, Expire: 86400, Minttl: ttl,
	}
}
