package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go/jetstream"

	"headway.dev/headway/bus/internal/wire"
)

// ErrOverwritten is the error of a leader that writes over what it has not read: somebody else has written since, or the
// store was lost. Its view of the fleet is not what the bus holds; it has to read that again.
var ErrOverwritten error = overwrittenError{}

type overwrittenError struct{}

func (overwrittenError) Error() string {
	return "somebody else has written there since it was read, or the store was lost"
}

// Overwritten lets those who do not know this package tell the error from others.
func (overwrittenError) Overwritten() bool { return true }

// isOutOfSequence reports whether the store refused a message because another came before it.
func isOutOfSequence(err error) bool {
	var refused *jetstream.APIError
	return errors.As(err, &refused) && refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence
}

// A ledger remembers which messages of a bucket hold what this connection has read or written, so that a leader writes
// over nothing else: neither what its follower wrote before a late message of its own, nor in a store that is a new one.
type ledger struct {
	mu    sync.Mutex
	epoch uint64
	// seqs are by key. 0 is one that nobody knows, after a write that failed.
	seqs map[string]uint64
}

// read takes in what the bucket held. It may have been written to since.
func (l *ledger) read(epoch uint64, found map[string]entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seqs == nil || l.epoch != epoch {
		l.epoch, l.seqs = epoch, map[string]uint64{}
	}
	for key, e := range found {
		l.seqs[key] = max(l.seqs[key], e.seq)
	}
}

// expected gives the message that a key is to have, and the incarnation of the store. A key that was never seen has none.
func (l *ledger) expected(key string) (epoch, seq uint64, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	seq, known = l.seqs[key]
	return l.epoch, seq, known
}

// wrote takes in a write, or that nobody knows whether it was made.
func (l *ledger) wrote(key string, seq uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		seq = 0
	}
	if _, known := l.seqs[key]; known || err == nil && l.seqs != nil {
		l.seqs[key] = seq
	}
}

// readAll reads every entry of a bucket that leaders write.
func (l *ledger) readAll(ctx context.Context, c *Conn, bucket string) (map[string]entry, error) {
	id, err := c.identify(ctx, wire.Stream(bucket))
	if errors.Is(err, errNoStore) {
		l.read(0, nil)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	found, err := c.fetchBucket(ctx, bucket, wire.Any)
	if err == nil {
		l.read(id.epoch, found)
	}
	return found, err
}

// put stores a value over that which was last read or written.
func (l *ledger) put(ctx context.Context, c *Conn, bucket, key string, value any) error {
	var options []jetstream.PublishOpt
	switch epoch, seq, known := l.expected(key); {
	case known && seq > 0:
		options = append(options, jetstream.WithExpectLastSequencePerSubject(seq))
	case known:
		id, err := c.identify(ctx, wire.Stream(bucket))
		if err != nil {
			return fmt.Errorf("store %s: %w", wire.Key(bucket, key), err)
		}
		if id.epoch != epoch {
			return fmt.Errorf("store %s: %w", wire.Key(bucket, key), ErrOverwritten)
		}
	}
	seq, err := c.put(ctx, bucket, key, value, options...)
	if isOutOfSequence(err) {
		return fmt.Errorf("store %s: %w", wire.Key(bucket, key), ErrOverwritten)
	}
	l.wrote(key, seq, err)
	return err
}
