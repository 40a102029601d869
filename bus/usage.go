package bus

import (
	"context"

	"headway.dev/headway/api"
	"headway.dev/headway/bus/internal/wire"
)

// PutUsage says what the node's containers use. Like a heartbeat it is not stored, and nothing answers: the next one says
// more than the one that was lost.
func (c *Conn) PutUsage(_ context.Context, usage api.NodeUsage) error {
	if err := checkName("node", usage.Node); err != nil {
		return err
	}
	return c.publishUnstored(wire.Usage(usage.Node), "usage", usage)
}

// WatchUsage calls fn with what nodes say of their containers, as it comes, until ctx is done. What is said while fn is slow
// or the connection is away may be lost.
func (c *Conn) WatchUsage(ctx context.Context, fn func(api.NodeUsage)) error {
	return watchUnstored(ctx, c, wire.Usage(wire.Any), "the usage of a node", func(u api.NodeUsage) string { return wire.Usage(u.Node) }, fn)
}
