package bus

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"

	"headway.dev/headway/api"
	"headway.dev/headway/bus/internal/wire"
)

// PutUsage says what the node's containers use. Like a heartbeat it is not stored, and nothing answers: the next one says
// more than the one that was lost.
func (c *Conn) PutUsage(_ context.Context, usage api.NodeUsage) error {
	if err := checkName("node", usage.Node); err != nil {
		return err
	}
	header, data, err := encode(usage)
	if err != nil {
		return fmt.Errorf("usage: %w", err)
	}
	if err := c.nc.PublishMsg(&nats.Msg{Subject: wire.Usage(usage.Node), Header: header, Data: data}); err != nil {
		return fmt.Errorf("usage: %w", unavailable(err))
	}
	return nil
}

// WatchUsage calls fn with what nodes say of their containers, as it comes, until ctx is done. What is said while fn is slow
// or the connection is away may be lost.
func (c *Conn) WatchUsage(ctx context.Context, fn func(api.NodeUsage)) error {
	sub, err := c.nc.SubscribeSync(wire.Usage(wire.Any))
	if err != nil {
		return fmt.Errorf("watch usage: %w", unavailable(err))
	}
	defer func() { _ = sub.Unsubscribe() }() // it fails only when the connection has ended
	for {
		m, err := sub.NextMsgWithContext(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && c.ctx.Err() != nil:
			return ErrUnavailable
		case err != nil:
			continue // messages were dropped because fn was slow: later ones say more
		}
		var usage api.NodeUsage
		if err := decode(m.Header, m.Data, &usage); err != nil || wire.Usage(usage.Node) != m.Subject {
			c.log.Warn("the usage of a node cannot be read, or is of another node than it says: it is left out", "subject", m.Subject, "error", err)
			continue
		}
		fn(usage)
	}
}
