package containerd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/remotes/docker/config"
	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"
	"github.com/containerd/platforms"
)

// layersAtOnce is how many layers of an image are downloaded at the same time, as kubelet's containerd does by default.
const layersAtOnce = 3

// pull brings an image from its registry, or from a mirror that hosts.toml names, and unpacks it as it comes. It shows
// the credentials one after the other until one is taken; without any it asks as nobody.
func (r *Runtime) pull(ctx context.Context, name string, credentials []credential, p *progress) error {
	if err := r.pulls.take(ctx); err != nil {
		return err
	}
	defer r.pulls.giveBack()
	r.options.Logger.InfoContext(ctx, "pulling", "image", name)
	if len(credentials) == 0 {
		credentials = []credential{{}}
	}
	before, err := r.client.ImageService().Get(ctx, name)
	if ignoreNotFound(err) != nil {
		return err
	}
	for _, c := range credentials {
		if err = r.pullAs(ctx, name, c, pins(before.Labels), p); err == nil || !isDenied(err) {
			break
		}
	}
	if err != nil {
		return explainPull(err)
	}
	return r.grant(ctx, name, before.Target.Digest, rightLabels(before)...)
}

// isDenied reports whether another credential might be taken.
func isDenied(err error) bool {
	var status remoteerrors.ErrUnexpectedStatus
	return errors.Is(err, docker.ErrInvalidAuthorization) ||
		errors.As(err, &status) && (status.StatusCode == http.StatusUnauthorized || status.StatusCode == http.StatusForbidden)
}

// explainPull says what a person can do.
func explainPull(err error) error {
	var (
		stall  *stalled
		syntax *json.SyntaxError
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &stall):
		return stall
	case errors.As(err, &syntax):
		return fmt.Errorf("what the registry sent as its manifest is not JSON; something between here and there may have answered instead: %w", err)
	case strings.Contains(err.Error(), "unexpected commit digest"):
		return fmt.Errorf("what the registry sent is not what its digest says: it was damaged or changed: %w", err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the registry's answer broke off: %w", err)
	case isDenied(err):
		return fmt.Errorf("the registry does not let this node have it: it needs a secret in imagePullSecrets, or the node's own credentials: %w", err)
	case strings.Contains(err.Error(), "no match for platform"):
		return fmt.Errorf("it has no variant for this machine, which is %s: %w", platforms.DefaultString(), err)
	}
	return err
}

// pullAs pulls with one credential. The image has the labels besides.
func (r *Runtime) pullAs(ctx context.Context, name string, c credential, besides map[string]string, p *progress) error {
	connections := &transports{dial: r.options.Dial, stall: r.options.PullStall, progress: p}
	defer connections.close()
	var shown atomic.Bool
	hosts := config.HostOptions{UpdateClient: connections.update, Credentials: func(host string) (string, string, error) {
		if c.pattern != "" && c.matches(host) {
			shown.Store(true)
			return c.user, c.secret, nil
		}
		return "", "", nil
	}}
	if r.options.CertsDir != "" {
		hosts.HostDir = config.HostDirFromRoot(r.options.CertsDir)
	}
	resolver := docker.NewResolver(docker.ResolverOptions{Hosts: config.ConfigureHosts(ctx, hosts)})
	err := r.leased(ctx, func(ctx context.Context) error {
		_, err := r.client.Pull(ctx, name, client.WithPullLabels(joined(pulledLabels(c), besides)),
			client.WithResolver(resolver), client.WithPullUnpack, client.WithPullSnapshotter(r.options.Snapshotter),
			client.WithImageHandlerWrapper(p.watch), client.WithMaxConcurrentDownloads(layersAtOnce))
		return err
	})
	if err != nil || !c.own || shown.Load() {
		return err
	}
	// The registry gives it to everybody.
	return r.relabel(ctx, name, joined(pulledLabels(credential{}), besides))
}

func joined(labels, more map[string]string) map[string]string {
	maps.Copy(labels, more)
	return labels
}

// transports are the connections of one pull; they end with it.
type transports struct {
	dial     dialer
	stall    time.Duration
	progress *progress
	mu       sync.Mutex
	all      []*http.Transport
}

func (t *transports) update(c *http.Client) error {
	transport, ok := c.Transport.(*http.Transport)
	if !ok {
		return nil
	}
	if t.dial != nil {
		transport.DialContext = t.dial
	}
	if t.progress != nil {
		transport.ResponseHeaderTimeout = 0 // that it says nothing of its own
		c.Transport = &meteredTransport{next: transport, progress: t.progress, stall: t.stall}
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
