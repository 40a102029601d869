package bus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"headway.dev/headway/bus/internal/wire"
)

// put stores a value under a key and returns its sequence.
func (c *Conn) put(ctx context.Context, bucket, key string, v any, options ...jetstream.PublishOpt) (uint64, error) {
	header, data, err := encode(v)
	if err != nil {
		return 0, err
	}
	return c.publish(ctx, &nats.Msg{Subject: wire.Key(bucket, key), Header: header, Data: data}, options...)
}

// publish stores a message and waits until it is stored.
func (c *Conn) publish(ctx context.Context, m *nats.Msg, options ...jetstream.PublishOpt) (uint64, error) {
	if !c.nc.IsConnected() {
		return 0, fmt.Errorf("store %s: %w", m.Subject, ErrUnavailable)
	}
	if most := c.nc.MaxPayload(); int64(m.Size()) > most {
		return 0, fmt.Errorf("store %s: the message has %d bytes, and the bus takes %d: raise max_payload of the NATS server", m.Subject, m.Size(), most)
	}
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	ctx, deny := context.WithCancelCause(ctx)
	defer deny(nil)
	defer c.denials.expect(m.Subject, func() { deny(ErrDenied) })()
	ack, err := c.js.PublishMsg(ctx, m, append(options, jetstream.WithRetryAttempts(0))...)
	switch {
	case err == nil:
		return ack.Sequence, nil
	case errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, nats.ErrNoResponders):
		return 0, fmt.Errorf("store %s: %w", m.Subject, errNoStore)
	}
	return 0, fmt.Errorf("store %s: %w", m.Subject, unanswered(ctx, err))
}

// levels are what this connection has said of its own node. They are said again when the bus comes back, be it with
// its store or with an empty one.
type levels struct {
	mu   sync.Mutex
	said map[string]*level // by subject
}

// A level is one key that this connection writes.
type level struct {
	bucket, key string
	turn        chan struct{} // held while it is stored, so that an older value never follows a newer one
	value       any
}

func (l *levels) of(bucket, key string) *level {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.said == nil {
		l.said = map[string]*level{}
	}
	subject := wire.Key(bucket, key)
	if l.said[subject] == nil {
		l.said[subject] = &level{bucket: bucket, key: key, turn: make(chan struct{}, 1)}
	}
	return l.said[subject]
}

// say stores the value, and remembers it even when that fails.
func (c *Conn) say(ctx context.Context, bucket, key string, value any) error {
	l := c.levels.of(bucket, key)
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-l.turn }()
	l.value = value
	_, err := c.put(ctx, bucket, key, value)
	if err != nil && !errors.Is(err, ErrUnavailable) {
		// No connection will come to bring it: ask for another attempt.
		c.requestUpkeep()
	}
	return err
}

// putAgain stores all levels anew.
func (l *levels) putAgain(ctx context.Context, c *Conn) error {
	l.mu.Lock()
	said := slices.Collect(maps.Values(l.said))
	l.mu.Unlock()
	var failed []error
	for _, level := range said {
		failed = append(failed, level.putAgain(ctx, c))
	}
	return errors.Join(failed...)
}

func (l *level) putAgain(ctx context.Context, c *Conn) error {
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-l.turn }()
	if l.value == nil {
		return nil
	}
	_, err := c.put(ctx, l.bucket, l.key, l.value)
	return err
}
