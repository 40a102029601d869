package bus

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"

	"headway.dev/headway/api"
	"headway.dev/headway/bus/internal/wire"
)

// PutNode says what the node is. It is said again whenever the bus comes back, with or without its store, so that a
// failure to store it now needs nothing of the caller; so are PutStatus and PutAck.
func (c *Conn) PutNode(ctx context.Context, info api.NodeInfo) error {
	if err := checkName("node", info.Name); err != nil {
		return err
	}
	return c.say(ctx, wire.Nodes, info.Name, info)
}

// PutAck says which revision of the routes the node's kernel has.
func (c *Conn) PutAck(ctx context.Context, ack api.Ack) error {
	if err := checkName("node", ack.Node); err != nil {
		return err
	}
	return c.say(ctx, wire.Acks, ack.Node, ack)
}

// Beat renews the node's lease. It is not stored and nothing answers: that it fails only says that there is no connection.
func (c *Conn) Beat(_ context.Context, beat api.Heartbeat) error {
	if err := checkName("node", beat.Node); err != nil {
		return err
	}
	return c.publishUnstored(wire.Heartbeat(beat.Node), "heartbeat", beat)
}

// WatchBeats calls fn with each heartbeat, until ctx is done.
func (c *Conn) WatchBeats(ctx context.Context, fn func(api.Heartbeat)) error {
	return watchUnstored(ctx, c, wire.Heartbeat(wire.Any), "a heartbeat", func(b api.Heartbeat) string { return wire.Heartbeat(b.Node) }, fn)
}

// WatchAssignment calls fn with each newest assignment of the node, until ctx is done.
func (c *Conn) WatchAssignment(ctx context.Context, node string, fn func(api.Assignment)) error {
	if err := checkName("node", node); err != nil {
		return err
	}
	return watchValues(ctx, c, wire.Assignments, node, func(a api.Assignment) string { return a.Node }, fn)
}

// WatchNodes calls fn with all nodes known, ordered by name, whenever any changed.
func (c *Conn) WatchNodes(ctx context.Context, fn func([]api.NodeInfo)) error {
	return c.watch(ctx, wire.Nodes, wire.Any, func(v *view) {
		if v.fresh || len(v.changed) > 0 {
			fn(decodeAll(c, present(v.entries), func(n api.NodeInfo) string { return n.Name }))
		}
	})
}

// watchValues calls fn with each value that is there and new, one by one.
func watchValues[T any](ctx context.Context, c *Conn, bucket, filter string, name func(T) string, fn func(T)) error {
	return c.watch(ctx, bucket, filter, func(v *view) {
		for _, value := range decodeAll(c, v.news(), name) {
			fn(value)
		}
	})
}

// decodeAll reads values, ordered by key. One that cannot be read, or that names another than its key, is reported and
// left out: it must not stand in the way of the rest.
func decodeAll[T any](c *Conn, entries map[string]entry, name func(T) string) []T {
	return decodeAllBy(c, entries, func(e entry) (value T, err error) {
		err = decode(e.header, e.data, &value)
		return value, err
	}, name)
}

func decodeAllBy[T any](c *Conn, entries map[string]entry, decode func(entry) (T, error), name func(T) string) []T {
	type keyed struct {
		key   string
		value T
	}
	var all []keyed
	for key, e := range entries {
		value, err := decode(e)
		if err == nil && name(value) != key {
			err = fmt.Errorf("it says that it is of %q", name(value))
		}
		if err != nil {
			c.log.Error("a value on the bus is left out", "key", e.subject, "error", err)
			continue
		}
		all = append(all, keyed{key, value})
	}
	slices.SortFunc(all, func(a, b keyed) int { return cmp.Compare(a.key, b.key) })
	values := make([]T, len(all))
	for i := range all {
		values[i] = all[i].value
	}
	return values
}

// PublishEvent says what happened.
func (c *Conn) PublishEvent(ctx context.Context, event api.Event) error {
	data, err := json.Marshal(event)
	if err != nil {
		return fmt.Errorf("event: %w", err)
	}
	origin := strings.ReplaceAll(event.Origin, "/", ".")
	if err := checkName("origin of an event", origin); err != nil {
		return err
	}
	_, err = c.publish(ctx, &nats.Msg{Subject: wire.EventsFrom(origin), Data: data})
	return err
}

var validName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)

// checkName keeps what has a meaning in subjects out of names.
func checkName(what, name string) error {
	if len(name) > 253 || !validName.MatchString(name) {
		return fmt.Errorf("the name of the %s is %q: it must be a lower-case DNS name, as Kubernetes has it", what, name)
	}
	return nil
}
