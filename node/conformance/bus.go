package conformance

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"headway.dev/headway/api"
)

// A stageBus tells an agent what to run, and hears how that is.
type stageBus struct {
	mu         sync.Mutex
	changed    chan struct{} // closed and replaced with every change
	assignment api.Assignment
	blobs      map[api.Digest][]byte
	status     api.NodeStatus
	routes     api.RouteTable
	events     []api.Event
	acked      uint64 // the revision of the routes that the node has
}

func newStageBus() *stageBus {
	return &stageBus{changed: make(chan struct{}), blobs: map[api.Digest][]byte{}, assignment: api.Assignment{Node: nodeName, Term: 1}}
}

// assign makes the pods all that the node is to run.
func (b *stageBus) assign(pods []api.Placement) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.assignment.Sequence++
	b.assignment.Pods = slices.Clone(pods)
	close(b.changed)
	b.changed = make(chan struct{})
}

// isolate says what network policies let through.
func (b *stageBus) isolate(isolation *api.Isolation) {
	b.mu.Lock()
	b.assignment.Isolation = isolation
	pods := b.assignment.Pods
	b.mu.Unlock()
	b.assign(pods)
}

// drift says what the node is to do about drift.
func (b *stageBus) drift(policy api.DriftPolicy) {
	b.mu.Lock()
	b.assignment.Drift = policy
	pods := b.assignment.Pods
	b.mu.Unlock()
	b.assign(pods)
}

// route makes the table that of the node.
func (b *stageBus) route(table api.RouteTable) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.routes = table
	close(b.changed)
	b.changed = make(chan struct{})
}

// hasRoutes says whether the node has the newest routes.
func (b *stageBus) hasRoutes() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.acked == b.routes.Revision
}

// put stores a template, or what it is made with.
func (b *stageBus) put(value any) (api.Digest, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	digest := api.Digest(hex.EncodeToString(sum[:]))
	b.mu.Lock()
	defer b.mu.Unlock()
	b.blobs[digest] = data
	return digest, nil
}

// pressures are what the node runs short of, by its newest status.
func (b *stageBus) pressures() []api.Pressure {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.status.Pressures
}

// pod is the newest status of a pod.
func (b *stageBus) pod(uid string) (api.PodStatus, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.status.Pods {
		if p.Placement.UID == uid {
			return p, true
		}
	}
	return api.PodStatus{}, false
}

func (b *stageBus) PutStatus(_ context.Context, status api.NodeStatus) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.status = status
	return nil
}

func (b *stageBus) Blob(_ context.Context, digest api.Digest) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if data, found := b.blobs[digest]; found {
		return data, nil
	}
	return nil, fmt.Errorf("there is no blob %s", digest.Short())
}

func (b *stageBus) WatchAssignment(ctx context.Context, _ string, fn func(api.Assignment)) error {
	for {
		b.mu.Lock()
		changed, assignment := b.changed, b.assignment
		b.mu.Unlock()
		fn(assignment)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

func (b *stageBus) WatchRoutes(ctx context.Context, fn func(api.RouteTable)) error {
	for {
		b.mu.Lock()
		changed, table := b.changed, b.routes
		b.mu.Unlock()
		if table.Revision > 0 {
			fn(table)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

func (b *stageBus) PutAck(_ context.Context, ack api.Ack) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.acked = ack.Revision
	return nil
}

func (b *stageBus) WatchNodes(ctx context.Context, _ func([]api.NodeInfo)) error {
	<-ctx.Done()
	return ctx.Err()
}

func (b *stageBus) PutNode(context.Context, api.NodeInfo) error { return nil }
func (b *stageBus) WatchGrants(ctx context.Context, _ string, _ func(api.Grant)) error {
	<-ctx.Done()
	return ctx.Err()
}

func (b *stageBus) Beat(context.Context, api.Heartbeat) error { return nil }
func (b *stageBus) PublishEvent(_ context.Context, e api.Event) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = append(b.events, e)
	return nil
}

// told counts the events of a kind about an object.
func (b *stageBus) told(kind string, ref api.Ref) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, e := range b.events {
		if e.Kind == kind && e.Ref == ref {
			n++
		}
	}
	return n
}

// reasons are what the events of a kind say, a line each.
func (b *stageBus) reasons(kind string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var lines []string
	for _, e := range b.events {
		if e.Kind == kind {
			lines = append(lines, e.Reason)
		}
	}
	return strings.Join(lines, "\n")
}
