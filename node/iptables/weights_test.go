package iptables

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"headway.dev/headway/api"
)

// TestWeightsSum checks that what endpoints weigh adds up, and that some endpoint is always left.
func TestWeightsSum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := servicePort{protocol: "tcp", weights: map[netip.AddrPort]int64{}}
		for i := range rapid.IntRange(1, 20).Draw(t, "endpoints") {
			e := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 80)
			p.endpoints = append(p.endpoints, e)
			share := api.Endpoint{Weight: rapid.Int32Range(-1, 40_000_000).Draw(t, "weight")}.Share()
			p.weights[e] = int64(share)
		}
		taking, sum := p.weighed(p.endpoints)
		total := int64(0)
		for _, e := range taking {
			total += p.weight(e)
		}
		if len(taking) == 0 || total != sum {
			t.Fatalf("%d endpoints of a weight of %d together, said to be %d", len(taking), total, sum)
		}
	})
}
