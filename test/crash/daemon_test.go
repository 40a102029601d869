package crash_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"headway.dev/headway/api"
	"headway.dev/headway/node"
	"headway.dev/headway/node/containerd"
	"headway.dev/headway/node/iptables"
	"headway.dev/headway/node/logfile"
	"headway.dev/headway/node/network"
	"headway.dev/headway/node/probe"
	"headway.dev/headway/node/volume"
)

// orderVariable has the test binary run a daemon, to be killed.
const orderVariable = "HEADWAY_TEST_DAEMON"

// nodeName is the name of the only node.
const nodeName = "n1"

// An order is what a daemon is started with. It stays the same over all restarts, as a service's flags do.
type order struct {
	Dir, RunDir, CertsDir string
	Blobs                 string // directory of the blobs, by their digests
	Address, Namespace    string // of containerd
	CgroupRoot            string
}

func (o order) ranges() (pods, cluster, services netip.Prefix) {
	return netip.MustParsePrefix("10.244.1.0/24"), netip.MustParsePrefix("10.244.0.0/16"), netip.MustParsePrefix("10.96.0.0/16")
}

func (o order) containerd() containerd.Options {
	return containerd.Options{
		Address: o.Address, Namespace: o.Namespace, CertsDir: o.CertsDir, CgroupRoot: o.CgroupRoot,
		SealedDir: filepath.Join(o.RunDir, "sealed"),
	}
}

// A word is a line of a daemon's input.
type word struct {
	Assignment *api.Assignment `json:"assignment,omitempty"`
	// Failpoint is where the daemon dies next.
	Failpoint *failpoint `json:"failpoint,omitempty"`
}

// A report is a line of a daemon's output.
type report struct {
	Status  *api.NodeStatus `json:"status,omitempty"`
	Reached string          `json:"reached,omitempty"` // a call to the machine
}

// TestDaemon is the process of a daemon: the agent with all that it has on a real machine, but for the bus, whose part its
// standard input and output play. It ends with its input.
func TestDaemon(t *testing.T) {
	text := os.Getenv(orderVariable)
	if text == "" {
		t.Skip("is run by the tests of crashes")
	}
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	bus := newPipeBus(o.Blobs)
	gate := &gate{said: bus.say}
	go func() {
		defer cancel()
		bus.listen(gate)
	}()
	if err := o.run(ctx, bus, gate); err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

// run wires a daemon as "headway node" does, with a gate before the machine.
func (o order) run(ctx context.Context, bus *pipeBus, g *gate) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	pods, cluster, services := o.ranges()
	if err := volume.MountMemory(o.RunDir); err != nil {
		return err
	}
	options := o.containerd()
	options.Logger = log
	runtime, err := containerd.Open(ctx, options)
	if err != nil {
		return err
	}
	defer runtime.Close()
	net, err := network.Open(network.Options{
		Node: nodeName, PodCIDR: pods, ClusterCIDR: cluster, ServiceCIDR: services,
		Dir: filepath.Join(o.RunDir, "ns"), StateDir: filepath.Join(o.RunDir, "addresses"),
	})
	if err != nil {
		return err
	}
	defer net.Close()
	router, err := iptables.Open(iptables.Options{
		Node: nodeName, PodCIDR: pods, ClusterCIDR: cluster, ServiceCIDR: services, Bridge: net.Bridge(), Logger: log,
	})
	if err != nil {
		return err
	}
	volumes, err := volume.Open(filepath.Join(o.Dir, "volumes"), filepath.Join(o.RunDir, "volumes"))
	if err != nil {
		return err
	}
	agent, err := node.New(node.Config{
		Info: api.NodeInfo{Name: nodeName}, Dir: o.Dir, RunDir: o.RunDir, Bus: bus,
		Runtime: runtime, Images: runtime, Logs: logfile.New(), Logger: log,
		Network: gatedNetwork{net, g}, Volumes: gatedVolumes{volumes, g}, Router: gatedRouter{router, g}, Prober: gatedProber{probe.New(), g},
		Restart: node.Restart{First: 200 * time.Millisecond, Most: 400 * time.Millisecond},
		HostIP:  "127.0.0.1", Nameserver: net.Gateway().String(), Domain: "cluster.local",
	})
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return runtime.Run(ctx) })
	group.Go(func() error { return agent.Run(ctx) })
	return group.Wait()
}

// listen obeys what the test says until it says no more.
func (b *pipeBus) listen(g *gate) {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var w word
		if err := json.Unmarshal(lines.Bytes(), &w); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return
		}
		if w.Failpoint != nil {
			g.arm(*w.Failpoint)
		}
		if w.Assignment != nil {
			b.assign(*w.Assignment)
		}
	}
}
