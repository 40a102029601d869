package iptables

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
	"headway.dev/headway/internal/testnet"
	"headway.dev/headway/node"
)

var (
	_ node.Router     = (*Router)(nil)
	_ node.HostPorter = (*Router)(nil)
	_ node.Isolator   = (*Router)(nil)
)

func config() Config {
	return Config{
		Node: "node1", PodCIDR: netip.MustParsePrefix("10.244.1.0/24"), ClusterCIDR: netip.MustParsePrefix("10.244.0.0/16"),
		ServiceCIDR: netip.MustParsePrefix("10.96.0.0/16"), Bridge: "headway0",
	}
}

func openRouter(t testing.TB, backend string) *Router {
	t.Helper()
	if _, err := exec.LookPath("iptables-" + backend + "-restore"); err != nil {
		t.Skipf("the %s back end of iptables is not installed", backend)
	}
	c := config()
	r, err := Open(Options{Node: c.Node, PodCIDR: c.PodCIDR, ClusterCIDR: c.ClusterCIDR, ServiceCIDR: c.ServiceCIDR, Bridge: c.Bridge, Backend: backend})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// tableOf makes a table of so many services of so many endpoints each.
func tableOf(services, endpoints int) api.RouteTable {
	ip := func(base string, n int) string {
		b := netip.MustParseAddr(base).As4()
		b[2], b[3] = b[2]+byte(n>>8), b[3]+byte(n)
		return netip.AddrFrom4(b).String()
	}
	table := api.RouteTable{Revision: 1}
	for s := range services {
		route := api.Route{
			Service:   api.Ref{Kind: "Service", Namespace: "bench", Name: fmt.Sprintf("service-%05d", s)},
			ClusterIP: ip("10.96.0.1", s*6),
			Ports:     []api.RoutePort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80}},
		}
		for e := range endpoints {
			route.Endpoints = append(route.Endpoints, api.Endpoint{IP: ip("10.244.2.0", (s*endpoints+e)%60000), TargetPorts: []int32{8080}})
		}
		table.Routes = append(table.Routes, route)
	}
	return table
}

func BenchmarkApply(b *testing.B) {
	for _, backend := range []string{"nft", "legacy"} {
		for _, services := range []int{100, 1000, 10000} {
			b.Run(fmt.Sprintf("%s/full/%d", backend, services), func(b *testing.B) {
				table := tableOf(services, 10)
				for b.Loop() {
					b.StopTimer()
					r, ns := openRouter(b, backend), testnet.New(b)
					b.StartTimer()
					ns.Must(b, func() error { return r.Apply(context.Background(), table) })
				}
			})
			b.Run(fmt.Sprintf("%s/one/%d", backend, services), func(b *testing.B) {
				table := tableOf(services, 10)
				r, ns := openRouter(b, backend), testnet.New(b)
				ns.Must(b, func() error { return r.Apply(context.Background(), table) })
				endpoints := table.Routes[services/2].Endpoints
				i := 0
				for b.Loop() {
					i++
					table.Routes[services/2].Endpoints = endpoints[:5+i%2]
					ns.Must(b, func() error { return r.Apply(context.Background(), table) })
				}
			})
		}
	}
}
