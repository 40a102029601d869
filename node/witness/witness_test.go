package witness_test

import (
	"context"
	"net"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"headway.dev/headway/api"
	"headway.dev/headway/node/witness"
	"headway.dev/headway/seal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// freePort is one that nobody has on any of the loopback addresses used here.
func freePort(t *testing.T) uint16 {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Port()
}

// TestAsk asks nodes that have lost the leader, that hear it, that are away, and that answer with another's key.
func TestAsk(t *testing.T) {
	port := freePort(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{}, 4)
	node := func(address string, lost bool, served bool) (*witness.Witness, api.NodeInfo) {
		identity, err := seal.LoadIdentity(filepath.Join(t.TempDir(), "key"))
		if err != nil {
			t.Fatal(err)
		}
		w := witness.New(witness.Options{Address: netip.MustParseAddr(address), Port: port, Seal: seal.Seal, Open: identity.Open})
		if served {
			go func() { _ = w.Run(ctx, func() bool { return lost }); done <- struct{}{} }() // it ends with ctx
		}
		return w, api.NodeInfo{Name: address, Addresses: []string{address}, SealKey: identity.Recipient()}
	}
	asker, _ := node("127.0.0.1", false, false)
	_, lost := node("127.0.0.2", true, true)
	_, hears := node("127.0.0.3", false, true)
	_, away := node("127.0.0.4", true, false)
	_, other := node("127.0.0.5", true, true)
	_, silent := node("127.0.0.6", true, false)
	other.SealKey = silent.SealKey // whoever listens there is not the node that joined
	peers := []api.NodeInfo{lost, hears, away, other, {Name: "nameless"}}
	asking, stop := context.WithTimeout(ctx, 2*time.Second)
	defer stop()
	if got := asker.Ask(asking, peers, 5); got != 1 {
		t.Errorf("%d nodes have lost the leader, want 1", got)
	}
	began := time.Now()
	asking, stop = context.WithTimeout(ctx, time.Minute)
	defer stop()
	if got := asker.Ask(asking, peers, 1); got != 1 || time.Since(began) > 30*time.Second {
		t.Errorf("%d nodes have lost the leader after %s, want 1 as soon as it says so", got, time.Since(began))
	}
	cancel()
	for range 3 {
		<-done
	}
}
