package bus

import (
	"context"
	"time"

	"headway.dev/headway/api"
	"headway.dev/headway/bus/internal/wire"
)

// Answer answers a heartbeat. It is not stored: that it fails only says that there is no connection.
func (c *Conn) Answer(_ context.Context, grant api.Grant) error {
	if err := checkName("node", grant.Node); err != nil {
		return err
	}
	return c.publishUnstored(wire.Grant(grant.Node), "answer to a heartbeat", grant)
}

// WatchGrants calls fn with each answer to the node's heartbeats, until ctx is done.
func (c *Conn) WatchGrants(ctx context.Context, node string, fn func(api.Grant)) error {
	if err := checkName("node", node); err != nil {
		return err
	}
	return watchUnstored(ctx, c, wire.Grant(node), "an answer to a heartbeat", func(g api.Grant) string { return wire.Grant(g.Node) }, fn)
}

// Held reports whether nobody else can have taken the lease yet.
func (l *Lease) Held() bool {
	until := l.sure.Load() // a write that is under way holds the lock
	return until != nil && time.Now().Before(*until)
}
