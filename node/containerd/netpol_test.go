package containerd

import (
	"context"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"headway.dev/headway/api"
	"headway.dev/headway/internal/testnet"
	"headway.dev/headway/node"
	"headway.dev/headway/node/conformance"
	"headway.dev/headway/node/iptables"
	"headway.dev/headway/node/logfile"
	"headway.dev/headway/node/network"
)

// TestNetworkPolicies plays the cases about what packets pass, in a network namespace with a network and rules like a node's.
func TestNetworkPolicies(t *testing.T) {
	h := newHost(t)
	for _, c := range conformance.NetworkPolicyCases() {
		t.Run(c.Name, func(t *testing.T) {
			w := newWire(t)
			c.Test(t, conformance.Machine{Image: h.image, Reaches: w.reaches, Config: node.Config{
				Runtime: h.Runtime, Images: h.Runtime, Logs: logfile.New(),
				Network: w.network, Router: w, Prober: noProber{}, Volumes: noVolumes{},
			}})
		})
	}
}

// A wire is a node's network, in a namespace of its own.
type wire struct {
	ns      *testnet.Namespace
	network *network.Network
	router  *iptables.Router
}

func newWire(t *testing.T) *wire {
	t.Helper()
	w := &wire{ns: testnet.New(t)}
	pods, cluster, services := netip.MustParsePrefix("10.244.7.0/24"), netip.MustParsePrefix("10.244.0.0/16"), netip.MustParsePrefix("10.96.0.0/16")
	dir := t.TempDir()
	w.ns.Must(t, func() (err error) {
		w.network, err = network.Open(network.Options{
			Node: "n7", PodCIDR: pods, ClusterCIDR: cluster, ServiceCIDR: services,
			Dir: filepath.Join(dir, "ns"), StateDir: filepath.Join(dir, "addresses"),
		})
		return err
	})
	t.Cleanup(func() {
		if err := w.network.Cleanup(context.Background()); err != nil {
			t.Errorf("clean up: %v", err)
		}
		w.network.Close()
	})
	var err error
	if w.router, err = iptables.Open(iptables.Options{Node: "n7", PodCIDR: pods, ClusterCIDR: cluster, ServiceCIDR: services, Bridge: w.network.Bridge()}); err != nil {
		t.Fatal(err)
	}
	return w
}

// Apply programs the namespace's kernel with routes.
func (w *wire) Apply(ctx context.Context, table api.RouteTable) error {
	return w.ns.Do(func() error { return w.router.Apply(ctx, table) })
}

// Isolate has it filter.
func (w *wire) Isolate(ctx context.Context, pods []node.IsolatedPod) error {
	return w.ns.Do(func() error { return w.router.Isolate(ctx, pods) })
}

// reaches listens in the one pod, and calls from the other.
func (w *wire) reaches(t testing.TB, from, to api.PodStatus, port uint16) bool {
	t.Helper()
	address := netip.AddrPortFrom(netip.MustParseAddr(to.IP), port).String()
	listener := w.of(t, to).Listen(t, address)
	defer listener.Close()
	conn, err := w.of(t, from).Dial("tcp4", address, 5*time.Second)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// of is the namespace of a pod.
func (w *wire) of(t testing.TB, p api.PodStatus) *testnet.Namespace {
	t.Helper()
	s, err := w.network.Attach(t.Context(), p.Placement.UID, p.Placement.Pod.Name) // it is there already
	if err != nil {
		t.Fatal(err)
	}
	return testnet.Open(t, s.NetNS)
}
