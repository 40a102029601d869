package sim

import (
	"context"
	"maps"
	"slices"
	"time"

	"headway.dev/headway/api"
)

// A watch follows a bucket, or the heartbeats.
type watch struct {
	ctx     context.Context
	bucket  string
	epoch   uint64
	view    map[string]entry
	deliver func(v *watch, news []string)
}

// follow keeps a watch until ctx is done.
func (c *conn) follow(ctx context.Context, bucket string, deliver func(v *watch, news []string)) error {
	v := &watch{ctx: ctx, bucket: bucket, deliver: deliver}
	err := c.insist(ctx, "watch "+bucket, func() error {
		c.watches = append(c.watches, v)
		c.read(v)
		return nil
	})
	if err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

// read takes in all that the bucket holds, and delivers it as if it were new.
func (c *conn) read(v *watch) {
	if v.ctx.Err() != nil {
		return
	}
	s := c.world.store
	v.epoch, v.view = s.epochs[v.bucket], maps.Clone(s.values[v.bucket])
	v.deliver(v, slices.Sorted(maps.Keys(v.view)))
	c.world.stir = true
}

// reachable reports whether anything comes to the process now.
func (c *conn) reachable() bool { return !c.dead && !c.cut }

// arrive has something come to the process after a while, once it is not suspended.
func (c *conn) arrive(wait time.Duration, do func()) {
	c.world.after(wait, func() {
		switch {
		case !c.reachable():
		case time.Now().Before(c.thaw):
			c.arrive(time.Until(c.thaw), do)
		default:
			do()
		}
	})
}

// announce sends a new value to the watches of its bucket.
func (c *conn) announce(bucket, key string, epoch uint64, e entry) {
	if !c.reachable() {
		return
	}
	c.watches = slices.DeleteFunc(c.watches, func(v *watch) bool { return v.ctx.Err() != nil })
	for _, v := range c.watches {
		if v.bucket != bucket {
			continue
		}
		d := c.world.chance.roll("live " + c.name + " " + bucket + "/" + key)
		if d.percent(c.world.weather.lost) {
			c.arrive(recheck, func() { c.read(v) })
			continue
		}
		for range 1 + d.pick01(c.world.weather.doubled) {
			c.arrive(c.world.weather.latency(d), func() {
				if v.ctx.Err() == nil && v.epoch == epoch && v.view[key].seq < e.seq {
					v.view[key] = e
					v.deliver(v, []string{key})
					c.world.stir = true
				}
			})
		}
	}
}

// pick01 is 1 that often in a hundred, and else 0.
func (d dice) pick01(percent int) int {
	if d.percent(percent) {
		return 1
	}
	return 0
}

// reconnect has every watch read its bucket anew.
func (c *conn) reconnect() {
	for _, v := range c.watches {
		c.arrive(c.world.chance.roll("reconnect "+c.name).between(time.Millisecond, 300*time.Millisecond), func() { c.read(v) })
	}
}

// storeLost has the process notice that buckets were lost. Of those that nodes write only its watches do.
func (c *conn) storeLost(buckets []string) {
	own := slices.ContainsFunc(buckets, func(b string) bool { return b != inNodes && b != inStatuses && b != inAcks })
	c.arrive(c.world.chance.roll("notice "+c.name).between(0, 3*time.Second), func() {
		if own {
			c.mu.Lock()
			close(c.lost)
			c.lost = make(chan struct{})
			c.mu.Unlock()
		}
		c.world.stir = true
		c.reconnect()
	})
}

// WatchNodes calls fn with all nodes whenever any changed.
func (c *conn) WatchNodes(ctx context.Context, fn func([]api.NodeInfo)) error {
	return c.follow(ctx, inNodes, func(v *watch, _ []string) {
		var all []api.NodeInfo
		for _, key := range slices.Sorted(maps.Keys(v.view)) {
			all = append(all, v.view[key].value.(api.NodeInfo))
		}
		fn(all)
	})
}

// WatchStatuses calls fn with each newest status of each node.
func (c *conn) WatchStatuses(ctx context.Context, fn func(api.NodeStatus)) error {
	return c.follow(ctx, inStatuses, func(v *watch, news []string) {
		for _, key := range news {
			fn(v.view[key].value.(api.NodeStatus))
		}
	})
}

// WatchAcks calls fn with each newest acknowledgement. One of routes that were in a store which is lost is withheld.
func (c *conn) WatchAcks(ctx context.Context, fn func(api.Ack)) error {
	return c.follow(ctx, inAcks, func(v *watch, news []string) {
		for _, key := range news {
			ack := v.view[key].value.(api.Ack)
			if s := c.world.store; ack.Revision >= s.epochs[inRoutes] && ack.Revision <= s.epochs[inRoutes]+s.routeSeq {
				fn(ack)
			}
		}
	})
}

// WatchBeats calls fn with each heartbeat that is not lost on the way.
func (c *conn) WatchBeats(ctx context.Context, fn func(api.Heartbeat)) error {
	v := &watch{ctx: ctx, deliver: func(v *watch, _ []string) { fn(v.view["beat"].value.(api.Heartbeat)) }}
	err := c.insist(ctx, "watch beats", func() error {
		c.beats = append(c.beats, v)
		return nil
	})
	if err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

// beat sends a heartbeat to whoever listens. It is not stored: it may be lost, come late, or twice.
func (c *conn) beat(b api.Heartbeat) {
	c.beats = slices.DeleteFunc(c.beats, func(v *watch) bool { return v.ctx.Err() != nil })
	for _, v := range c.beats {
		d := c.world.chance.roll("beat " + c.name + " " + b.Node)
		if d.percent(c.world.weather.lost) {
			continue
		}
		for range 1 + d.pick01(c.world.weather.doubled) {
			c.arrive(c.world.weather.latency(d), func() {
				if v.ctx.Err() == nil {
					v.deliver(&watch{view: map[string]entry{"beat": {value: b}}}, nil)
					c.world.stir = true
				}
			})
		}
	}
}
