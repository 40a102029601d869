package containerd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"headway.dev/headway/api"
)

// A progress counts the bytes of an image's layers as they come.
type progress struct {
	mu     sync.Mutex
	layers map[digest.Digest]*layerProgress
}

type layerProgress struct {
	size, got int64
	complete  bool
}

func newProgress() *progress { return &progress{layers: map[digest.Digest]*layerProgress{}} }

func (p *progress) now() api.PullProgress {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all api.PullProgress
	for _, l := range p.layers {
		all.Total += l.size
		all.Layers++
		if l.complete {
			all.Done += l.size
			all.LayersDone++
		} else {
			all.Done += min(l.got, l.size)
		}
	}
	return all
}

func (p *progress) change(d digest.Digest, change func(*layerProgress)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l := p.layers[d]; l != nil {
		change(l)
	}
}

const (
	// maxMetadata bounds a manifest and a configuration: both are read into memory.
	maxMetadata = 4 << 20
	// maxLayers bounds the layers of an image: more cannot be mounted.
	maxLayers = 127
)

// watch wraps what handles the parts of an image: it learns of the layers, and refuses metadata that is out of bounds
// before it is fetched. The first part is what the image's name stands for.
func (p *progress) watch(next images.Handler) images.Handler {
	var begun atomic.Bool
	return images.HandlerFunc(func(ctx context.Context, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		if !begun.Swap(true) && !images.IsManifestType(d.MediaType) && !images.IsIndexType(d.MediaType) {
			return nil, fmt.Errorf("what the registry has under that name is no image: its media type is %s", d.MediaType)
		}
		if !images.IsLayerType(d.MediaType) && d.Size > maxMetadata {
			return nil, fmt.Errorf("the image's metadata (%s) has %d bytes: at most %d are taken", d.MediaType, d.Size, maxMetadata)
		}
		children, err := next.Handle(ctx, d)
		if err != nil {
			return nil, err
		}
		p.change(d.Digest, func(l *layerProgress) { l.complete = true })
		return children, p.learn(children)
	})
}

func (p *progress) learn(parts []ocispec.Descriptor) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range parts {
		if images.IsLayerType(d.MediaType) && p.layers[d.Digest] == nil {
			p.layers[d.Digest] = &layerProgress{size: d.Size}
		}
	}
	if len(p.layers) > maxLayers {
		return fmt.Errorf("the image has %d layers: at most %d can be mounted", len(p.layers), maxLayers)
	}
	return nil
}

const (
	// defaultPullStall is how long a registry may send nothing.
	defaultPullStall = time.Minute
	// answerStall is how long it may take to begin an answer, if that is less.
	answerStall = 30 * time.Second
)

// A stalled error says that a registry has sent nothing for too long.
type stalled struct {
	host string
	wait time.Duration
}

func (e *stalled) Error() string {
	return fmt.Sprintf("registry %s has sent nothing for %s: it is overloaded, or something between here and there drops packets", e.host, e.wait)
}

// A meteredTransport counts what comes, and ends requests to which nothing does.
type meteredTransport struct {
	next     http.RoundTripper
	progress *progress
	stall    time.Duration
}

func (t *meteredTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	late := &stalled{r.URL.Host, min(t.stall, answerStall)}
	timer := time.AfterFunc(late.wait, func() { cancel(late) })
	response, err := t.next.RoundTrip(r.WithContext(ctx))
	timer.Stop()
	if err != nil {
		defer cancel(nil)
		if errors.Is(context.Cause(ctx), late) {
			err = late
		}
		return nil, err
	}
	silent := &stalled{r.URL.Host, t.stall}
	timer = time.AfterFunc(silent.wait, func() { cancel(silent) })
	timer.Stop() // until it is read
	response.Body = &meteredBody{ReadCloser: response.Body, ctx: ctx, cancel: cancel, timer: timer, why: silent, of: t, layer: layerOf(r)}
	return response, nil
}

// layerOf is the digest that a request asks for, also where a registry has sent it elsewhere.
func layerOf(r *http.Request) digest.Digest {
	for r.Response != nil && r.Response.Request != nil {
		r = r.Response.Request
	}
	return digest.Digest(path.Base(r.URL.Path))
}

// A meteredBody waits for each part of a response for a bounded time. Who reads it may take as long as it likes.
type meteredBody struct {
	io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	why    *stalled
	of     *meteredTransport
	layer  digest.Digest
}

func (b *meteredBody) Read(p []byte) (int, error) {
	b.timer.Reset(b.of.stall)
	n, err := b.ReadCloser.Read(p)
	b.timer.Stop()
	b.of.progress.change(b.layer, func(l *layerProgress) { l.got += int64(n) })
	if err != nil && errors.Is(context.Cause(b.ctx), b.why) {
		err = b.why
	}
	return n, err
}

func (b *meteredBody) Close() error {
	b.timer.Stop()
	defer b.cancel(nil)
	return b.ReadCloser.Close()
}
