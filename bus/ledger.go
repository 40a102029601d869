package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/nats-io/nats.go/jetstream"

	"headway.dev/headway/bus/internal/wire"
)

const (
	// ErrOverwritten is the error of a leader that writes over what it has not read: somebody else has written since, or the
	// store was lost. Its view of the fleet is not what the bus holds; it has to read that again.
	ErrOverwritten overwrittenError = "somebody else has written there since it was read, or the store was lost"
	// ErrStaleTerm is the error of a leader that writes what one of a later term has written. It may have been followed; or else
	// the terms began anew, since the lease was lost, while that one still wrote: a new beginning finds out by what term to lead.
	ErrStaleTerm overwrittenError = "a later leader has begun"
)

// An overwrittenError is one after which a leader has to begin anew.
type overwrittenError string

func (e overwrittenError) Error() string { return string(e) }

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
	mu       sync.Mutex
	epoch    uint64
	seqs     map[string]uint64 // by key; nil before the bucket was read
	doubtful map[string]bool   // keys of which nobody knows, after a write that failed
}

// read takes in the newest message of each key. There may be newer ones by now.
func (l *ledger) read(epoch uint64, found map[string]uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seqs == nil || l.epoch != epoch {
		l.epoch, l.seqs, l.doubtful = epoch, map[string]uint64{}, map[string]bool{}
	}
	for key, seq := range found {
		l.seqs[key] = max(l.seqs[key], seq)
		delete(l.doubtful, key)
	}
}

// What a key is expected to hold.
type expectation struct {
	epoch    uint64 // 0: nothing is expected
	seq      uint64 // 0 is no message
	doubtful bool   // seq says nothing
}

func (l *ledger) expected(key string) expectation {
	l.mu.Lock()
	defer l.mu.Unlock()
	return expectation{l.epoch, l.seqs[key], l.doubtful[key]}
}

// wrote takes in a write, or that nobody knows whether it was made.
func (l *ledger) wrote(key string, seq uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.seqs == nil:
	case err != nil:
		l.doubtful[key] = true
	default:
		l.seqs[key] = seq
		delete(l.doubtful, key)
	}
}

// readAll reads every entry of a bucket that leaders write.
func (l *ledger) readAll(ctx context.Context, c *Conn, bucket string) (map[string]entry, error) {
	found := map[string]entry{}
	id, err := c.identify(ctx, wire.Stream(bucket))
	if errors.Is(err, errNoStore) {
		l.read(0, nil)
		return found, nil
	}
	if err != nil {
		return nil, err
	}
	seqs, prefix := map[string]uint64{}, wire.Key(bucket, "")
	err = c.fetch(ctx, wire.Stream(bucket), wire.Key(bucket, wire.Any), cursor{}, func(e entry) error {
		key := strings.TrimPrefix(e.subject, prefix)
		seqs[key] = e.seq
		if delete(found, key); !e.deleted() {
			found[key] = e
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	l.read(id.epoch, seqs)
	return found, nil
}

// put stores a value over that which was last read or written.
func (l *ledger) put(ctx context.Context, c *Conn, bucket, key string, value any) error {
	var options []jetstream.PublishOpt
	switch expected := l.expected(key); {
	case expected.epoch == 0:
	case !expected.doubtful:
		options = append(options, jetstream.WithExpectLastSequencePerSubject(expected.seq))
	default:
		id, err := c.identify(ctx, wire.Stream(bucket))
		if err != nil {
			return fmt.Errorf("store %s: %w", wire.Key(bucket, key), err)
		}
		if id.epoch != expected.epoch {
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
