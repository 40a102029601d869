package bus

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"headway.dev/headway/api"
	"headway.dev/headway/bus/internal/wire"
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

// SilenceBucket stores on without telling watches, as when live messages are lost.
func (c *Conn) SilenceBucket(ctx context.Context, bucket string) error {
	for _, config := range streams(1) {
		if config.Name == wire.Stream(bucket) {
			id, err := c.identify(ctx, config.Name)
			if err != nil {
				return err
			}
			config.Metadata[epochKey] = strconv.FormatUint(id.epoch, 10)
			config.RePublish = nil
			_, err = c.js.UpdateStream(ctx, config)
			return err
		}
	}
	return errNoStore
}

// SetBlobAge sets how long a blob stays that nobody wants.
func (c *Conn) SetBlobAge(d time.Duration) { c.blobAge = d }

// PruneBlob prunes one blob, and does something else between its look and its deletion.
func (c *Conn) PruneBlob(ctx context.Context, digest api.Digest, before time.Time, meanwhile func()) (bool, error) {
	stream, err := c.js.Stream(ctx, wire.Stream(wire.Blobs))
	if err != nil {
		return false, err
	}
	return c.pruneBlob(ctx, &lateStream{Stream: stream, meanwhile: sync.OnceFunc(meanwhile)}, digest, before)
}

type lateStream struct {
	jetstream.Stream
	meanwhile func()
}

func (s *lateStream) Purge(ctx context.Context, options ...jetstream.StreamPurgeOpt) error {
	s.meanwhile()
	return s.Stream.Purge(ctx, options...)
}
