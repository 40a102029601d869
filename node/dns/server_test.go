package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	mdns "github.com/miekg/dns"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	"headway.dev/headway/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func serviceRoute(name, clusterIP string, endpoints ...string) api.Route {
	r := api.Route{
		Service: api.Ref{Kind: "Service", Namespace: "shop", Name: name}, ClusterIP: clusterIP,
		Ports: []api.RoutePort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80}, {Port: 81}, {Name: "stats", Protocol: corev1.ProtocolUDP, Port: 8125}},
	}
	for _, ip := range endpoints {
		r.Endpoints = append(r.Endpoints, api.Endpoint{IP: ip, TargetPorts: []int32{8080, 8081, 0}})
	}
	return r
}

// alias is a service that is another name.
func alias(name, of string) api.Route {
	return api.Route{Service: api.Ref{Kind: "Service", Namespace: "shop", Name: name}, ExternalName: of}
}

// named gives a service's endpoints hostnames.
func named(r api.Route, hostnames ...string) api.Route {
	for i := range r.Endpoints {
		r.Endpoints[i].Hostname = hostnames[i]
	}
	return r
}

func table() api.RouteTable {
	return api.RouteTable{Revision: 7, Routes: []api.Route{
		alias("circle", "circle.shop.svc.cluster.local"), serviceRoute("empty", ""), alias("inner", "Peers.shop.svc.cluster.local"),
		alias("inner-again", "inner.shop.svc.cluster.local."), alias("number", "192.0.2.1"), alias("outer", "db.example.org"),
		serviceRoute("peers", "", "10.244.1.2", "10.244.2.3"),
		named(serviceRoute("set", "", "10.244.1.4", "10.244.2.5", "10.244.2.5"), "set-0", "set-1", "set-1"),
		named(serviceRoute("web", "10.96.0.10", "10.244.1.9", "10.244.1.2"), "web-0", ""),
	}}
}

func newServer(t testing.TB, o Options) *Server {
	t.Helper()
	o.Domain = "cluster.local"
	if !o.Listen.IsValid() {
		o.Listen = netip.MustParseAddrPort("10.244.1.1:53")
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ask gives the reply to a question, in the form that it has on the wire.
func ask(t testing.TB, s *Server, name, kind string, overTCP bool) *mdns.Msg {
	t.Helper()
	query := new(mdns.Msg).SetQuestion(name, mdns.StringToType[kind])
	wire, err := s.reply(context.Background(), query, overTCP).Pack()
	if err != nil {
		t.Fatal(err)
	}
	reply := new(mdns.Msg)
	if err := reply.Unpack(wire); err != nil {
		t.Fatal(err)
	}
	return reply
}

// TestAnswers shows what each kind of name is answered with.
func TestAnswers(t *testing.T) {
	s := newServer(t, Options{})
	s.Update(table())
	datadriven.RunTest(t, "testdata/answers.txt", func(t *testing.T, d *datadriven.TestData) string {
		var b strings.Builder
		for line := range strings.Lines(d.Input) {
			words := strings.Fields(line)
			reply := ask(t, s, words[0], words[1], false)
			b.WriteString(mdns.RcodeToString[reply.Rcode])
			if reply.Authoritative {
				b.WriteString(" authoritative")
			}
			b.WriteString("\n")
			for _, section := range []struct {
				name    string
				records []mdns.RR
			}{{"", reply.Answer}, {"authority ", reply.Ns}, {"extra ", reply.Extra}} {
				var lines []string
				for _, rr := range section.records {
					lines = append(lines, section.name+strings.ReplaceAll(rr.String(), "\t", " ")+"\n")
				}
				slices.Sort(lines) // addresses take turns
				b.WriteString(strings.Join(lines, ""))
			}
		}
		return b.String()
	})
}

func TestAddressesTakeTurns(t *testing.T) {
	s := newServer(t, Options{})
	s.Update(table())
	first := map[string]int{}
	for range 100 {
		first[ask(t, s, "peers.shop.svc.cluster.local.", "A", false).Answer[0].(*mdns.A).A.String()]++
	}
	if len(first) != 2 || first["10.244.1.2"] != 50 {
		t.Errorf("the first addresses of 100 answers are %v", first)
	}
}

func TestManyAddressesAreCutForUDP(t *testing.T) {
	var ips []string
	for i := range 200 {
		ips = append(ips, fmt.Sprintf("10.244.3.%d", i))
	}
	s := newServer(t, Options{})
	s.Update(api.RouteTable{Routes: []api.Route{serviceRoute("many", "", ips...)}})
	query := new(mdns.Msg).SetQuestion("many.shop.svc.cluster.local.", mdns.TypeA)
	for _, c := range []struct {
		edns    uint16
		overTCP bool
		most    int
		cut     bool
	}{{0, false, 512, true}, {4096, false, 1232, true}, {0, true, 65535, false}} {
		query.Extra = nil
		if c.edns > 0 {
			query.SetEdns0(c.edns, false)
		}
		reply := s.reply(t.Context(), query, c.overTCP)
		if reply.Len() > c.most || reply.Truncated != c.cut || len(reply.Answer) == 0 || !c.cut && len(reply.Answer) != 200 {
			t.Errorf("%+v: %d bytes, %d addresses, truncated: %v", c, reply.Len(), len(reply.Answer), reply.Truncated)
		}
	}
}

func TestBeforeTheFirstTable(t *testing.T) {
	s := newServer(t, Options{})
	if reply := ask(t, s, "web.shop.svc.cluster.local.", "A", false); reply.Rcode != mdns.RcodeServerFailure {
		t.Errorf("the answer is %s: nobody knows yet whether the service exists", mdns.RcodeToString[reply.Rcode])
	}
	if reply := ask(t, s, "example.org.", "A", false); reply.Rcode != mdns.RcodeNameError {
		t.Errorf("the answer for another name is %s", mdns.RcodeToString[reply.Rcode])
	}
}

// free gives a port that nothing listens on, at an address of loopback that no other test or program uses.
func free(t testing.TB, ip string) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp4", ip+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// run runs the server for as long as the test does.
func run(t testing.TB, s *Server) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("the server ends with %v", err)
		}
	})
	for deadline := time.Now().Add(10 * time.Second); ; {
		if _, err := exchange("udp", s.listen, "cluster.local.", "SOA"); err == nil {
			return
		} else if time.Now().After(deadline) {
			t.Fatalf("the server does not answer: %v", err)
		}
	}
}

func exchange(network string, server netip.AddrPort, name, kind string) (*mdns.Msg, error) {
	client := &mdns.Client{Net: network, Timeout: 5 * time.Second}
	reply, _, err := client.Exchange(new(mdns.Msg).SetQuestion(name, mdns.StringToType[kind]), server.String())
	return reply, err
}

func TestOtherNamesAreForwarded(t *testing.T) {
	silent, err := net.ListenPacket("udp4", "127.53.1.1:0") // a server that never answers
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	upstream := newServer(t, Options{Listen: free(t, "127.53.0.1")})
	upstream.domain = "example.org."
	upstream.Update(table())
	run(t, upstream)
	s := newServer(t, Options{Listen: free(t, "127.53.0.2"), Upstreams: []string{silent.LocalAddr().String(), upstream.listen.String()}})
	s.Update(table())
	run(t, s)
	for _, network := range []string{"udp", "tcp"} {
		reply, err := exchange(network, s.listen, "web.shop.svc.example.org.", "A")
		if err != nil || len(reply.Answer) != 1 || !reply.RecursionAvailable && reply.Rcode != mdns.RcodeSuccess {
			t.Errorf("over %s: %v, %v", network, reply, err)
		}
		reply, err = exchange(network, s.listen, "web.shop.svc.cluster.local.", "A")
		if err != nil || len(reply.Answer) != 1 {
			t.Errorf("over %s: %v, %v", network, reply, err)
		}
	}
}

func TestAliasOfAnotherName(t *testing.T) {
	upstream := newServer(t, Options{Listen: free(t, "127.53.0.5")})
	upstream.domain = "example.org."
	upstream.Update(table())
	run(t, upstream)
	s := newServer(t, Options{Listen: free(t, "127.53.0.6"), Upstreams: []string{upstream.listen.String()}})
	s.Update(api.RouteTable{Routes: []api.Route{
		alias("there", "web.shop.svc.example.org"), alias("nowhere", "none.shop.svc.example.org"),
	}})
	run(t, s)
	for _, network := range []string{"udp", "tcp"} {
		reply, err := exchange(network, s.listen, "there.shop.svc.cluster.local.", "A")
		if err != nil || len(reply.Answer) != 2 || reply.Answer[0].Header().Rrtype != mdns.TypeCNAME ||
			!strings.HasSuffix(reply.Answer[1].String(), "10.96.0.10") {
			t.Errorf("over %s: %v, %v", network, reply, err)
		}
		reply, err = exchange(network, s.listen, "nowhere.shop.svc.cluster.local.", "A")
		if err != nil || reply.Rcode != mdns.RcodeNameError || len(reply.Answer) != 1 {
			t.Errorf("of a name that is not there, over %s: %v, %v", network, reply, err)
		}
	}
	silent := newServer(t, Options{Upstreams: []string{free(t, "127.53.0.7").String()}})
	silent.Update(table())
	if reply := ask(t, silent, "outer.shop.svc.cluster.local.", "A", true); reply.Rcode != mdns.RcodeServerFailure {
		t.Errorf("with nobody to ask the answer is %s", mdns.RcodeToString[reply.Rcode])
	}
}

func TestNoUpstreamAnswers(t *testing.T) {
	closed := free(t, "127.53.0.3")
	s := newServer(t, Options{Upstreams: []string{closed.String()}})
	s.Update(table())
	if reply := ask(t, s, "example.org.", "A", true); reply.Rcode != mdns.RcodeServerFailure {
		t.Errorf("the answer is %s", mdns.RcodeToString[reply.Rcode])
	}
	if len(s.slots) != 0 {
		t.Error("the question is still waited for")
	}
}

func TestRunTellsThatTheAddressIsTaken(t *testing.T) {
	at := free(t, "127.53.0.4")
	l, err := net.Listen("tcp4", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	err = newServer(t, Options{Listen: at}).Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), at.String()) {
		t.Errorf("Run on an address in use: %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	at := netip.MustParseAddrPort("10.244.1.1:53")
	for explain, o := range map[string]Options{
		"cluster's domain": {Listen: at},
		"to listen on":     {Domain: "cluster.local"},
		"not the address":  {Domain: "cluster.local", Listen: at, Upstreams: []string{"dns.example.org"}},
		"ask itself":       {Domain: "cluster.local", Listen: at, Upstreams: []string{"10.244.1.1"}},
	} {
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), explain) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// TestReplies holds what is true of every reply: it packs, it is to the question, and says why there is nothing in it.
func TestReplies(t *testing.T) {
	s := newServer(t, Options{})
	s.Update(table())
	label := rapid.SampledFrom([]string{"web", "WEB", "peers", "empty", "shop", "svc", "pod", "dns", "ns", "10-244-1-2", "_http", "_tcp", "_udp", "x", "*", "dns-version", "in-addr", "arpa", "10", "96", "0"})
	rapid.Check(t, func(t *rapid.T) {
		name := strings.Join(rapid.SliceOfN(label, 0, 6).Draw(t, "labels"), ".") + rapid.SampledFrom([]string{".cluster.local.", ".", ".in-addr.arpa."}).Draw(t, "end")
		name = strings.TrimPrefix(name, ".")
		if name == "" {
			name = "."
		}
		kind := rapid.SampledFrom([]uint16{mdns.TypeA, mdns.TypeAAAA, mdns.TypeSRV, mdns.TypePTR, mdns.TypeSOA, mdns.TypeANY, mdns.TypeTXT, mdns.TypeNS}).Draw(t, "type")
		reply := s.reply(context.Background(), new(mdns.Msg).SetQuestion(name, kind), rapid.Bool().Draw(t, "tcp"))
		if _, err := reply.Pack(); err != nil {
			t.Fatal(err)
		}
		for _, rr := range reply.Answer {
			if rr.Header().Name != name || rr.Header().Rrtype != kind {
				t.Fatalf("%s in answer to %s %s", rr, name, mdns.TypeToString[kind])
			}
		}
		if reply.Authoritative && len(reply.Answer) == 0 && (len(reply.Ns) != 1 || reply.Ns[0].Header().Rrtype != mdns.TypeSOA) {
			t.Fatalf("nothing, and no SOA: %s", reply)
		}
		if reply.Rcode == mdns.RcodeNameError && len(reply.Answer) > 0 {
			t.Fatalf("no such name, yet records: %s", reply)
		}
	})
}

// FuzzReply sends what need not be a question.
func FuzzReply(f *testing.F) {
	for _, name := range []string{"web.shop.svc.cluster.local.", "2.1.244.10.in-addr.arpa.", "."} {
		wire, err := new(mdns.Msg).SetQuestion(name, mdns.TypeA).Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
	}
	s := newServer(f, Options{})
	s.Update(table())
	f.Fuzz(func(t *testing.T, wire []byte) {
		query := new(mdns.Msg)
		if query.Unpack(wire) != nil {
			return
		}
		reply := s.reply(t.Context(), query, false)
		if out, err := reply.Pack(); err == nil && len(out) > 1232 {
			t.Errorf("%d bytes for %s", len(out), query)
		}
	})
}

func BenchmarkUpdate(b *testing.B) {
	var t api.RouteTable
	for i := range 10000 {
		r := serviceRoute(fmt.Sprint("s", i), fmt.Sprintf("10.96.%d.%d", i>>8, i&255))
		for e := range 10 {
			r.Endpoints = append(r.Endpoints, api.Endpoint{IP: fmt.Sprintf("10.244.%d.%d", e, i&255)})
		}
		t.Routes = append(t.Routes, r)
	}
	s := newServer(b, Options{})
	for b.Loop() {
		s.Update(t)
	}
}
