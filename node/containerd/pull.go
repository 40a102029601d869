package containerd

import (
	"context"
	"net/http"
	"sync"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/remotes/docker/config"
)

// layersAtOnce is how many layers of an image are downloaded at the same time, as kubelet's containerd does by default.
const layersAtOnce = 3

// pull brings an image from its registry, or from a mirror that hosts.toml names, and unpacks it as it comes.
func (r *Runtime) pull(ctx context.Context, name string) error {
	connections := &transports{dial: r.options.Dial}
	defer connections.close()
	hosts := config.HostOptions{UpdateClient: connections.update}
	if r.options.CertsDir != "" {
		hosts.HostDir = config.HostDirFromRoot(r.options.CertsDir)
	}
	resolver := docker.NewResolver(docker.ResolverOptions{Hosts: config.ConfigureHosts(ctx, hosts)})
	r.options.Logger.InfoContext(ctx, "pulling", "image", name)
	_, err := r.client.Pull(ctx, name,
		client.WithResolver(resolver), client.WithPullUnpack, client.WithPullSnapshotter(r.options.Snapshotter),
		client.WithMaxConcurrentDownloads(layersAtOnce))
	return err
}

// transports are the connections of one pull; they end with it.
type transports struct {
	dial dialer
	mu   sync.Mutex
	all  []*http.Transport
}

func (t *transports) update(c *http.Client) error {
	transport, ok := c.Transport.(*http.Transport)
	if !ok {
		return nil
	}
	if t.dial != nil {
		transport.DialContext = t.dial
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all = append(t.all, transport)
	return nil
}

func (t *transports) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, transport := range t.all {
		transport.CloseIdleConnections()
	}
}
