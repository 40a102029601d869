package bus

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// NATS gives tests the connection, to do with it what others do.
func (c *Conn) NATS() *nats.Conn { return c.nc }

// SetRecheck has watches ask more often whether they missed anything.
func (c *Conn) SetRecheck(d time.Duration) { c.recheck = d }

// DeleteStreams deletes every stream on the server.
func (c *Conn) DeleteStreams(ctx context.Context) error {
	for _, config := range streams(1) {
		if err := c.js.DeleteStream(ctx, config.Name); err != nil {
			return err
		}
	}
	return nil
}

// PurgeSubject drops messages of a stream, as a damaged store does.
func (c *Conn) PurgeSubject(ctx context.Context, stream, subject string) error {
	s, err := c.js.Stream(ctx, stream)
	if err != nil {
		return err
	}
	return s.Purge(ctx, jetstream.WithPurgeSubject(subject))
}
