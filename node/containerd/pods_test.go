package containerd

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
	"headway.dev/headway/node"
	"headway.dev/headway/node/conformance"
	"headway.dev/headway/node/logfile"
)

// TestPods plays the cases about whole pods on a real containerd.
func TestPods(t *testing.T) {
	widgets := newWidgets(t)
	h := newHost(t, func(o *Options) { o.Devices = widgets })
	for _, c := range slices.Concat(conformance.PodCases(), conformance.ImageCases(), conformance.ImageGCCases()) {
		t.Run(c.Name, func(t *testing.T) {
			c.Test(t, conformance.Machine{Image: h.image, SetDevices: widgets.set, AddImage: func(t testing.TB) string { return h.addImage(t, v1.Config{}) }, DropImage: h.dropImage, Freeze: h.freeze, Limit: h.limit, Config: node.Config{
				Devices: widgets,
				Runtime: h.Runtime, Images: h.Runtime, Logs: logfile.New(),
				Network: &pinned{t: t, sandboxes: map[string]node.Sandbox{}}, Router: noRouter{}, Prober: noProber{}, Volumes: noVolumes{},
			}})
		})
	}
}

// pinned is a network of sandboxes without a wire.
type pinned struct {
	t         *testing.T
	mu        sync.Mutex
	sandboxes map[string]node.Sandbox
}

func (n *pinned) Attach(_ context.Context, uid, _ string) (node.Sandbox, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s, found := n.sandboxes[uid]
	if !found {
		s = sandbox(n.t, uid)
		s.IP = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		n.sandboxes[uid] = s
	}
	return s, nil
}

func (n *pinned) Detach(_ context.Context, uid string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.sandboxes, uid)
	return nil
}

func (n *pinned) Sandboxes(context.Context) ([]node.Sandbox, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []node.Sandbox
	for _, s := range n.sandboxes {
		all = append(all, s)
	}
	return all, nil
}

func (n *pinned) SetPeers(context.Context, []api.NodeInfo) error { return nil }

type noRouter struct{}

func (noRouter) Apply(context.Context, api.RouteTable) error { return nil }

type noProber struct{}

func (noProber) Probe(context.Context, corev1.ProbeHandler, netip.Addr, []corev1.ContainerPort) error {
	return errors.New("there is no network")
}

// noVolumes has volumes for pods that have none.
type noVolumes struct{}

func (noVolumes) Prepare(context.Context, node.VolumeConfig) (map[string]string, error) {
	return nil, nil
}

func (noVolumes) Remove(context.Context, string) error { return nil }

func (noVolumes) Pods(context.Context) ([]string, error) { return nil, nil }
