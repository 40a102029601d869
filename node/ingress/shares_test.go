package ingress

import (
	"fmt"
	"math"
	"net/netip"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

// weighed makes a pool of endpoints with weights, as a route has them.
func weighed(sticky bool, weights ...int32) *pool {
	route := &api.Route{Ports: []api.RoutePort{{Protocol: corev1.ProtocolTCP, Port: 80}}}
	if sticky {
		route.AffinitySeconds = 60
	}
	for i, w := range weights {
		route.Endpoints = append(route.Endpoints, api.Endpoint{
			UID: fmt.Sprint("pod-", i), IP: netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}).String(), TargetPorts: []int32{8080}, Weight: w,
		})
	}
	to := target{port: 80}
	all, _ := pools(map[api.Ref]*api.Route{{}: route}, map[target]bool{to: true}, nil)
	return all[to]
}

// near asserts a number of hits among many tries, to five standard deviations.
func near(t *testing.T, what string, got, tries int, share float64) {
	t.Helper()
	n := float64(tries)
	if most := 5 * math.Sqrt(n*share*(1-share)); math.Abs(float64(got)-n*share) > most {
		t.Errorf("%s has %d of %d: want %.0f, give or take %.0f", what, got, tries, n*share, most)
	}
}

// TestRequestsGoByShares has a new version take a tenth of the requests, though it is a third of the endpoints and slow.
func TestRequestsGoByShares(t *testing.T) {
	const tries = 20_000
	p := weighed(false, 300_000, 1_350_000, 1_350_000, -1)
	if len(p.endpoints) != 3 {
		t.Fatalf("%d endpoints, want those with a part alone", len(p.endpoints))
	}
	fresh := p.endpoints[0]
	fresh.busy.Store(1000)
	got := map[*endpoint]int{}
	for range tries {
		got[p.pick("client", nil, time.Now())]++
	}
	near(t, "the new one", got[fresh], tries, 0.1)
	near(t, "an old one", got[p.endpoints[1]], tries, 0.45)

	// What is left shares what one that was tried would have had.
	clear(got)
	for range tries {
		got[p.pick("client", []*endpoint{p.endpoints[1]}, time.Now())]++
	}
	near(t, "the new one beside one", got[fresh], tries, 300.0/1650)
}

// TestClientsStayByShares has clients that stay with one endpoint go by the same shares, and only to the new version as its
// part grows.
func TestClientsStayByShares(t *testing.T) {
	const clients = 20_000
	before, after := weighed(true, 300_000, 1_350_000, 1_350_000), weighed(true, 1_500_000, 750_000, 750_000)
	fresh := map[*pool]int{}
	for i := range clients {
		client := fmt.Sprint("client-", i)
		was, is := before.pick(client, nil, time.Now()), after.pick(client, nil, time.Now())
		if was == before.endpoints[0] {
			fresh[before]++
		}
		if is == after.endpoints[0] {
			fresh[after]++
		} else if was.key != is.key {
			t.Fatalf("%s goes from %s to %s, though only the new one's part has grown", client, was.key.uid, is.key.uid)
		}
	}
	near(t, "the new one", fresh[before], clients, 0.1)
	near(t, "the new one later", fresh[after], clients, 0.5)
}
