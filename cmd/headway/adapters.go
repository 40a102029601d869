package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"headway.dev/headway/api"
	"headway.dev/headway/bus"
	"headway.dev/headway/controller"
	"headway.dev/headway/sync/remote"
	"headway.dev/headway/sync/revert"
)

// A gitReverter takes back commits in the repository that the control plane follows.
type gitReverter struct {
	url, branch string
	author      revert.Person
}

func (g gitReverter) Undo(ctx context.Context, commit, message string) (api.Revision, error) {
	made, err := revert.Undo(ctx, revert.Options{
		URL: g.url, Ref: g.branch, Author: g.author, Time: time.Now(), Message: message,
		Proposal: "headway/revert-" + api.ShortCommit(commit),
	}, commit)
	for _, final := range []error{revert.ErrConflict, revert.ErrNothing, revert.ErrDirty, remote.ErrRejected} {
		if errors.Is(err, final) {
			return made, fmt.Errorf("%w: %w", controller.ErrNotUndone, err)
		}
	}
	return made, err
}

// controllerBus is the bus as the controller sees it.
type controllerBus struct{ *bus.Conn }

var (
	_ controller.BlobPruner   = controllerBus{}
	_ controller.UsageWatcher = controllerBus{}
)

func (b controllerBus) Lead(ctx context.Context, id string, ttl time.Duration, lead func(context.Context, controller.Lease) error) error {
	return b.Conn.Lead(ctx, id, ttl, func(ctx context.Context, l *bus.Lease) error { return lead(ctx, l) })
}

func (b controllerBus) State(ctx context.Context) (controller.State, error) {
	s, err := b.Conn.State(ctx)
	return controller.State(s), err
}

func (b controllerBus) Objects(ctx context.Context, digest api.Digest) ([]api.Object, error) {
	data, err := b.Blob(ctx, digest)
	if err != nil {
		return nil, fmt.Errorf("fetch the objects in force: %w", err)
	}
	return api.DecodeObjects(data)
}

func (b controllerBus) Template(ctx context.Context, digest api.Digest) (*api.PodTemplate, error) {
	data, err := b.Blob(ctx, digest)
	if err != nil {
		return nil, err
	}
	return api.DecodeTemplate(data)
}
