package node

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"headway.dev/headway/api"
)

// blobs brings immutable content from the disk, else from the bus, once for all pods that share it.
type blobs struct {
	disk disk
	bus  Bus // nil for an agent that only cleans up

	mu        sync.Mutex
	fetching  map[api.Digest]chan struct{} // closed when the fetch ends
	templates map[api.Digest]*api.PodTemplate
}

func newBlobs(d disk, bus Bus) *blobs {
	return &blobs{disk: d, bus: bus, fetching: map[api.Digest]chan struct{}{}, templates: map[api.Digest]*api.PodTemplate{}}
}

// known is the pod template of that digest, if it has been asked for before; else nil. Nobody changes it.
func (b *blobs) known(digest api.Digest) *api.PodTemplate {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.templates[digest]
}

// template gives the pod template of that digest. It is shared: nobody changes it.
func (b *blobs) template(ctx context.Context, digest api.Digest) (*api.PodTemplate, error) {
	t := b.known(digest)
	if t != nil {
		return t, nil
	}
	data, err := b.get(ctx, digest)
	if err != nil {
		return nil, fmt.Errorf("pod template %s: %w", digest.Short(), err)
	}
	t = new(api.PodTemplate)
	if err := json.Unmarshal(data, t); err != nil {
		return nil, fmt.Errorf("pod template %s: %w", digest.Short(), err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.templates[digest] = t
	return t, nil
}

// configs gives config maps by name.
func (b *blobs) configs(ctx context.Context, digests map[string]api.Digest) (map[string]api.ConfigData, error) {
	all := map[string]api.ConfigData{}
	for name, digest := range digests {
		data, err := b.get(ctx, digest)
		if err != nil {
			return nil, fmt.Errorf("config map %s (%s): %w", name, digest.Short(), err)
		}
		var config api.ConfigData
		if err := json.Unmarshal(data, &config); err != nil {
			return nil, fmt.Errorf("config map %s (%s): %w", name, digest.Short(), err)
		}
		all[name] = config
	}
	return all, nil
}

// get gives the content of a blob and keeps it on disk. Of several that ask at once, one fetches.
func (b *blobs) get(ctx context.Context, digest api.Digest) ([]byte, error) {
	if !validName(string(digest)) {
		return nil, fmt.Errorf("%q is not a digest", digest)
	}
	for {
		b.mu.Lock()
		busy := b.fetching[digest]
		if busy == nil {
			done := make(chan struct{})
			b.fetching[digest] = done
			b.mu.Unlock()
			data, err := b.fetch(ctx, digest)
			b.mu.Lock()
			delete(b.fetching, digest)
			b.mu.Unlock()
			close(done)
			return data, err
		}
		b.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (b *blobs) fetch(ctx context.Context, digest api.Digest) ([]byte, error) {
	if data, err := b.disk.blob(digest); err == nil && digestOf(data) == digest {
		return data, nil
	}
	if b.bus == nil {
		return nil, errors.New("it is not on disk")
	}
	data, err := b.bus.Blob(ctx, digest)
	if err != nil {
		return nil, err
	}
	if got := digestOf(data); got != digest {
		return nil, fmt.Errorf("the bus gave content of digest %s", got.Short())
	}
	return data, b.disk.saveBlob(digest, data)
}

// prune forgets all content but what is wanted.
func (b *blobs) prune(wanted map[api.Digest]bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for digest := range b.templates {
		if !wanted[digest] {
			delete(b.templates, digest)
		}
	}
	return b.disk.keepBlobs(wanted)
}

// digestOf is the digest of content.
func digestOf(data []byte) api.Digest {
	sum := sha256.Sum256(data)
	return api.Digest(hex.EncodeToString(sum[:]))
}
