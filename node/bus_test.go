package node_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"sync"
	"time"

	"headway.dev/headway/api"
)

// A fakeBus delivers levels, and can be away or lose its store.
type fakeBus struct {
	mu         sync.Mutex
	changed    chan struct{} // closed and replaced with every change
	away       bool
	assignment *api.Assignment
	table      *api.RouteTable
	nodes      []api.NodeInfo
	blobs      map[api.Digest][]byte
	putTime    time.Duration // that a status takes to be stored

	joined   []api.NodeInfo
	beats    []api.Heartbeat
	granted  func(api.Grant) // the node's watch of answers; nil before there is one
	leader   *api.Grant      // how each beat is answered; nil is not at all
	statuses []api.NodeStatus
	acks     []uint64
	events   []api.Event
}

func newFakeBus() *fakeBus {
	return &fakeBus{changed: make(chan struct{}), blobs: map[api.Digest][]byte{}}
}

var errAway = errors.New("the bus is away")

// change changes what the bus holds, and wakes the watches.
func (b *fakeBus) change(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
	close(b.changed)
	b.changed = make(chan struct{})
}

// note is a write by the node.
func (b *fakeBus) note(f func()) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.away {
		return errAway
	}
	f()
	return nil
}

// put stores a blob and gives its digest.
func (b *fakeBus) put(data []byte) api.Digest {
	sum := sha256.Sum256(data)
	digest := api.Digest(hex.EncodeToString(sum[:]))
	b.change(func() { b.blobs[digest] = data })
	return digest
}

// lastStatus is the newest that the node has put; empty before the first.
func (b *fakeBus) lastStatus() api.NodeStatus {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.statuses) == 0 {
		return api.NodeStatus{}
	}
	return b.statuses[len(b.statuses)-1]
}

func (b *fakeBus) PutNode(_ context.Context, info api.NodeInfo) error {
	return b.note(func() { b.joined = append(b.joined, info) })
}

func (b *fakeBus) Beat(_ context.Context, beat api.Heartbeat) error {
	var answer func()
	err := b.note(func() {
		b.beats = append(b.beats, beat)
		if granted := b.granted; b.leader != nil && granted != nil {
			g := *b.leader
			g.Node, g.Beat = beat.Node, beat.ID
			answer = func() { granted(g) }
		}
	})
	if answer != nil {
		answer()
	}
	return err
}

func (b *fakeBus) WatchGrants(ctx context.Context, _ string, fn func(api.Grant)) error {
	set := func(fn func(api.Grant)) { // no change that would have the other watches deliver again
		b.mu.Lock()
		defer b.mu.Unlock()
		b.granted = fn
	}
	set(fn)
	<-ctx.Done()
	set(nil)
	return ctx.Err()
}

func (b *fakeBus) PutStatus(ctx context.Context, status api.NodeStatus) error {
	if b.putTime > 0 {
		select {
		case <-time.After(b.putTime):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return b.note(func() { b.statuses = append(b.statuses, status) })
}

func (b *fakeBus) PutAck(_ context.Context, ack api.Ack) error {
	return b.note(func() { b.acks = append(b.acks, ack.Revision) })
}

func (b *fakeBus) PublishEvent(_ context.Context, event api.Event) error {
	return b.note(func() { b.events = append(b.events, event) })
}

func (b *fakeBus) Blob(_ context.Context, digest api.Digest) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if data, found := b.blobs[digest]; found && !b.away {
		return slices.Clone(data), nil
	}
	return nil, errAway
}

// watch calls deliver at every change, outside the lock, with what get gives.
func watch[T any](ctx context.Context, b *fakeBus, get func() (T, bool), deliver func(T)) error {
	for {
		b.mu.Lock()
		changed := b.changed
		value, there := get()
		there = there && !b.away
		b.mu.Unlock()
		if there {
			deliver(value)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

func (b *fakeBus) WatchAssignment(ctx context.Context, _ string, fn func(api.Assignment)) error {
	return watch(ctx, b, func() (a api.Assignment, there bool) {
		if b.assignment == nil {
			return a, false
		}
		return *b.assignment, true
	}, fn)
}

func (b *fakeBus) WatchRoutes(ctx context.Context, fn func(api.RouteTable)) error {
	return watch(ctx, b, func() (t api.RouteTable, there bool) {
		if b.table == nil {
			return t, false
		}
		return *b.table, true
	}, fn)
}

func (b *fakeBus) WatchNodes(ctx context.Context, fn func([]api.NodeInfo)) error {
	return watch(ctx, b, func() ([]api.NodeInfo, bool) { return slices.Clone(b.nodes), true }, fn)
}
