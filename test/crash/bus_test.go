package crash_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"sync"

	"headway.dev/headway/api"
)

// A pipeBus is a daemon's side of a bus that is its standard input and output, and a directory of blobs.
type pipeBus struct {
	blobs string

	mu         sync.Mutex
	out        *json.Encoder
	changed    chan struct{} // closed and replaced with every assignment
	assignment *api.Assignment
}

func newPipeBus(blobs string) *pipeBus {
	return &pipeBus{blobs: blobs, out: json.NewEncoder(os.Stdout), changed: make(chan struct{})}
}

// say writes a line. Nobody reads it once the test is over, which ends the daemon.
func (b *pipeBus) say(r report) {
	b.mu.Lock()
	defer b.mu.Unlock()
	_ = b.out.Encode(r)
}

func (b *pipeBus) assign(a api.Assignment) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.assignment = &a
	close(b.changed)
	b.changed = make(chan struct{})
}

func (b *pipeBus) PutStatus(_ context.Context, status api.NodeStatus) error {
	b.say(report{Status: &status})
	return nil
}

func (b *pipeBus) Blob(_ context.Context, digest api.Digest) ([]byte, error) {
	return os.ReadFile(filepath.Join(b.blobs, string(digest)))
}

func (b *pipeBus) WatchAssignment(ctx context.Context, _ string, fn func(api.Assignment)) error {
	for {
		b.mu.Lock()
		changed, assignment := b.changed, b.assignment
		b.mu.Unlock()
		if assignment != nil {
			fn(*assignment)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

func (b *pipeBus) WatchRoutes(ctx context.Context, fn func(api.RouteTable)) error {
	fn(api.RouteTable{Revision: 1})
	<-ctx.Done()
	return ctx.Err()
}

func (b *pipeBus) WatchNodes(ctx context.Context, _ func([]api.NodeInfo)) error {
	<-ctx.Done()
	return ctx.Err()
}

func (b *pipeBus) WatchGrants(ctx context.Context, _ string, _ func(api.Grant)) error {
	<-ctx.Done()
	return ctx.Err()
}

func (b *pipeBus) PutNode(context.Context, api.NodeInfo) error   { return nil }
func (b *pipeBus) Beat(context.Context, api.Heartbeat) error     { return nil }
func (b *pipeBus) PutAck(context.Context, api.Ack) error         { return nil }
func (b *pipeBus) PublishEvent(context.Context, api.Event) error { return nil }
