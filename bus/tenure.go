package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"headway.dev/headway/api"
	"headway.dev/headway/bus/internal/wire"
)

// Answer answers a heartbeat. It is not stored: that it fails only says that there is no connection.
func (c *Conn) Answer(_ context.Context, grant api.Grant) error {
	if err := checkName("node", grant.Node); err != nil {
		return err
	}
	data, err := json.Marshal(grant)
	if err != nil {
		return fmt.Errorf("answer to a heartbeat: %w", err)
	}
	if err := c.nc.Publish(wire.Grant(grant.Node), data); err != nil {
		return fmt.Errorf("answer to a heartbeat: %w", unavailable(err))
	}
	return nil
}

// WatchGrants calls fn with each answer to the node's heartbeats, until ctx is done.
func (c *Conn) WatchGrants(ctx context.Context, node string, fn func(api.Grant)) error {
	if err := checkName("node", node); err != nil {
		return err
	}
	return watchUnstored(ctx, c, wire.Grant(node), "an answer to a heartbeat", func(g api.Grant) string { return wire.Grant(g.Node) }, fn)
}

// watchUnstored calls fn with what is said on a subject and not stored, until ctx is done. What cannot be read, or says to
// be of another subject than it came by, is reported and left out.
func watchUnstored[T any](ctx context.Context, c *Conn, subject, what string, of func(T) string, fn func(T)) error {
	sub, err := c.nc.SubscribeSync(subject)
	if err != nil {
		return fmt.Errorf("watch for %s: %w", what, unavailable(err))
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
			continue // some were dropped because fn was slow: later ones say the same
		}
		var value T
		if err := json.Unmarshal(m.Data, &value); err != nil || of(value) != m.Subject {
			c.log.Warn(what+" is left out: it cannot be read, or is of another node than it says", "subject", m.Subject, "error", err)
			continue
		}
		fn(value)
	}
}

// Held reports whether nobody else can have taken the lease yet.
func (l *Lease) Held() bool {
	until := l.sure.Load() // a write that is under way holds the lock
	return until != nil && time.Now().Before(*until)
}
