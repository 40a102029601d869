package main

import (
	"context"
	"fmt"
	"time"

	"headway.dev/headway/api"
	"headway.dev/headway/bus"
	"headway.dev/headway/controller"
)

// controllerBus is the bus as the controller sees it.
type controllerBus struct{ *bus.Conn }

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
