package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"headway.dev/headway/bus/internal/wire"
)

// layout numbers how the streams are made. Another number has a controller change those that are there.
const layout = "1"

// How many events are kept, and how long.
const (
	eventsAge   = 24 * time.Hour
	eventsBytes = 64 << 20
	eventsCount = 10_000
)

// streams gives the configuration of every stream that headway uses. Buckets follow the conventions of NATS' key-value
// stores, so that its own tools can read them.
func streams(replicas int) []jetstream.StreamConfig {
	var all []jetstream.StreamConfig
	for _, bucket := range wire.Buckets() {
		all = append(all, jetstream.StreamConfig{
			Name:              wire.Stream(bucket),
			Subjects:          []string{wire.Key(bucket, wire.Any)},
			MaxMsgsPerSubject: 1,
			Discard:           jetstream.DiscardNew,
			AllowRollup:       true,
			AllowMsgTTL:       true,
			DenyDelete:        true,
			RePublish:         &jetstream.RePublish{Source: wire.Key(bucket, wire.Any), Destination: wire.Live(bucket, wire.Any)},
		})
	}
	all = append(all, jetstream.StreamConfig{
		Name:      wire.Events,
		Subjects:  []string{wire.EventsFrom(wire.Any)},
		Discard:   jetstream.DiscardOld,
		MaxAge:    eventsAge,
		MaxBytes:  eventsBytes,
		MaxMsgs:   eventsCount,
		RePublish: &jetstream.RePublish{Source: wire.EventsFrom(wire.Any), Destination: wire.Live(wire.Events, wire.Any)},
	})
	for i := range all {
		all[i].Storage = jetstream.FileStorage
		all[i].AllowDirect = true
		all[i].Replicas = replicas
		all[i].Metadata = map[string]string{layoutKey: layout}
	}
	return all
}

// known reports whether a stream is one of headway's.
func known(stream string) bool {
	bucket, isBucket := strings.CutPrefix(stream, wire.Stream(""))
	return stream == wire.Events || isBucket && slices.Contains(wire.Buckets(), bucket)
}

// keeping is whether and how a connection keeps the streams in being.
type keeping struct {
	mu     sync.Mutex
	on     bool
	epochs map[string]uint64 // the last known of each stream

	lostMu sync.Mutex
	lost   chan struct{} // closed and replaced when a stream that a controller writes was lost
}

// watchLost gives a channel that is closed when a stream that a controller writes is lost from now on.
func (k *keeping) watchLost() <-chan struct{} {
	k.lostMu.Lock()
	defer k.lostMu.Unlock()
	if k.lost == nil {
		k.lost = make(chan struct{})
	}
	return k.lost
}

// tellLost says that one was.
func (k *keeping) tellLost() {
	k.lostMu.Lock()
	defer k.lostMu.Unlock()
	if k.lost != nil {
		close(k.lost)
		k.lost = nil
	}
}

// Keep makes the buckets that are missing, now and whenever any vanishes. The controller's connection keeps them; nodes
// and commands wait until they are there.
func (c *Conn) Keep(ctx context.Context) error { return c.keeping.ensure(ctx, c, true) }

// ensure makes what is missing, if this connection keeps the streams, or shall from now on.
func (k *keeping) ensure(ctx context.Context, c *Conn, begin bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.on = k.on || begin; !k.on {
		return nil
	}
	if k.epochs == nil {
		k.epochs = map[string]uint64{}
	}
	lost := false
	for _, config := range streams(c.replicas) {
		before := k.epochs[config.Name]
		if err := k.ensureOne(ctx, c, config); err != nil {
			return fmt.Errorf("make %s on the bus: %w", config.Name, unavailable(err))
		}
		if before != 0 && k.epochs[config.Name] != before && slices.Contains(controllers(), config.Name) {
			lost = true
		}
	}
	if lost {
		k.tellLost()
	}
	return nil
}

// controllers are the streams that only a controller writes. What others write, they write again by themselves.
func controllers() []string {
	return []string{wire.Stream(wire.Assignments), wire.Stream(wire.Routes), wire.Stream(wire.Blobs), wire.Stream(wire.Reports), wire.Stream(wire.Leader)}
}

// ensureOne sees that a stream is there and as it should be, and learns its epoch.
func (k *keeping) ensureOne(ctx context.Context, c *Conn, config jetstream.StreamConfig) error {
	id, err := c.identify(ctx, config.Name)
	if errors.Is(err, errNoStore) {
		if err = k.create(ctx, c, config); err == nil {
			id, err = c.identify(ctx, config.Name)
		}
	}
	if err != nil {
		return err
	}
	k.epochs[config.Name] = id.epoch
	if id.same {
		return nil
	}
	config.Metadata[epochKey] = strconv.FormatUint(id.epoch, 10)
	_, err = c.js.UpdateStream(ctx, config)
	return err
}

// create makes one stream. Its epoch is later than that of any before, even if the clock was set back meanwhile.
func (k *keeping) create(ctx context.Context, c *Conn, config jetstream.StreamConfig) error {
	if err := c.deletions.settle(ctx, config.Name); err != nil {
		return err
	}
	epoch := max(uint64(time.Now().UnixNano()), k.epochs[config.Name]+1<<32)
	config.Metadata[epochKey] = strconv.FormatUint(epoch, 10)
	_, err := c.js.CreateStream(ctx, config)
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		// Another controller was faster; it made the same, but for the epoch.
		return nil
	}
	if err == nil {
		c.log.Info("made a store on the bus", "stream", config.Name)
	}
	return err
}
